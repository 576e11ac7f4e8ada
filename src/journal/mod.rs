//! What relay-pki remembers: one record an object, in the first management cluster, beside the
//! relay's Secrets. Private keys are Secrets of their own, so that RBAC can differ.

mod encryption;
mod enrolment;
mod generation;
mod issuance;
mod key_store;
mod request;
mod revocation;
mod revocation_list;
mod rotation;

use std::collections::BTreeMap;

use relay_pki_authority::Level;
use relay_pki_authority::x509::{TrustBundle, X509Error};

use crate::cluster::{Object, ObjectKey, ObjectKind, SecretBytes, Stored, Version};
use crate::relay;
use crate::transcript::Transcript;

pub use encryption::Keyring;
pub use enrolment::{
    Acknowledgement, EnrolledCertificate, EnrolmentRecord, Presented, TokenRecord, TokenUse,
};
pub use generation::{Cross, GenerationRecord, Status};
pub use issuance::{IssuanceRecord, issuance_name};
pub(crate) use key_store::KEEP_ENCRYPTION;
pub use key_store::{ClusterKeyStore, ENCRYPTED_KEY, KeyForm, keyring};
pub use request::{RequestRecord, Scope};
pub use revocation::{RevocationRecord, revocation_name};
pub use revocation_list::RevocationListRecord;
pub use rotation::{
    Approval, Entry, KEPT_ROTATIONS, MOST_EXCEPTIONS, Passage, RotationRecord, Signature, Waiver,
    Why,
};

/// Data key of a record's JSON.
pub(crate) const RECORD: &str = "record";

/// Every record of one relay, with the versions that a later write has to expect.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Root generations by number.
    pub roots: BTreeMap<u32, Kept<GenerationRecord>>,
    /// Signer generations by number.
    pub signers: BTreeMap<u32, Kept<GenerationRecord>>,
    /// The latest rotation request of each scope.
    pub requests: BTreeMap<Scope, Kept<RequestRecord>>,
    /// Issuances under way, by object name.
    pub issuances: BTreeMap<String, Kept<IssuanceRecord>>,
    /// Clusters that are kept out, by name.
    pub revocations: BTreeMap<String, Kept<RevocationRecord>>,
    /// Rotations by number: the last one may be under way, all others are over.
    pub rotations: BTreeMap<u32, Kept<RotationRecord>>,
    /// The transcripts of these, read with their records.
    pub transcripts: BTreeMap<u32, Transcript>,
}

/// A record and the version it was read at; `None` for one that is not written yet.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    /// The record.
    pub record: T,
    /// Its version.
    pub version: Option<Version>,
}

impl Journal {
    /// From the objects of the management cluster that carry our label. Objects that are no records
    /// are passed over; a record that cannot be read is an error, because deciding without it could
    /// lose a CA.
    pub fn from_objects(relay: &str, objects: &[Stored]) -> Result<Self, String> {
        let mut journal = Self::default();
        let prefix = format!("relay-pki-{relay}-");
        for stored in objects {
            let object = &stored.object;
            let ours = relay::owner_of(object, relay) == relay::Owner::Us;
            let Some(rest) = object.key.name.strip_prefix(&prefix) else {
                continue;
            };
            if object.key.kind != ObjectKind::ConfigMap || !ours {
                continue;
            }
            let unreadable = |reason: String| format!("{}: {reason}", stored.place);
            let version = Some(stored.version.clone());
            if let Some(scope) = rest.strip_prefix("request-") {
                let scope = scope.parse::<Scope>().map_err(unreadable)?;
                let record = RequestRecord::decode(object).map_err(unreadable)?;
                journal.requests.insert(scope, Kept { record, version });
            } else if let Some(cluster) = rest.strip_prefix("revocation-") {
                let record = RevocationRecord::decode(object).map_err(unreadable)?;
                let kept = Kept { record, version };
                journal.revocations.insert(cluster.to_owned(), kept);
            } else if rest.starts_with("issuance-") {
                let record = IssuanceRecord::decode(object).map_err(unreadable)?;
                let name = object.key.name.clone();
                journal.issuances.insert(name, Kept { record, version });
            } else if rest.starts_with("rotation-") {
                let record = RotationRecord::decode(object).map_err(unreadable)?;
                // A copy under another name is no record.
                if object.key.name == RotationRecord::object_name(relay, record.number) {
                    let number = record.number;
                    journal.transcripts.insert(number, Transcript::of(object));
                    journal.rotations.insert(number, Kept { record, version });
                }
            } else if rest.starts_with("root-g") || rest.starts_with("signer-g") {
                let record = GenerationRecord::decode(object).map_err(unreadable)?;
                // A copy under another name is no record: it must not take the place of the real one.
                let name = GenerationRecord::object_name(&record.generation(relay));
                if object.key.name != name {
                    continue;
                }
                let level = journal.level_mut(record.level);
                level.insert(record.number, Kept { record, version });
            }
        }
        Ok(journal)
    }

