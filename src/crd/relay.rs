use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use relay_pki_authority::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DeletionPolicy, NEVER_OBSERVED, never_observed};
use crate::journal::Status;

/// What the certificates of one relay should be. The object lies in the namespace of the relay
/// secrets of the management cluster; the clusters of the fleet are RelayCluster objects beside it.
#[expect(
    clippy::duplicated_attributes,
    reason = "every column has a type and a path"
)]
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "relay-pki.dev",
    version = "v1alpha1",
    kind = "Relay",
    plural = "relays",
    shortname = "rly",
    category = "relay-pki",
    namespaced,
    schema = "disabled",
    status = "RelayStatus",
    derive = "PartialEq",
    doc = "The certificates of one relay.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Clusters",
        type_ = "string",
        json_path = ".status.clusters.summary",
        description = "How many clusters are ready, of all"
    ),
    // `date` is for the past only: kubectl shows a time to come as <invalid>.
    printcolumn(
        name = "Next-Renewal",
        type_ = "string",
        json_path = ".status.nextRenewal",
        description = "When something is renewed next"
    ),
    printcolumn(
        name = "Next-Failure",
        type_ = "string",
        json_path = ".status.earliestFailure.at",
        description = "When something fails first if nobody and nothing acts"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        priority = 1,
        json_path = ".spec.suspend"
    ),
    printcolumn(
        name = "Bundle",
        type_ = "string",
        priority = 1,
        json_path = ".status.bundle.digest",
        description = "Digest of the trust bundle"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RelaySpec {
    /// Whether to leave everything as it is: nothing is renewed and nothing is repaired.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to Secrets and records, CA keys among them, when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Where clusters are found that no RelayCluster was written for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// What a document says under `spec`, without the clusters, as it is written.
    #[serde(flatten)]
    #[schemars(skip)]
    pub document: Map<String, Value>,
}

/// Where clusters are found that no RelayCluster was written for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    /// Every `KubernetesCluster` of Gloo (`admin.gloo.solo.io/v2`) in this namespace is a workload
    /// cluster, with the kubeconfig in the Secret `NAME-kubeconfig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_clusters: Option<KubernetesClusters>,
}

/// Settings of the discovery by `KubernetesCluster` objects: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesClusters {}

/// What was found, and made, of a relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayStatus {
    /// The `metadata.generation` that this is about; -1 before the first look.
    #[serde(default = "never_observed")]
    pub observed_generation: i64,
    /// `Ready`; `Reconciling` and `Stalled` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The trust bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleStatus>,
    /// The generations of root and signer that are not retired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<GenerationStatus>,
    /// How the clusters are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterCounts>,
    /// What fails first if nobody and nothing acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_failure: Option<EarliestFailure>,
    /// When something is renewed next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_renewal: Option<Time>,
}

impl Default for RelayStatus {
    fn default() -> Self {
        Self {
            observed_generation: NEVER_OBSERVED,
            conditions: Vec::new(),
            bundle: None,
            generations: Vec::new(),
            clusters: None,
            earliest_failure: None,
            next_renewal: None,
        }
    }
}

/// The trust bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleStatus {
    /// Digest of the bundle: `sha256:` and hexadecimal digits.
    pub digest: String,
    /// How many roots are in it.
    pub anchors: u32,
}

/// A generation of the root or of the signer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// `root` or `signer`.
    #[schemars(with = "String")]
    pub level: Level,
    /// Its number.
    pub number: u32,
    /// Where it is in its life: `prepared`, `published`, `active`, `retiring` or `tainted`.
    #[schemars(with = "String")]
    pub status: Status,
    /// SHA-256 of its certificate, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// When its certificate ends, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// How the clusters of a relay are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCounts {
    /// How many there are.
    pub total: u32,
    /// How many of them are ready.
    pub ready: u32,
    /// Both in one, as in `2/3`.
    pub summary: String,
    /// The names of those that are not ready: the first ten, so that this does not grow with the
    /// fleet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_ready: Vec<String>,
}

/// What fails first if nobody and nothing acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarliestFailure {
    /// When.
    pub at: Time,
    /// In which cluster; in all of them if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What ends then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}
