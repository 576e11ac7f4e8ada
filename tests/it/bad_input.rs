//! Documents and manifests that are not what they should be.

use std::fs;

use crate::support::certificate::belong_together;
use crate::support::fleet::{CLIENT, Fleet, IDENTITY, ROOT, SERVER, clusters};
use crate::support::manifest::{Manifest, write_private};
use crate::support::verifiers::{Naming, assert_accepted, questions};

fn assert_verifies(fleet: &Fleet, agents: &[&str]) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], agents));
}

#[test]
fn a_document_that_cannot_be_meant_is_refused_with_its_place() {
    let cases = [
        ("  clusters: [\n", "relay.yaml:"),
        ("  clusters: []\n", "clusters"),
        ("  colour: red\n  clusters: []\n", "colour"),
        (
            "  clusters:\n    - { name: c1, role: workload, directory: c1 }\n",
            "management",
        ),
        (
            "  clusters:\n    - { name: m, role: manager, directory: m }\n",
            "manager",
        ),
        (
            "  clusters:\n    - { name: UPPER, role: management, directory: m }\n",
            "UPPER",
        ),
        (
            "  clusters:\n    - { name: m, name: n, role: management, directory: m }\n",
            "name",
        ),
        (
            "  agents: { validity: 9y }\n  signer: { validity: 1d }\n",
            "validity",
        ),
        ("  agents: { renewAt: 7 }\n", "renewAt"),
        ("  agents: { schedule: 'every day' }\n", "schedule"),
        ("  root: { provider: vault }\n", "vault"),
    ];
    for (spec, named) in cases {
        let full = match spec.contains("clusters") {
            true => spec.to_owned(),
            false => format!("{spec}{}", clusters(&["c1"])),
        };
        let fleet = Fleet::new(&full);
        let before = fleet.tree();
        let run = fleet.ends(&["bootstrap"], 2);
        assert_eq!(run.stdout, "", "{spec}");
        run.says(&["relay.yaml", named]);
        before.assert_unchanged(&fleet.tree());
    }
}

#[test]
fn two_clusters_in_one_directory_or_of_one_name_are_refused() {
    let twice = "    - { name: c2, role: workload, directory: clusters/c1 }\n";
    Fleet::new(&format!("{}{twice}", clusters(&["c1"])))
        .ends(&["bootstrap"], 2)
        .says(&["clusters/c1"]);
    Fleet::new(&clusters(&["c1", "c1"]))
        .ends(&["bootstrap"], 2)
        .says(&["c1"]);
}

#[test]
fn a_document_that_is_no_text_is_refused() {
    let fleet = Fleet::new("");
    for content in [&b"\xff\xfe\x00"[..], b"", b"{}", b"- a\n", b"a: &a [*a]\n"] {
        fs::write(fleet.path("relay.yaml"), content).unwrap();
        fleet.ends(&["bootstrap"], 2);
    }
}

#[test]
fn a_malformed_manifest_holds_up_its_own_cluster_only() {
    for (name, text) in [
        ("broken.yaml", "a: ["),
        ("no-kind.yaml", "hello: world\n"),
        (
            "bad-base64.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: '!'}\n",
        ),
        (
            "twice.yaml",
            "apiVersion: v1\nkind: Secret\nkind: Secret\nmetadata: {name: x}\n",
        ),
        ("broken.json", "{"),
    ] {
        let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2", "c3"]));
        let old = fleet.client_leaves(&["c1", "c2", "c3"]);
        let file = fleet.path(&format!("clusters/c2/{name}"));
        fs::write(&file, text).unwrap();
        let place = format!("clusters/c2/{name}");
        for verb in [&["status"][..], &["bootstrap"], &["rotate", "agents"]] {
            fleet.ends(verb, 7).says(&["c2", &place]);
        }
        let new = fleet.client_leaves(&["c1", "c2", "c3"]);
        assert!(
            new["c1"] != old["c1"] && new["c3"] != old["c3"],
            "{name}: others proceed"
        );
        assert_eq!(new["c2"], old["c2"], "{name}");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            text,
            "{name} is left alone"
        );
        assert_verifies(&fleet, &["c1", "c2", "c3"]);
        fs::remove_file(file).unwrap();
        fleet.done(&["rotate", "agents"]);
        assert_ne!(fleet.leaf("c2", CLIENT), old["c2"], "{name}: it catches up");
        assert_eq!(
            fleet.leaf("c1", CLIENT),
            new["c1"],
            "{name}: and nobody is rotated twice"
        );
    }
}

