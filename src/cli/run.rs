//! What every verb that writes has in common: lock, observe, plan, show, apply, report.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::error::CliError;
use super::exit::Exit;
use super::interrupt::interruptible;
use super::output::{Format, Output};
use super::plan_view::{Outcome, PlanSummary, PlanView};
use super::progress::Progress;
use super::rotation;
use super::source::Opened;
use crate::cluster::{ClusterError, Expected};
use crate::engine::{
    Applied, Apply, Fleet, Goal, Observed, Plan, StepError, observe, plan, requests,
};
use crate::evidence;
use crate::journal::{Journal, Kept, RequestRecord, Scope};
use crate::rotation::{Request, Steering};

/// Rounds of observe → plan → apply after which somebody else is obviously working against us.
const ROUNDS: usize = 5;

/// Rounds of a rotation, which takes two or three a phase.
const LONGEST_ROTATION: usize = 100;

/// How long a roll-out is left alone before it is looked at again.
const ROLL_OUT_PAUSE: Duration = Duration::from_secs(2);

/// Longest `--timeout`: a month.
const LONGEST_TIMEOUT: u64 = 30 * 86_400;

/// Arguments of every verb that writes.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Show what would be done and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// With --dry-run: end with 5 if there is something to do
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    /// How long to wait for a CA backend that answers later, or for workloads to be rolled out, in
    /// seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(..=LONGEST_TIMEOUT)
    )]
    timeout: u64,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// What somebody asks for now, besides the goal.
pub(super) enum Order {
    /// Nothing.
    Nothing,
    /// These are to be rotated at once.
    Scopes(BTreeSet<Scope>),
    /// This rotation is to begin.
    Begin(Request),
    /// The rotation under way is to be led by somebody of this name.
    Steer(Steering, String),
}

/// Brings the fleet to `goal`. `left_out` are clusters that could not be worked on, with the reason.
pub(super) async fn run(
    opened: &Opened,
    goal: Goal,
    order: Order,
    common: &Common,
    output: &Output,
) -> Result<Exit, CliError> {
    let fleet = &opened.fleet;
    if common.dry_run {
        let mut observed = look(opened).await?;
        match &order {
            Order::Scopes(scopes) => drop(request(fleet, &mut observed, scopes)),
            Order::Begin(request) => {
                rotation::consider(fleet, &mut observed, request, common, output).await?
            }
            Order::Nothing | Order::Steer(..) => {}
        }
        let plan = plan(&fleet.relay, &goal, &observed, fleet.clock.now());
        let view = PlanView::new(fleet, &observed.journal, &plan, Outcome::Planned);
        output.data(common.output, &view, |view| view.table(output))?;
        return Ok(match view.exit() {
            Exit::Done if common.exit_code && !plan.steps.is_empty() => Exit::Changes,
            exit => exit,
        });
    }
    let lock = fleet.home()?.lock().await?;
    let result = converge(opened, goal, order, common, output).await;
    lock.release().await;
    result
}

/// Looks at the fleet, and knows of what belongs to it and cannot be looked at.
pub(super) async fn look(opened: &Opened) -> Result<Observed, CliError> {
    let mut observed = observe(&opened.fleet).await?;
    observed.evidence.left_out = opened
        .left_out()
        .map(|(cluster, why)| (cluster.to_owned(), why))
        .collect();
    evidence::gather(&opened.fleet, &mut observed).await;
    Ok(observed)
}

