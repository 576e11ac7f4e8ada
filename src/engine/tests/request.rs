//! An interrupted rotation goes on; a finished one is asked for anew.

use std::collections::BTreeSet;

use super::document::Document;
use super::world::{BOOTSTRAP, World, rotate};
use crate::cluster::{Cluster as _, ObjectKey};
use crate::engine::requests;
use crate::journal::Scope;
use crate::relay::SecretRole;

fn agent(name: &str) -> Scope {
    Scope::Agent(name.to_owned())
}

async fn asked(world: &World, scopes: &[Scope]) -> Option<(u64, Vec<Scope>)> {
    let scopes: BTreeSet<Scope> = scopes.iter().cloned().collect();
    requests(&world.relay, &world.observe().await, &scopes)
}

#[tokio::test]
async fn each_rotation_gets_the_next_number() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    assert_eq!(
        asked(&world, &[Scope::Agents]).await,
        Some((1, vec![Scope::Agents]))
    );
    world.rotate(1, &[Scope::Agents]).await.unwrap();
    let both = [agent("cluster-1"), agent("cluster-2")];
    assert_eq!(asked(&world, &both).await, Some((2, both.to_vec())));
    for scope in [Scope::Server, Scope::Tokens] {
        let expected = Some((2, vec![scope.clone()]));
        assert_eq!(asked(&world, &[scope]).await, expected);
    }
}

#[tokio::test]
async fn what_is_written_and_not_done_goes_on() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    for scope in [Scope::Agents, Scope::Server, Scope::Tokens] {
        let number = asked(&world, std::slice::from_ref(&scope)).await.unwrap().0;
        world.request(number, std::slice::from_ref(&scope)).await;
        assert_eq!(asked(&world, std::slice::from_ref(&scope)).await, None);
        world.reach(&rotate(std::slice::from_ref(&scope))).await;
        let next = asked(&world, std::slice::from_ref(&scope)).await;
        assert_eq!(next, Some((number + 1, vec![scope])));
    }
}

#[tokio::test]
async fn a_run_that_was_killed_between_two_requests_writes_the_second_with_the_number_of_the_first()
{
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    let both = [agent("cluster-1"), agent("cluster-2")];
    world.request(1, &both[..1]).await;
    assert_eq!(asked(&world, &both).await, Some((1, both[1..].to_vec())));
}

#[tokio::test]
async fn a_run_that_was_killed_after_one_of_two_does_not_do_that_one_again() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    let both = [agent("cluster-1"), agent("cluster-2")];
    world.request(1, &both).await;
    world.reach(&rotate(&both[..1])).await;
    assert_eq!(asked(&world, &both).await, None);
}

#[tokio::test]
async fn an_unfinished_rotation_of_one_agent_does_not_stand_for_all_of_them() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    world.request(1, &[agent("cluster-1")]).await;
    assert_eq!(
        asked(&world, &[Scope::Agents]).await,
        Some((2, vec![Scope::Agents]))
    );
    let before = world.object("cluster-2", SecretRole::Client).unwrap();
    world.request(2, &[Scope::Agents]).await;
    world.reach(&rotate(&[Scope::Agents])).await;
    assert_ne!(
        world.object("cluster-2", SecretRole::Client).unwrap(),
        before
    );
}

#[tokio::test]
async fn numbers_never_shrink() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    let both = [agent("cluster-1"), agent("cluster-2")];
    world.request(1, &both[..1]).await;
    world.rotate(2, &both[1..]).await.unwrap();
    assert_eq!(asked(&world, &both).await, Some((3, both.to_vec())));
}

#[tokio::test]
async fn what_is_not_ours_makes_no_rotation_unfinished() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    let mut foreign = world.object("cluster-2", SecretRole::Client).unwrap();
    foreign.labels.clear();
    world.stores["cluster-2"].overwrite(foreign);
    world.rotate(1, &[Scope::Agents]).await.unwrap();
    let expected = Some((2, vec![Scope::Agents]));
    assert_eq!(asked(&world, &[Scope::Agents]).await, expected);
}

#[tokio::test]
async fn numbers_are_larger_than_any_that_a_secret_carries() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    world.rotate(4, &[Scope::Agents]).await.unwrap();
    // As after the records were restored from a backup.
    let key = ObjectKey::config_map("relay-pki-relay-request-agents");
    let stored = world.home().read(&key).await.unwrap().unwrap();
    world.home().delete(&key, &stored.version).await.unwrap();
    let expected = Some((5, vec![Scope::Agents]));
    assert_eq!(asked(&world, &[Scope::Agents]).await, expected);
}

#[tokio::test]
async fn tokens_are_made_once_however_often_the_copies_fail() {
    let world = World::new(Document::new(1, 2));
    world.reach(&BOOTSTRAP).await;
    world.request(1, &[Scope::Tokens]).await;
    world.faults.set_reachable("cluster-1", false);
    world.run(&rotate(&[Scope::Tokens])).await.unwrap();
    let token = world.object("mgmt-1", SecretRole::IdentityToken).unwrap();
    world.faults.set_reachable("cluster-1", true);
    assert_eq!(asked(&world, &[Scope::Tokens]).await, None);
    world.reach(&rotate(&[Scope::Tokens])).await;
    assert_eq!(
        world.object("mgmt-1", SecretRole::IdentityToken).unwrap(),
        token
    );
    let copy = world
        .object("cluster-1", SecretRole::IdentityToken)
        .unwrap();
    assert_eq!(copy.data, token.data);
    let expected = Some((2, vec![Scope::Tokens]));
    assert_eq!(asked(&world, &[Scope::Tokens]).await, expected);
}
