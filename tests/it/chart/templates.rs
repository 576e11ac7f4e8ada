//! What the chart renders.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::helm::{chart, helm, of_kind, one, render, render_values};

/// Kinds that belong to no namespace.
const CLUSTER_WIDE: [&str; 2] = ["Namespace", "CustomResourceDefinition"];

#[test]
fn the_chart_passes_the_linter_with_every_values_file() {
    let path = chart();
    let path = path.to_str().unwrap();
    for values in values_files() {
        let output = helm(&["lint", "--strict", path, "--values", &values]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{values}: {text}");
        assert!(!text.contains("[WARNING]"), "{values}: {text}");
    }
}

#[test]
fn every_combination_of_the_readme_renders_sound_objects() {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let prefix = "helm template relay-pki manifests/helm/relay-pki";
    let lines: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix(prefix))
        .collect();
    for values in values_files() {
        let name = values.rsplit('/').next().unwrap();
        assert!(
            name == "values.yaml" || lines.iter().any(|line| line.ends_with(name)),
            "the README does not name {name}"
        );
    }
    assert!(lines.len() >= 10, "the README lost its combinations");
    for line in lines {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        sound(&render(&arguments), line);
    }
    sound(&render(&[]), "the defaults");
}

/// Every object has a kind, a name of its own and the release's namespace, and none holds a secret.
fn sound(objects: &[Value], what: &str) {
    let mut seen = BTreeSet::new();
    assert!(!objects.is_empty(), "{what}: nothing is rendered");
    for object in objects {
        let kind = object["kind"].as_str().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(seen.insert((kind, name)), "{what}: {kind} {name} twice");
        let namespace = &object["metadata"]["namespace"];
        match CLUSTER_WIDE.contains(&kind) {
            true => assert_eq!(namespace, &Value::Null, "{what}: {kind} {name}"),
            false => assert_eq!(namespace, "gloo-mesh", "{what}: {kind} {name}"),
        }
        if kind == "Secret" {
            assert_eq!(object["type"], "kubernetes.io/service-account-token");
            assert_eq!(object["data"], Value::Null, "{what}: {name}");
            assert_eq!(object["stringData"], Value::Null, "{what}: {name}");
        }
    }
}

fn values_files() -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(chart())
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.contains("/values") && path.ends_with(".yaml"))
        .collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[test]
fn the_controller_may_do_what_it_needs_and_no_more() {
    let objects = render(&[]);
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets", "configmaps"],
         "verbs": ["get", "list", "watch", "create", "patch", "delete"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
         "verbs": ["get", "create", "update"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["relay-pki.dev"], "resources": ["relays"],
         "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["relay-pki.dev"], "resources": ["relayclusters"],
         "verbs": ["get", "list", "watch", "create", "patch"]},
        {"apiGroups": ["relay-pki.dev"], "resources": ["relayrotations"],
         "verbs": ["get", "list", "watch", "create", "delete"]},
        {"apiGroups": ["relay-pki.dev"],
         "resources": ["relays/status", "relayclusters/status", "relayrotations/status"],
         "verbs": ["patch"]},
        {"apiGroups": ["admin.gloo.solo.io"], "resources": ["kubernetesclusters"],
         "verbs": ["list"]},
    ]);
    let role = one(&objects, "Role");
    assert_eq!(role["rules"], rules);
    bound(&objects);
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
}

#[test]
fn a_workload_cluster_gets_an_account_for_its_secrets_and_nothing_else() {
    let only = "controller.enabled=false,agent.enabled=true";
    let objects = render(&["--set", only]);
    let kinds: BTreeSet<&str> = objects
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["ServiceAccount", "Role", "RoleBinding"])
    );
    let mut verbs = vec!["get", "list", "watch", "create", "patch"];
    let rules =
        |verbs: &[&str]| json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]);
    assert_eq!(one(&objects, "Role")["rules"], rules(&verbs));
    bound(&objects);

    let restarts = format!("{only},agent.restart[0]=deployment/gloo-mesh-agent");
    let objects = render(&["--set", &restarts]);
    let restarted = &one(&objects, "Role")["rules"];
    assert_eq!(restarted[0], rules(&verbs)[0]);
    assert_eq!(restarted[1], may_restart("deployments", "gloo-mesh-agent"));

    let more = format!("{only},agent.allowDelete=true,agent.tokenSecret.create=true");
    let objects = render(&["--set", &more]);
    verbs.push("delete");
    assert_eq!(one(&objects, "Role")["rules"], rules(&verbs));
    let account = &one(&objects, "ServiceAccount")["metadata"]["name"];
    let annotations = &one(&objects, "Secret")["metadata"]["annotations"];
    assert_eq!(&annotations["kubernetes.io/service-account.name"], account);
}

