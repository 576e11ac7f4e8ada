use std::path::Path;

use super::super::document::NAMESPACE;

/// Where a specification was written, which decides what it may refer to and how its fields are
/// called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// In a document. Relative paths in it start at `base`.
    Document { base: &'a Path },
    /// In objects of the API, which lie in `namespace`: one for the relay, one for each cluster.
    /// They have no lines, and what lies on somebody's disk means nothing in them.
    Objects { namespace: &'a str },
}

impl Source<'_> {
    /// Whether places are those of a text that somebody wrote.
    pub(super) fn has_places(self) -> bool {
        matches!(self, Self::Document { .. })
    }

    /// The relay's namespace, if nothing is said about it.
    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Document { .. } => NAMESPACE,
            Self::Objects { namespace } => namespace,
        }
    }

    /// The path of the `index`-th cluster's fields.
    pub(super) fn cluster_path(self, index: usize) -> String {
        match self {
            Self::Document { .. } => format!("spec.clusters[{index}]"),
            Self::Objects { .. } => "spec".to_owned(),
        }
    }

    /// The path of a cluster's name, whose other fields are at `path`.
    pub(super) fn name_path(self, path: &str) -> String {
        match self {
            Self::Document { .. } => format!("{path}.name"),
            Self::Objects { .. } => "metadata.name".to_owned(),
        }
    }

    /// The path of the signer, as seen from a cluster.
    pub(super) fn signer_path(self) -> &'static str {
        match self {
            Self::Document { .. } => "spec.signer",
            Self::Objects { .. } => "the Relay's spec.signer",
        }
    }

    /// The ways to say where a cluster is.
    pub(super) fn accesses(self) -> &'static str {
        match self {
            Self::Document { .. } => "directory: …, kubeconfig: … or inCluster: {}",
            Self::Objects { .. } => "kubeconfig: { secretRef: { name: … } } or inCluster: {}",
        }
    }
}
