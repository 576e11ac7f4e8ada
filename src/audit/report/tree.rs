//! Who issued what, as a tree.

use std::collections::HashMap;

use jiff::Timestamp;
use relay_pki_authority::x509::Certificate;
use serde::Serialize;

use super::super::authorities::{Authorities, Authority};
use super::super::code::{Code, Severity};
use super::super::finding::{Finding, Place};
use super::super::profile;

/// A certificate in the tree of issuers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainNode {
    /// `root g1`, `server (mgmt)`, `agent cluster-1`.
    pub name: String,
    /// The subject.
    pub subject: String,
    /// The cluster that it was seen in first; empty for bare PEM files.
    pub cluster: String,
    /// Algorithm and size of the key.
    pub key: String,
    /// The issuer: `self`, the name of the node above, or a subject that was not found.
    pub issued_by: String,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// End of the validity period.
    pub not_after: Timestamp,
    /// Share of the lifetime that is left, 0 to 1; `None` if the period is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_left: Option<f64>,
    /// The worst finding on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Worst>,
    /// What it issued.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issued: Vec<ChainNode>,
}

/// The worst finding on a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Worst {
    /// How bad it is.
    pub severity: Severity,
    /// Its code.
    pub code: Code,
}

/// A leaf to be hung into the tree.
pub(in crate::audit) struct TreeLeaf<'a> {
    pub(in crate::audit) name: String,
    pub(in crate::audit) place: Place<'a>,
    pub(in crate::audit) certificate: &'a Certificate,
    pub(in crate::audit) issuer: Option<usize>,
}

/// The tree: CAs that anything depends on, and every leaf; what ends first comes first.
pub(in crate::audit) fn tree<'a>(
    leaves: impl Iterator<Item = TreeLeaf<'a>>,
    authorities: &Authorities,
    findings: &[Finding],
    now: Timestamp,
) -> Vec<ChainNode> {
    let worst = worst(findings);
    let on = |place: Place<'_>, name: &str| {
        let found = worst.get(&(place.cluster, place.object))?;
        // Several CAs can be in one place: theirs are told by the name in the message.
        let found = found.iter().filter(|(what, _)| what.contains(name));
        found.map(|(_, worst)| *worst).min()
    };
    let mut below: HashMap<Option<usize>, Vec<ChainNode>> = HashMap::new();
    for leaf in leaves {
        let issuer = leaf.issuer.and_then(|index| authorities.get(index));
        let finding = on(leaf.place, "");
        let cluster = leaf.place.cluster;
        let node = node(leaf.name, cluster, leaf.certificate, issuer, finding, now);
        below.entry(leaf.issuer).or_default().push(node);
    }
    let mut order: Vec<(usize, usize)> = authorities
        .iter()
        .filter(|(_, authority)| profile::matters(authority))
        .map(|(index, _)| (authorities.way_up(Some(index)).count(), index))
        .collect();
    // Deepest first, so that every node is complete before it is hung under its issuer.
    order.sort_by(|one, other| other.cmp(one));
    for (_, index) in order {
        let Some(authority) = authorities.get(index) else {
            continue;
        };
        let above = authority.issuer.and_then(|index| authorities.get(index));
        let parent = authority
            .issuer
            .filter(|_| above.is_some_and(profile::matters));
        let finding = on(authority.place(), &authority.name());
        let (name, cluster) = (short(authority), &authority.cluster);
        let mut node = node(name, cluster, &authority.certificate, above, finding, now);
        node.issued = sorted(below.remove(&Some(index)).unwrap_or_default());
        below.entry(parent).or_default().push(node);
    }
    sorted(below.into_values().flatten().collect())
}

fn worst(findings: &[Finding]) -> HashMap<(&str, &str), Vec<(&str, Worst)>> {
    let mut found: HashMap<(&str, &str), Vec<(&str, Worst)>> = HashMap::new();
    for finding in findings {
        let place = (finding.cluster.as_str(), finding.object.as_str());
        let worst = Worst {
            severity: finding.severity,
            code: finding.code,
        };
        found.entry(place).or_default().push((&finding.what, worst));
    }
    found
}

fn short(authority: &Authority) -> String {
    match (authority.generation, authority.is_root()) {
        (Some((level, number)), _) => format!("{level} g{number}"),
        (None, true) => format!("root {}", authority.certificate.subject()),
        (None, false) => format!("CA {}", authority.certificate.subject()),
    }
}

fn node(
    name: String,
    cluster: &str,
    certificate: &Certificate,
    issuer: Option<&Authority>,
    finding: Option<Worst>,
    now: Timestamp,
) -> ChainNode {
    let own = certificate.raw_subject() == certificate.raw_issuer();
    ChainNode {
        name,
        subject: certificate.subject().to_owned(),
        cluster: cluster.to_owned(),
        key: certificate.public_key().describe(),
        issued_by: match issuer {
            Some(issuer) => short(issuer),
            None if own => "self".to_owned(),
            None => format!("{} (not found)", certificate.issuer()),
        },
        fingerprint: certificate.fingerprint().to_string(),
        not_after: certificate.not_after(),
        life_left: certificate
            .validity()
            .ok()
            .map(|validity| validity.fraction_left(now)),
        finding,
        issued: Vec::new(),
    }
}

/// CAs first, then what ends first.
fn sorted(mut nodes: Vec<ChainNode>) -> Vec<ChainNode> {
    nodes.sort_by(|one, other| {
        let key = |node: &ChainNode| (node.issued.is_empty(), node.not_after);
        key(one)
            .cmp(&key(other))
            .then_with(|| one.name.cmp(&other.name))
    });
    nodes
}