/// Plans and applies until nothing is left to do, or nothing more can be done now.
async fn converge(
    opened: &Opened,
    goal: Goal,
    order: Order,
    common: &Common,
    output: &Output,
) -> Result<Exit, CliError> {
    let fleet = &opened.fleet;
    let (cancel, signalled) = interruptible()?;
    let deadline = Instant::now() + Duration::from_secs(common.timeout);
    let mut order = Some(order);
    let mut total = PlanView::new(
        fleet,
        &Journal::default(),
        &Plan::default(),
        Outcome::Applied,
    );
    let mut rounds = 0;
    loop {
        let mut observed = look(opened).await?;
        match order.take() {
            Some(Order::Scopes(scopes)) => {
                record_request(fleet, &mut observed, &goal, &scopes, output).await?;
            }
            Some(Order::Begin(request)) => {
                rotation::begin(fleet, &mut observed, &request, output).await?;
            }
            Some(Order::Steer(steering, by)) => {
                rotation::steer(fleet, &mut observed, &steering, &by).await?;
            }
            Some(Order::Nothing) | None => {}
        }
        let plan = plan(&fleet.relay, &goal, &observed, fleet.clock.now());
        if plan.steps.len() > 1 {
            output.note(&format!("{} steps to do", plan.steps.len()));
        }
        let summary = PlanSummary {
            problems: plan.problems.clone(),
            unchanged: plan.unchanged,
            rotation: plan.rotation.clone(),
            leads: goal == Goal::Rotation,
        };
        let progress = Progress::new(output, plan.steps.len(), "working");
        let applied = Apply::new(fleet, &observed)
            .run(plan, &cancel, &|_| progress.step())
            .await;
        drop(progress);
        rounds += 1;
        total.add(fleet, &applied, &summary);
        let goes_on = summary.rotation.rotation.is_some() && applied.failed.is_empty();
        let goes_on = goes_on && !applied.done.is_empty() && rounds < LONGEST_ROTATION;
        let rolls = summary.rotation.rolling && applied.failed.is_empty();
        if cancel.is_cancelled() || !(goes_on || rolls || again(&applied, rounds)) {
            break;
        }
        let pause = match applied.pending {
            Some(poll_after) => Some(("waiting for a CA backend", poll_after)),
            None if goes_on => None,
            None if rolls => Some(("waiting for a roll-out", ROLL_OUT_PAUSE)),
            None => None,
        };
        if let Some((what, pause)) = pause {
            let wake = Instant::now() + pause.max(Duration::from_millis(100));
            if wake > deadline {
                break;
            }
            output.note(what);
            rounds = 0;
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                () = cancel.cancelled() => break,
            }
        }
        total.forget_failures();
    }
    output.data(common.output, &total, |view| view.table(output))?;
    let interrupted = cancel.is_cancelled() && !total.is_finished();
    Ok(match (interrupted, total.exit()) {
        (true, _) => {
            output.note("interrupted between two steps; run the same command again to go on");
            signalled()
        }
        (false, exit) => exit,
    })
}

/// Whether another round may do better: a pending certificate, or somebody else's write that came
/// between our read and our write.
fn again(applied: &Applied, rounds: usize) -> bool {
    let conflict =
        |error: &StepError| matches!(error, StepError::Cluster(ClusterError::Conflict { .. }));
    let conflicts = applied
        .failed
        .iter()
        .any(|failure| conflict(&failure.error));
    applied.pending.is_some() || (conflicts && rounds < ROUNDS)
}

/// Adds requests to the journal in memory. Returns the scopes that got one.
fn request(fleet: &Fleet, observed: &mut Observed, scopes: &BTreeSet<Scope>) -> Vec<Scope> {
    let Some((number, missing)) = requests(&fleet.relay, observed, scopes) else {
        return Vec::new();
    };
    let at = fleet.clock.now();
    for scope in &missing {
        let requests = &mut observed.journal.requests;
        let version = requests.get(scope).and_then(|kept| kept.version.clone());
        let record = RequestRecord { number, at };
        requests.insert(scope.clone(), Kept { record, version });
    }
    missing
}

/// Writes the request down before anything moves: whoever comes after a crash finishes it.
async fn record_request(
    fleet: &Fleet,
    observed: &mut Observed,
    goal: &Goal,
    scopes: &BTreeSet<Scope>,
    output: &Output,
) -> Result<(), CliError> {
    // Nothing can be rotated that is not there; a request for it would only lie around.
    if plan(&fleet.relay, goal, observed, fleet.clock.now())
        .problems
        .iter()
        .any(|problem| problem.cluster == fleet.relay.home().name.as_str())
    {
        return Ok(());
    }
    let recorded = request(fleet, observed, scopes);
    if recorded.is_empty() {
        output.note("going on with a rotation that was not finished");
    }
    for scope in recorded {
        if let Some(kept) = observed.journal.requests.get_mut(&scope) {
            let object = kept.record.encode(&fleet.relay.name, &scope);
            let expected = kept.version.take().map_or(Expected::Absent, Expected::At);
            kept.version = Some(fleet.home()?.write(&object, &expected).await?);
        }
    }
    Ok(())
}
