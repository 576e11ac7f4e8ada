//! R08: whose is it, is it there, and is it what was written down?

use std::collections::{HashMap, HashSet};

use relay_pki_authority::Level;
use relay_pki_authority::x509::{BundleDigest, Certificate, TrustBundle};

use super::code;
use super::finding::{Place, Sink};
use super::inventory::{About, Bundle, ClusterFacts, Inventory, Part};
use crate::config::{Delivery, Relay, Role};
use crate::relay::{self, Owner, SecretRole};

/// Types of Secret that the API server wants other entries in than ours have.
const OTHER_TYPES: [&str; 6] = [
    "kubernetes.io/service-account-token",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "bootstrap.kubernetes.io/token",
];

/// Every Secret of every cluster.
pub(super) fn check(sink: &mut Sink, relay: &Relay, inventory: &Inventory) {
    let server_signed = |facts: &ClusterFacts| {
        let agent = facts.spec.agent.as_ref();
        agent.is_some_and(|agent| agent.delivery == Delivery::ServerSigned)
    };
    for facts in &inventory.clusters {
        for (role, about) in secrets(facts) {
            let place = place(facts, about);
            // Written by the agent: it cannot be ours.
            if !(role == SecretRole::Client && server_signed(facts)) {
                owner(sink, place, about);
            }
            secret_type(sink, place, role, about);
        }
        present(sink, relay, facts);
    }
    bundles(sink, relay, inventory);
    signers(sink, relay, inventory);
}

/// The six Secrets, as far as they are there.
fn secrets(facts: &ClusterFacts) -> Vec<(SecretRole, &About)> {
    let trust = facts
        .trust
        .iter()
        .map(|secret| (SecretRole::Trust, &secret.about));
    let tls = facts.tls().map(|(role, secret)| (role, &secret.about));
    let tokens = facts.tokens().map(|(role, secret)| (role, &secret.about));
    trust.chain(tls).chain(tokens).collect()
}

fn owner(sink: &mut Sink, place: Place<'_>, about: &About) {
    let name = &about.name;
    let other = match &about.owner {
        Owner::OtherRelay(other) => Some(format!("{name} belongs to the relay {other}")),
        _ => None,
    };
    sink.check(code::R0802, place, other.map(|what| (what, String::new())));
    sink.ensure(code::R0801, place, about.owner != Owner::Foreign, || {
        format!("{name} is not managed by relay-pki")
    });
}

fn secret_type(sink: &mut Sink, place: Place<'_>, role: SecretRole, about: &About) {
    let found = about.secret_type.as_deref().unwrap_or("Opaque");
    // In the others a missing certificate or key is R0204's.
    let has_none = matches!(
        role,
        SecretRole::Trust | SecretRole::IdentityToken | SecretRole::ForwardingToken
    );
    let misfit = OTHER_TYPES.contains(&found)
        || (has_none && found == "kubernetes.io/tls" && !about.has_pair);
    sink.check(
        code::R0723,
        place,
        misfit.then(|| {
            let what = format!("the type of {} does not fit what is in it", about.name);
            (what, format!("it is {found}"))
        }),
    );
}

fn present(sink: &mut Sink, relay: &Relay, facts: &ClusterFacts) {
    let found: HashSet<SecretRole> = secrets(facts).into_iter().map(|(role, _)| role).collect();
    let server_signs = relay
        .agents()
        .any(|(_, agent)| agent.delivery == Delivery::ServerSigned);
    for (role, name) in relay::secret_names(relay, &facts.spec) {
        let agent = facts.spec.agent.as_ref();
        let code = match (role, agent.map(|agent| agent.delivery)) {
            (SecretRole::Signing, _) if !server_signs => continue,
            (SecretRole::ForwardingToken, _) if !relay.tokens.forwarding => continue,
            (SecretRole::Client, Some(Delivery::ServerSigned)) => code::R0804,
            _ => code::R0803,
        };
        let object = format!("Secret {name}");
        let place = Place::new(facts.name(), &object);
        sink.ensure(code, place, found.contains(&role), || {
            format!("{name} ({role}) is not there")
        });
    }
}

/// Every bundle against the published roots; without records, against the home cluster's.
fn bundles(sink: &mut Sink, relay: &Relay, inventory: &Inventory) {
    let journal = inventory.journal.as_ref();
    match journal.and_then(|journal| journal.published_roots().ok()) {
        Some(published) => drift(sink, inventory, &published),
        None => differences(sink, relay, inventory),
    }
}

