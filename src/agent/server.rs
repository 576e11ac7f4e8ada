//! Where the EST server is, and what it is called.

use std::fmt;
use std::str::FromStr as _;

use http::Uri;
use rustls::pki_types::ServerName;

use crate::config::ValueError;

/// Where the EST server is.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// The name in its certificate.
    pub(super) name: ServerName<'static>,
}

impl Server {
    /// From `https://HOST[:PORT]`; `name` is what its certificate has to say, the host if there is none.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn new(url: &str, name: Option<&str>) -> Result<Self, ValueError> {
        let refuse = |what: &str| {
            ValueError::new(
                format!("{url:?} is no address of an EST server: {what}"),
                "write https:// with a host and a port, for example https://relay.example.com:9443",
            )
        };
        let uri = Uri::from_str(url).map_err(|error| refuse(&error.to_string()))?;
        if uri.scheme_str() != Some("https") {
            return Err(refuse("it does not begin with https://"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refuse("there is something behind the host"));
        }
        let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("a user does not belong there"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let wanted = name.unwrap_or(&host).to_owned();
        let name = ServerName::try_from(wanted.clone()).map_err(|_| {
            ValueError::new(
                format!("{wanted:?} is no name that a certificate can have"),
                "write the relay authority, for example gloo-mesh-mgmt-server.gloo-mesh",
            )
        })?;
        Ok(Self {
            port: authority.port_u16().unwrap_or(443),
            host,
            name,
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "https://[{}]:{}", self.host, self.port),
            false => write!(f, "https://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (url, host, port) in [
            ("https://relay.example.com", "relay.example.com", 443),
            ("https://relay.example.com:9443/", "relay.example.com", 9443),
            ("https://10.0.0.1:9443", "10.0.0.1", 9443),
            ("https://[::1]:9443", "::1", 9443),
        ] {
            let server = Server::new(url, None).unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port));
            assert_eq!(server.name.to_str(), host);
            let again = Server::new(&server.to_string(), Some("a.b")).unwrap();
            assert_eq!((again.host.as_str(), again.port), (host, port));
            assert_eq!(again.name.to_str(), "a.b");
        }
        for url in [
            "",
            "relay.example.com",
            "http://relay.example.com",
            "https://user@relay.example.com",
            "https://relay.example.com/est",
            "https://relay.example.com?a",
        ] {
            assert!(Server::new(url, None).is_err(), "{url}");
        }
        assert!(Server::new("https://a", Some("no name")).is_err());
    }
}
