//! Backends where certificates cost or count: exactly one is bought for each that is needed, whatever
//! goes wrong (I6), and none is delivered that nobody needs any more.

use jiff::SignedDuration;
use relay_pki_authority::Metering;
use relay_pki_authority::x509::KeyType;

use super::crash::enumerate;
use super::document::Document;
use super::oracle::{leaf, leaves};
use super::world::{BOOTSTRAP, World, rotate};
use crate::cluster::fault::{EffectKind, Fault};
use crate::engine::{Action, Goal, StepError};
use crate::journal::Scope;
use crate::relay::SecretRole;
use relay_pki_authority::Level;

fn metered(document: Document) -> World {
    let mut world = World::new(document);
    world.metering = Metering::Counted;
    world.ledger.set_polls(1);
    world
}

/// A copy keeps the kind of backend; its ledger starts anew.
fn copy(world: &World) -> World {
    let copy = world.copy();
    copy.ledger.set_polls(1);
    copy
}

fn exactly_once(world: &World, reference: &World, what: &str) {
    assert_eq!(world.ledger.counts(), reference.ledger.counts(), "{what}");
    let counts = world.ledger.counts();
    assert!(
        counts.values().all(|count| *count <= 2),
        "{what}: {counts:?}"
    );
    nothing_left(world, what);
}

fn nothing_left(world: &World, what: &str) {
    let objects = world.home().objects();
    let mut left = objects
        .iter()
        .filter(|object| object.key.name.contains("-issuance-"));
    assert!(left.next().is_none(), "{what}: {left:?}");
}

