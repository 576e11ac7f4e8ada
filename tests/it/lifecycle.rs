//! Bootstrap, bootstrap again, rotate the agents: for fleets of every shape, before every verifier.

use crate::support::certificate::{belong_together, certificates, leaf};
use crate::support::fleet::{
    CLIENT, FORWARDING, Fleet, IDENTITY, ROOT, SERVER, SIGNING, clusters, workload,
};
use crate::support::tools::openssl;
use crate::support::verifiers::{
    AUTHORITY, Naming, Question, Role, assert_accepted, assert_refused, questions,
};

/// Every name of a file in a cluster's directory that `rotate agents` may change.
fn client_files(agents: &[&str], naming: &Naming<'_>) -> Vec<String> {
    let file = |agent: &&str| format!("clusters/{agent}/{}.yaml", (naming.client)(agent));
    let mut files: Vec<String> = agents.iter().map(file).collect();
    files.sort();
    files
}

/// Bootstraps, verifies, bootstraps again, rotates the agents, verifies. `agents` are those whose
/// certificates are pushed, `all` those that meet the server.
fn live_through(
    fleet: &Fleet,
    naming: &Naming<'_>,
    management: &[&str],
    agents: &[&str],
    all: &[&str],
) {
    fleet.done(&["bootstrap"]);
    assert_accepted(&questions(fleet, naming, management, all));

    let before = fleet.tree();
    let again = fleet.done(&["bootstrap"]);
    again.says(&["Nothing to do"]);
    before.assert_unchanged(&fleet.tree());

    let old: Vec<_> = agents
        .iter()
        .map(|a| fleet.leaf(a, &(naming.client)(a)))
        .collect();
    fleet.done(&["rotate", "agents"]);
    let difference = before.difference(&fleet.tree());
    assert_eq!(difference.changed, client_files(agents, naming));
    assert_eq!(difference.removed, Vec::<String>::new());
    let record = format!(
        "clusters/{}/relay-pki-gloo-mesh-request-agents.configmap.yaml",
        management[0]
    );
    assert_eq!(difference.added, [record]);
    for (agent, old) in agents.iter().zip(old) {
        let new = fleet.leaf(agent, &(naming.client)(agent));
        assert_ne!(new.serial, old.serial, "{agent}");
        assert_ne!(new.public_key, old.public_key, "{agent} kept its key");
        assert_eq!(new.issuer, old.issuer, "{agent}");
    }
    assert_accepted(&questions(fleet, naming, management, all));
}

#[test]
fn push_only_fleet() {
    let fleet = Fleet::pushed(&["cluster-1", "cluster-2", "cluster-3"]);
    let agents = ["cluster-1", "cluster-2", "cluster-3"];
    live_through(&fleet, &Naming::default(), &["mgmt"], &agents, &agents);
    assert!(
        !fleet.has_secret("mgmt", SIGNING),
        "no relay server signs here"
    );
}

#[test]
fn every_leaf_is_what_the_relay_expects() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    for cluster in ["c1", "c2"] {
        let secret = fleet.secret(cluster, CLIENT);
        let found = leaf(secret.entry("tls.crt"));
        assert_eq!(found.dns_names, [cluster], "exactly the bare cluster name");
        assert_eq!(found.common_name, cluster);
        assert!(!found.is_ca);
        assert!(belong_together(&found, secret.entry("tls.key")));
        // A client is no server and the other way round.
        let server = fleet.secret("mgmt", SERVER);
        let mut wrong = Question::client(cluster, &secret, &server);
        wrong.role = Role::Server;
        let mut other = Question::client(cluster, &secret, &server);
        other.name = "c3".to_owned();
        assert_refused(&[wrong, other]);
    }
    let server = fleet.secret("mgmt", SERVER);
    let found = leaf(server.entry("tls.crt"));
    assert_eq!(found.dns_names, [AUTHORITY, "*.gloo-mesh"]);
    assert!(belong_together(&found, server.entry("tls.key")));
    let mut wrong = Question::server(AUTHORITY, &server, &fleet.secret("c1", ROOT));
    wrong.role = Role::Client;
    let mut elsewhere = Question::server(AUTHORITY, &server, &fleet.secret("c1", ROOT));
    elsewhere.name = "gloo-mesh-mgmt-server.elsewhere".to_owned();
    assert_refused(&[wrong, elsewhere]);
    // Serials are fresh, and no two leaves share a key.
    let mut leaves = vec![found, fleet.leaf("c1", CLIENT), fleet.leaf("c2", CLIENT)];
    assert!(
        leaves
            .iter()
            .all(|leaf| leaf.serial.len() >= 8 && leaf.serial[0] < 0x80)
    );
    leaves.sort_by(|one, other| one.serial.cmp(&other.serial));
    leaves.dedup_by(|one, other| one.serial == other.serial || one.public_key == other.public_key);
    assert_eq!(leaves.len(), 3);
}

