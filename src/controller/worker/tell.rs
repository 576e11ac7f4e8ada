//! What is told of a relay as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::{AUDIT, Done, ENROLMENTS, SHORTLY, STATUS_PAUSE, Worker};
use crate::audit::audit;
use crate::cluster::ClusterError;
use crate::controller::conditions::{conditions, rotating};
use crate::controller::verdict::Verdict;
use crate::controller::view;
use crate::crd;
use crate::enrolment::Registry;
use crate::metrics::{Contact, Contacts, Enrolments, RelayFacts, facts};

impl Worker {
    pub(super) fn tell_if_new(&self, verdict: &Verdict) {
        let before = self.home_verdict.as_ref();
        let same = before
            .is_some_and(|before| (before.ready, before.reason) == (verdict.ready, verdict.reason));
        if !same {
            self.context
                .events
                .verdict(&self.desired.reference(), verdict);
        }
    }

    pub(super) fn status_soon(&mut self) {
        let at = Instant::now() + self.status_pause;
        self.status_due = Some(self.status_due.map_or(at, |due| due.min(at)));
    }

    /// Gathers what is to be told of the relay as a whole. With many clusters that takes a while.
    pub(super) fn gather(&mut self) {
        self.status_due = None;
        let asked = Instant::now();
        let (Some(fleet), Some(home)) = (self.fleet.clone(), self.home.clone()) else {
            self.publish_relay(None, asked);
            return;
        };
        let mut observed = home;
        let mut contacts = Contacts::default();
        contacts.enrolled(self.enrolments.clone());
        for (name, known) in &self.known {
            let Some(state) = known.state.clone() else {
                continue;
            };
            if let Some(at) = known.contact {
                let state = state.clone();
                contacts.insert(name, Contact { at, state });
            }
            let seen = match known.verdict.reachable {
                Some(false) => Err(ClusterError::Unavailable {
                    cluster: name.clone(),
                    operation: "look at it".to_owned(),
                    reason: known.verdict.message.clone(),
                }),
                _ => Ok(state),
            };
            observed.clusters.insert(name.clone(), seen);
        }
        let names = self.known.keys();
        let failing = names.filter(|name| self.agenda.fails(name)).cloned();
        let failing: BTreeSet<String> = failing.collect();
        self.tasks.spawn_blocking(move || {
            let now = fleet.clock.now();
            let facts = facts(&fleet.relay, &observed, &failing, &contacts, now);
            Done::Facts(Some(facts), asked)
        });
    }

    /// Reads what agents that enrol have shown and said, where there are any.
    pub(super) fn ask_enrolments(&mut self) {
        self.enrolments_due = Instant::now() + ENROLMENTS;
        let Some(fleet) = self.fleet.clone() else {
            // Nothing is known of the relay yet.
            self.enrolments_due = Instant::now() + SHORTLY;
            return;
        };
        if fleet.relay.enrols() {
            self.tasks.spawn(async move {
                let read = async { Registry::of(&fleet)?.list().await };
                Done::Enrolments(read.await.map(Enrolments::from_iter))
            });
        }
    }

    pub(super) fn finish_enrolments(&mut self, result: Result<Enrolments, ClusterError>) {
        match result {
            Ok(enrolments) if enrolments != *self.enrolments => {
                self.enrolments = Arc::new(enrolments);
                self.status_soon();
            }
            Ok(_) => {}
            // What was read before is told until then.
            Err(error) => {
                tracing::warn!(%error, "cannot read the records of the clusters that enrol")
            }
        }
    }

    /// Checks everything, once in a while: the findings are told as metrics.
    pub(super) fn audit(&mut self) {
        self.audit_due = Instant::now() + AUDIT;
        if let Some(fleet) = self.fleet.clone()
            && self.home.is_some()
        {
            let cancel = self.cancel.clone();
            self.tasks.spawn(async move {
                let now = fleet.clock.now();
                // It writes nothing, so nothing is lost; with many dead clusters it takes minutes.
                tokio::select! {
                    report = audit(&fleet, now) => Done::Audit(Some(Box::new(report))),
                    () = cancel.cancelled() => Done::Audit(None),
                }
            });
        }
    }

    /// Writes the status of the Relay, and what the metrics say of it.
    pub(super) fn publish_relay(&mut self, facts: Option<RelayFacts>, asked: Instant) {
        // What takes long is not done all the time.
        self.status_pause = STATUS_PAUSE.max(asked.elapsed() * 10);
        let Some(own) = &self.home_verdict else {
            return;
        };
        let now = self.context.clock.now();
        let not_ready: Vec<&str> = self
            .known
            .iter()
            .filter(|(_, known)| !known.verdict.ready)
            .map(|(name, _)| name.as_str())
            .collect();
        let total = match &self.desired.assembled {
            Ok(assembled) => assembled.relay.clusters.len() + assembled.rejected.len(),
            Err(_) => self.known.len(),
        };
        let ready = self.known.len() - not_ready.len();
        let verdict = match own.ready {
            true if ready < total => {
                Verdict::not_ready("ClustersNotReady", view::missing(ready, total, &not_ready))
            }
            _ => own.clone(),
        };
        let generation = self.desired.generation();
        let rotating = rotating(&self.rotation, generation, &self.conditions, now);
        self.conditions = conditions(&verdict, generation, &self.conditions, now);
        self.conditions.extend(rotating);
        self.conditions
            .retain(|condition| condition.type_ != "Reachable");
        let status = crd::RelayStatus {
            observed_generation: generation,
            conditions: self.conditions.clone(),
            clusters: Some(view::counts(ready, total, &not_ready)),
            earliest_failure: facts.as_ref().and_then(view::earliest_failure),
            ..view::relay(self.fleet.as_deref(), self.home.as_ref(), &self.known)
        };
        self.context
            .relays
            .say(&self.desired.written.relay, &status);
        if let Some(facts) = facts {
            self.context.metrics.relay(facts);
        }
    }
}
