//! What the EST server does, counted where it is done. Every replica serves, so every one has these.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Labels, add, table};

/// The metrics of an EST server. Clones share them.
#[derive(Debug, Clone)]
pub struct Enrolment {
    requests: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
    handshakes: Family<Labels<1>, Counter>,
    connections: Family<Labels<1>, Gauge>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Enrolment {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            handshakes: Family::default(),
            connections: Family::default(),
        }
    }
}

impl Enrolment {
    pub(super) fn register(&self, registry: &mut Registry) {
        add(registry, table::ENROLMENT_REQUESTS, self.requests.clone());
        let durations = self.durations.clone();
        add(registry, table::ENROLMENT_DURATION, durations);
        let handshakes = self.handshakes.clone();
        add(registry, table::ENROLMENT_HANDSHAKES, handshakes);
        let connections = self.connections.clone();
        add(registry, table::ENROLMENT_CONNECTIONS, connections);
    }

    /// A request was answered. `outcome` is `success`, or why not, one of a few words.
    pub(crate) fn answered(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        let operation = ("operation", operation);
        let labels = [operation, ("outcome", outcome)];
        self.requests.get_or_create(&labels).inc();
        let durations = self.durations.get_or_create(&[operation]);
        durations.observe(took.as_secs_f64());
    }

    /// A TLS handshake ended. `outcome` is a word for how, one of a few.
    pub(crate) fn handshake(&self, outcome: &'static str) {
        self.handshakes.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A connection whose handshake is done, with a client certificate or without.
    pub(crate) fn connected(&self, is_agent: bool) -> Connected {
        let peer = if is_agent { "agent" } else { "stranger" };
        let open = self.connections.get_or_create(&[("peer", peer)]).clone();
        open.inc();
        Connected(open)
    }
}

/// From 0.25 ms, a local signature, to the time limit of a request.
fn durations() -> Histogram {
    Histogram::new([
        0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0, 20.0, 60.0,
    ])
}
