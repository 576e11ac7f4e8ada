use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_authority::KeyStoreError;
use relay_pki_authority::x509::{KeyType, PrivateKey, PublicKey};

use crate::cluster::{
    Cluster, ClusterError, Expected, Object, ObjectKey, ObjectKind, SecretBytes, Stored,
};
use crate::config::Relay;
use crate::engine::limited;
use crate::journal::{ENCRYPTED_KEY, KeyForm, Keyring, keyring, record_object};
use crate::relay::{Owner, TLS_KEY, owner_of};

/// Data key of the public key, in PEM.
pub const PUBLIC_KEY: &str = "public.pem";

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// Length of a line of PEM.
const PEM_LINE: usize = 64;

/// Why there is no key to sign with.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TranscriptKeyError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is something that is no key, or that may not be used.
    #[error("{place}, the key that transcripts are signed with, cannot be used: {reason}")]
    Unusable {
        /// Where it is.
        place: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// The name of the Secret with the key that the transcripts of a relay are signed with, and of the
/// ConfigMap with its public half.
pub fn key_name(relay: &str) -> String {
    format!("relay-pki-{relay}-transcript-key")
}

/// The key that transcripts are signed with; made where there is none.
pub(super) async fn signing_key(
    relay: &Relay,
    home: &Arc<dyn Cluster>,
) -> Result<PrivateKey, TranscriptKeyError> {
    let name = ObjectKey::secret(key_name(&relay.name));
    let call = || limited(home.name(), "read the transcript key", home.read(&name));
    if let Some(stored) = call().await? {
        return decode(relay, home, &stored).await;
    }
    let unmade = |reason: String| TranscriptKeyError::Unusable {
        place: name.to_string(),
        reason,
    };
    let key = PrivateKey::generate(KeyType::EcdsaP256).map_err(|it| unmade(it.to_string()))?;
    let mut object = record_object(&relay.name, ObjectKind::Secret, name.name.clone());
    object.secret_type = Some("relay-pki.dev/transcript-key".to_owned());
    let ring = ring(relay, home);
    set_key(&mut object, ring.as_ref(), &relay.name, &key)
        .await
        .map_err(|error| unmade(error.to_string()))?;
    let write = home.write(&object, &Expected::Absent);
    match limited(home.name(), "write the transcript key", write).await {
        Ok(_) => Ok(key),
        // Somebody else made one at the same time, or our own reply was lost: what is there counts.
        Err(ClusterError::Conflict { .. }) => match call().await? {
            Some(stored) => decode(relay, home, &stored).await,
            None => Err(unmade(
                "it went while it was made; run the same again".to_owned(),
            )),
        },
        Err(error) => Err(error.into()),
    }
}

/// Publishes the public half, unless it is published.
pub(super) async fn publish(
    relay: &str,
    home: &Arc<dyn Cluster>,
    key: &PublicKey,
) -> Result<(), ClusterError> {
    let name = key_name(relay);
    let wanted = ObjectKey::config_map(name.clone());
    let stored = limited(home.name(), "read the public key", home.read(&wanted)).await?;
    let pem = public_key_pem(key);
    let entry = |stored: &Stored| stored.object.data.get(PUBLIC_KEY).cloned();
    if let Some(found) = stored.as_ref().and_then(entry)
        && found.expose() == pem.as_bytes()
    {
        return Ok(());
    }
    let mut object = record_object(relay, ObjectKind::ConfigMap, name);
    object
        .data
        .insert(PUBLIC_KEY.to_owned(), SecretBytes::new(pem));
    let expected = stored.map_or(Expected::Absent, |stored| Expected::At(stored.version));
    let write = home.write(&object, &expected);
    limited(home.name(), "publish the public key", write).await?;
    Ok(())
}

/// Keeps the key as the document says: encrypted, with the current encryption key. Nothing if it is
/// kept so already, or if there is none.
pub async fn rewrite_key(relay: &Relay, home: &Arc<dyn Cluster>) -> Result<(), TranscriptKeyError> {
    let name = ObjectKey::secret(key_name(&relay.name));
    let read = limited(home.name(), "read the transcript key", home.read(&name)).await?;
    let (Some(stored), Some(ring)) = (read, ring(relay, home)) else {
        return Ok(());
    };
    let failed = |error: KeyStoreError| TranscriptKeyError::Unusable {
        place: stored.place.clone(),
        reason: error.to_string(),
    };
    let key_id = ring.current_id().await.map_err(failed)?;
    if KeyForm::of(&stored.object).map_err(failed)? == Some(KeyForm::Encrypted { key_id }) {
        return Ok(());
    }
    let key = decode(relay, home, &stored).await?;
    let mut object = stored.object.clone();
    set_key(&mut object, Some(&ring), &relay.name, &key)
        .await
        .map_err(failed)?;
    let expected = Expected::At(stored.version.clone());
    let write = home.write(&object, &expected);
    limited(home.name(), "write the transcript key", write).await?;
    Ok(())
}

/// What the key is encrypted with: as the keys of the first provider, by name, that encrypts its own.
fn ring(relay: &Relay, home: &Arc<dyn Cluster>) -> Option<Keyring> {
    let mut providers = relay.providers.values();
    providers.find_map(|provider| keyring(provider, home))
}

/// What an encrypted key is bound to, as a CA's key is to its generation.
fn bound(relay: &str) -> [&str; 3] {
    [relay, "transcript", "1"]
}

async fn set_key(
    object: &mut Object,
    ring: Option<&Keyring>,
    relay: &str,
    key: &PrivateKey,
) -> Result<(), KeyStoreError> {
    let (name, bytes) = match ring {
        Some(ring) => {
            let text = ring.encrypt(bound(relay), key).await?;
            (ENCRYPTED_KEY, SecretBytes::new(text))
        }
        None => (TLS_KEY, SecretBytes::new(key.to_pem().as_bytes())),
    };
    object.data.remove(TLS_KEY);
    object.data.insert(name.to_owned(), bytes);
    Ok(())
}

async fn decode(
    relay: &Relay,
    home: &Arc<dyn Cluster>,
    stored: &Stored,
) -> Result<PrivateKey, TranscriptKeyError> {
    let unusable = |reason: String| TranscriptKeyError::Unusable {
        place: stored.place.clone(),
        reason,
    };
    if owner_of(&stored.object, &relay.name) != Owner::Us {
        return Err(unusable(
            "it is not managed by this relay; rename it".to_owned(),
        ));
    }
    if stored.exposed {
        let reason = "other users can read it; delete it, and a new one is made";
        return Err(unusable(reason.to_owned()));
    }
    let entry = |name: &str| stored.object.data.get(name).map(SecretBytes::expose);
    let anew = "restore it from a backup, or delete it to have a new one made";
    let key = match (entry(ENCRYPTED_KEY), entry(TLS_KEY), ring(relay, home)) {
        (_, Some(pem), _) => PrivateKey::from_pem(pem)
            .map_err(|error| unusable(format!("{TLS_KEY}: {error}; {anew}")))?,
        (Some(text), None, Some(ring)) => ring
            .decrypt(bound(&relay.name), text)
            .await
            .map_err(|error| unusable(format!("{error}; {anew}")))?,
        (Some(_), None, None) => {
            let reason = format!("it is encrypted, and no provider has an encryptionKey; {anew}");
            return Err(unusable(reason));
        }
        (None, None, _) => return Err(unusable(format!("it has no {TLS_KEY}; {anew}"))),
    };
    match key.key_type() {
        Ok(KeyType::EcdsaP256) => Ok(key),
        _ => Err(unusable(format!("it is no P-256 key; {anew}"))),
    }
}

/// A public key in base64, as lines name it.
pub(super) fn spki_text(key: &PublicKey) -> String {
    STANDARD.encode(key.spki_der())
}

/// A public key in PEM.
pub fn public_key_pem(key: &PublicKey) -> String {
    let mut text = format!("{BEGIN}\n");
    for (index, digit) in spki_text(key).chars().enumerate() {
        if index > 0 && index % PEM_LINE == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push_str(&format!("\n{END}\n"));
    text
}

/// From PEM, or a reason why it is none.
pub fn public_key_from_pem(text: &[u8]) -> Result<PublicKey, String> {
    let none = || "it is no public key in PEM".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| none())?;
    let (_, rest) = text.split_once(BEGIN).ok_or_else(none)?;
    let (body, _) = rest.split_once(END).ok_or_else(none)?;
    let digits: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(digits).map_err(|_| none())?;
    PublicKey::from_spki_der(&der).map_err(|error| error.to_string())
}
