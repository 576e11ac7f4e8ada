//! Values that are refused, and what is said.

use serde_json::{Value, json};

use crate::support::helm::refusal;

fn refused(values: &Value, message: &str) {
    let said = refusal(&values.to_string());
    assert!(said.contains(message), "{values}\n{said}");
}

#[test]
fn misspelt_values_are_named_with_their_place() {
    let nested = |path: &str| {
        path.rsplit('/').filter(|part| !part.is_empty()).fold(
            json!({"misspelt": true}),
            |inner, part| json!({part: inner}),
        )
    };
    for path in [
        "",
        "/crds",
        "/controller",
        "/controller/image",
        "/controller/log",
        "/controller/ports",
        "/controller/serviceAccount",
        "/controller/rbac",
        "/controller/podDisruptionBudget",
        "/controller/networkPolicy",
        "/controller/metrics",
        "/controller/metrics/serviceMonitor",
        "/controller/metrics/podMonitor",
        "/controller/metrics/prometheusRule",
        "/controller/metrics/dashboard",
        "/agent",
        "/agent/serviceAccount",
        "/agent/tokenSecret",
        "/agent/secrets",
        "/agent/image",
        "/agent/log",
        "/agent/ports",
        "/agent/networkPolicy",
    ] {
        let message = format!("at '{path}': additional properties 'misspelt' not allowed");
        refused(&nested(path), &message);
    }
}

#[test]
fn impossible_values_are_named_with_what_is_possible() {
    let controller = |value: Value| json!({"controller": value});
    let cases = [
        (
            controller(json!({"replicas": "two"})),
            "at '/controller/replicas': got string, want integer",
        ),
        (
            controller(json!({"replicas": -1})),
            "at '/controller/replicas': minimum: got -1, want 0",
        ),
        (
            controller(json!({"image": {"variant": "FIPS"}})),
            "at '/controller/image/variant': value must be one of '', 'fips'",
        ),
        (
            controller(json!({"image": {"digest": "latest"}})),
            "at '/controller/image/digest': 'latest' does not match pattern",
        ),
        (
            controller(json!({"serviceType": "Loadbalancer"})),
            "at '/controller/serviceType': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
        ),
        (
            controller(json!({"spread": true})),
            "at '/controller/spread': value must be one of 'soft', 'hard', 'none'",
        ),
        (
            controller(json!({"log": {"format": "xml"}})),
            "at '/controller/log/format': value must be one of 'json', 'text'",
        ),
        (
            controller(json!({"extraEnv": {"NAME": {"value": "x"}}})),
            "at '/controller/extraEnv': got object, want array",
        ),
        (
            controller(json!({"podLabels": {"a": true}})),
            "at '/controller/podLabels/a': got boolean, want string",
        ),
        (
            controller(json!({"deploymentOverrides": []})),
            "at '/controller/deploymentOverrides': got array, want object",
        ),
        (
            json!({"agent": {"server": "http://relay.example.com"}}),
            "at '/agent/server': 'http://relay.example.com' does not match pattern",
        ),
        (
            json!({"agent": {"trustFingerprints": ["abc"]}}),
            "at '/agent/trustFingerprints/0': 'abc' does not match pattern",
        ),
        (
            json!({"agent": {"restart": ["pod/a"]}}),
            "at '/agent/restart/0': 'pod/a' does not match pattern",
        ),
        (json!({"agent": {"renewAt": 1}}), "at '/agent/renewAt'"),
        (
            json!({"relay": {"spec": {}}}),
            "at '/relay': missing property 'metadata'",
        ),
        (
            json!({"relay": {"metadata": {"name": "a"}, "specc": {}, "spec": {}}}),
            "at '/relay': additional properties 'specc' not allowed",
        ),
        (
            json!({"clusters": [{"metadata": {"name": "a", "namespace": "b"}, "spec": {}}]}),
            "at '/clusters/0/metadata': additional properties 'namespace' not allowed",
        ),
        (
            json!({"global": {"imagePullSecrets": ["registry"]}}),
            "at '/global/imagePullSecrets/0': got string, want object",
        ),
    ];
    for (values, message) in cases {
        refused(&values, message);
    }
}

#[test]
fn values_that_contradict_each_other_are_explained() {
    let rule = |rule: Value| json!({"controller": {"metrics": {"prometheusRule": rule}}});
    let cases = [
        (
            json!({"controller": {"metrics": {
                "serviceMonitor": {"enabled": true}, "podMonitor": {"enabled": true}}}}),
            "every series would be there twice; enable one of them",
        ),
        (
            json!({"controller": {"enabled": false}}),
            "there is nothing to install; enable one of them",
        ),
        (
            json!({"controller": {"enabled": false}, "agent": {"enabled": true},
                "clusters": [{"metadata": {"name": "a"}, "spec": {}}]}),
            "relay and clusters need the controller",
        ),
        (
            json!({"agent": {"enabled": true, "server": "https://relay.example.com"}}),
            "agent.cluster is empty: name the cluster",
        ),
        (
            json!({"agent": {"enabled": true, "cluster": "cluster-1"}}),
            "agent.server is empty: name the EST server",
        ),
        (
            json!({"agent": {"enabled": true, "cluster": "cluster-1", "server": "https://a",
                "allowDelete": true}}),
            "are for a controller elsewhere",
        ),
        (
            json!({"controller": {"serviceAccount": {"create": false}}}),
            "controller.serviceAccount.name: name the existing service account",
        ),
        (
            json!({"controller": {"containerOverrides": {"contoller": {}}}}),
            "containerOverrides.contoller: there is no such container; there are: controller",
        ),
        (
            json!({"extraObjects": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}]}),
            "extraObjects[0] is a Secret: key material would lie in the Helm release",
        ),
        (
            json!({"extraObjects": [{"apiVersion": "v1", "kind": "List", "items": []}]}),
            "extraObjects[0] is a List",
        ),
        (
            rule(json!({"enabled": true, "disabled": ["RelayBundelStale"]})),
            "there is no alert RelayBundelStale; there are: RelayEarliestFailureSoon",
        ),
        (
            rule(json!({"enabled": true, "forOverrides": {"RelayX": "1m"}})),
            "there is no alert RelayX",
        ),
        (
            rule(json!({"enabled": true, "exprOverrides": {"RelayY": "1"}})),
            "there is no alert RelayY",
        ),
    ];
    for (values, message) in cases {
        refused(&values, message);
    }
}
