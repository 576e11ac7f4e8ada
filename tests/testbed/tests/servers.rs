//! API servers and their controllers.

use std::fs;
use std::time::Duration;

use relay_pki_testbed::{Testbed, eventually, kubectl, kubectl_must};

#[test]
fn four_clusters_answer_and_share_nothing() {
    let testbed = Testbed::shared();
    let servers: Vec<_> = testbed.servers().collect();
    assert_eq!(servers.len(), 4);
    for server in &servers {
        let version = server.json(&["version"]);
        assert_eq!(version["serverVersion"]["minor"], "36", "{}", server.name());
    }
    let namespace = testbed.management().namespace("alone");
    for server in testbed.workloads() {
        let found = server.kubectl(&["get", "namespace", &namespace], "");
        assert!(!found.status.success(), "{}", server.name());
    }
}

#[test]
fn a_service_account_may_do_what_its_role_says_and_nothing_else() {
    let server = &Testbed::shared().workloads()[0];
    let namespace = server.namespace("rbac");
    server.must(
        &["create", "serviceaccount", "reader", "-n", &namespace],
        "",
    );
    let kubeconfig = server.kubeconfig_for_service_account(&namespace, "reader");
    let read = || {
        let arguments = ["get", "secrets", "-n", &namespace];
        kubectl(&kubeconfig, &arguments, "")
    };
    let refused = read();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("Forbidden"), "{errors}");

    server.apply(&format!(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{ name: reader, namespace: {namespace} }}
rules: [{{ apiGroups: [""], resources: [secrets], verbs: [get, list] }}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: reader, namespace: {namespace} }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }}
subjects: [{{ kind: ServiceAccount, name: reader, namespace: {namespace} }}]
"#
    ));
    eventually("the role counts", Duration::from_secs(20), || {
        read().status.success().then_some(())
    });
    let write = ["create", "secret", "generic", "s", "-n", &namespace];
    assert!(!kubectl(&kubeconfig, &write, "").status.success());
}

#[test]
fn a_token_that_the_server_does_not_know_is_unauthorised() {
    let server = Testbed::shared().management();
    let stranger = server.kubeconfig_for_token("stranger");
    let answer = kubectl(&stranger, &["get", "namespaces"], "");
    let errors = String::from_utf8_lossy(&answer.stderr);
    assert!(errors.contains("must be logged in"), "{errors}");
    kubectl_must(&server.admin_kubeconfig(), &["get", "namespaces"], "");
}

#[test]
fn the_certificate_is_the_ca_s_and_names_the_server() {
    let server = Testbed::shared().management();
    let refusal = |kubeconfig: &str| {
        let answer = kubectl(kubeconfig, &["get", "namespaces"], "");
        String::from_utf8(answer.stderr).unwrap()
    };
    let elsewhere = server.admin_kubeconfig().replace(
        "certificate-authority-data:",
        "tls-server-name: elsewhere\n      certificate-authority-data:",
    );
    let errors = refusal(&elsewhere);
    assert!(errors.contains("not elsewhere"), "{errors}");

    let lines = server.admin_kubeconfig();
    let lines = lines.lines().filter(|line| !line.contains("authority"));
    let errors = refusal(&lines.collect::<Vec<_>>().join("\n"));
    assert!(errors.contains("unknown authority"), "{errors}");
}

#[test]
fn a_deleted_namespace_goes_with_all_that_is_in_it() {
    let server = &Testbed::shared().workloads()[1];
    let namespace = server.namespace("doomed");
    server.must(&["create", "configmap", "c", "-n", &namespace], "");
    server.must(&["delete", "namespace", &namespace, "--wait=false"], "");
    eventually("it is gone", Duration::from_secs(60), || {
        let arguments = ["get", "namespace", &namespace, "--ignore-not-found"];
        server.must(&arguments, "").is_empty().then_some(())
    });
}

#[test]
fn what_belongs_to_something_deleted_goes_with_it() {
    let server = &Testbed::shared().workloads()[2];
    let namespace = server.namespace("orphans");
    server.must(&["create", "configmap", "owner", "-n", &namespace], "");
    let owner = server.json(&["get", "configmap", "owner", "-n", &namespace]);
    let uid = owner["metadata"]["uid"].as_str().unwrap();
    server.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: owned\n  namespace: {namespace}\n  \
         ownerReferences: [{{ apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid} }}]\n"
    ));
    server.must(&["delete", "configmap", "owner", "-n", &namespace], "");
    eventually("it is gone", Duration::from_secs(60), || {
        let arguments = [
            "get",
            "secret",
            "owned",
            "-n",
            &namespace,
            "--ignore-not-found",
        ];
        server.must(&arguments, "").is_empty().then_some(())
    });
}

#[test]
fn a_token_secret_gets_its_token() {
    let server = Testbed::shared().management();
    let namespace = server.namespace("tokens");
    server.must(&["create", "serviceaccount", "agent", "-n", &namespace], "");
    server.apply(&format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\nmetadata:\n  \
         name: agent\n  namespace: {namespace}\n  \
         annotations: {{ kubernetes.io/service-account.name: agent }}\n"
    ));
    eventually("the token", Duration::from_secs(60), || {
        let secret = server.json(&["get", "secret", "agent", "-n", &namespace]);
        secret["data"]["token"].as_str().map(drop)
    });
}

#[test]
fn a_deployment_gets_its_pods() {
    let server = Testbed::shared().management();
    let namespace = server.namespace("deployments");
    let create = [
        "create",
        "deployment",
        "d",
        "--image=none",
        "-n",
        &namespace,
    ];
    server.must(&create, "");
    eventually("a pod", Duration::from_secs(60), || {
        let pods = server.json(&["get", "pods", "-n", &namespace]);
        pods["items"][0].is_object().then_some(())
    });
}

#[test]
fn one_namespace_in_all_clusters() {
    let testbed = Testbed::shared();
    let namespace = testbed.namespace("everywhere");
    for server in testbed.servers() {
        server.must(&["get", "namespace", &namespace], "");
    }
}

#[test]
fn objects_of_installed_crds_can_be_written() {
    let server = Testbed::shared().management();
    let folder = tempfile::tempdir().unwrap();
    let crd = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.testbed.example }
spec:
  group: testbed.example
  scope: Namespaced
  names: { kind: Widget, plural: widgets }
  versions:
    - name: v1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object } }
";
    fs::write(folder.path().join("widgets.yaml"), crd).unwrap();
    server.install_crds(folder.path());
    let namespace = server.namespace("widgets");
    server.apply(&format!(
        "apiVersion: testbed.example/v1\nkind: Widget\n\
         metadata: {{ name: w, namespace: {namespace} }}\n"
    ));
}
