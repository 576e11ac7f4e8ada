//! `relay-pki status`.

mod enrolled;
mod text;

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::Certificate;
use serde::Serialize;

use self::enrolled::EnrolledView;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output};
use super::source::Opened;
use crate::config::{ClusterSpec, Relay};
use crate::engine::{Fleet, Goal, LeafSlot, Observed, Provenance, leaves, observe, plan};
use crate::journal::{GenerationRecord, Status};
use crate::relay::{Owner, SecretRole};
use crate::wording::duration;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    api_version: &'static str,
    kind: &'static str,
    relay: String,
    at: Timestamp,
    bundle: Option<String>,
    generations: Vec<GenerationView>,
    certificates: Vec<CertificateView>,
    /// Clusters whose agents enrol, as their agents showed themselves last.
    enrolled: Vec<EnrolledView>,
    unreadable: Vec<UnreadableView>,
    /// Secrets that `bootstrap` would write.
    to_converge: usize,
    /// Certificates that `rotate due` would replace.
    to_renew: usize,
    /// What the document asks of the CAs and what only a rotation changes.
    rotation_due: Vec<String>,
    /// When something ends first if nobody acts.
    earliest_end: Option<Timestamp>,
    incomplete: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationView {
    level: Level,
    number: u32,
    status: Status,
    provider: Option<String>,
    key_type: String,
    subject: Option<String>,
    fingerprint: Option<String>,
    not_after: Option<Timestamp>,
    life_left: Option<f64>,
    renewal_due: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateView {
    cluster: String,
    role: SecretRole,
    secret: String,
    state: String,
    issued_by: Option<u32>,
    not_after: Option<Timestamp>,
    life_left: Option<f64>,
    renewal_due: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnreadableView {
    cluster: String,
    reason: String,
}

pub(super) async fn run(
    arguments: &Arguments,
    opened: &Opened,
    output: &Output,
) -> Result<Exit, CliError> {
    let observed = observe(&opened.fleet).await?;
    let enrolled = enrolled::read(&opened.fleet).await?;
    let mut view = StatusView::new(&opened.fleet, &observed, enrolled);
    view.leave_out(opened);
    output.data(arguments.output, &view, |view| view.table(output))?;
    Ok(match view.incomplete {
        true => Exit::Incomplete,
        false => Exit::Done,
    })
}

impl StatusView {
    fn new(fleet: &Fleet, observed: &Observed, enrolled: Vec<EnrolledView>) -> Self {
        let now = fleet.clock.now();
        let relay = &fleet.relay;
        let journal = &observed.journal;
        let generations: Vec<GenerationView> = journal
            .roots
            .values()
            .chain(journal.signers.values())
            .map(|kept| GenerationView::new(fleet, &kept.record, now))
            .collect();
        let mut certificates = Vec::new();
        for spec in &relay.clusters {
            let Some(Ok(state)) = observed.clusters.get(spec.name.as_str()) else {
                continue;
            };
            let slots = leaves(relay, spec, state);
            certificates.extend(slots.map(|slot| CertificateView::new(relay, spec, &slot, now)));
        }
        certificates.sort_by_key(|leaf| leaf.not_after);
        let converge = Goal::Bootstrap {
            adopt: false,
            prune_keys: false,
        };
        let steps = |goal| plan(relay, &goal, observed, now);
        let (converge, due) = (steps(converge), steps(Goal::Due));
        let ends = generations
            .iter()
            .filter(|generation| generation.status.is_trusted())
            .filter_map(|generation| generation.not_after)
            .chain(certificates.iter().filter_map(|leaf| leaf.not_after))
            .chain(enrolled.iter().filter_map(|leaf| leaf.not_after));
        let unreadable: Vec<UnreadableView> = observed
            .clusters
            .iter()
            .filter_map(|(cluster, state)| {
                Some(UnreadableView {
                    cluster: cluster.clone(),
                    reason: state.as_ref().err()?.to_string(),
                })
            })
            .collect();
        Self {
            api_version: "relay-pki/v1",
            kind: "RelayStatus",
            relay: relay.name.clone(),
            at: now,
            bundle: journal
                .published_roots()
                .ok()
                .map(|bundle| bundle.digest().to_string()),
            earliest_end: ends.min(),
            generations,
            certificates,
            enrolled,
            incomplete: !unreadable.is_empty(),
            unreadable,
            to_converge: converge.steps.len() + converge.problems.len(),
            to_renew: due.steps.len(),
            rotation_due: rotation_due(fleet, observed),
        }
    }
}

impl StatusView {
    /// Adds the clusters whose objects are wrong.
    fn leave_out(&mut self, opened: &Opened) {
        for (cluster, reason) in opened.left_out() {
            self.incomplete = true;
            self.unreadable.push(UnreadableView {
                cluster: cluster.to_owned(),
                reason,
            });
        }
    }
}

impl GenerationView {
    fn new(fleet: &Fleet, record: &GenerationRecord, now: Timestamp) -> Self {
        let certificate = record.certificate.as_ref();
        let validity = certificate.and_then(|certificate| certificate.validity().ok());
        let renewed = record.level == Level::Signer && record.status == Status::Active;
        Self {
            level: record.level,
            number: record.number,
            status: record.status,
            provider: record.provider.clone(),
            key_type: record.key_type.to_string(),
            subject: certificate.map(|certificate| certificate.subject().to_owned()),
            fingerprint: certificate.map(|certificate| certificate.fingerprint().to_string()),
            not_after: certificate.map(Certificate::not_after),
            life_left: validity.map(|validity| validity.fraction_left(now)),
            renewal_due: validity
                .filter(|_| renewed)
                .map(|validity| fleet.relay.signer.due_at(&validity)),
        }
    }
}

impl CertificateView {
    fn new(relay: &Relay, spec: &ClusterSpec, slot: &LeafSlot<'_>, now: Timestamp) -> Self {
        let content = slot.content();
        Self {
            cluster: spec.name.to_string(),
            role: slot.role,
            secret: crate::relay::secret_name(relay, spec, slot.role),
            state: match slot.held.map(|held| (&held.owner, &held.content)) {
                None if !slot.pushed => "made by the relay server".to_owned(),
                None => "missing".to_owned(),
                Some((_, Err(reason))) => format!("unusable: {reason}"),
                Some((owner, Ok(content))) => match &content.provenance {
                    Provenance::Unusable(reason) => format!("unusable: {reason}"),
                    _ if owner != &Owner::Us && slot.pushed => "not managed".to_owned(),
                    Provenance::Foreign { .. } => "ok, by another signer".to_owned(),
                    Provenance::Signer(_) => "ok".to_owned(),
                },
            },
            issued_by: content.and_then(|content| match content.provenance {
                Provenance::Signer(number) => Some(number),
                _ => None,
            }),
            not_after: content.map(|content| content.leaf.not_after()),
            life_left: slot.validity().map(|validity| validity.fraction_left(now)),
            renewal_due: slot.due,
        }
    }
}

/// What the document says about the CAs and what is not so.
fn rotation_due(fleet: &Fleet, observed: &Observed) -> Vec<String> {
    let relay = &fleet.relay;
    let mut lines = Vec::new();
    let specs = [
        (Level::Root, &relay.root.provider, relay.root.key_type),
        (Level::Signer, &relay.signer.provider, relay.signer.key_type),
    ];
    for (level, provider, key_type) in specs {
        let Some(active) = observed.journal.active(level) else {
            continue;
        };
        if active.key_type != key_type {
            let found = active.key_type;
            lines.push(format!("the {level} is {found}, but should be {key_type}"));
        }
        let by_hand = active.provider.is_none() && relay.is_offline(provider);
        if active.provider.as_ref() != Some(provider) && !by_hand {
            let found = active.provider.as_deref().unwrap_or("out of reach");
            lines.push(format!(
                "the {level} is in {found}, but should be in {provider}"
            ));
        }
    }
    let ends = |level| {
        let active: Option<&GenerationRecord> = observed.journal.active(level);
        active.and_then(|record| record.certificate.as_ref().map(Certificate::not_after))
    };
    if let Some(end) = ends(Level::Root) {
        let left = end.duration_since(fleet.clock.now());
        if left < relay.signer.validity.duration() {
            let left = duration(left);
            lines.push(format!(
                "the root ends in {left}, sooner than a new signer would"
            ));
        }
    }
    lines
}
