//! Planning of the take-over of CAs that exist already.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, Fingerprint};

use super::super::observed::{ClusterState, Held, Observed, Provenance, TlsState};
use super::super::step::{Action, Cause, KeySource, Step};
use super::{Goal, Problem};
use crate::config::Relay;
use crate::journal::Status;
use crate::relay::{Owner, SecretRole, secret_name};

/// What is taken over.
#[derive(Default)]
pub(super) struct Adopted {
    /// The steps.
    pub(super) steps: Vec<Step>,
    /// The root generation that becomes active.
    pub(super) root: Option<AdoptedRoot>,
    /// The signer generation that becomes active.
    pub(super) signer: Option<u32>,
    /// Anchors that join the published bundle.
    pub(super) anchors: Vec<Certificate>,
}

/// A root that is taken over as the active one.
pub(super) struct AdoptedRoot {
    pub(super) number: u32,
    /// Whether its private key is taken over too.
    pub(super) has_key: bool,
}

/// Plans the take-over of every anchor that anybody trusts today, and of the CA keys that are in the
/// management cluster. Every anchor stays trusted: whatever a live agent relies on goes on working.
pub(super) fn steps(
    relay: &Relay,
    goal: &Goal,
    observed: &Observed,
    now: Timestamp,
) -> Result<Adopted, Problem> {
    let mut adopted = Adopted::default();
    let home_name = relay.home().name.to_string();
    let Some(Ok(home)) = observed.clusters.get(&home_name) else {
        return Ok(adopted);
    };
    if !goal.adopts() {
        // Also after a take-over that was interrupted: what it has not come to stays foreign, and to
        // go on without it would make a second CA beside the one that is in use.
        let begins = observed.journal.roots.is_empty() || observed.journal.signers.is_empty();
        return match existing_ca(home) {
            Some(place) if goal.converges() && begins => Err(Problem::new(
                home_name,
                format!("{place} holds a CA that is not managed by relay-pki"),
                "take it over with `relay-pki bootstrap --adopt`, or move it away",
            )),
            _ => Ok(adopted),
        };
    }
    let known: BTreeSet<Fingerprint> = observed
        .journal
        .roots
        .values()
        .filter_map(|kept| kept.record.certificate.as_ref())
        .map(Certificate::fingerprint)
        .collect();
    let anchors = anchors(relay, observed);
    let active = match observed.journal.active(Level::Root) {
        Some(_) => None,
        None => active_root(relay, home, &anchors, now)?,
    };
    let recorded = observed.journal.active(Level::Root);
    let key = active.as_ref().and_then(|root| root_key(relay, home, root));
    let signer = match observed.journal.active(Level::Signer) {
        Some(_) => None,
        None => {
            let above = recorded.and_then(|root| root.certificate.clone());
            let above = active.clone().or(above);
            above.and_then(|root| signer(relay, home, &root, now))
        }
    };
    if let Some(root) = &active
        && key.is_none()
        && signer.is_none()
    {
        return Err(Problem::new(
            home_name,
            format!(
                "neither the key of the root {} nor a usable signer under it is in this cluster",
                root.subject()
            ),
            "put the signer (tls.crt, tls.key, and the root in ca.crt) into the signing Secret, or the \
                     root's tls.key beside its ca.crt, and adopt again",
        ));
    }
    let step = |action| Step {
        cluster: home_name.clone(),
        action,
        cause: Cause::Adopted,
    };
    // The active one first: its number, under which its key is stored, then depends on nothing that
    // may differ when an interrupted take-over is resumed, and there is no moment at which others
    // are recorded and it is not.
    let mut number = observed.journal.next_number(Level::Root);
    let fresh = anchors
        .values()
        .filter(|anchor| !known.contains(&anchor.fingerprint()))
        .filter(|anchor| active.as_ref() != Some(anchor));
    for anchor in active.iter().chain(fresh) {
        let is_active = active.as_ref() == Some(anchor);
        adopted.steps.push(step(Action::AdoptRoot {
            number,
            certificate: anchor.clone(),
            key: key.clone().filter(|_| is_active),
            status: match is_active {
                true => Status::Active,
                false => Status::Retiring,
            },
        }));
        if is_active {
            adopted.root = Some(AdoptedRoot {
                number,
                has_key: key.is_some(),
            });
        }
        adopted.anchors.push(anchor.clone());
        number = number.saturating_add(1);
    }
    let root_number = adopted.root.as_ref().map(|root| root.number);
    let root_number = root_number.or(recorded.map(|root| root.number));
    if let Some((certificate, key)) = signer
        && let Some(root) = root_number
    {
        let number = observed.journal.next_number(Level::Signer);
        adopted.signer = Some(number);
        adopted.steps.push(step(Action::AdoptSigner {
            number,
            root,
            certificate,
            key,
        }));
    }
    Ok(adopted)
}

