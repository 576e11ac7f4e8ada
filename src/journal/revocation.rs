use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{EnrolledCertificate, decode_record, encode_record, record_object};
use crate::cluster::{Object, ObjectKind};

/// The decision that a cluster is kept out. There are few of them, and every look reads them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationRecord {
    /// When it was taken.
    pub at: Timestamp,
    /// Why, in the words of the person who took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when the cluster may enrol anew, with another certificate than those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Timestamp>,
    /// Its certificates that had not ended: what the CRL lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<EnrolledCertificate>,
    /// Serial numbers of those that are revoked in their CA's backend, too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub told: BTreeSet<String>,
}

impl RevocationRecord {
    /// Whether the cluster gets nothing at all.
    pub fn is_in_force(&self) -> bool {
        self.lifted.is_none()
    }

    /// Forgets certificates that have ended.
    pub fn prune(&mut self, now: Timestamp) {
        self.certificates
            .retain(|certificate| certificate.not_after >= now);
        let certificates = &self.certificates;
        self.told.retain(|serial| {
            let mut known = certificates.iter();
            known.any(|certificate| certificate.serial == *serial)
        });
    }

    /// As an object.
    pub fn encode(&self, relay: &str, cluster: &str) -> Object {
        let name = revocation_name(relay, cluster);
        let mut object = record_object(relay, ObjectKind::ConfigMap, name);
        encode_record(&mut object, self);
        object
    }

    /// From an object.
    ///
    /// # Errors
    ///
    /// If it is broken.
    pub fn decode(object: &Object) -> Result<Self, String> {
        decode_record(object)
    }
}

/// The name of the record that a cluster is revoked.
pub fn revocation_name(relay: &str, cluster: &str) -> String {
    format!("relay-pki-{relay}-revocation-{cluster}")
}
