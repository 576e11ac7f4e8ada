//! Verdicts as conditions of the Kubernetes API.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::verdict::Verdict;
use crate::engine::Outlook;
use crate::rotation::Phase;

/// The type of the condition that tells of a rotation.
const ROTATING: &str = "Rotating";

/// Of how much that a rotation waits for a condition tells.
const SHOWN_WAITS: usize = 10;

/// The API server refuses longer messages.
const LONGEST_MESSAGE: usize = 32_000;

/// The conditions that say `verdict`. The time of a transition stays what it was in `before` while the
/// status of a condition stays.
///
/// `Stalled` is there while somebody has to act before anything can change, `Reconciling` while
/// relay-pki goes on by itself: what `kstatus` makes of objects.
pub(super) fn conditions(
    verdict: &Verdict,
    generation: i64,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let stalled = matches!(
        verdict.reason,
        "InvalidSpec"
            | "NoRelay"
            | "Suspended"
            | "Blocked"
            | "Occupied"
            | "TooLarge"
            | "WaitingForPerson"
    );
    let mut wanted = vec![("Ready", verdict.ready)];
    wanted.extend(verdict.reachable.map(|reachable| ("Reachable", reachable)));
    if !verdict.ready {
        wanted.push(match stalled {
            true => ("Stalled", true),
            false => ("Reconciling", true),
        });
    }
    let build = |(type_, holds): (&str, bool)| {
        let status = if holds { "True" } else { "False" };
        let old = before.iter().find(|old| old.type_ == type_);
        let unchanged = old.filter(|old| old.status == status);
        // What is reached is no part of what is wrong, unless it is not.
        let speaks = type_ != "Reachable" || !holds;
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: match speaks {
                true => verdict.reason.to_owned(),
                false => "Answers".to_owned(),
            },
            message: match speaks {
                true => verdict.message.chars().take(LONGEST_MESSAGE).collect(),
                false => "the API server answers".to_owned(),
            },
            observed_generation: Some(generation),
            last_transition_time: unchanged
                .map_or(Time(now), |old| old.last_transition_time.clone()),
        }
    };
    wanted.into_iter().map(build).collect()
}

/// The condition that tells of a rotation under way: it is there as long as there is one.
pub(super) fn rotating(
    outlook: &Outlook,
    generation: i64,
    before: &[Condition],
    now: Timestamp,
) -> Option<Condition> {
    let record = outlook.rotation.as_ref()?;
    if record.phase.is_over() {
        return None;
    }
    let waits = outlook
        .waiting
        .iter()
        .map(|waiting| match &waiting.cluster {
            Some(cluster) => format!("{cluster}: {}", waiting.what),
            None => waiting.what.clone(),
        });
    let mut message = format!(
        "rotation {} of the {}, {}",
        record.number, record.level, record.direction
    );
    for wait in waits.take(SHOWN_WAITS) {
        message.push_str("; ");
        message.push_str(&wait);
    }
    let old = before.iter().find(|old| old.type_ == ROTATING);
    Some(Condition {
        type_: ROTATING.to_owned(),
        status: "True".to_owned(),
        reason: phase_reason(record.phase).to_owned(),
        message: message.chars().take(LONGEST_MESSAGE).collect(),
        observed_generation: Some(generation),
        last_transition_time: old.map_or(Time(now), |old| old.last_transition_time.clone()),
    })
}

/// Reasons are in camel case.
fn phase_reason(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "Preparing",
        Phase::Publishing => "Publishing",
        Phase::Activating => "Activating",
        Phase::Reissuing => "Reissuing",
        Phase::Draining => "Draining",
        Phase::Retiring => "Retiring",
        Phase::Done => "Done",
        Phase::Rolledback => "Rolledback",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_waits_for_a_person_is_stalled() {
        let stalled = |reason| {
            let verdict = Verdict::not_ready(reason, "words");
            let said = conditions(&verdict, 1, &[], at("2026-01-01T00:00:00Z"));
            said.iter().any(|condition| condition.type_ == "Stalled")
        };
        assert!(stalled("WaitingForPerson"));
        assert!(!stalled("WaitingForAuthority"));
    }

    #[test]
    fn transition_times_stay_while_the_status_stays() {
        let (first, later) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        let down = Verdict {
            reachable: Some(false),
            ..Verdict::not_ready("Unreachable", "no answer")
        };
        let one = conditions(&down, 1, &[], first);
        let types: Vec<_> = one
            .iter()
            .map(|c| (c.type_.as_str(), c.status.as_str()))
            .collect();
        assert_eq!(
            types,
            [
                ("Ready", "False"),
                ("Reachable", "False"),
                ("Reconciling", "True")
            ]
        );
        let other = Verdict::not_ready("Blocked", "a foreign Secret");
        let two = conditions(&other, 2, &one, later);
        assert_eq!(two[0].last_transition_time, Time(first));
        assert_eq!(two[1].last_transition_time, Time(later));
        assert_eq!(
            (two[2].type_.as_str(), two[2].status.as_str()),
            ("Stalled", "True")
        );
        assert!(
            two.iter()
                .all(|condition| condition.observed_generation == Some(2))
        );
        let three = conditions(&Verdict::ready(), 2, &two, later);
        assert_eq!(three.len(), 2);
        assert_eq!(three[0].last_transition_time, Time(later));
    }
}
