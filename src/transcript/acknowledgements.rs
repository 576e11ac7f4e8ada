use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::hash;
use crate::engine::{Held, Observed, TlsState};

/// Of how many clusters a line tells one by one.
const SHOWN: usize = 16;

/// What the clusters held when a gate was looked at. It does not grow with the fleet: of a large one
/// there is the number of clusters and a digest of what each of them held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Acknowledgements {
    /// How many clusters were read, or told of themselves.
    pub clusters: usize,
    /// SHA-256 of what each of them held: `NAME BUNDLE SERVER CLIENT` with the digest of the bundle and
    /// the serial numbers of the certificates, `-` for what is not there, a line each, in the order of
    /// the names.
    pub digest: String,
    /// These lines, where there are not many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
}

impl Acknowledgements {
    /// Of the clusters that could be read, and of those whose agents enrol.
    pub fn of(observed: &Observed) -> Self {
        let states = observed.clusters.iter();
        let mut all: BTreeMap<&String, String> = states
            .filter_map(|(name, state)| Some((name, state.as_ref().ok()?)))
            .map(|(name, state)| {
                let trust = state.trust.as_ref().and_then(|it| it.content.as_ref().ok());
                let bundle = word(trust.map(|trust| trust.digest));
                let (server, client) = (serial(&state.server), serial(&state.client));
                (name, format!("{name} {bundle} {server} {client}"))
            })
            .collect();
        // Agents that enrol tell of themselves.
        for (name, agent) in &observed.evidence.agents {
            let bundle = word(agent.acknowledged.as_ref().map(|said| &said.bundle));
            let shown = agent.presented.as_ref();
            let client = word(shown.map(|shown| &shown.certificate.serial));
            all.entry(name)
                .or_insert_with(|| format!("{name} {bundle} - {client}"));
        }
        let mut held: Vec<String> = all.into_values().collect();
        let digest = hash(held.join("\n").as_bytes());
        let clusters = held.len();
        if clusters > SHOWN {
            held.clear();
        }
        Self {
            clusters,
            digest,
            held,
        }
    }
}

fn serial(slot: &Option<Held<TlsState>>) -> String {
    let content = slot.as_ref().and_then(|held| held.content.as_ref().ok());
    word(content.and_then(|content| content.leaf.serial().ok()))
}

fn word(value: Option<impl Display>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}
