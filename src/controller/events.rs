//! Kubernetes Events: what was done and what stands in the way, for people who ask `kubectl describe`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::{Action, Cause, Content, Step};
use crate::rotation::Fate;

use super::verdict::Verdict;

const TIMEOUT: Duration = Duration::from_secs(10);

/// How many Events may wait to be written. What comes on top is in the log only.
const WAITING: usize = 512;

/// What is said again within this time is counted and not written again.
const SERIES: Duration = Duration::from_secs(360);

/// The API server refuses longer notes.
const LONGEST_NOTE: usize = 1000;

/// Takes Events and writes them one after the other, in the background.
#[derive(Clone)]
pub(super) struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
}

impl Events {
    pub(super) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: "relay-pki.dev/controller".to_owned(),
            instance: Some(identity.to_owned()),
        };
        let (queue, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        tokio::spawn(async move {
            // A recorder counts Events of one reason about one object as one, with the note of the
            // first: every note has a recorder of its own.
            let mut recorders: BTreeMap<String, (Recorder, Instant)> = BTreeMap::new();
            while let Some((event, about)) = waiting.recv().await {
                recorders.retain(|_, (_, used)| used.elapsed() < SERIES);
                let note = event.note.clone().unwrap_or_default();
                let (recorder, used) = recorders.entry(note).or_insert_with(|| {
                    let recorder = Recorder::new(client.clone(), reporter.clone());
                    (recorder, Instant::now())
                });
                *used = Instant::now();
                let write = recorder.publish(&event, &about);
                match tokio::time::timeout(TIMEOUT, write).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "cannot write an Event"),
                    Err(_) => tracing::debug!("cannot write an Event: no answer"),
                }
            }
        });
        Self { queue }
    }

    fn send(&self, about: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        let name = about.name.as_deref().unwrap_or_default();
        match type_ {
            EventType::Normal => tracing::info!(object = %name, %reason, "{note}"),
            EventType::Warning => tracing::warn!(object = %name, %reason, "{note}"),
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(LONGEST_NOTE).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A full queue means that nobody could read them all anyway.
        let _ = self.queue.try_send((event, about.clone()));
    }

    /// A verdict that differs from the one before.
    pub(super) fn verdict(&self, about: &ObjectReference, verdict: &Verdict) {
        let type_ = match verdict.ready {
            true => EventType::Normal,
            false => EventType::Warning,
        };
        let reason = match verdict.ready {
            true => "Ready",
            false => verdict.reason,
        };
        self.send(about, type_, reason, &verdict.message);
    }

    /// Steps that were done; `drift` says that nothing had asked for them but a change by hand.
    pub(super) fn done(&self, about: &ObjectReference, steps: &[Step], drift: bool) {
        let mut by_reason: Vec<(&'static str, Vec<String>)> = Vec::new();
        for step in steps {
            let (reason, text) = words(step);
            match by_reason.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, texts)) => texts.push(text),
                None => by_reason.push((reason, vec![text])),
            }
        }
        for (reason, texts) in by_reason {
            self.send(about, EventType::Normal, reason, &texts.join("; "));
        }
        if drift {
            let repairs = steps.iter().filter(|step| is_repair(step));
            let texts: Vec<String> = repairs.map(|step| words(step).1).collect();
            let note = format!(
                "changed by somebody else, and repaired: {}; to change it for good, change the \
                 Relay",
                texts.join("; ")
            );
            self.send(about, EventType::Warning, "Drift", &note);
        }
    }

    /// Something worth a warning.
    pub(super) fn warn(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.send(about, EventType::Warning, reason, note);
    }

    /// Something worth telling.
    pub(super) fn tell(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.send(about, EventType::Normal, reason, note);
    }
}

/// The reason of an Event about a step that is done, and what was done and why.
fn words(step: &Step) -> (&'static str, String) {
    let (reason, what) = match &step.action {
        Action::AdoptRoot { number, .. } => ("Adopted", format!("root g{number}")),
        Action::AdoptSigner { number, .. } => ("Adopted", format!("signer g{number}")),
        Action::EstablishRoot { number, .. } => ("Issued", format!("root g{number}")),
        Action::EstablishSigner { number, .. } => ("Issued", format!("signer g{number}")),
        Action::CertifyRoots { old, new } => (
            "Issued",
            format!("root g{old} and root g{new}, by each other"),
        ),
        Action::Advance(record) => {
            let (level, number, phase) = (record.level, record.number, record.phase);
            let text = format!("rotation {number} of the {level}: {phase}");
            ("Rotation", text)
        }
        Action::Transition {
            level,
            number,
            status,
        } => (
            "Rotation",
            format!("{level} g{number} is {}", status.as_str()),
        ),
        Action::GiveUp(key) => {
            let (level, number) = (key.level, key.number);
            match key.fate {
                Fate::Destroyed => ("Destroyed", format!("key of {level} g{number}")),
                Fate::Disabled => ("Disabled", format!("key of {level} g{number}")),
                Fate::LeftToOwner => (
                    "Rotation",
                    format!("key of {level} g{number} is left to its owner"),
                ),
            }
        }
        Action::RewriteKey(key) => ("Encrypted", format!("key of {key}")),
        Action::Restart { workload, .. } => {
            ("Restarted", format!("{workload} in {}", step.cluster))
        }
        Action::Put(put) => {
            let reason = match (put.content, &step.cause) {
                (Content::Issue, Cause::Due(_) | Cause::Requested(_)) => "Renewed",
                (Content::Issue, _) => "Issued",
                _ => "Written",
            };
            (reason, format!("Secret {}", put.name))
        }
    };
    (reason, format!("{what} ({})", step.cause))
}

/// Whether a step puts something right that was right before, unless the document or the relay changed.
pub(super) fn is_repair(step: &Step) -> bool {
    matches!(
        step.cause,
        Cause::Missing | Cause::Broken(_) | Cause::Drifted(_)
    )
}
