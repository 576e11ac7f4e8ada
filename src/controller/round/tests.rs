//! Rounds, on clusters in memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use relay_pki_authority::{Revocation, checked};

use super::home;
use crate::engine::Cancel;
use crate::enrolment::Revoker;
use crate::enrolment::tests::keeper::{Answer, Keeper, Kept};
use crate::enrolment::tests::world::World;
use crate::eventually::until;

/// A relay that nobody enrols at, with a revocation that its backend has not heard of. Two rounds.
async fn revoked(kept: &Arc<Kept>) -> (World, Revoker) {
    let keeps = Revocation::Keeps {
        whole: false,
        lists: true,
    };
    let world = World::around("", |inner| {
        checked(Arc::new(Keeper::of(inner, keeps, kept)))
    })
    .await;
    world.revoke().await;
    let cancel = Cancel::default();
    let revoker = Revoker::start(cancel.clone());
    for _ in 0..2 {
        let nobody = BTreeMap::new();
        let round = home(&world.fleet, &nobody, &[], &revoker, &cancel);
        let round = tokio::time::timeout(Duration::from_secs(15), round).await;
        round.expect("the round is held up").unwrap();
    }
    (world, revoker)
}

#[tokio::test]
async fn a_backend_that_hangs_on_a_revocation_holds_up_no_round() {
    let kept = Arc::new(Kept::default());
    kept.answers(Answer::Silence);
    let (_world, _revoker) = revoked(&kept).await;
    until("it is asked", async || kept.asked() == 1).await;
}

#[tokio::test]
async fn a_revocation_reaches_backend_and_list_without_a_server_for_agents() {
    let kept = Arc::new(Kept::default());
    let (world, _revoker) = revoked(&kept).await;
    until("the list is published", async || {
        let objects = world.home.objects();
        objects
            .iter()
            .any(|it| it.key.name == "relay-pki-relay-crl")
    })
    .await;
    assert_eq!(kept.revoked.lock().unwrap().len(), 1);
}
