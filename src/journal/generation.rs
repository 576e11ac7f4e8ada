use jiff::Timestamp;
use relay_pki_authority::x509::{Certificate, KeyType, Validity};
use relay_pki_authority::{Generation, Level};

use super::{decode_record, encode_record, record_object};
use crate::cluster::{Object, ObjectKind, SecretBytes};
use crate::relay::TLS_CERT;

/// Data key of the certificate under the root before.
const CROSS_CERT: &str = "cross.crt";
/// Data key of the certificate of the root before.
const PREDECESSOR_CERT: &str = "predecessor.crt";

/// Where a generation is in its life. It only moves forwards, but for a rotation that is rolled back:
/// then the one that was retiring is active again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Intended; its provider may or may not have made it yet.
    Prepared,
    /// Made. A root in this state is in every bundle, but signs nothing.
    Published,
    /// The one in use.
    Active,
    /// Replaced, but leaves under it may still be in use.
    Retiring,
    /// Out of every bundle.
    Retired,
    /// Compromised.
    Tainted,
}

impl Status {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Tainted => "tainted",
        }
    }

    /// Whether a root in this state belongs into the bundles.
    pub fn is_trusted(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retiring)
    }
}

/// One generation of root or signer.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRecord {
    /// Root or signer.
    pub level: Level,
    /// Counted from 1.
    pub number: u32,
    /// Where it is in its life.
    pub status: Status,
    /// The provider that holds it; `None` for an adopted anchor whose CA is out of reach.
    pub provider: Option<String>,
    /// Its key.
    pub key_type: KeyType,
    /// The root generation that certifies a signer.
    pub root: Option<u32>,
    /// When it got its status.
    pub since: Timestamp,
    /// The validity that is asked for, decided before anybody is asked: whoever goes on after a crash
    /// asks for the same certificate. `None` for an adopted one.
    pub validity: Option<Validity>,
    /// Its certificate, once there is one.
    pub certificate: Option<Certificate>,
    /// For a new root and for a signer under it: what the old root says of it, once that was asked. For a
    /// root that is NewWithOld (RFC 9810 section 4.4).
    pub cross: Option<Cross>,
    /// For a new root: what it says of the old one, once that was asked: OldWithNew.
    pub predecessor: Option<Cross>,
}

/// What a root says of the CA of another one: whoever knows only that root verifies with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Cross {
    /// There is one.
    Certificate(Certificate),
    /// There is none, for this reason.
    Impossible(String),
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    level: Level,
    number: u32,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    key_type: KeyType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<u32>,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_cross: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_predecessor: Option<String>,
}

impl Cross {
    fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Certificate(certificate) => Some(certificate),
            Self::Impossible(_) => None,
        }
    }

    fn reason(&self) -> Option<String> {
        match self {
            Self::Certificate(_) => None,
            Self::Impossible(reason) => Some(reason.clone()),
        }
    }
}

impl GenerationRecord {
    /// The certificate under the root before its own.
    pub fn cross_certificate(&self) -> Option<&Certificate> {
        self.cross.as_ref()?.certificate()
    }

    /// The certificate of the root before.
    pub fn predecessor_certificate(&self) -> Option<&Certificate> {
        self.predecessor.as_ref()?.certificate()
    }

    /// The generation's name.
    pub fn generation(&self, relay: &str) -> Generation {
        Generation {
            relay: relay.to_owned(),
            level: self.level,
            number: self.number,
        }
    }

    /// The name of the object that holds it.
    pub fn object_name(generation: &Generation) -> String {
        let Generation {
            relay,
            level,
            number,
        } = generation;
        format!("relay-pki-{relay}-{level}-g{number}")
    }

    /// As an object.
    pub fn encode(&self, relay: &str) -> Object {
        let name = Self::object_name(&self.generation(relay));
        let mut object = record_object(relay, ObjectKind::ConfigMap, name);
        encode_record(
            &mut object,
            &Record {
                level: self.level,
                number: self.number,
                status: self.status,
                provider: self.provider.clone(),
                key_type: self.key_type,
                root: self.root,
                since: self.since,
                not_before: self.validity.map(|validity| validity.not_before()),
                not_after: self.validity.map(|validity| validity.not_after()),
                no_cross: self.cross.as_ref().and_then(Cross::reason),
                no_predecessor: self.predecessor.as_ref().and_then(Cross::reason),
            },
        );
        let entries = [
            (TLS_CERT, self.certificate.as_ref()),
            (CROSS_CERT, self.cross_certificate()),
            (PREDECESSOR_CERT, self.predecessor_certificate()),
        ];
        for (entry, certificate) in entries {
            if let Some(certificate) = certificate {
                let pem = SecretBytes::new(certificate.to_pem());
                object.data.insert(entry.to_owned(), pem);
            }
        }
        object
    }

    /// From an object.
    pub fn decode(object: &Object) -> Result<Self, String> {
        let record: Record = decode_record(object)?;
        let certificate = |entry: &str| {
            let pem = object.data.get(entry);
            let certificate = pem.map(|pem| Certificate::from_pem(pem.expose()));
            certificate
                .transpose()
                .map_err(|error| format!("{entry}: {error}"))
        };
        let cross = certificate(CROSS_CERT)?.map(Cross::Certificate);
        let predecessor = certificate(PREDECESSOR_CERT)?.map(Cross::Certificate);
        let validity = record
            .not_before
            .zip(record.not_after)
            .map(|(from, to)| Validity::new(from, to))
            .transpose()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            level: record.level,
            number: record.number,
            status: record.status,
            provider: record.provider,
            key_type: record.key_type,
            root: record.root,
            since: record.since,
            validity,
            certificate: certificate(TLS_CERT)?,
            cross: cross.or(record.no_cross.map(Cross::Impossible)),
            predecessor: predecessor.or(record.no_predecessor.map(Cross::Impossible)),
        })
    }
}
