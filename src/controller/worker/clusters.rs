//! The clusters of a relay, opened and watched.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{HOME, Worker};
use crate::authorities::{self, Surroundings};
use crate::cluster::{Change, Cluster, KubernetesCluster};
use crate::config::{ClusterSpec, Relay, Role};
use crate::engine::Fleet;
use crate::relay;

/// A cluster that is open.
pub(super) struct Handle {
    pub(super) spec: ClusterSpec,
    cluster: Arc<KubernetesCluster>,
    #[expect(dead_code, reason = "held for its Drop")]
    watch: Watch,
    /// Whether its watch has told of everything once.
    watched: bool,
}

/// A watch, for as long as it is held.
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Worker {
    /// Opens the clusters of a relay; those that are as before stay open.
    pub(super) fn open(&mut self, relay: &Relay) {
        let opener = self.context.opener();
        let home_spec = relay.home();
        let unchanged = |handles: &BTreeMap<String, Handle>, spec: &ClusterSpec| {
            let handle = handles.get(spec.name.as_str())?;
            let same = handle.spec.location == spec.location
                && handle.spec.namespace == spec.namespace
                && handle.spec.role == spec.role;
            same.then(|| handle.cluster.clone())
        };
        let label = relay::selector(&relay.name);
        let label = (label.0.to_owned(), label.1.to_owned());
        let home = unchanged(&self.handles, home_spec);
        let home_is_new = home.is_none();
        let home = match home {
            Some(home) => home,
            None => Arc::new(opener.kubernetes(relay, home_spec, None)),
        };
        let mut handles = BTreeMap::new();
        for spec in relay.in_reach() {
            let name = spec.name.to_string();
            let is_home = spec.name == home_spec.name;
            let kept = match is_home {
                true if !home_is_new => Some(home.clone()),
                true => None,
                // Its kubeconfig is read from the home cluster.
                false if home_is_new => None,
                false => unchanged(&self.handles, spec),
            };
            let handle = match (kept, self.handles.remove(&name)) {
                (Some(cluster), Some(old)) => Handle {
                    spec: spec.clone(),
                    cluster,
                    ..old
                },
                _ => {
                    let cluster = match is_home {
                        true => home.clone(),
                        false => {
                            let home: Arc<dyn Cluster> = home.clone();
                            Arc::new(opener.kubernetes(relay, spec, Some(&home)))
                        }
                    };
                    let watch = self.watch(&name, cluster.clone(), label.clone());
                    Handle {
                        spec: spec.clone(),
                        cluster,
                        watch,
                        watched: false,
                    }
                }
            };
            handles.insert(name, handle);
        }
        self.handles = handles;
        let home: Arc<dyn Cluster> = home;
        let surroundings = Surroundings {
            relay,
            home: &home,
            opener: &opener,
        };
        let open = self.handles.iter();
        let open = open.map(|(name, handle)| {
            let cluster: Arc<dyn Cluster> = handle.cluster.clone();
            (name.clone(), cluster)
        });
        self.fleet = Some(Arc::new(Fleet {
            clusters: open.collect(),
            providers: authorities::measured(
                authorities::open(&surroundings),
                &relay.providers,
                &self.context.metrics,
            ),
            clock: self.context.clock.clone(),
            relay: relay.clone(),
        }));
        self.observer = None;
    }

    fn watch(&self, name: &str, cluster: Arc<KubernetesCluster>, label: (String, String)) -> Watch {
        let (name, all) = (name.to_owned(), self.changes.0.clone());
        let task = tokio::spawn(async move {
            let (sender, mut own) = mpsc::channel(16);
            let forward = async {
                while let Some(change) = own.recv().await {
                    if all.send((name.clone(), change)).await.is_err() {
                        return;
                    }
                }
            };
            let watch = cluster.watch((&label.0, &label.1), sender);
            tokio::select! { () = watch => {}, () = forward => {} }
        });
        Watch(task.abort_handle())
    }

    /// Somebody wrote something. If it was us, we have seen it already.
    pub(super) fn changed(&mut self, cluster: &str, change: Change) {
        let Some(handle) = self.handles.get_mut(cluster) else {
            return;
        };
        let entry = match handle.spec.role {
            Role::Workload => cluster,
            Role::Management => HOME,
        };
        let now = Instant::now();
        match change {
            Change::Begun => {
                let again = std::mem::replace(&mut handle.watched, true);
                if self.agenda.fails(entry) {
                    // It could be reached: perhaps it fails no more.
                    self.agenda.retry(entry, now);
                } else if again {
                    // What was deleted while nobody watched is told by nobody.
                    self.agenda.ask(entry, now);
                }
            }
            // Whether it is down shows when it is looked at.
            Change::Broken => self.agenda.ask(entry, now),
            Change::Object(_, Some(version)) => {
                let known = self.known.get(cluster);
                if !known.is_some_and(|known| known.versions.contains(&version)) {
                    self.agenda.ask(entry, now);
                }
            }
            Change::Object(_, None) => self.agenda.ask(entry, now),
        }
    }
}
