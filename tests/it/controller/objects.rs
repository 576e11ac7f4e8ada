//! What people do to Relays and RelayClusters: wrong edits, suspension, renaming, deletion, discovery.

use std::thread;
use std::time::Duration;

use relay_pki_testbed::{Mode, Proxy};
use serde_json::{Value, json};

use crate::support::certificate::leaf;
use crate::support::fleet::{CLIENT, ROOT, SERVER};
use crate::support::rbac;
use crate::support::stage::{SOON, Stage, condition, secret};

/// Long enough for the controller to do what it must not do.
const A_WHILE: Duration = Duration::from_secs(4);

#[test]
fn wrong_objects_are_reported_and_what_was_right_before_is_kept() {
    let stage = Stage::new("wrong");
    let members = stage.members(&["good", "bad", "other"]);
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    let [good, bad, other] = &members[..] else {
        unreachable!()
    };

    // Each is right by itself, and they contradict each other: no agent outlives its signer.
    stage.apply(&[stage.relay_cluster(bad, json!({ "validity": "90y" }))]);
    let message = stage.wait(&bad.path(), "False", "InvalidSpec", SOON);
    assert!(message.contains("validity"), "{message}");
    stage.event("bad", "InvalidSpec", &["validity"]);
    assert_eq!(
        condition(&stage.object(&bad.path()), "Stalled")["status"],
        "True"
    );
    for member in [good, bad] {
        member.delete_secret(CLIENT);
        member.wait_secret(CLIENT, SOON, |_| true);
    }
    stage.wait(&bad.path(), "False", "InvalidSpec", SOON);
    stage.wait(&good.path(), "True", "UpToDate", SOON);

    // A Relay that says what cannot be: nothing of it holds, everything from before does.
    stage.relay(json!({ "root": { "provider": "nowhere" }, "server": { "validity": "1d" } }));
    let message = stage.wait(&stage.relay_path(), "False", "InvalidSpec", SOON);
    assert!(message.contains("nowhere"), "{message}");
    stage.event(stage.namespace(), "InvalidSpec", &["nowhere"]);
    other.delete_secret(CLIENT);
    other.wait_secret(CLIENT, SOON, |_| true);
    stage.must(&["delete", "secret", SERVER]);
    relay_pki_testbed::eventually("the server certificate is back", SOON, || {
        let name = ["get", "secret", SERVER, "--ignore-not-found", "-o=name"];
        (!stage.must(&name).is_empty()).then_some(())
    });
    stage.wait(&stage.relay_path(), "False", "InvalidSpec", SOON);

    // Said right again, all is well.
    stage.must(&["delete", &stage.relay_path(), "--wait=false"]);
    stage.relay(json!({}));
    stage.apply(&[stage.relay_cluster(bad, json!({}))]);
    stage.wait_ready(&members, SOON);
    stage.assert_chains(&members);
}

#[test]
fn nothing_is_repaired_while_the_relay_is_suspended() {
    let stage = Stage::new("suspend");
    let members = stage.members(&["one"]);
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    stage.relay(json!({ "suspend": true }));
    stage.wait(&stage.relay_path(), "False", "Suspended", SOON);
    stage.event(stage.namespace(), "Suspended", &["spec.suspend"]);
    members[0].delete_secret(CLIENT);
    thread::sleep(A_WHILE);
    assert_eq!(members[0].find_secret(CLIENT), None);
    stage.relay(json!({ "suspend": false }));
    members[0].wait_secret(CLIENT, SOON, |_| true);
    stage.wait_ready(&members, SOON);

    // Made anew under its name, at once, it is another object that has to be told of.
    let path = members[0].path();
    let before = members[0].secret(CLIENT);
    stage.must(&["delete", &path]);
    stage.apply(&[stage.relay_cluster(&members[0], json!({}))]);
    stage.wait_ready(&members, SOON);
    assert_eq!(members[0].secret(CLIENT), before);
}

/// The old name's Secrets stay in the cluster; the new name gets a certificate of its own.
#[test]
fn a_cluster_that_is_renamed_gets_its_own_identity() {
    let stage = Stage::new("rename");
    let members = stage.members(&["before"]);
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    let old = members[0].secret(CLIENT);
    stage.must(&["delete", &members[0].path()]);
    let mut renamed = members[0].clone();
    renamed.name = "after".to_owned();
    stage.join(std::slice::from_ref(&renamed));
    let renamed = [renamed];
    stage.wait_ready(&renamed, SOON);
    let new = renamed[0].secret(CLIENT);
    assert_eq!(leaf(new.entry("tls.crt")).dns_names, ["after"]);
    assert_ne!(new.entry("tls.key"), old.entry("tls.key"));
    assert_eq!(new.entry("ca.crt"), old.entry("ca.crt"));
    stage.event("after", "Issued", &[CLIENT, "not for after"]);
    stage.assert_chains(&renamed);
}

