//! Which operation a request calls (RFC 7030 section 3.2.2).

use std::fmt;

use http::Method;

use super::{Layout, Refusal};

const PREFIX: &str = "/.well-known/est/";
/// The revocation list of the signer in use, as RFC 5280 has it, and those of all signers as PEM.
const LIST: &str = "/crl";
const LISTS: &str = "/crl.pem";
/// The label of clients that read wrapped base64 only.
const WRAPPED: &str = "wrapped";
const READ: &str = "GET, HEAD";
const WRITE: &str = "POST";

/// An operation of EST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    CaCertificates,
    Attributes,
    Enroll,
    Reenroll,
    /// Not of EST: the revocation list.
    RevocationList,
    RevocationLists,
}

impl Operation {
    /// The word for it in metrics and in the log.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::CaCertificates => "cacerts",
            Self::Attributes => "csrattrs",
            Self::Enroll => "simpleenroll",
            Self::Reenroll => "simplereenroll",
            Self::RevocationList | Self::RevocationLists => "crl",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What is called, and how the reply is to be laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) operation: Operation,
    /// The label, where it has to be the relay's name.
    pub(super) relay: Option<&'a str>,
    pub(super) layout: Layout,
}

impl<'a> Route<'a> {
    /// Reads a path.
    pub(super) fn of(method: &Method, path: &'a str) -> Result<Self, Refusal> {
        let (label, name) = match path {
            LIST | LISTS => (None, path),
            _ => {
                let rest = path.strip_prefix(PREFIX).ok_or(Refusal::NotFound)?;
                match rest.split_once('/') {
                    None => (None, rest),
                    Some((label, name)) => (Some(label), name),
                }
            }
        };
        let (operation, allowed) = match name {
            LIST => (Operation::RevocationList, READ),
            LISTS => (Operation::RevocationLists, READ),
            "cacerts" => (Operation::CaCertificates, READ),
            "csrattrs" => (Operation::Attributes, READ),
            "simpleenroll" => (Operation::Enroll, WRITE),
            "simplereenroll" => (Operation::Reenroll, WRITE),
            "fullcmc" | "serverkeygen" => return Err(Refusal::NotOffered),
            _ => return Err(Refusal::NotFound),
        };
        let fits = match allowed {
            WRITE => *method == Method::POST,
            _ => matches!(*method, Method::GET | Method::HEAD),
        };
        if !fits {
            return Err(Refusal::WrongMethod(allowed));
        }
        let wraps = label == Some(WRAPPED);
        Ok(Self {
            operation,
            relay: label.filter(|_| !wraps),
            layout: if wraps {
                Layout::Lines
            } else {
                Layout::OneLine
            },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operations_with_and_without_a_label() {
        let route = |path| Route::of(&Method::POST, path);
        let plain = route("/.well-known/est/simpleenroll").unwrap();
        assert_eq!((plain.relay, plain.layout), (None, Layout::OneLine));
        let labelled = route("/.well-known/est/relay/simplereenroll").unwrap();
        assert_eq!(labelled.operation, Operation::Reenroll);
        assert_eq!(labelled.relay, Some("relay"));
        let wrapped = route("/.well-known/est/wrapped/simpleenroll").unwrap();
        assert_eq!((wrapped.relay, wrapped.layout), (None, Layout::Lines));
        for (path, refusal) in [
            ("/.well-known/est/fullcmc", Refusal::NotOffered),
            ("/.well-known/est/serverkeygen", Refusal::NotOffered),
            ("/.well-known/est/", Refusal::NotFound),
            ("/.well-known/est/a/b/simpleenroll", Refusal::NotFound),
            ("/simpleenroll", Refusal::NotFound),
            ("/.well-known/est/cacerts", Refusal::WrongMethod(READ)),
        ] {
            assert_eq!(route(path), Err(refusal), "{path}");
        }
        let get = Route::of(&Method::GET, "/.well-known/est/simpleenroll");
        assert_eq!(get, Err(Refusal::WrongMethod(WRITE)));
    }
}
