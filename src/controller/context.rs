//! What all workers share.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;

use super::events::Events;
use super::publish::Publisher;
use super::worker::Known;
use crate::clock::Clock;
use crate::cluster::Access;
use crate::crd;
use crate::engine::{Fleet, Observed};
use crate::metrics::Metrics;

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
    pub(super) events: Events,
    pub(super) relays: Arc<Publisher<crd::Relay>>,
    pub(super) clusters: Arc<Publisher<crd::RelayCluster>>,
}

impl Context {
    /// Something was changed by hand, and repaired.
    pub(super) fn drifted(&self, relay: &str, cluster: &str) {
        self.metrics.drift_repaired(relay, cluster);
    }

    /// Somebody wrote between our read and our write.
    pub(super) fn conflicted(&self, relay: Option<&str>) {
        self.metrics.conflict(relay.unwrap_or_default());
    }

    /// What the metrics say of a relay.
    pub(super) fn measure(
        &self,
        _fleet: &Fleet,
        _home: &Observed,
        _known: &BTreeMap<String, Known>,
    ) {
    }
}
