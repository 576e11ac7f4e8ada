//! RelayRotation objects: what they ask for is done to the records, and how a rotation stands is told
//! in their status. The records stay what counts: an object that is deleted takes nothing with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Resource as _, ResourceExt as _};

use super::TIMEOUT;
use super::context::Context;
use super::round::HomeRound;
use super::view::whole_seconds;
use crate::cluster::{ClusterError, FIELD_MANAGER};
use crate::config::Relay;
use crate::crd::{self, RelayRef, RelayRotation, RelayRotationSpec, RelayRotationStatus};
use crate::engine::{Apply, Fleet, Observed, Outlook};
use crate::journal::{Journal, RotationRecord, Why};
use crate::rotation::{Begun, Phase, Refusal, Request, Steering, begin, steer};
use crate::transcript::{self, Deed, TranscriptError};

/// Of how much that a rotation waits for a status tells.
const SHOWN_WAITS: usize = 10;

/// Longest reason of a waiver, as on the command line.
const LONGEST_REASON: usize = 500;

/// An end that is expected sooner or later by less than this is told as before: while a gate waits, it moves on
/// with the clock, and a status is not written for that alone.
const SAME_END: SignedDuration = SignedDuration::from_secs(60);

/// What a rotation that was never begun has as its phase.
const REFUSED: &str = "refused";

/// Why what an object asks for was not done, by the object's name.
pub(super) type Refusals = BTreeMap<String, String>;

/// Whether an object asks for something that is not done yet.
pub(super) fn wants_something(
    fleet: &Fleet,
    observed: &Observed,
    wanted: &[Arc<RelayRotation>],
) -> bool {
    let now = fleet.clock.now();
    let mut wanted = wanted.iter();
    wanted.any(|object| matches!(change(&fleet.relay, observed, object, now), Ok(Some(_))))
}

/// What objects ask for in vain.
pub(super) fn refusals(
    fleet: &Fleet,
    observed: &Observed,
    wanted: &[Arc<RelayRotation>],
) -> Refusals {
    let now = fleet.clock.now();
    let refused = wanted.iter().filter_map(|object| {
        let refusal = change(&fleet.relay, observed, object, now).err()?;
        Some((object.name_any(), refusal.to_string()))
    });
    refused.collect()
}

/// Does what the objects ask for, and says which of them ask for CAs that their backend does not have. The
/// caller has the write lock, and has observed since.
pub(super) async fn obey(
    fleet: &Fleet,
    observed: &mut Observed,
    wanted: &[Arc<RelayRotation>],
) -> Result<Refusals, ClusterError> {
    let mut refusals = Refusals::new();
    for object in wanted {
        // Each decision is one change of the record: an object asks for a handful.
        while let Ok(Some(record)) = change(&fleet.relay, observed, object, fleet.clock.now()) {
            let is_new = !observed.journal.rotations.contains_key(&record.number);
            if is_new && let Some(refusal) = Apply::new(fleet, observed).unobtainable(&record).await
            {
                refusals.insert(object.name_any(), refusal.to_string());
                break;
            }
            let by = signature(object);
            let journal = &mut observed.journal;
            match transcript::record(fleet, journal, &record, &Deed::of(&by)).await {
                Ok(()) => {}
                Err(TranscriptError::Cluster(error)) => return Err(error),
                Err(error) => {
                    return Err(ClusterError::Malformed {
                        cluster: fleet.relay.home().name.to_string(),
                        place: RotationRecord::object_name(&fleet.relay.name, record.number),
                        reason: error.to_string(),
                    });
                }
            }
        }
    }
    Ok(refusals)
}

