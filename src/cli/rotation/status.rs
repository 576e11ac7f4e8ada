mod text;
mod watch;

use std::collections::BTreeMap;

use jiff::Timestamp;
use relay_pki_authority::x509::{Fingerprint, TrustBundle};
use serde::Serialize;

use self::text::text;
use super::view::RotationView;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, Output};
use crate::cli::run::look;
use crate::cli::source::Opened;
use crate::config::Role;
use crate::engine::Goal;
use crate::engine::{Apply, Held, Observed, Outlook, Provenance, TlsState, plan};
use crate::journal::{Journal, RotationRecord};
use crate::rotation::{Phase, Verdict, Waiting, advance, expected_end};

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    api_version: &'static str,
    kind: &'static str,
    relay: String,
    #[serde(skip)]
    now: Timestamp,
    #[serde(flatten)]
    rotation: RotationView,
    /// The record of the rotation under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RotationRecord>,
    clusters: Vec<ClusterView>,
    /// Rotations that are over, the last one first.
    history: Vec<PastView>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterView {
    cluster: String,
    #[serde(skip)]
    role: Role,
    /// Whether it could not be looked at.
    missing: bool,
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
    /// When that is over by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PastView {
    number: u32,
    level: String,
    outcome: Phase,
    ended: Timestamp,
}

/// Arguments of `rotation status`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Go on looking until the rotation is over: redrawn on a terminal, a line for each change elsewhere
    #[arg(short, long, conflicts_with = "output")]
    watch: bool,
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    if arguments.watch {
        return watch::run(opened, output).await;
    }
    let view = StatusView::of(opened).await?;
    output.data(arguments.output, &view, |view| text(view, output))?;
    Ok(view.exit())
}

impl StatusView {
    /// How the rotation stands now.
    async fn of(opened: &Opened) -> Result<Self, CliError> {
        let observed = look(opened).await?;
        let fleet = &opened.fleet;
        let (relay, now) = (&fleet.relay, fleet.clock.now());
        // What would be done now says what is due and how strict it is; the phase is as it is.
        let planned = plan(relay, &Goal::Rotation, &observed, now).rotation;
        let record = observed.journal.rotation().cloned();
        let mut waiting = match record.as_ref().map(|it| advance(relay, &observed, it, now)) {
            Some(Verdict::Stay(waiting)) => waiting,
            _ => Vec::new(),
        };
        if let Some(record) = &record
            && let Some(refusal) = Apply::new(fleet, &observed).unobtainable(record).await
        {
            let what = format!("{refusal}; `relay-pki rotation rollback` ends it");
            let unobtainable = Waiting {
                cluster: None,
                what,
                until: None,
                missing: false,
            };
            waiting.insert(0, unobtainable);
        }
        let outlook = Outlook {
            waiting,
            expected_end: record
                .as_ref()
                .and_then(|record| expected_end(relay, &observed, record, now)),
            rotation: record.clone(),
            ..planned
        };
        Ok(Self {
            api_version: "relay-pki/v1",
            kind: "Rotation",
            relay: relay.name.clone(),
            now,
            rotation: RotationView::standing(&outlook),
            clusters: clusters(opened, &observed, &outlook),
            history: history(&observed.journal),
            record,
        })
    }

    fn exit(&self) -> Exit {
        match self.rotation.is_idle() {
            true => Exit::Done,
            false => Exit::Waiting,
        }
    }
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
    let waiting = outlook.waiting.iter();
    let waiting: BTreeMap<&str, &Waiting> = waiting
        .filter_map(|waiting| Some((waiting.cluster.as_deref()?, waiting)))
        .collect();
    let specs = opened.fleet.relay.clusters.iter();
    specs
        .map(|spec| {
            let name = spec.name.as_str();
            let state = observed.clusters.get(name);
            let state = state.and_then(|state| state.as_ref().ok());
            let trust = state.and_then(|state| state.trust.as_ref()?.content.as_ref().ok());
            let shut = waiting.get(name);
            ClusterView {
                cluster: name.to_owned(),
                role: spec.role,
                missing: shut.is_some_and(|waiting| waiting.missing),
                bundle: trust.map(|trust| anchors(&roots, &trust.bundle)),
                server: state.and_then(|state| issuer(&state.server)),
                client: state.and_then(|state| issuer(&state.client)),
                note: shut.map(|waiting| waiting.what.clone()),
                until: shut.and_then(|waiting| waiting.until),
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
