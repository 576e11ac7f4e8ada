//! `relay-pki cluster register` on real API servers.

use std::time::{Duration, Instant};

use relay_pki_testbed::{ApiServer, Mode, Proxy, eventually, kubectl};
use serde_json::Value;

use crate::support::fleet::{CLIENT, Fleet, Run, clusters};
use crate::support::kube::Clusters;
use crate::support::manifest::write_private;

/// An administrator with a Relay in the management cluster.
struct Site {
    real: Clusters,
    desk: Fleet,
}

impl Site {
    fn new(prefix: &str) -> Self {
        let real = Clusters::new(prefix);
        real.relay("{}");
        let desk = real.desk("");
        Self { real, desk }
    }

    fn workload(&self, number: usize) -> &ApiServer {
        &self.real.workloads()[number - 1]
    }

    /// `cluster VERB NAME` for a workload cluster.
    fn cluster(&self, verb: &str, name: &str, workload: usize, more: &[&str], code: i32) -> Run {
        let kubeconfig = format!("w{workload}.yaml");
        let arguments = ["cluster", verb, name, "--kubeconfig", &kubeconfig];
        let management = ["--management-kubeconfig", "mgmt.yaml"];
        let namespace = ["--namespace", self.real.namespace()];
        let arguments = [&arguments[..], &management, &namespace, more].concat();
        self.desk.ends(&arguments, code)
    }

    /// Registers a workload cluster, at the address that its API server has.
    fn register(&self, name: &str, workload: usize, more: &[&str], code: i32) -> Run {
        let url = self.workload(workload).url();
        let more = [&["--server", url.as_str()], more].concat();
        self.cluster("register", name, workload, &more, code)
    }

    /// The kubeconfig that the controller finds.
    fn kubeconfig(&self, name: &str) -> String {
        let secret = format!("{name}-kubeconfig");
        let secret = self.real.secret(self.real.management(), &secret);
        String::from_utf8(secret.entry("kubeconfig").to_vec()).unwrap()
    }

    /// Everything that a registration may have made, with its resourceVersion.
    fn objects(&self, workload: usize, namespace: &str) -> Vec<(String, String)> {
        let kinds = "serviceaccounts,roles.rbac.authorization.k8s.io,\
                     rolebindings.rbac.authorization.k8s.io,secrets";
        let ours = "secrets,relayclusters.relay-pki.dev";
        let places = [
            (self.workload(workload), kinds, namespace),
            (self.real.management(), ours, self.real.namespace()),
        ];
        let mut found = Vec::new();
        for (server, kinds, namespace) in places {
            let list = server.json(&["get", kinds, "-n", namespace]);
            for item in list["items"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let name = text(&item["metadata"]["name"]);
                if name != "default" {
                    let object = format!("{} {}", text(&item["kind"]), name);
                    found.push((object, text(&item["metadata"]["resourceVersion"])));
                }
            }
        }
        found.sort();
        found
    }
}

/// What `kubectl auth can-i --list` says about anything but the questions that everybody may ask.
fn rights(kubeconfig: &str, namespace: &str) -> Vec<String> {
    let output = kubectl(
        kubeconfig,
        &["auth", "can-i", "--list", "-n", namespace],
        "",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("selfsubjectaccessreviews"), "{text}");
    let lines = text.lines().skip(1);
    let lines = lines.filter(|line| !line.starts_with("selfsubject"));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        // Discovery and health, of every user.
        .filter(|line| !line.starts_with("[/"))
        .collect()
}