/// The rotation as an object wants it next; nothing if it is so already.
fn change(
    relay: &Relay,
    observed: &Observed,
    object: &RelayRotation,
    now: jiff::Timestamp,
) -> Result<Option<RotationRecord>, Refusal> {
    if object.metadata.deletion_timestamp.is_some() || is_refused(object) {
        return Ok(None);
    }
    let journal = &observed.journal;
    let by = signature(object);
    let number = match number(journal, object) {
        Some(number) => number,
        None => match begin(relay, observed, &request(object, &by)?, now)? {
            Begun::New(record) | Begun::Escalated(record) => return Ok(Some(*record)),
            // Whoever asks for what is under way leads it from now on, too.
            Begun::Running(number) => number,
        },
    };
    let Some(running) = journal.rotation().filter(|it| it.number == number) else {
        return Ok(None);
    };
    for steering in steerings(&object.spec, running, &by)? {
        match steer(relay, observed, &steering, &by, now) {
            Ok(next) if next != *running => return Ok(Some(next)),
            Ok(_) => {}
            // A phase may be named long before it comes.
            Err(_) if matches!(steering, Steering::Approve(_)) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(None)
}

fn request(object: &RelayRotation, by: &str) -> Result<Request, Refusal> {
    let spec = &object.spec;
    if spec.emergency && !spec.accept_outage {
        return Err(Refusal {
            what: "an emergency locks agents out that do not follow at once".to_owned(),
            remedy: "make a new object with acceptOutage: true".to_owned(),
        });
    }
    Ok(Request {
        level: spec.level,
        by: by.to_owned(),
        why: Why::Requested,
        canary: spec.canary.clone(),
        emergency: spec.emergency,
    })
}

/// What a spec says about the rotation under way that the record does not say.
fn steerings(
    spec: &RelayRotationSpec,
    running: &RotationRecord,
    by: &str,
) -> Result<Vec<Steering>, Refusal> {
    let mut steerings = Vec::new();
    // What turns back goes on; what is paused afterwards stays so.
    if spec.rollback && running.direction == crate::rotation::Direction::Forward {
        steerings.push(Steering::Rollback);
    }
    match (spec.paused, &running.paused) {
        (Some(true), None) => steerings.push(Steering::Pause),
        (Some(false), Some(_)) => steerings.push(Steering::Resume),
        _ => {}
    }
    for waived in &spec.waive {
        if waived.reason.is_empty() || waived.reason.len() > LONGEST_REASON {
            return Err(Refusal {
                what: format!(
                    "the reason why {} is waived is missing or too long",
                    waived.cluster
                ),
                remedy: format!("write up to {LONGEST_REASON} bytes"),
            });
        }
        let known = running.waivers.get(&waived.cluster);
        if known.is_none_or(|it| (it.until, &it.reason) != (waived.until.0, &waived.reason)) {
            steerings.push(Steering::Waive {
                cluster: waived.cluster.clone(),
                until: waived.until.0,
                reason: waived.reason.clone(),
            });
        }
    }
    // An approval holds once: one that was given for an earlier pass of a phase is not used again.
    let given = |phase: Phase| {
        let mut approvals = running.approvals.iter();
        approvals.any(|it| it.phase == phase && it.signature.by == by)
    };
    let phases = spec.approve.iter().filter(|phase| !given(**phase));
    steerings.extend(phases.map(|phase| Steering::Approve(*phase)));
    Ok(steerings)
}

/// How the record names whoever made an object: the object, which nobody can make again.
fn signature(object: &RelayRotation) -> String {
    let uid = object.uid().unwrap_or_default();
    format!("RelayRotation {} ({uid})", object.name_any())
}

/// The rotation that an object is about, if it was begun. The record says so from the moment on at which
/// it is written, the status until long after the record is gone.
fn number(journal: &Journal, object: &RelayRotation) -> Option<u32> {
    let by = signature(object);
    let records = journal.rotations.values().rev().map(|kept| &kept.record);
    let begun = records
        .filter(|record| record.requested.by == by)
        .map(|record| record.number);
    let said = object.status.as_ref().and_then(|status| status.number);
    object.spec.number.or(begun.max()).or(said)
}

/// The same, also for one that asked for what was under way already.
fn joined(
    relay: &Relay,
    observed: &Observed,
    object: &RelayRotation,
    now: jiff::Timestamp,
) -> Option<u32> {
    let by = signature(object);
    number(&observed.journal, object).or_else(|| {
        match begin(relay, observed, &request(object, &by).ok()?, now) {
            Ok(Begun::Running(number)) if !is_refused(object) => Some(number),
            _ => None,
        }
    })
}

fn is_refused(object: &RelayRotation) -> bool {
    let phase = object
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some(REFUSED)
}

/// Tells in every object how its rotation stands, makes those that are missing, and deletes those whose
/// record is gone.
pub(super) async fn publish(
    context: &Context,
    relay: &crd::Relay,
    fleet: &Fleet,
    round: &HomeRound,
    objects: &[Arc<RelayRotation>],
) {
    let (journal, outlook) = (&round.observed.journal, &round.rotation);
    let now = fleet.clock.now();
    let mut told = BTreeSet::new();
    let first = journal.rotations.keys().next();
    for object in objects {
        let number = joined(&fleet.relay, &round.observed, object, now);
        told.extend(number);
        if let (Some(number), Some(first)) = (number, first)
            && number < *first
        {
            delete(context, object).await;
            continue;
        }
        let record = number.and_then(|number| journal.rotations.get(&number));
        let refusal = round.refusals.get(&object.name_any());
        if record.is_none() && refusal.is_none() {
            continue;
        }
        let record = record.map(|kept| &kept.record);
        let said = object.status.clone().unwrap_or_default();
        let status = RelayRotationStatus {
            observed_generation: object.metadata.generation.unwrap_or(0),
            conditions: conditions(object, record, refusal, &said.conditions, now),
            ..status(record, outlook, &said)
        };
        context.rotations.say(object, &status);
    }
    let missing = journal.rotations.keys();
    for number in missing.filter(|number| !told.contains(number)) {
        if let Some(kept) = journal.rotations.get(number) {
            create(context, relay, &kept.record).await;
        }
    }
}

fn status(
    record: Option<&RotationRecord>,
    outlook: &Outlook,
    said: &RelayRotationStatus,
) -> RelayRotationStatus {
    let Some(record) = record else {
        return RelayRotationStatus {
            phase: Some(REFUSED.to_owned()),
            ..RelayRotationStatus::default()
        };
    };
    let current = outlook.rotation.as_ref();
    let current = current.is_some_and(|it| it.number == record.number && !it.phase.is_over());
    let waits = outlook.waiting.iter().filter(|_| current);
    let waits: Vec<String> = waits
        .map(|waiting| match &waiting.cluster {
            Some(cluster) => format!("{cluster}: {}", waiting.what),
            None => waiting.what.clone(),
        })
        .collect();
    let more = waits.len().saturating_sub(SHOWN_WAITS);
    let mut shown: Vec<String> = waits.into_iter().take(SHOWN_WAITS).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    RelayRotationStatus {
        number: Some(record.number),
        phase: Some(record.phase.to_string()),
        direction: Some(record.direction),
        waiting_for: shown,
        expected_end: (outlook.expected_end.filter(|_| current))
            .map(|end| told_end(whole_seconds(end), said.expected_end.as_ref())),
        ..RelayRotationStatus::default()
    }
}

/// The end that is told, where `said` was told before.
fn told_end(end: Time, said: Option<&Time>) -> Time {
    match said {
        Some(said) if end.0.duration_since(said.0).abs() < SAME_END => said.clone(),
        _ => end,
    }
}

fn conditions(
    object: &RelayRotation,
    record: Option<&RotationRecord>,
    refusal: Option<&String>,
    said: &[Condition],
    now: jiff::Timestamp,
) -> Vec<Condition> {
    let (over, reason, message) = match record {
        None => (false, "Refused", refusal.cloned().unwrap_or_default()),
        Some(record) => {
            let number = record.number;
            let (level, phase) = (record.level, record.phase);
            let over = phase.is_over();
            let reason = if over { "Over" } else { "UnderWay" };
            (
                over,
                reason,
                format!("rotation {number} of the {level} is {phase}"),
            )
        }
    };
    let mut wanted = vec![("Ready", over, reason, message.clone())];
    match (refusal, over) {
        (Some(refusal), _) => wanted.push(("Stalled", true, "Refused", refusal.clone())),
        (None, false) => wanted.push(("Reconciling", true, reason, message)),
        (None, true) => {}
    }
    let build = |(type_, holds, reason, message): (&str, bool, &str, String)| {
        let status = if holds { "True" } else { "False" };
        let mut before = said.iter().filter(|old| old.status == status);
        let before = before.find(|old| old.type_ == type_);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: object.metadata.generation,
            last_transition_time: before.map_or(Time(now), |old| old.last_transition_time.clone()),
        }
    };
    wanted.into_iter().map(build).collect()
}

/// Makes the object of a rotation that was begun without one.
async fn create(context: &Context, relay: &crd::Relay, record: &RotationRecord) {
    let name = format!("{}-rotation-{}", relay.name_any(), record.number);
    let spec = RelayRotationSpec {
        relay_ref: RelayRef {
            name: relay.name_any(),
        },
        level: record.level,
        number: Some(record.number),
        canary: Vec::new(),
        emergency: record.emergency,
        accept_outage: record.emergency,
        paused: None,
        approve: Vec::new(),
        rollback: false,
        waive: Vec::new(),
    };
    let mut object = RelayRotation::new(&name, spec);
    // Without our blocking its deletion, which would take a permission of its own.
    let owner = relay.owner_ref(&());
    object.metadata.owner_references = owner.map(|owner| vec![owner]);
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match tokio::time::timeout(TIMEOUT, api(context).create(&params, &object)).await {
        // There already, and we have not heard of it yet.
        Ok(Ok(_)) => {}
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
        // What fails is tried again with the next look.
        Ok(Err(error)) => tracing::warn!(%name, %error, "cannot make the RelayRotation"),
        Err(_) => tracing::warn!(%name, "cannot make the RelayRotation: no answer"),
    }
}

async fn delete(context: &Context, object: &RelayRotation) {
    let name = object.name_any();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match tokio::time::timeout(TIMEOUT, api(context).delete(&name, &params)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%name, %error, "cannot delete the RelayRotation"),
        Err(_) => tracing::debug!(%name, "cannot delete the RelayRotation: no answer"),
    }
}

