use jiff::Timestamp;
use relay_pki_authority::x509::{Certificate, KeyType, Validity};
use relay_pki_authority::{Generation, Level};

use super::{decode_record, encode_record, record_object};
use crate::cluster::{Object, ObjectKind, SecretBytes};
use crate::relay::TLS_CERT;

/// Where a generation is in its life. It only moves forwards.
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
    /// The rotation request that it satisfies.
    pub request: u64,
    /// When it got its status.
    pub since: Timestamp,
    /// The validity that is asked for, decided before anybody is asked: whoever goes on after a crash
    /// asks for the same certificate. `None` for an adopted one.
    pub validity: Option<Validity>,
    /// Its certificate, once there is one.
    pub certificate: Option<Certificate>,
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
    #[serde(default)]
    request: u64,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<Timestamp>,
}

impl GenerationRecord {
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
                request: self.request,
                since: self.since,
                not_before: self.validity.map(|validity| validity.not_before()),
                not_after: self.validity.map(|validity| validity.not_after()),
            },
        );
        if let Some(certificate) = &self.certificate {
            let pem = SecretBytes::new(certificate.to_pem());
            object.data.insert(TLS_CERT.to_owned(), pem);
        }
        object
    }

    /// From an object.
    pub fn decode(object: &Object) -> Result<Self, String> {
        let record: Record = decode_record(object)?;
        let certificate = object
            .data
            .get(TLS_CERT)
            .map(|pem| Certificate::from_pem(pem.expose()))
            .transpose()
            .map_err(|error| format!("{TLS_CERT}: {error}"))?;
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
            request: record.request,
            since: record.since,
            validity,
            certificate,
        })
    }
}
