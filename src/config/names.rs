use std::fmt;
use std::str::FromStr;

use relay_pki_authority::x509::{CommonName, DnsName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::error::ValueError;

/// Stands for the cluster's name in a secret's name.
const CLUSTER: &str = "<cluster>";

/// The name of a cluster, which is its identity: the DNS name and the common name in its client
/// certificate, a label value and a part of object names in Kubernetes. Lower-case letters, digits,
/// `-` and `.`, 1 to 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterName {
    dns: DnsName,
    common: CommonName,
}

impl ClusterName {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.dns.as_str()
    }

    /// As the DNS name in the client certificate.
    pub fn dns_name(&self) -> &DnsName {
        &self.dns
    }

    /// As the common name in the client certificate.
    pub fn common_name(&self) -> &CommonName {
        &self.common
    }
}

impl FromStr for ClusterName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = subdomain("cluster name", text, 63)?;
        // "7" and "10.0.0.1" are addresses for TLS libraries, and never match as names.
        let last = text.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ValueError::new(
                format!("the cluster name {text:?} ends like an IP address"),
                "write a name with a letter in its last part, for example cluster-1",
            ));
        }
        let invalid = |error: &dyn fmt::Display| ValueError::new(error.to_string(), NAME_HINT);
        Ok(Self {
            dns: text.parse().map_err(|error| invalid(&error))?,
            common: text.parse().map_err(|error| invalid(&error))?,
        })
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl JsonSchema for ClusterName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClusterName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 63,
            "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        })
    }
}

/// The names of the relay secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretNames {
    /// The trust bundle (and the root key where the self-signed provider keeps it).
    pub root: String,
    /// The signer's certificate and key.
    pub signing: String,
    /// The relay server's certificate and key.
    pub server: String,
    /// An agent's certificate and key; `<cluster>` stands for the cluster's name.
    /// [`super::AgentSpec::client_secret`] has it in its final form.
    pub client: String,
    /// The identity token.
    pub identity_token: String,
    /// The forwarding token.
    pub forwarding_token: String,
}

impl Default for SecretNames {
    fn default() -> Self {
        Self {
            root: "relay-root-tls-secret".to_owned(),
            signing: "relay-tls-signing-secret".to_owned(),
            server: "relay-server-tls-secret".to_owned(),
            client: "relay-client-tls-secret".to_owned(),
            identity_token: "relay-identity-token-secret".to_owned(),
            forwarding_token: "relay-forwarding-identity-token-secret".to_owned(),
        }
    }
}

const NAME_HINT: &str =
    "use lower-case letters, digits and '-', with a letter or digit at both ends";

/// A Kubernetes name that may have dots in it (DNS-1123 subdomain), at most `limit` characters.
pub(super) fn subdomain<'a>(
    what: &str,
    text: &'a str,
    limit: usize,
) -> Result<&'a str, ValueError> {
    let label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let shown: String = text.chars().take(80).collect();
    if text.is_empty() {
        return Err(ValueError::new(format!("the {what} is empty"), NAME_HINT));
    }
    let length = text.chars().count();
    if length > limit {
        return Err(ValueError::new(
            format!("the {what} {shown:?} has {length} characters"),
            format!("use at most {limit}"),
        ));
    }
    if !text.split('.').all(label) {
        return Err(ValueError::new(
            format!("{shown:?} is no valid {what}"),
            NAME_HINT,
        ));
    }
    Ok(text)
}

/// A Kubernetes name without dots (DNS-1123 label).
pub(super) fn label<'a>(what: &str, text: &'a str) -> Result<&'a str, ValueError> {
    if text.contains('.') {
        return Err(ValueError::new(
            format!("the {what} {text:?} has a dot in it"),
            NAME_HINT,
        ));
    }
    subdomain(what, text, 63)
}

/// The name of a Secret.
pub(super) fn secret(text: &str) -> Result<String, ValueError> {
    subdomain("secret name", text, 253).map(str::to_owned)
}

/// A key of a Secret's data.
pub(super) fn data_key(text: &str) -> Result<String, ValueError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(allowed) {
        let shown: String = text.chars().take(80).collect();
        return Err(ValueError::new(
            format!("{shown:?} is no valid key of a Secret's data"),
            "use up to 253 letters, digits, '-', '.' and '_'",
        ));
    }
    Ok(text.to_owned())
}

/// The name of a workload.
pub(super) fn workload(text: &str) -> Result<&str, ValueError> {
    subdomain("workload name", text, 253)
}

/// The name of a cluster's client secret from a name that may hold `<cluster>`.
pub(super) fn client_secret(template: &str, cluster: &ClusterName) -> Result<String, ValueError> {
    secret(&template.replace(CLUSTER, cluster.as_str()))
}

/// Whether `template` gives a valid name for a short cluster name.
pub(super) fn client_secret_template(template: &str) -> Result<String, ValueError> {
    match secret(&template.replace(CLUSTER, "c")) {
        Ok(_) => Ok(template.to_owned()),
        Err(_) => Err(ValueError::new(
            format!("{template:?} is no valid secret name"),
            format!("{NAME_HINT}; {CLUSTER} stands for the cluster's name"),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names() {
        let longest = "a".repeat(63);
        for name in ["c", "cluster-1", "1a", "eu.west.prod", longest.as_str()] {
            let parsed: ClusterName = name.parse().unwrap();
            assert_eq!(parsed.as_str(), name);
            assert_eq!(parsed.dns_name().as_str(), name);
            assert_eq!(parsed.common_name().as_str(), name);
        }
        let long = "a".repeat(64);
        for name in [
            "", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "*.a", "ä", "a b", "7", "10.0.0.1",
            "prod.2", &long,
        ] {
            assert!(
                name.parse::<ClusterName>().is_err(),
                "{name:?} was accepted"
            );
        }
    }

    #[test]
    fn client_secrets_take_the_cluster_in() {
        let cluster: ClusterName = "c1".parse().unwrap();
        let of = |template| client_secret(template, &cluster);
        assert_eq!(of("agent-<cluster>-tls").unwrap(), "agent-c1-tls");
        assert_eq!(
            of("relay-client-tls-secret").unwrap(),
            "relay-client-tls-secret"
        );
        assert!(of("agent-<name>").is_err());
        assert!(client_secret_template("agent-<cluster>-tls").is_ok());
        assert!(client_secret_template("agent-<Cluster>").is_err());
        assert!(client_secret_template("").is_err());
    }
}
