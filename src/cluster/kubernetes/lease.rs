//! A `coordination.k8s.io/v1` Lease, held by one process at a time.
//!
//! The protocol is client-go's: a Lease has run out when *we* have seen no change of it for as long as
//! it says that it lasts. Clocks of different machines are never compared. Every write names the
//! `resourceVersion` that was read, so of two who try one succeeds. A holder that cannot renew in time
//! has lost the Lease, whatever the API server would say.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::core::Request;
use kube::{Client, Resource as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::Release;
use super::FIELD_MANAGER;
use super::exchange::{Failure, exchange};

/// How long releasing may take: nobody waits for it for long.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// A Lease, and who we are in it.
pub struct Lease {
    client: Client,
    requests: Request,
    name: String,
    identity: String,
    duration: Duration,
}

/// Why a Lease could not be had.
#[derive(Debug, Clone)]
pub enum LeaseError {
    /// Somebody holds it and renews it.
    Held {
        /// The identity of the holder.
        holder: String,
    },
    /// The API server did not do what it was asked.
    Failed(Failure),
}

/// What an attempt came to.
enum Attempt {
    Acquired(Box<LeaseObject>),
    HeldBy(String),
}

/// The state of a Lease as we last saw it, and since when it has been so.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Lease {
    /// The Lease `name`. It lasts `duration` without being renewed. `identity` says who we are; what
    /// makes it unique is added, because a process that starts anew is another holder.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        duration: Duration,
    ) -> Self {
        Self {
            client,
            requests: Request::new(LeaseObject::url_path(&(), Some(namespace))),
            name: name.to_owned(),
            identity: format!("{identity}_{}", unique()),
            duration,
        }
    }

    /// Takes the Lease, or waits for it for as long as `patience` says.
    pub async fn acquire_within(
        self: Arc<Self>,
        patience: Duration,
    ) -> Result<LeaseHold, LeaseError> {
        let deadline = Instant::now() + patience;
        let mut seen = None;
        loop {
            match self.attempt(&mut seen).await {
                Ok(Attempt::Acquired(object)) => return Ok(LeaseHold::new(self, *object)),
                Ok(Attempt::HeldBy(holder)) if Instant::now() + self.pause() > deadline => {
                    return Err(LeaseError::Held { holder });
                }
                Ok(Attempt::HeldBy(_)) => {}
                // Somebody was quicker; the next look shows who.
                Err(failure) if failure.is(http::StatusCode::CONFLICT) => {}
                Err(failure) => return Err(LeaseError::Failed(failure)),
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Takes the Lease, however long it takes. An API server that fails is asked again.
    pub async fn acquire(self: Arc<Self>) -> LeaseHold {
        let mut seen = None;
        loop {
            match self.attempt(&mut seen).await {
                Ok(Attempt::Acquired(object)) => return LeaseHold::new(self, *object),
                Ok(Attempt::HeldBy(holder)) => {
                    tracing::debug!(lease = %self.name, %holder, "waiting")
                }
                Err(failure) if failure.is(http::StatusCode::CONFLICT) => {}
                Err(failure) => {
                    tracing::warn!(lease = %self.name, %failure, "cannot take the lease")
                }
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Between two looks at it, and between two renewals.
    fn pause(&self) -> Duration {
        (self.duration / 6).min(Duration::from_secs(2))
    }

    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<Attempt, Failure> {
        let request = built(self.requests.get(&self.name, &Default::default()))?;
        let found: LeaseObject = match exchange(&self.client, request, self.duration).await {
            Ok(found) => found,
            Err(failure) if failure.is(http::StatusCode::NOT_FOUND) => {
                let new = self.object(None);
                return self
                    .create(&new)
                    .await
                    .map(|object| Attempt::Acquired(Box::new(object)));
            }
            Err(failure) => return Err(failure),
        };
        let spec = found.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let version = found.metadata.resource_version.clone();
            let unchanged = seen.as_ref().filter(|seen| seen.version == version);
            let since = unchanged.map_or_else(Instant::now, |seen| seen.since);
            *seen = Some(Seen { version, since });
            let lasts = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
            if since.elapsed() < Duration::from_secs(lasts) {
                return Ok(Attempt::HeldBy(holder));
            }
        }
        self.update(self.object(Some(found)))
            .await
            .map(|object| Attempt::Acquired(Box::new(object)))
    }

    /// The Lease as ours: taken, or renewed if it was ours before.
    fn object(&self, before: Option<LeaseObject>) -> LeaseObject {
        let now = MicroTime(Timestamp::now());
        let (metadata, old) = match before {
            Some(before) => (before.metadata, before.spec.unwrap_or_default()),
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                };
                (metadata, LeaseSpec::default())
            }
        };
        let renewed = old.holder_identity.as_ref() == Some(&self.identity);
        let transitions = old.lease_transitions.unwrap_or(0);
        LeaseObject {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
                acquire_time: match renewed {
                    true => old.acquire_time.or(Some(now.clone())),
                    false => Some(now.clone()),
                },
                renew_time: Some(now),
                lease_transitions: Some(transitions.saturating_add(i32::from(!renewed))),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn create(&self, object: &LeaseObject) -> Result<LeaseObject, Failure> {
        let request = self.requests.create(&params(), encoded(object)?);
        exchange(&self.client, built(request)?, self.duration).await
    }

    async fn update(&self, object: LeaseObject) -> Result<LeaseObject, Failure> {
        let request = self
            .requests
            .replace(&self.name, &params(), encoded(&object)?);
        exchange(&self.client, built(request)?, self.duration).await
    }
}

/// 64 random bits. Without randomness two holders of one name could not be told apart: the time has to
/// do then.
fn unique() -> String {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => format!("{:016x}", u64::from_be_bytes(bytes)),
        Err(_) => Timestamp::now().as_nanosecond().to_string(),
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn encoded(object: &LeaseObject) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(object).map_err(|error| Failure::unreachable(error.to_string()))
}

fn built(
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<http::Request<Vec<u8>>, Failure> {
    request.map_err(|error| Failure::unreachable(error.to_string()))
}

/// A Lease that is ours. Dropped without being released, it runs out by itself.
pub struct LeaseHold {
    lease: Arc<Lease>,
    renewal: JoinHandle<()>,
    current: watch::Receiver<Option<LeaseObject>>,
}

impl LeaseHold {
    fn new(lease: Arc<Lease>, object: LeaseObject) -> Self {
        let (sender, current) = watch::channel(Some(object));
        let renewal = tokio::spawn(renew(lease.clone(), sender));
        Self {
            lease,
            renewal,
            current,
        }
    }

    /// Waits until it is ours no more. Whatever needs it has to stop then.
    pub async fn lost(&mut self) {
        // An error means that the renewal ended without a word, which is no better.
        let _ = self.current.wait_for(Option::is_none).await;
    }
}

#[async_trait]
impl Release for LeaseHold {
    /// Gives it back at once, for the next holder not to have to wait.
    async fn release(self: Box<Self>) {
        self.renewal.abort();
        let held = self.current.borrow().clone();
        let Some(mut object) = held else { return };
        if let Some(spec) = object.spec.as_mut() {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let release = self.lease.update(object);
        match tokio::time::timeout(RELEASE_TIMEOUT, release).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => tracing::debug!(%failure, "the lease runs out by itself"),
            Err(_) => tracing::debug!("no answer: the lease runs out by itself"),
        }
    }
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Renews until that fails for two thirds of the duration: another one may take the Lease after
/// three thirds, and by then we have long stopped.
async fn renew(lease: Arc<Lease>, current: watch::Sender<Option<LeaseObject>>) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(lease.pause()).await;
        let Some(held) = current.borrow().clone() else {
            return;
        };
        let deadline = renewed + lease.duration * 2 / 3;
        let started = Instant::now();
        let update = lease.update(lease.object(Some(held)));
        match tokio::time::timeout_at(deadline, update).await {
            Ok(Ok(object)) => {
                renewed = started;
                current.send_replace(Some(object));
            }
            // Somebody wrote it. If that was us, in a request whose reply was lost, go on.
            Ok(Err(failure)) if failure.is(http::StatusCode::CONFLICT) => {
                let read = built(lease.requests.get(&lease.name, &Default::default()));
                let Ok(request) = read else { break };
                let read = exchange::<LeaseObject>(&lease.client, request, lease.duration);
                match tokio::time::timeout_at(deadline, read).await {
                    Ok(Ok(found)) => {
                        let holder = found.spec.as_ref().and_then(|s| s.holder_identity.as_ref());
                        if holder != Some(&lease.identity) {
                            break;
                        }
                        current.send_replace(Some(found));
                    }
                    Ok(Err(_)) if Instant::now() < deadline => {}
                    _ => break,
                }
            }
            Ok(Err(failure)) if Instant::now() < deadline => {
                tracing::warn!(lease = %lease.name, %failure, "cannot renew the lease");
            }
            _ => break,
        }
    }
    tracing::warn!(lease = %lease.name, "the lease is lost");
    current.send_replace(None);
}
