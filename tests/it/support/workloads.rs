//! Workloads on API servers without controllers: what those would write, the test writes.

use relay_pki_testbed::ApiServer;
use serde_json::{Value, json};

/// Installs a workload with two pods.
pub(crate) fn install(server: &ApiServer, namespace: &str, kind: &str, name: &str) {
    let labels = json!({ "app": name });
    let mut spec = json!({
        "selector": { "matchLabels": labels },
        "template": {
            "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "main", "image": "registry.example.com/main" }] },
        },
    });
    if kind != "DaemonSet" {
        spec["replicas"] = json!(2);
    }
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(name);
    }
    let workload = json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    });
    server.apply(&workload.to_string());
}

/// One more step towards both pods of a workload being of its template: starts the pods that the controller
/// of a Deployment made, as a kubelet would, and writes what the controllers of other kinds would.
pub(crate) fn roll_out(server: &ApiServer, namespace: &str, kind: &str, name: &str) {
    let status = match kind {
        "Deployment" => return start_pods(server, namespace, name),
        "DaemonSet" => json!({
            "currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 0,
            "numberReady": 2, "numberAvailable": 2, "updatedNumberScheduled": 2,
        }),
        _ => json!({
            "replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2,
        }),
    };
    let mut status = json!({ "status": status });
    let generation = &workload(server, namespace, kind, name)["metadata"]["generation"];
    status["status"]["observedGeneration"] = generation.clone();
    patch_status(server, namespace, kind, name, &status);
}

fn start_pods(server: &ApiServer, namespace: &str, name: &str) {
    let app = format!("app={name}");
    let list = server.json(&["get", "pods", "-l", &app, "-n", namespace]);
    for pod in list["items"].as_array().unwrap() {
        if pod["status"]["phase"] != "Running" {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let running = json!({ "status": { "phase": "Running", "conditions": [
                { "type": "Ready", "status": "True" },
            ] } });
            patch_status(server, namespace, "pod", name, &running);
        }
    }
}

/// Whoever replaces it at the same moment may be faster.
fn patch_status(server: &ApiServer, namespace: &str, kind: &str, name: &str, patch: &Value) {
    let patch = patch.to_string();
    let what = ["patch", kind, name, "-n", namespace];
    let how = ["--subresource=status", "--type=merge", "--patch", &patch];
    server.kubectl(&[what.as_slice(), &how].concat(), "");
}

/// What a workload was restarted for.
pub(crate) fn restarted_for(
    server: &ApiServer,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Option<String> {
    let found = workload(server, namespace, kind, name);
    let annotations = &found["spec"]["template"]["metadata"]["annotations"];
    annotations["relay-pki.dev/restarted-for"]
        .as_str()
        .map(str::to_owned)
}

fn workload(server: &ApiServer, namespace: &str, kind: &str, name: &str) -> Value {
    server.json(&["get", kind, name, "-n", namespace])
}
