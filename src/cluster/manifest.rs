//! Manifests: Secrets and ConfigMaps as `kubectl apply -R -f DIRECTORY` reads them.
//!
//! Reading takes what people write by hand, by `kubectl get -o yaml` and by `kubectl create
//! --dry-run`. Writing has one form only, so that the same object is always the same bytes.

mod document;
mod read;
mod write;

use super::Object;

pub use read::parse;
pub use write::{render, render_namespace};

/// The largest manifest file that is read. Twice what the largest Secret takes in base64.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// What one file holds for one namespace.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    /// The Secrets and ConfigMaps of the namespace.
    pub objects: Vec<Declared>,
    /// The names of the Namespace manifests in it.
    pub namespaces: Vec<String>,
    /// How many documents and list items there are, those of other kinds included.
    pub documents: usize,
    /// Whether any of them is in a `List`.
    pub has_list: bool,
}

impl Manifest {
    /// Whether the file is about one object and nothing else, so that the object's new state can
    /// replace the file's content.
    pub fn is_single(&self) -> bool {
        self.documents == 1 && self.objects.len() == 1 && !self.has_list
    }
}

/// An object as a manifest declares it.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The object.
    pub object: Object,
    /// `immutable: true`: an API server refuses to change its data.
    pub immutable: bool,
    /// The line that it starts on.
    pub line: u64,
}

/// The notation of a manifest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Why a text is not a manifest. Never quotes a value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {reason}")]
pub struct ManifestError {
    /// The line, from 1; 0 when the error is about the whole file.
    pub line: u64,
    /// The column in characters, from 1; 0 when the error is about the whole file.
    pub column: u64,
    /// What is wrong.
    pub reason: String,
}

impl ManifestError {
    pub(super) fn whole(reason: impl Into<String>) -> Self {
        Self {
            line: 0,
            column: 0,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests;
