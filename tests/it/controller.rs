//! The controller on real API servers, with its real rights and no others.
//!
//! A test has a namespace of the management cluster to itself. Its workload clusters are namespaces
//! of the three other API servers, so that one controller meets many faults at once.

mod drift;
mod faults;
mod leaders;
mod objects;
mod outages;
mod rotations;
mod soak;

use serde_json::json;

use crate::support::fleet::{CLIENT, FORWARDING, IDENTITY, ROOT, SERVER, SIGNING};
use crate::support::stage::{SOON, Stage, secret};

#[test]
fn from_empty_clusters_to_ready() {
    let stage = Stage::new("ready");
    let members = stage.members(&["east", "north", "west"]);
    let _replica = stage.replica("a");
    stage.relay(json!({ "tokens": { "identity": {}, "forwarding": {} } }));
    stage.join(&members);
    for member in &members {
        stage.kubectl_wait(&member.path(), "Ready=True");
    }
    stage.kubectl_wait(&stage.relay_path(), "Ready=True");
    stage.wait_ready(&members, SOON);

    let own = |name: &str| secret(stage.management(), stage.namespace(), name);
    let keys = |name: &str, found: crate::support::manifest::Manifest| {
        let keys: Vec<String> = found.data.into_keys().collect();
        (name.to_owned(), keys.join(" "))
    };
    let everything = "ca.crt tls.crt tls.key".to_owned();
    for (name, wanted) in [
        (SERVER, everything.as_str()),
        (IDENTITY, "token"),
        (FORWARDING, "token"),
        (ROOT, "ca.crt"),
    ] {
        assert_eq!(keys(name, own(name)), (name.to_owned(), wanted.to_owned()));
    }
    for member in &members {
        let found = |name: &str| keys(name, member.secret(name)).1;
        assert_eq!(found(CLIENT), everything);
        assert_eq!(found(ROOT), "ca.crt");
        for token in [IDENTITY, FORWARDING] {
            assert_eq!(member.secret(token).data, own(token).data);
        }
        for never in [SIGNING, SERVER] {
            assert_eq!(member.find_secret(never), None);
        }
    }
    assert_ne!(own(IDENTITY).data, own(FORWARDING).data);
    stage.assert_chains(&members);

    let relay = stage.object(&stage.relay_path());
    assert_eq!(relay["status"]["clusters"]["summary"], "4/4", "{relay:#}");
    let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
    for name in names {
        stage.event(name, "Issued", &[CLIENT, "missing"]);
        stage.event(name, "Ready", &[]);
    }
}
