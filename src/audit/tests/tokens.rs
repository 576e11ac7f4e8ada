use super::fixture::lives;
use super::world::{FORWARDING, IDENTITY, World};
use crate::journal::Scope;

const CLUSTERS: [&str; 5] = ["mgmt", "mgmt-2", "cluster-1", "cluster-2", "cluster-3"];

fn everywhere(world: &mut World, secret: &str, token: &str) {
    for cluster in CLUSTERS {
        world.set(cluster, secret, "token", token.as_bytes());
    }
}

#[tokio::test]
async fn r0601_old_tokens() {
    let old = World::of(|params| lives(params, -401, 3550), super::fixture::sound);
    old.assert("R0601", &["mgmt"]).await;
    let mut world = World::of(|params| lives(params, -401, 3550), super::fixture::sound);
    world.request(&Scope::Tokens, 1, 10);
    for object in world
        .objects
        .values_mut()
        .flat_map(|objects| objects.values_mut())
    {
        if object.data.contains_key("token") {
            let annotation = crate::relay::REQUEST_ANNOTATION.to_owned();
            object.annotations.insert(annotation, "1".to_owned());
        }
    }
    assert_eq!(world.audit().await.findings, [], "rotated ten days ago");
}

#[tokio::test]
async fn r0602_another_identity_token() {
    for cluster in ["cluster-1", "mgmt-2"] {
        let mut world = World::sound();
        world.set(
            cluster,
            IDENTITY,
            "token",
            b"some-other-token-of-32-characters",
        );
        world.assert("R0602", &[cluster]).await;
    }
}

#[tokio::test]
async fn r0603_no_token() {
    let mut world = World::sound();
    world.set("cluster-1", IDENTITY, "token", b"");
    world.assert("R0603", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0604_a_newline() {
    let mut world = World::sound();
    everywhere(&mut world, IDENTITY, "an-identity-token-of-32-characters\n");
    world.assert("R0604", &CLUSTERS.sorted()).await;
}

#[tokio::test]
async fn r0605_equal_tokens() {
    let mut world = World::sound();
    everywhere(&mut world, FORWARDING, "an-identity-token-of-32-characters");
    world.assert("R0605", &CLUSTERS.sorted()).await;
}

#[tokio::test]
async fn r0606_a_short_token() {
    let mut world = World::sound();
    everywhere(&mut world, IDENTITY, "fifteen-letters");
    world.assert("R0606", &CLUSTERS.sorted()).await;
    everywhere(&mut world, IDENTITY, "sixteen-letters!");
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0607_another_forwarding_token() {
    let mut world = World::sound();
    world.set(
        "cluster-2",
        FORWARDING,
        "token",
        b"some-other-token-of-32-characters",
    );
    world.assert("R0607", &["cluster-2"]).await;
}

#[tokio::test]
async fn no_token_is_in_the_report() {
    let mut world = World::sound();
    everywhere(&mut world, IDENTITY, "hunter2\n");
    let report = world.audit().await;
    let text =
        format!("{report:?}") + &crate::audit::render(&report, true, &|_, word| word.to_owned());
    assert!(!report.findings.is_empty() && !text.contains("hunter2"));
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for [&str; 5] {
    fn sorted(mut self) -> Self {
        self.sort();
        self
    }
}
