//! Taking over a relay whose Secrets have the defects of the vendor's examples.

use crate::support::certificate::{belong_together, leaf};
use crate::support::fleet::{CLIENT, Fleet, IDENTITY, ROOT, SERVER, SIGNING, clusters};
use crate::support::handmade::{Family, KeyForm, Recipe, TOKEN};
use crate::support::handshake::{openssl_to_rustls, rustls_to_openssl, rustls_to_rustls};
use crate::support::verifiers::{Naming, assert_accepted, questions};

const WORKLOADS: [&str; 2] = ["c1", "c2"];

/// A fleet with a family's Secrets, after `spoil`.
pub(crate) fn spoiled(recipe: Recipe, spoil: impl FnOnce(&Fleet, &Family)) -> (Fleet, Family) {
    let fleet = Fleet::new(&format!(
        "  tokens: {{ identity: {{}} }}\n{}",
        clusters(&WORKLOADS)
    ));
    let family = Family::make(recipe);
    family.write_into(&fleet);
    spoil(&fleet, &family);
    (fleet, family)
}

pub(crate) fn ec() -> Recipe {
    Recipe {
        keys: KeyForm::EcPkcs8,
        ..Recipe::default()
    }
}

fn assert_works(fleet: &Fleet) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &WORKLOADS));
    for cluster in WORKLOADS {
        let (server, client) = (fleet.secret("mgmt", SERVER), fleet.secret(cluster, CLIENT));
        assert_eq!(rustls_to_rustls(&server, &client), Ok(cluster.to_owned()));
        assert_eq!(openssl_to_rustls(&server, &client), Ok(cluster.to_owned()));
        assert_eq!(rustls_to_openssl(&server, &client), Ok(()));
    }
}

/// After an adoption everything can be replaced, and then nothing is left of the defects.
fn assert_heals(fleet: &Fleet) {
    for verb in ["agents", "server", "signer", "agents", "server"] {
        fleet.done(&["rotate", verb]);
        assert_works(fleet);
    }
    let leaves = [
        fleet.leaf("mgmt", SERVER),
        fleet.leaf("c1", CLIENT),
        fleet.leaf("c2", CLIENT),
    ];
    for found in &leaves {
        assert!(found.serial.len() >= 8, "{found:?}");
        assert_ne!(found.subject, found.issuer);
    }
}

#[test]
fn serial_zero_everywhere_is_taken_over_and_rotated_away() {
    let recipe = Recipe {
        serial_zero: true,
        ..ec()
    };
    let (fleet, family) = spoiled(recipe, |_, _| {});
    assert_eq!(leaf(&family.pem("server.crt")).serial, [0]);
    fleet.done(&["bootstrap", "--adopt"]);
    assert_heals(&fleet);
}

#[test]
fn one_subject_for_all_is_taken_over_and_rotated_away() {
    let recipe = Recipe {
        one_subject: true,
        ..ec()
    };
    let (fleet, family) = spoiled(recipe, |_, _| {});
    let (root, server) = (
        leaf(&family.pem("root.crt")),
        leaf(&family.pem("server.crt")),
    );
    assert_eq!(root.subject, server.subject);
    fleet.done(&["bootstrap", "--adopt"]);
    assert_heals(&fleet);
}

#[test]
fn a_server_leaf_as_signer_is_replaced_by_a_real_one() {
    let (fleet, _) = spoiled(ec(), |fleet, family| {
        fleet.edit("mgmt", SIGNING, |secret| {
            secret
                .data
                .insert("tls.crt".to_owned(), family.pem("server.crt"));
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("server.key"));
        });
    });
    let server = fleet.secret("mgmt", SERVER);
    fleet.done(&["bootstrap", "--adopt"]);
    let signing = fleet.secret("mgmt", SIGNING);
    let signer = leaf(signing.entry("tls.crt"));
    assert!(signer.is_ca);
    assert!(belong_together(&signer, signing.entry("tls.key")));
    assert_eq!(
        fleet.secret("mgmt", SERVER).data,
        server.data,
        "the server goes on as it was"
    );
    assert_works(&fleet);
    assert_heals(&fleet);
}

#[test]
fn a_server_leaf_as_signer_without_the_key_of_the_root_is_refused() {
    let (fleet, _) = spoiled(ec(), |fleet, family| {
        fleet.edit("mgmt", ROOT, |secret| drop(secret.data.remove("tls.key")));
        fleet.edit("mgmt", SIGNING, |secret| {
            secret
                .data
                .insert("tls.crt".to_owned(), family.pem("server.crt"));
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("server.key"));
        });
    });
    let before = fleet.tree();
    fleet
        .ends(&["bootstrap", "--adopt"], 8)
        .says(&["signer", "adopt again"]);
    assert_eq!(
        before.difference(&fleet.tree()).changed,
        Vec::<String>::new()
    );
}

