//! The verbs on real API servers: by the contexts of a document, and by the objects of a Relay.

use std::process::{Child, Stdio};
use std::time::Duration;

use relay_pki_testbed::{ApiServer, eventually};

use crate::support::fleet::{CLIENT, Fleet, IDENTITY, Run, SERVER, clusters};
use crate::support::handmade::{Family, Recipe};
use crate::support::handshake::rustls_to_rustls;
use crate::support::kube::Clusters;
use crate::support::verifiers::AUTHORITY;

/// A document whose clusters are contexts of kubeconfigs.
fn by_contexts(real: &Clusters, more: &str) -> Fleet {
    real.desk(&format!(
        "  namespace: {}\n  server: {{ extraDnsNames: [{AUTHORITY}] }}\n{more}  clusters:\n\
         \x20   - {{ name: mgmt, role: management, kubeconfig: {{ file: mgmt.yaml }} }}\n\
         \x20   - {{ name: c1, role: workload, kubeconfig: {{ file: w1.yaml, context: workload-1 }} }}\n\
         \x20   - {{ name: c2, role: workload, kubeconfig: {{ file: w2.yaml }} }}\n",
        real.namespace()
    ))
}

fn secrets(real: &Clusters) -> usize {
    let servers = std::iter::once(real.management()).chain(real.workloads());
    servers
        .map(|server| {
            real.secrets(server, "app.kubernetes.io/managed-by=relay-pki")
                .len()
        })
        .sum()
}

/// Whether the agent and the server of the relay talk to each other.
fn meet(real: &Clusters, workload: &ApiServer, name: &str) {
    let server = real.secret(real.management(), SERVER);
    let client = real.secret(workload, CLIENT);
    assert_eq!(rustls_to_rustls(&server, &client), Ok(name.to_owned()));
}

#[test]
fn contexts_live_through_what_directories_live_through() {
    let real = Clusters::new("contexts");
    let desk = by_contexts(&real, "");
    let (mgmt, c1) = (real.management(), &real.workloads()[0]);

    desk.ends(&["bootstrap", "--dry-run", "--exit-code"], 5)
        .says(&["Plan:", "to create"]);
    assert_eq!(secrets(&real), 0);
    desk.done(&["bootstrap"]).says(&["Done"]);
    meet(&real, c1, "c1");
    meet(&real, &real.workloads()[1], "c2");
    let all = secrets(&real);
    assert!(all >= 10, "{all}");
    desk.done(&["bootstrap"]).says(&["Nothing to do"]);
    desk.done(&["bootstrap", "--dry-run", "--exit-code"]);
    desk.done(&["audit"]);
    let status = desk.done(&["status", "--output", "json"]).json();
    assert_eq!(status["incomplete"], false);
    assert_eq!(status["toConverge"], 0);

    let agent = real.leaf(c1, CLIENT);
    let server = real.leaf(mgmt, SERVER);
    desk.done(&["rotate", "agents"]);
    let renewed = real.leaf(c1, CLIENT);
    assert_ne!(renewed.serial, agent.serial);
    assert_ne!(renewed.public_key, agent.public_key);
    assert_eq!(real.leaf(mgmt, SERVER).serial, server.serial);
    desk.done(&["rotate", "server"]);
    assert_ne!(real.leaf(mgmt, SERVER).serial, server.serial);
    assert_eq!(real.leaf(c1, CLIENT).serial, renewed.serial);
    desk.done(&["rotate", "signer"]);
    desk.done(&["rotate", "agents"]);
    assert_ne!(real.leaf(c1, CLIENT).issuer, renewed.issuer);
    let token = real.secret(c1, IDENTITY).entry("token").to_vec();
    desk.done(&["rotate", "tokens"]);
    assert_ne!(real.secret(c1, IDENTITY).entry("token"), token);
    assert_eq!(
        real.secret(c1, IDENTITY).data,
        real.secret(mgmt, IDENTITY).data
    );
    desk.done(&["rotate", "due"]).says(&["Nothing to do"]);
    desk.done(&["audit"]);
    meet(&real, c1, "c1");
    meet(&real, &real.workloads()[1], "c2");

    // Somebody deletes a Secret.
    c1.must(&["delete", "secret", CLIENT, "-n", real.namespace()], "");
    desk.ends(&["audit"], 3).says(&["c1"]);
    desk.done(&["bootstrap"]).says(&["1 created"]);
    meet(&real, c1, "c1");
}

#[test]
fn without_the_definitions_a_controller_says_how_to_install_them() {
    let real = Clusters::new("contexts-bare");
    let desk = by_contexts(&real, "");
    let arguments = ["controller", "--kubeconfig", "w1.yaml", "--namespace"];
    let run = desk.ends(&[&arguments[..], &[real.namespace()]].concat(), 1);
    run.says(&[
        "does not know relays.relay-pki.dev",
        "relay-pki crds | kubectl apply",
    ]);
}

