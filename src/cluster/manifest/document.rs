//! The shape of a document, as much of it as is ours, with places for messages.
//!
//! A directory holds documents of other kinds, whose `data` and `items` are anything. What does not
//! fit is therefore noted and skipped, and refused only where it is ours.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use zeroize::Zeroizing;

use super::ManifestError;

/// A document; `I` is what `items` holds.
#[derive(Deserialize)]
#[serde(
    rename_all = "camelCase",
    expecting = "a manifest, which is a mapping",
    bound(deserialize = "I: Deserialize<'de>")
)]
pub(super) struct Document<I> {
    pub(super) api_version: Option<Leaf>,
    pub(super) kind: Option<Leaf>,
    #[serde(default)]
    pub(super) metadata: Option<Metadata>,
    #[serde(rename = "type")]
    pub(super) secret_type: Option<Leaf>,
    pub(super) immutable: Option<Leaf>,
    pub(super) data: Option<Table>,
    pub(super) string_data: Option<Table>,
    pub(super) binary_data: Option<Table>,
    pub(super) items: Option<I>,
}

/// A document of a file. The items of a `List` have no `items` of their own.
pub(super) type TopDocument = Document<Items>;

/// An item of a `List`.
pub(super) type Item = Document<IgnoredAny>;

#[derive(Deserialize)]
#[serde(expecting = "metadata to be a mapping")]
pub(super) struct Metadata {
    pub(super) name: Option<Leaf>,
    pub(super) namespace: Option<Leaf>,
    pub(super) labels: Option<Table>,
    pub(super) annotations: Option<Table>,
}

/// A scalar with its place.
pub(super) type Leaf = Spanned<Shape<NoSequence, NoMapping>>;

/// A mapping to scalars with its place.
pub(super) type Table = Spanned<Shape<NoSequence, Entries>>;

/// A list of documents with its place.
pub(super) type Items = Spanned<Shape<Vec<Spanned<Item>>, NoMapping>>;

/// The entries of a [`Table`].
pub(super) type Entries = Vec<(String, Leaf)>;

/// What is at a place. Deliberately without Debug: it holds secrets.
pub(super) enum Shape<S, M> {
    Null,
    Boolean(bool),
    Number,
    Text(Zeroizing<String>),
    Sequence(S),
    Mapping(M),
}

impl<S, M> Shape<S, M> {
    /// What it is, for messages that must not show it.
    fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "a boolean",
            Self::Number => "a number",
            Self::Text(_) => "a string",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}

/// The error that `node` is not right.
pub(super) fn wrong<T>(node: &Spanned<T>, reason: impl Into<String>) -> ManifestError {
    ManifestError {
        line: node.referenced.line(),
        column: node.referenced.column(),
        reason: reason.into(),
    }
}

/// A string; the empty one if there is nothing, as an API server reads it.
pub(super) fn text<'n>(leaf: Option<&'n Leaf>, what: &str) -> Result<&'n str, ManifestError> {
    let Some(leaf) = leaf else { return Ok("") };
    match &leaf.value {
        Shape::Text(text) => Ok(text),
        Shape::Null => Ok(""),
        other => Err(wrong(
            leaf,
            format!(
                "{what} must be a string, not {}; quote it",
                other.describe()
            ),
        )),
    }
}

/// A boolean; false if there is nothing.
pub(super) fn boolean(leaf: Option<&Leaf>, what: &str) -> Result<bool, ManifestError> {
    let Some(leaf) = leaf else { return Ok(false) };
    match &leaf.value {
        Shape::Boolean(value) => Ok(*value),
        Shape::Null => Ok(false),
        _ => Err(wrong(leaf, format!("{what} must be true or false"))),
    }
}

/// The entries of a mapping; none if there is nothing.
pub(super) fn entries<'n>(
    table: Option<&'n Table>,
    what: &str,
) -> Result<&'n [(String, Leaf)], ManifestError> {
    let Some(table) = table else { return Ok(&[]) };
    match &table.value {
        Shape::Mapping(entries) => Ok(entries),
        Shape::Null => Ok(&[]),
        other => Err(wrong(
            table,
            format!("{what} must be a mapping, not {}", other.describe()),
        )),
    }
}

/// The items of a list; none if there is nothing.
pub(super) fn items(items: Option<&Items>) -> Result<&[Spanned<Item>], ManifestError> {
    let Some(items) = items else { return Ok(&[]) };
    match &items.value {
        Shape::Sequence(items) => Ok(items),
        Shape::Null => Ok(&[]),
        other => Err(wrong(
            items,
            format!("items must be a list, not {}", other.describe()),
        )),
    }
}

/// A sequence or a mapping, read from what a visitor is given.
pub(super) trait FromSequence: Sized {
    fn read<'de, A: SeqAccess<'de>>(access: A) -> Result<Self, A::Error>;
}

pub(super) trait FromMapping: Sized {
    fn read<'de, A: MapAccess<'de>>(access: A) -> Result<Self, A::Error>;
}

/// There was a sequence where none belongs.
pub(super) struct NoSequence;

impl FromSequence for NoSequence {
    fn read<'de, A: SeqAccess<'de>>(mut access: A) -> Result<Self, A::Error> {
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self)
    }
}

impl FromSequence for Vec<Spanned<Item>> {
    fn read<'de, A: SeqAccess<'de>>(mut access: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

/// There was a mapping where none belongs.
pub(super) struct NoMapping;

impl FromMapping for NoMapping {
    fn read<'de, A: MapAccess<'de>>(mut access: A) -> Result<Self, A::Error> {
        while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self)
    }
}

impl FromMapping for Entries {
    fn read<'de, A: MapAccess<'de>>(mut access: A) -> Result<Self, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl<'de, S: FromSequence, M: FromMapping> Deserialize<'de> for Shape<S, M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor(PhantomData))
    }
}

struct ShapeVisitor<S, M>(PhantomData<(S, M)>);

impl<'de, S: FromSequence, M: FromMapping> Visitor<'de> for ShapeVisitor<S, M> {
    type Value = Shape<S, M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML that JSON can express")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Shape::Boolean(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Shape::Number)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Shape::Number)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Self::Value, E> {
        Ok(Shape::Number)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Self::Value, E> {
        Ok(Shape::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Shape::Number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Shape::Text(Zeroizing::new(text)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Shape::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        Shape::deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        S::read(access).map(Shape::Sequence)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        M::read(access).map(Shape::Mapping)
    }
}
