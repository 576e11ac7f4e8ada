use std::fmt;

use crate::cluster::ClusterError;
use crate::config::ConfigError;
use crate::crd::StoredError;

/// Why a cluster is not registered, or not taken out again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// What was asked for makes no sense.
    #[error("{what}")]
    Invalid {
        /// What.
        what: String,
        /// What to do about it.
        fix: String,
    },
    /// It could break something.
    #[error("{what}")]
    Refused {
        /// What.
        what: String,
        /// What to do about it.
        fix: String,
    },
    /// Kubernetes did not do its part in time.
    #[error("{what}")]
    Unfinished {
        /// What.
        what: String,
        /// What to do about it.
        fix: String,
    },
    /// The Relay cannot be worked with.
    #[error(transparent)]
    Stored(StoredError),
    /// The Relay is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A cluster cannot be read or written.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl From<StoredError> for RegistrationError {
    fn from(error: StoredError) -> Self {
        match error {
            StoredError::Cluster(error) => Self::Cluster(error),
            error => Self::Stored(error),
        }
    }
}

/// A refusal.
pub(super) fn refused(what: impl fmt::Display, fix: impl fmt::Display) -> RegistrationError {
    RegistrationError::Refused {
        what: what.to_string(),
        fix: fix.to_string(),
    }
}
