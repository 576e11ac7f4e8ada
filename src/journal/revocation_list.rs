use jiff::Timestamp;

use super::{decode_record, encode_record, record_object};
use crate::cluster::{Object, ObjectKey, ObjectKind, SecretBytes};

/// Data key of the lists.
const LISTS: &str = "ca.crl";

/// The revocation lists that are published, one of each signer in use.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationListRecord {
    /// Names what is on them: lists that cover the same need not be made again.
    pub covers: String,
    /// When they were made.
    pub made: Timestamp,
    /// When they have to be replaced.
    pub next_update: Timestamp,
    /// PEM sections, that of the signer in use first.
    #[serde(skip)]
    pub lists: String,
}

impl RevocationListRecord {
    /// The object of a relay's lists.
    pub fn key(relay: &str) -> ObjectKey {
        ObjectKey::config_map(format!("relay-pki-{relay}-crl"))
    }

    /// As an object.
    pub fn encode(&self, relay: &str) -> Object {
        let mut object = record_object(relay, ObjectKind::ConfigMap, Self::key(relay).name);
        encode_record(&mut object, self);
        let lists = SecretBytes::new(self.lists.as_bytes());
        object.data.insert(LISTS.to_owned(), lists);
        object
    }

    /// From an object.
    ///
    /// # Errors
    ///
    /// If it is broken.
    pub fn decode(object: &Object) -> Result<Self, String> {
        let record: Self = decode_record(object)?;
        let lists = object.data.get(LISTS);
        let lists = lists.ok_or_else(|| format!("it has no {LISTS} entry"))?;
        let lists = std::str::from_utf8(lists.expose()).map_err(|error| error.to_string())?;
        Ok(Self {
            lists: lists.to_owned(),
            ..record
        })
    }
}
