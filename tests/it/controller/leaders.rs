//! Several replicas, and leaders that lead no more.

use std::time::Duration;

use relay_pki_testbed::{Fault, Interceptor, eventually};
use serde_json::json;

use crate::support::fleet::{CLIENT, SERVER};
use crate::support::history::{History, leaves};
use crate::support::replica::Replica;
use crate::support::stage::{Member, PATIENCE, SOON, Stage};

const LEASE: &str = "lease/relay-pki-controller";

/// A cluster needs four Secrets, one after the other.
const SLOWLY: Duration = Duration::from_secs(2);

/// The identity in the Lease, without what makes it unique.
fn leader(stage: &Stage<'_>) -> String {
    let path = "--output=jsonpath={.spec.holderIdentity}";
    let holder = stage.must(&["get", LEASE, "--ignore-not-found", path]);
    let name = holder.rsplit_once('_').map_or("", |(name, _)| name);
    name.to_owned()
}

fn wait_leader(stage: &Stage<'_>, name: &str) {
    let what = format!("{name} leads");
    eventually(&what, PATIENCE, || (leader(stage) == name).then_some(()));
}

/// Fails unless there was one root and one signer, and `clients` certificates in each cluster.
fn assert_once(stage: &Stage<'_>, histories: Vec<History>, clients: usize, servers: usize) {
    let states: Vec<_> = histories.into_iter().flat_map(History::end).collect();
    for level in ["root", "signer"] {
        let prefix = format!("relay-pki-{}-{level}-g", stage.namespace());
        let mut keys: Vec<_> = states
            .iter()
            .filter(|state| state.name.starts_with(&prefix))
            .map(|state| &state.name)
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys, [&format!("{prefix}1")], "generations of the {level}");
    }
    for (name, count) in [(CLIENT, clients), (SERVER, servers)] {
        let leaves = leaves(&states, name);
        assert!(!leaves.is_empty(), "no {name} was ever seen");
        for (namespace, leaves) in leaves {
            assert_eq!(leaves.len(), count, "certificates of {namespace}/{name}");
        }
    }
}

fn histories(stage: &Stage<'_>) -> Vec<History> {
    std::iter::once(&stage.management())
        .chain(stage.workloads())
        .map(|server| History::begin(server, stage.namespace()))
        .collect()
}

/// A leader that sleeps in the middle of its work wakes up when another one has long taken over.
#[test]
fn a_leader_that_was_frozen_writes_nothing_more_and_ends() {
    let stage = Stage::new("frozen");
    let members = stage.members(&["c1", "c2", "c3", "c4", "c5", "c6"]);
    let histories = histories(&stage);
    let mut first = stage.replica("first");
    wait_leader(&stage, "first");
    let second = stage.replica("second");
    stage.relay(json!({}));
    stage.join(&members);
    // In the middle: the first cluster has its certificate, the last one hardly.
    members[0].wait_secret(CLIENT, SOON, |_| true);
    first.freeze();
    wait_leader(&stage, "second");
    stage.wait_ready(&members, PATIENCE);
    let before: Vec<_> = members.iter().map(|m| m.secret(CLIENT)).collect();
    first.thaw();
    assert_eq!(first.end(), Some(1), "{}", first.tail());
    assert!(first.said().contains("lease"), "{}", first.tail());
    let after: Vec<_> = members.iter().map(|m| m.secret(CLIENT)).collect();
    assert_eq!(after, before);
    assert_once(&stage, histories, 1, 1);
    // Asked to end, a leader gives the Lease back: the next one need not wait for it to run out.
    second.terminate();
    let third = stage.replica("third");
    let what = "the third leads at once";
    eventually(what, Duration::from_secs(8), || {
        (leader(&stage) == "third").then_some(())
    });
    stage.wait_ready(&members, SOON);
    third.terminate();
}

/// Whoever deletes the Lease makes two leaders for a while.
#[test]
fn two_leaders_at_once_make_nothing_twice() {
    let stage = Stage::new("two");
    let members = stage.members(&["c1", "c2", "c3", "c4", "c5", "c6"]);
    let histories = histories(&stage);
    let one = stage.replica("one");
    let two = stage.replica("two");
    eventually("somebody leads", SOON, || {
        (!leader(&stage).is_empty()).then_some(())
    });
    stage.must(&["delete", LEASE]);
    stage.relay(json!({}));
    stage.join(&members);
    let mut replicas = [one, two];
    let both = eventually("both have led", SOON, || {
        let led = |replica: &Replica| replica.said().contains("leading");
        replicas.iter().all(led).then_some(true)
    });
    assert!(both);
    // The one that does not have it ends; a Deployment would start it again.
    let ended = eventually("one of them ends", PATIENCE, || {
        replicas.iter_mut().position(Replica::has_ended)
    });
    assert_eq!(replicas[ended].end(), Some(1), "{}", replicas[ended].tail());
    stage.wait_ready(&members, PATIENCE);
    stage.assert_chains(&members);
    assert_once(&stage, histories, 1, 1);
}

/// Many clusters, few API servers, and no warning.
#[test]
fn a_leader_that_is_killed_in_the_middle_is_replaced_and_nothing_is_issued_twice() {
    let stage = Stage::new("killed");
    let names: Vec<String> = (1..=30).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut members: Vec<Member<'_>> = stage.members(&names);
    let histories = histories(&stage);
    // One of the API servers takes its time, so that there is a middle.
    let slow = Interceptor::before(stage.workloads()[2]);
    slow.inject(Fault::delay("POST", "/secrets", SLOWLY, usize::MAX));
    for member in members.iter_mut().skip(2).step_by(3) {
        member.kubeconfig = slow.kubeconfig(&member.kubeconfig);
    }
    let first = stage.replica("first");
    wait_leader(&stage, "first");
    let _second = stage.replica("second");
    stage.relay(json!({}));
    stage.join(&members);
    members[0].wait_secret(CLIENT, SOON, |_| true);
    drop(first);
    assert_eq!(members[29].find_secret(CLIENT), None, "it was too quick");
    slow.relent();
    stage.wait_ready(&members, PATIENCE);
    assert_once(&stage, histories, 1, 1);
}
