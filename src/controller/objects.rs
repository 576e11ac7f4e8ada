//! The objects of the namespace, as the API server last told of them.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use crate::crd::{Relay, RelayCluster, RelayRotation};

/// The objects, kept up to date in the background until this is dropped.
pub(super) struct Objects {
    relays: Store<Relay>,
    clusters: Store<RelayCluster>,
    rotations: Store<RelayRotation>,
    changed: Arc<Notify>,
    synced: watch::Receiver<bool>,
    tasks: [tokio::task::JoinHandle<()>; 4],
}

impl Objects {
    pub(super) fn watch(client: &Client, namespace: &str) -> Self {
        let changed = Arc::new(Notify::new());
        let (relays, one) = reflect(client, namespace, changed.clone());
        let (clusters, other) = reflect(client, namespace, changed.clone());
        let (rotations, third) = reflect(client, namespace, changed.clone());
        // A store wakes one of those who wait for it and no other.
        let (sender, synced) = watch::channel(false);
        let stores = (relays.clone(), clusters.clone(), rotations.clone());
        let waiting = tokio::spawn(async move {
            let relays = stores.0.wait_until_ready().await;
            let clusters = stores.1.wait_until_ready().await;
            let rotations = stores.2.wait_until_ready().await;
            sender.send_replace(relays.is_ok() && clusters.is_ok() && rotations.is_ok());
        });
        Self {
            relays,
            clusters,
            rotations,
            changed,
            synced,
            tasks: [one, other, third, waiting],
        }
    }

    /// Waits until everything was seen once.
    pub(super) async fn synced(&self) {
        let _ = self.synced.clone().wait_for(|synced| *synced).await;
    }

    /// Waits until something changed since the last call.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn relays(&self) -> Vec<Arc<Relay>> {
        self.relays.state()
    }

    pub(super) fn clusters(&self) -> Vec<Arc<RelayCluster>> {
        self.clusters.state()
    }

    pub(super) fn rotations(&self) -> Vec<Arc<RelayRotation>> {
        self.rotations.state()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn reflect<K>(
    client: &Client,
    namespace: &str,
    changed: Arc<Notify>,
) -> (Store<K>, tokio::task::JoinHandle<()>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let events = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    let task = tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => changed.notify_one(),
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch broke; it is begun anew");
                }
            }
        }
    });
    (store, task)
}
