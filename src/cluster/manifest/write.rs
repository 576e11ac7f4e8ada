use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_saphyr::LitStr;
use zeroize::Zeroizing;

use super::{ManifestError, Notation};
use crate::cluster::{Object, ObjectKind, rules};

/// The manifest of `object`: one document, keys sorted, no line of base64 ever folded, and the same
/// bytes for the same object.
pub fn render(
    object: &Object,
    namespace: &str,
    immutable: bool,
    notation: Notation,
) -> Result<Zeroizing<String>, ManifestError> {
    let mut document = Document {
        api_version: "v1",
        kind: object.key.kind.as_str(),
        metadata: Metadata {
            name: &object.key.name,
            namespace: Some(namespace),
            labels: &object.labels,
            annotations: &object.annotations,
        },
        secret_type: rules::effective_type(object),
        immutable: immutable.then_some(true),
        data: BTreeMap::new(),
        binary_data: BTreeMap::new(),
    };
    for (key, value) in &object.data {
        let bytes = value.expose();
        match (object.key.kind, std::str::from_utf8(bytes)) {
            (ObjectKind::Secret, _) => document.data.insert(key, Text::base64(bytes)),
            (ObjectKind::ConfigMap, Ok(text)) => document.data.insert(key, Text::Plain(text)),
            (ObjectKind::ConfigMap, Err(_)) => {
                document.binary_data.insert(key, Text::base64(bytes))
            }
        };
    }
    serialize(&document, object_size(object), notation)
}

/// The manifest of the Namespace `name`.
pub fn render_namespace(name: &str) -> Result<Zeroizing<String>, ManifestError> {
    let none = BTreeMap::new();
    let document = Document {
        api_version: "v1",
        kind: "Namespace",
        metadata: Metadata {
            name,
            namespace: None,
            labels: &none,
            annotations: &none,
        },
        secret_type: None,
        immutable: None,
        data: BTreeMap::new(),
        binary_data: BTreeMap::new(),
    };
    serialize(&document, 0, Notation::Yaml)
}

fn serialize(
    document: &Document<'_>,
    size: usize,
    notation: Notation,
) -> Result<Zeroizing<String>, ManifestError> {
    // Room for all of it, as far as can be told: growing would leave copies of the secret behind.
    let capacity = 1024 + size * 2;
    // The serializers' errors may quote.
    let failed = || ManifestError::whole("it cannot be written as a manifest");
    match notation {
        Notation::Yaml => {
            let options = serde_saphyr::ser_options! {
                // Anything long would be folded over several lines.
                prefer_block_scalars: false,
                // Then text of several lines is a block however short it is.
                min_fold_chars: usize::MAX,
            };
            let mut yaml = Zeroizing::new(String::with_capacity(capacity));
            serde_saphyr::to_fmt_writer_with_options(&mut *yaml, document, options)
                .map_err(|_| failed())?;
            Ok(yaml)
        }
        Notation::Json => {
            let mut json = Zeroizing::new(Vec::with_capacity(capacity));
            serde_json::to_writer_pretty(&mut *json, document).map_err(|_| failed())?;
            json.push(b'\n');
            let json = String::from_utf8(std::mem::take(&mut *json)).map_err(|_| failed())?;
            Ok(Zeroizing::new(json))
        }
    }
}

fn object_size(object: &Object) -> usize {
    let data = object.data.iter().map(|(k, v)| k.len() + v.expose().len());
    let meta = object.labels.iter().chain(&object.annotations);
    data.sum::<usize>() + meta.map(|(k, v)| k.len() + v.len()).sum::<usize>()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    secret_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<&'a str, Text<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    binary_data: BTreeMap<&'a str, Text<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

enum Text<'a> {
    Plain(&'a str),
    Base64(Zeroizing<String>),
}

impl Text<'_> {
    fn base64(bytes: &[u8]) -> Self {
        Self::Base64(Zeroizing::new(STANDARD.encode(bytes)))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) if is_readable_block(text) => LitStr(text).serialize(serializer),
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Base64(text) => serializer.serialize_str(text),
        }
    }
}

/// Whether every YAML reader agrees on `text` as a block: nothing depends on white space that cannot
/// be seen.
fn is_readable_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with(char::is_whitespace)
        && !text.chars().any(|c| c.is_control() && c != '\n')
        && text
            .lines()
            .all(|line| !line.ends_with(char::is_whitespace))
}
