//! The objects of the Kubernetes API: `Relay`, `RelayCluster` and `RelayRotation`.
//!
//! The specs of the first two are parts of the document. The schema of the API comes from the document's types, and
//! [`assemble`] puts the objects together to what the same document would say; what only objects
//! have (when to delete, where to discover clusters) is here and nowhere else.

mod assemble;
mod cluster;
mod definition;
mod deletion;
mod relay;
mod rotation;
mod rules;
mod schema;
mod stored;
#[cfg(test)]
mod tests;

pub use self::assemble::assemble;
pub use self::cluster::{
    ClientStatus, RelayCluster, RelayClusterSpec, RelayClusterStatus, RelayRef,
};
pub use self::definition::{Definition, definitions};
pub use self::deletion::{DeletionPolicy, FINALIZER};
pub use self::relay::{
    BundleStatus, ClusterCounts, Discovery, EarliestFailure, GenerationStatus, KubernetesClusters,
    Relay, RelaySpec, RelayStatus,
};
pub use self::rotation::{RelayRotation, RelayRotationSpec, RelayRotationStatus, WaivedCluster};
pub use self::stored::{Stored, StoredError};

/// The `status.observedGeneration` of an object that nobody has looked at yet. Without it, tools
/// that judge objects by their conditions take a new object for a ready one.
pub const NEVER_OBSERVED: i64 = -1;

fn never_observed() -> i64 {
    NEVER_OBSERVED
}
