//! A plan, or what became of it, as a result.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::calls::{Calls, calls};
use super::exit::Exit;
use super::output::{Output, Style, columns};
use super::rotation::RotationView;
use crate::cluster::ClusterError;
use crate::engine::{
    Action, Applied, Cause, Content, Fleet, Outlook, Plan, Problem, Step, StepError,
};
use crate::journal::Journal;
use crate::rotation::{Fate, Phase};

/// Most lines of one kind that are shown to a person.
const SHOWN: usize = 40;

/// Whether the steps are done or only planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    Planned,
    Applied,
}

/// What is left of a plan once its steps are handed over.
pub(super) struct PlanSummary {
    pub(super) problems: Vec<Problem>,
    pub(super) unchanged: usize,
    pub(super) rotation: Outlook,
    /// Whether the rotation is what was asked for.
    pub(super) leads: bool,
}

/// A plan with its outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanView {
    api_version: &'static str,
    kind: &'static str,
    relay: String,
    outcome: Outcome,
    steps: Vec<StepView>,
    failed: Vec<FailureView>,
    problems: Vec<ProblemView>,
    unchanged: usize,
    skipped: usize,
    /// What each provider is asked for.
    calls: BTreeMap<String, Calls>,
    /// Whether something could not be read.
    incomplete: bool,
    /// How the rotation of root or signer stands, if there is one, or one is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationView>,
    #[serde(skip)]
    worst: Option<Exit>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepView {
    cluster: String,
    symbol: char,
    object: String,
    action: String,
    reason: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureView {
    cluster: String,
    object: String,
    error: String,
    /// Whether it only waits for a person.
    awaited: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemView {
    cluster: String,
    what: String,
    remedy: String,
    unreachable: bool,
}

impl PlanView {
    pub(super) fn new(fleet: &Fleet, journal: &Journal, plan: &Plan, outcome: Outcome) -> Self {
        let mut view = Self {
            api_version: "relay-pki/v1",
            kind: "Plan",
            relay: fleet.relay.name.clone(),
            outcome,
            steps: plan.steps.iter().map(StepView::new).collect(),
            failed: Vec::new(),
            problems: Vec::new(),
            unchanged: plan.unchanged,
            skipped: 0,
            calls: calls(fleet, journal, &plan.steps),
            incomplete: false,
            rotation: RotationView::new(&plan.rotation),
            worst: None,
        };
        view.set_problems(&plan.problems);
        view
    }

    /// Adds what a round did, in the order of the plan and not in that of the answers.
    pub(super) fn add(&mut self, fleet: &Fleet, applied: &Applied, plan: &PlanSummary) {
        let order: BTreeMap<&str, usize> = fleet
            .relay
            .clusters
            .iter()
            .enumerate()
            .map(|(position, spec)| (spec.name.as_str(), position))
            .collect();
        let mut done: Vec<&Step> = applied.done.iter().collect();
        done.sort_by_key(|step| order.get(step.cluster.as_str()));
        self.steps.extend(done.into_iter().map(StepView::new));
        for failure in &applied.failed {
            let view = StepView::new(&failure.step);
            self.failed.push(FailureView {
                cluster: view.cluster,
                object: view.object,
                error: failure.error.to_string(),
                awaited: matches!(failure.error, StepError::Awaiting { .. }),
            });
            self.worsen(match &failure.error {
                StepError::Pending { .. } | StepError::Awaiting { .. } => Exit::Waiting,
                StepError::Cluster(ClusterError::Denied { .. }) => Exit::Denied,
                StepError::Cluster(ClusterError::Occupied { .. }) => Exit::Refused,
                _ => Exit::Failed,
            });
        }
        self.skipped = applied.skipped;
        self.unchanged = plan.unchanged;
        self.set_problems(&plan.problems);
        // What ended is told once more, though the last look finds it over.
        let view = RotationView::new(&plan.rotation);
        if view.is_some() || self.rotation.as_ref().is_some_and(|known| !known.is_over()) {
            self.rotation = view;
        }
        let under_way = plan.rotation.rotation.as_ref();
        let under_way = under_way.is_some_and(|record| !record.phase.is_over());
        if plan.leads && under_way {
            self.worsen(Exit::Waiting);
        } else if self.worst == Some(Exit::Waiting) && applied.failed.is_empty() {
            self.worst = None;
        }
    }

    /// Before another round: it will say again what still fails.
    pub(super) fn forget_failures(&mut self) {
        self.failed.clear();
        self.worst = None;
    }

    /// Whether nothing was left undone for lack of time.
    pub(super) fn is_finished(&self) -> bool {
        self.skipped == 0 && self.failed.is_empty()
    }

    pub(super) fn exit(&self) -> Exit {
        self.worst.unwrap_or(Exit::Done)
    }

    fn set_problems(&mut self, problems: &[Problem]) {
        self.problems = problems
            .iter()
            .map(|problem| ProblemView {
                cluster: problem.cluster.clone(),
                what: problem.what.clone(),
                remedy: problem.remedy.clone(),
                unreachable: problem.unreachable,
            })
            .collect();
        self.incomplete = problems.iter().any(|problem| problem.unreachable);
        for problem in problems {
            self.worsen(match problem.unreachable {
                true => Exit::Incomplete,
                false => Exit::Refused,
            });
        }
    }

    /// Several things may be wrong; the code names the one that matters most.
    fn worsen(&mut self, exit: Exit) {
        const ORDER: [Exit; 5] = [
            Exit::Refused,
            Exit::Denied,
            Exit::Failed,
            Exit::Incomplete,
            Exit::Waiting,
        ];
        let rank = |exit: Exit| ORDER.iter().position(|other| *other == exit);
        match self.worst {
            Some(worst) if rank(worst) <= rank(exit) => {}
            _ => self.worst = Some(exit),
        }
    }

    pub(super) fn table(&self, output: &Output) -> String {
        let mut text = String::new();
        let rows: Vec<Vec<String>> = self
            .steps
            .iter()
            .take(SHOWN)
            .map(|step| {
                vec![
                    step.symbol.to_string(),
                    step.cluster.clone(),
                    step.object.clone(),
                    step.action.clone(),
                    step.reason.clone(),
                ]
            })
            .collect();
        text.push_str(&columns(&["", "CLUSTER", "OBJECT", "ACTION", "WHY"], &rows));
        more(&mut text, self.steps.len());
        if !self.steps.is_empty() {
            text.push('\n');
        }
        for problem in self.problems.iter().take(SHOWN) {
            let word = output.paint(Style::Bad, "problem");
            let _ = writeln!(text, "{word}  {}: {}", problem.cluster, problem.what);
            let _ = writeln!(text, "  fix    {}", problem.remedy);
        }
        more(&mut text, self.problems.len());
        for failure in self.failed.iter().take(SHOWN) {
            let word = match failure.awaited {
                true => output.paint(Style::Warning, "waits "),
                false => output.paint(Style::Bad, "failed"),
            };
            let (cluster, object) = (&failure.cluster, &failure.object);
            let _ = writeln!(text, "{word}   {cluster}/{object}: {}", failure.error);
        }
        more(&mut text, self.failed.len());
        for (provider, calls) in &self.calls {
            let _ = writeln!(text, "Provider {provider}: {calls}");
        }
        if let Some(rotation) = &self.rotation {
            text.push_str(&rotation.text(output));
        }
        text.push_str(&self.verdict(output));
        text
    }

    /// The line that matters, last.
    fn verdict(&self, output: &Output) -> String {
        let count = |symbol: char| self.steps.iter().filter(|s| s.symbol == symbol).count();
        let (created, changed) = (count('+'), count('~'));
        let blocked = self.problems.len();
        let open = self.failed.len() + self.skipped;
        let words = match self.outcome {
            Outcome::Planned if self.steps.is_empty() && blocked == 0 => {
                return format!(
                    "Nothing to do: {} Secrets are as they should be.\n",
                    self.unchanged
                );
            }
            Outcome::Planned => format!(
                "Plan: {created} to create, {changed} to change, {} unchanged",
                self.unchanged
            ),
            Outcome::Applied if self.steps.is_empty() && blocked + open == 0 => {
                return format!(
                    "Nothing to do: {} Secrets are as they should be.\n",
                    self.unchanged
                );
            }
            Outcome::Applied => format!(
                "{}: {created} created, {changed} changed, {} unchanged",
                match blocked + open {
                    0 => output.paint(Style::Good, "Done"),
                    _ => output.paint(Style::Warning, "Not finished"),
                },
                self.unchanged
            ),
        };
        let mut text = words;
        if blocked > 0 {
            let _ = write!(text, ", {blocked} blocked");
        }
        if open > 0 {
            let _ = write!(text, ", {open} not done (run the same command again)");
        }
        text.push_str(".\n");
        text
    }
}

fn more(text: &mut String, count: usize) {
    if let Some(rest) = count.checked_sub(SHOWN).filter(|rest| *rest > 0) {
        let _ = writeln!(text, "… and {rest} more (all of them with --output json)");
    }
}

impl StepView {
    fn new(step: &Step) -> Self {
        let (symbol, object, action) = match &step.action {
            Action::AdoptRoot {
                number,
                certificate,
                key,
                ..
            } => {
                let key = match key {
                    Some(_) => "with its key",
                    None => "as a trusted anchor, without a key",
                };
                let action = format!("take over {} {key}", certificate.subject());
                ('~', format!("root g{number}"), action)
            }
            Action::AdoptSigner {
                number,
                certificate,
                ..
            } => {
                let action = format!("take over {} with its key", certificate.subject());
                ('~', format!("signer g{number}"), action)
            }
            Action::EstablishRoot {
                number,
                provider,
                key_type,
                ..
            } => {
                let action = format!("make {key_type} in provider {provider}");
                ('+', format!("root g{number}"), action)
            }
            Action::EstablishSigner {
                number,
                root,
                provider,
                key_type,
                ..
            } => {
                let action = format!("make {key_type} in provider {provider} under root g{root}");
                ('+', format!("signer g{number}"), action)
            }
            Action::CertifyRoots { old, new } => {
                let action = format!("certify it with root g{old}, and the other way round");
                ('~', format!("root g{new}"), action)
            }
            Action::Advance(record) => {
                let (number, phase) = (record.number, record.phase);
                let action = match record.trimmed {
                    Some(_) if phase == Phase::Draining => {
                        "present the new root's certificate alone".to_owned()
                    }
                    _ => format!("{} {phase}", record.direction),
                };
                ('~', format!("rotation {number}"), action)
            }
            Action::Transition {
                level,
                number,
                status,
            } => (
                '~',
                format!("{level} g{number}"),
                status.as_str().to_owned(),
            ),
            Action::GiveUp(key) => {
                let (symbol, action) = match key.fate {
                    Fate::Destroyed => ('-', "destroy its private key"),
                    Fate::Disabled => ('~', "disable its private key"),
                    Fate::LeftToOwner => (' ', "leave its private key to its owner"),
                };
                let (level, number) = (key.level, key.number);
                (symbol, format!("{level} g{number}"), action.to_owned())
            }
            Action::RewriteKey(key) => {
                let action = "encrypt its key with the current encryption key";
                ('~', key.to_string(), action.to_owned())
            }
            Action::Restart { workload, .. } => ('~', workload.to_string(), "restart".to_owned()),
            Action::Put(put) => {
                let symbol = if put.precondition.is_none() { '+' } else { '~' };
                let action = match put.content {
                    Content::Issue => "issue a certificate with a new key",
                    Content::Chain => "keep; what leads to the root",
                    Content::Keep => "keep; owner labels and trust bundle",
                    Content::Bundle => "write the trust bundle",
                    Content::Signer => "write the signer and its key",
                    Content::NewToken => "make a token",
                    Content::CopyToken => "copy the token",
                };
                (symbol, put.name.clone(), action.to_owned())
            }
        };
        Self {
            cluster: step.cluster.clone(),
            symbol,
            object,
            action,
            reason: match &step.cause {
                Cause::Missing => "missing".to_owned(),
                cause => cause.to_string(),
            },
        }
    }
}
