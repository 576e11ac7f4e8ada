//! Where something answers: host and port, and what is asked for there.

use std::fmt;
use std::str::FromStr;

use http::uri::Authority;

use super::error::ValueError;

/// The port of HTTP.
const HTTP_PORT: u16 = 80;

/// A host, by name or IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    fn of(authority: &Authority, port: Option<u16>) -> Option<Self> {
        let host = authority.host().trim_matches(['[', ']']);
        let plain = !host.is_empty() && !authority.as_str().contains('@');
        Some(Self {
            host: plain.then(|| host.to_owned())?,
            port: authority.port_u16().or(port).filter(|port| *port > 0)?,
        })
    }
}

impl FromStr for Address {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let authority = text.parse::<Authority>().ok();
        let address = authority.and_then(|authority| Self::of(&authority, None));
        address.ok_or_else(|| {
            wrong(
                text,
                "is no address with a port",
                "gloo-mesh-mgmt-server.gloo-mesh:9900",
            )
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Where metrics are served in the text format of Prometheus, without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsUrl {
    /// Who is asked.
    pub address: Address,
    /// What for.
    pub path: String,
}

impl FromStr for MetricsUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXAMPLE: &str = "http://gloo-mesh-mgmt-server.gloo-mesh:9091/metrics";
        if text.contains(['@', '?', '#']) {
            // Not a word of it: there may be a password in it.
            let message = "the URL of metrics has more than host, port and path";
            return Err(ValueError::new(
                message,
                format!("write for example {EXAMPLE}"),
            ));
        }
        let url: Option<http::Uri> = text.parse().ok();
        let url = url.filter(|url| url.scheme_str() == Some("http"));
        let read = |url: http::Uri| {
            Some(Self {
                address: Address::of(url.authority()?, Some(HTTP_PORT))?,
                path: url.path().to_owned(),
            })
        };
        url.and_then(read)
            .ok_or_else(|| wrong(text, "is no URL with http://", EXAMPLE))
    }
}

impl fmt::Display for MetricsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.path)
    }
}

fn wrong(text: &str, what: &str, example: &str) -> ValueError {
    let shown: String = text.chars().take(80).collect();
    ValueError::new(
        format!("{shown:?} {what}"),
        format!("write for example {example}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for text in ["relay.gloo-mesh:9900", "10.0.0.1:1", "[fd00::1]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:9".parse::<Address>().unwrap().host, "::1");
        for text in [
            "relay",
            "relay:",
            ":9900",
            "relay:0",
            "relay:65536",
            "u@relay:1",
            "a/b:1",
            "http://a:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn metrics_are_asked_for_without_tls_and_without_a_password() {
        let url: MetricsUrl = "http://relay:9091/metrics".parse().unwrap();
        assert_eq!((url.address.port, url.path.as_str()), (9091, "/metrics"));
        assert_eq!(url.to_string(), "http://relay:9091/metrics");
        assert_eq!(
            "http://relay".parse::<MetricsUrl>().unwrap().address.port,
            80
        );
        for text in [
            "https://relay:9091/metrics",
            "relay:9091",
            "http://",
            "http://relay/metrics?a=b",
        ] {
            assert!(text.parse::<MetricsUrl>().is_err(), "{text}");
        }
        let error = "http://u:hunter2@relay/metrics"
            .parse::<MetricsUrl>()
            .unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
