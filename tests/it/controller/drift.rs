//! Secrets that somebody changes by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::fleet::{CLIENT, IDENTITY, ROOT, SERVER};
use crate::support::stage::{SOON, Stage, secret};

#[test]
fn what_is_changed_by_hand_is_repaired_and_reported() {
    let stage = Stage::new("drift");
    let members = stage.members(&["deleted", "edited", "typed", "stripped", "keyed"]);
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    let [deleted, edited, typed, stripped, keyed] = &members[..] else {
        unreachable!()
    };

    // Deleted: made anew.
    let before = deleted.secret(CLIENT);
    for name in [CLIENT, ROOT, IDENTITY] {
        deleted.delete_secret(name);
    }
    // Edited: a certificate that is none, a bundle with nothing in it, another token.
    let rubbish = STANDARD.encode("rubbish");
    edited.patch_secret(CLIENT, json!({ "data": { "tls.crt": rubbish } }));
    edited.patch_secret(ROOT, json!({ "data": { "ca.crt": "" } }));
    edited.patch_secret(IDENTITY, json!({ "data": { "token": rubbish } }));
    // Of another type: deleted and made anew by hand, with our labels.
    let old = typed.secret(ROOT);
    typed.delete_secret(ROOT);
    let replaced = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "example.com/other",
        "metadata": { "name": ROOT, "namespace": typed.namespace, "labels": old.labels },
        "data": { "ca.crt": STANDARD.encode("nothing") },
    });
    // Ours may have been quicker.
    typed.must(&["delete", "secret", ROOT, "--ignore-not-found"]);
    let _ = typed
        .server
        .kubectl(&["create", "-f", "-"], &replaced.to_string());
    // A private key beside the trust bundle.
    let key = STANDARD.encode(keyed.secret(CLIENT).entry("tls.key"));
    keyed.patch_secret(ROOT, json!({ "data": { "tls.key": key } }));
    // Without our labels it is somebody's.
    let label = "app.kubernetes.io/managed-by-";
    stripped.must(&["label", "secret", CLIENT, label, "relay-pki.dev/relay-"]);
    // In the management cluster too.
    stage.must(&["delete", "secret", SERVER]);

    stage.event("deleted", "Drift", &[CLIENT, "missing"]);
    stage.event("edited", "Drift", &[CLIENT]);
    stage.event("edited", "Drift", &[IDENTITY]);
    stage.event(stage.namespace(), "Drift", &[SERVER, "missing"]);
    for sound in [deleted, edited, typed] {
        let root = sound.wait_secret(ROOT, SOON, |root| {
            root.data.get("ca.crt") == before.data.get("ca.crt") && root.data.len() == 1
        });
        assert_eq!(root.entry("ca.crt"), before.entry("ca.crt"));
        stage.wait(&sound.path(), "True", "UpToDate", SOON);
    }
    let own = secret(stage.management(), stage.namespace(), IDENTITY);
    for sound in [deleted, edited] {
        assert_eq!(sound.secret(IDENTITY).data, own.data);
    }
    assert_ne!(deleted.secret(CLIENT).data, before.data);

    // A key may be the only copy: a person is told, and decides.
    stage.wait(&keyed.path(), "False", "Blocked", SOON);
    stage.event("keyed", "Blocked", &[ROOT, "private key", "--prune-keys"]);
    assert_eq!(keyed.secret(ROOT).data.len(), 2);
    keyed.patch_secret(ROOT, json!({ "data": { "tls.key": null } }));
    stage.wait(&keyed.path(), "True", "UpToDate", SOON);

    // Reported, and not touched; with its labels it is ours again, as it was.
    let untouched = stripped.secret(CLIENT);
    let message = stage.wait(&stripped.path(), "False", "Blocked", SOON);
    assert!(message.contains("not managed by relay-pki"), "{message}");
    stage.event("stripped", "Blocked", &[CLIENT]);
    assert_eq!(stripped.secret(CLIENT), untouched);
    let relay = format!("relay-pki.dev/relay={}", stage.namespace());
    stripped.must(&[
        "label",
        "secret",
        CLIENT,
        "app.kubernetes.io/managed-by=relay-pki",
        &relay,
    ]);
    stage.wait_ready(&members, SOON);
    assert_eq!(stripped.secret(CLIENT).data, untouched.data);
    stage.assert_chains(&members);
}

/// Somebody fills a Secret of ours until nothing fits in any more.
#[test]
fn a_secret_near_the_size_limit_is_left_alone_until_there_is_room() {
    let stage = Stage::new("large");
    let members = stage.members(&["full", "good"]);
    let _replica = stage.replica("a");
    stage.relay(json!({}));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    let [full, good] = &members[..] else {
        unreachable!()
    };
    let before = full.secret(CLIENT);
    // The certificate is gone, and what is there instead leaves no room for a new one.
    let used: usize = before.data.values().map(Vec::len).sum();
    let used = used - before.entry("tls.crt").len() - before.entry("tls.key").len();
    let filling = vec![b'x'; 1024 * 1024 - used - 100];
    let patch = json!({ "data": {
        "tls.crt": "", "tls.key": "", "filling": STANDARD.encode(&filling),
    } });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), patch.to_string()).unwrap();
    let file = format!("--patch-file={}", file.path().display());
    full.must(&["patch", "secret", CLIENT, "--type=merge", &file]);

    let message = stage.wait(&full.path(), "False", "TooLarge", SOON);
    for word in [CLIENT, "take what does not belong there out of the Secret"] {
        assert!(message.contains(word), "{message}");
    }
    stage.event("full", "TooLarge", &[CLIENT]);
    assert_eq!(full.secret(CLIENT).entry("filling"), filling);
    stage.wait(&good.path(), "True", "UpToDate", SOON);

    full.patch_secret(
        CLIENT,
        json!({ "data": { "filling": STANDARD.encode("a little") } }),
    );
    stage.wait_ready(&members, SOON);
    assert_eq!(full.secret(CLIENT).entry("filling"), b"a little");
    stage.assert_chains(&members);
}