    /// Generations of a level.
    pub fn level(&self, level: Level) -> &BTreeMap<u32, Kept<GenerationRecord>> {
        match level {
            Level::Root => &self.roots,
            Level::Signer => &self.signers,
        }
    }

    /// Generations of a level, to change.
    pub fn level_mut(&mut self, level: Level) -> &mut BTreeMap<u32, Kept<GenerationRecord>> {
        match level {
            Level::Root => &mut self.roots,
            Level::Signer => &mut self.signers,
        }
    }

    /// The generation of a level that is in use.
    pub fn active(&self, level: Level) -> Option<&GenerationRecord> {
        self.level(level)
            .values()
            .map(|kept| &kept.record)
            .rfind(|record| record.status == Status::Active)
    }

    /// A generation that was begun and is not in use yet. Only the latest can be: an earlier one that
    /// was given up stays given up, or numbers would shrink.
    pub fn begun(&self, level: Level) -> Option<&GenerationRecord> {
        self.level(level)
            .last_key_value()
            .map(|(_, kept)| &kept.record)
            .filter(|record| matches!(record.status, Status::Prepared | Status::Published))
    }

    /// The number that the next generation of a level gets. Numbers only grow.
    pub fn next_number(&self, level: Level) -> u32 {
        self.level(level)
            .last_key_value()
            .map_or(1, |(number, _)| number.saturating_add(1))
    }

    /// The roots that belong into every bundle now.
    pub fn published_roots(&self) -> Result<TrustBundle, X509Error> {
        TrustBundle::new(
            self.roots
                .values()
                .filter(|kept| kept.record.status.is_trusted())
                .filter_map(|kept| kept.record.certificate.clone()),
        )
    }

    /// Whether a cluster is kept out: one that was let in again is like any other.
    pub fn is_revoked(&self, cluster: &str) -> bool {
        let revocation = self.revocations.get(cluster);
        revocation.is_some_and(|kept| kept.record.is_in_force())
    }

    /// The rotation that is under way.
    pub fn rotation(&self) -> Option<&RotationRecord> {
        self.rotations
            .last_key_value()
            .map(|(_, kept)| &kept.record)
            .filter(|record| !record.phase.is_over())
    }

    /// The number that the next rotation gets.
    pub fn next_rotation(&self) -> u32 {
        self.rotations
            .last_key_value()
            .map_or(1, |(number, _)| number.saturating_add(1))
    }

    /// The number that the next rotation request gets.
    pub fn next_request(&self) -> u64 {
        self.requests
            .values()
            .map(|kept| kept.record.number)
            .max()
            .map_or(1, |number| number.saturating_add(1))
    }

    /// The latest request that concerns something covered by any of `scopes`; 0 for none.
    pub fn requested(&self, scopes: &[Scope]) -> u64 {
        scopes
            .iter()
            .filter_map(|scope| self.requests.get(scope))
            .map(|kept| kept.record.number)
            .max()
            .unwrap_or(0)
    }
}

/// A record object with nothing in it yet.
pub(crate) fn record_object(relay: &str, kind: ObjectKind, name: String) -> Object {
    Object {
        key: ObjectKey { kind, name },
        secret_type: None,
        labels: relay::labels(relay),
        annotations: BTreeMap::new(),
        data: BTreeMap::new(),
    }
}

fn encode_record<T: serde::Serialize>(object: &mut Object, record: &T) {
    // The record types serialise to JSON without fail: no maps with other keys than strings.
    let json = serde_json::to_string_pretty(record).unwrap_or_default();
    object
        .data
        .insert(RECORD.to_owned(), SecretBytes::new(json));
}

fn decode_record<T: serde::de::DeserializeOwned>(object: &Object) -> Result<T, String> {
    let json = object.data.get(RECORD).ok_or("it has no record entry")?;
    serde_json::from_slice(json.expose()).map_err(|error| format!("its record is broken: {error}"))
}