#[test]
fn a_registration_gives_the_least_rights_and_is_done_once() {
    let site = Site::new("register");
    // It is not there yet.
    let namespace = format!("{}-agents", site.real.namespace());
    let place = ["--workload-namespace", namespace.as_str()];
    let first = site.register("c1", 1, &[&place[..], &["-vv"]].concat(), 0);
    first.says(&[
        "Namespace",
        "ServiceAccount",
        "RoleBinding",
        "RelayCluster c1",
        "may patch Secrets: allowed",
        "may not delete Secrets: forbidden",
        "loopback",
        "Done: c1 is registered",
    ]);

    let kubeconfig = site.kubeconfig("c1");
    let parsed: Value = serde_json::from_str(&kubeconfig).unwrap();
    let token = parsed["users"][0]["user"]["token"].as_str().unwrap();
    assert!(token.len() > 100);
    for text in [&first.stdout, &first.stderr] {
        assert!(!text.contains(token), "the token is printed");
        assert!(!text.contains(&token[token.len() - 40..]));
    }
    assert_eq!(
        rights(&kubeconfig, &namespace),
        ["secrets [] [] [get list watch create patch]"]
    );
    let nothing: [&str; 0] = [];
    assert_eq!(rights(&kubeconfig, "kube-system"), nothing);
    assert_eq!(rights(&kubeconfig, "default"), nothing);

    // Nor by whoever wants to see everything, of ourselves and of what we are made of.
    let url = site.workload(1).url();
    let mut command = site
        .desk
        .command(&["cluster", "register", "c1", "--server", &url]);
    command
        .args([
            "--kubeconfig",
            "w1.yaml",
            "--management-kubeconfig",
            "mgmt.yaml",
            "-vv",
        ])
        .args(["--namespace", site.real.namespace()])
        .env("RELAY_PKI_LOG", "trace");
    let loud = Run::of(command.output().unwrap());
    assert_eq!(loud.code, Some(0), "{loud:#?}");
    assert!(loud.stderr.lines().count() > 100, "there is no log");
    assert!(!loud.stderr.contains(&token[token.len() - 40..]));

    let before = site.objects(1, &namespace);
    assert_eq!(before.len(), 6, "{before:?}");
    site.register("c1", 1, &place, 0)
        .says(&["Nothing to do: c1 is registered"]);
    // And without saying again what the RelayCluster says.
    site.register("c1", 1, &[], 0).says(&["Nothing to do"]);
    assert_eq!(site.objects(1, &namespace), before);
    site.register("c1", 1, &["--workload-namespace", "elsewhere"], 8)
        .says(&["leave --workload-namespace out"]);

    // Rights that somebody added go, those that are asked for come and go.
    let wider = r#"{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}"#;
    let patch = [
        "patch",
        "role",
        "relay-pki",
        "-n",
        &namespace,
        "--type=merge",
        "-p",
        wider,
    ];
    site.workload(1).must(&patch, "");
    site.register("c1", 1, &["--allow-delete"], 0)
        .says(&["change", "may delete Secrets: allowed"]);
    assert_eq!(
        rights(&kubeconfig, &namespace),
        ["secrets [] [] [get list watch create patch delete]"]
    );
    site.register("c1", 1, &[], 0)
        .says(&["may not delete Secrets: forbidden"]);

    // Whoever deletes the Secret with the token takes everything back.
    let delete = ["delete", "secret", "relay-pki-token", "-n", &namespace];
    site.workload(1).must(&delete, "");
    eventually("the token is of no use", Duration::from_secs(60), || {
        let answer = kubectl(&kubeconfig, &["get", "secrets", "-n", &namespace], "");
        (!answer.status.success()).then_some(())
    });
    site.register("c1", 1, &[], 0).says(&["Done"]);
    assert_ne!(site.kubeconfig("c1"), kubeconfig);
}

#[test]
fn a_dry_run_registers_nothing() {
    let site = Site::new("register-dry");
    let namespace = format!("{}-agents", site.real.namespace());
    let arguments = ["--workload-namespace", &namespace, "--dry-run"];
    site.register("c1", 1, &arguments, 0)
        .says(&["Plan: 7 changes for c1", "Nothing was written"]);
    let none: Vec<(String, String)> = Vec::new();
    assert_eq!(site.objects(1, &namespace), none);
    let run = site.register(
        "c1",
        1,
        &[&arguments[..], &["--output", "json"]].concat(),
        0,
    );
    assert_eq!(run.json()["steps"][0]["change"], "create");
    assert_eq!(run.json()["proved"], false);
    let found = site
        .workload(1)
        .kubectl(&["get", "namespace", &namespace], "");
    assert!(!found.status.success());
    // What is there already is not in the way of a plan.
    site.register("c1", 1, &[], 0);
    let before = site.objects(1, site.real.namespace());
    site.register("c1", 1, &["--dry-run", "--allow-delete"], 0)
        .says(&["Plan: 1 changes"]);
    assert_eq!(site.objects(1, site.real.namespace()), before);
}