#[test]
fn secrets_are_deleted_with_their_object_only_if_it_says_so() {
    let stage = Stage::new("delete");
    let mut members = stage.members(&["kept", "cleaned", "silent"]);
    let proxy = Proxy::before(members[2].server);
    members[2].kubeconfig = proxy.kubeconfig(&members[2].kubeconfig);
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    stage.join(&members);
    let [kept, cleaned, silent] = &members[..] else {
        unreachable!()
    };
    cleaned.permit(rbac::DELETES);
    let deletes = json!({ "deletionPolicy": "Delete" });
    stage.apply(&[
        stage.relay_cluster(cleaned, deletes.clone()),
        stage.relay_cluster(silent, deletes.clone()),
    ]);
    stage.wait_ready(&members, SOON);
    let finalizers = |path: &str| stage.object(path)["metadata"]["finalizers"].clone();
    for member in [cleaned, silent] {
        relay_pki_testbed::eventually("a finalizer", SOON, || {
            let found = finalizers(&member.path());
            (found == json!(["relay-pki.dev/cleanup"])).then_some(())
        });
    }
    assert_eq!(finalizers(&kept.path()), Value::Null);
    cleaned.must(&["create", "secret", "generic", "foreign"]);

    proxy.set(Mode::Refuse);
    for member in &members {
        stage.must(&["delete", &member.path(), "--wait=false"]);
    }
    for gone in [kept, cleaned] {
        stage.wait_gone(&gone.path(), SOON);
    }
    stage.event("cleaned", "CleanedUp", &["deletionPolicy"]);
    assert_eq!(cleaned.find_secret(CLIENT), None);
    assert_eq!(cleaned.find_secret(ROOT), None);
    assert!(cleaned.find_secret("foreign").is_some());
    assert!(kept.find_secret(CLIENT).is_some());

    // Nobody waits for ever for a cluster that is gone.
    let annotate = "kubectl annotate relaycluster silent relay-pki.dev/force-forget=true";
    stage.event("silent", "CleanupFailed", &["cannot delete", annotate]);
    assert!(stage.exists(&silent.path()));
    stage.must(&[
        "annotate",
        &silent.path(),
        "relay-pki.dev/force-forget=true",
    ]);
    stage.wait_gone(&silent.path(), SOON);
    stage.event("silent", "CleanupGivenUp", &["left behind"]);
    assert!(silent.find_secret(CLIENT).is_some());

    // The same for the Relay: CA keys stay unless it says otherwise.
    stage.must(&["delete", &stage.relay_path()]);
    assert_eq!(
        secret(stage.management(), stage.namespace(), SERVER).name,
        SERVER
    );
    stage.relay(deletes);
    stage.wait(&stage.relay_path(), "True", "UpToDate", SOON);
    stage.must(&["delete", &stage.relay_path(), "--timeout=40s"]);
    let selector = format!("--selector=relay-pki.dev/relay={}", stage.namespace());
    let left = stage.must(&["get", "secrets,configmaps", &selector, "--output=name"]);
    assert_eq!(left, "");
}

/// The definition of Gloo, as far as it matters here.
const KUBERNETES_CLUSTERS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: kubernetesclusters.admin.gloo.solo.io }
spec:
  group: admin.gloo.solo.io
  scope: Namespaced
  names: { kind: KubernetesCluster, plural: kubernetesclusters, singular: kubernetescluster }
  versions:
    - name: v2
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: { type: object, properties: { clusterDomain: { type: string } } }
";

#[test]
fn clusters_that_gloo_knows_are_found_and_told_what_is_missing() {
    let stage = Stage::new("found");
    let members = stage.members(&["agentless"]);
    let member = &members[0];
    stage.management().apply(KUBERNETES_CLUSTERS);
    let established = ["wait", "--for=condition=Established", "--timeout=40s"];
    let definition = "crd/kubernetesclusters.admin.gloo.solo.io";
    stage.must(&[&established[..], &[definition]].concat());
    stage.apply(&[json!({
        "apiVersion": "admin.gloo.solo.io/v2", "kind": "KubernetesCluster",
        "metadata": { "name": "agentless", "namespace": stage.namespace() },
        "spec": { "clusterDomain": "cluster.local" },
    })]);
    stage.relay(json!({
        "namespace": stage.namespace(), "discovery": { "kubernetesClusters": {} },
    }));
    let _replica = stage.replica("a");
    stage.event(
        stage.namespace(),
        "Discovered",
        &["KubernetesCluster agentless"],
    );
    let words = [
        "Secret agentless-kubeconfig",
        "does not exist",
        "relay-pki cluster register agentless",
    ];
    let message = stage.wait(&member.path(), "False", "NotPermitted", SOON);
    for word in words {
        assert!(message.contains(word), "{message}");
    }
    stage.event("agentless", "NotPermitted", &words);
    // In its own namespace nothing was made for it to run in.
    stage.apply(&[stage.kubeconfig_secret("agentless", &member.kubeconfig)]);
    stage.wait(&member.path(), "False", "NotPermitted", SOON);
    member.server.apply(&rbac::agent(
        stage.namespace(),
        rbac::WRITES,
        stage.namespace(),
    ));
    let mut found = member.clone();
    found.namespace = stage.namespace().to_owned();
    stage.wait_ready(&[found], SOON);
    // With its KubernetesCluster it goes, and nothing else does.
    stage.must(&["delete", "kubernetescluster", "agentless"]);
    stage.wait_gone(&member.path(), SOON);
    assert_eq!(
        secret(member.server, stage.namespace(), CLIENT).name,
        CLIENT
    );
}

#[test]
fn a_relay_cluster_without_its_relay_is_told_so() {
    let stage = Stage::new("orphan");
    let members = stage.members(&["orphan"]);
    let _replica = stage.replica("a");
    stage.join(&members);
    let message = stage.wait(&members[0].path(), "False", "NoRelay", SOON);
    assert!(message.contains(stage.namespace()), "{message}");
    stage.relay(json!({}));
    stage.wait_ready(&members, SOON);
}
