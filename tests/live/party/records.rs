//! The lines that a party writes.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::credentials::{Identity, Trust, fingerprints};

/// A handshake, as one side saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When it was over, in seconds since 1970.
    pub(crate) at: f64,
    /// Whom with, as far as that is known.
    pub(crate) with: String,
    /// The agent's port, by which both sides' lines are brought together.
    pub(crate) port: u16,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// If it failed: the chain that this side presented.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) presented: Vec<String>,
    /// If it failed: the roots that this side held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<String>,
}

/// Two lines with the same port are of the same connection if no more than these seconds lie between
/// them: ports are used again.
const SAME: f64 = 35.0;

impl Record {
    /// Whether both are of one connection.
    pub(crate) fn is_other_side_of(&self, other: &Self) -> bool {
        self.port != 0 && self.port == other.port && (self.at - other.at).abs() < SAME
    }
}

/// A file of records. Several processes may append to it.
pub(super) struct Records(File);

impl Records {
    pub(super) fn open(path: &Path) -> Self {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        Self(opened.expect("a file for records"))
    }

    /// Writes a handshake down, with what this side had if it failed.
    pub(super) fn write(
        &self,
        with: &str,
        port: u16,
        outcome: Result<(), String>,
        had: Option<(&Identity, &Trust)>,
    ) {
        let at = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let had = had.filter(|_| outcome.is_err());
        let record = Record {
            at,
            with: with.to_owned(),
            port,
            error: outcome.err(),
            presented: had.map_or_else(Vec::new, |(identity, _)| fingerprints(&identity.chain)),
            held: had.map_or_else(Vec::new, |(_, trust)| fingerprints(&trust.anchors)),
        };
        let line = format!("{}\n", serde_json::to_string(&record).unwrap());
        // One write a line: the lines of two processes do not mix.
        (&self.0).write_all(line.as_bytes()).unwrap();
    }
}