#[test]
fn what_does_not_match_is_refused_and_nothing_is_written() {
    let site = Site::new("register-refused");
    let namespace = site.real.namespace().to_owned();

    // Before anything is read.
    for name in ["Cluster", "a_b", "10.0.0.1", "", &"a".repeat(64)] {
        let arguments = ["cluster", "register", name, "--kubeconfig", "no-such-file"];
        let run = site.desk.ends(&arguments, 2);
        assert!(!run.stderr.contains("no-such-file"), "{run:#?}");
    }
    site.cluster("register", "c1", 1, &["--server", "http://10.0.0.1"], 2);
    site.cluster("register", "c1", 1, &[], 8)
        .says(&["--server https://HOST:PORT"]);

    let management = [
        "--kubeconfig",
        "mgmt.yaml",
        "--management-kubeconfig",
        "mgmt.yaml",
    ];
    let itself = ["cluster", "register", "c1", "-n", &namespace, "--server"];
    let url = site.real.management().url();
    site.desk
        .ends(&[&itself[..], &[&url], &management].concat(), 8)
        .says(&["is the management cluster", "inCluster"]);

    let other = ["--relay", "no-such-relay"];
    site.register("c1", 1, &other, 2)
        .says(&["there is no Relay no-such-relay", "gloo-mesh"]);

    site.real.relay_cluster(
        "taken",
        "{ relayRef: { name: other }, inCluster: {}, role: management }",
    );
    site.register("taken", 1, &[], 8)
        .says(&["belongs to Relay other"]);

    // Whoever may not do it.
    let nobody = site
        .workload(1)
        .kubeconfig_for_service_account(&namespace, "default");
    write_private(&site.desk.path("w9.yaml"), nobody.as_bytes());
    let arguments = ["--server", &site.workload(1).url()];
    site.cluster("register", "c1", 9, &arguments, 4).says(&[
        "not permitted",
        "in cluster c1",
        "kube-system",
    ]);

    // Somebody else's.
    let server = site.workload(2);
    server.must(
        &["create", "serviceaccount", "relay-pki", "-n", &namespace],
        "",
    );
    let before = site.objects(2, &namespace);
    site.register("c2", 2, &[], 8).says(&[
        "ServiceAccount",
        "was not made by a registration",
        "--workload-namespace",
    ]);
    assert_eq!(site.objects(2, &namespace), before);
    server.must(
        &["delete", "serviceaccount", "relay-pki", "-n", &namespace],
        "",
    );
    let management = site.real.management();
    let create = [
        "create",
        "secret",
        "generic",
        "c2-kubeconfig",
        "-n",
        &namespace,
    ];
    management.must(&create, "");
    site.register("c2", 2, &[], 8)
        .says(&["c2-kubeconfig exists and was not made by a registration"]);

    // Another name for the same cluster, another cluster for the same name.
    site.register("c1", 1, &[], 0);
    let before = site.objects(1, &namespace);
    site.register("c3", 1, &[], 8)
        .says(&["registered with the name c1", "cluster unregister c1"]);
    site.register("c1", 3, &[], 8)
        .says(&["leads to another Kubernetes cluster"]);
    assert_eq!(site.objects(1, &namespace), before);
    assert!(
        site.objects(3, &namespace)
            .iter()
            .all(|(object, _)| !object.contains("relay-pki"))
    );
}

#[test]
fn an_agent_that_has_another_name_is_refused() {
    let site = Site::new("register-agent");
    let namespace = site.real.namespace();
    let spec = format!("  namespace: {namespace}\n{}", clusters(&["c9"]));
    let fleet = Fleet::bootstrapped(&spec);
    let secret = fleet.secret_path("c9", CLIENT);
    site.workload(1)
        .must(&["apply", "-f", secret.to_str().unwrap()], "");
    site.register("c1", 1, &[], 8)
        .says(&["names the cluster c9, not c1", CLIENT]);
    site.register("c9", 1, &[], 0);
}

