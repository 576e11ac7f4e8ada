use std::collections::BTreeMap;

use jiff::Timestamp;
use relay_pki_authority::Level;

use super::{decode_record, encode_record, record_object};
use crate::cluster::{Object, ObjectKind};
use crate::rotation::{Direction, Phase};

/// Most clusters that a rotation goes on without: more of them missing is an outage, not an
/// exception, and no record grows with the fleet.
pub const MOST_EXCEPTIONS: usize = 100;

/// How many rotations that are over are kept.
pub const KEPT_ROTATIONS: usize = 20;

/// One rotation of a root or of a signer: where from, where to, how far it is, and who decided what.
/// What every cluster should hold follows from it and from the generations; what every cluster does
/// hold is never taken from it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationRecord {
    /// Counted from 1.
    pub number: u32,
    /// What is rotated. A new root has a new signer under it.
    pub level: Level,
    /// The root generations; the same twice where only the signer is rotated.
    pub roots: Passage,
    /// The signer generations.
    pub signers: Passage,
    /// Where it is.
    pub phase: Phase,
    /// Which way it goes.
    pub direction: Direction,
    /// When each phase was entered, in order.
    pub entered: Vec<Entry>,
    /// Since when chains no longer carry the certificate of the signer under the old root. That ends
    /// draining: no party that has the new root alone may meet it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<Timestamp>,
    /// The clusters that go first, besides the management clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<String>,
    /// Since when the clusters that go first are through, and all others follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widened: Option<Timestamp>,
    /// Whether the old root is compromised: it goes at once, at the price of an outage.
    #[serde(default)]
    pub emergency: bool,
    /// Phases that people let it into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// Who stopped it, and when, if it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Signature>,
    /// Clusters that are not waited for, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waivers: BTreeMap<String, Waiver>,
    /// Clusters that were missing when a gate was passed, by name, with the last such phase.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passed: BTreeMap<String, Phase>,
    /// Who asked for it, and when.
    pub requested: Signature,
    /// Why it was begun.
    pub why: Why,
}

/// From one generation to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Passage {
    /// The old one.
    pub from: u32,
    /// The new one.
    pub to: u32,
}

/// A phase that was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// Which one.
    pub phase: Phase,
    /// Going which way.
    pub direction: Direction,
    /// When.
    pub at: Timestamp,
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Signature {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A phase that somebody let a rotation into.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Approval {
    /// The phase.
    pub phase: Phase,
    /// Whether the rotation has entered it since: the next time that it comes, somebody has to say so again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
    /// Who, and when.
    #[serde(flatten)]
    pub signature: Signature,
}

/// A cluster that a rotation does not wait for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Waiver {
    /// Until when it is kept able to connect, should it come back.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who, and when.
    #[serde(flatten)]
    pub signature: Signature,
}

/// Why a rotation was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Somebody asked for it.
    Requested,
    /// What is in use nears its end.
    Due,
    /// The document asks for another one.
    Changed,
}

impl RotationRecord {
    /// The name of the object that holds the `number`-th rotation of a relay.
    pub fn object_name(relay: &str, number: u32) -> String {
        format!("relay-pki-{relay}-rotation-{number}")
    }

    /// When the current phase was entered, going the current way.
    pub fn since(&self) -> Timestamp {
        self.entered
            .last()
            .map_or(self.requested.at, |entry| entry.at)
    }

    /// As an object.
    pub fn encode(&self, relay: &str) -> Object {
        let name = Self::object_name(relay, self.number);
        let mut object = record_object(relay, ObjectKind::ConfigMap, name);
        encode_record(&mut object, self);
        object
    }

    /// From an object.
    pub fn decode(object: &Object) -> Result<Self, String> {
        decode_record(object)
    }
}
