use std::collections::BTreeMap;

use super::*;
use crate::cluster::{MemoryCluster, conformance};

fn object(name: &str) -> Object {
    Object {
        key: ObjectKey::secret(name),
        secret_type: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: BTreeMap::new(),
    }
}

fn effect(cluster: &str, name: &str, kind: EffectKind) -> Effect {
    Effect {
        cluster: cluster.to_owned(),
        object: ObjectKey::secret(name),
        kind,
    }
}

#[tokio::test]
async fn conforms_as_long_as_nothing_is_planned() {
    let cluster = Faults::new().wrap(MemoryCluster::new("mgmt"));
    conformance::check(&cluster, &cluster.clone())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_crash_ends_every_call_of_the_process() {
    for (fault, applied) in [(Fault::CrashBefore, false), (Fault::CrashAfter, true)] {
        let faults = Faults::new();
        let one = faults.wrap(MemoryCluster::new("one"));
        let two = faults.wrap(MemoryCluster::new("two"));
        faults.plan(2, fault);
        one.write(&object("a"), &Expected::Absent).await.unwrap();
        let error = two
            .write(&object("b"), &Expected::Absent)
            .await
            .unwrap_err();
        assert!(matches!(error, ClusterError::Unavailable { .. }), "{error}");
        assert!(faults.is_crashed());
        assert_eq!(two.inner().objects().len(), usize::from(applied));
        assert!(one.read(&object("a").key).await.is_err());
        assert!(one.list(("a", "b"), &[]).await.is_err());
        assert!(two.lock().await.is_err());
        assert!(
            two.delete(&object("b").key, &Version("1".to_owned()))
                .await
                .is_err()
        );
        assert_eq!(faults.mutations(), 2);

        faults.revive();
        one.write(&object("c"), &Expected::Absent).await.unwrap();
        assert_eq!(faults.mutations(), 3);
        assert_eq!(one.inner().objects().len(), 2);
    }
}

#[tokio::test]
async fn one_call_fails_and_the_next_does_not() {
    let faults = Faults::new();
    let cluster = faults.wrap(MemoryCluster::new("one"));
    faults.plan(1, Fault::LostReply);
    faults.plan(2, Fault::Refused);
    faults.plan(3, Fault::Conflict);
    let key = object("a").key;
    assert!(
        cluster
            .write(&object("a"), &Expected::Absent)
            .await
            .is_err()
    );
    let version = cluster.read(&key).await.unwrap().unwrap().version;
    let error = cluster.delete(&key, &version).await.unwrap_err();
    assert!(matches!(error, ClusterError::Unavailable { .. }), "{error}");
    let error = cluster.delete(&key, &version).await.unwrap_err();
    assert!(matches!(error, ClusterError::Conflict { .. }), "{error}");
    assert_eq!(cluster.inner().objects().len(), 1);
    cluster.delete(&key, &version).await.unwrap();
    assert_eq!(
        faults.effects(),
        [
            effect("one", "a", EffectKind::Created),
            effect("one", "a", EffectKind::Deleted)
        ]
    );
}

#[tokio::test]
async fn an_unreachable_cluster_is_alone_with_it() {
    let faults = Faults::new();
    let one = faults.wrap(MemoryCluster::new("one"));
    let two = faults.wrap(MemoryCluster::new("two"));
    faults.set_reachable("one", false);
    assert!(one.write(&object("a"), &Expected::Absent).await.is_err());
    assert!(one.read(&object("a").key).await.is_err());
    two.write(&object("a"), &Expected::Absent).await.unwrap();
    assert_eq!(faults.mutations(), 1, "what never left does not count");
    faults.set_reachable("one", true);
    one.write(&object("a"), &Expected::Absent).await.unwrap();
}