#[test]
fn foreign_secrets_are_adopted_on_request_only() {
    let real = Clusters::new("contexts-adopt");
    let made = Fleet::new(&clusters(&["c1", "c2"]));
    Family::make(Recipe::default()).write_into(&made);
    let servers = std::iter::once(real.management()).chain(real.workloads());
    for (server, cluster) in servers.zip(["mgmt", "c1", "c2"]) {
        for (path, mut manifest) in made.manifests(cluster) {
            manifest.namespace = real.namespace().to_owned();
            manifest.write_as_kubectl(&path);
            server.must(&["apply", "-f", path.to_str().unwrap()], "");
        }
    }
    let c1 = &real.workloads()[0];
    let before = real.leaf(c1, CLIENT);
    let desk = by_contexts(&real, "  tokens: { identity: {} }\n");
    let refused = desk.ends(&["bootstrap"], 8);
    refused.says(&["is not managed by relay-pki", "bootstrap --adopt"]);
    assert!(!refused.stdout.contains("manifest"), "{refused:#?}");
    assert!(!refused.stdout.contains("chmod"), "{refused:#?}");
    assert_eq!(real.leaf(c1, CLIENT).serial, before.serial);
    assert_eq!(secrets(&real), 0);
    desk.done(&["bootstrap", "--adopt"]);
    meet(&real, c1, "c1");
    // Live agents keep what they have.
    assert_eq!(real.leaf(c1, CLIENT).serial, before.serial);
    let labels = real.secret(c1, CLIENT).labels;
    assert_eq!(labels["app.kubernetes.io/managed-by"], "relay-pki");
}

/// A Relay with two registered clusters, and the arguments that lead to it.
struct Objects {
    real: Clusters,
    desk: Fleet,
}

impl Objects {
    fn new(prefix: &str) -> Self {
        let real = Clusters::new(prefix);
        real.relay(&format!("{{ server: {{ extraDnsNames: [{AUTHORITY}] }} }}"));
        let desk = real.desk("");
        for number in [1, 2] {
            let url = real.workloads()[number - 1].url();
            let (name, file) = (format!("c{number}"), format!("w{number}.yaml"));
            let register = ["cluster", "register", &name, "--kubeconfig", &file];
            let management = ["--management-kubeconfig", "mgmt.yaml", "--server", &url];
            let namespace = ["-n", real.namespace()];
            desk.done(&[&register[..], &management, &namespace].concat());
        }
        Self { real, desk }
    }

    fn arguments<'a>(&'a self, verb: &[&'a str]) -> Vec<&'a str> {
        let relay = ["--relay", "gloo-mesh", "--kubeconfig", "mgmt.yaml"];
        let place = ["--context", "management", "-n", self.real.namespace()];
        [verb, &relay, &place].concat()
    }
}

#[test]
fn the_verbs_work_on_objects() {
    let objects = Objects::new("objects");
    let (real, desk) = (&objects.real, &objects.desk);
    let c1 = &real.workloads()[0];
    // There is a document here, and it is none of their business; neither is the environment.
    let run = |verb: &[&str], code| {
        let arguments = objects.arguments(verb);
        let mut command = desk.command(&arguments);
        command.env("RELAY_PKI_FILE", "no-such-file");
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.code, Some(code), "{verb:?}: {run:#?}");
        run
    };
    run(&["bootstrap", "--dry-run", "--exit-code"], 5);
    run(&["bootstrap"], 0);
    meet(real, c1, "c1");
    meet(real, &real.workloads()[1], "c2");
    run(&["bootstrap"], 0).says(&["Nothing to do"]);
    run(&["audit"], 0);
    let before = real.leaf(c1, CLIENT).serial;
    run(&["rotate", "agents"], 0);
    assert_ne!(real.leaf(c1, CLIENT).serial, before);
    run(&["rotate", "agent", "nobody"], 2).says(&["gloo-mesh has no cluster nobody"]);

    // A RelayCluster that cannot be stands in nobody's way.
    let secret = "{ secretRef: { name: c1-kubeconfig } }";
    let spec = format!("{{ relayRef: {{ name: gloo-mesh }}, kubeconfig: {secret} }}");
    real.relay_cluster("twin", &spec);
    let before = real.leaf(c1, CLIENT).serial;
    run(&["rotate", "agents"], 7).says(&["left out", "RelayCluster twin"]);
    assert_ne!(real.leaf(c1, CLIENT).serial, before);
    let status = run(&["status", "--output", "json"], 7).json();
    assert_eq!(status["incomplete"], true);
    assert_eq!(status["unreadable"][0]["cluster"], "twin");
    run(&["audit"], 7).says(&["R0405", "twin"]);

    let unknown = [
        "--relay",
        "other",
        "--kubeconfig",
        "mgmt.yaml",
        "-n",
        real.namespace(),
    ];
    desk.ends(&[&["status"][..], &unknown].concat(), 2)
        .says(&["there is no Relay other"]);
}

/// A controller that ends with the test.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_person_rotates_while_the_controller_runs() {
    let objects = Objects::new("objects-beside");
    let (real, desk) = (&objects.real, &objects.desk);
    let c1 = &real.workloads()[0];
    let place = ["--namespace", real.namespace(), "--kubeconfig", "mgmt.yaml"];
    let listen = ["controller", "--listen", "127.0.0.1:0"];
    let mut command = desk.command(&[&listen[..], &place].concat());
    command.stderr(Stdio::null()).stdout(Stdio::null());
    let controller = Controller(command.spawn().unwrap());
    let ready = [
        "wait",
        "--for=condition=Ready",
        "--timeout=90s",
        "relay/gloo-mesh",
    ];
    real.management()
        .must(&[&ready[..], &["-n", real.namespace()]].concat(), "");
    meet(real, c1, "c1");
    let before = real.leaf(c1, CLIENT).serial;
    desk.done(&objects.arguments(&["rotate", "agents"]));
    eventually("a new certificate", Duration::from_secs(30), || {
        (real.leaf(c1, CLIENT).serial != before).then_some(())
    });
    desk.done(&objects.arguments(&["audit"]));
    drop(controller);
}
