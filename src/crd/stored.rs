use kube::ResourceExt;

use super::{Relay, RelayCluster, assemble};
use crate::cluster::{ClusterError, KubernetesCluster};
use crate::config::{Assembled, ConfigError};

/// A Relay and the RelayClusters of its namespace, as an API server has them now.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The Relay.
    pub relay: Relay,
    /// Every RelayCluster beside it, of whichever Relay.
    pub clusters: Vec<RelayCluster>,
}

/// Why there is no Relay to work with.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// The objects cannot be read.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is none of that name.
    #[error("there is no Relay {name} in namespace {namespace}; {others}")]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// Which there are, for people.
        others: String,
    },
    /// None was named, and it is not clear which one is meant.
    #[error("namespace {namespace} does not have exactly one Relay; {others}")]
    Ambiguous {
        /// Where it was looked for.
        namespace: String,
        /// Which there are, for people.
        others: String,
    },
    /// It is on its way out.
    #[error("Relay {0} is being deleted; wait until it is gone, or create it anew")]
    Leaving(String),
}

impl Stored {
    /// Reads the Relay `name`, or the only one that there is, and everything beside it.
    pub async fn read(
        cluster: &KubernetesCluster,
        namespace: &str,
        name: Option<&str>,
    ) -> Result<Self, StoredError> {
        let relays: Vec<Relay> = cluster.find_all().await?;
        let found = match name {
            Some(name) => relays.iter().find(|relay| relay.name_any() == name),
            None if relays.len() == 1 => relays.first(),
            None => None,
        };
        let Some(relay) = found else {
            let (namespace, others) = (namespace.to_owned(), others(&relays));
            return Err(match name {
                Some(name) => StoredError::Unknown {
                    name: name.to_owned(),
                    namespace,
                    others,
                },
                None => StoredError::Ambiguous { namespace, others },
            });
        };
        if relay.metadata.deletion_timestamp.is_some() {
            return Err(StoredError::Leaving(relay.name_any()));
        }
        Ok(Self {
            relay: relay.clone(),
            clusters: cluster.find_all().await?,
        })
    }

    /// The RelayCluster `name`.
    pub fn cluster(&self, name: &str) -> Option<&RelayCluster> {
        let mut clusters = self.clusters.iter();
        clusters.find(|cluster| cluster.name_any() == name)
    }

    /// What the objects come to. Clusters that are being deleted do not count any more.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the Relay itself.
    pub fn assemble(&self) -> Result<Assembled, ConfigError> {
        let clusters = self.clusters.iter();
        let staying = clusters.filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
        assemble(&self.relay, staying)
    }
}

fn others(relays: &[Relay]) -> String {
    let mut names: Vec<String> = relays.iter().map(ResourceExt::name_any).collect();
    names.sort();
    match names.as_slice() {
        [] => "create one first, or name another --namespace".to_owned(),
        names => format!(
            "name one with --relay, or another --namespace: {}",
            names.join(", ")
        ),
    }
}
