//! CA keys that are encrypted, or encrypted anew, where they are kept.

use relay_pki_authority::x509::PrivateKey;

use super::crash::enumerate;
use super::document::Document;
use super::world::{BOOTSTRAP, World, request};
use crate::cluster::{Object, ObjectKey, SecretBytes};
use crate::engine::{Action, Goal};
use crate::journal::{ENCRYPTED_KEY, Scope};
use crate::relay::{TLS_CERT, TLS_KEY};
use relay_pki_authority::Level;

const ENCRYPTED: &str = "{ encryptionKey: { secretRef: { name: ca-encryption, key: new } } }";
const CHANGED: &str = "{ encryptionKey: { secretRef: { name: ca-encryption, key: newer } }, \
                       previousEncryptionKey: { secretRef: { name: ca-encryption, key: new } } }";

/// A fleet with a root and two signers whose keys are in the clear.
async fn world() -> World {
    let world = World::new(Document::new(1, 1));
    let data = [("new", "11"), ("newer", "22")];
    let data = data.map(|(name, digits)| (name.to_owned(), SecretBytes::new(digits.repeat(32))));
    world.home().overwrite(Object {
        key: ObjectKey::secret("ca-encryption"),
        secret_type: Some("Opaque".to_owned()),
        labels: [].into(),
        annotations: [].into(),
        data: data.into(),
    });
    world.reach(&BOOTSTRAP).await;
    // In the middle of a rotation there are two signers.
    world.begin(&request(Level::Signer)).await;
    world.reach(&Goal::Rotation).await;
    world
}

fn with(mut world: World, self_signed: &'static str) -> World {
    world.document.self_signed = self_signed;
    world.reload();
    world
}

fn ca_secrets(world: &World) -> Vec<Object> {
    let objects = world.home().objects().into_iter();
    objects
        .filter(|object| object.secret_type.as_deref() == Some("relay-pki.dev/ca"))
        .collect()
}

fn assert_encrypted(world: &World, what: &str) {
    let secrets = ca_secrets(world);
    assert_eq!(secrets.len(), 3, "{what}");
    for object in secrets {
        let entries: Vec<&str> = object.data.keys().map(String::as_str).collect();
        assert_eq!(entries, [TLS_CERT, ENCRYPTED_KEY], "{what}: {}", object.key);
    }
}

#[tokio::test]
async fn bootstrap_encrypts_the_keys_that_there_are() {
    let base = with(world().await, ENCRYPTED);
    let plan = base.plan(&BOOTSTRAP).await;
    let rewrites = |action: &Action| matches!(action, Action::RewriteKey(_));
    // Those of the CAs, and the one that transcripts are signed with.
    assert_eq!(plan.steps.len(), 4, "{:?}", plan.steps);
    assert!(plan.steps.iter().all(|step| rewrites(&step.action)));
    // Nothing else does it by the way.
    assert_eq!(base.plan(&Goal::Due).await.steps, []);
    let act = async |world: &World| drop(world.run(&BOOTSTRAP).await);
    enumerate(
        "keys: bootstrap encrypts the keys that there are",
        &base,
        act,
        |world, _, what| assert_encrypted(world, what),
    )
    .await;
}

#[tokio::test]
async fn bootstrap_changes_the_encryption_key() {
    let base = with(world().await, ENCRYPTED);
    base.reach(&BOOTSTRAP).await;
    let base = with(base, CHANGED);
    let act = async |world: &World| drop(world.run(&BOOTSTRAP).await);
    enumerate(
        "keys: bootstrap changes the encryption key",
        &base,
        act,
        |world, _, what| assert_encrypted(world, what),
    )
    .await;
    // The previous key is not needed any more.
    base.reach(&BOOTSTRAP).await;
    let world = with(
        base,
        "{ encryptionKey: { secretRef: { name: ca-encryption, key: newer } } }",
    );
    world.through(Level::Signer).await;
    world.rotate(2, &[Scope::Agents]).await.unwrap();
    assert_eq!(world.plan(&BOOTSTRAP).await.problems, []);
}

#[tokio::test]
async fn new_keys_are_encrypted_from_the_start() {
    let base = with(world().await, ENCRYPTED);
    let world = World::new(base.document.clone());
    for object in base.home().objects() {
        if object.key == ObjectKey::secret("ca-encryption") {
            world.home().overwrite(object);
        }
    }
    let act = async |world: &World| {
        drop(world.run(&BOOTSTRAP).await);
    };
    enumerate(
        "keys: new keys are encrypted from the start",
        &world,
        act,
        |world, _, what| {
            for object in ca_secrets(world) {
                assert!(!object.data.contains_key(TLS_KEY), "{what}");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn encryption_is_not_turned_off_and_a_wrong_key_is_named() {
    let base = with(world().await, ENCRYPTED);
    base.reach(&BOOTSTRAP).await;
    for (settings, said) in [
        ("{}", "has no encryption key"),
        (
            "{ encryptionKey: { secretRef: { name: ca-encryption, key: absent } } }",
            "has no such key",
        ),
    ] {
        let world = with(base.copy(), settings);
        let plan = world.plan(&BOOTSTRAP).await;
        assert_eq!(plan.steps, []);
        assert_eq!(plan.problems.len(), 4);
        let text = plan.problems[0].to_string();
        assert!(text.contains(said), "{text}");
    }
    // Another key: what it would take is tried, and says what is wrong.
    let settings = "{ encryptionKey: { secretRef: { name: ca-encryption, key: newer } } }";
    let world = with(base.copy(), settings);
    let before = ca_secrets(&world);
    let (_, applied) = world.round(&BOOTSTRAP).await.unwrap();
    assert_eq!(applied.failed.len(), 4);
    let text = applied.failed[0].error.to_string();
    assert!(text.contains("previousEncryptionKey"), "{text}");
    assert_eq!(ca_secrets(&world), before);
}

/// A Secret with both entries, as after a careless restore: the encrypted one counts, the other goes.
#[tokio::test]
async fn a_key_in_the_clear_beside_the_encrypted_one_goes() {
    let world = with(world().await, ENCRYPTED);
    world.reach(&BOOTSTRAP).await;
    let key = PrivateKey::generate(Default::default()).unwrap();
    for mut object in ca_secrets(&world) {
        let pem = SecretBytes::new(key.to_pem().as_bytes());
        object.data.insert(TLS_KEY.to_owned(), pem);
        world.home().overwrite(object);
    }
    world.reach(&BOOTSTRAP).await;
    assert_encrypted(&world, "restored");
    world.rotate(2, &[Scope::Agents]).await.unwrap();
}
