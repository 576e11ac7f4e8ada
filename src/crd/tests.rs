#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// Makes the manifests with `RELAY_PKI_WRITE_DOCS=1`.
#[test]
fn the_manifests_are_up_to_date() {
    for definition in definitions().unwrap() {
        let file = format!(
            "{}/manifests/crds/{}.yaml",
            env!("CARGO_MANIFEST_DIR"),
            definition.plural
        );
        let wanted = definition.yaml().unwrap();
        if std::env::var_os("RELAY_PKI_WRITE_DOCS").is_some() {
            std::fs::write(&file, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == wanted,
            "manifests/crds/{}.yaml is out of date; run \
             `RELAY_PKI_WRITE_DOCS=1 cargo test -p relay-pki --lib crd::`",
            definition.plural
        );
    }
}

fn relay(fields: Value) -> Relay {
    serde_json::from_value(json!({
        "apiVersion": "relay-pki.dev/v1alpha1",
        "kind": "Relay",
        "metadata": { "name": "prod", "namespace": "mesh" },
        "spec": fields,
    }))
    .unwrap()
}

fn cluster(name: &str, relay: &str, created: Option<&str>, secret: &str) -> RelayCluster {
    serde_json::from_value(json!({
        "apiVersion": "relay-pki.dev/v1alpha1",
        "kind": "RelayCluster",
        "metadata": { "name": name, "namespace": "mesh", "creationTimestamp": created },
        "spec": {
            "relayRef": { "name": relay },
            "kubeconfig": { "secretRef": { "name": secret } },
        },
    }))
    .unwrap()
}

#[test]
fn what_only_objects_have_is_apart_from_the_document() {
    let fields = json!({
        "suspend": true,
        "deletionPolicy": "Delete",
        "discovery": { "kubernetesClusters": {} },
        "agents": { "renewAt": 0.5 },
    });
    let relay = relay(fields.clone());
    assert!(relay.spec.suspend);
    assert_eq!(relay.spec.deletion_policy, DeletionPolicy::Delete);
    let discovery = relay.spec.discovery.as_ref().unwrap();
    assert!(discovery.kubernetes_clusters.is_some());
    assert_eq!(
        Value::Object(relay.spec.document.clone()),
        json!({ "agents": { "renewAt": 0.5 } })
    );
    assert_eq!(serde_json::to_value(&relay).unwrap()["spec"], fields);
    assert!(assemble(&relay, []).is_ok());
    let schema = crate::config::json_schema().to_string();
    for field in ["suspend", "deletionPolicy", "discovery", "relayRef"] {
        assert!(!schema.contains(field), "documents have {field}");
    }
}

#[test]
fn a_relay_has_the_clusters_that_refer_to_it_and_the_older_one_holds() {
    let mut elsewhere = cluster("far", "prod", None, "far");
    elsewhere.metadata.namespace = Some("other".to_owned());
    let clusters = [
        cluster("a-new", "prod", Some("2026-02-01T00:00:00Z"), "shared"),
        cluster("unsaved", "prod", None, "shared"),
        cluster("z-old", "prod", Some("2026-01-01T00:00:00Z"), "shared"),
        cluster("foreign", "test", Some("2025-01-01T00:00:00Z"), "shared"),
        elsewhere,
    ];
    let assembled = assemble(&relay(json!({})), &clusters).unwrap();
    let names: Vec<&str> = assembled
        .relay
        .clusters
        .iter()
        .map(|cluster| cluster.name.as_str())
        .collect();
    assert_eq!(names, ["management", "z-old"]);
    let rejected: Vec<&String> = assembled.rejected.keys().collect();
    assert_eq!(rejected, ["a-new", "unsaved"]);
    assert_eq!(assembled.relay.home().namespace, "mesh");
}

#[test]
fn a_status_that_nobody_wrote_is_no_current_one() {
    for empty in ["{}", "{\"observedGeneration\":-1}"] {
        let status: RelayStatus = serde_json::from_str(empty).unwrap();
        assert_eq!(status, RelayStatus::default());
        let status: RelayClusterStatus = serde_json::from_str(empty).unwrap();
        assert_eq!(status, RelayClusterStatus::default());
    }
    let status = serde_json::to_value(RelayStatus::default()).unwrap();
    assert_eq!(status, json!({ "observedGeneration": -1 }));
    for definition in definitions().unwrap() {
        let status = schema_of(&definition)
            .pointer("/properties/status")
            .unwrap();
        assert_eq!(status["default"], json!({ "observedGeneration": -1 }));
    }
}

fn schema_of(definition: &Definition) -> &Value {
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    definition.object.pointer(schema).unwrap()
}

/// Calls `look` with every schema below one, by its path.
fn each(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(below) {
            each(&format!("{path}[]"), below, look);
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        each(&format!("{path}.{name}"), property, look);
    }
}

#[test]
fn everything_in_a_spec_has_a_bound_and_words() {
    for definition in definitions().unwrap() {
        let mut seen = 0;
        each(
            "spec",
            &schema_of(&definition)["properties"]["spec"],
            &mut |path, schema| {
                seen += 1;
                let kind = schema["type"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{path} has no type"));
                let bound = match kind {
                    "string" if schema["enum"].is_null() => "maxLength",
                    "array" => "maxItems",
                    "object" if schema.get("additionalProperties").is_some() => "maxProperties",
                    _ => "type",
                };
                assert!(schema.get(bound).is_some(), "{path} has no {bound}");
                // A pattern without a rule would be answered with the pattern.
                for keyword in ["pattern", "nullable", "anyOf", "oneOf", "$ref"] {
                    assert!(schema.get(keyword).is_none(), "{path} has {keyword}");
                }
                let words = schema["description"].as_str().unwrap_or_default();
                assert!(
                    words.len() > 10 || path.ends_with("[]"),
                    "{path} is not described"
                );
                assert!(
                    !words.contains("document"),
                    "{path} speaks of a document: {words}"
                );
            },
        );
        assert!(seen > 10, "{seen} in {}", definition.plural);
    }
}

#[test]
fn a_spec_has_every_field_of_the_document_that_makes_sense_in_objects() {
    let document = crate::config::json_schema();
    let fields = |schema: &Value| -> BTreeSet<String> {
        let properties = schema["properties"].as_object().unwrap();
        properties.keys().cloned().collect()
    };
    let set = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let [relays, clusters, _] = definitions().unwrap();
    for (definition, part, only_document, only_object) in [
        (
            relays,
            "Spec",
            set(&["clusters"]),
            set(&["deletionPolicy", "discovery", "suspend"]),
        ),
        (
            clusters,
            "Cluster",
            set(&["directory", "name"]),
            set(&["deletionPolicy", "relayRef"]),
        ),
    ] {
        let object = fields(&schema_of(&definition)["properties"]["spec"]);
        let document = fields(&document["$defs"][part]);
        assert_eq!(&document - &object, only_document, "{part}");
        assert_eq!(&object - &document, only_object, "{part}");
    }
}
