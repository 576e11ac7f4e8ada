//! Removes requests that are of no more use: cert-manager keeps them for ever.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::{Api, Kind};
use crate::failure::Failure;
use crate::objects::{ENDS, MANAGED_BY, Metadata, RELAY};

/// How often it is done.
const INTERVAL: Duration = Duration::from_hours(1);
/// Longest that callers wait for it.
const LIMIT: Duration = Duration::from_secs(5);
/// How many requests are removed at once.
const BATCH: usize = 200;

/// When it was done last.
#[derive(Default)]
pub(crate) struct Sweep(Mutex<Option<Instant>>);

impl Sweep {
    /// Removes requests of `relay`, if it has not been done for a while: those whose certificates
    /// have ended, or would have. Until then a request is what keeps a certificate from being made
    /// twice. It is no failure if this fails.
    pub(crate) async fn run(&self, api: &Api, relay: &str) {
        if self.is_due() {
            let _ = tokio::time::timeout(LIMIT, sweep(api, relay)).await;
        }
    }

    fn is_due(&self) -> bool {
        // A panic elsewhere cannot have left anything half-made.
        let mut last = self.0.lock().unwrap_or_else(|error| error.into_inner());
        let due = last.is_none_or(|last| last.elapsed() > INTERVAL);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

async fn sweep(api: &Api, relay: &str) -> Result<(), Failure> {
    let (key, value) = MANAGED_BY;
    let selector = format!("{key}={value},{RELAY}={relay}");
    let requests = api.list(Kind::CertificateRequests, &selector).await?;
    let now = Timestamp::now();
    let over = requests.iter().filter(|request| is_over(request, now));
    for request in over.take(BATCH) {
        api.delete(Kind::CertificateRequests, request).await?;
    }
    Ok(())
}

fn is_over(request: &Metadata, now: Timestamp) -> bool {
    let ends = request.annotations.get(ENDS);
    ends.and_then(|text| text.parse::<Timestamp>().ok())
        .is_some_and(|end| end < now)
}
