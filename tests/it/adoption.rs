//! Taking over a relay that somebody made by hand with OpenSSL: sound ones.

use std::collections::BTreeMap;

use crate::support::certificate::leaf;
use crate::support::fleet::{CLIENT, Fleet, IDENTITY, ROOT, SERVER, SIGNING, clusters};
use crate::support::handmade::{Family, KeyForm, Recipe, TOKEN};
use crate::support::handshake::{openssl_to_rustls, rustls_to_openssl, rustls_to_rustls};
use crate::support::manifest::Manifest;
use crate::support::verifiers::{AUTHORITY, Naming, Question, assert_accepted, questions};

const WORKLOADS: [&str; 2] = ["c1", "c2"];

/// A fleet in whose directories lie the Secrets of a family, and nothing of relay-pki.
fn handmade_fleet(recipe: Recipe) -> (Fleet, Family) {
    let fleet = Fleet::new(&format!(
        "  tokens: {{ identity: {{}} }}\n{}",
        clusters(&WORKLOADS)
    ));
    let family = Family::make(recipe);
    family.write_into(&fleet);
    (fleet, family)
}

/// Every Secret that lies around, by cluster and name.
fn secrets(fleet: &Fleet) -> BTreeMap<(String, String), Manifest> {
    let mut found = BTreeMap::new();
    for cluster in ["mgmt", "c1", "c2"] {
        for (_, manifest) in fleet.manifests(cluster) {
            if manifest.kind == "Secret" {
                found.insert((cluster.to_owned(), manifest.name.clone()), manifest);
            }
        }
    }
    found
}

fn assert_verifies(fleet: &Fleet) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &WORKLOADS));
}

#[test]
fn the_handmade_family_is_sound_to_begin_with() {
    let (fleet, _) = handmade_fleet(Recipe::default());
    assert_verifies(&fleet);
}

#[test]
fn without_adopt_it_is_refused_by_name_and_nothing_is_touched() {
    let (fleet, _) = handmade_fleet(Recipe::default());
    let before = fleet.tree();
    let run = fleet.ends(&["bootstrap"], 8);
    run.says(&[
        "not managed by relay-pki",
        "bootstrap --adopt",
        "clusters/mgmt/my-relay-",
    ]);
    let after = fleet.tree();
    let difference = before.difference(&after);
    assert_eq!(difference.changed, Vec::<String>::new());
    let manifests = difference
        .added
        .iter()
        .filter(|path| !path.ends_with(".relay-pki.lock"));
    assert_eq!(manifests.count(), 0, "{difference:?}");
    fleet.ends(&["bootstrap", "--dry-run", "--output", "json"], 8);
    for verb in ["agents", "server", "signer", "tokens"] {
        fleet.ends(&["rotate", verb], 8);
    }
    assert_eq!(
        before.difference(&fleet.tree()).changed,
        Vec::<String>::new()
    );
}

#[test]
fn adoption_adds_owner_labels_and_records_and_leaves_every_byte_of_data() {
    let (fleet, family) = handmade_fleet(Recipe::default());
    adopt_and_compare(&fleet, &family);
}

#[test]
fn adoption_leaves_a_signer_with_comments_around_its_pem_as_it_is() {
    let (fleet, family) = handmade_fleet(Recipe {
        keys: KeyForm::EcPkcs8,
        ..Recipe::default()
    });
    // As `openssl x509 -text` writes it.
    fleet.edit("mgmt", SIGNING, |secret| {
        let pem = secret.entry("tls.crt");
        let text = [b"Certificate:\n    Data:\n        Version: 3 (0x2)\n", pem].concat();
        secret.data.insert("tls.crt".to_owned(), text);
    });
    adopt_and_compare(&fleet, &family);
}

