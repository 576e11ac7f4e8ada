//! The objects of the API, judged by a real API server.

use serde_json::Value;

use crate::crds::{Fixture, fixtures};
use crate::support::kube::Clusters;

/// `kubectl create`, or `replace`, of an object in a namespace of the test's own.
fn send(clusters: &Clusters, verb: &str, object: &Value) -> Result<String, String> {
    let mut object = object.clone();
    object["metadata"]["namespace"] = clusters.namespace().into();
    let arguments = [verb, "--validate=strict", "-f", "-"];
    let output = clusters
        .management()
        .kubectl(&arguments, &object.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

fn clear(clusters: &Clusters) {
    let kinds = [
        "delete",
        "relays,relayclusters",
        "--all",
        "-n",
        clusters.namespace(),
    ];
    clusters.management().must(&kinds, "");
}

#[test]
fn the_api_server_accepts_what_is_valid() {
    let clusters = Clusters::new("crd-valid");
    for Fixture { name, objects, .. } in fixtures("valid") {
        for object in &objects {
            let sent = send(&clusters, "create", object);
            assert!(sent.is_ok(), "{name}: {}", sent.unwrap_err());
        }
        let none = -1;
        let kinds = ["get", "relays,relayclusters", "-n", clusters.namespace()];
        let list = clusters.management().json(&kinds);
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), objects.len(), "{name}");
        for item in items {
            // Without it `kubectl wait` and `kstatus` take what nobody has looked at for ready.
            assert_eq!(item["status"]["observedGeneration"], none, "{name}");
        }
        clear(&clusters);
    }
}

#[test]
fn the_api_server_refuses_what_is_invalid_and_says_why() {
    let clusters = Clusters::new("crd-invalid");
    for Fixture {
        name,
        expected,
        objects,
        ..
    } in fixtures("invalid")
    {
        let (last, before) = objects.split_last().unwrap();
        for object in before {
            send(&clusters, "create", object).unwrap();
        }
        let verb = if before.is_empty() { "create" } else { "apply" };
        let refused = send(&clusters, verb, last).unwrap_err();
        assert!(refused.contains(&expected), "{name}: {refused}");
        clear(&clusters);
    }
}
