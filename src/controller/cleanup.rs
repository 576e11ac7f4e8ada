//! What is deleted when an object is deleted: nothing, unless its `deletionPolicy` is `Delete`.
//!
//! Only then an object has our finalizer. A cluster that cannot be reached must not keep its object for
//! ever: after a while it is let go, and an Event says what is left behind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::TIMEOUT;
use super::context::Context;
use super::objects::Objects;
use crate::cluster::{Cluster, ClusterError, KubernetesCluster};
use crate::clusters::Opener;
use crate::crd::{self, DeletionPolicy, FINALIZER, Relay, RelayCluster};
use crate::relay::{self, Owner, owner_of};

/// How long it is tried to delete what is in a cluster that does not answer.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// Gives up at once, on request of a person who knows that the cluster is gone.
const FORGET: &str = "relay-pki.dev/force-forget";

/// A step of a look that was under way may write once more: what is empty now is looked at again.
const SETTLE: Duration = Duration::from_secs(5);

/// Keeps finalizers in step with deletion policies, and does what they stand for.
pub(super) struct Cleanup {
    context: Arc<Context>,
    opener: Opener,
    relays: Api<Relay>,
    clusters: Api<RelayCluster>,
    /// What is being cleaned up, by kind and name.
    running: BTreeMap<(&'static str, String), tokio::task::JoinHandle<()>>,
}

impl Cleanup {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let (client, namespace) = (&context.client, &context.namespace);
        Self {
            opener: context.opener(),
            relays: Api::namespaced(client.clone(), namespace),
            clusters: Api::namespaced(client.clone(), namespace),
            context,
            running: BTreeMap::new(),
        }
    }

    /// Looks at every object.
    pub(super) async fn look(&mut self, objects: &Objects) {
        self.running.retain(|_, task| !task.is_finished());
        let relays = objects.relays();
        for cluster in objects.clusters() {
            let deletes = cluster.spec.deletion_policy == DeletionPolicy::Delete;
            match is_leaving(cluster.as_ref()) {
                false => keep_finalizer(&self.clusters, cluster.as_ref(), deletes).await,
                true => {
                    let name = cluster.spec.relay_ref.name.as_str();
                    let relay = relays.iter().find(|relay| relay.name_any() == name);
                    let target = self.workload(&cluster, relay.map(Arc::as_ref));
                    let of = cluster.spec.relay_ref.name.clone();
                    self.clean("RelayCluster", self.clusters.clone(), cluster, of, target);
                }
            }
        }
        for relay in relays {
            let deletes = relay.spec.deletion_policy == DeletionPolicy::Delete;
            match is_leaving(relay.as_ref()) {
                false => keep_finalizer(&self.relays, relay.as_ref(), deletes).await,
                true => {
                    let assembled = crd::assemble(&relay, []);
                    let target = assembled.ok().map(|assembled| {
                        let relay = &assembled.relay;
                        self.opener.kubernetes(relay, relay.home(), None)
                    });
                    let of = relay.name_any();
                    self.clean("Relay", self.relays.clone(), relay, of, target);
                }
            }
        }
    }

    /// The cluster of an object, if it says where it is. A Relay that went first, or is wrong, does not
    /// matter: only the place of the cluster does.
    fn workload(&self, cluster: &RelayCluster, relay: Option<&Relay>) -> Option<KubernetesCluster> {
        let mut bare = Relay::new(&cluster.spec.relay_ref.name, crd::RelaySpec::default());
        bare.metadata.namespace = cluster.metadata.namespace.clone();
        let assembled = [relay, Some(&bare)]
            .into_iter()
            .flatten()
            .find_map(|relay| crd::assemble(relay, [cluster]).ok())?;
        let name = cluster.name_any();
        let mut clusters = assembled.relay.clusters.iter();
        let spec = clusters.find(|spec| spec.name.as_str() == name)?;
        let home = self
            .opener
            .kubernetes(&assembled.relay, assembled.relay.home(), None);
        let home: Arc<dyn Cluster> = Arc::new(home);
        Some(self.opener.kubernetes(&assembled.relay, spec, Some(&home)))
    }

