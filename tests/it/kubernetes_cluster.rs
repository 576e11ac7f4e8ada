//! A namespace of a real API server as a cluster of the engine: by the same rules as every other
//! kind of cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use relay_pki::cluster::{
    Access, Cluster as _, ClusterError, Expected, KubernetesCluster, LockName, Object, ObjectKey,
    Rollout, SecretBytes, Workloads as _, conformance,
};
use relay_pki::config::{Workload, WorkloadKind};
use relay_pki_testbed::{ApiServer, Testbed};
use serde_json::Value;

use crate::support::manifest::write_private;
use crate::support::stage::SOON;
use crate::support::workloads::{install, roll_out};

fn open(folder: &Path, kubeconfig: &str, namespace: &str) -> KubernetesCluster {
    let file = folder.join("kubeconfig");
    write_private(&file, kubeconfig.as_bytes());
    let access = Access::File {
        file: Some(file),
        context: None,
    };
    let lock = LockName {
        lease: "conformance".to_owned(),
        identity: "test".to_owned(),
    };
    KubernetesCluster::new("c1", namespace, access, lock)
}

fn secret(name: &str, value: &str) -> Object {
    Object {
        key: ObjectKey::secret(name),
        secret_type: Some("Opaque".to_owned()),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        annotations: BTreeMap::new(),
        data: BTreeMap::from([("token".to_owned(), SecretBytes::new(value))]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_to_the_rules_of_clusters() {
    let server = Testbed::shared().management();
    let (namespace, folder) = (
        server.namespace("conformance"),
        tempfile::tempdir().unwrap(),
    );
    let kubeconfig = server.admin_kubeconfig();
    let one = open(folder.path(), &kubeconfig, &namespace);
    let other = open(folder.path(), &kubeconfig, &namespace);
    conformance::check(&one, &other).await.unwrap();
}

/// The workload, once all of its pods run.
async fn rolled_out(
    server: &ApiServer,
    namespace: &str,
    cluster: &KubernetesCluster,
    workload: &Workload,
) -> Rollout {
    let deadline = Instant::now() + SOON;
    loop {
        roll_out(server, namespace, workload.kind.as_str(), &workload.name);
        let found = cluster.rollout(workload).await.unwrap().unwrap();
        if found.open.is_none() {
            return found;
        }
        assert!(Instant::now() < deadline, "{workload}: {:?}", found.open);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_workloads_hold_to_the_rules() {
    let server = Testbed::shared().management();
    let (namespace, folder) = (server.namespace("workloads"), tempfile::tempdir().unwrap());
    let cluster = open(folder.path(), &server.admin_kubeconfig(), &namespace);
    for kind in [
        WorkloadKind::Deployment,
        WorkloadKind::StatefulSet,
        WorkloadKind::DaemonSet,
    ] {
        let workload = conformance::workload(kind);
        install(server, &namespace, kind.as_str(), &workload.name);
        rolled_out(server, &namespace, &cluster, &workload).await;
        let checked = conformance::check_workload(&cluster, &workload).await;
        checked.unwrap_or_else(|violation| panic!("{kind}: {violation}"));
        let found = rolled_out(server, &namespace, &cluster, &workload).await;

        // Another one of the same name, and with the same template.
        let delete = ["delete", kind.as_str(), &workload.name, "-n", &namespace];
        server.must(&delete, "");
        install(server, &namespace, kind.as_str(), &workload.name);
        let made_anew = cluster.rollout(&workload).await.unwrap().unwrap();
        let (_, version) = made_anew.version.0.split_once('/').unwrap();
        let (uid, _) = found.version.0.split_once('/').unwrap();
        let stranger = relay_pki::cluster::Version(format!("{uid}/{version}"));
        let restarted = cluster.restart(&workload, ("a/b", "c"), &stranger).await;
        assert!(!restarted.unwrap(), "{kind}");
        let now = cluster.rollout(&workload).await.unwrap().unwrap();
        assert_eq!(now.annotations, made_anew.annotations);
    }
}

/// A write replaces what relay-pki knows of an object, also what another manager wrote there, and
/// leaves alone what it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_keeps_what_is_not_ours_to_know() {
    let server = Testbed::shared().management();
    let (namespace, folder) = (server.namespace("writes"), tempfile::tempdir().unwrap());
    let cluster = open(folder.path(), &server.admin_kubeconfig(), &namespace);
    server.apply(&format!(
        "apiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata:\n  name: s\n  namespace: {namespace}\n  \
         finalizers: [example.org/keep]\n  annotations: {{ theirs: \"1\" }}\n\
         stringData: {{ tls.key: misplaced, token: old }}\n"
    ));
    let stored = cluster
        .read(&ObjectKey::secret("s"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.object.data["tls.key"].expose(), b"misplaced");
    let written = secret("s", "new");
    let version = cluster
        .write(&written, &Expected::At(stored.version.clone()))
        .await
        .unwrap();
    let found = server.json(&[
        "get",
        "secret",
        "s",
        "--namespace",
        &namespace,
        "--show-managed-fields",
    ]);
    let meta = &found["metadata"];
    assert_eq!(meta["finalizers"], serde_json::json!(["example.org/keep"]));
    assert_eq!(meta["annotations"], Value::Null);
    assert_eq!(found["data"], serde_json::json!({ "token": "bmV3" }));
    let managers = meta["managedFields"].as_array().unwrap().iter();
    let managers: Vec<&str> = managers.map(|m| m["manager"].as_str().unwrap()).collect();
    assert!(managers.contains(&"relay-pki"), "{managers:?}");

    // The same state under another uid is another object.
    let (uid, at) = version.0.split_once('/').unwrap();
    let stranger = relay_pki::cluster::Version(format!("{}/{at}", uid.replace(|_| true, "0")));
    let refused = cluster.write(&written, &Expected::At(stranger)).await;
    assert!(
        matches!(refused, Err(ClusterError::Conflict { .. })),
        "{refused:?}"
    );
    let refused = cluster.write(&written, &Expected::At(stored.version)).await;
    assert!(
        matches!(refused, Err(ClusterError::Conflict { .. })),
        "{refused:?}"
    );
    let unlock = r#"{"metadata":{"finalizers":null}}"#;
    let arguments = ["patch", "secret", "s", "--type=merge", "--patch", unlock];
    server.must(
        &[arguments.as_slice(), &["--namespace", &namespace]].concat(),
        "",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_says_is_told_apart() {
    let server = Testbed::shared().management();
    let (namespace, folder) = (server.namespace("errors"), tempfile::tempdir().unwrap());
    let nowhere = open(
        folder.path(),
        &server.admin_kubeconfig(),
        "no-such-namespace",
    );
    assert!(nowhere.list(("a", "b"), &[]).await.unwrap().is_empty());
    let refused = nowhere.write(&secret("s", "x"), &Expected::Absent).await;
    assert!(
        matches!(refused, Err(ClusterError::NoNamespace { .. })),
        "{refused:?}"
    );

    let stranger = server.kubeconfig_for_token("t0ps3cret");
    let folder = tempfile::tempdir().unwrap();
    let denied = open(folder.path(), &stranger, &namespace)
        .read(&ObjectKey::secret("s"))
        .await;
    let denied = denied.unwrap_err();
    assert!(matches!(denied, ClusterError::Denied { .. }), "{denied:?}");
    assert!(!format!("{denied} {denied:?}").contains("t0ps3cret"));

    server.apply(&format!(
        "apiVersion: v1\nkind: Secret\nimmutable: true\nmetadata: {{ name: fixed, namespace: {namespace} }}\n\
         stringData: {{ token: old }}\n"
    ));
    let folder = tempfile::tempdir().unwrap();
    let cluster = open(folder.path(), &server.admin_kubeconfig(), &namespace);
    let stored = cluster
        .read(&ObjectKey::secret("fixed"))
        .await
        .unwrap()
        .unwrap();
    let refused = cluster
        .write(&secret("fixed", "new"), &Expected::At(stored.version))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ClusterError::Occupied { .. }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("immutable"), "{refused}");
}
