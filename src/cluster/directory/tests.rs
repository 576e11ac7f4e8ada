use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::cluster::{SecretBytes, conformance};

const NONE: (&str, &str) = ("none", "none");

fn cluster(dir: &Path) -> DirectoryCluster {
    DirectoryCluster::new("mgmt", "gloo-mesh", dir.to_owned())
}

fn secret(name: &str, token: &str) -> Object {
    Object {
        key: ObjectKey::secret(name),
        secret_type: Some("Opaque".to_owned()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: BTreeMap::from([("token".to_owned(), SecretBytes::new(token))]),
    }
}

fn manifest(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{token: hunter2}}\n"
    )
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

async fn read(dir: &Path, name: &str) -> Stored {
    cluster(dir)
        .read(&ObjectKey::secret(name))
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn conforms() {
    let dir = TempDir::new().unwrap();
    conformance::check(&cluster(dir.path()), &cluster(dir.path()))
        .await
        .unwrap();
    assert_eq!(names(dir.path()), [".relay-pki.lock", "00-namespace.yaml"]);
}

#[tokio::test]
async fn starts_from_nothing() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("clusters/mgmt");
    assert!(
        cluster(&dir)
            .list(NONE, &[ObjectKey::secret("a")])
            .await
            .unwrap()
            .is_empty()
    );
    assert!(!dir.exists(), "reading makes nothing");
    let mut map = secret("a", "x");
    map.key = ObjectKey::config_map("a");
    cluster(&dir)
        .write(&secret("a", "x"), &Expected::Absent)
        .await
        .unwrap();
    cluster(&dir).write(&map, &Expected::Absent).await.unwrap();
    assert_eq!(
        names(&dir),
        [
            ".relay-pki.lock",
            "00-namespace.yaml",
            "a.configmap.yaml",
            "a.yaml"
        ]
    );
    assert_eq!(
        fs::read_to_string(dir.join("00-namespace.yaml")).unwrap(),
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: gloo-mesh\n"
    );
    for name in names(&dir) {
        assert_eq!(mode(&dir.join(&name)), 0o600, "{name}");
    }
    assert_eq!([mode(&dir), mode(dir.parent().unwrap())], [0o700; 2]);
    let pid: u32 = fs::read_to_string(dir.join(".relay-pki.lock"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(pid, std::process::id());
}

#[tokio::test]
async fn a_namespace_manifest_of_the_user_is_enough() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("ns.yml"),
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: gloo-mesh}\n",
    )
    .unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    cluster(dir.path())
        .write(&secret("a", "x"), &Expected::Absent)
        .await
        .unwrap();
    assert_eq!(names(dir.path()), [".relay-pki.lock", "a.yaml", "ns.yml"]);
    assert_eq!(mode(dir.path()), 0o755, "the user's choice");
}

