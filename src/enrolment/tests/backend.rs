//! Backends that keep what is revoked are told of it: at once, or as soon as they are there.

use std::sync::Arc;

use relay_pki_authority::{Provider, Revocation, checked};

use super::super::{Publication, Unable, publish_revocations, tell_backends};
use super::client::{key, request};
use super::keeper::{Answer, Keeper, Kept};
use super::world::World;
use crate::clock::{Clock as _, SystemClock};
use crate::eventually::until;

const WHOLE: Revocation = Revocation::Keeps {
    whole: true,
    lists: true,
};

async fn world(revocation: Revocation, kept: &Arc<Kept>) -> World {
    World::around("", |inner| {
        let keeper: Arc<dyn Provider> = Arc::new(Keeper::of(inner, revocation, kept));
        checked(keeper)
    })
    .await
}

/// Enrols cluster-1; its certificate's serial number, once that is recorded.
async fn enrolled(world: &World) -> String {
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (token, body) = (world.token("cluster-1").await, request(&key(), "cluster-1"));
    let answer = client.enroll("cluster-1", &token, &body).await;
    let serial = answer.certificate().serial().unwrap().to_string();
    until("the certificate is recorded", async || {
        let known = world.registry().get("cluster-1").await.unwrap();
        known.certificates.iter().any(|one| one.serial == serial)
    })
    .await;
    serial
}

async fn revoke(world: &World) {
    let now = SystemClock.now();
    let revoked = world.registry().revoke("cluster-1", None, &[], now).await;
    assert_eq!(revoked.unwrap().certificates.len(), 1);
}

#[tokio::test]
async fn the_decision_outlives_a_backend_that_is_away() {
    let kept = Arc::new(Kept::default());
    let world = world(WHOLE, &kept).await;
    let serial = enrolled(&world).await;
    kept.answers(Answer::Away);
    revoke(&world).await;
    let told = tell_backends(&world.fleet, &mut Unable::default())
        .await
        .unwrap();
    assert_eq!((told.len(), told[0].serial.as_str()), (1, serial.as_str()));
    let error = told[0].result.as_ref().unwrap_err().to_string();
    assert!(error.contains("it is away"), "{error}");
    // Its list is not made to say more than it knows.
    let written = publish_revocations(&world.fleet).await.unwrap();
    assert!(
        matches!(
            written,
            Publication::Written {
                certificates: 0,
                ..
            }
        ),
        "{written:?}"
    );
    // It is back, and whoever leads tells it.
    kept.answers(Answer::Revoked);
    let (replica, _revoker) = (world.replica().await, world.revoker().await);
    let client = world.client(&replica).await;
    until("it is on the list", async || {
        contains(&client.get_path("/crl").await.unwrap().body, &serial)
    })
    .await;
    assert_eq!(kept.revoked.lock().unwrap().len(), 1);
    // Once is enough: the keeper fails when it is told again.
    assert!(
        tell_backends(&world.fleet, &mut Unable::default())
            .await
            .unwrap()
            .is_empty()
    );
}

/// Whether a list in DER has a serial number.
fn contains(list: &[u8], serial: &str) -> bool {
    let serial = super::super::backend::serial(serial).unwrap();
    let wanted = serial.as_bytes();
    list.windows(wanted.len()).any(|found| found == wanted)
}

#[tokio::test]
async fn a_backend_that_publishes_its_list_itself_is_told_and_said_to() {
    let kept = Arc::new(Kept::default());
    let keeps = Revocation::Keeps {
        whole: true,
        lists: false,
    };
    let world = world(keeps, &kept).await;
    enrolled(&world).await;
    revoke(&world).await;
    let told = tell_backends(&world.fleet, &mut Unable::default())
        .await
        .unwrap();
    assert!(told.len() == 1 && told[0].result.is_ok(), "{told:?}");
    let Publication::Written { without, .. } = publish_revocations(&world.fleet).await.unwrap()
    else {
        panic!("nothing was written");
    };
    assert!(
        without[0].contains("publishes its list itself"),
        "{without:?}"
    );
    // That is all there is to do.
    let again = publish_revocations(&world.fleet).await.unwrap();
    assert_eq!(again, Publication::Current);
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    assert_eq!(client.get_path("/crl").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_backend_without_revocation_is_not_asked() {
    let kept = Arc::new(Kept::default());
    let world = world(Revocation::Never, &kept).await;
    enrolled(&world).await;
    revoke(&world).await;
    assert!(
        tell_backends(&world.fleet, &mut Unable::default())
            .await
            .unwrap()
            .is_empty()
    );
    let Publication::Written { without, .. } = publish_revocations(&world.fleet).await.unwrap()
    else {
        panic!("nothing was written");
    };
    assert!(without[0].contains("has no revocation"), "{without:?}");
    // Nothing is remembered that nobody asks for.
    let home = world.home.objects();
    let prefix = format!("relay-pki-{}-enrolment-", world.fleet.relay.name);
    let record = home.iter().find(|one| one.key.name.starts_with(&prefix));
    let record = crate::journal::EnrolmentRecord::decode(&world.fleet.relay.name, record.unwrap());
    let (_, record) = record.unwrap().unwrap();
    assert!(record.certificates.iter().all(|one| one.pem.is_none()));
}
