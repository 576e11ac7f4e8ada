//! A worker for every Relay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::{Resource as _, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cleanup::Cleanup;
use super::conditions::conditions;
use super::context::Context;
use super::desired::{Desired, Written};
use super::discovery;
use super::objects::Objects;
use super::verdict::Verdict;
use super::worker::Worker;
use crate::crd::{RelayCluster, RelayClusterStatus};
use crate::engine::Cancel;

/// After a change, that much time passes before it is looked at: objects often come in crowds.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// What no watch tells of is looked at that often.
const TICK: Duration = Duration::from_secs(15);

/// Starts and stops workers as Relays come and go.
pub(super) struct Manager {
    context: Arc<Context>,
    objects: Arc<Objects>,
    running: BTreeMap<String, Running>,
    /// Workers that were stopped.
    leaving: Vec<JoinHandle<()>>,
    cleanup: Cleanup,
    stop: Cancel,
}

struct Running {
    written: Written,
    desired: watch::Sender<Arc<Desired>>,
    stop: Cancel,
    task: JoinHandle<()>,
}

impl Manager {
    pub(super) fn new(context: Arc<Context>, objects: Arc<Objects>, stop: Cancel) -> Self {
        Self {
            cleanup: Cleanup::new(context.clone()),
            context,
            objects,
            running: BTreeMap::new(),
            leaving: Vec::new(),
            stop,
        }
    }

    /// Runs until it is stopped, and until all workers have stopped then.
    pub(super) async fn run(mut self) {
        let publishing = [
            tokio::spawn(self.context.relays.clone().run()),
            tokio::spawn(self.context.clusters.clone().run()),
            tokio::spawn(self.context.rotations.clone().run()),
        ];
        tokio::select! {
            () = self.objects.synced() => {}
            () = self.stop.cancelled() => {}
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            self.context.health.progress();
            let ticked = tokio::select! {
                () = self.objects.changed() => false,
                _ = tick.tick() => true,
                () = self.stop.cancelled() => break,
            };
            if !ticked {
                tokio::time::sleep(DEBOUNCE).await;
            }
            self.look().await;
            if ticked {
                discovery::run(&self.context, &self.objects).await;
            }
        }
        for name in self.running.keys().cloned().collect::<Vec<_>>() {
            self.leave(&name);
        }
        for task in self.leaving {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker was aborted");
            }
        }
        for task in publishing {
            task.abort();
        }
    }

    /// Compares the objects with the workers.
    async fn look(&mut self) {
        let relays = self.objects.relays();
        let clusters = self.objects.clusters();
        let there = relays.iter().map(|relay| relay.name_any()).collect();
        self.context.relays.keep(&there);
        let there = clusters.iter().map(|cluster| cluster.name_any()).collect();
        self.context.clusters.keep(&there);
        let rotations = self.objects.rotations();
        let there = rotations
            .iter()
            .map(|rotation| rotation.name_any())
            .collect();
        self.context.rotations.keep(&there);
        let gone = self.running.keys();
        let gone = gone.filter(|name| !relays.iter().any(|relay| relay.name_any() == **name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.leave(&name);
            self.context.metrics.forget(&name);
        }
        for relay in relays {
            let written = Written::of(relay, &clusters, &rotations);
            let name = written.relay.name_any();
            let running = self.running.get(&name);
            if running.is_some_and(|running| running.written.is_same(&written)) {
                continue;
            }
            let desired = Arc::new(Desired::of(written.clone()));
            match self.running.get_mut(&name) {
                Some(running) => {
                    running.written = written;
                    running.desired.send_replace(desired);
                }
                None => {
                    let running = self.begin(written, desired);
                    self.running.insert(name, running);
                }
            }
        }
        self.tell_orphans(&clusters);
        self.cleanup.look(&self.objects).await;
    }

    /// Says of clusters that their Relay is missing.
    fn tell_orphans(&self, clusters: &[Arc<RelayCluster>]) {
        for cluster in clusters {
            let relay = &cluster.spec.relay_ref.name;
            if self.running.contains_key(relay) || cluster.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let verdict = Verdict::no_relay(relay);
            let said = cluster.status.clone().unwrap_or_default();
            let generation = cluster.metadata.generation.unwrap_or(0);
            let now = self.context.clock.now();
            let known = said.conditions.iter().any(|c| c.reason == verdict.reason);
            if !known {
                let about = cluster.object_ref(&());
                self.context.events.verdict(&about, &verdict);
            }
            let status = RelayClusterStatus {
                observed_generation: generation,
                conditions: conditions(&verdict, generation, &said.conditions, now),
                ..said
            };
            self.context.clusters.say(cluster, &status);
        }
    }

    fn begin(&self, written: Written, desired: Arc<Desired>) -> Running {
        let stop = Cancel::default();
        let worker = Worker::new(self.context.clone(), desired.clone(), stop.clone());
        let (sender, receiver) = watch::channel(desired);
        Running {
            written,
            desired: sender,
            stop,
            task: tokio::spawn(worker.run(receiver)),
        }
    }

    /// Stops a worker. Nobody waits for it now: its last look may be at a cluster that hangs.
    fn leave(&mut self, name: &str) {
        if let Some(running) = self.running.remove(name) {
            running.stop.cancel();
            self.leaving.retain(|task| !task.is_finished());
            self.leaving.push(running.task);
        }
    }
}
