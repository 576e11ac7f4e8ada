//! The rotation, round by round.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::RehearsalError;
use super::agents::Agents;
use super::copy::Copied;
use super::handshakes::{Handshake, Matrix};
use super::report::{Failure, Outcome, Report, Round, Stretch};
use crate::clock::Clock as _;
use crate::config::{Approval, Relay};
use crate::engine::{Action, Apply, Cancel, Fleet, Goal, Observed, observe, plan};
use crate::journal::RotationRecord;
use crate::rotation::{Begun, Direction, Request, Waiting, begin};

/// Rounds after which it obviously goes in circles.
const ROUNDS: usize = 200;

/// Rehearses the rotation that is asked for. `left_out` are clusters that cannot be worked on at all, each with
/// the reason.
///
/// # Errors
///
/// If the rotation would be refused, the records cannot be read, or somebody stops it.
pub async fn rehearse(
    fleet: &Fleet,
    left_out: BTreeMap<String, String>,
    request: &Request,
    cancel: &Cancel,
) -> Result<Report, RehearsalError> {
    // Nothing that is logged in here happens.
    let silent = NoSubscriber::default();
    let whole = async {
        let mut rehearsal = Rehearsal::begin(fleet, left_out, request).await?;
        for _ in 0..ROUNDS {
            if let Some(outcome) = rehearsal.round(cancel).await? {
                return Ok(rehearsal.report(outcome));
            }
        }
        let outcome = failed(format!("there is no end to it after {ROUNDS} rounds"), None);
        Ok(rehearsal.report(outcome))
    };
    whole.with_subscriber(silent).await
}

/// A rehearsal under way.
pub(super) struct Rehearsal<'a> {
    relay: &'a Relay,
    pub(super) copied: Copied,
    left_out: BTreeMap<String, String>,
    number: u32,
    agents: Agents,
    matrix: Matrix,
    begun: Timestamp,
    stretches: Vec<Stretch>,
}

impl<'a> Rehearsal<'a> {
    /// Copies the fleet, looks who can connect, and begins the rotation.
    pub(super) async fn begin(
        fleet: &'a Fleet,
        left_out: BTreeMap<String, String>,
        request: &Request,
    ) -> Result<Self, RehearsalError> {
        let copied = Copied::of(fleet, request.level).await?;
        let relay = &fleet.relay;
        let (mut agents, mut matrix) = (Agents::default(), Matrix::default());
        let observed = observe(&copied.fleet).await?;
        let now = copied.clock.now();
        agents.follow(&copied, &observed).await?;
        matrix.look(relay, &observed, &agents, now);
        let number = match begin(relay, &observed, request, now)? {
            Begun::Running(number) => number,
            Begun::New(record) | Begun::Escalated(record) => {
                if let Some(home) = copied.stores.get(relay.home().name.as_str()) {
                    home.overwrite(record.encode(&relay.name));
                }
                record.number
            }
        };
        Ok(Self {
            relay,
            copied,
            left_out,
            number,
            agents,
            matrix,
            begun: now,
            stretches: Vec::new(),
        })
    }

