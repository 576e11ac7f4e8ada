use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use relay_pki_authority::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NEVER_OBSERVED, RelayRef, never_observed};
use crate::rotation::{Direction, Phase};

/// A rotation of the root or of the signer of a relay. Making one begins a rotation; for a rotation
/// that was begun elsewhere, the controller makes one.
#[expect(
    clippy::duplicated_attributes,
    reason = "every column has a type and a path"
)]
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "relay-pki.dev",
    version = "v1alpha1",
    kind = "RelayRotation",
    plural = "relayrotations",
    shortname = "rlyr",
    category = "relay-pki",
    namespaced,
    schema = "disabled",
    status = "RelayRotationStatus",
    derive = "PartialEq",
    doc = "A rotation of the root or of the signer of a relay.",
    printcolumn(name = "Relay", type_ = "string", json_path = ".spec.relayRef.name"),
    printcolumn(name = "Level", type_ = "string", json_path = ".spec.level"),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where it is"
    ),
    printcolumn(
        name = "Direction",
        type_ = "string",
        json_path = ".status.direction",
        description = "Whether it goes forward or back"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Number",
        type_ = "integer",
        priority = 1,
        json_path = ".status.number"
    ),
    printcolumn(
        name = "Expected-End",
        type_ = "string",
        priority = 1,
        json_path = ".status.expectedEnd"
    ),
    printcolumn(
        name = "Waiting-For",
        type_ = "string",
        priority = 1,
        json_path = ".status.waitingFor[0]"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RelayRotationSpec {
    /// The relay whose root or signer it is.
    pub relay_ref: RelayRef,
    /// What is rotated: `root`, with a new signer under it, or `signer`.
    #[schemars(with = "Rotated")]
    pub level: Level,
    /// The number of the rotation that this object tells of, where the controller made it. An object
    /// without it asks for a new rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Clusters that go through all phases before the others are touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<String>,
    /// The old root is compromised: it is given up at once. Needs `acceptOutage`.
    #[serde(default)]
    pub emergency: bool,
    /// Agents that do not follow an emergency at once cannot connect.
    #[serde(default)]
    pub accept_outage: bool,
    /// Whether it is stopped before its next phase. Left out, what was said elsewhere holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Phases that it is let into, each once: a phase that comes again is approved with
    /// `relay-pki rotation approve`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Approvable>")]
    pub approve: Vec<Phase>,
    /// Whether to go back to what was in use before. It cannot be taken back.
    #[serde(default)]
    pub rollback: bool,
    /// Clusters that are not waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waive: Vec<WaivedCluster>,
}

/// A cluster that is not waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaivedCluster {
    /// The name of the cluster.
    pub cluster: String,
    /// Until when it is kept able to connect.
    pub until: Time,
    /// Why it is not waited for.
    #[schemars(extend("minLength" = 1))]
    pub reason: String,
}

/// The words for levels, for the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "it is its schema")]
enum Rotated {
    Root,
    Signer,
}

/// The words for phases that can be approved, for the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "it is its schema")]
enum Approvable {
    Publishing,
    Activating,
    Reissuing,
    Draining,
    Retiring,
}

/// How the rotation stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayRotationStatus {
    /// The `metadata.generation` that this is about; -1 before the first look.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,
    /// The number of the rotation: its record is the ConfigMap relay-pki-RELAY-rotation-NUMBER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Where it is: `preparing`, `publishing`, `activating`, `reissuing`, `draining`, `retiring`,
    /// `done` or `rolledback`; `refused` if it was never begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Which way it goes: `forward` or `rollback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub direction: Option<Direction>,
    /// What it waits for: the first ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// When it is over at the earliest, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_end: Option<Time>,
    /// `Ready` once it is over; `Reconciling` while it goes on, `Stalled` if it, or what was asked of
    /// it last, was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Default for RelayRotationStatus {
    fn default() -> Self {
        Self {
            observed_generation: NEVER_OBSERVED,
            number: None,
            phase: None,
            direction: None,
            waiting_for: Vec::new(),
            expected_end: None,
            conditions: Vec::new(),
        }
    }
}
