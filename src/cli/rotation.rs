//! The verbs that begin, lead and show a rotation of root or signer.

mod log;
mod status;
mod view;

use clap::Subcommand;
use jiff::Timestamp;

use super::calls::calls_of_rotation;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output};
use super::run::{self, Common, Order};
use super::source::Opened;
use crate::engine::{Apply, Fleet, Goal, Observed};
use crate::journal::{Kept, RotationRecord};
use crate::rotation::{self, Begun, Phase, Refusal, Request, Steering};
use crate::transcript::{self, Deed, TranscriptError};

pub(super) use self::view::RotationView;

/// Arguments of `rotation`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show how far the rotation is, who is missing and why; writes nothing
    Status(status::Arguments),
    /// Print the signed transcript of a rotation, to be kept elsewhere; writes nothing
    Log(log::Arguments),
    /// Let the rotation into its next phase, by name
    Approve {
        /// The phase: publishing, activating, reissuing, draining or retiring
        phase: Phase,
        #[command(flatten)]
        common: Common,
    },
    /// Stop the rotation before its next phase
    Pause(Common),
    /// Let the rotation go on
    Resume(Common),
    /// Go back to what was in use before, through the same gates
    Rollback(Common),
    /// No longer wait for a cluster
    Waive {
        /// The cluster
        cluster: String,
        /// Until when it is kept able to connect: a time as in 2026-12-24T18:00:00Z
        #[arg(long, value_name = "TIME")]
        until: Timestamp,
        /// Why
        #[arg(long, value_parser = reason)]
        reason: String,
        #[command(flatten)]
        common: Common,
    },
    /// Go on as far as the gates allow
    Advance(Common),
}

/// Longest reason: it is kept in the record of the rotation.
const LONGEST_REASON: usize = 500;

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why".to_owned()),
        text if text.len() > LONGEST_REASON => Err(format!("at most {LONGEST_REASON} bytes")),
        text => Ok(text.to_owned()),
    }
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    let (steering, common) = match &arguments.what {
        What::Status(arguments) => return status::run(arguments, opened, output).await,
        What::Log(arguments) => return log::run(arguments, opened, output).await,
        What::Advance(common) => {
            return run::run(opened, Goal::Rotation, Order::Nothing, common, output).await;
        }
        What::Approve { phase, common } => (Steering::Approve(*phase), common),
        What::Pause(common) => (Steering::Pause, common),
        What::Resume(common) => (Steering::Resume, common),
        What::Rollback(common) => (Steering::Rollback, common),
        What::Waive {
            cluster,
            until,
            reason,
            common,
        } => (
            Steering::Waive {
                cluster: cluster.clone(),
                until: *until,
                reason: reason.clone(),
            },
            common,
        ),
    };
    let order = Order::Steer(steering, super::person());
    run::run(opened, Goal::Rotation, order, common, output).await
}

/// Writes a rotation down that somebody asks for, unless it is under way.
pub(super) async fn begin(
    fleet: &Fleet,
    observed: &mut Observed,
    request: &Request,
    output: &Output,
) -> Result<(), CliError> {
    let now = fleet.clock.now();
    match rotation::begin(&fleet.relay, observed, request, now)? {
        Begun::New(record) => {
            obtainable(fleet, observed, &record).await?;
            save(fleet, observed, *record, &request.by).await
        }
        Begun::Escalated(record) => save(fleet, observed, *record, &request.by).await,
        Begun::Running(number) => {
            output.note(&format!("going on with rotation {number}"));
            Ok(())
        }
    }
}

/// Writes down what somebody decided about the rotation under way.
pub(super) async fn steer(
    fleet: &Fleet,
    observed: &mut Observed,
    steering: &Steering,
    by: &str,
) -> Result<(), CliError> {
    let now = fleet.clock.now();
    let record = rotation::steer(&fleet.relay, observed, steering, by, now)?;
    match observed.journal.rotation() == Some(&record) {
        true => Ok(()),
        false => save(fleet, observed, record, by).await,
    }
}

/// Shows what a rotation would come to, and has the plan begin with it.
pub(super) async fn consider(
    fleet: &Fleet,
    observed: &mut Observed,
    request: &Request,
    common: &Common,
    output: &Output,
) -> Result<(), CliError> {
    let now = fleet.clock.now();
    let begun = rotation::begin(&fleet.relay, observed, request, now)?;
    let (Begun::New(record) | Begun::Escalated(record)) = begun else {
        return Ok(());
    };
    obtainable(fleet, observed, &record).await?;
    if common.output == Format::Table {
        let forecast = rotation::forecast(&fleet.relay, &observed.journal, &record, now);
        let calls = calls_of_rotation(fleet, &observed.journal, &record, forecast.leaves);
        output.text(&view::forecast(&record, &forecast, &calls))?;
    }
    let number = record.number;
    let kept = Kept {
        record: *record,
        version: None,
    };
    observed.journal.rotations.insert(number, kept);
    Ok(())
}

/// Refuses a rotation to CAs that their backend does not have.
async fn obtainable(
    fleet: &Fleet,
    observed: &Observed,
    record: &RotationRecord,
) -> Result<(), CliError> {
    match Apply::new(fleet, observed).unobtainable(record).await {
        None => Ok(()),
        Some(refusal) => Err(refusal.into()),
    }
}

async fn save(
    fleet: &Fleet,
    observed: &mut Observed,
    record: RotationRecord,
    by: &str,
) -> Result<(), CliError> {
    let journal = &mut observed.journal;
    Ok(transcript::record(fleet, journal, &record, &Deed::of(by)).await?)
}

impl From<TranscriptError> for CliError {
    fn from(error: TranscriptError) -> Self {
        match error {
            TranscriptError::Cluster(error) => error.into(),
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self {
            exit: Exit::Refused,
            what: refusal.what,
            fix: Some(refusal.remedy),
        }
    }
}