#[tokio::test]
async fn rewrites_an_object_where_it_lies() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("sub/deeper")).unwrap();
    for (path, notation) in [("sub/deeper/mine.yml", '.'), ("sub/mine.json", '{')] {
        let path = dir.path().join(path);
        fs::write(&path, manifest("a")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let stored = read(dir.path(), "a").await;
        assert!(stored.exposed);
        assert_eq!(stored.place, path.display().to_string());
        let at = Expected::At(stored.version);
        let version = cluster(dir.path())
            .write(&secret("a", "new"), &at)
            .await
            .unwrap();
        let stored = read(dir.path(), "a").await;
        assert_eq!(
            (stored.object, stored.version, stored.exposed),
            (secret("a", "new"), version, false)
        );
        assert_eq!(mode(&path), 0o600);
        assert_eq!(
            fs::read_to_string(&path).unwrap().starts_with('{'),
            notation == '{'
        );
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(names(dir.path()), [".relay-pki.lock", "sub"]);
}

#[tokio::test]
async fn reads_no_more_than_it_should() {
    let root = TempDir::new().unwrap();
    let (dir, outside) = (root.path().join("in"), root.path().join("out"));
    fs::create_dir_all(dir.join(".git")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.yaml"), manifest("outside")).unwrap();
    symlink(&outside, dir.join("link")).unwrap();
    symlink(&dir, dir.join("loop")).unwrap();
    for hidden in [
        ".hidden.yaml",
        ".git/x.yaml",
        ".relay-pki-x.yaml",
        "README.md",
        "x.yaml~",
    ] {
        fs::write(dir.join(hidden), manifest("hidden")).unwrap();
    }
    fs::write(dir.join("kustomization.yaml"), "resources: [a.yaml]\n").unwrap();
    symlink("nowhere", dir.join(".#a.yaml")).unwrap();
    fs::write(dir.join("a.yaml"), manifest("a")).unwrap();
    let wanted = ["a", "hidden", "outside"].map(ObjectKey::secret);
    let listed = cluster(&dir).list(NONE, &wanted).await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn leaves_alone_what_is_not_one_object_of_ours() {
    let dir = TempDir::new().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    put(
        "many.yaml",
        &format!("{}---\n{}", manifest("a"), manifest("b")),
    );
    put(
        "list.json",
        r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}}]}"#,
    );
    put(
        "fixed.yaml",
        &format!("{}immutable: true\n", manifest("fixed")),
    );
    put("real.txt", &manifest("linked"));
    symlink("real.txt", dir.path().join("linked.yaml")).unwrap();
    put(
        "taken.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n",
    );
    let before: Vec<_> = names(dir.path());
    for (name, reason) in [
        ("a", "holds 2 documents"),
        ("b", "holds 2 documents"),
        ("c", "holds 1 documents or list items"),
        ("fixed", "immutable: true"),
        ("linked", "symbolic link"),
    ] {
        let stored = read(dir.path(), name).await;
        let at = Expected::At(stored.version.clone());
        let error = cluster(dir.path())
            .write(&secret(name, "new"), &at)
            .await
            .unwrap_err();
        assert!(matches!(error, ClusterError::Occupied { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        if name != "fixed" {
            let error = cluster(dir.path())
                .delete(&stored.object.key, &stored.version)
                .await
                .unwrap_err();
            assert!(matches!(error, ClusterError::Occupied { .. }), "{error}");
        }
        assert_eq!(read(dir.path(), name).await.version, stored.version);
    }
    assert_eq!(
        read(dir.path(), "b").await.place,
        format!("{}:6", dir.path().join("many.yaml").display())
    );
    let error = cluster(dir.path())
        .write(&secret("taken", "x"), &Expected::Absent)
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Occupied { .. }), "{error}");
    let text = fs::read_to_string(dir.path().join("taken.yaml")).unwrap();
    assert!(text.contains("Service"));

    let mut labelled = read(dir.path(), "fixed").await;
    labelled
        .object
        .labels
        .insert("a".to_owned(), "b".to_owned());
    cluster(dir.path())
        .write(&labelled.object, &Expected::At(labelled.version))
        .await
        .unwrap();
    assert!(
        fs::read_to_string(dir.path().join("fixed.yaml"))
            .unwrap()
            .contains("immutable: true")
    );
    let after: Vec<_> = names(dir.path())
        .into_iter()
        .filter(|n| !n.starts_with(['.', '0']))
        .collect();
    assert_eq!(after, before);
}

#[tokio::test]
async fn two_files_with_one_object_are_named_both() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("one.yaml"), manifest("a")).unwrap();
    fs::write(dir.path().join("two.yaml"), manifest("a")).unwrap();
    fs::write(dir.path().join("b.yaml"), manifest("b")).unwrap();
    let key = ObjectKey::secret("a");
    for error in [
        cluster(dir.path()).read(&key).await.unwrap_err(),
        cluster(dir.path())
            .list(NONE, std::slice::from_ref(&key))
            .await
            .unwrap_err(),
        cluster(dir.path())
            .write(&secret("a", "x"), &Expected::Absent)
            .await
            .unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("one.yaml") && text.contains("two.yaml"),
            "{text}"
        );
    }
    read(dir.path(), "b").await;
}

