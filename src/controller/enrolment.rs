//! The EST server of a controller: it serves on every replica, whoever leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::context::Context;
use super::desired::{Desired, Written};
use super::objects::Objects;
use crate::authorities::{self, Surroundings};
use crate::cluster::Cluster;
use crate::config::Relay;
use crate::engine::{Cancel, Fleet};
use crate::enrolment::{Bounds, serve};

/// How often it is looked whether the objects say something else.
const LOOK: Duration = Duration::from_secs(1);

/// Serves the relay of the namespace, or the one of that name, until `cancel`.
pub(super) async fn run(
    listener: TcpListener,
    name: Option<String>,
    context: Arc<Context>,
    objects: Arc<Objects>,
    cancel: Cancel,
) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(target: "relay_pki::enrolment", %address, "agents enrol here");
    }
    let (sender, fleet) = watch::channel(None);
    let metrics = context.metrics.enrolment().clone();
    let following = tokio::spawn(follow(name, context, objects, sender));
    serve(listener, fleet, Bounds::default(), metrics, cancel).await;
    following.abort();
}

/// Says what the objects say.
async fn follow(
    name: Option<String>,
    context: Arc<Context>,
    objects: Arc<Objects>,
    fleet: watch::Sender<Option<Arc<Fleet>>>,
) {
    objects.synced().await;
    let mut known: Option<Written> = None;
    let mut said = None;
    loop {
        match chosen(name.as_deref(), &objects) {
            Ok(written) => {
                if !known.as_ref().is_some_and(|known| known.is_same(&written)) {
                    let desired = Desired::of(written.clone());
                    known = Some(written);
                    // What is wrong with the objects is told elsewhere; until it is right, what was said
                    // before holds.
                    if let Ok(assembled) = &desired.assembled {
                        fleet.send_replace(Some(Arc::new(open(&context, &assembled.relay))));
                    }
                }
                said = None;
            }
            Err(reason) => {
                known = None;
                fleet.send_replace(None);
                if said != Some(reason) {
                    tracing::warn!(target: "relay_pki::enrolment", reason, "no relay is served");
                    said = Some(reason);
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The relay that is served.
fn chosen(name: Option<&str>, objects: &Objects) -> Result<Written, &'static str> {
    let mut relays = objects.relays();
    relays.retain(|relay| relay.metadata.deletion_timestamp.is_none());
    if let Some(name) = name {
        relays.retain(|relay| relay.name_any() == name);
    }
    match relays.as_slice() {
        [relay] => Ok(Written::of(relay.clone(), &objects.clusters(), &[])),
        [] => Err("there is no such Relay in the namespace"),
        _ => Err("there are several Relays in the namespace; name one with --enrolment-relay"),
    }
}

/// As much of the fleet as enrolment takes: the cluster with the records.
fn open(context: &Context, relay: &Relay) -> Fleet {
    let (spec, opener) = (relay.home(), context.opener());
    let home: Arc<dyn Cluster> = Arc::new(opener.kubernetes(relay, spec, None));
    let surroundings = Surroundings {
        relay,
        home: &home,
        opener: &opener,
    };
    Fleet {
        providers: authorities::measured(
            authorities::open(&surroundings),
            &relay.providers,
            &context.metrics,
        ),
        clusters: BTreeMap::from([(spec.name.to_string(), home)]),
        clock: context.clock.clone(),
        relay: relay.clone(),
    }
}
