//! Every `rotate` verb changes exactly what its name says.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::fleet::{
    CLIENT, FORWARDING, Fleet, IDENTITY, SERVER, SIGNING, clusters, workload,
};
use crate::support::tree::Difference;
use crate::support::verifiers::{Naming, assert_accepted, questions};

/// `mgmt`, the pushed agents `c1` to `c3` and the server-signed `signed`.
fn mixed_spec() -> String {
    let signed = "    - { name: signed, role: workload, directory: clusters/signed, delivery: server-signed }\n";
    format!("{}{signed}", clusters(&["c1", "c2", "c3"]))
}

/// What a run changed on disk.
fn changed_by(fleet: &Fleet, arguments: &[&str]) -> Difference {
    let before = fleet.tree();
    fleet.done(arguments);
    before.difference(&fleet.tree())
}

fn assert_verifies(fleet: &Fleet) {
    let all = ["c1", "c2", "c3", "signed"];
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &all));
}

#[test]
fn one_agent() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    let old = fleet.leaf("c2", CLIENT);
    let difference = changed_by(&fleet, &["rotate", "agent", "c2"]);
    assert_eq!(
        difference.changed,
        ["clusters/c2/relay-client-tls-secret.yaml"]
    );
    assert_eq!(
        difference.added,
        ["clusters/mgmt/relay-pki-gloo-mesh-request-agent-c2.configmap.yaml"]
    );
    let new = fleet.leaf("c2", CLIENT);
    assert!(new.serial != old.serial && new.public_key != old.public_key);
    assert_eq!(new.dns_names, ["c2"]);
    assert_verifies(&fleet);
}

#[test]
fn several_agents_by_name() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    let difference = changed_by(&fleet, &["rotate", "agent", "c1", "c3", "c1"]);
    let expected = ["c1", "c3"].map(|c| format!("clusters/{c}/relay-client-tls-secret.yaml"));
    assert_eq!(difference.changed, expected);
    assert_verifies(&fleet);
}

#[test]
fn an_agent_that_cannot_be_rotated_is_a_usage_error_and_nothing_changes() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    let before = fleet.tree();
    fleet
        .ends(&["rotate", "agent", "c9"], 2)
        .says(&["no cluster c9", "relay-pki status"]);
    fleet.ends(&["rotate", "agent", "signed"], 2).says(&[
        "relay server signs",
        "signed",
        "rotate signer",
    ]);
    fleet
        .ends(&["rotate", "agent", "mgmt"], 2)
        .says(&["no agent runs", "mgmt"]);
    // One wrong name among right ones.
    fleet.ends(&["rotate", "agent", "c1", "c9"], 2);
    fleet.ends(&["rotate", "agent"], 2);
    before.assert_unchanged(&fleet.tree());
}

#[test]
fn server() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    let old = fleet.leaf("mgmt", SERVER);
    let difference = changed_by(&fleet, &["rotate", "server"]);
    assert_eq!(
        difference.changed,
        ["clusters/mgmt/relay-server-tls-secret.yaml"]
    );
    let new = fleet.leaf("mgmt", SERVER);
    assert!(new.serial != old.serial && new.public_key != old.public_key);
    assert_eq!(new.dns_names, old.dns_names);
    assert_verifies(&fleet);
}

#[test]
fn signer() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    let old_signer = fleet.leaf("mgmt", SIGNING);
    changed_by(&fleet, &["rotate", "signer"]);
    let generation = |number: u64, status: &str| (number, status.to_owned());
    assert_eq!(fleet.generations("root"), [generation(1, "active")]);
    assert_eq!(
        fleet.generations("signer"),
        [generation(1, "retired"), generation(2, "active")]
    );

    let new_signer = fleet.leaf("mgmt", SIGNING);
    assert!(new_signer.is_ca && new_signer.public_key != old_signer.public_key);
    assert_eq!(new_signer.issuer, old_signer.issuer);
    assert_ne!(new_signer.subject, old_signer.subject);
    assert_verifies(&fleet);

    // Everything is on the new signer, and the old key is gone.
    for cluster in ["c1", "c2", "c3"] {
        assert_eq!(fleet.leaf(cluster, CLIENT).issuer, new_signer.subject);
    }
    assert_eq!(fleet.leaf("mgmt", SERVER).issuer, new_signer.subject);
    let key = "clusters/mgmt/relay-pki-gloo-mesh-signer-g1.yaml";
    assert!(!fleet.path(key).exists());
    assert_eq!(changed_by(&fleet, &["bootstrap"]), Difference::default());
}

