//! Verdicts as conditions of the Kubernetes API.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::verdict::Verdict;

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
