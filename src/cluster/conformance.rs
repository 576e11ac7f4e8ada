//! What every [`Cluster`] must hold to, as a check that tests run against each of them.
//!
//! It needs a namespace to itself: it writes objects named `conformance-…` and removes them again.

use std::collections::BTreeMap;

use super::{
    Cluster, ClusterError, Expected, MAX_DATA_BYTES, Object, ObjectKey, Rollout, SecretBytes,
    Version, Workloads,
};
use crate::config::{Role, Workload, WorkloadKind};

const LABEL: (&str, &str) = ("conformance.relay-pki.dev/owner", "us");

/// Which rule was broken, and what happened instead.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Violation(String);

type Check = Result<(), Violation>;

fn must(holds: bool, rule: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        Err(Violation(rule()))
    }
}

fn done<T>(outcome: Result<T, ClusterError>, what: &str) -> Result<T, Violation> {
    outcome.map_err(|error| Violation(format!("cannot {what}: {error}")))
}

fn must_conflict<T>(outcome: Result<T, ClusterError>, rule: &str) -> Check {
    match outcome {
        Err(ClusterError::Conflict { .. }) => Ok(()),
        Err(error) => Err(Violation(format!("{rule}: not a conflict but {error}"))),
        Ok(_) => Err(Violation(format!("{rule}: it was done"))),
    }
}

/// Checks every rule with two handles of the same cluster, as two processes have them.
pub async fn check(one: &dyn Cluster, other: &dyn Cluster) -> Result<(), Violation> {
    clean(one).await?;
    compares_and_swaps(one, other).await?;
    round_trips(one, other).await?;
    lists(one, other).await?;
    refuses(one).await?;
    locks(one, other).await?;
    clean(one).await?;
    must(done(one.list(LABEL, &[]).await, "list")?.is_empty(), || {
        "a deleted object is still listed".to_owned()
    })
}

/// The workload that [`check_workload`] restarts.
pub fn workload(kind: WorkloadKind) -> Workload {
    Workload {
        kind,
        name: "conformance-workload".to_owned(),
        namespace: None,
        role: Role::Workload,
    }
}

/// Checks every rule of [`Workloads`] with one that is there, is rolled out, and was never restarted. It is
/// restarted afterwards, and nobody has rolled that out.
pub async fn check_workload(cluster: &dyn Workloads, workload: &Workload) -> Check {
    let annotation = ("conformance.relay-pki.dev/mark", "one");
    let missing = Workload {
        name: "conformance-missing".to_owned(),
        ..workload.clone()
    };
    let found = done(cluster.rollout(&missing).await, "look for a workload")?;
    must(found.is_none(), || "it has what is not there".to_owned())?;
    let before = must_run(cluster, workload).await?;
    must(before.open.is_none(), || {
        format!("a workload is not rolled out: {:?}", before.open)
    })?;
    let gone = cluster.restart(&missing, annotation, &before.version).await;
    must(!done(gone, "restart nothing")?, || {
        "what is not there was restarted".to_owned()
    })?;
    let stranger = Version("0/0".to_owned());
    for version in [&stranger, &Version("none".to_owned())] {
        let outcome = cluster.restart(workload, annotation, version).await;
        must(!done(outcome, "restart")?, || {
            "a workload was restarted that is another one".to_owned()
        })?;
    }
    let same = must_run(cluster, workload).await?;
    must(same == before, || {
        "a restart that was refused changed something".to_owned()
    })?;
    let outcome = cluster.restart(workload, annotation, &before.version).await;
    must(done(outcome, "restart")?, || {
        "a workload at its version was not restarted".to_owned()
    })?;
    let after = must_run(cluster, workload).await?;
    let mark = after.annotations.get(annotation.0);
    must(mark.is_some_and(|mark| mark == annotation.1), || {
        "the pod template has no annotation".to_owned()
    })?;
    must(after.open.is_some(), || {
        "a workload is rolled out though nobody has begun with it".to_owned()
    })?;
    let stale = cluster
        .restart(workload, (annotation.0, "two"), &before.version)
        .await;
    must(!done(stale, "restart")?, || {
        "a workload was restarted that had changed".to_owned()
    })
}

async fn must_run(cluster: &dyn Workloads, workload: &Workload) -> Result<Rollout, Violation> {
    let found = done(cluster.rollout(workload).await, "look at a workload")?;
    found.ok_or_else(|| Violation(format!("{workload} is not there")))
}

fn secret(name: &str, data: &[(&str, &[u8])]) -> Object {
    Object {
        key: ObjectKey::secret(format!("conformance-{name}")),
        secret_type: Some("Opaque".to_owned()),
        labels: BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]),
        annotations: BTreeMap::new(),
        data: data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), SecretBytes::new(*value)))
            .collect(),
    }
}