fn drift(sink: &mut Sink, inventory: &Inventory, published: &TrustBundle) {
    let mut known: HashMap<BundleDigest, (Vec<String>, Vec<String>)> = HashMap::new();
    let subjects = |from: &TrustBundle, without: &TrustBundle| -> Vec<String> {
        let anchors = from.anchors().iter();
        anchors
            .filter(|anchor| !without.contains(anchor))
            .map(|anchor| format!("{} ({})", anchor.subject(), anchor.fingerprint().short()))
            .collect()
    };
    for facts in &inventory.clusters {
        for (_, about, bundle) in facts.bundles() {
            if about.owner != Owner::Us {
                continue;
            }
            let (lacking, extra) = known.entry(bundle.digest).or_insert_with(|| {
                let found = &bundle.anchors;
                (subjects(published, found), subjects(found, published))
            });
            let place = place(facts, about);
            let name = &about.name;
            sink.check(
                code::R0805,
                place,
                (!lacking.is_empty()).then(|| {
                    (
                        format!("ca.crt in {name} lacks a published root"),
                        lacking.join(", "),
                    )
                }),
            );
            sink.check(
                code::R0806,
                place,
                (!extra.is_empty()).then(|| {
                    let what = format!("ca.crt in {name} holds an anchor that is not published");
                    (what, extra.join(", "))
                }),
            );
        }
    }
}

fn differences(sink: &mut Sink, relay: &Relay, inventory: &Inventory) {
    let home = relay.home().name.as_str();
    let all = || {
        let clusters = inventory.clusters.iter();
        clusters.flat_map(|facts| {
            facts
                .bundles()
                .map(move |(_, about, bundle)| (facts, about, bundle))
        })
    };
    let reference = all()
        .find(|(facts, ..)| facts.name() == home)
        .or_else(|| all().next());
    let Some((from, source, wanted)): Option<(&ClusterFacts, &About, &Bundle)> = reference else {
        return;
    };
    for (facts, about, bundle) in all() {
        sink.check(
            code::R0807,
            place(facts, about),
            (bundle.digest != wanted.digest).then(|| {
                let what = format!("ca.crt in {} is not the management cluster's", about.name);
                (
                    what,
                    format!("compared with {} in {}", source.name, from.name()),
                )
            }),
        );
    }
}

/// Management clusters hold one signer: the active one.
fn signers(sink: &mut Sink, relay: &Relay, inventory: &Inventory) {
    let active = inventory
        .journal
        .as_ref()
        .and_then(|journal| journal.active(Level::Signer)?.certificate.clone());
    let held: Vec<(&ClusterFacts, &About, &Certificate)> = inventory
        .clusters
        .iter()
        .filter(|facts| facts.spec.role == Role::Management)
        .filter_map(|facts| {
            let secret = facts.signing.as_ref()?;
            let chain = Part::here(&secret.content.chain)?;
            // What is no CA at all is R0205's.
            chain
                .leaf
                .is_ca()
                .then_some((facts, &secret.about, &chain.leaf))
        })
        .collect();
    let home = relay.home().name.as_str();
    let first = held
        .iter()
        .find(|(facts, ..)| facts.name() == home)
        .or(held.first());
    let Some(wanted) = active.as_ref().or(first.map(|(.., signer)| *signer)) else {
        return;
    };
    // If none holds the active one, they are in step with each other.
    let common = held.iter().any(|(.., signer)| same_ca(signer, wanted));
    for (facts, about, signer) in &held {
        let (code, what) = match common {
            true => (code::R0808, "is not that of the other management clusters"),
            false => (code::R0809, "is not the active one"),
        };
        sink.check(
            code,
            place(facts, about),
            (!same_ca(signer, wanted)).then(|| {
                let what = format!("the signer in {} {what}", about.name);
                (
                    what,
                    format!("{} instead of {}", signer.subject(), wanted.subject()),
                )
            }),
        );
    }
}

/// In a rotation of the root a signer has two certificates, one under each root.
fn same_ca(one: &Certificate, other: &Certificate) -> bool {
    one.raw_subject() == other.raw_subject() && one.public_key() == other.public_key()
}

fn place<'a>(facts: &'a ClusterFacts, about: &'a About) -> Place<'a> {
    Place::new(facts.name(), &about.place)
}
