//! What an API server's refusals mean, and what to do about them.

use std::time::Duration;

use http::StatusCode;
use relay_pki_authority::AuthorityError;
use serde::Deserialize;

/// Why a request to the API server was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The API server answered with this.
    Refused {
        code: StatusCode,
        message: String,
        retry_after: Option<Duration>,
    },
    /// Nobody answered, or nobody knows.
    Unreachable(String),
    /// There is no way to the API server until somebody acts.
    NoAccess(String),
}

/// A `Status`, as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    retry_after_seconds: u64,
}

impl Failure {
    pub(crate) fn refused(code: StatusCode, header: Option<u64>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let seconds = header.unwrap_or(status.details.retry_after_seconds);
        Self::Refused {
            code,
            message: match status.message.is_empty() {
                true => format!("the API server answered {code}"),
                false => status.message.chars().take(1000).collect(),
            },
            retry_after: (seconds > 0).then(|| Duration::from_secs(seconds)),
        }
    }

    pub(crate) fn is(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// Whether the answer is about the object of this name, and not about its whole collection.
    pub(crate) fn names(&self, name: &str) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains(name))
    }

    /// Whether the same may succeed in a moment. Everything that is asked here may be asked twice:
    /// names are derived, and deletions name what they delete.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                *code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error()
            }
            Self::Unreachable(_) => true,
            Self::NoAccess(_) => false,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable(_) | Self::NoAccess(_) => None,
        }
    }

    /// As the error of `authority`, which was about to do `what` in `namespace`.
    pub(crate) fn into_error(
        self,
        authority: String,
        what: &str,
        namespace: &str,
    ) -> AuthorityError {
        let misconfigured = |reason: String, remedy: String| AuthorityError::Misconfigured {
            authority: authority.clone(),
            reason: format!("cannot {what}: {reason}"),
            remedy,
        };
        match self {
            Self::NoAccess(reason) => misconfigured(
                reason,
                "repair the way to the cluster that cert-manager runs in".to_owned(),
            ),
            Self::Refused {
                code: StatusCode::UNAUTHORIZED,
                ..
            } => misconfigured(
                "the API server does not accept the credentials (401)".to_owned(),
                "renew the kubeconfig or the service account's token".to_owned(),
            ),
            // A webhook says no to this object, whoever brings it.
            Self::Refused { code, message, .. }
                if message.contains("admission webhook") && code.is_client_error() =>
            {
                AuthorityError::Rejected {
                    authority,
                    reason: format!("cannot {what}: {message}"),
                }
            }
            Self::Refused {
                code: StatusCode::FORBIDDEN,
                message,
                ..
            } => misconfigured(
                message,
                format!("bind the role in docs/providers/cert-manager.md in namespace {namespace}"),
            ),
            Self::Refused {
                code: StatusCode::NOT_FOUND,
                message,
                ..
            } if message.starts_with("namespaces ") => {
                misconfigured(message, format!("create the namespace {namespace}"))
            }
            Self::Refused {
                code: StatusCode::NOT_FOUND,
                message,
                ..
            } => misconfigured(
                format!("{message} (404)"),
                "install cert-manager, with its CRDs, in this cluster".to_owned(),
            ),
            Self::Refused {
                message,
                retry_after,
                code,
            } if code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error() => {
                AuthorityError::Unavailable {
                    authority,
                    reason: format!("cannot {what}: {message}"),
                    retry_after,
                }
            }
            Self::Refused { message, code, .. } => AuthorityError::Rejected {
                authority,
                reason: format!("cannot {what}: {message} ({code})"),
            },
            Self::Unreachable(reason) => AuthorityError::Unavailable {
                authority,
                reason: format!("cannot {what}: {reason}"),
                retry_after: None,
            },
        }
    }
}
