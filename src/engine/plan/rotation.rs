//! Planning of rotations: how far one is, and what its phase wants of the CAs. What it wants of the
//! clusters is planned with everything else.

use std::borrow::Cow;

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::KeyType;

use super::super::observed::Observed;
use super::super::step::{Action, Cause, Step};
use super::Goal;
use crate::config::Relay;
use crate::journal::{Cross, GenerationRecord, Journal, KEPT_ROTATIONS, Kept, RotationRecord};
use crate::rotation::{
    Begun, Direction, Due, Phase, Request, Verdict, Waiting, advance, begin, certified, due,
    expected_end, is_strict, wants_cross,
};

/// Who begins a rotation that nobody asked for, and takes every one through its gates.
pub(crate) const ITSELF: &str = "relay-pki";

/// How the rotation of a relay stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    /// The rotation under way, as it is once the plan's steps are done; or the one that ends with
    /// them.
    pub rotation: Option<RotationRecord>,
    /// What keeps it in its phase.
    pub waiting: Vec<Waiting>,
    /// Whether a cluster that misses a step could not connect any more, so that none may be missing;
    /// with the reason.
    pub strict: Option<String>,
    /// Whether a workload is rolled out at this moment: another look soon finds more to do.
    pub rolling: bool,
    /// When it is over at the earliest; nothing while nobody can say.
    pub expected_end: Option<Timestamp>,
    /// The rotation that is due and not begun.
    pub due: Option<Due>,
}

/// What a rotation comes to.
pub(super) struct Rotating<'a> {
    /// Steps on its record and on the CAs, in order.
    pub(super) steps: Vec<Step>,
    /// The records once these are done.
    pub(super) journal: Cow<'a, Journal>,
    pub(super) outlook: Outlook,
    /// Records of old rotations that are of no more use.
    pub(super) settled: Vec<String>,
}

impl Rotating<'_> {
    fn add(&mut self, relay: &Relay, action: Action, cause: Cause) {
        self.steps.push(Step {
            cluster: relay.home().name.to_string(),
            action,
            cause,
        });
    }

    /// Gives the generations the statuses that the rotation wants for them.
    fn align(&mut self, relay: &Relay, record: &RotationRecord, now: Timestamp) {
        for (level, number, status) in record.statuses() {
            let kept = self.journal.level(level).get(&number);
            if kept.is_none_or(|kept| kept.record.status == status) {
                continue;
            }
            let action = Action::Transition {
                level,
                number,
                status,
            };
            self.add(relay, action, cause(record));
            if let Some(kept) = self.journal.to_mut().level_mut(level).get_mut(&number) {
                (kept.record.status, kept.record.since) = (status, now);
            }
        }
    }

    /// Writes down where the rotation is.
    fn record(&mut self, relay: &Relay, record: &RotationRecord) {
        let action = Action::Advance(Box::new(record.clone()));
        self.add(relay, action, cause(record));
        let rotations = &mut self.journal.to_mut().rotations;
        let version = rotations.get(&record.number);
        let version = version.and_then(|kept| kept.version.clone());
        let record = record.clone();
        rotations.insert(record.number, Kept { record, version });
    }
}

