//! Why a request is refused, and how that is said (RFC 7030 section 4.2.3).

use std::time::Duration;

use http::StatusCode;

/// Why a client does not get what it asks for. The text is what it reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// Nobody has proved to be anybody. That is all that a stranger is told.
    #[error(
        "the cluster's name and its enrolment token are needed, as user name and password; make a \
         token with `relay-pki token create`"
    )]
    Unauthenticated,
    /// The client is known, and may not have this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such operation.
    #[error("there is no such operation; EST is served under /.well-known/est/")]
    NotFound,
    /// The operation is one of EST that is not offered.
    #[error("this operation of EST is not offered")]
    NotOffered,
    /// The operation is called otherwise.
    #[error("this operation is called with {0}")]
    WrongMethod(&'static str),
    /// The body is larger than any request.
    #[error("the body is larger than any certificate request")]
    TooLarge,
    /// The body did not come in time.
    #[error("the body did not come in time")]
    TooSlow,
    /// The body is said to be something else.
    #[error("the body of an enrolment is application/pkcs10")]
    WrongType,
    /// Too many requests, or too many wrong ones.
    #[error("too many requests; wait {} s", .0.as_secs())]
    TooMany(Duration),
    /// The CA takes its time: the same request goes on.
    #[error("the certificate is not issued yet; repeat the same request in {} s", .0.as_secs())]
    Pending(Duration),
    /// It may work later.
    #[error("{reason}; repeat the same request in {} s", .retry_after.as_secs())]
    Unavailable {
        /// What does not work.
        reason: String,
        /// When to come again.
        retry_after: Duration,
    },
}

impl Refusal {
    /// The status of the reply.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::NotOffered => StatusCode::NOT_IMPLEMENTED,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Pending(_) => StatusCode::ACCEPTED,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word for it in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound => "not_found",
            Self::NotOffered => "not_offered",
            Self::WrongMethod(_) => "wrong_method",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::WrongType => "wrong_type",
            Self::TooMany(_) => "too_many",
            Self::Pending(_) => "pending",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// When the client may come again, in whole seconds, at least one: strongSwan reads no date.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany(after) | Self::Pending(after) => Some(after),
            Self::Unavailable { retry_after, .. } => Some(retry_after),
            _ => None,
        }
        .map(|after| after.as_secs() + u64::from(after.subsec_nanos() > 0))
        .map(|seconds| seconds.max(1))
    }

    /// Whether it speaks against the client, rather than for patience.
    pub fn is_offence(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::Unauthenticated
                | Self::Forbidden(_)
                | Self::TooLarge
                | Self::WrongType
        )
    }
}