fn may_restart(resource: &str, name: &str) -> Value {
    json!({"apiGroups": ["apps"], "resources": [resource], "verbs": ["get", "patch"],
        "resourceNames": [name]})
}

#[test]
fn the_controller_may_restart_what_is_named_and_nothing_else() {
    let rules = |more: &[&str]| {
        let role = one(&render(more), "Role").clone();
        role["rules"].as_array().unwrap().clone()
    };
    let usual = rules(&[]);
    let restart = "controller.restart[0]=statefulset/store,\
                   controller.restart[1]=deployment/gloo-mesh-mgmt-server";
    let more = rules(&["--set", restart]);
    let added = [
        may_restart("deployments", "gloo-mesh-mgmt-server"),
        may_restart("statefulsets", "store"),
    ];
    assert_eq!(more, [usual, added.to_vec()].concat());
}

const ENROLLING: &str = "controller.enabled=false,agent.enabled=true,agent.cluster=cluster-1,\
                         agent.server=https://relay.example.com:9443";

#[test]
fn an_agent_that_enrols_may_touch_its_own_secrets_and_workloads_only() {
    let restart = "agent.restart[0]=deployment/gloo-mesh-agent,agent.restart[1]=daemonset/collector,\
                   agent.secrets.client=own,agent.tokenSecrets={mine}";
    let objects = render(&["--set", &format!("{ENROLLING},{restart}")]);
    let rule = |group: &str, resource: &str, verbs: &[&str], names: &[&str]| {
        let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    let rules = json!([
        rule("", "secrets", &["create"], &[]),
        rule(
            "",
            "secrets",
            &["get", "patch"],
            &["relay-root-tls-secret", "own"]
        ),
        rule("", "secrets", &["get"], &["mine"]),
        rule(
            "apps",
            "deployments",
            &["get", "patch"],
            &["gloo-mesh-agent"]
        ),
        rule("apps", "daemonsets", &["get", "patch"], &["collector"]),
    ]);
    assert_eq!(one(&objects, "Role")["rules"], rules);
    bound(&objects);
    let kinds: Vec<&str> = objects
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}

#[test]
fn an_agent_is_one_restricted_pod_that_is_told_everything_by_arguments() {
    let objects = render_values(
        r#"
controller: {enabled: false}
agent:
  enabled: true
  cluster: cluster-1
  server: https://relay.example.com
  serverName: gloo-mesh-mgmt-server.gloo-mesh
  trustFingerprints: ["sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"]
  relay: prod
  secrets: {root: r, client: c}
  tokenSecrets: [t]
  adopt: true
  keyType: ed25519
  renewAt: 0.5
  poll: 2m
  restart: [statefulset/s]
  image: {registry: registry.example.com, tag: v1}
  log: {format: text, filter: debug}
  listenAddress: "[::]"
  ports: {http: 9000}
  extraArgs: [--more]
  podLabels: {sidecar: "true"}
  networkPolicy: {enabled: true, serverCIDRs: [10.0.0.0/8]}
"#,
    );
    let deployment = &one(&objects, "Deployment")["spec"];
    assert_eq!(deployment["replicas"], 1);
    assert_eq!(deployment["strategy"], json!({"type": "Recreate"}));
    let pod = &deployment["template"]["spec"];
    assert_eq!(
        pod["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    let container = &pod["containers"][0];
    assert_eq!(
        container["args"],
        json!([
            "agent",
            "--cluster=cluster-1",
            "--server=https://relay.example.com",
            "--server-name=gloo-mesh-mgmt-server.gloo-mesh",
            "--trust-fingerprint=sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
            "--relay=prod",
            "--root-secret=r",
            "--client-secret=c",
            "--token-secret=t",
            "--key-type=ed25519",
            "--renew-at=0.5",
            "--poll=2m",
            "--restart=statefulset/s",
            "--adopt",
            "--listen=[::]:9000",
            "--log-format=text",
            "--more"
        ])
    );
    assert_eq!(container["image"], "registry.example.com/relay-pki:v1");
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert_eq!(
        container["env"][1],
        json!({"name": "RELAY_PKI_LOG", "value": "debug"})
    );
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    let account = &one(&objects, "ServiceAccount")["metadata"]["name"];
    assert_eq!(&pod["serviceAccountName"], account);
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    let server = json!({
        "ports": [{"port": 443, "protocol": "TCP"}],
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    });
    assert_eq!(policy["egress"][2], server);
    let labels = &deployment["template"]["metadata"]["labels"];
    for selector in [
        &policy["podSelector"]["matchLabels"],
        &deployment["selector"]["matchLabels"],
    ] {
        let selector = selector.as_object().unwrap();
        assert!(selector.iter().all(|(key, value)| labels[key] == *value));
    }
    let port = format!("{ENROLLING},agent.networkPolicy.enabled=true");
    let objects = render(&["--set", &port]);
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["egress"][2]["ports"][0]["port"], 9443);
}

/// The RoleBinding ties the Role to the ServiceAccount.
fn bound(objects: &[Value]) {
    let binding = one(objects, "RoleBinding");
    assert_eq!(binding["roleRef"]["kind"], "Role");
    let role = &one(objects, "Role")["metadata"]["name"];
    assert_eq!(&binding["roleRef"]["name"], role);
    let account = &one(objects, "ServiceAccount")["metadata"]["name"];
    assert_eq!(&binding["subjects"][0]["name"], account);
    assert_eq!(binding["subjects"][0]["namespace"], "gloo-mesh");
}

#[test]
fn the_pod_is_restricted_and_is_called_as_agreed() {
    let objects = render(&[]);
    let deployment = one(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    let account = &one(&objects, "ServiceAccount")["metadata"]["name"];
    assert_eq!(&pod["serviceAccountName"], account);
    assert_eq!(
        pod["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        })
    );
    assert_eq!(
        container["args"],
        json!([
            "controller",
            "--listen=0.0.0.0:8080",
            "--per-cluster-metrics=true",
            "--log-format=json"
        ])
    );
    let fields: Vec<(&str, &str)> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            let field = &variable["valueFrom"]["fieldRef"]["fieldPath"];
            (variable["name"].as_str().unwrap(), field.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        fields,
        [
            ("POD_NAMESPACE", "metadata.namespace"),
            ("POD_NAME", "metadata.name")
        ]
    );
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], "http");
    }
    assert_eq!(container["ports"][0]["containerPort"], 8080);
}

#[test]
fn a_security_context_can_be_left_out() {
    let objects = render(&[
        "--set",
        "controller.podSecurityContext=null,controller.securityContext=null",
    ]);
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod.get("securityContext"), None);
    assert_eq!(pod["containers"][0].get("securityContext"), None);
}