/// Adopts, and compares what was there before.
fn adopt_and_compare(fleet: &Fleet, family: &Family) {
    let before = secrets(fleet);
    fleet.done(&["bootstrap", "--adopt"]);
    let after = secrets(fleet);
    for (place, old) in &before {
        let new = &after[place];
        for (key, value) in &old.data {
            assert!(
                new.data.get(key) == Some(value),
                "{key} of {place:?} changed"
            );
        }
        assert_eq!(new.data.len(), old.data.len(), "{place:?} has new entries");
        assert_eq!(new.secret_type, old.secret_type, "{place:?}");
        assert_eq!(new.labels["team"], "platform", "{place:?} lost a label");
        assert_eq!(new.labels["relay-pki.dev/relay"], "gloo-mesh", "{place:?}");
    }
    assert_verifies(fleet);
    // Root and signer are ours now, with their keys.
    assert_eq!(fleet.generations("root"), [(1, "active".to_owned())]);
    assert_eq!(fleet.generations("signer"), [(1, "active".to_owned())]);
    for (level, file) in [("root", "root"), ("signer", "signing")] {
        let imported = &after[&("mgmt".to_owned(), format!("relay-pki-gloo-mesh-{level}-g1"))];
        let certificate = leaf(imported.entry("tls.crt"));
        assert_eq!(
            certificate,
            leaf(&family.pem(&format!("{file}.crt"))),
            "{level}"
        );
        let key = imported.entry("tls.key");
        assert!(
            crate::support::certificate::belong_together(&certificate, key),
            "{level}"
        );
    }
    let tree = fleet.tree();
    fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
    fleet
        .done(&["bootstrap", "--adopt"])
        .says(&["Nothing to do"]);
    tree.assert_unchanged(&fleet.tree());
}

#[test]
fn adopted_rsa_keys_in_pkcs1_form() {
    adopt_and_rotate(KeyForm::Pkcs1, "BEGIN RSA PRIVATE KEY");
}

#[test]
fn adopted_ec_keys_in_sec1_form() {
    adopt_and_rotate(KeyForm::Sec1, "BEGIN EC PRIVATE KEY");
}

#[test]
fn adopted_rsa_keys_in_pkcs8_form() {
    adopt_and_rotate(KeyForm::RsaPkcs8, "BEGIN PRIVATE KEY");
}

#[test]
fn adopted_ec_keys_in_pkcs8_form() {
    adopt_and_rotate(KeyForm::EcPkcs8, "BEGIN PRIVATE KEY");
}

/// Takes a family over and replaces everything below its root, while those who still have the old
/// certificates go on being let in.
fn adopt_and_rotate(keys: KeyForm, heading: &str) {
    let (fleet, family) = handmade_fleet(Recipe {
        keys,
        ..Recipe::default()
    });
    let signing_key = String::from_utf8(family.pem("signing.key")).unwrap();
    assert!(signing_key.contains(heading), "openssl made another form");
    adopt_and_compare(&fleet, &family);
    let (old_server, old_client) = (fleet.secret("mgmt", SERVER), fleet.secret("c1", CLIENT));
    for verb in ["agents", "server", "signer", "agents", "server"] {
        let before = fleet.leaf("c1", CLIENT);
        let server_before = fleet.leaf("mgmt", SERVER);
        fleet.done(&["rotate", verb]);
        // A new signer issues everything anew.
        let changes = |what: &str| verb == what || verb == "signer";
        assert_eq!(fleet.leaf("c1", CLIENT) != before, changes("agents"));
        assert_eq!(
            fleet.leaf("mgmt", SERVER) != server_before,
            changes("server")
        );
        assert_verifies(&fleet);
        let (server, client) = (fleet.secret("mgmt", SERVER), fleet.secret("c1", CLIENT));
        assert_accepted(&[
            Question::client("c1", &old_client, &server),
            Question::server(AUTHORITY, &old_server, &client),
            Question::server(AUTHORITY, &server, &old_client),
            Question::client("c1", &client, &old_server),
        ]);
        assert_eq!(rustls_to_rustls(&server, &old_client), Ok("c1".to_owned()));
        assert_eq!(openssl_to_rustls(&server, &old_client), Ok("c1".to_owned()));
        assert_eq!(rustls_to_openssl(&old_server, &client), Ok(()));
    }
    let signers = fleet.generations("signer");
    assert_eq!(
        signers,
        [(1, "retired".to_owned()), (2, "active".to_owned())]
    );
    let signing = fleet.leaf("mgmt", SIGNING);
    assert_eq!(fleet.leaf("c1", CLIENT).issuer, signing.subject);
    assert_eq!(signing.issuer, leaf(&family.pem("root.crt")).subject);
}

