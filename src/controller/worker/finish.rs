//! What follows from a look.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::time::Instant;

use super::epoch::Epoch;
use super::{GATE, HOME, RECHECK, RESYNC, SHORTLY, Worker};
use crate::cluster::{ClusterError, Version};
use crate::controller::agenda::Outcome;
use crate::controller::conditions::conditions;
use crate::controller::round::{ClusterRound, HomeRound};
use crate::controller::verdict::Verdict;
use crate::controller::{due, events, view};
use crate::crd;
use crate::engine::{Applied, ClusterState, StepError};

/// What is known of a cluster.
pub(in crate::controller) struct Known {
    /// As it was seen last.
    pub(in crate::controller) state: Option<ClusterState>,
    pub(in crate::controller) verdict: Verdict,
    /// What was said of it.
    conditions: Vec<Condition>,
    /// When it last answered.
    pub(in crate::controller) contact: Option<Timestamp>,
    /// What objects we have seen, to tell our own writes from those of others.
    pub(super) versions: HashSet<Version>,
    was_ready: bool,
    basis: Basis,
}

/// What a cluster was judged by: while it is the same, whatever has to be put right was changed by
/// somebody else.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Basis {
    /// How often what workload clusters depend on has changed.
    epochs: u64,
    relay: i64,
    cluster: i64,
}

impl Worker {
    pub(super) fn finish_home(&mut self, result: Result<HomeRound, ClusterError>, begun: Instant) {
        let now = Instant::now();
        let Some(fleet) = self.fleet.clone() else {
            return;
        };
        let (verdict, outcome) = match &result {
            Err(error @ ClusterError::Locked { .. }) => {
                tracing::info!(relay = %fleet.relay.name, %error, "waiting");
                self.agenda
                    .finished(HOME, Outcome::Later(now + SHORTLY), now);
                return;
            }
            Err(error) => (Verdict::of_error(error), Outcome::Failed),
            Ok(round) => (
                Verdict::of_round(&round.problems, &round.applied),
                self.outcome(&round.applied, round.problems.is_empty(), || {
                    due::of_home(&fleet.relay, &round.observed)
                }),
            ),
        };
        let rotates = |round: &HomeRound| round.rotation.rotation.is_some();
        let outcome = match outcome {
            Outcome::Settled(at) if result.as_ref().is_ok_and(rotates) => {
                Outcome::Settled(at.min(now + GATE))
            }
            outcome => outcome,
        };
        self.reconciled(&verdict, outcome, begun);
        self.agenda.finished(HOME, outcome, now);
        let about_clusters = verdict.clone();
        // What is wrong with the object goes before how the clusters are.
        let verdict = self.desired.objection().unwrap_or(verdict);
        if let Ok(round) = result {
            let about = self.desired.reference();
            // A change by hand, or the first time? What was ready before was complete.
            let was_ready = self.home_verdict.as_ref().is_some_and(|v| v.ready)
                && self.home_generation == Some(self.desired.generation());
            let drift = was_ready && round.applied.done.iter().any(events::is_repair);
            self.context.events.done(&about, &round.applied.done, drift);
            for spec in fleet.relay.management() {
                let name = spec.name.as_str();
                if let Some(state) = round.observed.clusters.get(name) {
                    let verdict = match state {
                        Ok(_) => about_clusters.clone(),
                        Err(error) => Verdict::of_error(error),
                    };
                    let verdict = self.judged(name, verdict);
                    self.learn(name, state.as_ref().ok().cloned(), verdict);
                }
                if drift {
                    self.context.metrics.drift_repaired(&fleet.relay.name, name);
                }
            }
            let epoch = Epoch::of(&fleet.relay, &round.observed);
            if round.applied.done.is_empty() && self.epoch.as_ref() != Some(&epoch) {
                self.epoch = Some(epoch);
                self.epochs += 1;
                self.agenda.ask_all(now);
                // Asking for everything asks for this too, and it was just done.
                self.agenda.settle(HOME, outcome);
            }
            self.home = Some(round.observed);
            self.rotation = round.rotation;
        }
        if !matches!(outcome, Outcome::Acted) {
            self.tell_if_new(&verdict);
            self.home_verdict = Some(verdict);
            self.home_generation = Some(self.desired.generation());
        }
        self.status_soon();
    }

    pub(super) fn finish_cluster(
        &mut self,
        name: &str,
        result: Result<ClusterRound, ClusterError>,
        begun: Instant,
    ) {
        let now = Instant::now();
        let Some(fleet) = self.fleet.clone() else {
            return;
        };
        let mut clusters = fleet.relay.clusters.iter();
        let spec = clusters.find(|spec| spec.name.as_str() == name);
        let Some(spec) = spec else {
            return;
        };
        let verdict = self.judged(name, Verdict::of_cluster(&result));
        let outcome = match &result {
            Err(_) => Outcome::Failed,
            Ok(round) if round.home_first || round.blocked.is_some() => {
                self.agenda.ask(HOME, now);
                let pause = if round.blocked.is_some() {
                    RECHECK
                } else {
                    SHORTLY
                };
                Outcome::Later(now + pause)
            }
            Ok(round) => self.outcome(&round.applied, round.problems.is_empty(), || {
                due::of_cluster(&fleet.relay, spec, &round.state)
            }),
        };
        self.reconciled(&verdict, outcome, begun);
        self.agenda.finished(name, outcome, now);
        if let Ok(round) = &result {
            let was_ready = match self.known.get(name) {
                Some(known) => known.was_ready && known.basis == self.basis(name),
                // The leader before this one has said so.
                None => self.said_ready(name),
            };
            let drift = was_ready && round.applied.done.iter().any(events::is_repair);
            let about = self.desired.reference_of(name);
            self.context.events.done(&about, &round.applied.done, drift);
            if drift {
                self.context.metrics.drift_repaired(&fleet.relay.name, name);
            }
        }
        let state = result.ok().map(|round| round.state);
        match outcome {
            // The next look says how it is; meanwhile it is not as bad as it was.
            Outcome::Acted => {
                if let Some(known) = self.known.get_mut(name) {
                    known.state = state.or(known.state.take());
                }
            }
            _ => self.learn(name, state, verdict),
        }
        self.status_soon();
    }