#[tokio::test]
async fn each_certificate_is_bought_once() {
    let world = metered(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    let counts = world.ledger.counts();
    let subjects: Vec<&String> = counts.keys().collect();
    let wanted = [
        "cluster-1",
        "cluster-2",
        "gloo-mesh-mgmt-server.gloo-mesh",
        "relay signer 1",
    ];
    assert_eq!(subjects, wanted);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(
        world.ledger.collects() >= 4,
        "pending ones were asked again by ticket"
    );
    nothing_left(&world, "bootstrap");
}

#[tokio::test]
async fn bootstrap_with_crashes() {
    let act = async |world: &World| {
        world.ledger.set_polls(1);
        world.run(&BOOTSTRAP).await;
    };
    enumerate(
        "bootstrap, metered",
        &metered(Document::new(1, 1)),
        act,
        exactly_once,
    )
    .await;
}

#[tokio::test]
async fn rotations_with_crashes() {
    let world = metered(Document::new(1, 1));
    world.reach(&BOOTSTRAP).await;
    for scope in [Scope::Agents, Scope::Server] {
        let name = format!("rotation of {scope}, metered");
        let scopes = [scope];
        let act = async |world: &World| {
            world.ledger.set_polls(1);
            world.rotate(1, &scopes).await;
        };
        enumerate(&name, &world, act, exactly_once).await;
    }
}

#[tokio::test]
async fn lost_replies_of_the_backend() {
    let reference = metered(Document::new(1, 2));
    reference.reach(&BOOTSTRAP).await;
    for n in 1..=reference.ledger.calls() {
        let world = metered(Document::new(1, 2));
        world.ledger.lose(n);
        world.reach(&BOOTSTRAP).await;
        exactly_once(&world, &reference, &format!("reply {n} is lost"));
    }
}

/// A run that was killed between delivering and tidying up leaves a record behind. What a later
/// rotation delivers must be new all the same.
#[tokio::test]
async fn a_later_rotation_never_delivers_an_old_certificate() {
    let base = metered(Document::new(1, 1));
    base.reach(&BOOTSTRAP).await;
    let scopes = [Scope::Agents, Scope::Server];
    let reference = copy(&base);
    reference.rotate(1, &scopes).await.unwrap();
    for n in 1..=reference.faults.mutations() {
        for mode in [Fault::CrashBefore, Fault::CrashAfter] {
            // With and without a new request: the second time it is simply due.
            for due in [false, true] {
                let what = format!("{mode:?} at {n}, due {due}");
                let world = copy(&base);
                world.faults.plan(n, mode);
                assert!(world.rotate(1, &scopes).await.is_none(), "{what}");
                world.faults.revive();
                let before = leaves(&world).into_iter().map(|(cluster, role)| {
                    let serial = leaf(&world, &cluster, role).leaf().raw_serial().to_vec();
                    (cluster, role, serial)
                });
                let before: Vec<_> = before.collect();
                if due {
                    world.clock.advance(SignedDuration::from_hours(24 * 80));
                    // Nor is an old one called done, not even for a round.
                    let (_, applied) = world.round(&Goal::Due).await.unwrap();
                    for (cluster, role, serial) in &before {
                        let now = leaf(&world, cluster, *role);
                        let same = now.leaf().raw_serial() == serial;
                        let put = applied.done.iter().any(|step| {
                            &step.cluster == cluster
                                && matches!(&step.action, Action::Put(put) if put.role == *role)
                        });
                        assert!(!(put && same), "{what}: {cluster} {role}");
                    }
                    world.reach(&Goal::Due).await;
                } else {
                    world.rotate(2, &scopes).await.unwrap();
                }
                for (cluster, role, serial) in before {
                    let now = leaf(&world, &cluster, role);
                    assert_ne!(now.leaf().raw_serial(), serial, "{what}: {cluster} {role}");
                }
                world.reach(&BOOTSTRAP).await;
                nothing_left(&world, &what);
            }
        }
    }
}

/// A backend that forgets what it was asked would sell a second one to whoever asks again.
#[tokio::test]
async fn an_answer_is_written_down_before_it_is_used() {
    let forgetful = || {
        let world = metered(Document::new(1, 2));
        world.ledger.set_polls(0);
        world.ledger.forgets_ids();
        world
    };
    let reference = forgetful();
    reference.reach(&BOOTSTRAP).await;
    for (n, effect) in (1..).zip(reference.faults.effects()) {
        if !effect.object.name.starts_with("relay-pki-") {
            let world = forgetful();
            world.faults.plan(n, Fault::Conflict);
            world.reach(&BOOTSTRAP).await;
            exactly_once(&world, &reference, &effect.object.name);
        }
    }
}

/// Carries a rotation through and looks at every failure on the way: none but a certificate that is
/// not there yet.
async fn smoothly(world: &World, number: u64, scopes: &[Scope]) {
    world.request(number, scopes).await;
    for _ in 0..8 {
        let (plan, applied) = world.round(&rotate(scopes)).await.unwrap();
        for failure in &applied.failed {
            let pending = matches!(failure.error, StepError::Pending { .. });
            assert!(pending, "{}", failure.error);
        }
        if plan.steps.is_empty() {
            return;
        }
    }
    panic!("no end to it");
}

/// A fleet whose agent certificate is asked for and not there yet.
async fn under_way() -> World {
    let world = metered(Document::new(1, 1));
    world.reach(&BOOTSTRAP).await;
    world.request(1, &[Scope::Agents, Scope::Server]).await;
    let (_, applied) = world
        .round(&rotate(&[Scope::Agents, Scope::Server]))
        .await
        .unwrap();
    assert!(applied.pending.is_some());
    assert_eq!(
        applied.failed.len(),
        2,
        "one pending certificate holds up no other"
    );
    assert_eq!(world.ledger.counts()["cluster-1"], 2);
    world
}

#[tokio::test]
async fn an_issuance_under_way_is_gone_on_with() {
    let world = under_way().await;
    world
        .rotate(1, &[Scope::Agents, Scope::Server])
        .await
        .unwrap();
    assert_eq!(world.ledger.counts()["cluster-1"], 2);
    nothing_left(&world, "rotation");
}

/// Whoever asks again wants a key that was made after that.
#[tokio::test]
async fn an_issuance_of_an_earlier_request_is_started_anew() {
    let world = under_way().await;
    world.rotate(2, &[Scope::Agents]).await.unwrap();
    assert_eq!(world.ledger.counts()["cluster-1"], 3);
    world.rotate(1, &[Scope::Server]).await.unwrap();
    assert_eq!(world.ledger.counts()["gloo-mesh-mgmt-server.gloo-mesh"], 2);
    nothing_left(&world, "rotation");
}

#[tokio::test]
async fn an_issuance_whose_time_is_over_is_started_anew() {
    let world = under_way().await;
    world.clock.advance(SignedDuration::from_hours(24 * 31));
    smoothly(&world, 1, &[Scope::Agents, Scope::Server]).await;
    assert_eq!(world.ledger.counts()["cluster-1"], 3);
    world.reach(&BOOTSTRAP).await;
    nothing_left(&world, "rotation");
}

#[tokio::test]
async fn an_issuance_of_an_earlier_signer_is_started_anew() {
    let world = under_way().await;
    world.through(Level::Signer).await;
    smoothly(&world, 1, &[Scope::Agents, Scope::Server]).await;
    for (cluster, role) in [
        ("cluster-1", SecretRole::Client),
        ("mgmt-1", SecretRole::Server),
    ] {
        let chain = leaf(&world, cluster, role);
        let signer = chain.intermediates()[0].subject().to_owned();
        assert!(signer.contains("relay signer 2"), "{signer}");
    }
    nothing_left(&world, "rotation");
}

#[tokio::test]
async fn an_issuance_for_another_key_type_is_started_anew() {
    let mut world = under_way().await;
    world.document.leaf_key = "ed25519";
    world.reload();
    smoothly(&world, 1, &[Scope::Agents, Scope::Server]).await;
    for (cluster, role) in [
        ("cluster-1", SecretRole::Client),
        ("mgmt-1", SecretRole::Server),
    ] {
        let chain = leaf(&world, cluster, role);
        assert_eq!(chain.leaf().public_key().key_type(), Ok(KeyType::Ed25519));
    }
    nothing_left(&world, "rotation");
}

#[tokio::test]
async fn an_issuance_for_other_names_is_started_anew() {
    let mut world = under_way().await;
    world.document.extra_names = vec!["relay.example.com".to_owned()];
    world.reload();
    smoothly(&world, 1, &[Scope::Agents, Scope::Server]).await;
    let chain = leaf(&world, "mgmt-1", SecretRole::Server);
    let names = chain.leaf().dns_names();
    assert!(
        names.iter().any(|name| name == "relay.example.com"),
        "{names:?}"
    );
    assert_eq!(
        world.ledger.counts()["cluster-1"],
        2,
        "the agent's names did not change"
    );
    nothing_left(&world, "rotation");
}

#[tokio::test]
async fn an_issuance_for_a_cluster_that_left_is_forgotten() {
    let mut world = under_way().await;
    world.document.clusters.truncate(1);
    world
        .document
        .clusters
        .push(super::document::workload("cluster-9"));
    world.reload();
    world.reach(&BOOTSTRAP).await;
    smoothly(&world, 1, &[Scope::Agents, Scope::Server]).await;
    nothing_left(&world, "rotation");
}

/// Sweeping goes by what lies in the cluster, not by what could not be read.
#[tokio::test]
async fn an_unreachable_cluster_keeps_its_issuance() {
    let world = under_way().await;
    world.faults.set_reachable("cluster-1", false);
    let (plan, _) = world
        .round(&rotate(&[Scope::Agents, Scope::Server]))
        .await
        .unwrap();
    assert!(plan.settled.is_empty());
    world.faults.set_reachable("cluster-1", true);
    smoothly(&world, 1, &[Scope::Agents, Scope::Server]).await;
    assert_eq!(world.ledger.counts()["cluster-1"], 2);
    let deleted = world.faults.effects();
    let deleted = deleted
        .iter()
        .filter(|effect| effect.kind == EffectKind::Deleted);
    assert!(deleted.count() >= 4);
}