    /// One round: looks, tries every connection, and does what is to be done now. How it ended, if it has.
    pub(super) async fn round(
        &mut self,
        cancel: &Cancel,
    ) -> Result<Option<Outcome>, RehearsalError> {
        if cancel.is_cancelled() {
            return Err(RehearsalError::Interrupted);
        }
        let mut observed = observe(&self.copied.fleet).await?;
        observed.evidence.left_out = self.left_out.clone();
        let now = self.copied.clock.now();
        let Some(record) = observed.journal.rotations.get(&self.number) else {
            return Ok(Some(failed("its record is gone".to_owned(), None)));
        };
        let record = record.record.clone();
        if let Some(failure) = self.connections(&record, &observed, now) {
            return Ok(Some(failure));
        }
        if self.agents.follow(&self.copied, &observed).await? {
            return Ok(None);
        }
        let fleet = &self.copied.fleet;
        let plan = plan(&fleet.relay, &Goal::Rotation, &observed, now);
        // What a plan does, it does for the phase that it takes the rotation into.
        let next = plan.rotation.rotation.as_ref().unwrap_or(&record);
        let entered = self.entered(next);
        self.stretches.extend(entered);
        if plan.steps.is_empty() && plan.settled.is_empty() {
            return Ok(match record.phase.is_over() {
                true => Some(Outcome::Done),
                false => self.wait(plan.rotation.waiting, now),
            });
        }
        if plan
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Advance(_)))
        {
            self.matrix.pass(self.relay);
        }
        let applied = Apply::new(fleet, &observed)
            .run(plan, cancel, &|_| {})
            .await;
        if cancel.is_cancelled() {
            return Err(RehearsalError::Interrupted);
        }
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.rounds.push(Round {
                journal: observed.journal,
                steps: applied.done,
            });
        }
        let failure = applied.failed.first();
        Ok(failure.map(|failure| {
            let cluster = &failure.step.cluster;
            failed(format!("in cluster {cluster}: {}", failure.error), None)
        }))
    }

    /// What there is to tell.
    pub(super) fn report(self, outcome: Outcome) -> Report {
        Report {
            outcome,
            begun: self.begun,
            ended: self.copied.clock.now(),
            handshakes: self.matrix.total(),
            granted: granted(self.relay, &self.agents),
            stretches: self.stretches,
        }
    }

    /// The phase that the rotation is in, if that is another one than before.
    fn entered(&self, record: &RotationRecord) -> Option<Stretch> {
        let last = self.stretches.last();
        let entry = record
            .entered
            .last()
            .filter(|_| last.is_none_or(|last| last.phase != record.phase))?;
        let asked = self.relay.rotation.approval == Approval::Manual
            && record.direction == Direction::Forward
            && !record.emergency
            && !record.phase.is_over()
            && last.is_some();
        Some(Stretch {
            phase: record.phase,
            at: entry.at,
            approval: asked,
            rounds: Vec::new(),
            waited: Vec::new(),
        })
    }

    /// Tries every connection. In an emergency an outage was accepted, but not one that lasts.
    fn connections(
        &mut self,
        record: &RotationRecord,
        observed: &Observed,
        now: Timestamp,
    ) -> Option<Outcome> {
        let all = self.matrix.look(self.relay, observed, &self.agents, now);
        let mut counts = all.into_iter();
        let first = match record.emergency {
            false => counts.next(),
            true if record.phase.is_over() => counts.find(|it| !it.outdated),
            true => None,
        };
        first.map(|first| {
            let earlier = match first.outdated {
                true => {
                    ", if one of them has not reloaded what it was given last (gates wait for what \
                     rotation.restart names)"
                }
                false => "",
            };
            let what = format!(
                "while {}, the agent of {} cannot connect to the server of {}{earlier}: {}",
                record.phase, first.agent, first.server, first.reason
            );
            failed(what, Some(first))
        })
    }

    /// Lets the time pass until something is over by itself; else that is the end.
    fn wait(&mut self, mut waiting: Vec<Waiting>, now: Timestamp) -> Option<Outcome> {
        let until = waiting.iter().filter_map(|it| it.until);
        let Some(until) = until.filter(|until| *until > now).min() else {
            return Some(Outcome::Waits(waiting));
        };
        // Whoever waits for so long decides something else before.
        if let Some(end) = self.matrix.first_end(now).filter(|end| *end <= until) {
            waiting.push(Waiting {
                cluster: None,
                what: format!("certificates in use end at {end}, and a rehearsal renews nothing"),
                until: None,
                missing: false,
            });
            return Some(Outcome::Waits(waiting));
        }
        self.copied.clock.advance(until.duration_since(now));
        if let Some(stretch) = self.stretches.last_mut() {
            let over = waiting.into_iter().filter(|it| it.until.is_some());
            stretch.waited.extend(over);
        }
        None
    }
}

fn failed(what: String, handshake: Option<Handshake>) -> Outcome {
    Outcome::Failed(Box::new(Failure { what, handshake }))
}

/// What nobody did in the rehearsal and somebody will have to do.
fn granted(relay: &Relay, agents: &Agents) -> Vec<String> {
    let offline = relay.is_offline(&relay.root.provider);
    let offline = offline.then(|| "a person signs with the offline root".to_owned());
    let manual = relay.rotation.approval == Approval::Manual;
    let manual =
        manual.then(|| "a person approves each phase as soon as its gate is open".to_owned());
    let restarts = relay.rotation.restart.iter().map(|it| {
        let (kind, name, role) = (it.kind, &it.name, it.role);
        format!("{kind}/{name} ({role}) is restarted at once")
    });
    let heard = agents.iter().count();
    let heard = (heard > 0).then(|| format!("{heard} agents that enrol follow at once"));
    let all = offline.into_iter().chain(manual).chain(restarts);
    all.chain(heard).collect()
}