/// The root goes through its phases from invocation to invocation, and back.
#[test]
fn root() {
    let waits = format!("  rotation: {{ soak: 1h }}\n{}", mixed_spec());
    let fleet = Fleet::bootstrapped(&waits);
    fleet.ends(&["rotate", "root"], 8).says(&["--yes"]);
    fleet
        .ends(&["rotation", "rollback"], 8)
        .says(&["no rotation"]);
    let run = fleet.ends(&["rotate", "root", "--yes"], 6);
    run.says(&["draining", "soak time"]);
    assert_verifies(&fleet);
    fleet
        .ends(&["rotate", "signer"], 8)
        .says(&["rotation 1 of the root"]);
    fleet.ends(&["rotation", "status"], 6).says(&["g1+g2"]);
    fleet.done(&["audit"]);
    fleet.done(&["rotation", "rollback"]);
    assert_verifies(&fleet);
    fleet.write_spec(&mixed_spec());
    fleet.done(&["rotate", "root", "--yes"]);
    let generation = |number: u64, status: &str| (number, status.to_owned());
    assert_eq!(
        fleet.generations("root"),
        [
            generation(1, "retired"),
            generation(2, "retired"),
            generation(3, "active")
        ]
    );
    assert_verifies(&fleet);
    fleet.done(&["rotation", "status"]);
}

/// The transcript is kept elsewhere and verified there; whoever changes it is found out.
#[test]
fn the_transcript_of_a_rotation() {
    let waits = format!("  rotation: {{ soak: 1h }}\n{}", mixed_spec());
    let fleet = Fleet::bootstrapped(&waits);
    fleet
        .ends(&["rotation", "log"], 2)
        .says(&["no rotation on record"]);
    fleet.ends(&["rotate", "root", "--yes"], 6);
    fleet
        .done(&["rotation", "log"])
        .says(&["begun: rotation of the root", "activating → reissuing"]);
    let export = |name: &str| {
        let lines = fleet
            .done(&["rotation", "log", "1", "--output", "json"])
            .stdout;
        std::fs::write(fleet.path(name), &lines).unwrap();
        lines
    };
    export("half.jsonl");
    let half = ["audit", "--transcript", "half.jsonl"];
    fleet.ends(&half, 3).says(&["R1034", "R1035"]);
    fleet.done(&["rotation", "rollback"]);
    let lines = export("whole.jsonl");
    let published = fleet.manifests("mgmt").into_iter().map(|(_, found)| found);
    let mut published = published.filter(|found| found.kind == "ConfigMap");
    let key = published.find(|found| found.name == "relay-pki-gloo-mesh-transcript-key");
    let key = key.unwrap();
    std::fs::write(fleet.path("public.pem"), key.entry("public.pem")).unwrap();
    let verify = |file: &str, code: i32| {
        let trusted = ["--transcript-key", "public.pem"];
        let arguments = [&["audit", "--transcript", file][..], &trusted].concat();
        fleet.ends(&arguments, code)
    };
    verify("whole.jsonl", 0);
    verify("half.jsonl", 3).says(&["R1034"]);
    let edited = lines.replacen("\"requested\"", "\"due\"", 1);
    assert_ne!(edited, lines);
    std::fs::write(fleet.path("edited.jsonl"), edited).unwrap();
    verify("edited.jsonl", 3).says(&["R1030", "line 1"]);
    fleet.done(&["audit"]);
}