    fn reconciled(&self, verdict: &Verdict, outcome: Outcome, begun: Instant) {
        let word = match outcome {
            Outcome::Failed => "error",
            Outcome::Settled(_) if !verdict.ready => "blocked",
            Outcome::Settled(_) | Outcome::Acted | Outcome::Later(_) => "success",
        };
        self.context.metrics.reconciled(word, begun.elapsed());
    }

    /// What comes after a look, by what was done.
    fn outcome(
        &self,
        applied: &Applied,
        free: bool,
        due: impl FnOnce() -> Option<Timestamp>,
    ) -> Outcome {
        let now = Instant::now();
        let conflict =
            |error: &StepError| matches!(error, StepError::Cluster(ClusterError::Conflict { .. }));
        for failure in &applied.failed {
            if conflict(&failure.error) {
                self.context.metrics.conflict(self.desired.name());
            }
        }
        let pending = |error: &StepError| {
            matches!(
                error,
                StepError::Pending { .. } | StepError::Awaiting { .. }
            )
        };
        if applied
            .failed
            .iter()
            .any(|failure| !pending(&failure.error))
        {
            return Outcome::Failed;
        }
        if let Some(pause) = applied.pending {
            return Outcome::Later(now + pause.max(Duration::from_secs(1)));
        }
        if !applied.done.is_empty() {
            return Outcome::Acted;
        }
        let rest = if free { RESYNC } else { RECHECK };
        let due = due().map(|at| {
            let left = at.duration_since(self.context.clock.now());
            Duration::try_from(left).unwrap_or(SHORTLY)
        });
        Outcome::Settled(now + due.map_or(rest, |due| due.min(rest)))
    }

    fn basis(&self, cluster: &str) -> Basis {
        Basis {
            epochs: self.epochs,
            relay: self.desired.generation(),
            cluster: self.desired.generation_of(cluster),
        }
    }

    /// Whether the object of a cluster says that what is asked for now was there.
    fn said_ready(&self, cluster: &str) -> bool {
        let object = self.desired.cluster(cluster);
        let status = object.and_then(|object| object.status.as_ref());
        status.is_some_and(|status| {
            let mut ready = status.conditions.iter().filter(|c| c.type_ == "Ready");
            status.observed_generation == self.desired.generation_of(cluster)
                && ready.any(|c| c.status == "True")
        })
    }

    /// Notes how a cluster is, and says so where it is new.
    pub(super) fn learn(&mut self, name: &str, state: Option<ClusterState>, verdict: Verdict) {
        let now = self.context.clock.now();
        let before = self.known.remove(name);
        let contact = match verdict.reachable {
            Some(true) => Some(now),
            _ => before.as_ref().and_then(|known| known.contact),
        };
        let changed = before.as_ref().is_none_or(|before| {
            (before.verdict.ready, before.verdict.reason) != (verdict.ready, verdict.reason)
        });
        // Being ready after having been so is no news after a restart of ours either.
        let object = self.desired.cluster(name);
        let said = object.and_then(|object| object.status.as_ref());
        let said = said
            .map(|status| status.conditions.clone())
            .unwrap_or_default();
        let said = before
            .as_ref()
            .map_or(said, |before| before.conditions.clone());
        let mut ready = said.iter().filter(|c| c.type_ == "Ready");
        let said_ready = ready.any(|c| c.status == "True");
        let first_and_ready = before.is_none() && verdict.ready && said_ready;
        if changed && !first_and_ready && object.is_some() {
            self.context
                .events
                .verdict(&self.desired.reference_of(name), &verdict);
        }
        let was_ready = verdict.ready
            || before
                .as_ref()
                .is_some_and(|before| before.was_ready && state.is_some());
        let versions = match &state {
            Some(state) => view::versions(state),
            None => before
                .as_ref()
                .map(|b| b.versions.clone())
                .unwrap_or_default(),
        };
        let state = state.or(before.and_then(|before| before.state));
        let generation = self.desired.generation_of(name);
        let known = Known {
            conditions: conditions(&verdict, generation, &said, now),
            state,
            verdict,
            contact,
            versions,
            was_ready,
            basis: self.basis(name),
        };
        if object.is_some() {
            let spec = self.handles.get(name).map(|handle| &handle.spec);
            let relay = self.fleet.as_ref().map(|fleet| &fleet.relay);
            let status = crd::RelayClusterStatus {
                observed_generation: generation,
                conditions: known.conditions.clone(),
                ..view::cluster(relay, spec, known.state.as_ref())
            };
            if let Some(object) = object {
                self.context.clusters.say(object, &status);
            }
        }
        self.known.insert(name.to_owned(), known);
    }
}
