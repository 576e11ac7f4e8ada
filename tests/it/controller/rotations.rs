//! RelayRotation objects: they begin rotations, lead them, and tell how they stand.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::stage::{SOON, Stage};

/// A gate is looked at every ten seconds, and there are six of them.
const A_ROTATION: Duration = Duration::from_secs(180);

fn rotation(stage: &Stage<'_>, name: &str, fields: Value) -> Value {
    let mut spec = json!({ "relayRef": { "name": stage.namespace() }, "level": "root" });
    let more = fields.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    json!({
        "apiVersion": "relay-pki.dev/v1alpha1", "kind": "RelayRotation",
        "metadata": { "name": name, "namespace": stage.namespace() },
        "spec": spec,
    })
}

fn patch(stage: &Stage<'_>, name: &str, spec: Value) {
    let path = format!("relayrotation/{name}");
    let patch = json!({ "spec": spec }).to_string();
    stage.must(&["patch", &path, "--type=merge", "--patch", &patch]);
}

/// What the API server says to an object that it refuses.
fn refused(stage: &Stage<'_>, object: &Value) -> String {
    let arguments = ["apply", "-f", "-"];
    let output = stage.management().kubectl(&arguments, &object.to_string());
    assert!(!output.status.success(), "{object:#}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until the status of a RelayRotation is as wanted.
fn until(stage: &Stage<'_>, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let path = format!("relayrotation/{name}");
    let begun = std::time::Instant::now();
    loop {
        let found = match stage.exists(&path) {
            true => stage.object(&path),
            false => Value::Null,
        };
        if holds(&found["status"]) {
            return found;
        }
        assert!(
            begun.elapsed() < A_ROTATION,
            "{name} is not {what}: {found:#}; Events: {:#?}",
            stage.events()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_object_begins_a_rotation_leads_it_and_tells_of_it() {
    let stage = Stage::new("rotation");
    let members = stage.members(&["one"]);
    let _replica = stage.replica("a");
    stage.relay(json!({ "rotation": { "soak": "1s", "approval": "manual" } }));
    stage.join(&members);
    stage.wait_ready(&members, SOON);

    // What makes no sense is not even stored.
    let rash = rotation(&stage, "rash", json!({ "emergency": true }));
    let said = refused(&stage, &rash);
    assert!(said.contains("acceptOutage: true"), "{said}");

    stage.apply(&[rotation(&stage, "first", json!({}))]);
    let found = until(&stage, "first", "waiting", |status| {
        let waiting = status["waitingFor"][0].as_str().unwrap_or_default();
        waiting.contains("approve publishing")
    });
    let status = &found["status"];
    assert_eq!(status["number"], 1, "{status:#}");
    assert_eq!(status["phase"], "preparing", "{status:#}");
    let changed = rotation(&stage, "first", json!({ "level": "signer" }));
    let said = refused(&stage, &changed);
    assert!(said.contains("level cannot be changed"), "{said}");

    // Another one is refused for good, with the name of the first.
    stage.apply(&[rotation(&stage, "second", json!({ "level": "signer" }))]);
    let second = until(&stage, "second", "refused", |status| {
        status["phase"] == "refused"
    });
    let text = second["status"]["conditions"].to_string();
    assert!(text.contains("rotation 1 of the root"), "{text}");

    patch(&stage, "first", json!({ "paused": true }));
    until(&stage, "first", "paused", |status| {
        let waiting = status["waitingFor"][0].as_str().unwrap_or_default();
        waiting.contains("RelayRotation first")
    });
    let all = json!([
        "publishing",
        "activating",
        "reissuing",
        "draining",
        "retiring"
    ]);
    patch(&stage, "first", json!({ "paused": false, "approve": all }));
    until(&stage, "first", "done", |status| status["phase"] == "done");
    stage.kubectl_wait("relayrotation/first", "Ready=True");
    stage.wait_ready(&members, SOON);
    stage.assert_chains(&members);
    let second = stage.object("relayrotation/second");
    assert_eq!(second["status"]["phase"], "refused");
    let columns = stage.must(&["get", "rlyr", "first"]);
    for column in [
        "RELAY",
        "LEVEL",
        "PHASE",
        "DIRECTION",
        "AGE",
        "done",
        "forward",
    ] {
        assert!(columns.contains(column), "{columns}");
    }

    // What the transcript says is proved, and names the object.
    let log = stage.administer(&["rotation", "log", "1", "--output", "json"]);
    for kind in [
        "begun",
        "paused",
        "resumed",
        "approved",
        "entered",
        "destroyed",
    ] {
        assert!(
            log.contains(&format!("\"kind\":\"{kind}\"")),
            "{kind}: {log}"
        );
    }
    assert!(log.contains("\"by\":\"RelayRotation first ("), "{log}");
    stage.administer(&["audit", "--fail-on", "error"]);
}

/// A rotation that was begun elsewhere has an object, too, and can be led with it.
#[test]
fn every_rotation_has_an_object() {
    let stage = Stage::new("mirror");
    let members = stage.members(&["one"]);
    let replica = stage.replica("a");
    stage.relay(json!({ "rotation": { "soak": "1h", "automatic": true } }));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    // Another type of key, and the rotation begins by itself.
    stage.relay(json!({
        "rotation": { "soak": "1h", "automatic": true },
        "signer": { "keyType": "ecdsa-p384" },
    }));
    let name = format!("{}-rotation-1", stage.namespace());
    let found = until(&stage, &name, "draining", |status| {
        status["phase"] == "draining"
    });
    assert_eq!(found["spec"]["level"], "signer", "{found:#}");
    assert_eq!(found["spec"]["number"], 1, "{found:#}");
    assert_eq!(found["metadata"]["ownerReferences"][0]["kind"], "Relay");
    assert!(found["status"]["expectedEnd"].is_string(), "{found:#}");
    // The next leader takes it for what it is, and begins nothing.
    drop(replica);
    let _replica = stage.replica("b");
    stage.relay(json!({
        "rotation": { "soak": "1h" }, "signer": { "keyType": "ecdsa-p384" },
    }));
    patch(&stage, &name, json!({ "rollback": true }));
    until(&stage, &name, "rolled back", |status| {
        status["phase"] == "rolledback"
    });
    stage.wait_ready(&members, SOON);
    let all = stage.must(&["get", "relayrotations", "--output=name"]);
    assert_eq!(all.lines().count(), 1, "{all}");
    stage.assert_chains(&members);
}