#[test]
fn secrets_of_type_tls_stay_of_type_tls() {
    let (fleet, family) = handmade_fleet(Recipe {
        secret_type: "kubernetes.io/tls",
        keys: KeyForm::EcPkcs8,
        ..Recipe::default()
    });
    adopt_and_compare(&fleet, &family);
    fleet.done(&["rotate", "agents"]);
    fleet.done(&["rotate", "signer"]);
    assert_eq!(fleet.secret("c1", CLIENT).secret_type, "kubernetes.io/tls");
    assert_eq!(
        fleet.secret("mgmt", SIGNING).secret_type,
        "kubernetes.io/tls"
    );
    assert_eq!(fleet.secret("c1", ROOT).secret_type, "Opaque");
}

#[test]
fn opaque_secrets_stay_opaque() {
    let (fleet, family) = handmade_fleet(Recipe {
        keys: KeyForm::EcPkcs8,
        ..Recipe::default()
    });
    adopt_and_compare(&fleet, &family);
    fleet.done(&["rotate", "agents"]);
    fleet.done(&["rotate", "server"]);
    assert_eq!(fleet.secret("c1", CLIENT).secret_type, "Opaque");
    assert_eq!(fleet.secret("mgmt", SERVER).secret_type, "Opaque");
}

#[test]
fn the_token_that_agents_know_is_kept() {
    let (fleet, _) = handmade_fleet(Recipe::default());
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
fn a_dry_run_of_the_adoption_shows_it_and_touches_nothing() {
    let (fleet, _) = handmade_fleet(Recipe::default());
    let before = fleet.tree();
    let arguments = [
        "bootstrap",
        "--adopt",
        "--dry-run",
        "--exit-code",
        "--output",
        "json",
    ];
    let plan = fleet.ends(&arguments, 5).json();
    let steps = plan["steps"].as_array().unwrap();
    assert!(
        steps.iter().any(|step| step["object"] == "root g1"),
        "{plan}"
    );
    assert!(
        steps.iter().any(|step| step["object"] == "signer g1"),
        "{plan}"
    );
    assert_eq!(before, fleet.tree());
}

#[test]
fn an_adoption_goes_on_when_a_cluster_becomes_readable() {
    let (fleet, family) = handmade_fleet(Recipe {
        keys: KeyForm::EcPkcs8,
        ..Recipe::default()
    });
    let old_server = fleet.secret("mgmt", SERVER);
    let broken = fleet.path("clusters/c2/broken.yaml");
    std::fs::write(&broken, "a: [").unwrap();
    fleet.ends(&["bootstrap", "--adopt"], 7);
    std::fs::remove_file(&broken).unwrap();
    fleet.done(&["bootstrap", "--adopt"]);
    assert_eq!(fleet.generations("root"), [(1, "active".to_owned())]);
    assert_eq!(fleet.secret("mgmt", SERVER).data, old_server.data);
    assert_eq!(leaf(&family.pem("client-c2.crt")), fleet.leaf("c2", CLIENT));
    assert_verifies(&fleet);
}

#[test]
fn a_signer_without_the_key_of_its_root_is_enough_to_go_on() {
    let (fleet, family) = handmade_fleet(Recipe::default());
    // As the vendor recommends: the root's key is kept elsewhere.
    fleet.edit("mgmt", ROOT, |secret| drop(secret.data.remove("tls.key")));
    adopt_without_root_key(&fleet, &family);
}

fn adopt_without_root_key(fleet: &Fleet, family: &Family) {
    fleet.done(&["bootstrap", "--adopt"]);
    fleet.done(&["rotate", "agents"]);
    fleet.done(&["rotate", "server"]);
    let signer = leaf(&family.pem("signing.crt")).subject;
    assert_eq!(fleet.leaf("c1", CLIENT).issuer, signer);
    assert_eq!(fleet.leaf("mgmt", SERVER).issuer, signer);
    assert_verifies(fleet);
    // A new signer is beyond us, and that is said before anything moves.
    let tree = fleet.tree();
    let run = fleet.run(&["rotate", "signer"]);
    assert!(matches!(run.code, Some(1 | 8)), "{run:#?}");
    run.says(&["not in reach"]);
    assert_eq!(
        fleet.secret("mgmt", SIGNING).entry("tls.crt"),
        family.pem("signing.crt")
    );
    let changed = tree.difference(&fleet.tree()).changed;
    assert_eq!(changed, Vec::<String>::new());
    // And agents can be rotated afterwards as before.
    fleet.done(&["rotate", "agents"]);
    assert_verifies(fleet);
}
