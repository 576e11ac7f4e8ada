//! What the service's errors mean, by who has to act.

use std::error::Error as _;
use std::time::Duration;

use google_cloud_gax::error::CredentialsError;
use google_cloud_gax::error::rpc::Code;
use google_cloud_security_privateca_v1::Error;
use relay_pki_authority::AuthorityError;

/// Longest text of the service's that is passed on.
const QUOTED: usize = 600;
/// Longest pause that the service may impose on us in one go.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) kind: Kind,
    pub(crate) error: AuthorityError,
}

/// What callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// There is no such object.
    Missing,
    /// There is such an object already.
    Exists,
    /// The object is in a state in which this cannot be done.
    WrongState,
    /// The service does not know us, or no longer.
    Credential,
    /// Too many calls.
    Throttled,
    /// Anything else.
    Other,
}

impl From<Failed> for AuthorityError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl Failed {
    /// From the client's error. `authority` and `doing` say what failed, `identity` whose credential it
    /// was.
    pub(crate) fn new(authority: &str, doing: &str, identity: &str, error: &Error) -> Self {
        let error = innermost(error);
        let authority = authority.to_owned();
        let said = format!("cannot {doing}: {}", words(error));
        let unavailable = |retry_after| AuthorityError::Unavailable {
            authority: authority.clone(),
            reason: said.clone(),
            retry_after,
        };
        let misconfigured = |remedy: String| AuthorityError::Misconfigured {
            authority: authority.clone(),
            reason: said.clone(),
            remedy,
        };
        let (kind, error) = match code(error) {
            Some(Code::Unauthenticated) => {
                let remedy = format!("renew {identity}; a key may have been deleted or disabled");
                (Kind::Credential, misconfigured(remedy))
            }
            None if error.is_authentication() => {
                let transient = error.source().and_then(|source| source.downcast_ref());
                let transient = transient.is_some_and(CredentialsError::is_transient);
                let remedy = format!("check {identity}");
                match transient {
                    true => (Kind::Credential, unavailable(None)),
                    false => (Kind::Credential, misconfigured(remedy)),
                }
            }
            Some(Code::PermissionDenied) => {
                let remedy = format!(
                    "grant it to {identity} on the CA pool; docs/providers/gcp-cas.md has the role"
                );
                (Kind::Other, misconfigured(remedy))
            }
            Some(Code::NotFound) => {
                let remedy = "check spec.providers: project, location and pool must exist and the API \
                              privateca.googleapis.com must be enabled";
                (Kind::Missing, misconfigured(remedy.to_owned()))
            }
            Some(Code::FailedPrecondition) => {
                let remedy = "look at the CA's state with gcloud privateca roots list or \
                              subordinates list";
                (Kind::WrongState, misconfigured(remedy.to_owned()))
            }
            Some(Code::AlreadyExists) => (
                Kind::Exists,
                AuthorityError::Rejected {
                    authority,
                    reason: said,
                },
            ),
            Some(Code::InvalidArgument | Code::OutOfRange) => (
                Kind::Other,
                AuthorityError::Rejected {
                    authority,
                    reason: said,
                },
            ),
            Some(Code::Unimplemented) => {
                let remedy = "check the endpoint: it is not this service";
                (Kind::Other, misconfigured(remedy.to_owned()))
            }
            Some(Code::ResourceExhausted) => (Kind::Throttled, unavailable(retry_after(error))),
            _ => (Kind::Other, unavailable(retry_after(error))),
        };
        Self { kind, error }
    }
}

/// When to ask again, if the service said so.
pub(crate) fn retry_after(error: &Error) -> Option<Duration> {
    let header = innermost(error).http_headers()?.get("retry-after")?;
    let seconds: u64 = header.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// The code of an answer. What is in between (a proxy, a load balancer) gives a bare HTTP status.
fn code(error: &Error) -> Option<Code> {
    match (error.status(), error.http_status_code()) {
        (Some(status), _) => Some(status.code),
        (None, Some(401)) => Some(Code::Unauthenticated),
        (None, Some(403)) => Some(Code::PermissionDenied),
        (None, Some(404)) => Some(Code::NotFound),
        (None, Some(429)) => Some(Code::ResourceExhausted),
        (None, Some(400)) => Some(Code::InvalidArgument),
        _ => None,
    }
}

/// The error that made the client give up, not that it gave up.
fn innermost(error: &Error) -> &Error {
    let mut error = error;
    while error.is_exhausted() {
        match error.source().and_then(|source| source.downcast_ref()) {
            Some(source) => error = source,
            None => break,
        }
    }
    error
}

/// The service's own words, or what the client says with its reasons; one line, bounded.
fn words(error: &Error) -> String {
    let text = match error.status() {
        Some(status) => format!("{} ({})", status.message, status.code.name()),
        None if error.is_timeout() => "no answer in time".to_owned(),
        None => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                let reason = error.to_string();
                if !text.contains(&reason) {
                    text.push_str(": ");
                    text.push_str(&reason);
                }
                source = error.source();
            }
            text
        }
    };
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(QUOTED)
        .collect();
    line.trim().to_owned()
}
