//! `rehearse`: what a rotation would do, tried on copies.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Subcommand;
use jiff::Timestamp;
use relay_pki_authority::Level;
use serde::Serialize;

use super::calls::{Calls, calls_of_rounds};
use super::error::CliError;
use super::exit::Exit;
use super::interrupt::interruptible;
use super::output::{Format, Output, Style, columns};
use super::source::Opened;
use crate::engine::Fleet;
use crate::journal::Why;
use crate::rehearsal::{Failure, Handshakes, Outcome, RehearsalError, Report, Stretch, rehearse};
use crate::rotation::{Phase, Request, Waiting};
use crate::wording;

/// Most lines that are shown to a person.
const SHOWN: usize = 20;

/// Arguments of `rehearse`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The rotation of the root, with a new signer under it
    Root(Staged),
    /// The rotation of the signer under the same root
    Signer(Staged),
}

/// The rotation that is meant.
#[derive(Debug, clap::Args)]
struct Staged {
    /// Clusters that go through all phases before the others are touched
    #[arg(long, value_name = "CLUSTER", num_args = 1..)]
    canary: Vec<String>,
    /// As if the old root were compromised
    #[arg(long)]
    emergency: bool,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    let (level, staged) = match &arguments.what {
        What::Root(staged) => (Level::Root, staged),
        What::Signer(staged) => (Level::Signer, staged),
    };
    let request = Request {
        level,
        by: super::person(),
        why: Why::Requested,
        canary: staged.canary.clone(),
        emergency: staged.emergency,
    };
    let left_out = opened.left_out();
    let left_out = left_out.map(|(cluster, why)| (cluster.to_owned(), why));
    let (cancel, signalled) = interruptible()?;
    let fleet = &opened.fleet;
    let rehearsed = rehearse(fleet, left_out.collect(), &request, &cancel);
    // Reading may take long, and is no reason to wait.
    let rehearsed = tokio::select! {
        rehearsed = rehearsed => rehearsed,
        () = cancel.cancelled() => Err(RehearsalError::Interrupted),
    };
    let report = match rehearsed {
        Err(RehearsalError::Interrupted) => {
            output.note("interrupted; nothing was written");
            return Ok(signalled());
        }
        rehearsed => rehearsed?,
    };
    let view = View::new(fleet, &request, &report);
    output.data(staged.output, &view, |view| view.table(output))?;
    Ok(match report.outcome {
        Outcome::Done => Exit::Done,
        Outcome::Waits(_) => Exit::Waiting,
        Outcome::Failed(_) => Exit::Failed,
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    api_version: &'static str,
    kind: &'static str,
    relay: &'a str,
    level: Level,
    emergency: bool,
    outcome: &'static str,
    begun: Timestamp,
    /// How long it takes at least, in seconds.
    least: i64,
    phases: Vec<PhaseView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_written: Option<Written<'a>>,
    handshakes: Handshakes,
    /// What it would wait for in the end.
    waiting_for: &'a [Waiting],
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    /// What was taken for granted.
    granted: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhaseView<'a> {
    phase: Phase,
    /// When it is entered, in seconds from the beginning.
    after: i64,
    needs_approval: bool,
    /// Secrets that are written, by cluster.
    writes: BTreeMap<&'a str, usize>,
    calls: BTreeMap<String, Calls>,
    waited_for: &'a [Waiting],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    cluster: &'a str,
    secrets: usize,
}

impl<'a> View<'a> {
    fn new(fleet: &'a Fleet, request: &Request, report: &'a Report) -> Self {
        let phase = |stretch: &'a Stretch| PhaseView {
            phase: stretch.phase,
            // A rotation that is under way was in its phase before the rehearsal began.
            after: stretch.at.duration_since(report.begun).as_secs().max(0),
            needs_approval: stretch.approval,
            writes: stretch.writes(),
            calls: calls_of_rounds(fleet, &stretch.rounds),
            waited_for: &stretch.waited,
        };
        let (outcome, waiting_for, failure): (_, &[Waiting], _) = match &report.outcome {
            Outcome::Done => ("done", &[], None),
            Outcome::Waits(waiting) => ("waits", waiting, None),
            Outcome::Failed(failure) => ("failed", &[], Some(failure.as_ref())),
        };
        let most = report.most_written();
        Self {
            api_version: "relay-pki/v1",
            kind: "Rehearsal",
            relay: &fleet.relay.name,
            level: request.level,
            emergency: request.emergency,
            outcome,
            begun: report.begun,
            least: report.ended.duration_since(report.begun).as_secs(),
            phases: report.stretches.iter().map(phase).collect(),
            most_written: most.map(|(cluster, secrets)| Written { cluster, secrets }),
            handshakes: report.handshakes,
            waiting_for,
            failure,
            granted: &report.granted,
        }
    }

    fn table(&self, output: &Output) -> String {
        let rows: Vec<Vec<String>> = self.phases.iter().map(PhaseView::row).collect();
        let mut text = columns(
            &["PHASE", "AFTER", "WRITES", "CERTIFICATES", "WAITS"],
            &rows,
        );
        text.push('\n');
        for granted in self.granted {
            let _ = writeln!(text, "granted     {granted}");
        }
        let takes = wording::duration(jiff::SignedDuration::from_secs(self.least));
        let _ = writeln!(text, "takes       {takes} at least");
        if let Some(most) = &self.most_written {
            let (secrets, cluster) = (most.secrets, most.cluster);
            let _ = writeln!(text, "writes      {secrets} in {cluster}, nowhere more");
        }
        let Handshakes {
            checked,
            failed,
            broken_before,
        } = self.handshakes;
        let outage = match self.emergency && failed > 0 {
            true => ": the outage",
            false => "",
        };
        let _ = writeln!(text, "handshakes  {checked} tried, {failed} failed{outage}");
        if broken_before > 0 {
            let _ = writeln!(
                text,
                "            {broken_before} pairs could not connect before, and are left out"
            );
        }
        let end = match (self.outcome, self.failure) {
            (_, Some(failure)) => {
                let word = output.paint(Style::Bad, "fails");
                format!("{word}: {}\n", failure.what)
            }
            ("done", _) => format!("{}\n", output.paint(Style::Good, "ends in done")),
            _ => output.paint(Style::Warning, "would wait for") + "\n",
        };
        text.push_str(&end);
        for waiting in self.waiting_for.iter().take(SHOWN) {
            let cluster = waiting.cluster.as_deref().unwrap_or("the rotation");
            let _ = writeln!(text, "  {cluster}: {}", waiting.what);
        }
        let rest = self.waiting_for.len().saturating_sub(SHOWN);
        if rest > 0 {
            let _ = writeln!(text, "  … and {rest} more (all of them with --output json)");
        }
        text
    }
}

impl PhaseView<'_> {
    fn row(&self) -> Vec<String> {
        let after = wording::duration(jiff::SignedDuration::from_secs(self.after));
        let writes: usize = self.writes.values().sum();
        let calls = self.calls.iter();
        let calls: Vec<String> = calls
            .map(|(provider, calls)| format!("{provider}: {calls}"))
            .collect();
        let approval = self
            .needs_approval
            .then(|| "a person approves it".to_owned());
        let waits = self.waited_for.first().map(|it| it.what.clone());
        let waits: Vec<String> = approval.into_iter().chain(waits).collect();
        vec![
            self.phase.to_string(),
            after,
            writes.to_string(),
            calls.join(", "),
            waits.join("; "),
        ]
    }
}

impl From<RehearsalError> for CliError {
    fn from(error: RehearsalError) -> Self {
        match error {
            RehearsalError::Refused(refusal) => refusal.into(),
            RehearsalError::Cluster(error) => error.into(),
            error => Self::failed(error.to_string()),
        }
    }
}
