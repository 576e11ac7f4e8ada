//! As a user installs it: what the chart renders is applied as it is, and the controller runs with the
//! arguments of its Deployment, finding the Deployment's service account where a Pod has it. Nobody is
//! an administrator.

use std::path::Path;
use std::time::Duration;

use relay_pki_testbed::{ApiServer, Component, Process, kubectl};
use serde_json::{Value, json};

use crate::support::fleet::{CLIENT, FORWARDING, IDENTITY, ROOT, SERVER, SIGNING};
use crate::support::handshake::rustls_to_rustls;
use crate::support::helm::{chart, helm, objects, of_kind, one};
use crate::support::kube::Clusters;
use crate::support::manifest::write_private;
use crate::support::verifiers::AUTHORITY;

const WORKLOADS: [&str; 3] = ["east", "north", "west"];

/// `helm template | kubectl apply`, as a person types it.
fn install(server: &ApiServer, namespace: &str, values: &[&str]) -> Vec<Value> {
    let chart = chart();
    let mut arguments = vec!["template", "relay-pki", chart.to_str().unwrap()];
    arguments.extend(["--namespace", namespace]);
    for value in values {
        arguments.extend(["--set", value]);
    }
    let output = helm(&arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    server.apply(&text);
    objects(&text)
}

/// Has a program find a service account where a Pod has it, and nobody else see that.
const POD: &str = "mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io \
    && cp -r \"$1\" /run/secrets/kubernetes.io/serviceaccount && shift && exec env \"$@\"";

/// One replica of the Deployment, as the kubelet would start it but for the port.
fn replica(deployment: &Value, server: &ApiServer, pod: &str, account: &Path) -> Process {
    let namespace = deployment["metadata"]["namespace"].as_str().unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut command: Vec<String> = ["--map-root-user", "--mount", "sh", "-c", POD, "sh"]
        .map(str::to_owned)
        .into();
    command.push(account.display().to_string());
    let url = server.url();
    let (host, port) = url
        .strip_prefix("https://")
        .unwrap()
        .rsplit_once(':')
        .unwrap();
    command.push(format!("KUBERNETES_SERVICE_HOST={host}"));
    command.push(format!("KUBERNETES_SERVICE_PORT={port}"));
    for variable in container["env"].as_array().unwrap() {
        let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
        let value = match field.unwrap() {
            "metadata.namespace" => namespace,
            "metadata.name" => pod,
            other => panic!("{other}"),
        };
        command.push(format!("{}={value}", variable["name"].as_str().unwrap()));
    }
    command.push(env!("CARGO_BIN_EXE_relay-pki").to_owned());
    let arguments = container["args"].as_array().unwrap().iter();
    let arguments = arguments.map(|argument| argument.as_str().unwrap());
    let mut listens = false;
    for argument in arguments {
        listens |= argument == "--listen=0.0.0.0:8080";
        command.push(argument.replace("0.0.0.0:8080", "127.0.0.1:0"));
    }
    assert!(listens, "{container:#}");
    Component::new(pod, "unshare", command).start()
}

fn can(kubeconfig: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let arguments = ["auth", "can-i", verb, resource, "--namespace", namespace];
    kubectl(kubeconfig, &arguments, "").status.success()
}

#[test]
fn a_relay_is_ready_from_what_the_chart_installs_and_nothing_else() {
    let clusters = Clusters::new("installed");
    let namespace = clusters.namespace();
    let management = clusters.management();
    let folder = tempfile::tempdir().unwrap();

    let rendered = install(management, namespace, &[]);
    let deployment = one(&rendered, "Deployment");
    let account = deployment["spec"]["template"]["spec"]["serviceAccountName"].as_str();
    let own = management.kubeconfig_for_service_account(namespace, account.unwrap());
    assert!(can(&own, "create", "secrets", namespace));
    assert!(!can(&own, "get", "secrets", "kube-system"));
    assert!(!can(&own, "create", "pods", namespace));
    let kubeconfig = folder.path().join("kubeconfig");
    write_private(&kubeconfig, own.as_bytes());
    // What the kubelet mounts.
    let mounted = folder.path().join("serviceaccount");
    std::fs::create_dir(&mounted).unwrap();
    let token = management.token(namespace, account.unwrap());
    for (file, content) in [
        ("token", token.as_str()),
        ("ca.crt", management.certificate_authority()),
        ("namespace", namespace),
    ] {
        write_private(&mounted.join(file), content.as_bytes());
    }

    let mut written = Vec::new();
    for (server, name) in clusters.workloads().iter().zip(WORKLOADS) {
        let values = ["controller.enabled=false", "agent.enabled=true"];
        let rendered = install(server, namespace, &values);
        let accounts = of_kind(&rendered, "ServiceAccount");
        let account = accounts[0]["metadata"]["name"].as_str().unwrap();
        let access = server.kubeconfig_for_service_account(namespace, account);
        assert!(!can(&access, "delete", "secrets", namespace));
        assert!(!can(&access, "get", "configmaps", namespace));
        written.push(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": format!("{name}-kubeconfig"), "namespace": namespace },
            "stringData": { "kubeconfig": access },
        }));
        written.push(json!({
            "apiVersion": "relay-pki.dev/v1alpha1", "kind": "RelayCluster",
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "relayRef": { "name": "gloo-mesh" },
                "kubeconfig": { "secretRef": { "name": format!("{name}-kubeconfig") } },
            },
        }));
    }
    let pods: Vec<Process> = (0..deployment["spec"]["replicas"].as_u64().unwrap())
        .map(|number| {
            let pod = format!("{namespace}-{number}");
            replica(deployment, management, &pod, &mounted)
        })
        .collect();
    assert_eq!(pods.len(), 2);
    written.push(json!({
        "apiVersion": "relay-pki.dev/v1alpha1", "kind": "Relay",
        "metadata": { "name": "gloo-mesh", "namespace": namespace },
        "spec": { "server": { "extraDnsNames": [AUTHORITY] } },
    }));
    let texts: Vec<String> = written.iter().map(Value::to_string).collect();
    management.apply(&texts.join("\n---\n"));

    let paths = [
        "relay/gloo-mesh",
        "relaycluster/east",
        "relaycluster/north",
        "relaycluster/west",
    ];
    for path in paths {
        let arguments = [
            "wait",
            path,
            "--for=condition=Ready=True",
            "--timeout=60s",
            "--namespace",
            namespace,
        ];
        let output = management.kubectl(&arguments, "");
        let logs: Vec<String> = pods.iter().map(Process::tail).collect();
        assert!(output.status.success(), "{path}: {logs:#?}");
    }

    // The table of the design, for the delivery `push`.
    let names = |server: &ApiServer| -> Vec<(String, String)> {
        let secrets = clusters.secrets(server, "app.kubernetes.io/managed-by=relay-pki");
        let relay = secrets
            .into_iter()
            .filter(|secret| secret.name.starts_with("relay-"));
        let relay = relay.filter(|secret| !secret.name.starts_with("relay-pki-"));
        let keys = |keys: Vec<&String>| -> String {
            let keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
            keys.join(" ")
        };
        let mut found: Vec<_> = relay
            .map(|secret| (secret.name.clone(), keys(secret.data.keys().collect())))
            .collect();
        found.sort();
        found
    };
    let row = |name: &str, keys: &str| (name.to_owned(), keys.to_owned());
    let mut wanted = [
        row(ROOT, "ca.crt"),
        row(SERVER, "ca.crt tls.crt tls.key"),
        row(IDENTITY, "token"),
        row(FORWARDING, "token"),
    ];
    wanted.sort();
    assert_eq!(names(management), wanted);
    let server = clusters.secret(management, SERVER);
    for (workload, name) in clusters.workloads().iter().zip(WORKLOADS) {
        let mut wanted = [
            row(ROOT, "ca.crt"),
            row(CLIENT, "ca.crt tls.crt tls.key"),
            row(IDENTITY, "token"),
            row(FORWARDING, "token"),
        ];
        wanted.sort();
        assert_eq!(names(workload), wanted, "{name}");
        let client = clusters.secret(workload, CLIENT);
        assert_eq!(rustls_to_rustls(&server, &client), Ok(name.to_owned()));
    }
    let signing = [
        "get",
        "secret",
        SIGNING,
        "--namespace",
        namespace,
        "--ignore-not-found",
    ];
    assert_eq!(management.must(&signing, ""), "");

    // An audit as the controller's account finds nothing either.
    let report = std::process::Command::new(env!("CARGO_BIN_EXE_relay-pki"))
        .args([
            "audit",
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
        report.status.success(),
        "{}{}",
        String::from_utf8_lossy(&report.stdout),
        String::from_utf8_lossy(&report.stderr)
    );
    for mut pod in pods {
        pod.terminate();
        let ended =
            relay_pki_testbed::eventually("the pod ends", Duration::from_secs(20), || pod.ended());
        assert_eq!(ended.code(), Some(0), "{}", pod.tail());
        assert!(!pod.said().contains("PRIVATE KEY"));
    }
}
