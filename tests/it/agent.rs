//! `relay-pki agent` as a process: with files against a server for directories, and with the Secrets of
//! real clusters against a controller that has no access to them, as the chart installs both.

use std::fs;
use std::path::Path;
use std::time::Duration;

use relay_pki_testbed::{ApiServer, Component, Process, eventually};
use serde_json::{Value, json};

use crate::support::certificate::leaf;
use crate::support::enrolment::{Server, spec};
use crate::support::fleet::{CLIENT, Fleet, ROOT, SERVER};
use crate::support::handshake::rustls_to_rustls;
use crate::support::helm::{chart, helm, objects, one};
use crate::support::kube::Clusters;
use crate::support::manifest::{Manifest, write_private};
use crate::support::tools::openssl;
use crate::support::verifiers::AUTHORITY;

const SOON: Duration = Duration::from_secs(90);

fn agent(name: &str, arguments: Vec<String>) -> Process {
    let program = env!("CARGO_BIN_EXE_relay-pki");
    let arguments = std::iter::once("agent".to_owned()).chain(arguments);
    Component::new(name, program, arguments.collect::<Vec<_>>()).start()
}

/// Ends it as Kubernetes does. It has to end well, and to have said no secret.
fn end(mut process: Process, secrets: &[&str]) {
    process.terminate();
    let ended = eventually("it ends", SOON, || process.ended());
    let said = process.said();
    assert_eq!(ended.code(), Some(0), "{said}");
    for secret in secrets.iter().chain(&["PRIVATE KEY", "panicked"]) {
        assert!(!said.contains(secret), "{secret}");
    }
}

/// SHA-256 of the root in a PEM file, as OpenSSL prints it.
fn fingerprint(dir: &Path, file: &str) -> String {
    let text = openssl(
        dir,
        &["x509", "-in", file, "-noout", "-fingerprint", "-sha256"],
    );
    let text = String::from_utf8(text).unwrap();
    format!("sha256:{}", text.trim().split_once('=').unwrap().1)
}

