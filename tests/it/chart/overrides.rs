//! `deploymentOverrides`, `serviceOverrides` and `containerOverrides`.

use serde_json::{Value, json};

use crate::support::helm::{one, refusal, render_values};

/// The Deployment with this override of its `spec`.
fn deployment(spec: &Value) -> Value {
    let values = json!({"controller": {"deploymentOverrides": {"spec": spec}}});
    one(&render_values(&values.to_string()), "Deployment").clone()
}

#[test]
fn every_kind_of_override_counts() {
    let pod = |spec: &Value| json!({"template": {"spec": spec}});
    let cases = [
        ("a new key", json!({"paused": true}), "/paused", json!(true)),
        ("a number", json!({"replicas": 5}), "/replicas", json!(5)),
        ("zero", json!({"replicas": 0}), "/replicas", json!(0)),
        (
            "a string",
            pod(&json!({"nodeSelector": {"kubernetes.io/os": "windows"}})),
            "/template/spec/nodeSelector",
            json!({"kubernetes.io/os": "windows"}),
        ),
        (
            "an empty string",
            pod(&json!({"nodeSelector": {"kubernetes.io/os": ""}})),
            "/template/spec/nodeSelector",
            json!({"kubernetes.io/os": ""}),
        ),
        (
            "a dictionary",
            pod(&json!({"nodeSelector": {"disk": "ssd"}})),
            "/template/spec/nodeSelector",
            json!({"kubernetes.io/os": "linux", "disk": "ssd"}),
        ),
        (
            "false in a nested dictionary",
            pod(&json!({"securityContext": {"runAsNonRoot": false}})),
            "/template/spec/securityContext",
            json!({"runAsNonRoot": false, "seccompProfile": {"type": "RuntimeDefault"}}),
        ),
        (
            "a list",
            pod(&json!({"topologySpreadConstraints": [{"topologyKey": "rack"}]})),
            "/template/spec/topologySpreadConstraints",
            json!([{"topologyKey": "rack"}]),
        ),
        (
            "an empty list",
            pod(&json!({"topologySpreadConstraints": []})),
            "/template/spec/topologySpreadConstraints",
            json!([]),
        ),
        (
            "a large number",
            pod(&json!({"securityContext": {"runAsUser": 1_000_650_000}})),
            "/template/spec/securityContext/runAsUser",
            json!(1_000_650_000),
        ),
    ];
    for (what, spec, pointer, wanted) in cases {
        let spec = &deployment(&spec)["spec"];
        assert_eq!(spec.pointer(pointer), Some(&wanted), "{what}");
    }
}

/// Absent and not null: to a server-side apply, null is an empty object where a field was set.
#[test]
fn null_takes_a_field_away() {
    let pod = |spec: Value| json!({"template": {"spec": spec}});
    let cases = [
        (json!({"replicas": null}), "/replicas"),
        (
            pod(json!({"securityContext": null})),
            "/template/spec/securityContext",
        ),
        (
            pod(json!({"nodeSelector": {"kubernetes.io/os": null}})),
            "/template/spec/nodeSelector/kubernetes.io~1os",
        ),
        (
            pod(json!({"volumes": [{"name": "a", "emptyDir": null}]})),
            "/template/spec/volumes/0/emptyDir",
        ),
    ];
    for (spec, pointer) in cases {
        let found = deployment(&spec);
        assert_eq!(found["spec"].pointer(pointer), None, "{pointer}");
        let (parent, _) = pointer.rsplit_once('/').unwrap();
        assert!(found["spec"].pointer(parent).is_some(), "{pointer}");
    }
}

