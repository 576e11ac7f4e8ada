//! The proof of the proof: what other tools do to a relay in use is counted.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_testbed::eventually;
use serde_json::{Value, json};

use crate::relay::{Relay, only};
use crate::support::fleet::{CLIENT, Fleet, ROOT, SERVER};
use crate::support::handmade::{Family, Recipe};
use crate::support::manifest::Manifest;
use crate::support::stage::{PATIENCE, secret};
use crate::traffic::{Lag, now};

/// The one agent that somebody gives another bundle.
const VICTIM: usize = 6;

/// First the CA goes under everybody at once, as cert-manager replaces it; then, when that is undone,
/// one bundle is replaced.
#[allow(clippy::print_stdout)]
pub(super) fn are_counted() {
    let lag = Lag {
        volume: Duration::from_secs(1),
        restart: Duration::from_secs(1),
    };
    let mut relay = Relay::start("defects", only(json!({})), lag);
    // What would repair it.
    relay.without_controllers();
    assert_eq!(relay.tally().failed(), 0);
    let handmade = Fleet::new("");
    Family::make(Recipe::default()).write_into(&handmade);

    let before = secret(relay.stage.management(), relay.stage.namespace(), SERVER);
    let since = now();
    write_server(&relay, &handmade.secret("mgmt", SERVER));
    let everybody: BTreeSet<String> = relay.members.iter().map(|it| it.name.clone()).collect();
    eventually("every agent has a failed handshake", PATIENCE, || {
        (failed_since(&mut relay, since) == everybody).then_some(())
    });
    let failures = relay.tally().failures().to_vec();
    for server in [
        "rustls-reads-always",
        "go-reads-certificate",
        "openssl-reads-once",
    ] {
        let both = |failure: &&crate::tally::Failure| {
            failure.by == server || (failure.record.with == server && failure.record.port != 0)
        };
        let (theirs, ours): (Vec<_>, Vec<_>) =
            failures.iter().filter(both).partition(|it| it.by == server);
        assert!(!theirs.is_empty(), "{server} has counted nothing");
        assert!(
            !ours.is_empty(),
            "nobody before {server} has counted anything"
        );
    }
    let speaks = failures.iter().all(|failure| {
        let record = &failure.record;
        !record.presented.is_empty() && !record.held.is_empty()
    });
    assert!(speaks, "{failures:#?}");
    write_server(&relay, &before);
    relay.settle();

    let victim = relay.members[VICTIM].clone();
    let (client, root) = (victim.secret(CLIENT), victim.secret(ROOT));
    let foreign = handmade.secret("c1", ROOT);
    let since = now();
    for name in [CLIENT, ROOT] {
        victim.patch_secret(name, entries(&[("ca.crt", foreign.entry("ca.crt"))]));
    }
    let only = BTreeSet::from([victim.name.clone()]);
    eventually("the one agent has a failed handshake", PATIENCE, || {
        (failed_since(&mut relay, since) == only).then_some(())
    });
    for (name, before) in [(CLIENT, &client), (ROOT, &root)] {
        victim.patch_secret(name, entries(&[("ca.crt", before.entry("ca.crt"))]));
    }
    relay.settle();
    assert_eq!(
        failed_since(&mut relay, since),
        only,
        "the others know nothing of it"
    );
    let since = now();
    relay.meet();
    assert_eq!(failed_since(&mut relay, since), BTreeSet::new());
    let (tally, _) = relay.end();
    println!("{tally}");
}

/// The agents that have a failed handshake since then.
fn failed_since(relay: &mut Relay, since: f64) -> BTreeSet<String> {
    let agents: BTreeSet<String> = relay.members.iter().map(|it| it.name.clone()).collect();
    let failures = relay.tally().failures().iter();
    let recent = failures.filter(|failure| failure.record.at >= since);
    let by = recent.map(|failure| failure.by.clone());
    by.filter(|by| agents.contains(by)).collect()
}

fn write_server(relay: &Relay, server: &Manifest) {
    let pairs: Vec<(&str, &[u8])> = ["ca.crt", "tls.crt", "tls.key"]
        .iter()
        .map(|key| (*key, server.entry(key)))
        .collect();
    let patch = entries(&pairs).to_string();
    let arguments = ["patch", "secret", SERVER, "--type=merge", "--patch", &patch];
    relay.stage.must(&arguments);
}

fn entries(pairs: &[(&str, &[u8])]) -> Value {
    let data: serde_json::Map<String, Value> = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
        .collect();
    json!({ "data": data })
}