#[test]
fn a_plain_process_keeps_files() {
    let spec = spec(&["cluster-1"]) + "  agents: { validity: 10m }\n";
    let fleet = Fleet::bootstrapped(&spec);
    let root = fleet.secret("mgmt", ROOT);
    fs::write(fleet.path("root.pem"), &root.data["ca.crt"]).unwrap();
    let server = Server::start(&fleet);
    let token = fleet.done(&["token", "create", "cluster-1"]).stdout;
    write_private(&fleet.path("token"), token.as_bytes());
    let directory = fleet.path("agent");
    let process = agent(
        "agent-files",
        vec![
            "--cluster=cluster-1".to_owned(),
            format!("--server={}", server.origin()),
            format!(
                "--trust-fingerprint={}",
                fingerprint(fleet.dir(), "root.pem")
            ),
            format!("--token-file={}", fleet.path("token").display()),
            format!("--directory={}", directory.display()),
            "--poll=5s".to_owned(),
            // Ten minutes are the shortest life; this is part of the first one of them.
            "--renew-at=0.11".to_owned(),
            "--log-format=text".to_owned(),
        ],
    );
    let certificate = || fs::read(directory.join("tls.crt")).ok();
    let first = eventually("a certificate", SOON, certificate);
    assert_eq!(
        fs::read(directory.join("ca.crt")).unwrap(),
        root.data["ca.crt"]
    );
    // Its own chain is enough for OpenSSL.
    let verify = |dir: &Path| {
        fs::copy(directory.join("tls.crt"), dir.join("tls.crt")).unwrap();
        openssl(
            dir,
            &[
                "verify",
                "-x509_strict",
                "-purpose",
                "sslclient",
                "-CAfile",
                "root.pem",
                "-untrusted",
                "tls.crt",
                "tls.crt",
            ],
        );
    };
    verify(fleet.dir());
    let renewed = || certificate().filter(|now| *now != first);
    eventually("another certificate", SOON, renewed);
    verify(fleet.dir());
    // What it holds is known.
    let list = || -> Value {
        serde_json::from_str(&fleet.done(&["token", "list", "-o", "json"]).stdout).unwrap()
    };
    let bundle = eventually("it has acknowledged", SOON, || {
        list()["enrolments"][0]["bundle"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(bundle.starts_with("sha256:"), "{bundle}");
    assert_eq!(list()["enrolments"][0]["token"], "used");
    // Revoked, it keeps what it has and says so; let in again, it takes a new token.
    fleet.done(&["revoke", "cluster-1"]);
    eventually("it is refused", SOON, || {
        let said = process.said();
        said.contains("the server does not take the certificate any more")
            .then_some(())
    });
    let kept = certificate().unwrap();
    fleet.done(&["revoke", "cluster-1", "--lift"]);
    let second = fleet.done(&["token", "create", "cluster-1"]).stdout;
    write_private(&fleet.path("token"), second.as_bytes());
    let enrolled = || certificate().filter(|now| *now != kept);
    eventually("it is back", SOON, enrolled);
    verify(fleet.dir());
    end(process, &[token.trim(), second.trim()]);
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let fleet = Fleet::new(&spec(&[]));
    let server = "--server=https://relay.example.com:9443";
    for (arguments, words) in [
        (
            vec!["--cluster=cluster-1", "--server=http://relay.example.com"],
            "https://",
        ),
        (
            vec![
                "--cluster=cluster-1",
                "--server=https://relay.example.com/est",
            ],
            "behind the host",
        ),
        (vec!["--cluster=7", server], "ends like an IP address"),
        (
            vec!["--cluster=a", server, "--poll=1s"],
            "--poll is shorter than 5s",
        ),
        (
            vec!["--cluster=a", server, "--trust-fingerprint=abc"],
            "no fingerprint of a root",
        ),
        (
            vec!["--cluster=a", server, "--restart=pod/a"],
            "no workload",
        ),
        (
            vec!["--cluster=a", server, "--renew-at=2"],
            "no renewal point",
        ),
        (
            vec![
                "--cluster=a",
                server,
                "--directory=a",
                "--restart=deployment/a",
            ],
            "cannot be used with",
        ),
    ] {
        let all: Vec<&str> = std::iter::once("agent").chain(arguments).collect();
        let run = fleet.ends(&all, 2);
        assert!(run.stderr.contains(words), "{all:?}: {}", run.stderr);
    }
}

/// A workload cluster with what the chart installs there.
struct Workload<'a> {
    server: &'a ApiServer,
    name: &'static str,
    arguments: Vec<String>,
    kubeconfig: String,
}

/// `helm template | kubectl apply` in a workload cluster.
fn install<'a>(
    server: &'a ApiServer,
    namespace: &str,
    name: &'static str,
    url: &str,
    pin: &str,
) -> Workload<'a> {
    let chart = chart();
    let sets = format!(
        "controller.enabled=false,agent.enabled=true,agent.cluster={name},agent.server={url},\
         agent.serverName={AUTHORITY},agent.trustFingerprints[0]={pin},agent.poll=5s,agent.renewAt=0.11,\
         agent.restart[0]=deployment/gloo-mesh-agent"
    );
    let chart = chart.to_str().unwrap();
    let output = helm(&[
        "template",
        "relay-pki",
        chart,
        "--namespace",
        namespace,
        "--set",
        &sets,
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let rendered = objects(&text);
    // Nothing runs pods here; the agent is started as the kubelet would.
    let applied: Vec<String> = rendered
        .iter()
        .filter(|object| object["kind"] != "Deployment")
        .map(Value::to_string)
        .collect();
    server.apply(&applied.join("\n---\n"));
    let pod = &one(&rendered, "Deployment")["spec"]["template"]["spec"];
    let account = pod["serviceAccountName"].as_str().unwrap();
    let arguments = pod["containers"][0]["args"].as_array().unwrap().iter();
    let arguments = arguments.map(|argument| argument.as_str().unwrap());
    let arguments = arguments
        .skip(1)
        .map(|argument| argument.replace("0.0.0.0:8080", "127.0.0.1:0"));
    Workload {
        server,
        name,
        arguments: arguments.collect(),
        kubeconfig: server.kubeconfig_for_service_account(namespace, account),
    }
}

fn gloo_agent(namespace: &str) -> Value {
    let labels = json!({ "app": "gloo-mesh-agent" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "gloo-mesh-agent", "namespace": namespace },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "agent", "image": "gloo-mesh-agent" }] },
            },
        },
    })
}