#[test]
fn another_fleet_is_refused_by_every_verifier() {
    let ours = Fleet::bootstrapped(&clusters(&["c1"]));
    let theirs = Fleet::bootstrapped(&clusters(&["c1"]));
    let (server, client) = (ours.secret("mgmt", SERVER), theirs.secret("c1", CLIENT));
    assert_refused(&[
        Question::client("c1", &client, &server),
        Question::server(AUTHORITY, &server, &client),
        Question::server(AUTHORITY, &server, &theirs.secret("c1", ROOT)),
    ]);
}

#[test]
fn fleet_with_agents_that_the_relay_server_signs() {
    let spec = format!(
        "{}    - {{ name: signed, role: workload, directory: clusters/signed, delivery: server-signed }}\n",
        clusters(&["pushed"])
    );
    let fleet = Fleet::new(&spec);
    let all = ["pushed", "signed"];
    live_through(&fleet, &Naming::default(), &["mgmt"], &["pushed"], &all);
    assert!(
        !fleet.has_secret("signed", CLIENT),
        "the agent makes it itself"
    );
    // What the relay server signs with is good for signing agents.
    let server = fleet.secret("mgmt", SERVER);
    let chain = sign_as_the_relay_server_does(&fleet, "signed");
    let mut question = Question::client("signed", &server, &server);
    question.chain = chain;
    assert_accepted(&[question]);
}

/// Signs a client certificate with the signing Secret, by `openssl x509`.
fn sign_as_the_relay_server_does(fleet: &Fleet, agent: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(dir.path().join(name), text).unwrap();
    let signing = fleet.secret("mgmt", SIGNING);
    write("ca.crt", signing.entry("tls.crt"));
    write("ca.key", signing.entry("tls.key"));
    write(
        "ext",
        format!("subjectAltName=DNS:{agent}\nextendedKeyUsage=clientAuth\n").as_bytes(),
    );
    write("req.cnf", b"[req]\ndistinguished_name=name\n[name]\n");
    let subject = format!("/CN={agent}");
    let request = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key",
        "-subj",
        &subject,
        "-out",
        "csr",
        "-config",
        "req.cnf",
    ];
    openssl(dir.path(), &request);
    let sign = [
        "x509",
        "-req",
        "-in",
        "csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "1",
        "-extfile",
        "ext",
    ];
    let mut chain = openssl(dir.path(), &sign);
    chain.extend(signing.entry("tls.crt"));
    chain
}

#[test]
fn two_management_clusters_share_everything_but_the_ca_keys() {
    let second = "    - { name: mgmt-2, role: management, directory: clusters/mgmt-2 }\n";
    let signed =
        "    - { name: c2, role: workload, directory: clusters/c2, delivery: server-signed }\n";
    let fleet = Fleet::new(&format!("{}{second}{signed}", clusters(&["c1"])));
    let management = ["mgmt", "mgmt-2"];
    live_through(
        &fleet,
        &Naming::default(),
        &management,
        &["c1"],
        &["c1", "c2"],
    );
    for (name, keys) in [
        (ROOT, &["ca.crt"][..]),
        (SIGNING, &["ca.crt", "tls.crt", "tls.key"]),
        (IDENTITY, &["token"]),
        (FORWARDING, &["token"]),
    ] {
        let (first, second) = (fleet.secret("mgmt", name), fleet.secret("mgmt-2", name));
        for key in keys {
            assert_eq!(first.entry(key), second.entry(key), "{name} {key}");
        }
    }
    assert_private_keys_are_where_they_belong(&fleet, &["mgmt-2", "c1", "c2"]);
}

/// CA keys lie in the first management cluster only, except for the signer that a relay server signs
/// with.
fn assert_private_keys_are_where_they_belong(fleet: &Fleet, elsewhere: &[&str]) {
    let ca_keys: Vec<Vec<u8>> = fleet
        .manifests("mgmt")
        .into_iter()
        .filter(|(_, found)| found.name.contains("-root-g") || found.name.contains("-signer-g"))
        .filter_map(|(_, found)| Some((found.data.get("tls.key")?.clone(), found.name)))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(ca_keys.len(), 2, "one of the root, one of the signer");
    for cluster in elsewhere {
        for (path, found) in fleet.manifests(cluster) {
            let Some(key) = found.data.get("tls.key") else {
                continue;
            };
            let place = path.display();
            assert!(found.name != ROOT, "a private key in {place}");
            assert!(
                found.name == SIGNING || !ca_keys.contains(key),
                "a CA key in {place}"
            );
            let is_ca = certificates(found.entry("tls.crt"))[0].is_ca;
            assert!(found.name == SIGNING || !is_ca, "a CA in {place}");
        }
    }
    assert!(!fleet.secret("mgmt", ROOT).data.contains_key("tls.key"));
}

