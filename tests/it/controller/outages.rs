//! API servers that are restarted, and writes that never succeed for a while.

use relay_pki_testbed::{Fault, Interceptor, Testbed};
use serde_json::json;

use crate::support::fleet::CLIENT;
use crate::support::history::{History, leaves};
use crate::support::stage::{PATIENCE, SOON, Stage};

/// It is management and workload cluster at once: everything is gone for a while.
#[test]
fn an_api_server_is_restarted() {
    let server = Testbed::shared().extra_server("restarted");
    let stage = Stage::on(&server);
    let members = stage.members(&["c1", "c2"]);
    let mut replica = Some(stage.replica("a"));
    stage.relay(json!({}));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    let before: Vec<_> = members.iter().map(|m| m.secret(CLIENT)).collect();
    server.restart();
    members[0].delete_secret(CLIENT);
    // Without its Lease for too long it ends, and is started again as by a Deployment.
    let found = relay_pki_testbed::eventually("the Secret is back", PATIENCE, || {
        if replica.as_mut().is_some_and(|replica| replica.has_ended()) {
            replica = Some(stage.replica("b"));
        }
        members[0].find_secret(CLIENT)
    });
    assert_ne!(found.data, before[0].data);
    stage.wait_ready(&members, SOON);
    assert_eq!(members[1].secret(CLIENT), before[1]);
    stage.assert_chains(&members);
}

/// Somebody is always faster, in every cluster.
#[test]
fn every_write_is_a_conflict_for_a_while() {
    let stage = Stage::new("conflict");
    let mut members = stage.members(&["c1"]);
    let workload = Interceptor::before(members[0].server);
    members[0].kubeconfig = workload.kubeconfig(&members[0].kubeconfig);
    let management = Interceptor::before(stage.management());
    stage.write_kubeconfig(&management.kubeconfig(&stage.kubeconfig()));
    let histories = [
        History::begin(stage.management(), stage.namespace()),
        History::begin(members[0].server, stage.namespace()),
    ];
    // The CAs cannot even be begun.
    for (method, path) in [
        ("POST", "/configmaps"),
        ("POST", "/secrets"),
        ("PATCH", "/secrets"),
    ] {
        management.inject(Fault::answer(method, path, 409, usize::MAX));
    }
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    stage.join(&members);
    let message = stage.wait(&stage.relay_path(), "False", "Conflict", SOON);
    assert!(message.contains("it is tried again"), "{message}");
    stage.event(stage.namespace(), "Conflict", &["it is tried again"]);
    workload.inject(Fault::answer("POST", "/secrets", 409, usize::MAX));
    management.relent();
    stage.wait(&members[0].path(), "False", "Conflict", PATIENCE);
    stage.event("c1", "Conflict", &["it is tried again"]);
    assert_eq!(members[0].find_secret(CLIENT), None);
    workload.relent();
    stage.wait_ready(&members, PATIENCE);
    stage.assert_chains(&members);
    // Not one of the attempts left anything behind.
    let states: Vec<_> = histories.into_iter().flat_map(History::end).collect();
    let leaves = leaves(&states, CLIENT);
    assert_eq!(leaves[&members[0].namespace].len(), 1);
    let generations = states.iter().filter(|state| state.name.contains("-g2"));
    assert_eq!(generations.count(), 0);
}