async fn clean(cluster: &dyn Cluster) -> Check {
    for stored in done(cluster.list(LABEL, &[]).await, "list")? {
        let outcome = cluster.delete(&stored.object.key, &stored.version).await;
        done(outcome, "delete what is at its version")?;
    }
    Ok(())
}

async fn must_read(cluster: &dyn Cluster, object: &Object, version: &Version) -> Check {
    let stored = done(cluster.read(&object.key).await, "read")?;
    let Some(stored) = stored else {
        return Err(Violation(format!(
            "{} is not there after it was written",
            object.key
        )));
    };
    must(stored.object == *object, || {
        format!(
            "{} reads as another object: {:?}",
            object.key, stored.object
        )
    })?;
    must(stored.version == *version, || {
        format!(
            "the write of {} returned another version than it reads at",
            object.key
        )
    })
}

async fn compares_and_swaps(one: &dyn Cluster, other: &dyn Cluster) -> Check {
    let first = secret("cas", &[("token", b"first")]);
    let second = secret("cas", &[("token", b"second")]);
    let third = secret("cas", &[("token", b"third")]);
    let nowhere = Version("0".to_owned());
    let absent = done(one.read(&first.key).await, "read what is absent")?;
    must(absent.is_none(), || "an absent object is there".to_owned())?;
    must_conflict(
        one.delete(&first.key, &nowhere).await,
        "nothing absent is deleted",
    )?;
    let replaced = one.write(&first, &Expected::At(nowhere.clone())).await;
    must_conflict(replaced, "nothing absent is replaced")?;

    let v1 = done(one.write(&first, &Expected::Absent).await, "create")?;
    must_read(other, &first, &v1).await?;
    let created = other.write(&second, &Expected::Absent).await;
    must_conflict(created, "nothing is created over what is there")?;

    let v2 = done(
        other.write(&second, &Expected::At(v1.clone())).await,
        "replace",
    )?;
    must(v1 != v2, || "two states have one version".to_owned())?;
    let stale = one.write(&third, &Expected::At(v1.clone())).await;
    must_conflict(stale, "nothing is replaced on a stale version")?;
    let stale = one.delete(&first.key, &v1).await;
    must_conflict(stale, "nothing is deleted on a stale version")?;
    must_read(one, &second, &v2).await?;

    done(one.delete(&second.key, &v2).await, "delete")?;
    must_conflict(
        other.delete(&second.key, &v2).await,
        "nothing is deleted twice",
    )?;
    let v3 = done(other.write(&third, &Expected::Absent).await, "create anew")?;
    must_read(one, &third, &v3).await
}

