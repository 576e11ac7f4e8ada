use std::process::ExitCode;

/// How the program ends. Part of the interface: scripts depend on it, whatever the output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Everything asked for is done (or shown).
    Done = 0,
    /// It failed.
    Failed = 1,
    /// Wrong arguments, or a document that says something impossible.
    Usage = 2,
    /// The audit found problems.
    Findings = 3,
    /// Not permitted.
    Denied = 4,
    /// `--exit-code`: the plan is not empty.
    Changes = 5,
    /// A backend has not answered yet; the same command goes on.
    Waiting = 6,
    /// Something could not be read; what could be is done.
    Incomplete = 7,
    /// Refused, because it could break something.
    Refused = 8,
    /// Interrupted by SIGINT; the same command goes on.
    Interrupted = 130,
    /// Interrupted by SIGTERM; the same command goes on.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
