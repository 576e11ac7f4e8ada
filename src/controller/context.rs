//! What all workers share.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use super::events::Events;
use super::health::Health;
use super::publish::Publisher;
use crate::clock::Clock;
use crate::cluster::Access;
use crate::clusters::Opener;
use crate::crd;
use crate::metrics::Metrics;

/// How long writing the last status may take.
const FLUSH: Duration = Duration::from_secs(5);

/// What all workers share.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// How the cluster is reached that we run in.
    pub(super) access: Access,
    /// What other writers are told of us.
    pub(super) identity: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Health,
    pub(super) events: Events,
    pub(super) relays: Arc<Publisher<crd::Relay>>,
    pub(super) clusters: Arc<Publisher<crd::RelayCluster>>,
    pub(super) rotations: Arc<Publisher<crd::RelayRotation>>,
}

impl Context {
    /// Opens clusters as this process reaches them.
    pub(super) fn opener(&self) -> Opener {
        Opener {
            identity: self.identity.clone(),
            in_cluster: self.access.clone(),
        }
    }

    /// What was said so far is written before the process ends.
    pub(super) async fn flush(&self) {
        let _ = tokio::time::timeout(FLUSH, async {
            self.clusters.write_all().await;
            self.rotations.write_all().await;
            self.relays.write_all().await;
        })
        .await;
    }
}
