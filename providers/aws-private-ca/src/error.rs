//! What AWS says when it does not do what it is asked, by who has to act.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_acmpca::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use relay_pki_authority::AuthorityError;

/// Most that is quoted of what somebody else says, in characters.
const QUOTED: usize = 500;
/// When to ask again after being told to slow down, if AWS does not say.
const THROTTLED: Duration = Duration::from_secs(2);

/// A call that failed: the error code, where AWS gave one, and the error for the caller.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) code: Option<String>,
    pub(crate) error: AuthorityError,
}

impl Failed {
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether AWS does not believe who we are.
    pub(crate) fn is_refused_identity(&self) -> bool {
        self.code.as_deref().is_some_and(is_refused_identity)
    }

    /// How long AWS wants to be left alone.
    pub(crate) fn throttled(&self) -> Option<Duration> {
        match (&self.error, self.code.as_deref()) {
            (AuthorityError::Unavailable { retry_after, .. }, Some(code))
                if is_throttling(code) =>
            {
                Some(retry_after.unwrap_or(THROTTLED))
            }
            _ => None,
        }
    }
}

impl From<Failed> for AuthorityError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Classifies the failure of `operation`, asked of `authority`.
pub(crate) fn failed<E>(
    authority: &str,
    operation: &str,
    error: &SdkError<E, HttpResponse>,
) -> Failed
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        return Failed {
            code: None,
            error: unanswered(authority, operation, error),
        };
    };
    let code = answer.err().code().unwrap_or("an unnamed error").to_owned();
    let said = answer.err().message().unwrap_or("no message");
    let reason = format!("{operation}: {code}: {}", quoted(said));
    let status = answer.raw().status().as_u16();
    let header = answer.raw().headers().get("retry-after");
    let seconds = header.and_then(|text| text.parse().ok());
    let error = classified(
        authority.to_owned(),
        &code,
        status,
        reason,
        seconds.map(Duration::from_secs),
    );
    Failed {
        code: Some(code),
        error,
    }
}

fn classified(
    authority: String,
    code: &str,
    status: u16,
    reason: String,
    retry_after: Option<Duration>,
) -> AuthorityError {
    if is_throttling(code) || status == 429 {
        return AuthorityError::Unavailable {
            authority,
            reason,
            retry_after: Some(retry_after.unwrap_or(THROTTLED)),
        };
    }
    if let Some(remedy) = remedy(code) {
        return AuthorityError::Misconfigured {
            authority,
            reason,
            remedy: remedy.to_owned(),
        };
    }
    let passing = matches!(
        code,
        "RequestInProgressException" | "ConcurrentModificationException" | "RequestFailedException"
    );
    match passing || status >= 500 {
        true => AuthorityError::Unavailable {
            authority,
            reason,
            retry_after,
        },
        false => AuthorityError::Rejected { authority, reason },
    }
}

fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException"
            | "Throttling"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "SlowDown"
    )
}

fn is_refused_identity(code: &str) -> bool {
    matches!(
        code,
        "ExpiredTokenException"
            | "ExpiredToken"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignatureException"
            | "IncompleteSignature"
            | "MissingAuthenticationTokenException"
            | "MissingAuthenticationToken"
    )
}

/// What to change where AWS would refuse everybody.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDeniedException" | "AccessDenied" => {
            "give relay-pki's identity the permission that is named, as in docs/providers/aws-private-ca.md; \
             a CA that another account shares needs a RAM permission for each template"
        }
        "ExpiredTokenException" | "ExpiredToken" => {
            "renew the credentials (for a person: sign in again) and run it again"
        }
        code if is_refused_identity(code) => {
            "check the credentials that the environment, the profile or the role give, and that the clock is right"
        }
        "RequestExpired" | "RequestTimeTooSkewed" => "set the clock right",
        "OptInRequired" => "enable the region for the account",
        "ResourceNotFoundException" | "InvalidArnException" => {
            "check the ARN, the account and the region: another one is asked if they do not belong together"
        }
        "InvalidStateException" => {
            "look at the CA's status in the console: a disabled CA has to be enabled, an expired one certified again"
        }
        "LimitExceededException" | "ServiceQuotaExceededException" => {
            "ask for a higher quota in Service Quotas, or delete CAs that are no longer needed"
        }
        "InvalidPolicyException" | "LockoutPreventedException" => {
            "correct the CA's resource policy"
        }
        _ => return None,
    })
}

/// No answer, or none that makes sense.
fn unanswered<E>(
    authority: &str,
    operation: &str,
    error: &SdkError<E, HttpResponse>,
) -> AuthorityError
where
    E: Error + Send + Sync + 'static,
{
    let authority = authority.to_owned();
    let reason = format!("{operation}: {}", chain_of(error));
    let ours = match error {
        SdkError::ConstructionFailure(_) => true,
        SdkError::DispatchFailure(_) => is_without_credentials(error, &reason),
        _ => false,
    };
    match ours {
        true => AuthorityError::Misconfigured {
            authority,
            reason,
            remedy:
                "give relay-pki credentials by the environment, a profile or a role that it may \
                     assume; see docs/providers/aws-private-ca.md"
                    .to_owned(),
        },
        false => AuthorityError::Unavailable {
            authority,
            reason,
            retry_after: None,
        },
    }
}

/// Whether there are no credentials, as opposed to nobody who could be asked for them. Of a role that
/// cannot be assumed only the words say which.
fn is_without_credentials(error: &(dyn Error + 'static), reason: &str) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        match cause.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::ProviderTimedOut(_)) => return false,
            Some(CredentialsError::ProviderError(_)) => {
                return [
                    "AccessDenied",
                    "InvalidClientTokenId",
                    "ExpiredToken",
                    "Signature",
                ]
                .iter()
                .any(|code| reason.contains(code));
            }
            Some(_) => return true,
            None => next = cause.source(),
        }
    }
    false
}

/// What an error says and what it says of its causes. No `Debug`: that would show whole requests.
fn chain_of(error: &(dyn Error + 'static)) -> String {
    let mut said = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        said.push(cause.to_string());
        next = cause.source();
    }
    said.dedup();
    quoted(&said.join(": "))
}

/// Somebody else's words, bounded and on one line.
fn quoted(text: &str) -> String {
    let line = |character: char| match character.is_control() {
        true => ' ',
        false => character,
    };
    text.chars().map(line).take(QUOTED).collect()
}
