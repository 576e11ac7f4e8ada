use std::fmt::Display;
use std::io;
use std::path::Path;

use super::store::Store;
use crate::cluster::manifest::ManifestError;
use crate::cluster::{ClusterError, ObjectKey};

/// Errors, with what this cluster is.
impl Store {
    pub(super) fn unavailable(&self, operation: &str, reason: impl Display) -> ClusterError {
        ClusterError::Unavailable {
            cluster: self.name.clone(),
            operation: operation.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn io(&self, operation: &str, path: &Path, error: &io::Error) -> ClusterError {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        let reason = format!("{}: {error}", path.display());
        match error.kind() {
            PermissionDenied | ReadOnlyFilesystem => ClusterError::Denied {
                cluster: self.name.clone(),
                operation: operation.to_owned(),
                reason,
            },
            _ => self.unavailable(operation, reason),
        }
    }

    pub(super) fn conflict(&self, key: &ObjectKey) -> ClusterError {
        ClusterError::Conflict {
            cluster: self.name.clone(),
            object: key.clone(),
        }
    }

    pub(super) fn locked(&self, holder: &str) -> ClusterError {
        ClusterError::Locked {
            cluster: self.name.clone(),
            holder: holder.to_owned(),
        }
    }

    pub(super) fn occupied(&self, path: &Path, reason: String) -> ClusterError {
        ClusterError::Occupied {
            cluster: self.name.clone(),
            place: path.display().to_string(),
            reason,
        }
    }

    pub(super) fn malformed(&self, path: &Path, error: &ManifestError) -> ClusterError {
        let path = path.display();
        ClusterError::Malformed {
            cluster: self.name.clone(),
            place: match error.line {
                0 => path.to_string(),
                line => format!("{path}:{line}:{}", error.column),
            },
            reason: error.reason.clone(),
        }
    }
}