#[tokio::test]
async fn a_broken_manifest_is_an_error_with_its_place() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join("bad.yaml"),
        manifest("a") + "data: {token: hunter2!}\n",
    )
    .unwrap();
    let error = cluster(dir.path())
        .list(NONE, &[])
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("bad.yaml:5:15 in cluster mgmt"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    fs::write(dir.path().join("bad.yaml"), vec![b'#'; 5 << 20]).unwrap();
    let error = cluster(dir.path()).list(NONE, &[]).await.unwrap_err();
    assert!(matches!(error, ClusterError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn only_what_is_worth_hiding_is_exposed() {
    let dir = TempDir::new().unwrap();
    let cases = [
        ("token", "x", true),
        ("tls.key", "x", true),
        ("other", "-----BEGIN EC PRIVATE KEY-----", true),
        ("ca.crt", "-----BEGIN CERTIFICATE-----", false),
        ("tls.crt", "-----BEGIN CERTIFICATE-----", false),
    ];
    let path = dir.path().join("a.yaml");
    for (key, value, exposed) in cases {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{{key}: '{value}'}}\n"
        );
        fs::write(&path, text).unwrap();
        for (mode, readable) in [(0o600, false), (0o640, true), (0o604, true), (0o622, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                read(dir.path(), "a").await.exposed,
                exposed && readable,
                "{key} {mode:o}"
            );
        }
    }
}

#[tokio::test]
async fn an_edit_between_reading_and_writing_wins() {
    let dir = TempDir::new().unwrap();
    let one = cluster(dir.path());
    let version = one
        .write(&secret("a", "x"), &Expected::Absent)
        .await
        .unwrap();
    let _guard = one.lock().await.unwrap();
    fs::write(dir.path().join("a.yaml"), manifest("a")).unwrap();
    for outcome in [
        one.write(&secret("a", "y"), &Expected::At(version.clone()))
            .await
            .map(drop),
        one.delete(&ObjectKey::secret("a"), &version).await,
    ] {
        assert!(
            matches!(outcome, Err(ClusterError::Conflict { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(read(dir.path(), "a").await.object, secret("a", "hunter2"));
}

#[tokio::test]
async fn a_lock_file_that_was_removed_locks_nobody_out() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (cluster(dir.path()), cluster(dir.path()));
    let guard = one.lock().await.unwrap();
    let error = two.lock().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    let error = two
        .write(&secret("a", "x"), &Expected::Absent)
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Locked { .. }), "{error}");
    drop(guard);
    fs::remove_file(dir.path().join(".relay-pki.lock")).unwrap();
    let _guard = two.lock().await.unwrap();
    assert!(one.lock().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_side_by_side_wait_for_each_other() {
    let dir = TempDir::new().unwrap();
    let handles: Vec<Arc<DirectoryCluster>> =
        (0..4).map(|_| Arc::new(cluster(dir.path()))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let handle = Arc::clone(&handles[n % 4]);
        tasks.spawn(async move {
            let own = handle
                .write(&secret(&format!("own-{n}"), "x"), &Expected::Absent)
                .await;
            own.unwrap();
            handle
                .write(&secret("shared", &n.to_string()), &Expected::Absent)
                .await
                .is_ok()
        });
    }
    let won = tasks
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
    assert_eq!(names(dir.path()).len(), 20 + 1 + 2);
}

/// Changes the directory until its time stamp does, which older kernels take from a coarse clock.
fn let_time_pass(dir: &Path) {
    let changed = || {
        let metadata = fs::metadata(dir).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let before = changed();
    while changed() == before {
        fs::write(dir.join(".tick"), "").unwrap();
        fs::remove_file(dir.join(".tick")).unwrap();
    }
}

#[tokio::test]
async fn a_lock_holder_sees_what_others_do_to_its_directory() {
    let dir = TempDir::new().unwrap();
    let one = cluster(dir.path());
    let _guard = one.lock().await.unwrap();
    let version = one
        .write(&secret("a", "1"), &Expected::Absent)
        .await
        .unwrap();
    let version = one
        .write(&secret("a", "2"), &Expected::At(version))
        .await
        .unwrap();
    // Another file for another object, and one that takes ours elsewhere.
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/b.yaml"), manifest("b")).unwrap();
    let_time_pass(dir.path());
    let error = one
        .write(&secret("b", "x"), &Expected::Absent)
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Conflict { .. }), "{error}");
    let moved = dir.path().join("sub/moved.yaml");
    fs::rename(dir.path().join("a.yaml"), &moved).unwrap();
    let version = one
        .write(&secret("a", "3"), &Expected::At(version))
        .await
        .unwrap();
    assert_eq!(
        read(dir.path(), "a").await.place,
        moved.display().to_string()
    );
    // In place, which leaves no trace in the directory.
    fs::write(&moved, manifest("c")).unwrap();
    let error = one
        .write(&secret("a", "4"), &Expected::At(version))
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Conflict { .. }), "{error}");
    one.write(&secret("a", "5"), &Expected::Absent)
        .await
        .unwrap();
    fs::write(dir.path().join("twice.yaml"), manifest("a")).unwrap();
    let_time_pass(dir.path());
    let error = one
        .write(&secret("a", "6"), &Expected::Absent)
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Occupied { .. }), "{error}");
    fs::remove_file(dir.path().join("twice.yaml")).unwrap();
    let version = read(dir.path(), "a").await.version;
    one.delete(&ObjectKey::secret("a"), &version).await.unwrap();
    one.write(&secret("a", "7"), &Expected::Absent)
        .await
        .unwrap();
}
