//! What becomes of the private keys of CAs that a rotation has replaced.

use relay_pki_authority::Level;

use super::document::Document;
use super::oracle::ca_keys;
use super::transcript::{keys_told, objection};
use super::world::{BOOTSTRAP, World, request};
use crate::clock::Clock as _;
use crate::engine::{Goal, Observed};
use crate::rotation::{Begun, Phase, Refusal, Request, Steering, begin};

const DISABLE: &str = "{ soak: 0s, oldKeys: disable }";

async fn bootstrapped(rotation: &'static str, able: bool) -> World {
    let mut document = Document::new(1, 1);
    document.rotation = rotation;
    let world = World::new(document);
    world.ledger.disables(able);
    world.reach(&BOOTSTRAP).await;
    world
}

fn begun(world: &World, observed: &Observed, request: &Request) -> Result<Begun, Refusal> {
    begin(&world.relay, observed, request, world.clock.now())
}

fn disabled(world: &World) -> Vec<String> {
    world.ledger.disabled().into_iter().collect()
}

#[tokio::test]
async fn old_cas_are_disabled_and_their_keys_stay() {
    for (level, names, told) in [
        (
            Level::Root,
            vec!["relay root g1", "relay signer g1"],
            vec!["disabled signer g1", "disabled root g1"],
        ),
        (
            Level::Signer,
            vec!["relay signer g1"],
            vec!["disabled signer g1"],
        ),
    ] {
        let world = bootstrapped(DISABLE, true).await;
        let before = ca_keys(world.home()).len();
        world.begin(&request(level)).await;
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, Phase::Done);
        assert_eq!(disabled(&world), names);
        assert_eq!(keys_told(&world), told);
        assert_eq!(objection(&world), None);
        let after = ca_keys(world.home()).len();
        assert_eq!(after, before + names.len());
        assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
    }
}

/// Nobody wants back what is compromised, or was never relied on.
#[tokio::test]
async fn in_an_emergency_and_on_the_way_back_keys_are_destroyed_all_the_same() {
    for emergency in [true, false] {
        let world = bootstrapped(DISABLE, true).await;
        let before = ca_keys(world.home()).len();
        let asked = Request {
            emergency,
            ..request(Level::Root)
        };
        world.begin(&asked).await;
        let (end, told) = match emergency {
            true => (Phase::Done, ["destroyed signer g1", "destroyed root g1"]),
            false => {
                while world.rotation().await.phase != Phase::Publishing {
                    world.round(&Goal::Rotation).await.unwrap();
                }
                world.steer(Steering::Rollback).await.unwrap();
                let told = ["destroyed signer g2", "destroyed root g2"];
                (Phase::Rolledback, told)
            }
        };
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, end);
        assert_eq!(disabled(&world), [] as [String; 0]);
        assert_eq!(keys_told(&world), told);
        assert_eq!(ca_keys(world.home()).len(), before);
    }
}

#[tokio::test]
async fn what_its_provider_cannot_disable_is_refused_before_it_begins() {
    let world = bootstrapped(DISABLE, false).await;
    let observed = world.observe().await;
    for level in [Level::Root, Level::Signer] {
        let refusal = begun(&world, &observed, &request(level)).unwrap_err();
        let said = refusal.to_string();
        let what = "rotation.oldKeys is disable, and provider local, which holds the key of signer g1, can only";
        assert!(said.starts_with(what), "{said}");
        assert!(said.contains("write rotation.oldKeys: destroy"), "{said}");
    }
    let emergency = Request {
        emergency: true,
        ..request(Level::Root)
    };
    begun(&world, &observed, &emergency).unwrap();
    // Nor does one begin by itself.
    let world = bootstrapped("{ oldKeys: disable, automatic: true }", false).await;
    let days = jiff::SignedDuration::from_hours(24 * 250);
    world.clock.advance(days);
    let plan = world.plan(&Goal::Rotation).await;
    let due = plan.rotation.due.unwrap().what;
    assert!(due.contains("cannot begin: rotation.oldKeys"), "{due}");
    assert_eq!(plan.rotation.rotation, None);
}

/// The document may be changed after it has begun.
#[tokio::test]
async fn what_cannot_be_disabled_in_the_end_waits_for_a_person() {
    let world = bootstrapped(DISABLE, true).await;
    world.begin(&request(Level::Signer)).await;
    world.ledger.disables(false);
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Retiring);
    let waiting = world.plan(&Goal::Rotation).await.rotation.waiting;
    assert!(waiting[0].what.contains("can only destroy"), "{waiting:?}");
    world.ledger.disables(true);
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
}

/// A root that was there before is its owner's, whatever is wanted of old keys.
#[tokio::test]
async fn a_root_that_was_there_before_is_left_to_its_owner() {
    for (settings, signer) in [
        ("{ soak: 0s }", "destroyed signer g1"),
        (DISABLE, "disabled signer g1"),
    ] {
        let world = bootstrapped(settings, true).await;
        world.ledger.has_one_root(2);
        world.begin(&request(Level::Root)).await;
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, Phase::Done);
        assert_eq!(keys_told(&world), [signer, "leftToOwner root g1"]);
    }
}
