use jiff::Timestamp;

use super::advance::next_phase;
use super::{Direction, Phase, Refusal};
use crate::config::Relay;
use crate::engine::Observed;
use crate::journal::{Approval, MOST_EXCEPTIONS, RotationRecord, Signature, Waiver};

/// What a person does to the rotation under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steering {
    /// Lets it into a phase, once the gate before it is open.
    Approve(Phase),
    /// Stops it before the next phase.
    Pause,
    /// Lets it go on.
    Resume,
    /// Turns it back.
    Rollback,
    /// No longer waits for a cluster.
    Waive {
        /// The cluster.
        cluster: String,
        /// Until when it is kept able to connect.
        until: Timestamp,
        /// Why.
        reason: String,
    },
}

/// The rotation under way as `by` wants it: the same if that changes nothing.
pub fn steer(
    relay: &Relay,
    observed: &Observed,
    steering: &Steering,
    by: &str,
    now: Timestamp,
) -> Result<RotationRecord, Refusal> {
    let Some(running) = observed.journal.rotation() else {
        return Err(Refusal::new(
            format!("no rotation of relay {} is under way", relay.name),
            "`relay-pki rotate root` or `relay-pki rotate signer` begins one",
        ));
    };
    let mut record = running.clone();
    let signature = Signature {
        by: by.to_owned(),
        at: now,
    };
    match steering {
        Steering::Approve(phase) => {
            let next = next_phase(running, observed, now);
            if next != Some(*phase) {
                return Err(Refusal::new(
                    format!(
                        "the next phase of rotation {} is not {phase}",
                        record.number
                    ),
                    match next {
                        Some(next) => format!("approve {next}, or wait until {phase} is next"),
                        None => "its next phase needs no approval".to_owned(),
                    },
                ));
            }
            record.approvals.retain(|known| known.phase != *phase);
            record.approvals.push(Approval {
                phase: *phase,
                used: false,
                signature,
            });
        }
        Steering::Pause => record.paused = record.paused.or(Some(signature)),
        Steering::Resume => record.paused = None,
        Steering::Rollback => turn_back(&mut record, now)?,
        Steering::Waive {
            cluster,
            until,
            reason,
        } => {
            let waiver = Waiver {
                until: *until,
                reason: reason.clone(),
                signature,
            };
            waive(relay, observed, &mut record, cluster, waiver)?;
        }
    }
    Ok(record)
}

fn turn_back(record: &mut RotationRecord, now: Timestamp) -> Result<(), Refusal> {
    if record.direction == Direction::Rollback {
        return Ok(());
    }
    if record.phase >= Phase::Retiring {
        return Err(Refusal::new(
            format!(
                "rotation {} is {}: what was old is being taken out",
                record.number, record.phase
            ),
            "let it end, then rotate once more",
        ));
    }
    let phase = match record.phase {
        // Chains get back first what they need for whoever knows the old root alone.
        Phase::Draining if record.trimmed.is_some() => Phase::Draining,
        Phase::Draining => Phase::Reissuing,
        // Those that went first have new certificates already.
        _ if record.widened.is_some() => Phase::Reissuing,
        phase => phase,
    };
    record.direction = Direction::Rollback;
    record.trimmed = None;
    record.paused = None;
    record.approvals.clear();
    record.enter(phase, now);
    Ok(())
}

fn waive(
    relay: &Relay,
    observed: &Observed,
    record: &mut RotationRecord,
    cluster: &str,
    waiver: Waiver,
) -> Result<(), Refusal> {
    let named = |name: &str| name == cluster;
    let known = relay.clusters.iter().any(|spec| named(spec.name.as_str()))
        || observed.evidence.left_out.contains_key(cluster);
    if !known {
        return Err(Refusal::new(
            format!("relay {} has no cluster {cluster}", relay.name),
            "`relay-pki status` lists the clusters",
        ));
    }
    if relay.management().any(|spec| named(spec.name.as_str())) {
        return Err(Refusal::new(
            format!("{cluster} is a management cluster: its relay server concerns every agent"),
            "repair it, or take it out of the document",
        ));
    }
    if waiver.until <= waiver.signature.at {
        return Err(Refusal::new(
            format!("{} is over already", waiver.until),
            "name a time to come",
        ));
    }
    let new = !record.waivers.contains_key(cluster);
    if new && record.waivers.len() >= MOST_EXCEPTIONS {
        return Err(Refusal::new(
            format!("{MOST_EXCEPTIONS} clusters are waived already"),
            "take clusters that are gone out of the document",
        ));
    }
    record.waivers.insert(cluster.to_owned(), waiver);
    Ok(())
}