fn api(context: &Context) -> Api<RelayRotation> {
    Api::namespaced(context.client.clone(), &context.namespace)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use relay_pki_authority::Level;

    use super::*;
    use crate::journal::{Approval, Kept, Passage, Signature};
    use crate::rotation::{Direction, Waiting};

    fn at() -> jiff::Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn object(spec: serde_json::Value) -> RelayRotation {
        let mut fields = serde_json::json!({ "relayRef": { "name": "prod" }, "level": "root" });
        let more = spec.as_object().unwrap().clone();
        fields.as_object_mut().unwrap().extend(more);
        serde_json::from_value(serde_json::json!({
            "apiVersion": "relay-pki.dev/v1alpha1",
            "kind": "RelayRotation",
            "metadata": { "name": "mine", "uid": "0f1e" },
            "spec": fields,
        }))
        .unwrap()
    }

    fn record(number: u32, by: &str) -> RotationRecord {
        let signature = Signature {
            by: by.to_owned(),
            at: at(),
        };
        RotationRecord {
            number,
            level: Level::Root,
            roots: Passage { from: 1, to: 2 },
            signers: Passage { from: 1, to: 2 },
            phase: Phase::Preparing,
            direction: Direction::Forward,
            entered: Vec::new(),
            trimmed: None,
            canary: Vec::new(),
            widened: None,
            emergency: false,
            approvals: Vec::new(),
            paused: None,
            waivers: BTreeMap::new(),
            passed: BTreeMap::new(),
            requested: signature,
            why: Why::Requested,
        }
    }

    #[test]
    fn an_approval_of_an_object_holds_once() {
        let object = object(serde_json::json!({ "approve": ["publishing", "draining"] }));
        let by = signature(&object);
        let mut running = record(1, &by);
        let wanted = |running: &RotationRecord| steerings(&object.spec, running, &by).unwrap();
        let approve = Steering::Approve;
        let both = [approve(Phase::Publishing), approve(Phase::Draining)];
        assert_eq!(wanted(&running), both);
        for (by, left) in [("carol", 2), (by.as_str(), 1)] {
            running.approvals = vec![Approval {
                phase: Phase::Publishing,
                used: false,
                signature: Signature {
                    by: by.to_owned(),
                    at: at(),
                },
            }];
            assert_eq!(wanted(&running).len(), left, "{by}");
        }
    }

    #[test]
    fn what_the_record_says_already_is_not_asked_for_again() {
        let until = "2026-04-01T12:00:00Z";
        let waive = serde_json::json!([{ "cluster": "c1", "until": until, "reason": "it burns" }]);
        let object = object(serde_json::json!({
            "paused": true, "rollback": true, "waive": waive,
        }));
        let by = signature(&object);
        let mut running = record(1, &by);
        let wanted = steerings(&object.spec, &running, &by).unwrap();
        assert_eq!(wanted.len(), 3);
        assert_eq!(wanted[0], Steering::Rollback);
        running.direction = Direction::Rollback;
        running.paused = Some(running.requested.clone());
        let waiver = crate::journal::Waiver {
            until: until.parse().unwrap(),
            reason: "it burns".to_owned(),
            signature: running.requested.clone(),
        };
        running.waivers.insert("c1".to_owned(), waiver);
        assert_eq!(steerings(&object.spec, &running, &by).unwrap(), []);
    }

    /// What was refused once is not begun later, when nobody expects it any more.
    #[test]
    fn what_was_refused_is_not_asked_for_again() {
        let yaml = "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: { name: prod }\nspec:\n  \
                    clusters:\n    - { name: mgmt, role: management, directory: a }\n";
        let relay = Relay::parse(yaml, "relay.yaml", std::path::Path::new("")).unwrap();
        let mut object = object(serde_json::json!({}));
        let observed = Observed {
            journal: Journal::default(),
            clusters: BTreeMap::new(),
            keys: Vec::new(),
            providers: Default::default(),
            evidence: Default::default(),
        };
        let refusal = change(&relay, &observed, &object, at()).unwrap_err();
        assert!(refusal.to_string().contains("root"), "{refusal}");
        object.status = Some(RelayRotationStatus {
            phase: Some(REFUSED.to_owned()),
            ..RelayRotationStatus::default()
        });
        let next = change(&relay, &observed, &object, at());
        assert_eq!(next.unwrap(), None);
    }

    /// Looks at a gate follow each other within seconds.
    #[test]
    fn a_status_is_not_written_for_an_end_that_moves_with_the_clock() {
        let mut record = record(1, "alice");
        record.phase = Phase::Publishing;
        let outlook = Outlook {
            rotation: Some(record.clone()),
            waiting: vec![waiting("c1")],
            ..Outlook::default()
        };
        let look = |outlook: &Outlook, said: &RelayRotationStatus, after: i64| {
            let outlook = Outlook {
                expected_end: Some(at() + SignedDuration::from_secs(after)),
                ..outlook.clone()
            };
            status(Some(&record), &outlook, said)
        };
        let first = look(&outlook, &RelayRotationStatus::default(), 0);
        assert!(first.expected_end.is_some());
        for after in [10, 59] {
            assert_eq!(look(&outlook, &first, after), first, "{after}");
        }
        let later = look(&outlook, &first, 60);
        assert_eq!(later, look(&outlook, &RelayRotationStatus::default(), 60));
        assert_ne!(later, first);
        let another = Outlook {
            waiting: vec![waiting("c2")],
            ..outlook.clone()
        };
        assert_ne!(look(&another, &first, 10), first);
    }

    fn waiting(cluster: &str) -> Waiting {
        Waiting {
            cluster: Some(cluster.to_owned()),
            what: "it is not read".to_owned(),
            until: None,
            missing: true,
        }
    }

    /// The record says it before the status can, the status when the record is gone.
    #[test]
    fn an_object_is_begun_once() {
        let mut journal = Journal::default();
        let mut object = object(serde_json::json!({}));
        assert_eq!(number(&journal, &object), None);
        for (at, by) in [(7, "alice"), (8, &*signature(&object)), (9, "alice")] {
            let record = record(at, by);
            let kept = Kept {
                record,
                version: None,
            };
            journal.rotations.insert(at, kept);
        }
        assert_eq!(number(&journal, &object), Some(8));
        object.metadata.uid = Some("another".to_owned());
        assert_eq!(number(&journal, &object), None);
        object.status = Some(RelayRotationStatus {
            number: Some(3),
            ..RelayRotationStatus::default()
        });
        assert_eq!(number(&journal, &object), Some(3));
    }
}
