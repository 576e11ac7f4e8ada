use std::io;

use super::exit::Exit;
use crate::cluster::ClusterError;
use crate::clusters::SameDirectory;
use crate::config::ConfigError;
use crate::crd::StoredError;
use crate::registration::RegistrationError;

/// Why a command ends early, and what to do about it.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) exit: Exit,
    pub(super) what: String,
    pub(super) fix: Option<String>,
}

impl CliError {
    /// A failure without anything special to do about it.
    pub(super) fn failed(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            what: what.into(),
            fix: None,
        }
    }

    /// Wrong arguments.
    pub(super) fn usage(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }
}

impl From<ClusterError> for CliError {
    fn from(error: ClusterError) -> Self {
        let (exit, fix) = match &error {
            ClusterError::Denied { .. } => (Exit::Denied, None),
            ClusterError::NoAccess { .. } => (
                Exit::Usage,
                Some(
                    "name a kubeconfig file and a context in it that are there; \
                     `kubectl config get-contexts` shows them",
                ),
            ),
            ClusterError::Locked { .. } => (
                Exit::Failed,
                Some("wait for the other relay-pki to end, then run this again"),
            ),
            ClusterError::Conflict { .. } => (Exit::Failed, Some("run the same command again")),
            ClusterError::Malformed { .. } => (
                Exit::Incomplete,
                Some("repair it or restore it from a backup, then run the same command again"),
            ),
            _ => (Exit::Failed, None),
        };
        Self {
            exit,
            what: error.to_string(),
            fix: fix.map(str::to_owned),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::failed(format!("cannot write the output: {error}"))
    }
}

impl From<SameDirectory> for CliError {
    fn from(error: SameDirectory) -> Self {
        Self::usage(
            error.to_string(),
            "give each cluster its own directory; one of them is a link to the other",
        )
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string(), "correct the object, then run this again")
    }
}

impl From<StoredError> for CliError {
    fn from(error: StoredError) -> Self {
        match error {
            StoredError::Cluster(error) => error.into(),
            error => Self {
                exit: Exit::Usage,
                what: error.to_string(),
                fix: None,
            },
        }
    }
}

impl From<RegistrationError> for CliError {
    fn from(error: RegistrationError) -> Self {
        let (exit, what, fix) = match error {
            RegistrationError::Invalid { what, fix } => (Exit::Usage, what, fix),
            RegistrationError::Refused { what, fix } => (Exit::Refused, what, fix),
            RegistrationError::Unfinished { what, fix } => (Exit::Failed, what, fix),
            RegistrationError::Stored(error) => return error.into(),
            RegistrationError::Config(error) => return error.into(),
            RegistrationError::Cluster(error) => return error.into(),
        };
        Self {
            exit,
            what,
            fix: Some(fix),
        }
    }
}
