use std::time::Duration;

use crate::x509::X509Error;

/// Why an authority did not do what it was asked, by who has to act.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// This request is refused for good; asking again the same way is pointless. The requester acts.
    #[error("{authority} rejected the request: {reason}")]
    Rejected {
        /// The authority or provider.
        authority: String,
        /// Its words.
        reason: String,
    },
    /// The authority would fail everybody, until its operator changes something.
    #[error("{authority} is not set up for this: {reason}; {remedy}")]
    Misconfigured {
        /// The authority or provider.
        authority: String,
        /// What is wrong.
        reason: String,
        /// What to change.
        remedy: String,
    },
    /// It may work later. Nobody has to act yet.
    #[error("{authority} is unavailable: {reason}")]
    Unavailable {
        /// The authority or provider.
        authority: String,
        /// Its words.
        reason: String,
        /// When to ask again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The backend has no such ability. The document has to ask for something else.
    #[error("{authority} does not support {what}")]
    Unsupported {
        /// The authority or provider.
        authority: String,
        /// The ability.
        what: String,
    },
    /// It answered with a certificate that is not what was asked for. Nothing of it was used; its
    /// operator has to look.
    #[error("{authority} issued a certificate that is not what was asked for: {problem}")]
    Misissued {
        /// The authority or provider.
        authority: String,
        /// The first thing that is wrong with it.
        problem: String,
    },
}

impl AuthorityError {
    /// A [`AuthorityError::Rejected`] because a value is not valid.
    pub fn rejected(authority: impl ToString, error: &X509Error) -> Self {
        Self::Rejected {
            authority: authority.to_string(),
            reason: error.to_string(),
        }
    }

    /// Whether the same request may succeed later without anybody acting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// A constant word for metrics and reports.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Unavailable { .. } => "unavailable",
            Self::Unsupported { .. } => "unsupported",
            Self::Misissued { .. } => "misissued",
        }
    }
}
