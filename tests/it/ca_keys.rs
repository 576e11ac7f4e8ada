//! CA keys that are gone, wrong or at their end.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use crate::support::fleet::{CLIENT, Fleet, ROOT, SERVER, clusters};
use crate::support::verifiers::{Naming, assert_accepted, questions};

const SIGNER_KEY: &str = "relay-pki-gloo-mesh-signer-g1";
const ROOT_KEY: &str = "relay-pki-gloo-mesh-root-g1";

fn assert_verifies(fleet: &Fleet) {
    assert_accepted(&questions(
        fleet,
        &Naming::default(),
        &["mgmt"],
        &["c1", "c2"],
    ));
}

fn bootstrapped() -> Fleet {
    Fleet::bootstrapped(&clusters(&["c1", "c2"]))
}

/// Rotating the agents fails with `said`, and every agent keeps what it has.
fn assert_agents_cannot_be_rotated(fleet: &Fleet, said: &[&str]) {
    let old = fleet.client_leaves(&["c1", "c2"]);
    let run = fleet.run(&["rotate", "agents"]);
    assert!(matches!(run.code, Some(1 | 8)), "{run:#?}");
    run.says(said);
    assert_eq!(fleet.client_leaves(&["c1", "c2"]), old);
    assert_verifies(fleet);
}

/// A new signer makes everything good again.
fn assert_a_new_signer_repairs_it(fleet: &Fleet) {
    fleet.done(&["rotate", "signer"]);
    let signers = [(1, "retired".to_owned()), (2, "active".to_owned())];
    assert_eq!(fleet.generations("signer"), signers);
    assert_verifies(fleet);
    let old = fleet.client_leaves(&["c1", "c2"]);
    fleet.done(&["rotate", "agents"]);
    fleet.done(&["rotate", "server"]);
    let new = fleet.client_leaves(&["c1", "c2"]);
    assert!(new["c1"] != old["c1"] && new["c2"] != old["c2"]);
    assert_verifies(fleet);
}

#[test]
fn a_signer_whose_key_is_gone() {
    let fleet = bootstrapped();
    fs::remove_file(fleet.secret_path("mgmt", SIGNER_KEY)).unwrap();
    assert_agents_cannot_be_rotated(&fleet, &["signer", "private key is not in", "backup"]);
    assert_a_new_signer_repairs_it(&fleet);
}

#[test]
fn a_signer_with_the_key_of_the_root() {
    let fleet = bootstrapped();
    let wrong = fleet.secret("mgmt", ROOT_KEY).entry("tls.key").to_vec();
    fleet.edit("mgmt", SIGNER_KEY, |secret| {
        drop(secret.data.insert("tls.key".to_owned(), wrong))
    });
    assert_agents_cannot_be_rotated(&fleet, &["signer", "does not belong to its certificate"]);
    assert_a_new_signer_repairs_it(&fleet);
}

#[test]
fn a_signer_that_was_exchanged_with_its_key() {
    let fleet = bootstrapped();
    let other = Fleet::bootstrapped(&clusters(&["c1"]));
    // Key and certificate fit each other, but not the records of this relay.
    let theirs = other.secret("mgmt", SIGNER_KEY).data;
    fleet.edit("mgmt", SIGNER_KEY, |secret| secret.data = theirs);
    assert_agents_cannot_be_rotated(&fleet, &["signer"]);
    assert_a_new_signer_repairs_it(&fleet);
}

#[test]
fn a_root_whose_key_is_gone_goes_on_with_its_signer() {
    let fleet = bootstrapped();
    fs::remove_file(fleet.secret_path("mgmt", ROOT_KEY)).unwrap();
    let old = fleet.client_leaves(&["c1", "c2"]);
    fleet.done(&["rotate", "agents"]);
    assert_ne!(fleet.client_leaves(&["c1", "c2"]), old);
    let run = fleet.run(&["rotate", "signer"]);
    assert!(matches!(run.code, Some(1 | 8)), "{run:#?}");
    run.says(&["root", "private key is not in", "backup"]);
    // The signer in use stays in use.
    assert_eq!(fleet.generations("signer")[0], (1, "active".to_owned()));
    fleet.done(&["rotate", "agents"]);
    assert_verifies(&fleet);
}

#[test]
fn a_ca_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let fleet = bootstrapped();
    let key = fleet.secret_path("mgmt", SIGNER_KEY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_agents_cannot_be_rotated(&fleet, &["chmod 600", SIGNER_KEY]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fleet.done(&["rotate", "agents"]);
}

#[test]
fn a_root_that_expired_is_not_taken_over() {
    let fleet = Fleet::new(&clusters(&["c1"]));
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.not_before = date_time_ymd(2015, 1, 1);
    parameters.not_after = date_time_ymd(2020, 1, 1);
    let root = parameters.self_signed(&key).unwrap();
    let mut manifest = crate::support::manifest::Manifest {
        kind: "Secret".to_owned(),
        name: ROOT.to_owned(),
        namespace: "gloo-mesh".to_owned(),
        secret_type: "Opaque".to_owned(),
        labels: Default::default(),
        annotations: Default::default(),
        data: Default::default(),
    };
    manifest
        .data
        .insert("ca.crt".to_owned(), root.pem().into_bytes());
    manifest
        .data
        .insert("tls.key".to_owned(), key.serialize_pem().into_bytes());
    manifest.write_as_kubectl(&fleet.path("clusters/mgmt/root.yaml"));
    let before = fleet.tree();
    let run = fleet.ends(&["bootstrap", "--adopt"], 8);
    run.says(&["2020-01-01", "not now"]);
    let difference = before.difference(&fleet.tree());
    assert_eq!(difference.changed, Vec::<String>::new());
    assert!(!fleet.has_secret("mgmt", SERVER) && !fleet.path("clusters/c1").exists());
}

#[test]
fn ca_keys_are_in_files_that_only_their_owner_reads() {
    let fleet = bootstrapped();
    fleet.done(&["rotate", "signer"]);
    for (path, entry) in fleet.tree().0 {
        if path.starts_with("clusters/") && entry.content.is_some() {
            assert_eq!(entry.mode, 0o600, "{path}");
        } else if path.starts_with("clusters/") {
            assert_eq!(entry.mode, 0o700, "{path}");
        }
    }
    assert!(fleet.has_secret("c1", CLIENT));
}
