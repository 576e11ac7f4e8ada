use std::fmt;
use std::str::FromStr;

#[cfg(any(test, feature = "rcgen"))]
use rcgen::{DistinguishedName, DnType, DnValue, string::PrintableString};

use super::X509Error;

/// A DNS name for a subject alternative name: lower case, LDH labels, a wildcard only as the whole
/// left-most label (RFC 5280 section 4.2.1.6, RFC 9525 section 6.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(String);

impl DnsName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name, possibly a wildcard, covers `host` (RFC 9525: one left-most label only).
    pub fn covers(&self, host: &DnsName) -> bool {
        if self == host {
            return true;
        }
        match (self.0.strip_prefix("*."), host.0.split_once('.')) {
            (Some(parent), Some((left, rest))) => left != "*" && parent == rest,
            _ => false,
        }
    }
}

impl FromStr for DnsName {
    type Err = X509Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason: &str| X509Error::InvalidName {
            what: "DNS name",
            value: text.chars().take(260).collect(),
            reason: reason.to_owned(),
        };
        if text.is_empty() || text.len() > 253 {
            return Err(invalid("it must have 1 to 253 characters"));
        }
        let labels = text.strip_prefix("*.").unwrap_or(text);
        for label in labels.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(invalid("each label must have 1 to 63 characters"));
            }
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if !label.chars().all(allowed) {
                return Err(invalid(
                    "labels consist of lower-case letters, digits and '-'; \
                     '*' may only be the whole first label",
                ));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(invalid("a label must not start or end with '-'"));
            }
        }
        let last = labels.rsplit('.').next().unwrap_or_default();
        if labels.contains('.') && last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid(
                "it is an IP address, which verifiers never match as a name",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A common name: 1 to 64 printable characters (ub-common-name, RFC 5280 appendix A.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommonName(String);

impl CommonName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommonName {
    type Err = X509Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if length == 0 || length > 64 || text.chars().any(char::is_control) {
            return Err(X509Error::InvalidName {
                what: "common name",
                value: text.chars().take(80).collect(),
                reason: "it must have 1 to 64 printable characters".to_owned(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The distinguished name that policy gives to a certificate: an organisation if there is one, and
/// a common name. Attributes never repeat, because some certificate libraries drop repeated ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// `O`, for CAs: the relay that the CA belongs to.
    pub organization: Option<CommonName>,
    /// `CN`.
    pub common_name: CommonName,
}

#[cfg(any(test, feature = "rcgen"))]
impl Subject {
    /// The name as it goes into a certificate or a request, a PrintableString where that will do, as other CAs
    /// write it, too. Go and webpki compare names byte by byte, and a signer that is moved from one root to
    /// the next has certificates of two CAs.
    pub fn distinguished_name(&self) -> DistinguishedName {
        let text = |value: &CommonName| match PrintableString::try_from(value.as_str()) {
            Ok(value) => DnValue::PrintableString(value),
            Err(_) => DnValue::Utf8String(value.to_string()),
        };
        let mut name = DistinguishedName::new();
        if let Some(organization) = &self.organization {
            name.push(DnType::OrganizationName, text(organization));
        }
        name.push(DnType::CommonName, text(&self.common_name));
        name
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(organization) = &self.organization {
            write!(f, "O={organization}, ")?;
        }
        write!(f, "CN={}", self.common_name)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests {
    use super::*;

    fn dns(text: &str) -> DnsName {
        text.parse().unwrap()
    }

    #[test]
    fn accepts_cluster_names_and_wildcards() {
        for name in [
            "cluster-1",
            "gloo-mesh-mgmt-server.gloo-mesh",
            "*.gloo-mesh",
        ] {
            assert_eq!(dns(name).as_str(), name);
        }
    }

    #[test]
    fn refuses_what_is_no_dns_name() {
        let long = "a".repeat(64);
        for name in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "A",
            "a_b",
            "*",
            "a.*",
            "x*.y",
            "ä",
            "a b",
            "1.2.3.4:5",
            "1.2.3.4",
            &long,
        ] {
            assert!(name.parse::<DnsName>().is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(dns("*.gloo-mesh").covers(&dns("gloo-mesh-mgmt-server.gloo-mesh")));
        assert!(!dns("*.gloo-mesh").covers(&dns("a.b.gloo-mesh")));
        assert!(!dns("*.gloo-mesh").covers(&dns("gloo-mesh")));
        assert!(dns("a.b").covers(&dns("a.b")));
        assert!(!dns("a.b").covers(&dns("c.b")));
    }

    #[test]
    fn common_names_are_bounded() {
        assert!("x".repeat(64).parse::<CommonName>().is_ok());
        assert!("x".repeat(65).parse::<CommonName>().is_err());
        assert!("a\nb".parse::<CommonName>().is_err());
        assert!("".parse::<CommonName>().is_err());
    }
}
