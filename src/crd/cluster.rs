use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DeletionPolicy, NEVER_OBSERVED, never_observed};

/// A cluster of a relay. The object's name is the cluster's name and its agent's identity.
#[expect(
    clippy::duplicated_attributes,
    reason = "every column has a type and a path"
)]
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "relay-pki.dev",
    version = "v1alpha1",
    kind = "RelayCluster",
    plural = "relayclusters",
    shortname = "rlyc",
    category = "relay-pki",
    namespaced,
    schema = "disabled",
    status = "RelayClusterStatus",
    derive = "PartialEq",
    doc = "A cluster of a relay.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reachable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Reachable\")].status"
    ),
    printcolumn(
        name = "Relay",
        type_ = "string",
        json_path = ".spec.relayRef.name"
    ),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    // `date` is for the past only: kubectl shows a time to come as <invalid>.
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.client.notAfter",
        description = "When the agent's certificate ends"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Renews",
        type_ = "string",
        priority = 1,
        json_path = ".status.client.renewAt",
        description = "When the agent's certificate is renewed"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RelayClusterSpec {
    /// The relay that the cluster belongs to. It cannot be changed.
    pub relay_ref: RelayRef,
    /// What happens to the relay secrets in the cluster when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What a document says about a cluster, without its name, as it is written.
    #[serde(flatten)]
    #[schemars(skip)]
    pub document: Map<String, Value>,
}

/// The relay that a cluster belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayRef {
    /// Name of the Relay in the same namespace.
    #[schemars(extend("minLength" = 1, "maxLength" = 63))]
    pub name: String,
}

/// What was found, and made, in a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayClusterStatus {
    /// The `metadata.generation` that this is about; -1 before the first look.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,
    /// `Ready` and `Reachable`; `Reconciling` and `Stalled` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Digest of the trust bundle that the cluster was last seen with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_digest: Option<String>,
    /// The agent's certificate as it was last seen in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientStatus>,
}

impl Default for RelayClusterStatus {
    fn default() -> Self {
        Self {
            observed_generation: NEVER_OBSERVED,
            conditions: Vec::new(),
            bundle_digest: None,
            client: None,
        }
    }
}

/// An agent's certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientStatus {
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// When it begins.
    pub not_before: Time,
    /// When it ends.
    pub not_after: Time,
    /// When it is renewed, if relay-pki renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Time>,
}
