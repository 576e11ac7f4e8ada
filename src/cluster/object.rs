use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// The kinds of object that relay-pki reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `v1/Secret`: relay secrets and private keys.
    Secret,
    /// `v1/ConfigMap`: records without anything secret in them.
    ConfigMap,
}

impl ObjectKind {
    /// The `kind` in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// Names an object within its cluster and namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The kind.
    pub kind: ObjectKind,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// A Secret's key.
    pub fn secret(name: impl Into<String>) -> Self {
        Self {
            kind: ObjectKind::Secret,
            name: name.into(),
        }
    }

    /// A ConfigMap's key.
    pub fn config_map(name: impl Into<String>) -> Self {
        Self {
            kind: ObjectKind::ConfigMap,
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// A Secret or ConfigMap, as much of it as relay-pki cares for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Kind and name.
    pub key: ObjectKey,
    /// `type` of a Secret (`Opaque`, `kubernetes.io/tls`, …); `None` for a ConfigMap. Immutable in
    /// Kubernetes, so an existing one is kept.
    pub secret_type: Option<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `data`, decoded.
    pub data: BTreeMap<String, SecretBytes>,
}

/// Bytes that may be secret: erased when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes over `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes. Whoever copies them owes their erasure.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, redacted", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_sizes_only() {
        let object = Object {
            key: ObjectKey::secret("relay-identity-token-secret"),
            secret_type: Some("Opaque".to_owned()),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            data: BTreeMap::from([("token".to_owned(), SecretBytes::new("hunter2"))]),
        };
        let text = format!("{object:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("7 bytes"), "{text}");
    }
}
