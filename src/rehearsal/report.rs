//! What came of a rehearsal.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::handshakes::{Handshake, Handshakes};
use crate::engine::{Action, Step};
use crate::journal::Journal;
use crate::rotation::{Phase, Waiting};

/// How a rehearsal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The rotation would be done.
    Done,
    /// It would wait for this, and nothing but a person or an agent ends that.
    Waits(Vec<Waiting>),
    /// It would go wrong.
    Failed(Box<Failure>),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// In words.
    pub what: String,
    /// The first connection that failed, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Handshake>,
}

/// What was done at once.
#[derive(Debug, Clone)]
pub struct Round {
    /// The records before.
    pub journal: Journal,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A stay in one phase.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The phase.
    pub phase: Phase,
    /// When it was entered.
    pub at: Timestamp,
    /// Whether a person has to let the rotation into it.
    pub approval: bool,
    /// What was done.
    pub rounds: Vec<Round>,
    /// What was waited for until it was over by itself.
    pub waited: Vec<Waiting>,
}

impl Stretch {
    /// How many Secrets were written, by cluster.
    pub fn writes(&self) -> BTreeMap<&str, usize> {
        let mut writes = BTreeMap::new();
        for step in self.rounds.iter().flat_map(|round| &round.steps) {
            if matches!(step.action, Action::Put(_)) {
                *writes.entry(step.cluster.as_str()).or_default() += 1;
            }
        }
        writes
    }
}

/// What came of a rehearsal.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// When it began, by its clock and every other one.
    pub begun: Timestamp,
    /// When it ended, by its clock.
    pub ended: Timestamp,
    /// The phases that the rotation went through, in order.
    pub stretches: Vec<Stretch>,
    /// The connections that were tried.
    pub handshakes: Handshakes,
    /// What was taken for granted, in words.
    pub granted: Vec<String>,
}

impl Report {
    /// The cluster in which most Secrets are written, and how many.
    pub fn most_written(&self) -> Option<(&str, usize)> {
        let mut writes: BTreeMap<&str, usize> = BTreeMap::new();
        for (cluster, count) in self.stretches.iter().flat_map(Stretch::writes) {
            *writes.entry(cluster).or_default() += count;
        }
        writes.into_iter().max_by_key(|(_, count)| *count)
    }
}
