//! Workloads that are restarted while a rotation is under way, on real API servers.

use std::time::Duration;

use relay_pki_testbed::{ApiServer, eventually};
use serde_json::json;

use crate::support::fleet::{Fleet, clusters};
use crate::support::kube::Clusters;
use crate::support::rbac;
use crate::support::stage::{PATIENCE, Stage, condition};
use crate::support::workloads::{install, restarted_for, roll_out};

const SERVER: &str = "gloo-mesh-mgmt-server";
const AGENT: &str = "gloo-mesh-agent";

/// Longest that the controller leaves a roll-out alone.
const GATE: Duration = Duration::from_secs(40);

/// Waits until a Deployment is restarted.
fn restarted(server: &ApiServer, namespace: &str, name: &str) -> String {
    eventually(&format!("{namespace}/{name} is restarted"), GATE, || {
        restarted_for(server, namespace, "Deployment", name)
    })
}

/// The verb waits for the pods of each workload; nothing is restarted twice.
#[test]
fn a_verb_awaits_each_roll_out() {
    let real = Clusters::new("restarts");
    let namespace = real.namespace();
    let desk = real.desk(&format!(
        "  namespace: {namespace}\n  rotation: {{ soak: 0s, restart: [\
         {{ kind: Deployment, name: {SERVER}, role: management }}, \
         {{ kind: StatefulSet, name: {AGENT}, role: workload }}] }}\n  clusters:\n\
         \x20   - {{ name: mgmt, role: management, kubeconfig: {{ file: mgmt.yaml }} }}\n\
         \x20   - {{ name: c1, role: workload, kubeconfig: {{ file: w1.yaml }} }}\n",
    ));
    let (mgmt, c1) = (real.management(), &real.workloads()[0]);
    desk.done(&["bootstrap"]);
    desk.ends(&["rotate", "signer", "--timeout", "0"], 6)
        .says(&["Deployment/gloo-mesh-mgmt-server is not there"]);
    install(mgmt, namespace, "Deployment", SERVER);
    install(c1, namespace, "StatefulSet", AGENT);
    let run = desk.ends(&["rotation", "advance", "--timeout", "0"], 6);
    run.says(&[
        "restart",
        "Deployment/gloo-mesh-mgmt-server is rolled out: ",
    ]);
    let first = restarted_for(mgmt, namespace, "Deployment", SERVER);
    assert!(first.is_some());
    let status = desk.ends(&["rotation", "status"], 6);
    status.says(&[
        "Deployment/gloo-mesh-mgmt-server is rolled out: ",
        "StatefulSet/gloo-mesh-agent still runs with what was there before",
    ]);
    assert_eq!(
        restarted_for(c1, namespace, "StatefulSet", AGENT),
        None,
        "before the servers"
    );
    std::thread::scope(|scope| {
        let advance = scope.spawn(|| desk.done(&["rotation", "advance", "--timeout", "120"]));
        while !advance.is_finished() {
            roll_out(mgmt, namespace, "Deployment", SERVER);
            roll_out(c1, namespace, "StatefulSet", AGENT);
            std::thread::sleep(Duration::from_millis(200));
        }
        advance.join().unwrap().says(&["done"]);
    });
    assert_ne!(restarted_for(mgmt, namespace, "Deployment", SERVER), first);
    desk.done(&["bootstrap"]).says(&["Nothing to do"]);
}

#[test]
fn in_a_directory_nothing_can_be_restarted() {
    let restart =
        "  rotation: { restart: [{ kind: Deployment, name: server, role: management }] }\n";
    let fleet = Fleet::bootstrapped(&format!("{restart}{}", clusters(&["c1"])));
    let run = fleet.ends(&["rotate", "signer"], 6);
    run.says(&["mgmt: it is a directory", "rotation.approval: manual"]);
    fleet.write_spec(&clusters(&["c1"]));
    fleet.done(&["rotation", "advance"]).says(&["done"]);
}

/// The controller restarts with the rights that the chart and a registration give, and says which are
/// missing.
#[test]
fn the_controller_needs_no_more_than_get_and_patch() {
    let stage = Stage::new("restarting");
    let members = stage.members(&["c1"]);
    let member = &members[0];
    let (mgmt, home) = (stage.management(), stage.namespace());
    install(mgmt, home, "Deployment", SERVER);
    install(member.server, &member.namespace, "Deployment", AGENT);
    stage.join(&members);
    let rotation = json!({ "automatic": true, "soak": "0s", "restart": [
        { "kind": "Deployment", "name": SERVER, "role": "management" },
        { "kind": "Deployment", "name": AGENT, "role": "workload" },
    ] });
    stage.relay(json!({ "rotation": rotation }));
    let replica = stage.replica("r");
    stage.wait_ready(&members, PATIENCE);

    stage.relay(json!({ "rotation": rotation, "signer": { "keyType": "ecdsa-p384" } }));
    eventually("the missing right is named", GATE, || {
        let relay = stage.object(&stage.relay_path());
        let message = condition(&relay, "Rotating")["message"].to_string();
        (message.contains("deployments.apps") && message.contains("docs/rotation.md")).then_some(())
    });
    mgmt.apply(&rbac::restarts(home, rbac::CONTROLLER, home, SERVER));
    let first = restarted(mgmt, home, SERVER);
    member
        .server
        .apply(&rbac::restarts(&member.namespace, rbac::AGENT, home, AGENT));
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(
        restarted_for(member.server, &member.namespace, "Deployment", AGENT),
        None,
        "before the servers run"
    );
    eventually("the agent is restarted", GATE, || {
        roll_out(mgmt, home, "Deployment", SERVER);
        restarted_for(member.server, &member.namespace, "Deployment", AGENT)
    });
    stage.event(home, "Restarted", &["Deployment/gloo-mesh-agent in c1"]);
    // The new signer is in use: what runs in the management cluster starts with its certificate.
    eventually("the server is restarted once more", GATE, || {
        roll_out(member.server, &member.namespace, "Deployment", AGENT);
        let found = restarted_for(mgmt, home, "Deployment", SERVER);
        found.filter(|found| *found != first)
    });
    replica.terminate();
}
