//! Which issuance records are done with.

use std::collections::{BTreeMap, BTreeSet};

use relay_pki_authority::Level;
use relay_pki_authority::x509::PublicKey;

use super::super::observed::{ClusterState, Held, Observed, TlsState};
use super::super::step::{Action, Content, Step};
use crate::config::Relay;
use crate::journal::{IssuanceRecord, issuance_name};
use crate::relay::SecretRole;

/// What an issuance was for.
type Subject<'a> = (SecretRole, &'a str);

/// Issuances whose certificate lies where it belongs, or that nobody waits for. They are left over
/// from a run that was killed between delivering and tidying up; gone on with, they would deliver an
/// old certificate a second time.
pub(super) fn settled(relay: &Relay, observed: &Observed, steps: &[Step]) -> Vec<String> {
    let journal = &observed.journal;
    if journal.issuances.is_empty() {
        return Vec::new();
    }
    let leaf = |role, cluster: &str| issuance_name(&relay.name, &subject_of_leaf(role, cluster));
    let roles = [SecretRole::Server, SecretRole::Client];
    let subjects: BTreeMap<String, Subject<'_>> = relay
        .clusters
        .iter()
        .flat_map(|spec| roles.map(|role| (role, spec.name.as_str())))
        .map(|(role, cluster)| (leaf(role, cluster), (role, cluster)))
        .collect();
    let issued: BTreeSet<Subject<'_>> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Put(put) if put.content == Content::Issue => {
                Some((put.role, step.cluster.as_str()))
            }
            _ => None,
        })
        .collect();
    // A CA that has its certificates, or was given up for a later one.
    let name = |subject: String| issuance_name(&relay.name, &subject);
    let mut signers: BTreeMap<String, bool> = BTreeMap::new();
    for level in [Level::Signer, Level::Root] {
        let latest = journal.level(level).last_key_value();
        let latest = latest.map(|(number, _)| *number);
        for (number, kept) in journal.level(level) {
            let (record, given_up) = (&kept.record, Some(*number) < latest);
            let cross = name(subject_of_cross(level, *number));
            signers.insert(cross, record.cross.is_some() || given_up);
            let (other, there) = match level {
                Level::Signer => (subject_of_signer(*number), record.certificate.is_some()),
                Level::Root => (
                    subject_of_predecessor(*number),
                    record.predecessor.is_some(),
                ),
            };
            signers.insert(name(other), there || given_up);
        }
    }
    let done =
        |name: &String, record: &IssuanceRecord| match (subjects.get(name), signers.get(name)) {
            (Some((role, cluster)), _) => {
                let state = observed.clusters.get(*cluster);
                let delivered = |state| delivered(state, *role, record.csr.public_key());
                !issued.contains(&(*role, *cluster)) && matches!(state, Some(Ok(s)) if delivered(s))
            }
            (None, Some(done)) => *done,
            // Its cluster or its signer is gone.
            (None, None) => true,
        };
    journal
        .issuances
        .iter()
        .filter(|(name, kept)| done(name, &kept.record))
        .map(|(name, _)| name.clone())
        .collect()
}

/// What the issuance of a leaf is called after.
pub(in crate::engine) fn subject_of_leaf(role: SecretRole, cluster: &str) -> String {
    match role {
        SecretRole::Client => format!("agent-{cluster}"),
        _ => format!("server-{cluster}"),
    }
}

/// What the issuance of a signer's certificate is called after.
pub(in crate::engine) fn subject_of_signer(number: u32) -> String {
    format!("signer-g{number}")
}

/// What the issuance of a certificate under the old root is called after.
pub(in crate::engine) fn subject_of_cross(level: Level, number: u32) -> String {
    format!("{level}-g{number}-cross")
}

/// What the issuance of a root's certificate under its successor is called after.
pub(in crate::engine) fn subject_of_predecessor(successor: u32) -> String {
    format!("root-g{successor}-predecessor")
}

fn delivered(state: &ClusterState, role: SecretRole, key: &PublicKey) -> bool {
    let slot: &Option<Held<TlsState>> = match role {
        SecretRole::Client => &state.client,
        _ => &state.server,
    };
    let content = slot.as_ref().and_then(|held| held.content.as_ref().ok());
    content.is_some_and(|found| found.leaf.public_key() == key)
}