async fn round_trips(one: &dyn Cluster, other: &dyn Cluster) -> Check {
    let name = "n".repeat(63 - "conformance-".len());
    let mut full = secret(
        &name,
        &[
            ("ca.crt", b"-----BEGIN\nline\n"),
            ("tls.crt", b"a"),
            ("tls.key", &[0, 0xff, b'\n']),
        ],
    );
    full.secret_type = Some("kubernetes.io/tls".to_owned());
    full.labels.insert("app".to_owned(), "true".to_owned());
    full.labels.insert("empty".to_owned(), String::new());
    full.labels.insert("l".repeat(63), "v".repeat(63));
    for (key, value) in [
        ("plain", "2026-11-23T00:00:00Z"),
        ("relay-pki.dev/json", r#"{"a": ["b", 1]}"#),
        ("relay-pki.dev/lines", "one\n two: # three\n\n\ttab \n"),
        ("relay-pki.dev/empty", ""),
        ("relay-pki.dev/unicode", "клю́ч 🔑 \u{feff}\u{85}\u{7f}"),
    ] {
        full.annotations.insert(key.to_owned(), value.to_owned());
    }
    let mut map = secret(
        "map",
        &[
            ("record", b"{\"phase\": \"publishing\"}\n"),
            ("lines", b"a\n\n  b\n"),
            ("number", b"1e3"),
            ("raw", &[0xff, 0xfe, 0]),
            ("empty", b""),
        ],
    );
    map.key = ObjectKey::config_map(map.key.name);
    map.secret_type = None;
    let none = secret("none", &[]);
    let empty = secret("empty", &[("token", b"")]);
    for object in [&full, &map, &none, &empty] {
        let version = done(one.write(object, &Expected::Absent).await, "create")?;
        must_read(other, object, &version).await?;
        let mut changed = object.clone();
        changed
            .annotations
            .insert("more".to_owned(), "yes".to_owned());
        changed
            .data
            .insert("more".to_owned(), SecretBytes::new(*b"yes"));
        let version = done(
            other.write(&changed, &Expected::At(version)).await,
            "replace",
        )?;
        must_read(one, &changed, &version).await?;
        let version = done(
            one.write(object, &Expected::At(version)).await,
            "change back",
        )?;
        must_read(other, object, &version).await?;
    }
    // The two kinds have names of their own.
    let mut twin = secret("map", &[("token", b"x")]);
    let version = done(
        one.write(&twin, &Expected::Absent).await,
        "create a Secret named as a ConfigMap",
    )?;
    must_read(one, &twin, &version).await?;
    twin.secret_type = None;
    let version = done(
        one.write(&twin, &Expected::At(version)).await,
        "write without a type",
    )?;
    twin.secret_type = Some("Opaque".to_owned());
    must_read(one, &twin, &version).await
}

async fn lists(one: &dyn Cluster, other: &dyn Cluster) -> Check {
    clean(one).await?;
    let ours = secret("ours", &[]);
    let mut theirs = secret("theirs", &[]);
    theirs.labels.insert(LABEL.0.to_owned(), "them".to_owned());
    let mut nobodys = secret("nobodys", &[]);
    nobodys.labels.clear();
    for object in [&ours, &theirs, &nobodys] {
        done(one.write(object, &Expected::Absent).await, "create")?;
    }
    let absent = ObjectKey::secret("conformance-absent");
    let other_kind = ObjectKey::config_map(theirs.key.name.clone());
    let cases: [(&[ObjectKey], &[&Object]); 3] = [
        (&[], &[&ours]),
        (
            &[absent, other_kind, nobodys.key.clone()],
            &[&nobodys, &ours],
        ),
        (&[ours.key.clone(), ours.key.clone()], &[&ours]),
    ];
    for (wanted, expected) in cases {
        let mut listed: Vec<Object> = done(other.list(LABEL, wanted).await, "list")?
            .into_iter()
            .map(|stored| stored.object)
            .collect();
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        must(listed.iter().eq(expected.iter().copied()), || {
            let keys: Vec<String> = listed.iter().map(|o| o.key.to_string()).collect();
            format!("a list with {wanted:?} has {keys:?}")
        })?;
    }
    for object in [theirs, nobodys] {
        let stored = done(one.read(&object.key).await, "read")?;
        let version = stored.map(|stored| stored.version);
        let version = version.ok_or_else(|| Violation(format!("{} is gone", object.key)))?;
        done(one.delete(&object.key, &version).await, "delete")?;
    }
    Ok(())
}

async fn refuses(cluster: &dyn Cluster) -> Check {
    let half = vec![7; MAX_DATA_BYTES / 2];
    let large = secret("large", &[("a", &half), ("b", &half)]);
    let version = done(
        cluster.write(&large, &Expected::Absent).await,
        "write the largest Secret",
    )?;
    must_read(cluster, &large, &version).await?;
    let larger = secret("large", &[("a", &half), ("b", &half), ("c", b"1")]);
    let outcome = cluster.write(&larger, &Expected::At(version.clone())).await;
    must(
        matches!(outcome, Err(ClusterError::TooLarge { size, .. }) if size == MAX_DATA_BYTES + 1),
        || format!("a Secret larger than the limit: {outcome:?}"),
    )?;
    must_read(cluster, &large, &version).await?;
    let mut retyped = large.clone();
    retyped.secret_type = Some("kubernetes.io/tls".to_owned());
    let outcome = cluster.write(&retyped, &Expected::At(version)).await;
    must(
        matches!(outcome, Err(ClusterError::Occupied { .. })),
        || format!("a Secret of another type: {outcome:?}"),
    )?;
    for name in ["../escape", "UPPER", "", ".hidden", "a/b"] {
        let mut object = secret("name", &[]);
        object.key = ObjectKey::secret(name);
        let outcome = cluster.write(&object, &Expected::Absent).await;
        must(
            matches!(outcome, Err(ClusterError::Malformed { .. })),
            || format!("an object named {name:?}: {outcome:?}"),
        )?;
    }
    Ok(())
}

async fn locks(one: &dyn Cluster, other: &dyn Cluster) -> Check {
    let guard = done(one.lock().await, "lock")?;
    for cluster in [one, other] {
        let outcome = cluster.lock().await;
        must(matches!(outcome, Err(ClusterError::Locked { .. })), || {
            "two writers hold the lock".to_owned()
        })?;
    }
    let object = secret("locked", &[]);
    done(
        one.write(&object, &Expected::Absent).await,
        "write while holding the lock",
    )?;
    done(
        other.read(&object.key).await,
        "read while another holds the lock",
    )?;
    guard.release().await;
    let guard = done(other.lock().await, "lock after the other let go")?;
    guard.release().await;
    Ok(())
}
