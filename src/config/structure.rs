//! Explains a document that cannot be read: compares what is written with the schema, and goes on
//! after the first difference, which deserialization does not.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use super::document::{API_VERSION, KIND};
use super::error::{Problem, did_you_mean};
use super::schema::json_schema;
use super::{parser_options, problem_at};

/// What differs from the schema in the fields, the lists and the maps of `text`. Scalars are not
/// looked at: reading them never fails before they are resolved. An error if `text` is no YAML.
pub(super) fn problems(text: &str, file: &str) -> Result<Vec<Problem>, serde_saphyr::Error> {
    let document = read(text)?;
    let schema = json_schema();
    let mut walk = Walk {
        file,
        definitions: schema.get("$defs"),
        problems: Vec::new(),
    };
    for (field, expected) in HEADER {
        walk.header(&document, field, expected);
    }
    // What is wrong with another kind of document would only be noise.
    if walk.problems.is_empty() {
        walk.node(&schema, &document, "");
    }
    Ok(walk.problems)
}

/// What differs from `schema`, which has no references, in the part of `subject` that is at `path`.
pub(super) fn problems_of_part(
    text: &str,
    subject: &str,
    path: &str,
    schema: &Json,
) -> Result<Vec<Problem>, serde_saphyr::Error> {
    let part = read(text)?;
    let mut walk = Walk {
        file: subject,
        definitions: None,
        problems: Vec::new(),
    };
    walk.node(schema, &part, path);
    Ok(walk.problems)
}

fn read(text: &str) -> Result<Node, serde_saphyr::Error> {
    let mut options = parser_options();
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    serde_saphyr::from_str_with_options(text, options)
}

struct Walk<'a> {
    file: &'a str,
    definitions: Option<&'a Json>,
    problems: Vec<Problem>,
}

/// The fields that say what the document is, with what must be in them.
pub(super) const HEADER: [(&str, &str); 2] = [("apiVersion", API_VERSION), ("kind", KIND)];

/// What is wrong with a field of [`HEADER`], and what to write.
pub(super) fn wrong_header(field: &str, found: &str, expected: &str) -> (String, String) {
    let found: String = found.chars().take(80).collect();
    (
        format!("{field} is {found:?}, which is no Relay document of this version"),
        format!("write {field}: {expected}"),
    )
}

impl<'a> Walk<'a> {
    fn header(&mut self, document: &Node, field: &str, expected: &str) {
        let Kind::Map(entries) = &document.kind else {
            return;
        };
        for (key, node) in entries.iter().filter(|(key, _)| key.value == field) {
            match &node.kind {
                Kind::Scalar(found) if found != expected => {
                    let (message, hint) = wrong_header(&key.value, found, expected);
                    self.report(node.at, message, hint);
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, schema: &'a Json, node: &Node, path: &str) {
        let (schema, optional) = self.resolve(schema);
        let (expected, nullable) = types(schema);
        match (&node.kind, expected) {
            (Kind::Null, _) if optional || nullable => {}
            (Kind::Map(entries), Some("object")) => self.map(schema, node.at, entries, path),
            (Kind::List(items), Some("array")) => {
                let Some(schema) = schema.get("items") else {
                    return;
                };
                for (index, item) in items.iter().enumerate() {
                    self.node(schema, item, &format!("{path}[{index}]"));
                }
            }
            (Kind::Scalar(_), expected) if !matches!(expected, Some("object" | "array")) => {}
            (found, expected) => {
                let (wanted, example) = match expected {
                    Some("object") => ("a map", "write its fields below it, or {}"),
                    Some("array") => ("a list", "write its items below it as `- …`, or []"),
                    _ => ("a single value", "write one value behind it"),
                };
                let message = format!("{} must be {wanted}, and is {found}", shown(path));
                self.report(node.at, message, example.to_owned());
            }
        }
    }

    fn map(
        &mut self,
        schema: &'a Json,
        at: Location,
        entries: &[(Spanned<String>, Node)],
        path: &str,
    ) {
        let fields = schema.get("properties").and_then(Json::as_object);
        let mut seen = HashSet::new();
        for (key, node) in entries {
            let name = key.value.as_str();
            let below = match path {
                "" => name.to_owned(),
                path => format!("{path}.{name}"),
            };
            if !seen.insert(name) {
                let message = format!("{below} is written twice");
                self.report(key.referenced, message, "keep one of them".to_owned());
                continue;
            }
            let field = fields.and_then(|fields| fields.get(name));
            let other = schema
                .get("additionalProperties")
                .filter(|other| other.is_object());
            match field.or(other) {
                Some(schema) => self.node(schema, node, &below),
                None => {
                    let allowed: Vec<&str> = fields
                        .map(|fields| fields.keys().map(String::as_str).collect())
                        .unwrap_or_default();
                    let message = format!("unknown field {name:?} in {}", shown(path));
                    self.report(key.referenced, message, suggestion(name, &allowed));
                }
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for name in required.into_iter().flatten().filter_map(Json::as_str) {
            if !seen.contains(name) {
                let message = format!("{} has no {name:?}", shown(path));
                self.report(at, message, format!("write {name}: …"));
            }
        }
    }

    /// The schema itself behind a reference, and whether null is allowed beside it.
    fn resolve(&self, schema: &'a Json) -> (&'a Json, bool) {
        if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            let definition = self.definitions.and_then(|all| all.get(name));
            return (definition.unwrap_or(schema), false);
        }
        if let Some(alternatives) = schema.get("anyOf").and_then(Json::as_array) {
            let is_null = |schema: &&Json| schema.get("type").is_some_and(|t| t == "null");
            if let Some(one) = alternatives.iter().find(|schema| !is_null(schema)) {
                return (
                    self.resolve(one).0,
                    alternatives.iter().any(|s| is_null(&s)),
                );
            }
        }
        (schema, false)
    }

    fn report(&mut self, at: Location, message: String, hint: String) {
        self.problems
            .push(problem_at(self.file, at, message, Some(hint)));
    }
}

/// The type that is expected, and whether null is allowed instead.
fn types(schema: &Json) -> (Option<&str>, bool) {
    match schema.get("type") {
        Some(Json::Array(types)) => {
            let mut types = types.iter().filter_map(Json::as_str);
            let nullable = types.clone().any(|name| name == "null");
            (types.find(|name| *name != "null"), nullable)
        }
        Some(one) => (one.as_str(), false),
        None => (None, false),
    }
}

fn shown(path: &str) -> &str {
    match path {
        "" => "the document",
        path => path,
    }
}

/// What to write instead of the unknown `word`.
pub(super) fn suggestion(word: &str, allowed: &[&str]) -> String {
    let allowed_here = match allowed {
        [] => "nothing is allowed here".to_owned(),
        allowed => format!("allowed here: {}", allowed.join(", ")),
    };
    match did_you_mean(word, allowed.iter().copied()) {
        Some(near) => format!("did you mean {near:?}? {allowed_here}"),
        None => allowed_here,
    }
}

/// Any YAML, with the place of every part.
struct Node {
    at: Location,
    kind: Kind,
}

enum Kind {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "empty",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::deserialize(deserializer)?;
        Ok(Self {
            at: spanned.referenced,
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

macro_rules! scalars {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, scalar: $type) -> Result<Kind, E> {
            Ok(Kind::Scalar(scalar.to_string()))
        })*
    };
}

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128);
    scalars!(visit_f64: f64, visit_str: &str);

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Kind, E> {
        Ok(Kind::Scalar(String::new()))
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Kind::Map(map))
    }
}
