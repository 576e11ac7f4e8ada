//! What is told of a relay, from what the engine knows anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{BundleDigest, Validity};

use crate::config::{ClusterSpec, Relay, Role};
use crate::engine::{ClusterState, Goal, LeafSlot, Observed, Provenance, leaves, plan};
use crate::journal::{EnrolmentRecord, GenerationRecord, Journal};
use crate::premortem::{Premortem, premortem};
use crate::relay::{Owner, SecretRole};
use crate::rotation::Phase;

/// When a cluster was read last, and what was there.
#[derive(Debug, Clone)]
pub struct Contact {
    /// When.
    pub at: Timestamp,
    /// What was there.
    pub state: ClusterState,
}

/// The latest contact with each cluster of one relay: what is known of those out of reach.
#[derive(Debug, Clone, Default)]
pub struct Contacts {
    seen: BTreeMap<String, Contact>,
    /// What agents that enrol have shown and said.
    enrolments: Arc<Enrolments>,
}

/// The records of the clusters whose agents enrol, by cluster.
pub type Enrolments = BTreeMap<String, EnrolmentRecord>;

impl Contacts {
    /// Notes what was just read, and forgets clusters that are no longer in the document.
    pub fn note(&mut self, relay: &Relay, observed: &Observed, now: Timestamp) {
        let known: BTreeSet<&str> = relay
            .clusters
            .iter()
            .map(|spec| spec.name.as_str())
            .collect();
        self.seen.retain(|name, _| known.contains(name.as_str()));
        for (name, state) in &observed.clusters {
            if let Ok(state) = state {
                let state = state.clone();
                self.seen.insert(name.clone(), Contact { at: now, state });
            }
        }
    }

    /// Notes the latest contact with a cluster.
    pub fn insert(&mut self, cluster: &str, contact: Contact) {
        self.seen.insert(cluster.to_owned(), contact);
    }

    /// Notes what agents that enrol have shown and said.
    pub fn enrolled(&mut self, enrolments: Arc<Enrolments>) {
        self.enrolments = enrolments;
    }

    /// The latest contact with a cluster.
    pub fn get(&self, cluster: &str) -> Option<&Contact> {
        self.seen.get(cluster)
    }
}

/// What is told of one relay.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayFacts {
    /// Its name.
    pub relay: String,
    /// Roots in the published bundle.
    pub anchors: Option<usize>,
    /// The phase of the rotation under way, if there is one.
    pub rotation: Option<Phase>,
    /// Its clusters.
    pub clusters: Vec<ClusterFacts>,
}

/// What is told of one cluster. `None` is unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFacts {
    /// Its name.
    pub cluster: String,
    /// What it does in the relay.
    pub role: Role,
    /// Whether it is as it should be.
    pub condition: Condition,
    /// Whether it could be read at the last attempt.
    pub reachable: Option<bool>,
    /// When it was read last.
    pub last_contact: Option<Timestamp>,
    /// Whether every bundle in it is the published one.
    pub bundle_current: Option<bool>,
    /// Its certificates, and the relay's CAs in the cluster that holds the records.
    pub certificates: Vec<CertificateFacts>,
    /// When it fails first.
    pub failure: Premortem,
}

/// Whether a cluster is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Everything that the document asks for is there.
    Ready,
    /// Something is missing, wrong or failed, or the cluster was not looked at yet.
    NotReady,
    /// It could not be read.
    Unreachable,
}

impl Condition {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Ready, Self::NotReady, Self::Unreachable];

    /// The word in labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not_ready",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What is told of one certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificateFacts {
    /// `root`, `signer`, `server` or `agent`.
    pub role: &'static str,
    /// The generation of the CA; for a leaf, of the signer that issued it, if that is ours.
    pub generation: Option<u32>,
    /// When it is valid.
    pub validity: Validity,
    /// When it is due to be replaced, if it is by itself.
    pub renewal: Option<Timestamp>,
}