#[test]
fn the_selector_finds_the_pods() {
    let objects = render(&["--values", chart().join("values-ha.yaml").to_str().unwrap()]);
    let deployment = &one(&objects, "Deployment")["spec"];
    let labels = &deployment["template"]["metadata"]["labels"];
    let selectors = [
        &deployment["selector"]["matchLabels"],
        &one(&objects, "Service")["spec"]["selector"],
        &one(&objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &one(&objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        &deployment["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ];
    for selector in selectors {
        let selector = selector.as_object().unwrap();
        assert_eq!(selector.len(), 3);
        for (key, value) in selector {
            assert_eq!(&labels[key], value, "{key}");
        }
    }
    let monitor = &one(&objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"];
    let service = &one(&objects, "Service")["metadata"]["labels"];
    for (key, value) in monitor.as_object().unwrap() {
        assert_eq!(&service[key], value, "{key}");
    }
}

#[test]
fn the_image_is_put_together_from_its_parts() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let version = env!("CARGO_PKG_VERSION");
    let cases = [
        ("", format!("relay-pki:{version}")),
        (
            "controller.image.variant=fips",
            format!("relay-pki:{version}-fips"),
        ),
        (
            "controller.image.tag=2.4.16-fips",
            "relay-pki:2.4.16-fips".to_owned(),
        ),
        (
            "controller.image.tag=2.4.16-fips,controller.image.variant=fips",
            "relay-pki:2.4.16-fips".to_owned(),
        ),
        (
            "controller.image.registry=gcr.io/gloo-mesh,controller.image.repository=pki,controller.image.tag=v1",
            "gcr.io/gloo-mesh/pki:v1".to_owned(),
        ),
        (
            "controller.image.registry=gcr.io/a,global.imageRegistry=mirror.example.com/",
            format!("mirror.example.com/relay-pki:{version}"),
        ),
        (
            &format!("controller.image.digest={digest}"),
            format!("relay-pki:{version}@{digest}"),
        ),
    ];
    for (set, image) in cases {
        let objects = render(&["--set", set]);
        let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], image, "{set}");
    }
}

#[test]
fn values_reach_their_fields() {
    let objects = render_values(
        r#"
global:
  imagePullSecrets: [{name: registry}]
  commonLabels: {team: mesh, app.kubernetes.io/part-of: theirs}
controller:
  replicas: 3
  listenAddress: "[::]"
  ports: {http: 9000}
  log: {format: text, filter: debug}
  metrics: {perCluster: false, podMonitor: {enabled: true, labels: {release: prometheus}}}
  extraArgs: [--more]
  extraEnv: [{name: TOKEN, valueFrom: {secretKeyRef: {name: mine, key: token}}}]
  extraEnvFrom: [{secretRef: {name: mine}}]
  extraVolumes: [{name: ca, configMap: {name: ca}}]
  extraVolumeMounts: [{name: ca, mountPath: /ca}]
  extraContainers: [{name: proxy, image: proxy}]
  podLabels: {sidecar: "true", app.kubernetes.io/name: theirs}
  podAnnotations: {note: text}
  nodeSelector: {disk: ssd}
  tolerations: [{operator: Exists}]
  affinity: {nodeAffinity: {}}
  spread: none
  topologySpreadConstraints: [{topologyKey: rack}]
  priorityClassName: high
  terminationGracePeriodSeconds: 1000000
  podDisruptionBudget: {maxUnavailable: 50%}
  networkPolicy:
    enabled: true
    metricsFrom: [{podSelector: {}}]
    apiServerCIDRs: [10.0.0.0/8]
    apiServerPorts: [6443]
    extraEgress: [{ports: [{port: 8200}]}]
  serviceAccount: {annotations: {eks.amazonaws.com/role-arn: arn}}
"#,
    );
    let deployment = one(&objects, "Deployment");
    let labels = &deployment["metadata"]["labels"];
    assert_eq!(labels["team"], "mesh");
    assert_eq!(labels["app.kubernetes.io/part-of"], "relay-pki");
    let template = &deployment["spec"]["template"];
    assert_eq!(deployment["spec"]["replicas"], 3);
    let labels = &template["metadata"]["labels"];
    assert_eq!(labels["sidecar"], "true");
    // What selectors rely on stays.
    assert_eq!(labels["app.kubernetes.io/name"], "relay-pki");
    assert_eq!(template["metadata"]["annotations"]["note"], "text");
    let pod = &template["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(
        pod["volumes"],
        json!([{"name": "ca", "configMap": {"name": "ca"}}])
    );
    let selector = json!({"disk": "ssd", "kubernetes.io/os": "linux"});
    assert_eq!(pod["nodeSelector"], selector);
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["affinity"], json!({"nodeAffinity": {}}));
    assert_eq!(
        pod["topologySpreadConstraints"],
        json!([{"topologyKey": "rack"}])
    );
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["terminationGracePeriodSeconds"], 1_000_000);
    assert_eq!(pod["containers"][1]["name"], "proxy");
    let container = &pod["containers"][0];
    assert_eq!(
        container["args"],
        json!([
            "controller",
            "--listen=[::]:9000",
            "--per-cluster-metrics=false",
            "--log-format=text",
            "--more"
        ])
    );
    assert_eq!(
        container["env"][2],
        json!({"name": "RELAY_PKI_LOG", "value": "debug"})
    );
    assert_eq!(container["env"][3]["name"], "TOKEN");
    assert_eq!(
        container["envFrom"],
        json!([{"secretRef": {"name": "mine"}}])
    );
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": "ca", "mountPath": "/ca"}])
    );
    assert_eq!(container["ports"][0]["containerPort"], 9000);
    assert_eq!(one(&objects, "Service")["spec"]["ports"][0]["port"], 9000);
    let budget = &one(&objects, "PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], "50%");
    let monitor = one(&objects, "PodMonitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let account = &one(&objects, "ServiceAccount")["metadata"]["annotations"];
    assert_eq!(account["eks.amazonaws.com/role-arn"], "arn");
    let policy = &one(&objects, "NetworkPolicy")["spec"];
    assert_eq!(policy["ingress"][0]["from"], json!([{"podSelector": {}}]));
    let servers = json!({
        "ports": [{"port": 6443, "protocol": "TCP"}],
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    });
    assert_eq!(policy["egress"][1], servers);
    assert_eq!(policy["egress"][2], json!({"ports": [{"port": 8200}]}));
}

#[test]
fn spread_is_soft_hard_or_none() {
    for (spread, wanted) in [
        ("soft", vec!["ScheduleAnyway", "ScheduleAnyway"]),
        ("hard", vec!["DoNotSchedule", "ScheduleAnyway"]),
        ("none", vec![]),
    ] {
        let objects = render(&["--set", &format!("controller.spread={spread}")]);
        let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
        let constraints = pod["topologySpreadConstraints"].as_array();
        let found: Vec<&str> = constraints
            .into_iter()
            .flatten()
            .map(|constraint| constraint["whenUnsatisfiable"].as_str().unwrap())
            .collect();
        assert_eq!(found, wanted, "{spread}");
    }
}

#[test]
fn relay_and_clusters_are_rendered_as_they_are() {
    let objects = render_values(
        r#"
relay:
  metadata: {name: prod, annotations: {a: b}}
  spec: {signer: {validity: 1y}, agents: {renewAt: 0.66, schedule: "0 3 * * *"}, number: 1000650000}
clusters:
  - metadata: {name: cluster-1}
    spec: {relayRef: {name: prod}, kubeconfig: {secretRef: {name: cluster-1}}}
  - metadata: {name: cluster-2}
    spec: {relayRef: {name: prod}, inCluster: {}}
"#,
    );
    let relay = one(&objects, "Relay");
    assert_eq!(relay["apiVersion"], "relay-pki.dev/v1alpha1");
    assert_eq!(
        relay["metadata"],
        json!({"name": "prod", "namespace": "gloo-mesh", "annotations": {"a": "b"}})
    );
    assert_eq!(
        relay["spec"],
        json!({
            "signer": {"validity": "1y"},
            "agents": {"renewAt": 0.66, "schedule": "0 3 * * *"},
            "number": 1_000_650_000,
        })
    );
    let clusters = of_kind(&objects, "RelayCluster");
    assert_eq!(clusters.len(), 2);
    assert_eq!(clusters[1]["metadata"]["name"], "cluster-2");
    assert_eq!(clusters[1]["spec"]["inCluster"], json!({}));
}

#[test]
fn objects_of_the_users_own_are_rendered_as_they_are() {
    let object = json!({
        "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": "cluster-1", "namespace": "gloo-mesh"},
        "spec": {"text": "{{ .Values.not.a.template }}"},
    });
    let objects = render_values(&json!({"extraObjects": [object]}).to_string());
    assert_eq!(one(&objects, "ExternalSecret"), &object);
}

