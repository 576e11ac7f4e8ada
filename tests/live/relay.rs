//! A relay as its users have it: objects, controllers, a command line, and traffic.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::controllers::Controllers;
use crate::support::dice::{Dice, number};
use crate::support::fleet::{Fleet, Run};
use crate::support::manifest::write_private;
use crate::support::stage::{Member, PATIENCE, Stage};
use crate::surroundings::Surroundings;
use crate::tally::Tally;
use crate::traffic::{Lag, Traffic};

/// What is done when: the same number, the same order.
const SEED: &str = "RELAY_PKI_LIVE_SEED";

/// How many agents there are.
const AGENTS: &str = "RELAY_PKI_LIVE_AGENTS";

/// Every kind of agent is among these.
const FEWEST: u64 = 24;

/// How long a verb is repeated that another writer, or a CA, keeps from its end.
const VERB: Duration = Duration::from_secs(120);

/// Makes what a relay needs, with a folder for files; the `spec` of its document, and what it runs in.
pub(crate) trait Fields: Fn(&Stage<'_>, &Path) -> (Value, Surroundings) {}

impl<F: Fn(&Stage<'_>, &Path) -> (Value, Surroundings)> Fields for F {}

/// These fields, and nothing else.
pub(crate) fn only(fields: Value) -> impl Fields {
    move |_: &Stage<'_>, _: &Path| (fields.clone(), Surroundings::default())
}

/// A relay that is in use.
pub(crate) struct Relay {
    pub(crate) stage: Arc<Stage<'static>>,
    pub(crate) members: Vec<Member<'static>>,
    pub(crate) dice: Dice,
    desk: Fleet,
    surroundings: Surroundings,
    fields: Value,
    lag: Lag,
    controllers: Option<Controllers>,
    traffic: Traffic,
}

impl Relay {
    /// A relay with what `fields` makes in the `spec` of its document, with everybody connected.
    #[allow(clippy::print_stdout)]
    pub(crate) fn start(prefix: &str, fields: impl Fields, lag: Lag) -> Self {
        let seed = number(SEED).unwrap_or_else(|| u64::from(std::process::id()));
        let agents = number(AGENTS).unwrap_or(FEWEST);
        assert!(agents >= FEWEST, "{AGENTS} has to be {FEWEST} at least");
        println!("{SEED}={seed} {AGENTS}={agents}");
        let mut dice = Dice(seed);
        let stage = Arc::new(Stage::new(prefix));
        let names: Vec<String> = (1..=agents).map(|number| format!("c{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let members = stage.members(&names);
        let desk = Fleet::new("");
        let admin = stage.management().admin_kubeconfig();
        write_private(&desk.path("mgmt.yaml"), admin.as_bytes());
        let (fields, surroundings) = fields(&stage, desk.dir());
        stage.relay(fields.clone());
        stage.join(&members);
        let controllers = Controllers::start(&stage, &surroundings, split(&mut dice));
        stage.wait_ready(&members, PATIENCE);
        let traffic = Traffic::start(&stage, &members, lag, split(&mut dice));
        let mut relay = Self {
            stage,
            members,
            dice,
            desk,
            surroundings,
            fields,
            lag,
            controllers: Some(controllers),
            traffic,
        };
        relay.meet();
        relay
    }

    /// Waits until each agent has met each server once more.
    pub(crate) fn meet(&mut self) {
        self.traffic.wait_everybody_met(PATIENCE);
    }

    /// Waits until nobody is behind any more.
    pub(crate) fn settle(&mut self) {
        std::thread::sleep(self.lag.longest());
        self.meet();
    }

    /// Changes fields in the `spec` of the document, as a person does.
    pub(crate) fn edit(&mut self, change: &Value) {
        merge(&mut self.fields, change);
        self.stage.relay(self.fields.clone());
    }

    /// Runs a verb until it is done: others write at the same time, and are killed while they do.
    pub(crate) fn done(&self, verb: &[&str]) -> Run {
        self.ends(verb, &[0])
    }

    /// The same for a verb that may wait for a CA or a gate when all is well.
    pub(crate) fn done_or_waiting(&self, verb: &[&str]) -> Run {
        self.ends(verb, &[0, 6])
    }

    fn ends(&self, verb: &[&str], codes: &[i32]) -> Run {
        let begun = Instant::now();
        loop {
            let run = self.run(verb);
            if run.code.is_some_and(|code| codes.contains(&code)) {
                return run;
            }
            assert!(begun.elapsed() < VERB, "relay-pki {verb:?}: {run:#?}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Runs a verb, whatever comes of it.
    pub(crate) fn run(&self, verb: &[&str]) -> Run {
        let namespace = self.stage.namespace();
        let place = ["--relay", namespace, "--namespace", namespace];
        let access = ["--kubeconfig", "mgmt.yaml"];
        let mut command = Command::new("env");
        command
            .args(self.surroundings.arguments())
            .arg(env!("CARGO_BIN_EXE_relay-pki"))
            .args([verb, &place, &access].concat())
            .current_dir(self.desk.dir())
            .stdin(Stdio::null());
        Run::of(command.output().unwrap())
    }

    /// Handshakes until now.
    pub(crate) fn tally(&mut self) -> &Tally {
        self.traffic.tally()
    }

    /// Ends the controllers for good: what somebody breaks stays broken.
    pub(crate) fn without_controllers(&mut self) {
        if let Some(controllers) = self.controllers.take() {
            controllers.end();
        }
    }

    /// Ends it all; what the parties have counted, and how many controllers were killed.
    pub(crate) fn end(mut self) -> (Tally, usize) {
        let tally = self.traffic.end();
        let killed = self.controllers.take().map_or(0, Controllers::end);
        (tally, killed)
    }
}

/// A time below `limit`, in whole milliseconds.
pub(crate) fn within(dice: &mut Dice, limit: Duration) -> Duration {
    let limit = usize::try_from(limit.as_millis()).unwrap();
    Duration::from_millis(u64::try_from(dice.below(limit)).unwrap())
}

/// Another one for somebody who throws it at times of their own.
fn split(dice: &mut Dice) -> Dice {
    Dice(u64::try_from(dice.below(usize::MAX)).unwrap())
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (field, change) in change {
                merge(into.entry(field).or_insert(json!(null)), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}
