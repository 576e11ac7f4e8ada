use jiff::Timestamp;

use super::gate::{Gate, is_crossed};
use super::old_keys::{GivenUp, check_old_keys, given_up};
use super::{Direction, Phase, Waiting};
use crate::config::{Approval, Relay};
use crate::engine::Observed;
use crate::journal::{Entry, RotationRecord};

/// What becomes of a rotation now.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It stays where it is, and why.
    Stay(Vec<Waiting>),
    /// The gate is open.
    Move {
        /// The rotation in its next phase.
        record: Box<RotationRecord>,
        /// Generations whose private keys are given up first.
        given_up: Vec<GivenUp>,
    },
}

/// Whether a rotation goes on. Everything that the decision rests on was seen for this call; no
/// cluster's word of earlier counts, and no part of the fleet stands for the whole.
pub fn advance(
    relay: &Relay,
    observed: &Observed,
    record: &RotationRecord,
    now: Timestamp,
) -> Verdict {
    if let Some(paused) = &record.paused {
        let text = format!(
            "{} paused it at {}; `relay-pki rotation resume` goes on",
            paused.by, paused.at
        );
        return Verdict::Stay(vec![Waiting::on_all(text, None)]);
    }
    let (mut waiting, passed) = Gate::new(relay, observed, record, now).waiting();
    let mut next = following(record, is_crossed(&observed.journal, record), now);
    waiting.extend(approval(relay, record, &next));
    if next.phase == Phase::Done
        && let Err(refusal) = check_old_keys(relay, observed, record)
    {
        // The document was changed meanwhile.
        waiting.push(Waiting::on_all(refusal.to_string(), None));
    }
    if !waiting.is_empty() {
        return Verdict::Stay(waiting);
    }
    for cluster in passed {
        next.passed.insert(cluster, record.phase);
    }
    Verdict::Move {
        given_up: given_up(relay, observed, &next),
        record: Box::new(next),
    }
}

/// The same rotation one phase on. `crossed` says whether the signer has a certificate under the old root,
/// which is given up by itself in the end.
pub(super) fn following(record: &RotationRecord, crossed: bool, now: Timestamp) -> RotationRecord {
    let mut next = record.clone();
    let phase = match (record.direction, record.phase) {
        (Direction::Forward, Phase::Preparing) if record.emergency => Phase::Retiring,
        (Direction::Forward, Phase::Preparing) => Phase::Publishing,
        (Direction::Forward, Phase::Publishing) => Phase::Activating,
        (Direction::Forward, Phase::Activating) => Phase::Reissuing,
        (Direction::Forward, Phase::Reissuing) => Phase::Draining,
        (Direction::Forward, Phase::Draining) => {
            let first = !record.canary.is_empty() && record.widened.is_none();
            if first {
                next.widened = Some(now);
                Phase::Publishing
            } else if crossed && record.trimmed.is_none() {
                next.trimmed = Some(now);
                return next;
            } else {
                Phase::Retiring
            }
        }
        (Direction::Forward, _) => Phase::Done,
        (Direction::Rollback, Phase::Draining) => Phase::Reissuing,
        (Direction::Rollback, Phase::Reissuing) => Phase::Activating,
        (Direction::Rollback, Phase::Activating) => Phase::Publishing,
        (Direction::Rollback, Phase::Publishing) => Phase::Preparing,
        (Direction::Rollback, _) => Phase::Rolledback,
    };
    next.enter(phase, now);
    next
}

impl RotationRecord {
    /// Enters a phase, going the way that it goes.
    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.phase = phase;
        for approval in &mut self.approvals {
            approval.used |= approval.phase == phase;
        }
        self.entered.push(Entry {
            phase,
            direction: self.direction,
            at: now,
        });
    }

    /// Whether somebody let it into `phase` since it is in the one before. Times alone would not do: clocks of
    /// people and controllers differ, and a phase with nothing to do is over at once.
    fn is_approved(&self, phase: Phase) -> bool {
        let since = self.since();
        self.approvals.iter().any(|approval| {
            approval.phase == phase && !approval.used && approval.signature.at >= since
        })
    }
}

/// The phase that a person has to let a rotation into next; `None` for going back, for the end, and for
/// a compromise: those were asked for as a whole.
pub(super) fn next_phase(
    record: &RotationRecord,
    observed: &Observed,
    now: Timestamp,
) -> Option<Phase> {
    let next = following(record, is_crossed(&observed.journal, record), now);
    needs_approval(record, &next).then_some(next.phase)
}

fn needs_approval(record: &RotationRecord, next: &RotationRecord) -> bool {
    record.direction == Direction::Forward
        && !record.emergency
        && !next.phase.is_over()
        && next.phase != record.phase
}

fn approval(relay: &Relay, record: &RotationRecord, next: &RotationRecord) -> Option<Waiting> {
    let manual = relay.rotation.approval == Approval::Manual;
    let waits = manual && needs_approval(record, next) && !record.is_approved(next.phase);
    waits.then(|| {
        let phase = next.phase;
        let text = format!("nobody has approved {phase}: `relay-pki rotation approve {phase}`");
        Waiting::on_all(text, None)
    })
}
