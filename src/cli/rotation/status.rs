use std::collections::BTreeMap;
use std::fmt::Write as _;

use relay_pki_authority::x509::{Fingerprint, TrustBundle};
use serde::Serialize;

use super::view::RotationView;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, Output, columns};
use crate::cli::run::look;
use crate::cli::source::Opened;
use crate::engine::Goal;
use crate::engine::{Held, Observed, Outlook, Provenance, TlsState, plan};
use crate::journal::{Journal, RotationRecord};
use crate::rotation::{Direction, Phase, Verdict, advance};

/// Most clusters that are shown to a person.
const SHOWN: usize = 20;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    api_version: &'static str,
    kind: &'static str,
    relay: String,
    #[serde(flatten)]
    rotation: RotationView,
    /// The record of the rotation under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RotationRecord>,
    clusters: Vec<ClusterView>,
    /// Rotations that are over, the last one first.
    history: Vec<PastView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterView {
    cluster: String,
    /// The roots in its bundle: `g1+g2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
    /// The signer of its server certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// The signer of its client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// What the rotation waits for in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PastView {
    number: u32,
    level: String,
    outcome: Phase,
    ended: jiff::Timestamp,
}

pub(super) async fn run(
    opened: &Opened,
    format: Format,
    output: &Output,
) -> Result<Exit, CliError> {
    let observed = look(opened).await?;
    let fleet = &opened.fleet;
    let (relay, now) = (&fleet.relay, fleet.clock.now());
    // What would be done now says what is due and how strict it is; the phase is as it is.
    let planned = plan(relay, &Goal::Rotation, &observed, now).rotation;
    let record = observed.journal.rotation().cloned();
    let outlook = Outlook {
        waiting: match record.as_ref().map(|it| advance(relay, &observed, it, now)) {
            Some(Verdict::Stay(waiting)) => waiting,
            _ => Vec::new(),
        },
        rotation: record.clone(),
        ..planned
    };
    let view = StatusView {
        api_version: "relay-pki/v1",
        kind: "Rotation",
        relay: relay.name.clone(),
        rotation: RotationView::standing(fleet, &outlook),
        clusters: clusters(opened, &observed, &outlook),
        history: history(&observed.journal),
        record,
    };
    output.data(format, &view, |view| view.text(output))?;
    Ok(match view.rotation.is_idle() {
        true => Exit::Done,
        false => Exit::Waiting,
    })
}

fn clusters(opened: &Opened, observed: &Observed, outlook: &Outlook) -> Vec<ClusterView> {
    let roots: BTreeMap<Fingerprint, u32> = observed
        .journal
        .roots
        .iter()
        .filter_map(|(number, kept)| {
            Some((kept.record.certificate.as_ref()?.fingerprint(), *number))
        })
        .collect();
    let note = |name: &str| {
        let mut waiting = outlook.waiting.iter();
        let found = waiting.find(|waiting| waiting.cluster.as_deref() == Some(name));
        found.map(|waiting| waiting.what.clone())
    };
    let specs = opened.fleet.relay.clusters.iter();
    specs
        .map(|spec| {
            let name = spec.name.as_str();
            let state = observed.clusters.get(name);
            let state = state.and_then(|state| state.as_ref().ok());
            let trust = state.and_then(|state| state.trust.as_ref()?.content.as_ref().ok());
            ClusterView {
                cluster: name.to_owned(),
                bundle: trust.map(|trust| anchors(&roots, &trust.bundle)),
                server: state.and_then(|state| issuer(&state.server)),
                client: state.and_then(|state| issuer(&state.client)),
                note: note(name),
            }
        })
        .collect()
}

/// The generations in a bundle.
fn anchors(roots: &BTreeMap<Fingerprint, u32>, bundle: &TrustBundle) -> String {
    let mut names: Vec<String> = bundle
        .anchors()
        .iter()
        .map(|anchor| match roots.get(&anchor.fingerprint()) {
            Some(number) => format!("g{number}"),
            None => "other".to_owned(),
        })
        .collect();
    names.sort_unstable();
    names.join("+")
}

fn issuer(slot: &Option<Held<TlsState>>) -> Option<String> {
    let held = slot.as_ref()?;
    Some(match &held.content {
        Ok(content) => match &content.provenance {
            Provenance::Signer(number) => format!("g{number}"),
            Provenance::Foreign { .. } => "other".to_owned(),
            Provenance::Unusable(_) => "unusable".to_owned(),
        },
        Err(_) => "unusable".to_owned(),
    })
}

fn history(journal: &Journal) -> Vec<PastView> {
    let records = journal.rotations.values().rev().map(|kept| &kept.record);
    records
        .filter(|record| record.phase.is_over())
        .map(|record| PastView {
            number: record.number,
            level: record.level.to_string(),
            outcome: record.phase,
            ended: record.since(),
        })
        .collect()
}

impl StatusView {
    fn text(&self, output: &Output) -> String {
        let mut text = String::new();
        if let Some(record) = &self.record {
            let _ = writeln!(
                text,
                "Rotation of the {} of {}, asked for by {} at {}",
                record.level, self.relay, record.requested.by, record.requested.at
            );
            text.push_str(&phases(record));
            text.push('\n');
            let rows: Vec<Vec<String>> = self
                .shown()
                .map(|cluster| {
                    let cell = |cell: &Option<String>| cell.clone().unwrap_or("-".to_owned());
                    vec![
                        cluster.cluster.clone(),
                        cell(&cluster.bundle),
                        cell(&cluster.server),
                        cell(&cluster.client),
                        cluster.note.clone().unwrap_or_default(),
                    ]
                })
                .collect();
            let header = ["CLUSTER", "BUNDLE", "SERVER", "CLIENT", "WAITS FOR"];
            text.push_str(&columns(&header, &rows));
            let rest = self.clusters.len() - rows.len();
            if rest > 0 {
                let _ = writeln!(text, "… and {rest} more (all of them with --output json)");
            }
            text.push('\n');
        } else {
            let _ = writeln!(text, "No rotation of {} is under way.", self.relay);
            if let Some(last) = self.history.first() {
                let _ = writeln!(
                    text,
                    "The last one, {} of the {}, was {} at {}.",
                    last.number, last.level, last.outcome, last.ended
                );
            }
        }
        text.push_str(&self.rotation.text(output));
        text
    }

    /// All of a small fleet; of a large one, those first that are waited for.
    fn shown(&self) -> impl Iterator<Item = &ClusterView> {
        let waits = self.clusters.iter().filter(|it| it.note.is_some());
        let rest = self.clusters.iter().filter(|it| it.note.is_none());
        waits.chain(rest).take(SHOWN)
    }
}

/// The phases across, each with when it was entered.
fn phases(record: &RotationRecord) -> String {
    let entered = |phase: Phase| {
        let entries = record.entered.iter().rev();
        let mut entries = entries.filter(|entry| entry.direction == record.direction);
        let entry = entries.find(|entry| entry.phase == phase)?;
        Some(format!(" {}", entry.at.strftime("%m-%d %H:%M")))
    };
    let order: Vec<Phase> = match record.direction {
        Direction::Forward => Phase::RUNNING.to_vec(),
        Direction::Rollback => Phase::RUNNING.into_iter().rev().collect(),
    };
    let words = order.into_iter().map(|phase| {
        let mark = if phase == record.phase { "> " } else { "" };
        format!("{mark}{phase}{}", entered(phase).unwrap_or_default())
    });
    let line = words.collect::<Vec<_>>().join("   ");
    match record.direction {
        Direction::Forward => format!("{line}\n"),
        Direction::Rollback => format!("rollback: {line}\n"),
    }
}
