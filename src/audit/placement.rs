//! R01: private keys where they do not belong.

use relay_pki_authority::x509::PublicKey;

use super::authorities::Authorities;
use super::code;
use super::finding::{Place, Sink};
use super::inventory::{About, ClusterFacts, Inventory, Part};
use crate::config::Role;
use crate::relay::SecretRole;

/// Every Secret of every cluster.
pub(super) fn check(sink: &mut Sink, inventory: &Inventory, authorities: &Authorities, home: &str) {
    for facts in &inventory.clusters {
        trust(sink, facts, authorities);
        for (role, secret) in facts.tls() {
            let about = &secret.about;
            let key = &secret.content.key;
            exposed(sink, facts, about, !key.is_absent());
            match role {
                SecretRole::Signing => misplaced_signer(sink, facts, about, key, authorities),
                _ => {
                    let clean = used_by_leaf(sink, facts, about, key, authorities);
                    let workload = facts.spec.role == Role::Workload;
                    let server = workload && role == SecretRole::Server && !key.is_absent();
                    sink.ensure(code::R0109, place(facts, about), !(clean && server), || {
                        format!("{} holds a relay server's private key", about.name)
                    });
                }
            }
        }
        for (_, secret) in facts.tokens() {
            exposed(sink, facts, &secret.about, !secret.content.is_absent());
        }
        for secret in &facts.keys {
            exposed(sink, facts, &secret.about, true);
            if facts.name() != home {
                stray(sink, facts, &secret.about, &secret.content.key, authorities);
            }
        }
    }
}

fn trust(sink: &mut Sink, facts: &ClusterFacts, authorities: &Authorities) {
    let Some(secret) = &facts.trust else {
        return;
    };
    let about = &secret.about;
    let key = &secret.content.key;
    exposed(sink, facts, about, !key.is_absent());
    let place = place(facts, about);
    let owner = owner(key, authorities);
    let name = &about.name;
    if facts.spec.role == Role::Management {
        sink.check(
            code::R0104,
            place,
            owner.map(|ca| {
                (
                    format!("{name} holds the private key of {ca}"),
                    String::new(),
                )
            }),
        );
        return;
    }
    let clean = sink.check(
        code::R0103,
        place,
        owner.map(|ca| {
            (
                format!("{name} holds the private key of {ca}"),
                String::new(),
            )
        }),
    );
    sink.ensure(code::R0102, place, key.is_absent() || !clean, || {
        format!("{name} holds a private key")
    });
}

fn misplaced_signer(
    sink: &mut Sink,
    facts: &ClusterFacts,
    about: &About,
    key: &Part<PublicKey>,
    authorities: &Authorities,
) {
    let workload = facts.spec.role == Role::Workload;
    sink.check(
        code::R0101,
        place(facts, about),
        workload.then(|| {
            let what = format!("{} lies in a workload cluster", about.name);
            let evidence = match (owner(key, authorities), key.is_absent()) {
                (Some(ca), _) => format!("with the private key of {ca}"),
                (None, true) => "without a private key".to_owned(),
                (None, false) => "with a private key".to_owned(),
            };
            (what, evidence)
        }),
    );
}

/// A CA's key in a Secret that terminates TLS. In a workload cluster it also is where no CA key may
/// be, which is the worse of the two.
fn used_by_leaf(
    sink: &mut Sink,
    facts: &ClusterFacts,
    about: &About,
    key: &Part<PublicKey>,
    authorities: &Authorities,
) -> bool {
    let code = match facts.spec.role {
        Role::Management => code::R0106,
        Role::Workload => code::R0103,
    };
    sink.check(
        code,
        place(facts, about),
        owner(key, authorities).map(|ca| {
            (
                format!("{} holds the private key of {ca}", about.name),
                String::new(),
            )
        }),
    )
}

/// A key of relay-pki outside the cluster with the records.
fn stray(
    sink: &mut Sink,
    facts: &ClusterFacts,
    about: &About,
    key: &Part<PublicKey>,
    authorities: &Authorities,
) {
    let owner = owner(key, authorities).filter(|_| facts.spec.role == Role::Workload);
    let name = &about.name;
    let clean = sink.check(
        code::R0103,
        place(facts, about),
        owner.map(|ca| {
            (
                format!("{name} holds the private key of {ca}"),
                String::new(),
            )
        }),
    );
    sink.ensure(code::R0108, place(facts, about), !clean, || {
        format!("{name} holds a private key and belongs to no record")
    });
}

fn exposed(sink: &mut Sink, facts: &ClusterFacts, about: &About, secret: bool) {
    sink.ensure(
        code::R0105,
        place(facts, about),
        !(about.exposed && secret),
        || format!("other users of this machine can read {}", about.name),
    );
}

fn owner<'a>(key: &Part<PublicKey>, authorities: &'a Authorities) -> Option<&'a str> {
    authorities.owner_of_key(key.here()?)
}

fn place<'a>(facts: &'a ClusterFacts, about: &'a About) -> Place<'a> {
    Place::new(facts.name(), &about.place)
}