#[test]
fn an_override_touches_nothing_else() {
    let plain = one(&render_values("{}"), "Deployment").clone();
    assert_eq!(deployment(&json!({})), plain);
    let mut wanted = plain;
    wanted["spec"]["template"]["spec"]["nodeSelector"]["disk"] = json!("ssd");
    let changed = json!({"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}});
    assert_eq!(deployment(&changed), wanted);
}

/// The agent's Deployment is overridden as the controller's is, and by its own values only.
#[test]
fn the_agents_deployment_is_overridden_too() {
    let agent = |overrides: &Value| {
        json!({
            "controller": {"enabled": false, "deploymentOverrides": {"spec": {"replicas": 7}}},
            "agent": {
                "enabled": true, "cluster": "cluster-1", "server": "https://relay.example.com",
                "deploymentOverrides": overrides,
            },
        })
        .to_string()
    };
    let rendered = |overrides: &Value| one(&render_values(&agent(overrides)), "Deployment").clone();
    let mut wanted = rendered(&json!({}));
    assert_eq!(wanted["spec"]["replicas"], 1);
    let pod = &mut wanted["spec"]["template"]["spec"];
    pod["hostNetwork"] = json!(true);
    pod.as_object_mut().unwrap().remove("securityContext");
    wanted["metadata"]["annotations"] = json!({"a": "b"});
    let pod = json!({"hostNetwork": true, "securityContext": null});
    let overrides = json!({
        "metadata": {"annotations": {"a": "b"}},
        "spec": {"template": {"spec": pod}},
    });
    assert_eq!(rendered(&overrides), wanted);
    for (overrides, path) in [
        (json!({"metadata": {"name": "x"}}), "metadata.name"),
        (json!({"spec": {"selector": null}}), "spec.selector"),
        (
            json!({"spec": {"template": {"spec": {"serviceAccountName": "x"}}}}),
            "spec.template.spec.serviceAccountName",
        ),
    ] {
        let message = format!("agent.deploymentOverrides changes {path}");
        let said = refusal(&agent(&overrides));
        assert!(said.contains(&message), "{said}");
    }
}

/// The examples of Gloo's production guide, under our name for the component.
#[test]
fn the_production_guides_examples_do_what_they_say() {
    let objects = render_values(
        r#"
controller:
  serviceOverrides:
    metadata:
      annotations:
        # AWS-specific annotations
        service.beta.kubernetes.io/aws-load-balancer-healthcheck-healthy-threshold: "2"
        service.beta.kubernetes.io/aws-load-balancer-healthcheck-unhealthy-threshold: "2"
        service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval: "10"
        service.beta.kubernetes.io/aws-load-balancer-healthcheck-port: "9900"
        service.beta.kubernetes.io/aws-load-balancer-healthcheck-protocol: "tcp"

        service.beta.kubernetes.io/aws-load-balancer-type: external
        service.beta.kubernetes.io/aws-load-balancer-scheme: internal
        service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
        service.beta.kubernetes.io/aws-load-balancer-backend-protocol: TCP
        service.beta.kubernetes.io/aws-load-balancer-private-ipv4-addresses: 10.0.50.50, 10.0.64.50
        service.beta.kubernetes.io/aws-load-balancer-subnets: subnet-0478784f04c486de5, subnet-09d0cf74c0117fcf3
        service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: deregistration_delay.connection_termination.enabled=true,deregistration_delay.timeout_seconds=1
  # Kubernetes load balancer service type
  serviceType: LoadBalancer
  deploymentOverrides:
    spec:
      template:
        spec:
          volumes:
            - name: envoy-config
              configMap:
                name: my-custom-envoy-config
  image:
    pullPolicy: IfNotPresent
    registry: gcr.io/gloo-mesh
    repository: gloo-mesh-mgmt-server
    tag: 2.4.16-fips
"#,
    );
    let service = one(&objects, "Service");
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    let annotations = service["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.len(), 12);
    let prefix = "service.beta.kubernetes.io/aws-load-balancer";
    assert_eq!(annotations[&format!("{prefix}-healthcheck-port")], "9900");
    assert_eq!(
        annotations[&format!("{prefix}-private-ipv4-addresses")],
        "10.0.50.50, 10.0.64.50"
    );
    let labels = &service["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/component"], "controller");

    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(
        pod["volumes"],
        json!([{"name": "envoy-config", "configMap": {"name": "my-custom-envoy-config"}}])
    );
    assert_eq!(
        pod["containers"][0]["image"],
        "gcr.io/gloo-mesh/gloo-mesh-mgmt-server:2.4.16-fips"
    );
}

#[test]
fn one_container_is_overridden_by_its_name() {
    let objects = render_values(
        r#"
controller:
  extraContainers: [{name: proxy, image: proxy}]
  containerOverrides:
    controller: {resources: {limits: {memory: 1Gi}}, stdin: false, readinessProbe: null}
    proxy: {image: other}
"#,
    );
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["resources"],
        json!({"limits": {"memory": "1Gi"}, "requests": {"cpu": "50m", "memory": "64Mi"}})
    );
    assert_eq!(container["stdin"], false);
    assert_eq!(container.get("readinessProbe"), None);
    assert_eq!(container["name"], "controller");
    assert_eq!(
        pod["containers"][1],
        json!({"name": "proxy", "image": "other"})
    );
}

#[test]
fn what_others_depend_on_cannot_be_overridden() {
    let label = "app.kubernetes.io/component";
    let deployment = |overrides: Value| json!({"deploymentOverrides": overrides});
    let service = |overrides: Value| json!({"serviceOverrides": overrides});
    let template = |template: Value| deployment(json!({"spec": {"template": template}}));
    let cases = [
        (
            deployment(json!({"kind": "DaemonSet"})),
            "deploymentOverrides changes kind",
        ),
        (
            deployment(json!({"metadata": {"name": "x"}})),
            "deploymentOverrides changes metadata.name",
        ),
        (
            deployment(json!({"metadata": {"namespace": "x"}})),
            "deploymentOverrides changes metadata.namespace",
        ),
        (
            deployment(json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}})),
            "deploymentOverrides changes spec.selector",
        ),
        (
            template(json!({"metadata": {"labels": {label: "x"}}})),
            "deploymentOverrides changes spec.template.metadata.labels.app.kubernetes.io/component",
        ),
        (
            template(json!({"metadata": null})),
            "deploymentOverrides changes spec.template.metadata.labels.app.kubernetes.io/component",
        ),
        (
            template(json!({"spec": {"serviceAccountName": "x"}})),
            "deploymentOverrides changes spec.template.spec.serviceAccountName",
        ),
        (
            service(json!({"metadata": {"name": "x"}})),
            "serviceOverrides changes metadata.name",
        ),
        (
            service(json!({"spec": {"selector": {label: "x"}}})),
            "serviceOverrides changes spec.selector",
        ),
        (
            service(json!({"spec": {"selector": null}})),
            "serviceOverrides changes spec.selector",
        ),
        (
            json!({"containerOverrides": {"controller": {"name": "x"}}}),
            "containerOverrides.controller changes name",
        ),
    ];
    for (controller, message) in cases {
        let values = json!({"controller": controller}).to_string();
        let said = refusal(&values);
        assert!(said.contains(message), "{values}\n{said}");
        assert!(said.contains("take it out of the overrides"), "{said}");
    }
}