/// On no terminal there is a line for each change, until somebody has seen enough, or it is over.
#[test]
fn watching_a_rotation() {
    let waits = format!("  rotation: {{ soak: 1h }}\n{}", mixed_spec());
    let fleet = Fleet::bootstrapped(&waits);
    let watch = ["rotation", "status", "--watch"];
    fleet.done(&watch).says(&["gloo-mesh phase=idle"]);
    let idle = fleet
        .done(&["rotation", "status", "--output", "json"])
        .json();
    assert_eq!(idle["phase"], "idle");
    assert_eq!(idle["waitingFor"], serde_json::json!([]));
    assert!(idle.as_object().unwrap().contains_key("expectedEnd"));
    fleet.ends(&["rotate", "root", "--yes"], 6);
    let status = fleet.ends(&["rotation", "status"], 6);
    status.says(&[
        "> draining for 0 m",
        "5 of 5 clusters are through, 0 missing",
    ]);
    let json = fleet
        .ends(&["rotation", "status", "--output", "json"], 6)
        .json();
    assert_eq!(json["phase"], "draining");
    assert!(json["expectedEnd"].is_string(), "{json:#}");
    let mut watching = fleet.command(&watch);
    let watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = Lines::of(watching);
    assert!(
        lines
            .next()
            .contains("rotation=1 phase=draining level=root direction=forward")
    );
    fleet.done(&["rotation", "rollback"]);
    // It goes through the phases back; what is seen of that depends on who is faster.
    while !lines.next().ends_with("phase=rolledback") {}
    assert_eq!(lines.ends(), Some(0));
    // Enough seen.
    fleet.ends(&["rotate", "root", "--yes"], 6);
    let mut watching = fleet.command(&watch);
    let watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    let pid = watching.id().to_string();
    let mut lines = Lines::of(watching);
    lines.next();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(lines.ends(), Some(130));
}

/// What a process says, line by line.
struct Lines {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Lines {
    fn of(mut process: Child) -> Self {
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("it says nothing more").unwrap()
    }

    fn ends(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

#[test]
fn tokens() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    let tokens = |name: &str| -> BTreeSet<Vec<u8>> {
        let clusters = ["mgmt", "c1", "c2", "c3", "signed"].iter();
        clusters
            .map(|cluster| fleet.secret(cluster, name).entry("token").to_vec())
            .collect()
    };
    let old = (tokens(IDENTITY), tokens(FORWARDING));
    let difference = changed_by(&fleet, &["rotate", "tokens"]);
    assert_eq!(
        difference.changed.len(),
        10,
        "two in each of five clusters: {difference:?}"
    );
    assert!(
        difference.changed.iter().all(|path| path.contains("token")),
        "{difference:?}"
    );
    let new = (tokens(IDENTITY), tokens(FORWARDING));
    assert_eq!((new.0.len(), new.1.len()), (1, 1), "the same everywhere");
    assert_ne!(new.0, new.1, "the forwarding token is another one");
    assert!(new.0 != old.0 && new.1 != old.1);
    let token = new.0.first().unwrap();
    assert!(token.len() >= 32 && token.is_ascii() && !token.iter().any(u8::is_ascii_whitespace));
    assert_eq!(changed_by(&fleet, &["bootstrap"]), Difference::default());
}

#[test]
fn due_when_nothing_is() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    assert_eq!(
        changed_by(&fleet, &["rotate", "due"]),
        Difference::default()
    );
    fleet.done(&["rotate", "due"]).says(&["Nothing to do"]);
    fleet.done(&["rotate", "due", "--dry-run", "--exit-code"]);
}

/// Puts a certificate in place of `cluster`'s that says the same, was issued by the same signer, but
/// started `begun` days ago and ends in `left` days: what time would have made of it.
fn age(fleet: &Fleet, cluster: &str, begun: i64, left: i64) {
    let signer = fleet.secret("mgmt", "relay-pki-gloo-mesh-signer-g1");
    let pem = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let key = rcgen::KeyPair::from_pem(&pem(signer.entry("tls.key"))).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&pem(signer.entry("tls.crt")), key).unwrap();
    fleet.edit(cluster, CLIENT, |secret| {
        let key = rcgen::KeyPair::from_pem(&pem(secret.entry("tls.key"))).unwrap();
        let mut leaf = rcgen::CertificateParams::new([cluster.to_owned()]).unwrap();
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.distinguished_name
            .push(rcgen::DnType::CommonName, cluster);
        let now = std::time::SystemTime::now();
        let day = |days: i64| time::Duration::days(days);
        leaf.not_before = time::OffsetDateTime::from(now) - day(begun);
        leaf.not_after = time::OffsetDateTime::from(now) + day(left);
        leaf.is_ca = rcgen::IsCa::ExplicitNoCa;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = leaf.signed_by(&key, &issuer).unwrap().pem();
        let chain = [leaf.as_bytes(), signer.entry("tls.crt")].concat();
        secret.data.insert("tls.crt".to_owned(), chain);
    });
}