#[test]
fn management_cluster_with_an_agent() {
    let fleet = Fleet::new(
        "  clusters:\n    - { name: mgmt, role: management, directory: clusters/mgmt, agent: true }\n",
    );
    live_through(&fleet, &Naming::default(), &["mgmt"], &["mgmt"], &["mgmt"]);
    assert_eq!(fleet.leaf("mgmt", CLIENT).dns_names, ["mgmt"]);
}

#[test]
fn custom_secret_names() {
    let fleet = Fleet::new(&format!(
        "  secrets:\n    root: my-root\n    signing: my-signer\n    server: gloo-server-tls-cert\n    \
         client: gloo-mesh-agent-<cluster>-tls-cert\n    identityToken: my-token\n    \
         forwardingToken: my-other-token\n{}",
        clusters(&["c1", "c2"])
    ));
    let naming = Naming {
        root: "my-root",
        server: "gloo-server-tls-cert",
        client: &|cluster| format!("gloo-mesh-agent-{cluster}-tls-cert"),
        ..Naming::default()
    };
    live_through(&fleet, &naming, &["mgmt"], &["c1", "c2"], &["c1", "c2"]);
    assert!(fleet.has_secret("c1", "my-token") && fleet.has_secret("c1", "my-other-token"));
    for usual in [ROOT, SERVER, CLIENT, IDENTITY, FORWARDING] {
        assert!(
            !fleet.has_secret("mgmt", usual) && !fleet.has_secret("c1", usual),
            "{usual}"
        );
    }
}

#[test]
fn custom_namespace() {
    let fleet = Fleet::new(&format!("  namespace: relay\n{}", clusters(&["c1"])));
    let naming = Naming {
        authority: "gloo-mesh-mgmt-server.relay",
        ..Naming::default()
    };
    live_through(&fleet, &naming, &["mgmt"], &["c1"], &["c1"]);
    for (path, manifest) in fleet.manifests("c1") {
        let expected = if manifest.kind == "Namespace" {
            ""
        } else {
            "relay"
        };
        assert_eq!(manifest.namespace, expected, "{}", path.display());
    }
}

#[test]
fn a_cluster_that_joins_later_gets_its_secrets_and_nothing_else_moves() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let before = fleet.tree();
    fleet.write_spec(&format!("{}{}", clusters(&["c1"]), workload("late")));
    fleet.done(&["bootstrap"]);
    let difference = before.difference(&fleet.tree());
    assert_eq!(difference.changed, ["relay.yaml"]);
    assert!(
        difference
            .added
            .iter()
            .all(|path| path.starts_with("clusters/late"))
    );
    let naming = Naming::default();
    assert_accepted(&questions(&fleet, &naming, &["mgmt"], &["c1", "late"]));
    assert_eq!(
        fleet.secret("late", IDENTITY).entry("token"),
        fleet.secret("mgmt", IDENTITY).entry("token")
    );
}

/// Root, signer, server and agents all of one type.
fn live_through_with_keys_of(key_type: &str, marker: &str) {
    let spec = format!(
        "  root: {{ keyType: {key_type} }}\n  signer: {{ keyType: {key_type} }}\n  \
         server: {{ keyType: {key_type} }}\n  agents: {{ keyType: {key_type} }}\n{}",
        clusters(&["c1"])
    );
    let fleet = Fleet::new(&spec);
    live_through(&fleet, &Naming::default(), &["mgmt"], &["c1"], &["c1"]);
    let all = [
        fleet.secret("mgmt", ROOT).entry("ca.crt").to_vec(),
        fleet.secret("mgmt", SERVER).entry("tls.crt").to_vec(),
        fleet.secret("c1", CLIENT).entry("tls.crt").to_vec(),
    ];
    for pem in all {
        for found in certificates(&pem) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("c.der");
            std::fs::write(&file, &found.der).unwrap();
            let text = openssl(
                dir.path(),
                &["x509", "-inform", "DER", "-in", "c.der", "-noout", "-text"],
            );
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.contains(marker), "{key_type}: {text}");
        }
    }
}

#[test]
fn keys_of_p256() {
    live_through_with_keys_of("ecdsa-p256", "NIST CURVE: P-256");
}

#[test]
fn keys_of_p384() {
    live_through_with_keys_of("ecdsa-p384", "NIST CURVE: P-384");
}

#[test]
fn keys_of_ed25519() {
    live_through_with_keys_of("ed25519", "ED25519 Public-Key");
}

#[test]
fn keys_of_rsa_2048() {
    live_through_with_keys_of("rsa-2048", "Public-Key: (2048 bit)");
}

#[test]
fn keys_of_rsa_3072() {
    live_through_with_keys_of("rsa-3072", "Public-Key: (3072 bit)");
}
