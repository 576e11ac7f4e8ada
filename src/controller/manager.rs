//! A worker for every Relay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cleanup::Cleanup;
use super::context::Context;
use super::desired::{Desired, Written};
use super::discovery;
use super::objects::Objects;
use super::worker::Worker;
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
            stop,
        }
    }

    /// Runs until it is stopped, and until all workers have stopped then.
    pub(super) async fn run(mut self) {
        let publishing = [
            tokio::spawn(self.context.relays.clone().run()),
            tokio::spawn(self.context.clusters.clone().run()),
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
        let names: Vec<String> = self.running.keys().cloned().collect();
        for running in self.running.values() {
            running.stop.cancel();
        }
        for name in names {
            self.end(&name).await;
        }
        for task in publishing {
            task.abort();
        }
    }

    /// Compares the objects with the workers.
    async fn look(&mut self) {
        let relays = self.objects.relays();
        let clusters = self.objects.clusters();
        let gone = self.running.keys();
        let gone = gone.filter(|name| !relays.iter().any(|relay| relay.name_any() == **name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.end(&name).await;
            self.context.relays.forget(&name);
            self.context.metrics.forget(&name);
        }
        for relay in relays {
            let written = Written::of(relay, &clusters);
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
        self.cleanup.look(&self.objects).await;
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

    async fn end(&mut self, name: &str) {
        if let Some(running) = self.running.remove(name) {
            running.stop.cancel();
            if let Err(error) = running.task.await {
                tracing::error!(relay = %name, %error, "the worker was aborted");
            }
        }
    }
}