/// Gathers what is told of a relay. `failing` names the clusters in which the last attempt failed.
/// What is not in `observed` counts as not looked at yet; of what could not be read, `contacts` tells
/// what was there before.
pub fn facts(
    relay: &Relay,
    observed: &Observed,
    failing: &BTreeSet<String>,
    contacts: &Contacts,
    now: Timestamp,
) -> RelayFacts {
    let journal = &observed.journal;
    let published = journal.published_roots().ok();
    let digest = published.as_ref().map(|bundle| bundle.digest());
    let states: BTreeMap<&str, &ClusterState> = relay
        .clusters
        .iter()
        .filter_map(|spec| {
            let name = spec.name.as_str();
            let state = match observed.clusters.get(name) {
                Some(Ok(state)) => Some(state),
                _ => contacts.get(name).map(|contact| &contact.state),
            };
            Some((name, state?))
        })
        .collect();
    let unreachable = observed.clusters.iter();
    let unreachable = unreachable.filter(|(_, state)| state.is_err());
    let stuck: BTreeSet<String> = failing
        .iter()
        .chain(unreachable.map(|(name, _)| name))
        .cloned()
        .collect();
    let failures = premortem(relay, journal, &states, &stuck, now);
    let unfinished = unfinished(relay, observed, now);
    let clusters = relay.clusters.iter().map(|spec| {
        let name = spec.name.as_str();
        let reachable = observed.clusters.get(name).map(Result::is_ok);
        let state = states.get(name).copied();
        let mut certificates: Vec<CertificateFacts> = match relay.home().name == spec.name {
            true => authorities(relay, journal),
            false => Vec::new(),
        };
        if let Some(state) = state {
            let slots = leaves(relay, spec, state);
            certificates.extend(slots.filter_map(|slot| leaf(&slot)));
        }
        // What was revoked is of no use, whenever it ends.
        let lives = !spec.is_in_reach() && !journal.is_revoked(name);
        let enrolment = contacts.enrolments.get(name).filter(|_| lives);
        certificates.extend(enrolment.and_then(|record| enrolled(spec, record)));
        ClusterFacts {
            cluster: name.to_owned(),
            role: spec.role,
            condition: match reachable {
                Some(false) => Condition::Unreachable,
                // Nothing is looked at there, so nothing is wrong either.
                None if !spec.is_in_reach() => Condition::Ready,
                Some(true) if !stuck.contains(name) && !unfinished.contains(name) => {
                    Condition::Ready
                }
                _ => Condition::NotReady,
            },
            reachable,
            last_contact: contacts.get(name).map(|contact| contact.at),
            bundle_current: digest.and_then(|digest| match enrolment {
                Some(record) => acknowledged(record, digest),
                None => bundle_current(spec, state?, digest),
            }),
            certificates,
            failure: failures.get(name).copied().unwrap_or_default(),
        }
    });
    RelayFacts {
        relay: relay.name.clone(),
        anchors: published.map(|bundle| bundle.anchors().len()),
        rotation: journal.rotation().map(|rotation| rotation.phase),
        clusters: clusters.collect(),
    }
}

/// Clusters in which something is to be done, or in the way. What is merely due is not.
fn unfinished(relay: &Relay, observed: &Observed, now: Timestamp) -> BTreeSet<String> {
    let goal = Goal::Bootstrap {
        adopt: false,
        prune_keys: false,
    };
    let plan = plan(relay, &goal, observed, now);
    let steps = plan.steps.into_iter().map(|step| step.cluster);
    let problems = plan.problems.into_iter().map(|problem| problem.cluster);
    steps.chain(problems).collect()
}

/// The CAs in use or being made. Earlier ones sign nothing any more.
fn authorities(relay: &Relay, journal: &Journal) -> Vec<CertificateFacts> {
    let levels = [Level::Root, Level::Signer].into_iter();
    let records = levels.flat_map(|level| [journal.active(level), journal.begun(level)]);
    let fact = |record: &GenerationRecord| {
        let validity = record.certificate.as_ref()?.validity().ok()?;
        let active = journal.active(record.level) == Some(record);
        let renewed = record.level == Level::Signer && active;
        Some(CertificateFacts {
            role: match record.level {
                Level::Root => "root",
                Level::Signer => "signer",
            },
            generation: Some(record.number),
            validity,
            renewal: renewed.then(|| relay.signer.due_at(&validity)),
        })
    };
    records.flatten().filter_map(fact).collect()
}

fn leaf(slot: &LeafSlot<'_>) -> Option<CertificateFacts> {
    let ours = slot.held.is_some_and(|held| held.owner == Owner::Us);
    Some(CertificateFacts {
        role: match slot.role {
            SecretRole::Server => "server",
            _ => "agent",
        },
        generation: match slot.content()?.provenance {
            Provenance::Signer(number) => Some(number),
            _ => None,
        },
        validity: slot.validity()?,
        renewal: slot.due.filter(|_| ours),
    })
}

/// The certificate of an agent that enrols, as it was issued. It renews it by itself, where the document
/// says or where it was told to.
fn enrolled(spec: &ClusterSpec, record: &EnrolmentRecord) -> Option<CertificateFacts> {
    let latest = record.latest()?;
    let validity = Validity::new(latest.not_before, latest.not_after).ok()?;
    let agent = spec.agent.as_ref()?;
    Some(CertificateFacts {
        role: "agent",
        generation: Some(latest.signer),
        validity,
        renewal: Some(agent.renewal.due_at(&validity, spec.name.as_str())),
    })
}

/// Whether the bundle that an agent said it holds is the published one.
fn acknowledged(record: &EnrolmentRecord, published: BundleDigest) -> Option<bool> {
    let acknowledged = record.acknowledged.as_ref()?;
    Some(acknowledged.bundle == published.to_string())
}

/// Whether the bundles that relay-pki keeps in a cluster are the published one.
fn bundle_current(
    spec: &ClusterSpec,
    state: &ClusterState,
    published: BundleDigest,
) -> Option<bool> {
    let trust = state.trust.as_ref();
    let trust = trust.and_then(|held| Some(held.content.as_ref().ok()?.digest));
    let server = state
        .server
        .as_ref()
        .filter(|_| spec.role == Role::Management);
    let client = state.client.as_ref().filter(|_| spec.agent.is_some());
    let leaves = [server, client].into_iter().flatten();
    let leaves = leaves.filter_map(|held| Some(held.content.as_ref().ok()?.digest));
    let mut digests = trust.into_iter().chain(leaves).peekable();
    digests.peek()?;
    Some(digests.all(|digest| digest == published))
}
