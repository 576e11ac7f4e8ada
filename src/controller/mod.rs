//! The controller: keeps the relays of one namespace as their objects say, on change and on time.
//!
//! Every replica watches; the one that holds the Lease acts. Each relay has a `worker`, whose `agenda`
//! says what is looked at next; a look is a `round` of the engine. What comes of it is a `verdict`,
//! which is told as conditions, Events and metrics.

mod agenda;
mod cleanup;
mod conditions;
mod context;
mod desired;
mod discovery;
mod due;
mod enrolment;
mod events;
mod health;
pub mod http;
mod manager;
mod objects;
mod publish;
mod rotations;
mod round;
mod verdict;
mod view;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::health::Health;

use self::context::Context;
use self::events::Events;
use self::manager::Manager;
use self::objects::Objects;
use self::publish::Publisher;
use crate::clock::Clock;
use crate::cluster::{Access, ClusterError, KubernetesCluster, Lease, LockName, Release as _};
use crate::crd;
use crate::engine::Cancel;
use crate::metrics::Metrics;

/// The Lease that makes one replica the leader.
const LEASE: &str = "relay-pki-controller";

/// How long the Lease lasts without being renewed: client-go's value for controllers.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// A leader whose loop makes no progress for so long is restarted.
const STALLED: Duration = Duration::from_secs(300);

/// How often it is looked whether the API server answers.
const PULSE: Duration = Duration::from_secs(5);

/// How long a request about the objects may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the controller is started with.
pub struct Options {
    /// The namespace of the objects, which is also where the Lease is.
    pub namespace: String,
    /// What other replicas and Events call this one: the Pod's name.
    pub identity: String,
    /// How the cluster is reached that it runs in.
    pub access: Access,
    /// Where metrics and health are served.
    pub listen: SocketAddr,
    /// Where agents enrol, if they do.
    pub enrolment: Option<Enrolment>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

/// Where agents enrol.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The address.
    pub listen: SocketAddr,
    /// The Relay; the only one of the namespace if none is named.
    pub relay: Option<String>,
}

/// Why the controller stops though nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// The cluster that it runs in.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Metrics and health, or enrolment, cannot be served.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        reason: String,
    },
    /// Another replica may lead by now.
    #[error("the lease {LEASE} is lost: another replica may lead by now")]
    LostLease,
}

/// Runs until it is cancelled. Steps that were begun then are finished, and the Lease is given back.
///
/// # Errors
///
/// If it cannot start, and when it loses the Lease: the process has to end then, and to start anew as a
/// follower.
pub async fn run(options: Options, cancel: Cancel) -> Result<(), ControllerError> {
    let lock = LockName {
        lease: LEASE.to_owned(),
        identity: options.identity.clone(),
    };
    let home = KubernetesCluster::new(
        "management",
        &options.namespace,
        options.access.clone(),
        lock,
    );
    let client = home.client().await?;
    // A watch of what the API server does not know would fail for ever.
    home.require::<crd::Relay>().await?;
    home.require::<crd::RelayCluster>().await?;
    home.require::<crd::RelayRotation>().await?;
    let listener = bind(options.listen).await?;
    let enrolment = match options.enrolment {
        Some(enrolment) => Some((bind(enrolment.listen).await?, enrolment.relay)),
        None => None,
    };
    let context = Arc::new(Context {
        events: Events::new(client.clone(), &options.identity),
        relays: Publisher::new(client.clone(), &options.namespace),
        clusters: Publisher::new(client.clone(), &options.namespace),
        rotations: Publisher::new(client.clone(), &options.namespace),
        client: client.clone(),
        namespace: options.namespace.clone(),
        access: options.access,
        identity: options.identity.clone(),
        clock: options.clock,
        metrics: options.metrics,
        health: Health::new(STALLED),
    });
    let objects = Arc::new(Objects::watch(&client, &options.namespace));
    let serving = Cancel::default();
    let (metrics, health) = (context.metrics.clone(), context.health.clone());
    let server = tokio::spawn(http::serve(listener, metrics, health, serving.clone()));
    let enrolling = enrolment.map(|(listener, relay)| {
        let (context, objects, serving) = (context.clone(), objects.clone(), serving.clone());
        tokio::spawn(enrolment::run(listener, relay, context, objects, serving))
    });
    let pulse = tokio::spawn(pulse(context.clone(), objects.clone()));
    let result = lead(&context, objects, &cancel).await;
    pulse.abort();
    serving.cancel();
    let _ = server.await;
    if let Some(enrolling) = enrolling {
        let _ = enrolling.await;
    }
    result
}

async fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener, ControllerError> {
    let listener = tokio::net::TcpListener::bind(address).await;
    listener.map_err(|error| ControllerError::Listen {
        address,
        reason: error.to_string(),
    })
}

/// Waits for the Lease and acts until it is lost, or until that is cancelled.
async fn lead(
    context: &Arc<Context>,
    objects: Arc<Objects>,
    cancel: &Cancel,
) -> Result<(), ControllerError> {
    let lease = Arc::new(Lease::new(
        context.client.clone(),
        &context.namespace,
        LEASE,
        &context.identity,
        LEASE_DURATION,
    ));
    tracing::info!(namespace = %context.namespace, "waiting to lead");
    let mut hold = tokio::select! {
        hold = lease.acquire() => hold,
        () = cancel.cancelled() => return Ok(()),
    };
    tracing::info!("leading");
    context.metrics.leader(true);
    context.health.set_leading(true);
    // Whoever leads no more begins nothing more; what is under way ends at a compare-and-swap.
    let stop = Cancel::default();
    let manager = Manager::new(context.clone(), objects, stop.clone());
    let mut managing = tokio::spawn(manager.run());
    let result = tokio::select! {
        () = hold.lost() => Err(ControllerError::LostLease),
        () = cancel.cancelled() => Ok(()),
        _ = &mut managing => Ok(()),
    };
    stop.cancel();
    context.metrics.leader(false);
    if result.is_ok() {
        // The Lease is kept until the last step is done.
        let _ = managing.await;
        context.flush().await;
        Box::new(hold).release().await;
    }
    result
}

/// Tells again and again how the process is.
async fn pulse(context: Arc<Context>, objects: Arc<Objects>) {
    let synced = async {
        objects.synced().await;
        context.health.set_watches_synced(true);
        std::future::pending::<()>().await;
    };
    let reaching = async {
        loop {
            let version = tokio::time::timeout(PULSE, context.client.apiserver_version()).await;
            context
                .health
                .set_api_reachable(matches!(version, Ok(Ok(_))));
            context.health.waited();
            tokio::time::sleep(PULSE).await;
        }
    };
    tokio::join!(synced, reaching);
}