#[test]
fn a_malformed_manifest_beside_the_records_stops_everything_before_it_starts() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    fs::write(fleet.path("clusters/mgmt/broken.yaml"), "a: [").unwrap();
    let before = fleet.tree();
    for verb in [&["status"][..], &["bootstrap"], &["rotate", "agents"]] {
        let run = fleet.run(verb);
        assert!(matches!(run.code, Some(1 | 7)), "{verb:?}: {run:#?}");
        run.says(&["clusters/mgmt/broken.yaml"]);
    }
    before.assert_unchanged(&fleet.tree());
}

#[test]
fn a_record_that_cannot_be_read_stops_everything_before_it_starts() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let record = fleet.path("clusters/mgmt/relay-pki-gloo-mesh-root-g1.configmap.yaml");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"active\"", "\"asleep\"")).unwrap();
    let before = fleet.tree();
    for verb in [&["bootstrap"][..], &["rotate", "signer"]] {
        fleet
            .ends(verb, 7)
            .says(&["relay-pki-gloo-mesh-root-g1", "backup"]);
    }
    before.assert_unchanged(&fleet.tree());
}

#[test]
fn errors_never_quote_a_secret() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let text =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {token: hunter2 ]}\n";
    fs::write(fleet.path("clusters/c1/typo.yaml"), text).unwrap();
    let run = fleet.ends(&["bootstrap", "-vv"], 7);
    assert!(
        !run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"),
        "{run:#?}"
    );
}

#[test]
fn keys_swapped_between_two_clusters_are_noticed_and_replaced() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2", "c3"]));
    let key = |cluster: &str| fleet.secret(cluster, CLIENT).entry("tls.key").to_vec();
    let (one, other) = (key("c1"), key("c2"));
    fleet.edit("c1", CLIENT, |secret| {
        drop(secret.data.insert("tls.key".to_owned(), other))
    });
    fleet.edit("c2", CLIENT, |secret| {
        drop(secret.data.insert("tls.key".to_owned(), one))
    });
    let untouched = fleet.leaf("c3", CLIENT);
    let status = fleet.done(&["status", "--output", "json"]).json();
    let unusable = status["certificates"].as_array().unwrap().iter();
    let unusable = unusable.filter(|one| one["state"].as_str().unwrap().contains("unusable"));
    assert_eq!(unusable.count(), 2, "{status}");
    fleet
        .done(&["bootstrap"])
        .says(&["does not belong to the certificate"]);
    for cluster in ["c1", "c2"] {
        let secret = fleet.secret(cluster, CLIENT);
        assert!(belong_together(
            &fleet.leaf(cluster, CLIENT),
            secret.entry("tls.key")
        ));
    }
    assert_eq!(fleet.leaf("c3", CLIENT), untouched);
    assert_verifies(&fleet, &["c1", "c2", "c3"]);
}

