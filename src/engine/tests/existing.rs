//! Rotations where the document names a CA that exists, and nobody has replaced it there.

use relay_pki_authority::Level;

use super::document::Document;
use super::oracle::{ca_keys, records};
use super::world::{BOOTSTRAP, World, request};
use crate::clock::Clock as _;
use crate::engine::{Apply, Goal};
use crate::journal::Status;
use crate::rotation::{Begun, Phase, Refusal, Steering, begin};

/// Why a rotation cannot have its CAs.
async fn unobtainable(world: &World, level: Level) -> Option<Refusal> {
    let observed = world.observe().await;
    let begun = begin(&world.relay, &observed, &request(level), world.clock.now());
    let Ok(Begun::New(record)) = begun else {
        panic!("{begun:?}");
    };
    let fleet = world.fleet();
    Apply::new(&fleet, &observed).unobtainable(&record).await
}

#[tokio::test]
async fn it_is_refused_before_it_begins_and_ends_where_it_began_all_the_same() {
    for (rotated, given) in [
        (Level::Root, Level::Root),
        (Level::Root, Level::Signer),
        (Level::Signer, Level::Signer),
    ] {
        let world = World::new(Document::new(1, 1)).watched();
        world.reach(&BOOTSTRAP).await;
        assert_eq!(unobtainable(&world, rotated).await, None);
        let before = (ca_keys(world.home()), records(world.home()));
        let ca = before.1.iter().find(|record| record.level == given);
        let ca = ca.unwrap().certificate.clone().unwrap();
        world.ledger.is_given(given, ca);
        let refusal = unobtainable(&world, rotated).await.unwrap().to_string();
        let said = format!("the {given} of provider local is still");
        assert!(refusal.starts_with(&said), "{refusal}");
        // Begun by itself, or asked for before.
        world.begin(&request(rotated)).await;
        let mut failed = Vec::new();
        for _ in 0..3 {
            let (_, applied) = world.round(&Goal::Rotation).await.unwrap();
            failed = applied.failed;
        }
        assert!(failed[0].error.to_string().contains(&said), "{failed:?}");
        let record = world.rotation().await;
        assert_eq!(record.phase, Phase::Preparing);
        let (observed, fleet) = (world.observe().await, world.fleet());
        let found = Apply::new(&fleet, &observed).unobtainable(&record).await;
        assert_eq!(found.map(|it| it.to_string()), Some(refusal));
        world.steer(Steering::Rollback).await.unwrap();
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, Phase::Rolledback);
        assert_eq!(ca_keys(world.home()), before.0);
        let active = records(world.home()).into_iter();
        let active = active.filter(|record| record.status == Status::Active);
        assert!(active.map(|record| record.number).eq([1, 1]));
        assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
        // Replaced there, it is an ordinary rotation.
        world.ledger.makes(given);
        assert_eq!(unobtainable(&world, rotated).await, None);
        world.through(rotated).await;
        assert_eq!(world.rotation().await.phase, Phase::Done);
        let violations = world.oracle.as_ref().unwrap().violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}
