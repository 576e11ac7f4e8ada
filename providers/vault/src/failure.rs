use std::error::Error;
use std::io;
use std::time::Duration;

use relay_pki_authority::{AuthorityError, CredentialError};
use serde::Deserialize;

use crate::transport::Answer;

/// The longest quote of the server's words.
const LONGEST: usize = 500;

/// Why a call came to nothing.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The server said no.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its words.
        words: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server never got the request.
    Unsent(String),
    /// The server may have got the request and done what it says.
    Lost(String),
    /// The answer is none of Vault's.
    Unreadable(String),
    /// A credential cannot be read.
    Credential(CredentialError),
    /// What we were given to work with does not work.
    Unusable {
        /// What is wrong.
        reason: String,
        /// What to change.
        remedy: String,
    },
}

/// How Vault writes errors.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Failure {
    /// What an answer without success says.
    pub(crate) fn of_answer(answer: &Answer) -> Self {
        let words = match serde_json::from_slice::<Errors>(&answer.body) {
            Ok(said) => said.errors.join("; "),
            // Whatever stands before Vault may answer with anything.
            Err(_) => String::new(),
        };
        Self::Refused {
            status: answer.status,
            words: one_line(&words),
            retry_after: answer.retry_after,
        }
    }

    pub(crate) fn of_transport(error: reqwest::Error, timeout: Duration) -> Self {
        // The address is in the message already, and may carry a password.
        let error = error.without_url();
        if let Some(reason) = tls_problem(&error) {
            return reason;
        }
        let words = match error.is_timeout() {
            true => format!("no answer within {} s", timeout.as_secs_f32()),
            false => chain(&error),
        };
        match error.is_connect() || error.is_builder() {
            true => Self::Unsent(words),
            false => Self::Lost(words),
        }
    }

    /// Whether the same call may succeed a moment later. A sealed server needs people.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, words, .. } => {
                matches!(status, 412 | 429 | 472 | 473 | 500 | 502..=504)
                    && !words.contains("sealed")
            }
            Self::Unsent(_) | Self::Lost(_) => true,
            Self::Unreadable(_) | Self::Credential(_) | Self::Unusable { .. } => false,
        }
    }

    /// Whether it is certain that the server did nothing.
    pub(crate) fn did_nothing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 412 | 429 | 472 | 473 | 503),
            Self::Unsent(_) => true,
            _ => false,
        }
    }

    /// Whether the server says this, in any case of letters.
    pub(crate) fn says(&self, text: &str) -> bool {
        matches!(self, Self::Refused { words, .. } if words.to_lowercase().contains(text))
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
            || self.says("unable to find pki issuer")
            || self.says("unable to find pki key")
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: 403, .. })
    }

    /// In the words of the contract: `authority` was asked to do `what`.
    pub(crate) fn explain(self, authority: &str, what: &str) -> AuthorityError {
        let authority = authority.to_owned();
        let (status, words, retry_after) = match self {
            Self::Refused {
                status,
                words,
                retry_after,
            } => (status, words, retry_after),
            Self::Unsent(words) => {
                return AuthorityError::Unavailable {
                    authority,
                    reason: format!("Vault cannot be reached: {words}"),
                    retry_after: None,
                };
            }
            Self::Lost(words) => {
                return AuthorityError::Unavailable {
                    authority,
                    reason: format!("{what}: {words}"),
                    retry_after: None,
                };
            }
            Self::Unreadable(words) => {
                return AuthorityError::Misconfigured {
                    authority,
                    reason: format!("{what}: {words}"),
                    remedy: "check that the address is that of a Vault server".to_owned(),
                };
            }
            Self::Credential(error) => {
                return AuthorityError::Misconfigured {
                    authority,
                    reason: error.to_string(),
                    remedy: "put what the document names there".to_owned(),
                };
            }
            Self::Unusable { reason, remedy } => {
                return AuthorityError::Misconfigured {
                    authority,
                    reason,
                    remedy,
                };
            }
        };
        let said = match words.is_empty() {
            true => format!("HTTP status {status}"),
            false => words.clone(),
        };
        let reason = format!("{what}: {said}");
        match (status, remedy(status, &words)) {
            (412 | 429 | 472 | 473 | 500..=599, _) => AuthorityError::Unavailable {
                authority,
                reason: match words.contains("sealed") {
                    true => format!("{reason}; its operators have to unseal it"),
                    false => reason,
                },
                retry_after,
            },
            (_, Some(remedy)) => AuthorityError::Misconfigured {
                authority,
                reason,
                remedy,
            },
            (_, None) => AuthorityError::Rejected { authority, reason },
        }
    }
}

/// What to change, where the server's words tell it.
fn remedy(status: u16, words: &str) -> Option<String> {
    let words = words.to_lowercase();
    let has = |text: &str| words.contains(text);
    let remedy = match status {
        403 => {
            "add this path to the policy of the token, as docs/providers/vault.md shows it, and \
             check namespace and mount"
        }
        404 => {
            "check mount and namespace in the document, and that the PKI engine is enabled there"
        }
        _ if has("unknown role") => {
            "make the role, or name another one in roles: of the document; docs/providers/vault.md \
             has the commands"
        }
        _ if has("not allowed by this role") => {
            "have the role allow the name: allow_any_name=true, or allowed_domains with \
             allow_bare_domains and allow_wildcard_certificates"
        }
        _ if has("role requires keys") || has("key type") || has("key_type") => {
            "set key_type=any and key_bits=0 on the role"
        }
        _ if has("usage") && has("issuer") => {
            "give the issuer the usage issuing-certificates again, or rotate to a new generation"
        }
        _ => return None,
    };
    Some(remedy.to_owned())
}

/// What TLS has against the server, or the server against us. Waiting helps with neither.
fn tls_problem(error: &(dyn Error + 'static)) -> Option<Failure> {
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(problem)) => {
            return Some(Failure::Unusable {
                reason: format!("the TLS certificate of the server is not accepted: {problem:?}"),
                remedy: "name the CA that signed it in caBundle of the document, and the server \
                         as its certificate does in address"
                    .to_owned(),
            });
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            return Some(Failure::Unusable {
                reason: format!("the server refuses the TLS connection: {alert:?}"),
                remedy: "name a client certificate that it accepts in clientCertificate of the \
                         document"
                    .to_owned(),
            });
        }
        _ => {}
    }
    // An I/O error does not count what it wraps among its sources.
    let wrapped = error.downcast_ref::<io::Error>();
    let wrapped = wrapped.and_then(io::Error::get_ref);
    wrapped
        .and_then(|wrapped| tls_problem(wrapped))
        .or_else(|| tls_problem(error.source()?))
}

/// An error with its causes: the outermost alone says "error sending request".
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !words.contains(&said) {
            words.push_str(": ");
            words.push_str(&said);
        }
        source = cause.source();
    }
    one_line(&words)
}

fn one_line(words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}