/// Plans the rotation under way, or begins one that is due.
pub(super) fn steps<'a>(
    relay: &Relay,
    goal: &Goal,
    observed: &'a Observed,
    now: Timestamp,
) -> Rotating<'a> {
    let journal = &observed.journal;
    let mut rotating = Rotating {
        steps: Vec::new(),
        journal: Cow::Borrowed(journal),
        outlook: Outlook {
            due: due(relay, journal, now),
            ..Outlook::default()
        },
        settled: Vec::new(),
    };
    if goal.advances()
        && relay.rotation.automatic
        && let Some(mut due) = rotating.outlook.due.take()
    {
        let request = Request {
            level: due.level,
            by: ITSELF.to_owned(),
            why: due.why,
            canary: Vec::new(),
            emergency: false,
        };
        match begin(relay, observed, &request, now) {
            Ok(Begun::New(record)) => rotating.record(relay, &record),
            Ok(_) => {}
            Err(refusal) => {
                due.what = format!("{}, and cannot begin: {refusal}", due.what);
                rotating.outlook.due = Some(due);
            }
        }
    }
    let Some(mut record) = rotating.journal.rotation().cloned() else {
        if let Some(last) = unsettled(journal) {
            rotating.align(relay, last, now);
        }
        if goal.advances() {
            rotating.settled = outdated(relay, journal);
        }
        return rotating;
    };
    // What an interrupted run owes comes first; the next plan decides from there.
    rotating.align(relay, &record, now);
    if goal.advances() && rotating.steps.is_empty() {
        match advance(relay, observed, &record, now) {
            Verdict::Stay(waiting) => rotating.outlook.waiting = waiting,
            Verdict::Move {
                record: next,
                given_up,
            } => {
                record = *next;
                for key in given_up {
                    rotating.add(relay, Action::GiveUp(key), cause(&record));
                }
                rotating.record(relay, &record);
                rotating.align(relay, &record, now);
            }
        }
    }
    if goal.advances() && (record.direction, record.phase) == (Direction::Forward, Phase::Preparing)
    {
        prepare(&mut rotating, relay, &record);
    }
    if is_strict(journal, &record) {
        let signer = journal.signers.get(&record.signers.to);
        rotating.outlook.strict = signer.and_then(|kept| match &kept.record.cross {
            Some(Cross::Impossible(reason)) => Some(reason.clone()),
            _ => None,
        });
    }
    rotating.outlook.expected_end = expected_end(relay, observed, &record, now);
    rotating.outlook.rotation = Some(record);
    rotating
}

/// The last rotation, if it is over and what it left in use is not in use: a process that was overtaken
/// between looking and writing can take a generation out of use when all is over. Without this, another
/// one would be made in its place, and no gate would be asked.
fn unsettled(journal: &Journal) -> Option<&RotationRecord> {
    let (_, last) = journal.rotations.last_key_value()?;
    let record = last.record.phase.is_over().then_some(&last.record)?;
    let levels = [Level::Signer, Level::Root];
    let gone = levels
        .into_iter()
        .any(|level| journal.active(level).is_none());
    gone.then_some(record)
}

/// Makes the new CAs, or finishes making them.
fn prepare(rotating: &mut Rotating<'_>, relay: &Relay, record: &RotationRecord) {
    let journal = rotating.journal.clone();
    // What was begun goes where the document sent it then.
    let made = |level: Level, number: u32| journal.level(level).get(&number).map(|it| &it.record);
    let root = made(Level::Root, record.roots.to);
    let mut ready = root.is_some_and(|root| root.certificate.is_some());
    if record.level == Level::Root && !ready {
        let (provider, key_type) = place(root, &relay.root.provider, relay.root.key_type);
        // Whoever makes a root by hand certifies the signer on the same day.
        ready = relay.is_offline(&provider);
        let action = Action::EstablishRoot {
            number: record.roots.to,
            provider,
            key_type,
            activate: false,
        };
        rotating.add(relay, action, cause(record));
    }
    let waits =
        root.is_some_and(|root| root.certificate.is_some() && !certified(relay, record, root));
    if waits {
        let action = Action::CertifyRoots {
            old: record.roots.from,
            new: record.roots.to,
        };
        rotating.add(relay, action, cause(record));
    }
    let signer = made(Level::Signer, record.signers.to);
    let wants_cross = wants_cross(record);
    let finished = signer.is_some_and(|signer| {
        signer.certificate.is_some() && (signer.cross.is_some() || !wants_cross)
    });
    if ready && !finished {
        let (provider, key_type) = place(signer, &relay.signer.provider, relay.signer.key_type);
        let action = Action::EstablishSigner {
            number: record.signers.to,
            root: record.roots.to,
            provider,
            key_type,
            cross: wants_cross.then_some(record.roots.from),
            activate: false,
        };
        rotating.add(relay, action, cause(record));
    }
}

fn place(begun: Option<&GenerationRecord>, provider: &str, key_type: KeyType) -> (String, KeyType) {
    let holder = begun.and_then(|record| record.provider.as_deref());
    let provider = holder.unwrap_or(provider);
    let key_type = begun.map_or(key_type, |record| record.key_type);
    (provider.to_owned(), key_type)
}

pub(super) fn cause(record: &RotationRecord) -> Cause {
    Cause::Rotation {
        number: record.number,
        phase: record.phase,
    }
}

/// Rotations that are over, but for the last ones.
fn outdated(relay: &Relay, journal: &Journal) -> Vec<String> {
    let kept = journal.rotations.keys().rev().skip(KEPT_ROTATIONS);
    kept.map(|number| RotationRecord::object_name(&relay.name, *number))
        .collect()
}
