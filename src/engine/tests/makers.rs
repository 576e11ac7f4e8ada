//! Whoever is to make a CA is asked first whether it can.

use std::sync::Arc;

use relay_pki_authority::{MemoryKeyStore, Metering, checked};
use relay_pki_self_signed::SelfSigned;

use super::backend::{Backend, Ledger};
use super::document::Document;
use super::world::{BOOTSTRAP, World};
use crate::engine::{Action, Apply, Cancel, observe, plan};

/// A role that is wrong is known before there is a root.
#[tokio::test]
async fn no_root_is_made_for_a_signer_that_cannot_be() {
    let world = World::new(Document::new(1, 1));
    let ledger = Ledger::default();
    let inner = Arc::new(SelfSigned::new("corp", Arc::new(MemoryKeyStore::default())));
    let backend = Backend::new(inner, ledger.clone(), Metering::Free, world.faults.clone());
    let mut fleet = world.fleet();
    fleet.relay.signer.provider = "corp".to_owned();
    fleet
        .providers
        .insert("corp".to_owned(), checked(Arc::new(backend)));
    ledger.is_unfit();
    let observed = observe(&fleet).await.unwrap();
    let plan = plan(&fleet.relay, &BOOTSTRAP, &observed, fleet.clock.now());
    let steps = plan.steps.len();
    let applied = Apply::new(&fleet, &observed)
        .run(plan, &Cancel::default(), &|_| {})
        .await;
    assert!(applied.done.is_empty(), "{:?}", applied.done);
    let [failure] = applied.failed.as_slice() else {
        panic!("{:?}", applied.failed);
    };
    assert!(matches!(
        failure.step.action,
        Action::EstablishSigner { .. }
    ));
    let error = failure.error.to_string();
    assert!(
        error.contains("its role issues for an hour at most"),
        "{error}"
    );
    assert_eq!(applied.skipped, steps - 1);
    assert!(world.home().objects().is_empty(), "nothing was written");
}
