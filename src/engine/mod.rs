//! The one engine: observe → plan → apply. Every verb, and later the controller, goes this way;
//! there is no second path.

mod apply;
mod handed_in;
mod leaves;
mod observe;
mod observed;
mod plan;
mod request;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use relay_pki_authority::Provider;

use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError};
use crate::config::Relay;

pub use apply::{Applied, Apply, Cancel, Failure, StepError};
pub(crate) use apply::{
    backdated, bounded, certify_agent, csr, open_generation, open_signer, settle_agent,
};
pub use handed_in::{AwaitedSigner, HandInError};
pub use leaves::{LeafSlot, leaves};
pub use observe::{Observer, observe};
pub use observed::{
    ClusterState, Held, KeptKey, KeyObjection, Observed, Provenance, TlsState, TokenState,
    TrustState,
};
pub use plan::{Goal, Outlook, Plan, Problem, plan, scopes_of_agent};
pub use request::requests;
pub use step::{Action, Cause, Content, KeySource, Put, Step};

/// Longest that one call to a cluster or an authority may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How many clusters are worked on side by side.
pub(crate) const CONCURRENCY: usize = 32;

/// Everything that the engine works with.
pub struct Fleet {
    /// What should be.
    pub relay: Relay,
    /// The clusters by name: those of the document that are in reach.
    pub clusters: BTreeMap<String, Arc<dyn Cluster>>,
    /// The providers by name, checked.
    pub providers: BTreeMap<String, Arc<dyn Provider>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Fleet {
    /// A cluster of the document.
    pub(crate) fn cluster(&self, name: &str) -> Result<&Arc<dyn Cluster>, ClusterError> {
        self.clusters
            .get(name)
            .ok_or_else(|| ClusterError::Unavailable {
                cluster: name.to_owned(),
                operation: "find the cluster".to_owned(),
                reason: "the relay does not have it".to_owned(),
            })
    }

    /// The management cluster that holds the records.
    pub fn home(&self) -> Result<&Arc<dyn Cluster>, ClusterError> {
        self.cluster(self.relay.home().name.as_str())
    }
}

/// Runs a cluster call with a time limit.
pub(crate) async fn limited<T>(
    cluster: &str,
    operation: &str,
    call: impl Future<Output = Result<T, ClusterError>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result,
        Err(_) => Err(ClusterError::Unavailable {
            cluster: cluster.to_owned(),
            operation: operation.to_owned(),
            reason: format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
        }),
    }
}
