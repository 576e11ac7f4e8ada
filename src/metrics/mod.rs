//! What the controller exports to Prometheus.
//!
//! [`facts`] gathers what is told of a relay, [`Metrics`] keeps it and writes it out, [`METRICS`] is
//! the table of everything there is.

mod enrolment;
mod facts;
mod fleet;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric as Exported, Registry};

use self::fleet::Fleet;
use crate::audit;

pub use self::enrolment::Enrolment;
pub use self::facts::{
    CertificateFacts, ClusterFacts, Condition, Contact, Contacts, Enrolments, RelayFacts, facts,
};
pub use self::table::{Kind, METRICS, Metric, metrics_markdown};

/// Names and values of a series' labels; the names are those of the table.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    fleet: Arc<Fleet>,
    requests: Family<Labels<3>, Counter>,
    request_durations: Family<Labels<2>, Histogram, fn() -> Histogram>,
    reconciles: Family<Labels<1>, Counter>,
    reconcile_durations: Histogram,
    leader: Gauge,
    enrolment: Enrolment,
}

impl Metrics {
    /// The media type of [`Metrics::text`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Metrics of a process that has done nothing yet. `per_cluster` tells whether each workload
    /// cluster has series of its own.
    pub fn new(per_cluster: bool) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            fleet: Arc::new(Fleet::new(per_cluster)),
            requests: Family::default(),
            request_durations: Family::new_with_constructor(durations),
            reconciles: Family::default(),
            reconcile_durations: durations(),
            leader: Gauge::default(),
            enrolment: Enrolment::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register_collector(Box::new(self.fleet.clone()));
        add(registry, table::REQUESTS, self.requests.clone());
        let durations = self.request_durations.clone();
        add(registry, table::REQUEST_DURATION, durations);
        add(registry, table::RECONCILES, self.reconciles.clone());
        let durations = self.reconcile_durations.clone();
        add(registry, table::RECONCILE_DURATION, durations);
        add(registry, table::LEADER, self.leader.clone());
        self.enrolment.register(registry);
        let version: Labels<1> = [("version", env!("CARGO_PKG_VERSION"))];
        add(registry, table::BUILD, Info::new(version));
    }

    /// Replaces everything that was known of a relay.
    pub fn relay(&self, facts: RelayFacts) {
        let mut relays = self.fleet.lock();
        relays
            .entry(facts.relay.clone())
            .or_default()
            .replace(facts);
    }

    /// Forgets a relay that is gone.
    pub fn forget(&self, relay: &str) {
        self.fleet.lock().remove(relay);
    }

    /// Somebody changed or deleted a Secret, and it was put right.
    pub fn drift_repaired(&self, relay: &str, cluster: &str) {
        let mut relays = self.fleet.lock();
        let kept = relays.entry(relay.to_owned()).or_default();
        *kept.drift.entry(cluster.to_owned()).or_insert(0) += 1;
    }

    /// A write was refused because somebody else had written in between.
    pub fn conflict(&self, relay: &str) {
        self.fleet
            .lock()
            .entry(relay.to_owned())
            .or_default()
            .conflicts += 1;
    }

    /// An audit of a relay is done.
    pub fn audited(&self, relay: &str, report: &audit::Report) {
        let mut relays = self.fleet.lock();
        relays.entry(relay.to_owned()).or_default().audited(report);
    }

    /// A reconciliation is done. `outcome` is a word for what came of it, one of a few.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        let labels = [("outcome", outcome)];
        self.reconciles.get_or_create(&labels).inc();
        self.reconcile_durations.observe(took.as_secs_f64());
    }

    /// Whether this replica is the one that acts. One that no longer does knows nothing of the fleet.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        if !leads {
            self.fleet.lock().clear();
        }
    }

    /// The metrics of the EST server.
    pub fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    /// A CA backend was asked.
    pub(crate) fn requested(
        &self,
        backend: &'static str,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        let (backend, operation) = (("backend", backend), ("operation", operation));
        let labels = [backend, operation, ("outcome", outcome)];
        self.requests.get_or_create(&labels).inc();
        let durations = self.request_durations.get_or_create(&[backend, operation]);
        durations.observe(took.as_secs_f64());
    }

    /// A certificate was obtained, or not.
    pub(crate) fn issued(
        &self,
        relay: &str,
        backend: &'static str,
        role: &'static str,
        outcome: &'static str,
    ) {
        let mut relays = self.fleet.lock();
        let kept = relays.entry(relay.to_owned()).or_default();
        let count = kept.issuances.entry([backend, role, outcome]).or_insert(0);
        *count += 1;
    }

    /// All series in the OpenMetrics text form.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn add(registry: &mut Registry, row: Metric, metric: impl Exported) {
    registry.register(row.stem(), row.meaning, metric);
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// From 5 ms, a local signature and its record, to beyond the time limit of a call.
fn durations() -> Histogram {
    Histogram::new([
        0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    ])
}