    fn clean<K>(
        &mut self,
        kind: &'static str,
        api: Api<K>,
        object: Arc<K>,
        relay: String,
        target: Option<KubernetesCluster>,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + fmt::Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let key = (kind, object.name_any());
        if self.running.contains_key(&key) {
            return;
        }
        let context = self.context.clone();
        let task = async move {
            let about = object.object_ref(&());
            let left = match &target {
                Some(target) => delete_all(target, &relay).await.err(),
                None => None,
            };
            match left {
                None => {
                    let note = "the relay Secrets were deleted, as spec.deletionPolicy says";
                    context.events.tell(&about, "CleanedUp", note);
                }
                Some(error) if !given_up(object.as_ref(), context.clock.now()) => {
                    let note = format!(
                        "cannot delete the relay Secrets: {error}; it is tried again for {} \
                         minutes; to leave them behind now: kubectl annotate {} {} {FORGET}=true",
                        PATIENCE.as_mins(),
                        kind.to_lowercase(),
                        object.name_any()
                    );
                    context.events.warn(&about, "CleanupFailed", &note);
                    return;
                }
                Some(error) => {
                    let note = format!("the relay Secrets are left behind: {error}");
                    context.events.warn(&about, "CleanupGivenUp", &note);
                }
            }
            keep_finalizer(&api, object.as_ref(), false).await;
        };
        self.running.insert(key, tokio::spawn(task));
    }
}

/// Whether an object is being deleted and waits for us.
fn is_leaving<K: Resource>(object: &K) -> bool {
    let meta = object.meta();
    meta.deletion_timestamp.is_some() && object.finalizers().iter().any(|name| name == FINALIZER)
}

fn given_up<K: Resource>(object: &K, now: jiff::Timestamp) -> bool {
    let deleted = object.meta().deletion_timestamp.as_ref();
    let waited = deleted.map(|at| now.duration_since(at.0));
    let asked = object.annotations().get(FORGET);
    asked.is_some_and(|text| text == "true") || waited.is_some_and(|waited| waited > PATIENCE)
}

/// Deletes everything of a relay in a cluster, until nothing is left.
async fn delete_all(cluster: &KubernetesCluster, relay: &str) -> Result<(), ClusterError> {
    let mut empty = 0;
    while empty < 2 {
        let found = cluster.list(relay::selector(relay), &[]).await?;
        let ours = found.iter();
        let ours = ours.filter(|stored| owner_of(&stored.object, relay) == Owner::Us);
        let mut any = false;
        for stored in ours {
            any = true;
            match cluster.delete(&stored.object.key, &stored.version).await {
                // Somebody wrote or deleted it: the next look shows.
                Ok(()) | Err(ClusterError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if !any {
            empty += 1;
            if empty < 2 {
                tokio::time::sleep(SETTLE).await;
            }
        }
    }
    Ok(())
}

/// Adds our finalizer, or takes it away, where it is not as wanted.
async fn keep_finalizer<K>(api: &Api<K>, object: &K, wanted: bool)
where
    K: Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned,
{
    let mut finalizers = object.finalizers().to_vec();
    if finalizers.iter().any(|name| name == FINALIZER) == wanted {
        return;
    }
    match wanted {
        true => finalizers.push(FINALIZER.to_owned()),
        false => finalizers.retain(|name| name != FINALIZER),
    }
    let patch = Patch::Merge(json!({ "metadata": {
        "finalizers": finalizers,
        "uid": object.meta().uid,
        "resourceVersion": object.meta().resource_version,
    }}));
    let name = object.name_any();
    let params = PatchParams {
        field_manager: Some(crate::cluster::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    // What fails is tried again with the next look; a conflict means that we have not seen the latest.
    match tokio::time::timeout(TIMEOUT, api.patch(&name, &params, &patch)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%name, %error, "cannot change the finalizers"),
        Err(_) => tracing::debug!(%name, "cannot change the finalizers: no answer"),
    }
}