#[test]
fn due_renews_what_is_past_its_fraction_and_nothing_else() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    // Thirty days at two thirds: the twentieth has passed for one, and not for the other.
    age(&fleet, "c1", 21, 9);
    age(&fleet, "c2", 10, 20);
    fleet.ends(&["rotate", "due", "--dry-run", "--exit-code"], 5);
    let old = fleet.client_leaves(&["c1", "c2", "c3"]);
    let difference = changed_by(&fleet, &["rotate", "due"]);
    assert_eq!(
        difference.changed,
        ["clusters/c1/relay-client-tls-secret.yaml"]
    );
    let new = fleet.leaf("c1", CLIENT);
    assert_ne!(new.public_key, old["c1"].public_key);
    assert_verifies(&fleet);
    assert_eq!(
        changed_by(&fleet, &["rotate", "due"]),
        Difference::default(),
        "what was renewed is not due again"
    );
}

#[test]
fn what_has_expired_is_due_and_unusable() {
    let fleet = Fleet::bootstrapped(&mixed_spec());
    age(&fleet, "c1", 31, -1);
    age(&fleet, "c2", 31, -1);
    fleet.done(&["rotate", "due"]);
    assert_verifies(&fleet);
    age(&fleet, "c1", 31, -1);
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet);
}

#[test]
fn the_shortest_validity_that_a_document_may_ask_for_is_issued() {
    let fleet = Fleet::new(&format!(
        "  agents: {{ validity: 10m }}\n{}",
        clusters(&["c1"])
    ));
    fleet.done(&["bootstrap"]);
    assert_accepted(&questions(&fleet, &Naming::default(), &["mgmt"], &["c1"]));
}

#[test]
fn due_finishes_a_rotation_that_could_not_reach_a_cluster() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    let old = fleet.client_leaves(&["c1", "c2"]);
    let broken = fleet.path("clusters/c2/broken.yaml");
    std::fs::write(&broken, "a: [").unwrap();
    fleet.ends(&["rotate", "agents"], 7);
    assert_ne!(fleet.leaf("c1", CLIENT).serial, old["c1"].serial);
    assert_eq!(fleet.leaf("c2", CLIENT).serial, old["c2"].serial);
    std::fs::remove_file(broken).unwrap();
    let difference = changed_by(&fleet, &["rotate", "due"]);
    assert_eq!(
        difference.changed,
        ["clusters/c2/relay-client-tls-secret.yaml"]
    );
    assert_eq!(
        changed_by(&fleet, &["rotate", "due"]),
        Difference::default()
    );
}

#[test]
fn rotating_again_is_another_rotation() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let mut serials = vec![fleet.leaf("c1", CLIENT).serial];
    for _ in 0..3 {
        fleet.done(&["rotate", "agents"]);
        serials.push(fleet.leaf("c1", CLIENT).serial);
    }
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), 4);
}

#[test]
fn a_cluster_that_joins_after_a_rotation_is_not_rotated_on_its_first_day() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    fleet.done(&["rotate", "agents"]);
    fleet.done(&["rotate", "tokens"]);
    fleet.write_spec(&format!("{}{}", clusters(&["c1"]), workload("late")));
    fleet.done(&["bootstrap"]);
    assert_eq!(
        changed_by(&fleet, &["rotate", "due"]),
        Difference::default()
    );
}

#[test]
fn a_fleet_without_certificates_cannot_be_rotated() {
    let fleet = Fleet::new(&clusters(&["c1"]));
    for verb in ["agents", "server", "signer", "tokens", "due"] {
        let run = fleet.run(&["rotate", verb]);
        assert!(
            run.code == Some(8) || run.code == Some(1),
            "rotate {verb}: {run:#?}"
        );
        run.says(&["bootstrap"]);
    }
    fleet.done(&["bootstrap"]);
    assert_eq!(changed_by(&fleet, &["bootstrap"]), Difference::default());
}