#[test]
fn where_gloo_knows_clusters_only_those_are_registered() {
    let site = Site::new("register-gloo");
    let management = site.real.management();
    management.apply(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
         metadata: { name: kubernetesclusters.admin.gloo.solo.io }\n\
         spec: { group: admin.gloo.solo.io, scope: Namespaced, names: { kind: KubernetesCluster, \
         plural: kubernetesclusters }, versions: [{ name: v2, served: true, storage: true, schema: { \
         openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }] }\n",
    );
    let crd = "crd/kubernetesclusters.admin.gloo.solo.io";
    management.must(
        &["wait", "--for=condition=Established", "--timeout=60s", crd],
        "",
    );
    // None in this namespace: nothing to compare with.
    site.register("c1", 1, &["--dry-run"], 0);
    let cluster = format!(
        "apiVersion: admin.gloo.solo.io/v2\nkind: KubernetesCluster\n\
         metadata: {{ name: cluster-1, namespace: {} }}\nspec: {{ clusterDomain: cluster.local }}\n",
        site.real.namespace()
    );
    eventually("the kind is served", Duration::from_secs(60), || {
        let applied = management.kubectl(&["apply", "-f", "-"], &cluster);
        applied.status.success().then_some(())
    });
    site.register("cluser-1", 1, &[], 8)
        .says(&["no KubernetesCluster cluser-1", "did you mean cluster-1?"]);
    site.register("cluster-1", 1, &[], 0);
}

#[test]
fn a_hanging_api_server_ends_with_a_message() {
    let site = Site::new("register-hang");
    let proxy = Proxy::before(site.workload(1));
    proxy.set(Mode::Hang);
    let kubeconfig = proxy.kubeconfig(&site.workload(1).admin_kubeconfig());
    write_private(&site.desk.path("w1.yaml"), kubeconfig.as_bytes());
    let begun = Instant::now();
    site.cluster("register", "c1", 1, &["--server", &proxy.url()], 1)
        .says(&["in cluster c1"]);
    assert!(begun.elapsed() < Duration::from_secs(40));
    assert_eq!(site.objects(1, site.real.namespace()), []);

    // It answers the administrator, but not at the address that the controller would use.
    let site = Site::new("register-hang");
    let run = site.cluster("register", "c1", 1, &["--server", &proxy.url()], 7);
    run.says(&["does not answer from here", "failed", "--server"]);
    let objects = site.objects(1, site.real.namespace());
    let joined = objects
        .iter()
        .any(|(object, _)| object == "RelayCluster c1");
    assert!(!joined, "{objects:?}");
    // What was begun can be finished, and taken back.
    proxy.set(Mode::Pass);
    site.cluster("register", "c1", 1, &["--server", &proxy.url()], 0);
    let elsewhere = format!("{}-agents", site.real.namespace());
    let arguments = ["--server", &proxy.url(), "--workload-namespace", &elsewhere];
    proxy.set(Mode::Hang);
    site.cluster("register", "c2", 2, &arguments, 7);
    assert!(!site.objects(2, &elsewhere).is_empty());
    site.cluster("unregister", "c2", 2, &[], 0);
    let left = site.objects(2, &elsewhere);
    assert!(
        left.iter().all(|(object, _)| !object.contains("relay-pki")),
        "{left:?}"
    );
}

#[test]
fn a_cluster_is_listed_and_taken_out_again() {
    let site = Site::new("unregister");
    let namespace = site.real.namespace().to_owned();
    let before = site.objects(1, &namespace);
    site.register("c1", 1, &[], 0);
    let list = [
        "cluster",
        "list",
        "--kubeconfig",
        "mgmt.yaml",
        "-n",
        &namespace,
    ];
    site.desk
        .done(&list)
        .says(&["c1", "workload", "c1-kubeconfig"]);

    let fleet = Fleet::bootstrapped(&format!("  namespace: {namespace}\n{}", clusters(&["c1"])));
    let secret = fleet.secret_path("c1", CLIENT);
    site.workload(1)
        .must(&["apply", "-f", secret.to_str().unwrap()], "");

    site.cluster("unregister", "c1", 2, &[], 8)
        .says(&["is not the one that is registered as c1"]);
    site.cluster("unregister", "c1", 1, &["--dry-run"], 0)
        .says(&["Plan: 6 changes"]);
    site.cluster("unregister", "c1", 1, &[], 0)
        .says(&["its relay Secrets stay"]);
    let mut after = site.objects(1, &namespace);
    after.retain(|(object, _)| object != &format!("Secret {CLIENT}"));
    assert_eq!(after, before);
    site.real.secret(site.workload(1), CLIENT);
    site.cluster("unregister", "c1", 1, &[], 0)
        .says(&["Nothing to do"]);

    // A cluster that is gone does not keep its name.
    site.register("c1", 1, &[], 0);
    let gone = site.workload(1).admin_kubeconfig();
    let gone = gone.replace(&site.workload(1).url(), "https://127.0.0.1:1");
    write_private(&site.desk.path("w1.yaml"), gone.as_bytes());
    site.cluster("unregister", "c1", 1, &[], 7).says(&[
        "the service account in c1 is left",
        "delete secret/relay-pki-token",
    ]);
    site.register("c1", 2, &[], 0);
}
