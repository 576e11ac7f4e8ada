//! CA keys, encrypted where they are kept.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use relay_pki_authority::x509::PrivateKey;
use relay_pki_authority::{Credential, KeyStoreError};
use zeroize::Zeroizing;

/// What an entry says it is; another number is another format.
const FORMAT: &str = "relay-pki/encrypted-key/v1";
const ALGORITHM: &str = "AES-256-GCM";
/// Size of an encryption key.
const KEY_SIZE: usize = 32;
/// Size of the tag that AES-GCM appends.
const TAG_SIZE: usize = 16;
/// Digits of the digest of an encryption key that name it: too few to learn anything about the key.
const ID_DIGITS: usize = 16;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The encryption keys of a provider, read where they are kept each time that they are needed.
pub struct Keyring {
    /// What keys are encrypted with.
    pub current: Arc<dyn Credential>,
    /// What keys were encrypted with before.
    pub previous: Option<Arc<dyn Credential>>,
}

impl Keyring {
    /// The name of the key that keys are encrypted with now.
    pub async fn current_id(&self) -> Result<String, KeyStoreError> {
        Ok(EncryptionKey::read(&*self.current).await?.id)
    }

    /// The text of the entry that keeps the key of `holder`: whatever names the one that it belongs to.
    pub(crate) async fn encrypt(
        &self,
        holder: [&str; 3],
        key: &PrivateKey,
    ) -> Result<Vec<u8>, KeyStoreError> {
        EncryptionKey::read(&*self.current)
            .await?
            .encrypt(holder, key)
    }

    /// The key of `holder` from its entry.
    pub(crate) async fn decrypt(
        &self,
        holder: [&str; 3],
        entry: &[u8],
    ) -> Result<PrivateKey, KeyStoreError> {
        let entry = Entry::parse(entry)?;
        let current = EncryptionKey::read(&*self.current).await?;
        if current.id == entry.key_id {
            return current.decrypt(holder, &entry);
        }
        let mut known = format!("{} is key {}", self.current.place(), current.id);
        if let Some(previous) = &self.previous {
            let key = EncryptionKey::read(&**previous).await?;
            if key.id == entry.key_id {
                return key.decrypt(holder, &entry);
            }
            let _ = write!(known, ", {} is key {}", previous.place(), key.id);
        }
        Err(KeyStoreError::Locked {
            reason: format!("it is encrypted with key {}, but {known}", entry.key_id),
            remedy: "name the key that it was encrypted with as previousEncryptionKey".to_owned(),
        })
    }
}

/// The name of the key that an entry is encrypted with.
pub(super) fn key_id(entry: &[u8]) -> Result<String, KeyStoreError> {
    Entry::parse(entry).map(|entry| entry.key_id)
}

struct EncryptionKey {
    key: RandomizedNonceKey,
    id: String,
}

impl EncryptionKey {
    async fn read(credential: &dyn Credential) -> Result<Self, KeyStoreError> {
        let locked = |reason: String, remedy: &str| KeyStoreError::Locked {
            reason,
            remedy: remedy.to_owned(),
        };
        let text = credential.read().await.map_err(|error| {
            let remedy = "put the encryption key of the CA keys there";
            locked(error.to_string(), remedy)
        })?;
        let bytes = decode(&text).ok_or_else(|| {
            locked(
                format!("{} is no encryption key", credential.place()),
                "it has to be 32 bytes, as 64 hexadecimal digits or in base64; \
                 `openssl rand -hex 32` makes one",
            )
        })?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| failed())?;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"relay-pki encryption key id\0");
        context.update(&bytes);
        let mut id = HEXLOWER.encode(context.finish().as_ref());
        id.truncate(ID_DIGITS);
        Ok(Self { key, id })
    }

    fn encrypt(&self, holder: [&str; 3], key: &PrivateKey) -> Result<Vec<u8>, KeyStoreError> {
        let plain = key.pkcs8_der();
        // Room for the tag from the start: growing would leave a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_SIZE));
        text.extend_from_slice(plain);
        let context = context(holder, &self.id);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(context), &mut *text)
            .map_err(|_| failed())?;
        let entry = Entry {
            format: FORMAT.to_owned(),
            algorithm: ALGORITHM.to_owned(),
            key_id: self.id.clone(),
            nonce: BASE64.encode(nonce.as_ref()),
            ciphertext: BASE64.encode(&*text),
        };
        serde_json::to_vec_pretty(&entry).map_err(|_| failed())
    }

    fn decrypt(&self, holder: [&str; 3], entry: &Entry) -> Result<PrivateKey, KeyStoreError> {
        let broken = || KeyStoreError::Unusable {
            reason: format!(
                "it does not decrypt with key {}: it was changed, or it is the key of another \
                 generation",
                self.id
            ),
        };
        let nonce = BASE64.decode(&entry.nonce).map_err(|_| broken())?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| broken())?;
        let text = BASE64.decode(&entry.ciphertext).map_err(|_| broken())?;
        let mut text = Zeroizing::new(text);
        let context = context(holder, &self.id);
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(context), &mut text)
            .map_err(|_| broken())?;
        PrivateKey::from_der(plain).map_err(|_| broken())
    }
}

/// The entry of a Secret: it says itself what it is.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    format: String,
    algorithm: String,
    key_id: String,
    nonce: String,
    ciphertext: String,
}

impl Entry {
    fn parse(text: &[u8]) -> Result<Self, KeyStoreError> {
        let unusable = |reason: &str| KeyStoreError::Unusable {
            reason: reason.to_owned(),
        };
        let entry: Self = serde_json::from_slice(text)
            .map_err(|_| unusable("it is no encrypted key of relay-pki"))?;
        match entry.format == FORMAT && entry.algorithm == ALGORITHM {
            true => Ok(entry),
            false => Err(unusable(
                "it is encrypted in a way that this version does not know",
            )),
        }
    }
}

/// What is bound to an encrypted key without being secret: a key that is moved to another record
/// does not decrypt there.
fn context(holder: [&str; 3], key_id: &str) -> Vec<u8> {
    let mut context = Vec::new();
    for part in [FORMAT, ALGORITHM, key_id].into_iter().chain(holder) {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part.as_bytes());
    }
    context
}

/// 64 hexadecimal digits, or base64.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim_ascii();
    let bytes = match text.len() == 2 * KEY_SIZE {
        true => {
            let mut bytes = Zeroizing::new(vec![0; KEY_SIZE]);
            HEXLOWER_PERMISSIVE.decode_mut(text, &mut bytes).ok()?;
            bytes
        }
        false => Zeroizing::new(BASE64.decode(text).ok()?),
    };
    (bytes.len() == KEY_SIZE).then_some(bytes)
}

fn failed() -> KeyStoreError {
    KeyStoreError::Unavailable {
        reason: "encrypting the key failed".to_owned(),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#[path = "encryption/tests.rs"]
mod tests;
