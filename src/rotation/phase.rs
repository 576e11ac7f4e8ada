use std::fmt;
use std::str::FromStr;

/// Where a rotation is. Each phase is recorded before anything is done for it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The new CAs are made.
    Preparing,
    /// The new root goes into every bundle.
    Publishing,
    /// The relay servers present certificates of the new signer.
    Activating,
    /// The agents get certificates of the new signer.
    Reissuing,
    /// Everything is on new certificates; the old ones run out.
    Draining,
    /// The old root goes out of every bundle.
    Retiring,
    /// It is over, and what was new is in use.
    Done,
    /// It is over, and what was old is in use.
    Rolledback,
}

impl Phase {
    /// Every phase in which a rotation runs, in order.
    pub const RUNNING: [Self; 6] = [
        Self::Preparing,
        Self::Publishing,
        Self::Activating,
        Self::Reissuing,
        Self::Draining,
        Self::Retiring,
    ];

    /// Whether the rotation is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Rolledback)
    }

    /// The word for it, in records and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Publishing => "publishing",
            Self::Activating => "activating",
            Self::Reissuing => "reissuing",
            Self::Draining => "draining",
            Self::Retiring => "retiring",
            Self::Done => "done",
            Self::Rolledback => "rolledback",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::RUNNING
            .into_iter()
            .find(|phase| phase.as_str() == text);
        known.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            format!(
                "{shown:?} is no phase; the phases are {}",
                Self::RUNNING.map(Self::as_str).join(", ")
            )
        })
    }
}

/// Which way a rotation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the new generation.
    Forward,
    /// Back to the old one: each phase is undone, the last one first.
    Rollback,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Rollback => "rollback",
        })
    }
}