#[test]
fn whatever_a_person_breaks_bootstrap_repairs() {
    type Break = fn(&mut Manifest);
    let cases: [(&str, &str, Break); 8] = [
        ("c1", CLIENT, |secret| drop(secret.data.remove("tls.crt"))),
        ("c1", CLIENT, |secret| {
            drop(secret.data.insert("tls.crt".into(), b"junk".to_vec()))
        }),
        ("c1", CLIENT, |secret| drop(secret.data.remove("ca.crt"))),
        ("c1", ROOT, |secret| drop(secret.data.remove("ca.crt"))),
        ("c1", ROOT, |secret| {
            drop(secret.data.insert("ca.crt".into(), Vec::new()))
        }),
        ("c1", IDENTITY, |secret| {
            drop(secret.data.insert("token".into(), b"other".to_vec()))
        }),
        ("mgmt", SERVER, |secret| drop(secret.data.remove("tls.key"))),
        ("mgmt", ROOT, |secret| secret.data.clear()),
    ];
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    for (cluster, name, spoil) in cases {
        let before = fleet.tree();
        fleet.edit(cluster, name, spoil);
        fleet.ends(&["bootstrap", "--dry-run", "--exit-code"], 5);
        fleet.done(&["bootstrap"]);
        let file = format!("clusters/{cluster}/{name}.yaml");
        assert_eq!(
            before.difference(&fleet.tree()).changed,
            [file],
            "and nothing else"
        );
        assert_verifies(&fleet, &["c1", "c2"]);
    }
    let token = fleet.secret("mgmt", IDENTITY).entry("token").to_vec();
    assert_eq!(fleet.secret("c1", IDENTITY).entry("token"), token);
}

#[test]
fn a_foreign_chain_in_place_of_ours_is_noticed() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let other = Fleet::bootstrapped(&clusters(&["c1"]));
    // Certificate, key and bundle of another relay: whole in itself, and useless here.
    let theirs = other.secret("c1", CLIENT);
    fleet.edit("c1", CLIENT, |secret| secret.data = theirs.data);
    fleet.ends(&["bootstrap", "--dry-run", "--exit-code"], 5);
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet, &["c1"]);
    fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
}

#[test]
fn something_else_in_the_way_is_never_overwritten() {
    let fleet = Fleet::new(&clusters(&["c1", "c2"]));
    let file = fleet.path(&format!("clusters/c1/{CLIENT}.yaml"));
    let text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: { name: mine }\ndata: { a: b }\n";
    write_private(&file, text);
    let run = fleet.ends(&["bootstrap"], 8);
    run.says(&["c1", CLIENT, "in the way"]);
    assert_eq!(fs::read(&file).unwrap(), text);
    assert_verifies(&fleet, &["c2"]);
    // A Secret of that name that nobody marked as ours.
    let foreign = Manifest {
        labels: [("team".to_owned(), "platform".to_owned())].into(),
        ..fleet.secret("c2", CLIENT)
    };
    foreign.write_as_kubectl(&file);
    let before = fs::read(&file).unwrap();
    for verb in [&["bootstrap"][..], &["rotate", "agents"]] {
        fleet
            .ends(verb, 8)
            .says(&["c1", CLIENT, "not managed by relay-pki", "--adopt"]);
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_secret_of_another_relay_is_never_touched() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    fleet.edit("c1", CLIENT, |secret| {
        secret
            .labels
            .insert("relay-pki.dev/relay".to_owned(), "other".to_owned());
    });
    let before = fleet.tree();
    fleet
        .ends(&["rotate", "agents"], 8)
        .says(&["belongs to relay other"]);
    fleet.run(&["bootstrap", "--adopt"]);
    let file = format!("clusters/c1/{CLIENT}.yaml");
    assert_eq!(before.0[&file], fleet.tree().0[&file]);
}

#[test]
fn two_clusters_in_one_directory_by_a_link_are_refused() {
    let fleet = Fleet::new(&clusters(&["c1", "c2"]));
    fs::create_dir_all(fleet.path("clusters/c1")).unwrap();
    std::os::unix::fs::symlink("c1", fleet.path("clusters/c2")).unwrap();
    let before = fleet.tree();
    fleet
        .ends(&["bootstrap"], 2)
        .says(&["c1 and c2", "its own directory"]);
    before.assert_unchanged(&fleet.tree());
}
