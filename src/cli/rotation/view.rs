use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::calls::Calls;
use crate::cli::output::{Output, Style};
use crate::engine::Outlook;
use crate::journal::RotationRecord;
use crate::rotation::{Direction, Forecast, Phase, Waiting};

/// Most lines that are shown to a person.
const SHOWN: usize = 20;

/// How a rotation stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct RotationView {
    /// `idle` if there is none.
    phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    waiting_for: Vec<Waiting>,
    /// Nothing while nobody can say.
    expected_end: Option<Timestamp>,
    /// Why no cluster may be missing, whatever the document says.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<String>,
    /// A rotation that is due and not begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    #[serde(skip)]
    over: bool,
}

impl RotationView {
    /// Nothing if there is nothing to tell.
    pub(in crate::cli) fn new(outlook: &Outlook) -> Option<Self> {
        let anything = outlook.rotation.is_some() || outlook.due.is_some();
        anything.then(|| Self::standing(outlook))
    }

    /// Also if there is none.
    pub(super) fn standing(outlook: &Outlook) -> Self {
        let record = outlook.rotation.as_ref();
        let phase = record.map_or("idle", |record| record.phase.as_str());
        Self {
            phase: phase.to_owned(),
            number: record.map(|record| record.number),
            level: record.map(|record| record.level.to_string()),
            direction: record.map(|record| record.direction),
            waiting_for: outlook.waiting.clone(),
            expected_end: outlook.expected_end,
            strict: outlook.strict.clone(),
            due: outlook.due.as_ref().map(|due| {
                let level = due.level;
                format!("{}: relay-pki rotate {level}", due.what)
            }),
            over: record.is_none_or(|record| record.phase.is_over()),
        }
    }

    pub(in crate::cli) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether there is one under way.
    pub(super) fn is_idle(&self) -> bool {
        self.number.is_none()
    }

    pub(in crate::cli) fn text(&self, output: &Output) -> String {
        let mut text = String::new();
        if let (Some(number), Some(level), Some(direction)) =
            (self.number, &self.level, self.direction)
        {
            let _ = write!(text, "Rotation {number} of the {level}: {}", self.phase);
            if direction == Direction::Rollback && !self.over {
                text.push_str(" is being undone (rollback)");
            }
            if let Some(end) = self.expected_end {
                let _ = write!(text, ", over not before {end:.0}");
            }
            text.push('\n');
        }
        if let Some(reason) = &self.strict {
            let word = output.paint(Style::Warning, "strict");
            let _ = writeln!(text, "{word}  {reason}: no cluster may be missing");
        }
        for waiting in self.waiting_for.iter().take(SHOWN) {
            let word = output.paint(Style::Warning, "waits");
            let cluster = waiting.cluster.as_ref();
            let cluster = cluster.map_or(String::new(), |name| format!("{name}: "));
            let _ = write!(text, "{word}  {cluster}{}", waiting.what);
            if let Some(until) = waiting.until {
                let _ = write!(text, " (until {until:.0})");
            }
            text.push('\n');
        }
        let rest = self.waiting_for.len().checked_sub(SHOWN);
        if let Some(rest) = rest.filter(|rest| *rest > 0) {
            let _ = writeln!(text, "… and {rest} more (all of them with --output json)");
        }
        if let Some(due) = &self.due {
            let word = output.paint(Style::Warning, "rotation due");
            let _ = writeln!(text, "{word}  {due}");
        }
        text
    }
}

/// What a rotation would come to.
pub(super) fn forecast(
    record: &RotationRecord,
    forecast: &Forecast,
    calls: &BTreeMap<String, Calls>,
) -> String {
    let mut text = format!(
        "Rotation {} of the {}: signer g{} → g{}",
        record.number, record.level, record.signers.from, record.signers.to
    );
    if record.roots.from != record.roots.to {
        let _ = write!(text, ", root g{} → g{}", record.roots.from, record.roots.to);
    }
    let phases = Phase::RUNNING.map(Phase::as_str).join(" → ");
    let _ = writeln!(text, "\n  phases     {phases}");
    let _ = writeln!(
        text,
        "  Secrets    {} changed, {} writes",
        forecast.secrets, forecast.writes
    );
    for restart in &forecast.restarts {
        let _ = writeln!(text, "  restarts   {restart}");
    }
    for (provider, calls) in calls {
        let _ = writeln!(text, "  calls      provider {provider}: {calls}");
    }
    let _ = writeln!(
        text,
        "  takes      {} s at least\n",
        forecast.least.as_secs()
    );
    text
}