#[test]
fn the_namespace_outlives_the_release() {
    let objects = render(&["--set", "createNamespace=true"]);
    let metadata = &one(&objects, "Namespace")["metadata"];
    assert_eq!(metadata["name"], "gloo-mesh");
    assert_eq!(metadata["annotations"]["helm.sh/resource-policy"], "keep");
    // `kubectl delete --selector` on what the release made must not find it.
    assert_eq!(metadata.get("labels"), None);
}

#[test]
fn agents_can_enrol_where_that_is_asked_for() {
    let asked = "controller.enrolment.enabled=true,controller.enrolment.relay=east,controller.networkPolicy.enabled=true";
    for (arguments, served) in [(&["--set", asked][..], true), (&[], false)] {
        let objects = render(arguments);
        let text = serde_json::to_string(&objects).unwrap();
        assert_eq!(text.contains("--enrolment-listen=0.0.0.0:9443"), served);
        assert_eq!(text.contains("--enrolment-relay=east"), served);
        let service = one(&objects, "Service");
        let ports = service["spec"]["ports"].as_array().unwrap().iter();
        let mut ports = ports.filter(|port| port["targetPort"] == "enrolment");
        assert_eq!(ports.next().is_some(), served);
        if served {
            let policy = one(&objects, "NetworkPolicy").to_string();
            assert!(policy.contains("\"port\":\"enrolment\""), "{policy}");
        }
    }
}
