//! What a registration came to, as a result.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::output::{Output, Style, columns};
use crate::registration::{Change, Check, Registration, Step};

/// Which of the verbs it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Kind {
    Registration,
    Removal,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    api_version: &'static str,
    kind: Kind,
    cluster: String,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    steps: Vec<StepView>,
    checks: Vec<CheckView>,
    proved: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepView {
    cluster: String,
    object: String,
    change: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckView {
    what: String,
    passed: bool,
    found: String,
}

impl View {
    pub(super) fn new(kind: Kind, cluster: &str, dry_run: bool, steps: &[Step]) -> Self {
        Self {
            api_version: "relay-pki/v1",
            kind,
            cluster: cluster.to_owned(),
            dry_run,
            relay: None,
            server: None,
            steps: steps.iter().map(StepView::new).collect(),
            checks: Vec::new(),
            proved: false,
        }
    }

    pub(super) fn registered(mut self, done: &Registration) -> Self {
        self.relay = Some(done.relay.clone());
        self.server = Some(done.server.clone());
        self.checks = done.checks.iter().map(CheckView::new).collect();
        self.proved = done.is_proved() && !self.dry_run;
        self
    }

    pub(super) fn table(&self, output: &Output) -> String {
        let rows: Vec<Vec<String>> = self
            .steps
            .iter()
            .map(|step| {
                let change = step.change.to_owned();
                vec![step.cluster.clone(), step.object.clone(), change]
            })
            .collect();
        let mut text = columns(&["CLUSTER", "OBJECT", "CHANGE"], &rows);
        if !rows.is_empty() {
            text.push('\n');
        }
        for check in &self.checks {
            let word = match check.passed {
                true => output.paint(Style::Good, "ok    "),
                false => output.paint(Style::Bad, "failed"),
            };
            let _ = writeln!(text, "{word}  {}: {}", check.what, check.found);
        }
        text.push_str(&self.verdict(output));
        text
    }

    /// The line that matters, last.
    fn verdict(&self, output: &Output) -> String {
        let changes = self.steps.iter().filter(|step| step.change != "unchanged");
        let name = &self.cluster;
        match (self.kind, self.dry_run, changes.count()) {
            (Kind::Removal, _, 0) => format!("Nothing to do: {name} is not registered.\n"),
            (_, true, count) => format!("Plan: {count} changes for {name}. Nothing was written.\n"),
            (Kind::Removal, false, _) => format!(
                "{}: {name} is no cluster of the relay any more; its relay Secrets stay.\n",
                output.paint(Style::Good, "Done")
            ),
            (Kind::Registration, false, _) if !self.proved => format!(
                "{}: {name} has credentials that are not proved.\n",
                output.paint(Style::Warning, "Not finished")
            ),
            (Kind::Registration, false, 0) => {
                format!("Nothing to do: {name} is registered, and its credentials work.\n")
            }
            (Kind::Registration, false, _) => format!(
                "{}: {name} is registered, and its credentials work.\n",
                output.paint(Style::Good, "Done")
            ),
        }
    }
}

impl StepView {
    fn new(step: &Step) -> Self {
        Self {
            cluster: step.cluster.clone(),
            object: step.object.clone(),
            change: match step.change {
                Change::Create => "create",
                Change::Change => "change",
                Change::Keep => "unchanged",
                Change::Delete => "delete",
            },
        }
    }
}

impl CheckView {
    fn new(check: &Check) -> Self {
        Self {
            what: check.what.clone(),
            passed: check.passed,
            found: check.found.clone(),
        }
    }
}
