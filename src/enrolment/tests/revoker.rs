//! What follows from a revocation follows beside everything else, and once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use relay_pki_authority::{Revocation, checked};

use super::super::Revoker;
use super::keeper::{Answer, Keeper, Kept};
use super::world::World;
use crate::engine::Cancel;
use crate::eventually::until;

async fn world(kept: &Arc<Kept>) -> World {
    let keeps = Revocation::Keeps {
        whole: false,
        lists: true,
    };
    World::around("", |inner| {
        checked(Arc::new(Keeper::of(inner, keeps, kept)))
    })
    .await
}

/// As long as it is recorded that something is revoked, each round tells of it.
async fn rounds(world: &World, revoker: &Revoker) {
    for _ in 0..5 {
        world.tell(revoker).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_backend_that_is_away_is_asked_again_later_and_not_at_every_round() {
    let kept = Arc::new(Kept::default());
    let world = world(&kept).await;
    world.revoke().await;
    kept.answers(Answer::Away);
    let (pause, begun) = (Duration::from_secs(2), Instant::now());
    let revoker = Revoker::pausing(pause, Cancel::default());
    world.tell(&revoker).await;
    until("it is asked", async || kept.asked() == 1).await;
    rounds(&world, &revoker).await;
    let pauses = begun.elapsed().as_secs() / pause.as_secs();
    assert!(kept.asked() as u64 <= 1 + pauses, "{}", kept.asked());
    // Nobody has to tell it: rounds are rare.
    until("it is asked again", async || kept.asked() == 2).await;
    kept.answers(Answer::Revoked);
    let revoked = async || kept.revoked.lock().unwrap().len() == 1;
    until("it is revoked", revoked).await;
    let asked = kept.asked();
    rounds(&world, &revoker).await;
    assert_eq!(kept.asked(), asked);
}

#[tokio::test]
async fn what_a_backend_cannot_do_is_not_asked_of_it_again() {
    let kept = Arc::new(Kept::default());
    let world = world(&kept).await;
    world.revoke().await;
    kept.answers(Answer::Unable);
    // Nor does it count as something that has to be tried again.
    let revoker = Revoker::pausing(Duration::from_millis(10), Cancel::default());
    world.tell(&revoker).await;
    until("it is asked", async || kept.asked() == 1).await;
    rounds(&world, &revoker).await;
    assert_eq!(kept.asked(), 1);
}
