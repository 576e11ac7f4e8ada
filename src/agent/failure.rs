//! Why an agent did not get what it asked for.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::StatusCode;
use rustls::AlertDescription;

use super::tls::is_about_time;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody answers, or not in time.
    #[error("{0}")]
    Unreachable(String),
    /// The server hung up before it said anything. It may be that it does not take our certificate: in TLS
    /// 1.3 the alert that says so is lost easily.
    #[error("the server hung up: {0}")]
    HungUp(String),
    /// The server is not one that the roots vouch for.
    #[error("the server's certificate does not verify: {0}")]
    Untrusted(String),
    /// The server's certificate has ended or not begun, by our clock.
    #[error("the server's certificate is not valid by the clock of this machine: {0}")]
    Clock(String),
    /// The server does not take our certificate.
    #[error("the server does not take the certificate: {0}")]
    IdentityRefused(String),
    /// The server says no.
    #[error("the server answers {status}: {text}")]
    Refused {
        status: StatusCode,
        text: String,
        retry_after: Option<Duration>,
    },
    /// The server's answer makes no sense.
    #[error("the server's answer cannot be used: {0}")]
    Senseless(String),
}

impl Failure {
    /// From what went wrong while the connection was made.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(reason)) if is_about_time(reason) => {
                Self::Clock(reason.to_string())
            }
            Some(rustls::Error::InvalidCertificate(reason)) => Self::Untrusted(reason.to_string()),
            Some(error) => Self::of_alert(error),
            None => Self::Unreachable(format!("no TLS connection: {error}")),
        }
    }

    /// From what went wrong with a request.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(found) = cause {
            if let Some(error) = found.downcast_ref::<io::Error>().and_then(tls_error) {
                return Self::of_alert(error);
            }
            cause = found.source();
        }
        Self::HungUp(error.to_string())
    }

    fn of_alert(error: &rustls::Error) -> Self {
        use AlertDescription as Alert;
        match error {
            rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError),
            ) => Self::IdentityRefused(format!("{alert:?}")),
            other => Self::Unreachable(other.to_string()),
        }
    }

    /// How long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the server knows who asks, and says no: asking again changes nothing.
    pub(super) fn is_verdict(&self) -> bool {
        matches!(self, Self::Refused { status, .. }
            if matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }
}

/// What TLS has to say, if it is about that. A `source` would leave it out.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}
