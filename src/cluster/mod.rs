//! Clusters: where relay secrets and relay-pki's own records live.
//!
//! The engine knows only the [`Cluster`] trait. A directory of manifests and a Kubernetes API server
//! differ in nothing else than what implements it.

pub mod conformance;
mod directory;
pub mod fault;
mod kubernetes;
pub mod manifest;
mod memory;
mod object;
mod rules;
mod workload;

use std::fmt;

use async_trait::async_trait;

pub use directory::DirectoryCluster;
pub use kubernetes::{
    Access, Change, Endpoint, FIELD_MANAGER, KubernetesCluster, Lease, LeaseError, LeaseHold,
    LockName, Namespaced,
};
pub use memory::MemoryCluster;
pub use object::{Object, ObjectKey, ObjectKind, SecretBytes};
pub use rules::MAX_DATA_BYTES;
pub use workload::{Rollout, Workloads};

/// A store of Secrets and ConfigMaps in one namespace of one cluster, with compare-and-swap.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// The cluster's name in the fleet.
    fn name(&self) -> &str;

    /// Where the objects are, for people: `directory clusters/mgmt`.
    fn location(&self) -> String;

    /// Every object that carries the label `selector.0 = selector.1`, and every object named in
    /// `wanted`, whoever owns it. Fresh, never from a cache.
    async fn list(
        &self,
        selector: (&str, &str),
        wanted: &[ObjectKey],
    ) -> Result<Vec<Stored>, ClusterError>;

    /// One object.
    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, ClusterError>;

    /// Creates or replaces `object`, if what is there now is what the caller expects; otherwise
    /// [`ClusterError::Conflict`] and nothing changes. All or nothing, also when interrupted.
    async fn write(&self, object: &Object, expected: &Expected) -> Result<Version, ClusterError>;

    /// Deletes the object, if it is still at `expected`. An absent object is a conflict.
    async fn delete(&self, key: &ObjectKey, expected: &Version) -> Result<(), ClusterError>;

    /// Keeps every other writer out until the guard is released; [`ClusterError::Locked`] if there is
    /// one that goes on.
    async fn lock(&self) -> Result<LockGuard, ClusterError>;

    /// The workloads that run there; nothing where none can run, as in a directory.
    fn workloads(&self) -> Option<&dyn Workloads> {
        None
    }
}

/// Held by the one writer of a cluster. Releasing it lets the next one in at once; where it is merely
/// dropped, that may take until the lock runs out.
pub struct LockGuard(Box<dyn Release>);

/// Something whose end others wait for.
#[async_trait]
pub trait Release: Send + Sync {
    /// Ends it.
    async fn release(self: Box<Self>);
}

/// Ends when it is dropped.
struct Dropped<T>(#[allow(dead_code, reason = "held for its Drop")] T);

#[async_trait]
impl<T: Send + Sync> Release for Dropped<T> {
    async fn release(self: Box<Self>) {}
}

impl LockGuard {
    /// A lock that ends when `held` is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(Dropped(held)))
    }

    /// A lock that has to be released.
    pub fn releasing(held: impl Release + 'static) -> Self {
        Self(Box::new(held))
    }

    /// Lets the next writer in.
    pub async fn release(self) {
        self.0.release().await;
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// An object as it was read.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The object.
    pub object: Object,
    /// What a later write has to expect.
    pub version: Version,
    /// Where exactly it is, for messages: a file path, or `kind/name`.
    pub place: String,
    /// Whether users other than the owner can read it where it lies (file mode).
    pub exposed: bool,
}

/// Names one state of one object: a `resourceVersion`, or a digest of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(pub String);

/// What the caller of a write believes is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// No such object.
    Absent,
    /// The object in exactly this state.
    At(Version),
}

/// Why a cluster could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Somebody changed the object between our read and our write.
    #[error("{object} in cluster {cluster} changed since it was read")]
    Conflict {
        /// The cluster's name.
        cluster: String,
        /// The object.
        object: ObjectKey,
    },
    /// Another process is writing.
    #[error("cluster {cluster} is locked by another writer ({holder})")]
    Locked {
        /// The cluster's name.
        cluster: String,
        /// What is known of the holder.
        holder: String,
    },
    /// A manifest or an object cannot be read as what it should be.
    #[error("{place} in cluster {cluster} cannot be used: {reason}")]
    Malformed {
        /// The cluster's name.
        cluster: String,
        /// The file, with line and column where known.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Something that is not ours to touch is in the way.
    #[error("{place} in cluster {cluster} is in the way: {reason}")]
    Occupied {
        /// The cluster's name.
        cluster: String,
        /// The file or object.
        place: String,
        /// Why it is left alone.
        reason: String,
    },
    /// The namespace of the relay objects is not there.
    #[error("cluster {cluster} has no namespace {namespace}")]
    NoNamespace {
        /// The cluster's name.
        cluster: String,
        /// The namespace.
        namespace: String,
    },
    /// The object is too large to be stored.
    #[error("{object} for cluster {cluster} has {size} bytes; it may have {limit} at most")]
    TooLarge {
        /// The cluster's name.
        cluster: String,
        /// The object.
        object: ObjectKey,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// What is said of the way to the cluster leads nowhere: a kubeconfig that is missing or wrong.
    #[error("cannot connect to cluster {cluster}: {reason}")]
    NoAccess {
        /// The cluster's name.
        cluster: String,
        /// What is wrong with the kubeconfig.
        reason: String,
    },
    /// We may not.
    #[error("not permitted to {operation} in cluster {cluster}: {reason}")]
    Denied {
        /// The cluster's name.
        cluster: String,
        /// What was tried.
        operation: String,
        /// The system's words.
        reason: String,
    },
    /// The cluster cannot be reached, or storage fails.
    #[error("cannot {operation} in cluster {cluster}: {reason}")]
    Unavailable {
        /// The cluster's name.
        cluster: String,
        /// What was tried.
        operation: String,
        /// The system's words.
        reason: String,
    },
}

impl ClusterError {
    /// The cluster that the error is about.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Conflict { cluster, .. }
            | Self::Locked { cluster, .. }
            | Self::Malformed { cluster, .. }
            | Self::Occupied { cluster, .. }
            | Self::NoNamespace { cluster, .. }
            | Self::TooLarge { cluster, .. }
            | Self::NoAccess { cluster, .. }
            | Self::Denied { cluster, .. }
            | Self::Unavailable { cluster, .. } => cluster,
        }
    }
}
