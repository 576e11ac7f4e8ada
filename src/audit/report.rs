//! The result of an audit, as data.

mod tree;

use jiff::Timestamp;
use relay_pki_authority::x509::PeerRole;
use serde::Serialize;

use super::authorities::Authorities;
use super::code::{self, Severity};
use super::finding::{Finding, NotChecked, Sink};
use super::leaf::Leaf;
use super::profile;

pub use tree::ChainNode;
pub(super) use tree::{TreeLeaf, tree};

/// `apiVersion` of a report.
pub const API_VERSION: &str = "relay-pki/v1";
/// `kind` of a report.
pub const KIND: &str = "AuditReport";

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// [`KIND`].
    pub kind: &'static str,
    /// The relay; `None` for bare PEM files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// The time that everything was judged at.
    pub audited_at: Timestamp,
    /// How much was looked at.
    pub counts: Counts,
    /// The certificates by who issued them.
    pub chain: Vec<ChainNode>,
    /// What is wrong, worst first, then by cluster.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub not_checked: Vec<NotChecked>,
    /// Whether there is anything that could not be looked at. Then the absence of findings means
    /// nothing.
    pub incomplete: bool,
    /// What stops working first if nobody acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest_failure: Option<EarliestFailure>,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Clusters that could be read; files, for bare PEM files.
    pub clusters: usize,
    /// Objects in them; PEM sections in files.
    pub objects: usize,
    /// Checks that were made on them.
    pub checks: usize,
    /// Findings that are errors.
    pub errors: usize,
    /// Findings that are warnings.
    pub warnings: usize,
    /// Findings that are neither.
    pub infos: usize,
}

/// The certificate in use that ends first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EarliestFailure {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub what: String,
    /// Where; empty for bare PEM files.
    pub cluster: String,
}

impl Report {
    pub(super) fn new(
        relay: Option<String>,
        audited_at: Timestamp,
        (clusters, objects): (usize, usize),
        sink: Sink,
        chain: Vec<ChainNode>,
        earliest_failure: Option<EarliestFailure>,
    ) -> Self {
        let Sink {
            mut findings,
            not_checked,
            checks,
        } = sink;
        let order = |finding: &Finding| {
            let Finding {
                severity,
                cluster,
                code,
                object,
                ..
            } = finding.clone();
            (severity, cluster, code, object)
        };
        findings.sort_by_cached_key(order);
        let count = |severity| {
            let found = findings
                .iter()
                .filter(|finding| finding.severity == severity);
            found.count()
        };
        Self {
            api_version: API_VERSION,
            kind: KIND,
            relay,
            audited_at,
            counts: Counts {
                clusters,
                objects,
                checks,
                errors: count(Severity::Error),
                warnings: count(Severity::Warning),
                infos: count(Severity::Info),
            },
            chain,
            incomplete: !not_checked.is_empty(),
            findings,
            not_checked,
            earliest_failure,
        }
    }

    /// Notes a cluster that is not in the audit, because what is written about it is wrong.
    pub fn leave_out(&mut self, cluster: &str, reason: String) {
        self.incomplete = true;
        let left_out = NotChecked::new(code::R0405, cluster, reason);
        self.not_checked.push(left_out);
    }

    /// The worst that was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).min()
    }
}

/// The certificate in use that ends first, leaf or CA.
pub(super) fn earliest_failure(
    leaves: &[Leaf<'_>],
    authorities: &Authorities,
) -> Option<EarliestFailure> {
    let leaves = leaves.iter().map(|leaf| EarliestFailure {
        at: leaf.certificate().not_after(),
        what: match leaf.role {
            PeerRole::Server => "server certificate".to_owned(),
            PeerRole::Client => "agent certificate".to_owned(),
        },
        cluster: leaf.facts.name().to_owned(),
    });
    let cas = authorities
        .iter()
        .map(|(_, authority)| authority)
        .filter(|authority| authority.used || authority.signing)
        .filter(|authority| profile::matters(authority))
        .map(|authority| EarliestFailure {
            at: authority.certificate.not_after(),
            what: authority.name(),
            cluster: authority.cluster.clone(),
        });
    // Of equally early ones the CA: the leaves go with it.
    cas.chain(leaves).min_by_key(|failure| failure.at)
}
