//! Word of every change to the objects of a relay.
//!
//! Only metadata is watched: no key travels for it, and none lies in a cache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::super::{ObjectKey, ObjectKind, Version};
use super::KubernetesCluster;
use super::codec;

/// First pause before a watch that broke is begun again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// What a watch has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Everything that is there was told of: the API server answers. If this comes again, something
    /// may have been missed in between.
    Begun,
    /// The watch broke. It is begun anew, but the API server may be gone.
    Broken,
    /// An object is at this version now; `None` if it is gone.
    Object(ObjectKey, Option<Version>),
}

impl KubernetesCluster {
    /// Sends every change of the objects that carry the label, until nobody listens. A watch that
    /// breaks is begun anew, less and less often while that fails.
    pub async fn watch(self: Arc<Self>, label: (&str, &str), changes: mpsc::Sender<Change>) {
        let selector = format!("{}={}", label.0, label.1);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Ok(client) = self.client().await {
                let mut events = self.events(&client, &selector);
                loop {
                    let event = tokio::select! {
                        event = events.next() => event,
                        () = changes.closed() => return,
                    };
                    match event {
                        Some(Ok(change)) => {
                            pause = FIRST_PAUSE;
                            if changes.send(change).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(reason)) => {
                            tracing::debug!(cluster = %self.name, %reason, "the watch broke");
                            break;
                        }
                        None => break,
                    }
                }
                // Perhaps the credentials are the reason.
                self.connection.forget();
                if changes.send(Change::Broken).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = changes.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn events(
        &self,
        client: &Client,
        selector: &str,
    ) -> BoxStream<'static, Result<Change, String>> {
        let secrets = of_kind::<Secret>(client, &self.namespace, selector, ObjectKind::Secret);
        if !self.holds_records {
            return secrets;
        }
        let kind = ObjectKind::ConfigMap;
        let records = of_kind::<ConfigMap>(client, &self.namespace, selector, kind);
        futures::stream::select(secrets, records).boxed()
    }
}

fn of_kind<K>(
    client: &Client,
    namespace: &str,
    selector: &str,
    kind: ObjectKind,
) -> BoxStream<'static, Result<Change, String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + fmt::Debug
        + Send
        + 'static,
{
    // An `Api` of partial metadata asks the server for metadata alone.
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().labels(selector);
    let change = move |object: PartialObjectMeta<K>, gone: bool| {
        let meta = &object.metadata;
        let key = ObjectKey {
            kind,
            name: meta.name.clone().unwrap_or_default(),
        };
        Change::Object(key, (!gone).then(|| codec::version(meta)))
    };
    watcher(api, config)
        .filter_map(move |event| {
            let change = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => Ok(change(object, false)),
                Ok(Event::Delete(object)) => Ok(change(object, true)),
                // Nobody has answered yet.
                Ok(Event::Init) => return std::future::ready(None),
                Ok(Event::InitDone) => Ok(Change::Begun),
                Err(error) => Err(error.to_string()),
            };
            std::future::ready(Some(change))
        })
        .boxed()
}
