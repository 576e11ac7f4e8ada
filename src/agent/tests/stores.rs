//! Both stores: what they write, what they leave alone, and what a crash leaves behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::ca::{bundle, days, identity, root, signer};
use crate::agent::{Files, Secrets, Store};
use crate::cluster::{Cluster as _, Expected, MemoryCluster, Object, ObjectKey, SecretBytes};
use crate::relay::{SecretRole, TlsContent, labels, new_secret};
use relay_pki_authority::x509::TrustBundle;

const ROOT: &str = "relay-root-tls-secret";
const CLIENT: &str = "relay-client-tls-secret";

fn secrets(cluster: &MemoryCluster, adopt: bool) -> Secrets {
    Secrets::new(
        Arc::new(cluster.clone()),
        "gloo-mesh",
        (ROOT, CLIENT),
        adopt,
    )
}

fn object(cluster: &MemoryCluster, name: &str) -> Object {
    let objects = cluster.objects();
    objects
        .into_iter()
        .find(|object| object.key.name == name)
        .unwrap()
}

fn own() -> (TlsContent, TrustBundle) {
    let (old, new) = (root("relay root"), root("relay root"));
    let signer = signer(&old, "relay signer 1");
    let own = identity(&signer, "cluster-1", days(30), bundle(&[&old]));
    (own, bundle(&[&old, &new]))
}

async fn save(store: &dyn Store, own: &TlsContent) {
    let identity = Some((&own.key, &own.chain));
    store.save(&own.bundle, identity).await.unwrap();
}

#[tokio::test]
async fn what_is_saved_is_loaded_from_either() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = MemoryCluster::new("cluster-1");
    let stores: [Box<dyn Store>; 2] = [
        Box::new(secrets(&cluster, false)),
        Box::new(Files::new(directory.path().join("new/agent"), false)),
    ];
    let (own, both) = own();
    for store in stores {
        let nothing = store.load().await.unwrap();
        assert!(nothing.trust.is_none() && nothing.identity.is_none());
        assert_eq!(nothing.obstacle, None);
        // Roots alone, as trust begins.
        store.save(&own.bundle, None).await.unwrap();
        let begun = store.load().await.unwrap();
        assert!(begun.identity.is_none() && begun.agrees());
        save(store.as_ref(), &own).await;
        let held = store.load().await.unwrap();
        assert_eq!(held.trust.as_ref(), Some(&own.bundle));
        let found = held.usable().unwrap();
        assert_eq!(found.chain, own.chain);
        assert_eq!(found.key.pkcs8_der(), own.key.pkcs8_der());
        // Other roots leave certificate and key as they are.
        store.save(&both, None).await.unwrap();
        let held = store.load().await.unwrap();
        assert!(held.agrees());
        assert_eq!(held.anchors(), Some(&both));
        assert_eq!(held.usable().unwrap().chain, own.chain);
    }
    let keys = |name| object(&cluster, name).data.into_keys().collect::<Vec<_>>();
    assert_eq!(keys(ROOT), ["ca.crt"]);
    assert_eq!(keys(CLIENT), ["ca.crt", "tls.crt", "tls.key"]);
    assert_eq!(object(&cluster, CLIENT).labels, labels("gloo-mesh"));
    // The same again writes nothing.
    let writes = cluster.writes();
    secrets(&cluster, false).save(&both, None).await.unwrap();
    assert_eq!(cluster.writes(), writes);
}

