//! What the parties have written down, counted.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use crate::party::Record;

/// Failures that are shown one by one.
const SHOWN: usize = 20;

/// All handshakes, from both sides.
pub(crate) struct Tally {
    folder: PathBuf,
    /// The kind of each agent.
    kinds: BTreeMap<String, String>,
    /// Up to where the records of each party were read.
    offsets: BTreeMap<String, u64>,
    /// Agent and server, and when they last met.
    met: BTreeMap<(String, String), f64>,
    /// Handshakes that succeeded, as each agent and each server has counted them.
    counted: BTreeMap<String, usize>,
    failures: Vec<Failure>,
}

/// A handshake that failed, as one side saw it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Who wrote it down.
    pub(crate) by: String,
    pub(crate) record: Record,
}

impl Tally {
    pub(crate) fn new(folder: PathBuf, kinds: BTreeMap<String, String>) -> Self {
        Self {
            folder,
            kinds,
            offsets: BTreeMap::new(),
            met: BTreeMap::new(),
            counted: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// Reads what is new.
    pub(crate) fn read(&mut self) {
        for entry in fs::read_dir(&self.folder).unwrap() {
            let entry = entry.unwrap();
            let party = entry.file_name().into_string().unwrap();
            let offset = self.offsets.entry(party.clone()).or_default();
            let mut file = File::open(entry.path()).unwrap();
            file.seek(SeekFrom::Start(*offset)).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            // The last line may not be whole yet.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *offset += u64::try_from(whole).unwrap();
            for line in text[..whole].lines() {
                let record = serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{party} wrote {line:?}: {error}"));
                self.add(&party, record);
            }
        }
    }

    fn add(&mut self, party: &str, record: Record) {
        if record.error.is_some() {
            let by = party.to_owned();
            self.failures.push(Failure { by, record });
            return;
        }
        *self.counted.entry(party.to_owned()).or_default() += 1;
        if self.kinds.contains_key(party) {
            self.met.insert((party.to_owned(), record.with), record.at);
        }
    }

    /// When an agent and a server last met, in seconds since 1970.
    pub(crate) fn last_met(&self, pair: &(String, String)) -> f64 {
        self.met.get(pair).copied().unwrap_or_default()
    }

    /// Handshakes that the agents have counted.
    pub(crate) fn handshakes(&self) -> usize {
        self.sum(|party| self.kinds.contains_key(party))
    }

    /// Handshakes that the servers have counted.
    pub(crate) fn served(&self) -> usize {
        self.sum(|party| !self.kinds.contains_key(party))
    }

    fn sum(&self, which: impl Fn(&str) -> bool) -> usize {
        let counted = self.counted.iter();
        let counted = counted.filter(|(party, _)| which(party));
        counted.map(|(_, count)| count).sum()
    }

    /// What failed, in the order in which it was read.
    pub(crate) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Failed handshakes: what both sides have written down of one is one.
    pub(crate) fn failed(&self) -> usize {
        let (dialled, accepted): (Vec<&Failure>, Vec<&Failure>) = self
            .failures
            .iter()
            .partition(|failure| self.kinds.contains_key(&failure.by));
        let unknown = accepted.iter().filter(|accepted| {
            let mut dialled = dialled.iter();
            !dialled.any(|dialled| dialled.record.is_other_side_of(&accepted.record))
        });
        dialled.len() + unknown.count()
    }

    /// Who failed with whom and why, from the failure with this number on, and how often. Agents are
    /// told of by their kinds.
    pub(crate) fn failing_pairs(&self, from: usize) -> BTreeMap<String, usize> {
        let mut pairs = BTreeMap::new();
        for Failure { by, record } in self.failures.iter().skip(from) {
            let by = self.kinds.get(by).unwrap_or(by);
            let (presented, held) = (record.presented.join("+"), record.held.join("+"));
            let reason = record.error.as_deref().unwrap_or_default();
            let pair = format!(
                "{by} with {:?}, presents …{}, holds {held}: {reason}",
                record.with,
                presented.split_once('+').map_or("", |(_, above)| above)
            );
            *pairs.entry(pair).or_default() += 1;
        }
        pairs
    }

    /// The end of a run without a single failure.
    #[allow(clippy::print_stdout)]
    pub(crate) fn assert_clean(&self, least: usize) {
        println!("{self}");
        assert_eq!(self.failed(), 0, "failed handshakes");
        assert_eq!(
            self.handshakes(),
            self.served(),
            "counted by agents and by servers"
        );
        let handshakes = self.handshakes();
        assert!(
            handshakes >= least,
            "{handshakes} handshakes, and not {least}"
        );
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (agent, kind) in &self.kinds {
            let (agents, handshakes) = kinds.entry(kind).or_default();
            *agents += 1;
            *handshakes += self.counted.get(agent).copied().unwrap_or_default();
        }
        for (kind, (agents, handshakes)) in kinds {
            writeln!(f, "{handshakes:>8}  {agents} agents {kind}")?;
        }
        for (server, handshakes) in &self.counted {
            if !self.kinds.contains_key(server) {
                writeln!(f, "{handshakes:>8}  server {server}")?;
            }
        }
        for failure in self.failures.iter().take(SHOWN) {
            writeln!(f, "{failure}")?;
        }
        let more = self.failures.len().saturating_sub(SHOWN);
        if more > 0 {
            writeln!(f, "… and {more} more")?;
        }
        let all = self.handshakes() + self.failed();
        write!(f, "failed handshakes: {} out of {all}", self.failed())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record {
            at,
            with,
            port,
            error,
            presented,
            held,
        } = &self.record;
        let peer = if with.is_empty() { "somebody" } else { with };
        let reason = error.as_deref().unwrap_or_default();
        let (presented, held) = (presented.join("+"), held.join("+"));
        write!(
            f,
            "{at:.3} {} with {peer} (port {port}), presents {presented}, holds {held}: {reason}",
            self.by
        )
    }
}
