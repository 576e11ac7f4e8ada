//! How an agent is: for probes, and for Prometheus.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::controller::http::{exported, verdict};

/// An agent whose loop stands still for so long is restarted: every call in it ends sooner.
const STALLED: Duration = Duration::from_secs(600);

type Labels = [(&'static str, &'static str); 2];

/// How an agent is. Clones are handles of the same.
#[derive(Clone)]
pub struct Status(Arc<Shared>);

struct Shared {
    registry: Registry,
    progress: Mutex<Instant>,
    trouble: Mutex<Option<String>>,
    ready: Gauge,
    not_after: Gauge,
    renewal: Gauge,
    contact: Gauge,
    ahead: Gauge,
    actions: Family<Labels, Counter>,
}

impl Default for Status {
    fn default() -> Self {
        let (ready, not_after, renewal) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (contact, ahead) = (Gauge::default(), Gauge::default());
        let actions = Family::<Labels, Counter>::default();
        let mut registry = Registry::with_prefix("relay_pki_agent");
        for (name, help, gauge) in [
            (
                "ready",
                "Whether there is a good certificate and nothing stands in the way (1) or not (0)",
                &ready,
            ),
            (
                "certificate_not_after_timestamp_seconds",
                "When the certificate ends; 0 without one",
                &not_after,
            ),
            (
                "certificate_renewal_timestamp_seconds",
                "When the certificate is due; 0 without one",
                &renewal,
            ),
            (
                "last_contact_timestamp_seconds",
                "When the server answered last; 0 if it never did",
                &contact,
            ),
            (
                "clock_ahead_seconds",
                "By how much the server's clock is ahead of ours, if that matters",
                &ahead,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let help = "What was done, and whether it worked (success, failure)";
        registry.register("actions", help, actions.clone());
        Self(Arc::new(Shared {
            registry,
            progress: Mutex::new(Instant::now()),
            trouble: Mutex::new(Some("it has only just begun".to_owned())),
            ready,
            not_after,
            renewal,
            contact,
            ahead,
            actions,
        }))
    }
}

impl Status {
    /// `/metrics`, `/healthz` and `/readyz`.
    pub(super) fn router(&self) -> Router {
        let alive = |State(status): State<Self>| async move { verdict(status.stalled()) };
        let ready = |State(status): State<Self>| async move { verdict(status.trouble()) };
        let metrics = |State(status): State<Self>| async move { exported(status.text()) };
        Router::new()
            .route("/healthz", get(alive))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }

    /// What keeps the agent from being ready.
    pub fn trouble(&self) -> Option<String> {
        locked(&self.0.trouble).clone()
    }

    /// The metrics, as Prometheus reads them.
    ///
    /// # Errors
    ///
    /// None that can happen.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }

    fn stalled(&self) -> Option<String> {
        let since = locked(&self.0.progress).elapsed();
        (since > STALLED).then(|| format!("no progress for {} s", since.as_secs()))
    }

    /// The loop went round.
    pub(super) fn progress(&self) {
        *locked(&self.0.progress) = Instant::now();
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        self.0.ready.set(i64::from(trouble.is_none()));
        *locked(&self.0.trouble) = trouble;
    }

    /// When the certificate ends, and when it is due.
    pub(super) fn set_certificate(&self, times: Option<(Timestamp, Timestamp)>) {
        let (not_after, due) = times.map_or((0, 0), |(not_after, due)| {
            (not_after.as_second(), due.as_second())
        });
        self.0.not_after.set(not_after);
        self.0.renewal.set(due);
    }

    pub(super) fn contacted(&self, at: Timestamp, ahead: jiff::SignedDuration) {
        self.0.contact.set(at.as_second());
        self.0.ahead.set(ahead.as_secs());
    }

    pub(super) fn acted(&self, action: &'static str, worked: bool) {
        let outcome = if worked { "success" } else { "failure" };
        let labels = [("action", action), ("outcome", outcome)];
        self.0.actions.get_or_create(&labels).inc();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is written as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
