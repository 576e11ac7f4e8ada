//! Writes status objects: each once for a change, however often the same is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;

const TIMEOUT: Duration = Duration::from_secs(10);

/// How many are written side by side.
const CONCURRENCY: usize = 8;

/// After a write, and after a failure, that much time passes before the next one: what changes often is
/// written in its last form.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(3);

/// The status of objects of one type, by name.
pub(super) struct Publisher<K> {
    api: Api<K>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    wanted: BTreeMap<String, Said>,
    written: BTreeMap<String, Said>,
}

/// A status, and the uid of the object that it is about: one that is made anew under its name has to
/// be told again.
type Said = (Option<String>, Value);

impl<K> Publisher<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + fmt::Debug
        + Send
        + Sync
        + 'static,
{
    pub(super) fn new(client: Client, namespace: &str) -> Arc<Self> {
        Arc::new(Self {
            api: Api::namespaced(client, namespace),
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// From now on the object should have this status.
    pub(super) fn say(&self, object: &K, status: &impl Serialize) {
        // Status types serialise without fail: no maps with other keys than strings.
        let Ok(status) = serde_json::to_value(status) else {
            return;
        };
        let meta = object.meta();
        let Some(name) = meta.name.clone() else {
            return;
        };
        let said = (meta.uid.clone(), status);
        let mut state = self.state();
        if state.wanted.get(&name) != Some(&said) {
            state.wanted.insert(name, said);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Forgets what was said of objects that are gone: only those of these names are there.
    pub(super) fn keep(&self, names: &BTreeSet<String>) {
        let mut state = self.state();
        state.wanted.retain(|name, _| names.contains(name));
        state.written.retain(|name, _| names.contains(name));
    }

    /// Writes what is said until it is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            while !self.write_all().await {
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether everything that was said is written.
    pub(super) async fn write_all(&self) -> bool {
        let due: Vec<(String, Said)> = {
            let state = self.state();
            let due = state.wanted.iter();
            due.filter(|(name, said)| state.written.get(*name) != Some(said))
                .map(|(name, said)| (name.clone(), said.clone()))
                .collect()
        };
        let writes = due.into_iter().map(|(name, said)| async move {
            let done = self.write(&name, &said.1).await;
            if done {
                self.state().written.insert(name, said);
            }
            done
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(CONCURRENCY);
        let mut all = true;
        while let Some(done) = writes.next().await {
            all &= done;
        }
        all
    }

    async fn write(&self, name: &str, status: &Value) -> bool {
        let kind = K::kind(&());
        let object = json!({
            "apiVersion": K::api_version(&()), "kind": kind, "status": status,
        });
        // Nobody else has a say in what we found.
        let params = PatchParams::apply(crate::cluster::FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        let write = self.api.patch_status(name, &params, &patch);
        match tokio::time::timeout(TIMEOUT, write).await {
            Ok(Ok(_)) => true,
            // It was deleted meanwhile.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => true,
            Ok(Err(error)) => {
                tracing::warn!(%kind, %name, %error, "cannot write the status");
                false
            }
            Err(_) => {
                tracing::warn!(%kind, %name, "cannot write the status: no answer");
                false
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::crd::{Relay, RelaySpec};

    #[tokio::test]
    async fn objects_that_are_gone_are_forgotten() {
        let nobody = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(nobody).unwrap();
        let publisher: Arc<Publisher<Relay>> = Publisher::new(client, "gloo-mesh");
        for name in ["gone", "there"] {
            let object = Relay::new(name, RelaySpec::default());
            publisher.say(&object, &json!({ "observedGeneration": 1 }));
            let said = publisher.state().wanted.get(name).cloned().unwrap();
            publisher.state().written.insert(name.to_owned(), said);
        }
        publisher.keep(&BTreeSet::from(["there".to_owned()]));
        let state = publisher.state();
        assert!(state.wanted.keys().eq(["there"]));
        assert!(state.written.keys().eq(["there"]));
    }
}
