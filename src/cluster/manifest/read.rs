use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_saphyr::Spanned;
use serde_saphyr::options::NonFiniteFloatPolicy;
use zeroize::Zeroizing;

use super::document::{
    Document, Leaf, Metadata, Table, TopDocument, boolean, entries, items, text, wrong,
};
use super::{Declared, MAX_MANIFEST_BYTES, Manifest, ManifestError};
use crate::cluster::{Object, ObjectKey, ObjectKind, SecretBytes, rules};

/// kubectl keeps a copy of what was applied last in here, private keys included. It is stale as soon
/// as we write, and annotations are shown to people.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// As Go decodes it: padded, but whatever is in the bits after the last byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The depth up to which any thread's stack will do, unoptimised.
const SHALLOW: usize = 20;

/// Enough for `max_depth` levels, unoptimised, several times. Only what is touched is ever allocated.
const DEEP_STACK_BYTES: usize = 64 * 1024 * 1024;

/// The objects of `namespace` in the YAML or JSON of a file. What names no namespace is in it; other
/// kinds and other namespaces are only counted.
pub fn parse(content: &[u8], namespace: &str) -> Result<Manifest, ManifestError> {
    if content.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::whole(format!(
            "it is larger than {MAX_MANIFEST_BYTES} bytes"
        )));
    }
    let content = std::str::from_utf8(content)
        .map_err(|e| not_utf8(content.get(..e.valid_up_to()).unwrap_or_default()))?;
    if may_nest(content) {
        // The parser recurses with frames of kilobytes; a worker's stack is not made for that.
        let parser = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES);
        return std::thread::scope(|scope| {
            parser
                .spawn_scoped(scope, || parse_here(content, namespace))
                .ok()
                .and_then(|thread| thread.join().ok())
                .unwrap_or_else(|| Err(ManifestError::whole("no thread to read it with")))
        });
    }
    parse_here(content, namespace)
}

fn parse_here(content: &str, namespace: &str) -> Result<Manifest, ManifestError> {
    let documents: Vec<Spanned<TopDocument>> =
        serde_saphyr::from_multiple_with_options(content, options())
            .map_err(|error| not_yaml(&error))?;
    let mut manifest = Manifest::default();
    for document in &documents {
        read_document(document, namespace, &mut manifest)?;
    }
    Ok(manifest)
}

/// Whether `content` could nest deeper than our own manifests ever do, at a glance: every level of
/// YAML takes a bracket, an indicator or a column of indentation.
fn may_nest(content: &str) -> bool {
    let brackets = content.bytes().filter(|b| matches!(b, b'[' | b'{')).count();
    let indentation = content
        .split(['\n', '\r'])
        .map(|line| line.bytes().take_while(|b| b" -?:\t".contains(b)).count())
        .max();
    brackets + indentation.unwrap_or(0) > SHALLOW
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // A snippet would show the lines around an error, and they are secret.
        with_snippet: false,
        emit_comments: false,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
        },
        budget: serde_saphyr::budget! {
            // Nobody shares one Secret's value fifty times; each copy may be of megabytes.
            max_aliases: 50,
            max_buffered_comment_events: 10_000,
            max_depth: 200,
        },
    }
}

fn not_utf8(valid: &[u8]) -> ManifestError {
    let line_start = valid.rsplit(|&b| b == b'\n').next().unwrap_or_default();
    ManifestError {
        line: 1 + valid.iter().filter(|&&b| b == b'\n').count() as u64,
        column: 1 + String::from_utf8_lossy(line_start).chars().count() as u64,
        reason: "it is not UTF-8".to_owned(),
    }
}

/// The parser's own messages quote the input in places, so only those that cannot are passed on.
fn not_yaml(error: &serde_saphyr::Error) -> ManifestError {
    use serde_saphyr::Error;
    let reason = match error.without_snippet() {
        Error::DuplicateMappingKey { .. } => "a key that is there already".to_owned(),
        Error::Unexpected { expected, .. } => {
            format!("expected a {}", expected.trim_end_matches(" start"))
        }
        Error::SerdeInvalidType { expected, .. } => format!("expected {expected}"),
        Error::Eof { .. } => "it ends too early".to_owned(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "it is nested too deeply, or repeats itself too often".to_owned()
        }
        Error::ExternalMessage { msg, .. } if !msg.contains(['`', '"']) => {
            format!("not YAML: {msg}")
        }
        _ => "not YAML that a manifest may hold".to_owned(),
    };
    ManifestError {
        line: error.location().map_or(0, |location| location.line()),
        column: error.location().map_or(0, |location| location.column()),
        reason,
    }
}

fn read_document(
    document: &Spanned<TopDocument>,
    namespace: &str,
    manifest: &mut Manifest,
) -> Result<(), ManifestError> {
    let (api_version, kind) = type_of(document, None)?;
    let Some(item_kind) = kind.strip_suffix("List").filter(|_| api_version == "v1") else {
        return read_typed(document, (api_version, kind), namespace, manifest);
    };
    manifest.has_list = true;
    for item in items(document.value.items.as_ref())? {
        let (api_version, kind) = type_of(item, Some(item_kind).filter(|kind| !kind.is_empty()))?;
        if api_version == "v1" && kind == "List" {
            return Err(wrong(item, "a List in a List"));
        }
        read_typed(item, (api_version, kind), namespace, manifest)?;
    }
    Ok(())
}