#[test]
fn three_clusters_enrol_and_renew_with_nobody_having_access_to_them() {
    let clusters = Clusters::new("agents");
    let namespace = clusters.namespace();
    let management = clusters.management();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("management");
    write_private(&kubeconfig, management.admin_kubeconfig().as_bytes());
    clusters.relay(&format!(
        "{{ server: {{ extraDnsNames: [{AUTHORITY}] }}, agents: {{ validity: 10m }} }}"
    ));
    let names = ["east", "north", "west"];
    for name in names {
        clusters.relay_cluster(name, "{ relayRef: { name: gloo-mesh }, delivery: enroll }");
    }
    let controller = Component::new(
        &format!("{namespace}-controller"),
        env!("CARGO_BIN_EXE_relay-pki"),
        [
            "controller".to_owned(),
            format!("--namespace={namespace}"),
            format!("--kubeconfig={}", kubeconfig.display()),
            "--listen=127.0.0.1:0".to_owned(),
            "--enrolment-listen=127.0.0.1:0".to_owned(),
            "--log-format=text".to_owned(),
        ],
    )
    .start();
    let url = eventually("agents may enrol", SOON, || {
        let said = controller.said();
        let line = said
            .lines()
            .find(|line| line.contains("agents enrol here"))?;
        let address = line.split_once("address=")?.1.split_whitespace().next()?;
        Some(format!("https://{address}"))
    });
    let root = eventually("there is a root", SOON, || {
        let arguments = [
            "get",
            "secret",
            ROOT,
            "-n",
            namespace,
            "-o",
            "json",
            "--ignore-not-found",
        ];
        Manifest::parse(&management.must(&arguments, "")).ok()
    });
    fs::write(folder.path().join("root.pem"), &root.data["ca.crt"]).unwrap();
    let pin = fingerprint(folder.path(), "root.pem");
    eventually("there is a server certificate", SOON, || {
        let arguments = [
            "get",
            "secret",
            SERVER,
            "-n",
            namespace,
            "-o",
            "name",
            "--ignore-not-found",
        ];
        (!management.must(&arguments, "").is_empty()).then_some(())
    });

    let mut tokens = Vec::new();
    let mut agents = Vec::new();
    for (server, name) in clusters.workloads().iter().zip(names) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_relay-pki"))
            .args([
                "token",
                "create",
                name,
                "--relay",
                "gloo-mesh",
                "--namespace",
                namespace,
                "--kubeconfig",
            ])
            .arg(&kubeconfig)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "relay-pki-enrolment-token", "namespace": namespace },
            "stringData": { "token": token },
        });
        server.apply(&format!("{secret}\n---\n{}", gloo_agent(namespace)));
        let workload = install(server, namespace, name, &url, &pin);
        let access = folder.path().join(name);
        write_private(&access, workload.kubeconfig.as_bytes());
        let mut arguments = workload.arguments.clone();
        arguments.push(format!("--namespace={namespace}"));
        arguments.push(format!("--kubeconfig={}", access.display()));
        agents.push((agent(&format!("{namespace}-{name}"), arguments), workload));
        tokens.push(token);
    }
    let find = |server: &ApiServer, name: &str| {
        let arguments = [
            "get",
            "secret",
            name,
            "-n",
            namespace,
            "-o",
            "json",
            "--ignore-not-found",
        ];
        Manifest::parse(&server.must(&arguments, "")).ok()
    };
    let server = clusters.secret(management, SERVER);
    for (process, workload) in &agents {
        let first = eventually(
            &format!("{} enrols: {}", workload.name, process.tail()),
            SOON,
            || find(workload.server, CLIENT),
        );
        // The table of the design, for the delivery `enroll`.
        let keys = |secret: &Manifest| secret.data.keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(keys(&first), "ca.crt tls.crt tls.key");
        assert_eq!(first.secret_type, "kubernetes.io/tls");
        let trust = find(workload.server, ROOT).unwrap();
        assert_eq!(keys(&trust), "ca.crt");
        assert_eq!(trust.secret_type, "Opaque");
        let managed: Vec<String> = clusters
            .secrets(workload.server, "relay-pki.dev/relay=gloo-mesh")
            .into_iter()
            .map(|secret| secret.name)
            .collect();
        assert_eq!(managed, [CLIENT, ROOT]);
        assert_eq!(
            rustls_to_rustls(&server, &first),
            Ok(workload.name.to_owned())
        );
        // The relay's agent runs with the roots.
        let arguments = ["get", "deployment", "gloo-mesh-agent", "-n", namespace];
        let annotation = eventually(&format!("restarted: {}", process.tail()), SOON, || {
            let found = workload.server.json(&arguments);
            let annotations = &found["spec"]["template"]["metadata"]["annotations"];
            annotations["relay-pki.dev/trust"]
                .as_str()
                .map(str::to_owned)
        });
        // And so the management cluster knows.
        eventually(&format!("acknowledged: {}", process.tail()), SOON, || {
            let record = format!("relay-pki-gloo-mesh-enrolment-{}", workload.name);
            let arguments = ["get", "configmap", &record, "-n", namespace, "-o", "json"];
            management
                .must(&arguments, "")
                .contains(&annotation)
                .then_some(())
        });
        let before = leaf(first.entry("tls.crt"));
        let renewed = eventually(
            &format!("{} renews: {}", workload.name, process.tail()),
            SOON,
            || {
                let now = find(workload.server, CLIENT)?;
                (now.data["tls.crt"] != first.data["tls.crt"]).then_some(now)
            },
        );
        assert_ne!(renewed.data["tls.key"], first.data["tls.key"]);
        assert_ne!(leaf(renewed.entry("tls.crt")).serial, before.serial);
        assert_eq!(
            rustls_to_rustls(&server, &renewed),
            Ok(workload.name.to_owned())
        );
    }
    for ((process, _), token) in agents.into_iter().zip(&tokens) {
        end(process, &[token]);
    }
    end(controller, &[]);
}
