use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{RegistrationError, refused};
use crate::cluster::{Access, Endpoint};

/// Letters in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// How the management cluster reaches an API server: what a kubeconfig says under `clusters`.
pub(super) struct KubeconfigCluster {
    server: String,
    /// PEM; none if the system's CAs are trusted.
    authorities: Option<String>,
    server_name: Option<String>,
}

impl KubeconfigCluster {
    /// From the administrator's kubeconfig, at another URL if one is given; and what to tell about it.
    pub(super) async fn of(
        access: &Access,
        server: Option<&str>,
    ) -> Result<(Self, Vec<String>), RegistrationError> {
        let endpoint = access.endpoint().await;
        let endpoint = endpoint.map_err(|reason| RegistrationError::Invalid {
            what: format!("the workload cluster cannot be found: {reason}"),
            fix: "name it with --context, or --kubeconfig".to_owned(),
        })?;
        if !endpoint.is_checked {
            return Err(refused(
                format!("{access} turns the check of the API server's certificate off"),
                "write the CA of the API server into it (certificate-authority-data) and remove \
                 insecure-skip-tls-verify",
            ));
        }
        let mut notes = Vec::new();
        let url = match server {
            Some(text) => parse(text)?,
            None => endpoint.server.clone(),
        };
        if url.scheme_str() != Some("https") {
            return Err(invalid_server(&url));
        }
        if is_loopback(url.host().unwrap_or_default()) {
            if server.is_none() {
                return Err(refused(
                    format!("{access} leads to {url}, which is another machine for everybody else"),
                    "give the URL as the management cluster reaches it: --server https://HOST:PORT",
                ));
            }
            notes.push(format!(
                "{url} is a loopback address: the controller reaches it only on this machine"
            ));
        }
        let server = url.to_string().trim_end_matches('/').to_owned();
        let found = Self {
            server,
            authorities: authorities(&endpoint),
            server_name: endpoint.server_name,
        };
        Ok((found, notes))
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn authorities(&self) -> Option<&str> {
        self.authorities.as_deref()
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

fn parse(text: &str) -> Result<http::Uri, RegistrationError> {
    let url: Result<http::Uri, _> = text.parse();
    match url {
        Ok(url) if url.host().is_some() && url.query().is_none() && !text.contains('@') => Ok(url),
        _ => Err(invalid_server(&text)),
    }
}

fn invalid_server(text: &dyn fmt::Display) -> RegistrationError {
    RegistrationError::Invalid {
        what: format!("{text} is no URL of an API server"),
        fix: "write --server https://HOST:PORT".to_owned(),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Result<std::net::IpAddr, _> = host.parse();
    match address {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// The CA certificates as PEM. They are the API server's affair: they are not judged by the rules for
/// relays.
fn authorities(endpoint: &Endpoint) -> Option<String> {
    let mut pem = String::new();
    for der in &endpoint.roots {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(der);
        for (position, letter) in text.chars().enumerate() {
            if position > 0 && position % PEM_LINE == 0 {
                pem.push('\n');
            }
            pem.push(letter);
        }
        pem.push_str("\n-----END CERTIFICATE-----\n");
    }
    (!pem.is_empty()).then_some(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses() {
        for host in [
            "127.0.0.1",
            "127.8.8.8",
            "[::1]",
            "localhost",
            "kind.localhost",
            "0.0.0.0",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "10.0.0.1",
            "api.example.com",
            "[fd00::1]",
            "localhost.example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn urls() {
        assert!(parse("https://10.0.0.1:6443").is_ok());
        for text in [
            "",
            "/api",
            "https://",
            "https://h?x=1",
            "https://me:pw@h",
            "not a url",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
