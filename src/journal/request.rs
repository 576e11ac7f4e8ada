use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{decode_record, encode_record, record_object};
use crate::cluster::{Object, ObjectKind};

/// What somebody asked to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Every agent's client certificate.
    Agents,
    /// One agent's.
    Agent(String),
    /// The server certificates.
    Server,
    /// The tokens.
    Tokens,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agents => f.write_str("agents"),
            Self::Agent(cluster) => write!(f, "agent-{cluster}"),
            Self::Server => f.write_str("server"),
            Self::Tokens => f.write_str("tokens"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "agents" => Ok(Self::Agents),
            "server" => Ok(Self::Server),
            "tokens" => Ok(Self::Tokens),
            other => match other.strip_prefix("agent-") {
                Some(cluster) if !cluster.is_empty() => Ok(Self::Agent(cluster.to_owned())),
                _ => Err(format!("unknown rotation request {other:?}")),
            },
        }
    }
}

/// A request to rotate, written down before anything moves. Whatever carries a smaller number is
/// older than the request and due; so an interrupted rotation goes on where it stopped, and a
/// finished one is not done twice. Numbers, not times: clocks go backwards.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Counted over all requests of a relay.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
}

impl RequestRecord {
    /// As an object.
    pub fn encode(&self, relay: &str, scope: &Scope) -> Object {
        let name = format!("relay-pki-{relay}-request-{scope}");
        let mut object = record_object(relay, ObjectKind::ConfigMap, name);
        encode_record(&mut object, self);
        object
    }

    /// From an object.
    pub fn decode(object: &Object) -> Result<Self, String> {
        decode_record(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_survive_their_object_name() {
        for scope in [
            Scope::Agents,
            Scope::Agent("agents".to_owned()),
            Scope::Agent("cluster-1".to_owned()),
            Scope::Server,
            Scope::Tokens,
        ] {
            assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
        }
        assert!("agent-".parse::<Scope>().is_err());
        assert!("signer".parse::<Scope>().is_err());
        assert!("root".parse::<Scope>().is_err());
    }
}
