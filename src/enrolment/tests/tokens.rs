use jiff::SignedDuration;

use super::client::{key, request};
use super::world::World;
use crate::clock::{Clock as _, SystemClock};
use crate::cluster::ObjectKind;

#[tokio::test]
async fn a_token_is_good_for_one_key_on_all_replicas() {
    let world = World::new().await;
    let replicas = [world.replica().await, world.replica().await];
    let mut clients = Vec::new();
    for replica in &replicas {
        clients.push(world.client(replica).await);
    }
    let token = world.token("cluster-1").await;
    // Many keys at the same time, on both: exactly one of them gets through.
    let mut asked = tokio::task::JoinSet::new();
    for index in 0..16 {
        let (client, token) = (clients[index % 2].clone(), token.clone());
        asked.spawn(async move {
            let own = key();
            let body = request(&own, "cluster-1");
            let answer = client.enroll("cluster-1", &token, &body).await;
            (answer.status.as_u16(), body)
        });
    }
    let answers = asked.join_all().await;
    let (granted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(s, _)| *s == 200);
    assert_eq!((granted.len(), refused.len()), (1, 15));
    assert!(refused.iter().all(|(status, _)| *status == 403));
    // Whose reply was lost asks again, wherever.
    for client in &clients {
        let again = client.enroll("cluster-1", &token, &granted[0].1).await;
        assert_eq!(again.status, 200);
    }
}

#[tokio::test]
async fn a_token_ends() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let body = request(&key(), "cluster-1");
    let registry = world.registry();
    let (minute, now) = (SignedDuration::from_mins(1), SystemClock.now());
    let long_ago = now - SignedDuration::from_hours(1);
    let expired = registry.create_token("cluster-1", minute, long_ago).await;
    let answer = client.enroll("cluster-1", &expired.unwrap(), &body).await;
    assert_eq!(answer.status, 401);
    let replaced = world.token("cluster-1").await;
    let token = world.token("cluster-1").await;
    assert_eq!(
        client.enroll("cluster-1", &replaced, &body).await.status,
        401
    );
    assert!(registry.revoke_token("cluster-1").await.unwrap());
    assert!(!registry.revoke_token("cluster-1").await.unwrap());
    assert_eq!(client.enroll("cluster-1", &token, &body).await.status, 401);
}

#[tokio::test]
async fn a_shared_token_is_for_documents_that_say_so() {
    for (spec, status) in [("", 401), ("  enrolment: { tokens: shared }\n", 200)] {
        let world = World::with(spec).await;
        let replica = world.replica().await;
        let client = world.client(&replica).await;
        let objects = world.home.objects();
        let secret = objects
            .iter()
            .find(|object| object.key.name == "relay-identity-token-secret");
        let token = secret.unwrap().data["token"].expose().to_vec();
        let token = String::from_utf8(token).unwrap();
        for name in ["cluster-1", "cluster-2"] {
            let answer = client.enroll(name, &token, &request(&key(), name)).await;
            assert_eq!(answer.status, status, "{spec}");
        }
        // Its own token does in both.
        let own = world.token("cluster-1").await;
        let answer = client.enroll("", &own, &request(&key(), "cluster-1")).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn records_hold_no_token_and_are_apart_from_the_others() {
    let world = World::new().await;
    let token = world.token("cluster-1").await;
    for object in world.home.objects() {
        for value in object.data.values() {
            let text = String::from_utf8_lossy(value.expose()).into_owned();
            assert!(!text.contains(&token), "{}", object.key);
        }
        if object.key.name == "relay-pki-relay-enrolment-cluster-1" {
            assert_eq!(object.key.kind, ObjectKind::ConfigMap);
            assert!(!object.labels.contains_key("relay-pki.dev/relay"));
        }
    }
    let records = world.registry().list().await.unwrap();
    let names: Vec<&str> = records.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["cluster-1"]);
}
