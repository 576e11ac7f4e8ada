use std::fmt::Write as _;

use super::fixture::now;
use super::world::{CLIENT, FORWARDING, IDENTITY, TRUST, World};
use crate::audit::authorities::Authorities;
use crate::audit::chain::{Paths, handshakes};
use crate::audit::finding::Sink;
use crate::audit::{inventory, leaf, render};

/// A fleet of so many more agents.
fn large(agents: usize) -> World {
    let mut world = World::sound();
    for index in 0..agents {
        let name = format!("agent-{index}");
        let _ = writeln!(
            world.yaml,
            "    - {{ name: {name}, role: workload, directory: agents/{index} }}"
        );
        let root = world.root.pem.clone();
        world.put(&name, TRUST, &[("ca.crt", &root)]);
        world.put(
            &name,
            IDENTITY,
            &[("token", "an-identity-token-of-32-characters")],
        );
        world.put(
            &name,
            FORWARDING,
            &[("token", "a-forwarding-token-of-33-characters")],
        );
        world.issue(&name, CLIENT, |_| {});
    }
    world
}

#[tokio::test]
async fn many_agents_are_verified_as_one() {
    let world = large(200);
    let inventory = inventory::gather(&world.fleet()).await;
    let authorities = Authorities::of(&inventory, "mgmt");
    let leaves = leaf::leaves(&inventory, &authorities);
    assert_eq!(leaves.len(), 205);
    let mut paths = Paths::new(&authorities, now());
    let mut sink = Sink::default();
    handshakes(&mut sink, &inventory, &leaves, &mut paths);
    // Servers and clients: all leaves of a side look alike.
    assert_eq!(paths.verifications, 2);
    assert_eq!(sink.checks, 203 * 2 + 203);
    assert_eq!(sink.findings, []);
}

#[tokio::test]
async fn text_for_a_huge_fleet_is_bounded() {
    let mut world = large(300);
    for index in 0..250 {
        let name = format!("agent-{index}");
        world.set(&name, IDENTITY, "token", b"");
        let chain = world.text("cluster-1", CLIENT, "tls.crt");
        let key = world.text("cluster-1", CLIENT, "tls.key");
        world.put_leaf(&name, CLIENT, &chain, &key);
    }
    let report = world.audit().await;
    assert_eq!(report.counts.errors, 500);
    let text = render(&report, false, &|_, word| word.to_owned());
    assert!(text.lines().count() < 80, "{text}");
    assert!(text.contains("and 244 more"), "{text}");
    assert!(text.contains("more that end later"), "{text}");
    let wide = render(&report, true, &|_, word| word.to_owned());
    assert!(wide.lines().count() > 2000);
}