#[tokio::test]
async fn secrets_of_others_are_left_alone_until_they_are_adopted() {
    let (own, _) = own();
    let mut foreign = new_secret(ObjectKey::secret(ROOT), SecretRole::Trust);
    let pem = own.bundle.to_pem();
    foreign
        .data
        .insert("ca.crt".to_owned(), SecretBytes::new(pem));
    let keeper = "app.kubernetes.io/managed-by".to_owned();
    foreign.labels.insert(keeper.clone(), "Helm".to_owned());
    foreign.labels.insert("team".to_owned(), "mesh".to_owned());
    let cluster = MemoryCluster::new("cluster-1");
    cluster.overwrite(foreign.clone());
    let store = secrets(&cluster, false);
    let held = store.load().await.unwrap();
    // What was put there is believed, and kept.
    assert_eq!(held.trust.as_ref(), Some(&own.bundle));
    assert!(held.obstacle.unwrap().contains("--adopt"));
    let identity = Some((&own.key, &own.chain));
    store.save(&own.bundle, identity).await.unwrap_err();
    assert_eq!(object(&cluster, ROOT), foreign);
    let adopting = secrets(&cluster, true);
    assert_eq!(adopting.load().await.unwrap().obstacle, None);
    save(&adopting, &own).await;
    let adopted = object(&cluster, ROOT);
    assert_eq!(adopted.data, foreign.data);
    assert_eq!(adopted.labels["team"], "mesh");
    // A certificate that nobody keeps is somebody's all the same, and so is a root with a key beside it.
    let mut client = new_secret(ObjectKey::secret(CLIENT), SecretRole::Client);
    client
        .data
        .insert("tls.crt".to_owned(), SecretBytes::new("x"));
    let mut beside = new_secret(ObjectKey::secret(ROOT), SecretRole::Trust);
    beside
        .data
        .insert("tls.key".to_owned(), SecretBytes::new("x"));
    for foreign in [client, beside] {
        let cluster = MemoryCluster::new("cluster-1");
        cluster.overwrite(foreign);
        let held = secrets(&cluster, false).load().await.unwrap();
        assert!(held.obstacle.is_some());
    }
    // Another relay's is nobody's to take.
    let other = Secrets::new(Arc::new(cluster.clone()), "other", (ROOT, CLIENT), true);
    let obstacle = other.load().await.unwrap().obstacle.unwrap();
    assert!(
        obstacle.contains("belongs to relay gloo-mesh"),
        "{obstacle}"
    );
    other.save(&own.bundle, None).await.unwrap_err();
}

#[tokio::test]
async fn a_root_that_was_handed_over_is_kept_up_to_date() {
    let (own, both) = own();
    // As `kubectl create secret generic --from-file=ca.crt` makes it.
    let mut given = new_secret(ObjectKey::secret(ROOT), SecretRole::Trust);
    let pem = own.bundle.to_pem();
    given
        .data
        .insert("ca.crt".to_owned(), SecretBytes::new(pem));
    let cluster = MemoryCluster::new("cluster-1");
    cluster.overwrite(given.clone());
    let store = secrets(&cluster, false);
    let held = store.load().await.unwrap();
    assert_eq!(
        (held.obstacle, held.trust.as_ref()),
        (None, Some(&own.bundle))
    );
    save(&store, &own).await;
    assert_eq!(object(&cluster, ROOT).data, given.data);
    assert_eq!(object(&cluster, ROOT).labels, labels("gloo-mesh"));
    store.save(&both, None).await.unwrap();
    assert_eq!(store.load().await.unwrap().trust, Some(both));
}

#[tokio::test]
async fn a_crash_between_the_two_secrets_is_seen() {
    let (own, both) = own();
    let cluster = MemoryCluster::new("cluster-1");
    let store = secrets(&cluster, false);
    save(&store, &own).await;
    // The roots are written first.
    let key = ObjectKey::secret(ROOT);
    let stored = cluster.read(&key).await.unwrap().unwrap();
    let mut object = stored.object;
    let pem = both.to_pem();
    object
        .data
        .insert("ca.crt".to_owned(), SecretBytes::new(pem));
    let at = Expected::At(stored.version);
    cluster.write(&object, &at).await.unwrap();
    let held = store.load().await.unwrap();
    assert!(!held.agrees());
    assert_eq!(held.anchors(), Some(&both));
    store.save(&both, None).await.unwrap();
    assert!(store.load().await.unwrap().agrees());
}

#[tokio::test]
async fn what_a_killed_agent_leaves_behind_does_no_harm() {
    let (own, both) = own();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let store = Files::new(path.clone(), false);
    save(&store, &own).await;
    // Killed while it wrote a generation, and before a link was in its place.
    for name in [".generation-2", ".generation-2.unfinished"] {
        fs::create_dir(path.join(name)).unwrap();
        fs::write(path.join(name).join("tls.key"), "half").unwrap();
    }
    symlink(".generation-2", path.join(".link.unfinished")).unwrap();
    let held = store.load().await.unwrap();
    assert_eq!(held.usable().unwrap().chain, own.chain);
    store.save(&both, None).await.unwrap();
    assert_eq!(store.load().await.unwrap().anchors(), Some(&both));
    let mut names: Vec<String> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [".generation-2", "ca.crt", "current", "tls.crt", "tls.key"]
    );
    // A key that is not the certificate's is said to be that.
    let (another, _) = super::stores::own();
    let file = path.join("tls.key");
    fs::write(file, another.key.to_pem().as_bytes()).unwrap();
    let broken = store.load().await.unwrap().identity.unwrap().unwrap_err();
    assert!(broken.contains("does not belong"), "{broken}");
}
