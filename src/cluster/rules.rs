//! What every Kubernetes API server refuses, so that no other implementation accepts it and a
//! directory can always be applied.

use super::{ClusterError, Object, ObjectKey, ObjectKind};

/// The most that the values of one Secret or ConfigMap may sum up to (`MaxSecretSize`).
pub const MAX_DATA_BYTES: usize = 1024 * 1024;

const DEFAULT_SECRET_TYPE: &str = "Opaque";

/// Whether an API server would take `object`: its names, its labels, its size.
pub(super) fn check_writable(cluster: &str, object: &Object) -> Result<(), ClusterError> {
    let refuse = |reason: String| {
        Err(ClusterError::Malformed {
            cluster: cluster.to_owned(),
            place: object.key.to_string(),
            reason,
        })
    };
    if !is_subdomain(&object.key.name) {
        return refuse("its name is not lower-case letters, digits, '-' and '.'".to_owned());
    }
    for (name, value) in &object.labels {
        if !is_qualified(name) {
            return refuse(format!("{name:?} cannot be the name of a label"));
        }
        if !(value.is_empty() || is_label_part(value)) {
            return refuse(format!("the value of its label {name} is not one"));
        }
    }
    if let Some(name) = object.annotations.keys().find(|name| !is_qualified(name)) {
        return refuse(format!("{name:?} cannot be the name of an annotation"));
    }
    if let Some(name) = object.data.keys().find(|name| !is_data_key(name)) {
        return refuse(format!("{name:?} cannot be a key of its data"));
    }
    let size = object.data.values().map(|value| value.expose().len()).sum();
    if size > MAX_DATA_BYTES {
        return Err(ClusterError::TooLarge {
            cluster: cluster.to_owned(),
            object: object.key.clone(),
            size,
            limit: MAX_DATA_BYTES,
        });
    }
    Ok(())
}

/// Whether an API server would let `new` replace `old`, which lies at `place`.
pub(super) fn check_change(
    cluster: &str,
    place: &str,
    immutable: bool,
    old: &Object,
    new: &Object,
) -> Result<(), ClusterError> {
    let refuse = |reason: String| {
        Err(ClusterError::Occupied {
            cluster: cluster.to_owned(),
            place: place.to_owned(),
            reason,
        })
    };
    if immutable && old.data != new.data {
        return refuse(format!(
            "{} is `immutable: true`; delete it and create it anew to change its data",
            old.key
        ));
    }
    let (from, to) = (effective_type(old), effective_type(new));
    if from != to {
        return refuse(format!(
            "the type of {} is {} and cannot become {}",
            old.key,
            from.unwrap_or_default(),
            to.unwrap_or_default()
        ));
    }
    Ok(())
}

/// The `type` that the object has once it is stored: an API server fills it in for a Secret, and a
/// ConfigMap has none.
pub(super) fn effective_type(object: &Object) -> Option<&str> {
    match object.key.kind {
        ObjectKind::Secret => Some(object.secret_type.as_deref().unwrap_or(DEFAULT_SECRET_TYPE)),
        ObjectKind::ConfigMap => None,
    }
}

/// Whether `object` is one that [`list`](super::Cluster::list) has been asked for.
pub(super) fn is_selected(object: &Object, selector: (&str, &str), wanted: &[ObjectKey]) -> bool {
    object
        .labels
        .get(selector.0)
        .is_some_and(|value| value == selector.1)
        || wanted.contains(&object.key)
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            is_bounded_by(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        })
}

fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label_part(name),
        None => is_label_part(text),
    }
}

fn is_label_part(text: &str) -> bool {
    text.len() <= 63
        && is_bounded_by(text, |c| c.is_ascii_alphanumeric())
        && text.bytes().all(is_word)
}

fn is_data_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(is_word)
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.')
}

fn is_bounded_by(text: &str, accept: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(&accept) && bytes.last().copied().is_some_and(&accept)
}