/// `apiVersion` and `kind`. The items of a `SecretList` need not say what they are.
fn type_of<'d, I>(
    document: &'d Spanned<Document<I>>,
    item_kind: Option<&'d str>,
) -> Result<(&'d str, &'d str), ManifestError> {
    let header = |leaf: &'d Option<Leaf>, name: &str, default: Option<&'d str>| match (
        text(leaf.as_ref(), name)?,
        default,
    ) {
        ("", Some(default)) => Ok(default),
        ("", None) => Err(wrong(
            document,
            format!("not a manifest: it has no `{name}`"),
        )),
        (text, _) => Ok(text),
    };
    let api_version = header(
        &document.value.api_version,
        "apiVersion",
        item_kind.map(|_| "v1"),
    )?;
    let kind = header(&document.value.kind, "kind", item_kind)?;
    Ok((api_version, kind))
}

fn read_typed<I>(
    document: &Spanned<Document<I>>,
    (api_version, kind): (&str, &str),
    namespace: &str,
    manifest: &mut Manifest,
) -> Result<(), ManifestError> {
    manifest.documents += 1;
    match (api_version, kind) {
        ("v1", "Secret") => read_object(document, ObjectKind::Secret, namespace, manifest),
        ("v1", "ConfigMap") => read_object(document, ObjectKind::ConfigMap, namespace, manifest),
        ("v1", "Namespace") => {
            let name = document
                .value
                .metadata
                .as_ref()
                .and_then(|meta| meta.name.as_ref());
            manifest
                .namespaces
                .push(text(name, "metadata.name")?.to_owned());
            Ok(())
        }
        _ => Ok(()),
    }
}

fn read_object<I>(
    document: &Spanned<Document<I>>,
    kind: ObjectKind,
    namespace: &str,
    manifest: &mut Manifest,
) -> Result<(), ManifestError> {
    let Document { metadata, .. } = &document.value;
    let part = |get: fn(&Metadata) -> Option<&Leaf>| metadata.as_ref().and_then(get);
    let table = |get: fn(&Metadata) -> Option<&Table>| metadata.as_ref().and_then(get);
    let own = text(part(|meta| meta.namespace.as_ref()), "metadata.namespace")?;
    if !own.is_empty() && own != namespace {
        return Ok(());
    }
    let name = text(part(|meta| meta.name.as_ref()), "metadata.name")?;
    if name.is_empty() {
        return Err(wrong(
            document,
            format!("a {} without metadata.name", kind.as_str()),
        ));
    }
    let mut annotations = strings(table(|meta| meta.annotations.as_ref()), "annotations")?;
    annotations.remove(LAST_APPLIED);
    let (secret_type, data) = match kind {
        ObjectKind::Secret => {
            let secret_type = text(document.value.secret_type.as_ref(), "type")?;
            (
                Some(secret_type).filter(|text| !text.is_empty()),
                secret_data(&document.value)?,
            )
        }
        ObjectKind::ConfigMap => (None, config_map_data(&document.value)?),
    };
    let mut object = Object {
        key: ObjectKey {
            kind,
            name: name.to_owned(),
        },
        secret_type: secret_type.map(str::to_owned),
        labels: strings(table(|meta| meta.labels.as_ref()), "labels")?,
        annotations,
        data,
    };
    object.secret_type = rules::effective_type(&object).map(str::to_owned);
    manifest.objects.push(Declared {
        object,
        immutable: boolean(document.value.immutable.as_ref(), "immutable")?,
        line: document.referenced.line(),
    });
    Ok(())
}

fn strings(table: Option<&Table>, name: &str) -> Result<BTreeMap<String, String>, ManifestError> {
    entries(table, name)?
        .iter()
        .map(|(key, leaf)| Ok((key.clone(), text(Some(leaf), key)?.to_owned())))
        .collect()
}

type Data = BTreeMap<String, SecretBytes>;

fn secret_data<I>(document: &Document<I>) -> Result<Data, ManifestError> {
    let mut data = Data::new();
    for (key, leaf) in entries(document.data.as_ref(), "data")? {
        data.insert(key.clone(), base64(leaf, &format!("data.{key}"))?);
    }
    for (key, leaf) in entries(document.string_data.as_ref(), "stringData")? {
        data.insert(key.clone(), plain(leaf, &format!("stringData.{key}"))?);
    }
    Ok(data)
}

fn config_map_data<I>(document: &Document<I>) -> Result<Data, ManifestError> {
    let mut data = Data::new();
    for (key, leaf) in entries(document.data.as_ref(), "data")? {
        data.insert(key.clone(), plain(leaf, &format!("data.{key}"))?);
    }
    for (key, leaf) in entries(document.binary_data.as_ref(), "binaryData")? {
        let value = base64(leaf, &format!("binaryData.{key}"))?;
        if data.insert(key.clone(), value).is_some() {
            return Err(wrong(leaf, format!("{key} is in data and in binaryData")));
        }
    }
    Ok(data)
}

fn plain(leaf: &Leaf, what: &str) -> Result<SecretBytes, ManifestError> {
    Ok(SecretBytes::new(text(Some(leaf), what)?))
}

fn base64(leaf: &Leaf, what: &str) -> Result<SecretBytes, ManifestError> {
    let encoded = text(Some(leaf), what)?;
    let mut packed = Zeroizing::new(Vec::with_capacity(encoded.len()));
    packed.extend(encoded.bytes().filter(|b| !b.is_ascii_whitespace()));
    // Room for all of it: growing would leave copies of the secret behind.
    let mut decoded = Zeroizing::new(Vec::with_capacity(packed.len()));
    // The decoder's error names the byte that it stumbled over.
    BASE64
        .decode_vec(&*packed, &mut decoded)
        .map_err(|_| wrong(leaf, format!("{what} is not base64")))?;
    Ok(SecretBytes::new(std::mem::take(&mut *decoded)))
}
