//! CA keys that are encrypted where they are kept.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::certificate::private_key;
use crate::support::fleet::{Fleet, clusters};
use crate::support::tools::openssl;
use crate::support::verifiers::{Naming, assert_accepted, questions};

const SECRETS: [&str; 2] = [
    "relay-pki-gloo-mesh-root-g1",
    "relay-pki-gloo-mesh-signer-g1",
];

fn spec(self_signed: &str) -> String {
    let clusters = clusters(&["c1"]);
    format!("  providers: {{ local: {{ selfSigned: {{ {self_signed} }} }} }}\n{clusters}")
}

fn new_key(fleet: &Fleet, name: &str) {
    let key = openssl(fleet.dir(), &["rand", "-hex", "32"]);
    fs::write(fleet.path(name), key).unwrap();
}

fn assert_verifies(fleet: &Fleet) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &["c1"]));
}

/// The private keys in no file, neither as they are nor in base64, once or twice over.
fn assert_nowhere(fleet: &Fleet, keys: &[Vec<u8>]) {
    let tree = fleet.tree();
    for der in keys {
        // The beginning of the secret number of a P-256 key, as far as the first line of its PEM goes.
        let secret = &der[36..48];
        let mut patterns = vec![secret.to_vec()];
        for once in encodings(secret) {
            patterns.extend(encodings(&once));
            patterns.push(once);
        }
        for (path, entry) in &tree.0 {
            let content = entry.content.as_deref().unwrap_or_default();
            for pattern in &patterns {
                let found = content.windows(pattern.len()).any(|part| part == pattern);
                assert!(!found, "{path} holds a CA key");
            }
        }
    }
}

/// What of `bytes` shows in a base64 text, wherever in it they begin.
fn encodings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let whole = |skipped: usize| {
        let rest = &bytes[skipped..];
        STANDARD.encode(&rest[..rest.len() / 3 * 3]).into_bytes()
    };
    (0..3).map(whole).collect()
}

fn clear_keys(fleet: &Fleet) -> Vec<Vec<u8>> {
    let key = |name: &&str| {
        let secret = fleet.secret("mgmt", name);
        private_key(secret.entry("tls.key")).secret_der().to_vec()
    };
    SECRETS.iter().map(key).collect()
}

#[test]
fn encryption_is_turned_on_and_its_key_is_changed() {
    let fleet = Fleet::bootstrapped(&spec(""));
    let keys = clear_keys(&fleet);
    // The search finds what is there.
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        assert_nowhere(&fleet, &keys);
    }));
    assert!(found.is_err());

    new_key(&fleet, "one.key");
    fleet.write_spec(&spec("encryptionKey: { file: one.key }"));
    fleet
        .done(&["bootstrap", "--dry-run"])
        .says(&["encrypt its key", "it is not encrypted"]);
    fleet.done(&["bootstrap"]);
    assert_nowhere(&fleet, &keys);
    fleet.done(&["audit"]);
    fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
    fleet.done(&["rotate", "agents"]);
    assert_verifies(&fleet);

    new_key(&fleet, "two.key");
    // Without the previous key nothing opens, and nothing is written.
    fleet.write_spec(&spec("encryptionKey: { file: two.key }"));
    let before = fleet.tree();
    fleet
        .ends(&["bootstrap"], 1)
        .says(&["previousEncryptionKey", "two.key"]);
    fleet
        .ends(&["rotate", "agents"], 1)
        .says(&["previousEncryptionKey"]);
    let changed = before.difference(&fleet.tree()).changed;
    let secrets: Vec<&String> = changed
        .iter()
        .filter(|path| !path.contains("request"))
        .collect();
    assert_eq!(secrets, Vec::<&String>::new());
    fleet.write_spec(&spec(
        "encryptionKey: { file: two.key }, previousEncryptionKey: { file: one.key }",
    ));
    fleet.done(&["bootstrap"]);
    fs::remove_file(fleet.path("one.key")).unwrap();
    fleet.write_spec(&spec("encryptionKey: { file: two.key }"));
    fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
    fleet.done(&["rotate", "signer"]);
    fleet.done(&["rotate", "agents"]);
    assert_verifies(&fleet);
    assert_nowhere(&fleet, &keys);

    // It is not turned off by the way.
    fleet.write_spec(&spec(""));
    fleet
        .ends(&["bootstrap"], 8)
        .says(&["has no encryption key", "encryptionKey"]);
    fleet
        .ends(&["rotate", "agents"], 1)
        .says(&["encryptionKey"]);
}

#[test]
fn a_key_that_is_not_there_or_is_no_key() {
    let fleet = Fleet::new(&spec("encryptionKey: { file: absent.key }"));
    fleet
        .ends(&["bootstrap"], 1)
        .says(&["absent.key", "encryption key"]);
    fs::write(fleet.path("absent.key"), "hunter2hunter2\n").unwrap();
    let run = fleet.ends(&["bootstrap"], 1);
    run.says(&["absent.key", "openssl rand -hex 32"]);
    assert!(!format!("{run:?}").contains("hunter2"));
    new_key(&fleet, "absent.key");
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet);
    for name in SECRETS {
        let secret = fleet.secret("mgmt", name);
        let entries: Vec<&str> = secret.data.keys().map(String::as_str).collect();
        assert_eq!(entries, ["tls.crt", "tls.key.encrypted"]);
    }
    fleet.write_spec(&spec("previousEncryptionKey: { file: absent.key }"));
    fleet.ends(&["bootstrap"], 2).says(&["no encryptionKey"]);
}