/// Where a CA lies that we would have to overwrite or ignore.
fn existing_ca(home: &ClusterState) -> Option<&str> {
    let trust = home.trust.as_ref().map(|held| (&held.owner, &held.place));
    let signing = home.signing.as_ref().map(|held| (&held.owner, &held.place));
    let server = home.server.as_ref().map(|held| (&held.owner, &held.place));
    [trust, signing, server]
        .into_iter()
        .flatten()
        .find(|(owner, _)| **owner != Owner::Us)
        .map(|(_, place)| place.as_str())
}

/// Every anchor in any Secret that is taken over, by fingerprint. Which one is newest or oldest does
/// not matter: the order only has to be the same each time.
///
/// Only the management clusters are asked. A root that no relay server trusts or leads to serves
/// nobody, and whoever may write into one workload cluster must not get a root into all of them.
fn anchors(relay: &Relay, observed: &Observed) -> BTreeMap<Fingerprint, Certificate> {
    let mut found = BTreeMap::new();
    let mut add = |bundle: &relay_pki_authority::x509::TrustBundle| {
        for anchor in bundle.anchors() {
            found.insert(anchor.fingerprint(), anchor.clone());
        }
    };
    let states = relay
        .management()
        .filter_map(|spec| observed.clusters.get(spec.name.as_str()));
    for state in states.flatten() {
        if let Some(trust) = foreign(&state.trust) {
            add(&trust.bundle);
        }
        for leaf in [&state.server, &state.client, &state.signing] {
            if let Some(leaf) = foreign(leaf) {
                add(&leaf.bundle);
            }
        }
    }
    found
}

fn foreign<T>(slot: &Option<Held<T>>) -> Option<&T> {
    slot.as_ref()
        .filter(|held| held.owner == Owner::Foreign)
        .and_then(|held| held.content.as_ref().ok())
}

/// The root that the relay runs on today: the one above its signer, else the one above its server
/// certificate, else the only one.
fn active_root(
    relay: &Relay,
    home: &ClusterState,
    anchors: &BTreeMap<Fingerprint, Certificate>,
    now: Timestamp,
) -> Result<Option<Certificate>, Problem> {
    let anchor_of = |leaf: &TlsState| match &leaf.provenance {
        Provenance::Foreign { anchor } => anchors.get(anchor),
        _ => None,
    };
    let above_signer = foreign(&home.signing).and_then(anchor_of);
    let above_server = || foreign(&home.server).and_then(anchor_of);
    let with_key = || {
        anchors
            .values()
            .find(|root| root_key(relay, home, root).is_some())
    };
    let only = || {
        (anchors.len() == 1)
            .then(|| anchors.values().next())
            .flatten()
    };
    let root = above_signer
        .or_else(above_server)
        .or_else(with_key)
        .or_else(only);
    let problem = |what: String, remedy: &str| Problem::new(&relay.home().name, what, remedy);
    match root {
        None if anchors.is_empty() => Ok(None),
        None => Err(problem(
            "there are several roots and none is above the signer or the server certificate"
                .to_owned(),
            "leave only the roots in ca.crt that are in use, and adopt again",
        )),
        Some(root) if !root.is_valid_at(now) => Err(problem(
            format!(
                "the root {} is valid from {} to {}, not now",
                root.subject(),
                root.not_before(),
                root.not_after()
            ),
            "peers refuse it already; move the old Secrets away and bootstrap anew",
        )),
        Some(root) => Ok(Some(root.clone())),
    }
}

/// Where the private key of `root` lies, if the provider of roots can take it.
fn root_key(relay: &Relay, home: &ClusterState, root: &Certificate) -> Option<KeySource> {
    let trust = foreign(&home.trust)?;
    (trust.key.as_ref()? == root.public_key()).then(|| KeySource {
        secret: secret_name(relay, relay.home(), SecretRole::Trust),
        provider: relay.root.provider.clone(),
    })
}

/// The signer and where its key lies, if it can go on signing.
fn signer(
    relay: &Relay,
    home: &ClusterState,
    root: &Certificate,
    now: Timestamp,
) -> Option<(Certificate, KeySource)> {
    let signing = foreign(&home.signing)?;
    let usable = signing.leaf.is_ca()
        && signing.leaf.is_valid_at(now)
        && signing.leaf.repeated_subject_attribute().is_none()
        && signing.leaf.is_issued_by(root);
    let key = KeySource {
        secret: secret_name(relay, relay.home(), SecretRole::Signing),
        provider: relay.signer.provider.clone(),
    };
    usable.then(|| (signing.leaf.clone(), key))
}