#[test]
fn the_key_of_the_root_in_a_workload_cluster_is_taken_out_on_request_only() {
    let (fleet, _) = spoiled(ec(), |fleet, family| {
        fleet.edit("c1", ROOT, |secret| {
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("root.key"));
        });
    });
    fleet.done(&["bootstrap", "--adopt"]);
    assert!(
        fleet.secret("c1", ROOT).data.contains_key("tls.key"),
        "adoption takes nothing away"
    );
    assert_works(&fleet);
    fleet.done(&["bootstrap", "--prune-keys"]);
    assert_eq!(
        fleet.secret("c1", ROOT).data.keys().collect::<Vec<_>>(),
        ["ca.crt"]
    );
    // Where it belongs it stays.
    assert!(fleet.secret("mgmt", ROOT).data.contains_key("tls.key"));
    assert_works(&fleet);
    let tree = fleet.tree();
    fleet.done(&["bootstrap", "--prune-keys"]);
    tree.assert_unchanged(&fleet.tree());
}

#[test]
fn a_client_certificate_copied_to_another_cluster_is_replaced() {
    let (fleet, family) = spoiled(ec(), |fleet, _| {
        let copied = fleet.secret("c1", CLIENT);
        fleet.edit("c2", CLIENT, |secret| secret.data = copied.data);
    });
    fleet.done(&["bootstrap", "--adopt"]);
    assert_eq!(
        fleet.leaf("c1", CLIENT),
        leaf(&family.pem("client-c1.crt")),
        "the rightful one"
    );
    assert_eq!(fleet.leaf("c2", CLIENT).dns_names, ["c2"]);
    assert_works(&fleet);
}

#[test]
fn a_client_certificate_with_another_name_besides_is_replaced_once_it_is_ours() {
    let (fleet, _) = spoiled(ec(), |fleet, family| {
        family.make_client("c2,DNS:c1");
        let crt = [
            family.pem("client-c2,DNS:c1.crt"),
            family.pem("signing.crt"),
        ]
        .concat();
        fleet.edit("c2", CLIENT, |secret| {
            secret.data.insert("tls.crt".to_owned(), crt);
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("client-c2,DNS:c1.key"));
        });
    });
    assert_eq!(fleet.leaf("c2", CLIENT).dns_names, ["c2", "c1"]);
    fleet.done(&["bootstrap", "--adopt"]);
    assert_eq!(fleet.leaf("c2", CLIENT).dns_names, ["c2", "c1"], "it works");
    fleet.done(&["bootstrap"]);
    assert_eq!(
        fleet.leaf("c2", CLIENT).dns_names,
        ["c2"],
        "exactly the cluster's name"
    );
    assert_works(&fleet);
}

#[test]
fn a_token_that_ends_with_a_newline_is_replaced_everywhere() {
    let (fleet, _) = spoiled(ec(), |fleet, _| {
        for cluster in ["mgmt", "c1", "c2"] {
            fleet.edit(cluster, IDENTITY, |secret| {
                secret
                    .data
                    .insert("token".to_owned(), [TOKEN, b"\n"].concat());
            });
        }
    });
    fleet.done(&["bootstrap", "--adopt"]);
    let token = fleet.secret("mgmt", IDENTITY).entry("token").to_vec();
    assert!(!token.iter().any(u8::is_ascii_whitespace));
    for cluster in WORKLOADS {
        assert_eq!(
            fleet.secret(cluster, IDENTITY).entry("token"),
            token,
            "{cluster}"
        );
    }
    assert_works(&fleet);
}

#[test]
fn a_token_that_differs_follows_the_management_cluster() {
    let (fleet, _) = spoiled(ec(), |fleet, _| {
        fleet.edit("c1", IDENTITY, |secret| {
            secret
                .data
                .insert("token".to_owned(), b"another-token".to_vec());
        });
    });
    fleet.done(&["bootstrap", "--adopt"]);
    for cluster in ["mgmt", "c1", "c2"] {
        assert_eq!(
            fleet.secret(cluster, IDENTITY).entry("token"),
            TOKEN,
            "{cluster}"
        );
    }
}

#[test]
fn all_defects_at_once() {
    let recipe = Recipe {
        serial_zero: true,
        ..ec()
    };
    let (fleet, _) = spoiled(recipe, |fleet, family| {
        fleet.edit("mgmt", SIGNING, |secret| {
            secret
                .data
                .insert("tls.crt".to_owned(), family.pem("server.crt"));
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("server.key"));
        });
        fleet.edit("c1", ROOT, |secret| {
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("root.key"));
        });
        let copied = fleet.secret("c1", CLIENT);
        fleet.edit("c2", CLIENT, |secret| secret.data = copied.data);
        fleet.edit("mgmt", IDENTITY, |secret| {
            secret
                .data
                .insert("token".to_owned(), [TOKEN, b"\n"].concat());
        });
    });
    fleet.done(&["bootstrap", "--adopt"]);
    fleet.done(&["bootstrap", "--prune-keys"]);
    assert_works(&fleet);
    assert_heals(&fleet);
    assert!(!fleet.secret("c1", ROOT).data.contains_key("tls.key"));
}
