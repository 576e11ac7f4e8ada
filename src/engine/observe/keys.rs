//! How the private keys of CAs are kept, against what the document says.

use std::collections::BTreeMap;

use relay_pki_authority::KeyStoreError;

use super::super::observed::{KeptKey, KeyObjection};
use super::super::{CALL_TIMEOUT, Fleet};
use crate::cluster::{ClusterError, Object, ObjectKey, Stored};
use crate::config::ProviderConfig;
use crate::journal::{GenerationRecord, Journal, KEEP_ENCRYPTION, KeyForm, keyring};
use crate::relay::{Owner, owner_of};
use crate::transcript::key_name;

/// What the document says about the keys of a provider.
enum Wanted {
    /// There is no encryption key.
    Clear,
    /// Encrypted with the key of this name.
    Encrypted(String),
    /// The encryption key cannot be had.
    Unknown(KeyStoreError),
}

/// Keys that are not kept as the document says.
pub(super) async fn objections(
    fleet: &Fleet,
    journal: &Journal,
    stored: &[Stored],
) -> Result<Vec<KeyObjection>, ClusterError> {
    let relay = &fleet.relay;
    let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
    for (name, provider) in &relay.providers {
        if matches!(provider, ProviderConfig::SelfSigned { .. }) {
            wanted.insert(name, want(fleet, provider).await?);
        }
    }
    let secret = |name: String| {
        let key = ObjectKey::secret(name);
        let mut objects = stored.iter().map(|stored| &stored.object);
        objects.find(|object| object.key == key && owner_of(object, &relay.name) == Owner::Us)
    };
    let mut objections = Vec::new();
    let records = journal.roots.values().chain(journal.signers.values());
    for record in records.map(|kept| &kept.record) {
        let wanted = record.provider.as_deref().and_then(|name| wanted.get(name));
        let name = GenerationRecord::object_name(&record.generation(&relay.name));
        let (Some(wanted), Some(object)) = (wanted, secret(name)) else {
            continue;
        };
        if let Some((what, remedy)) = objection(object, wanted) {
            objections.push(KeyObjection {
                key: KeptKey::Authority {
                    level: record.level,
                    number: record.number,
                },
                what,
                remedy,
            });
        }
    }
    // As the keys of the first provider that encrypts its own.
    let mut encrypting = wanted.values();
    let encrypting = encrypting.find(|wanted| !matches!(wanted, Wanted::Clear));
    if let Some(object) = secret(key_name(&relay.name))
        && let Some((what, remedy)) = objection(object, encrypting.unwrap_or(&Wanted::Clear))
    {
        objections.push(KeyObjection {
            key: KeptKey::Transcript,
            what,
            remedy,
        });
    }
    Ok(objections)
}

async fn want(fleet: &Fleet, provider: &ProviderConfig) -> Result<Wanted, ClusterError> {
    let Some(keyring) = keyring(provider, fleet.home()?) else {
        return Ok(Wanted::Clear);
    };
    let read = tokio::time::timeout(CALL_TIMEOUT, keyring.current_id()).await;
    Ok(match read {
        Ok(Ok(key_id)) => Wanted::Encrypted(key_id),
        Ok(Err(error)) => Wanted::Unknown(error),
        Err(_) => Wanted::Unknown(KeyStoreError::Unavailable {
            reason: format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
        }),
    })
}

/// What is wrong, and what a person has to do about it.
fn objection(object: &Object, wanted: &Wanted) -> Option<(String, Option<String>)> {
    let form = match KeyForm::of(object) {
        Ok(form) => form?,
        Err(error) => {
            let remedy = "restore the Secret from a backup, or rotate to a new generation";
            return Some((error.to_string(), Some(remedy.to_owned())));
        }
    };
    match (form, wanted) {
        (KeyForm::Clear, Wanted::Clear) => None,
        (KeyForm::Encrypted { key_id }, Wanted::Encrypted(current)) if key_id == *current => None,
        (KeyForm::Encrypted { key_id }, Wanted::Encrypted(current)) => {
            let what = format!("it is encrypted with key {key_id}, the current one is {current}");
            Some((what, None))
        }
        (KeyForm::Clear, Wanted::Encrypted(_)) => Some(("it is not encrypted".to_owned(), None)),
        (KeyForm::Encrypted { key_id }, Wanted::Clear) => Some((
            format!("it is encrypted with key {key_id}, and its provider has no encryption key"),
            Some(KEEP_ENCRYPTION.to_owned()),
        )),
        (_, Wanted::Unknown(error)) => Some((
            error.to_string(),
            Some(match error {
                KeyStoreError::Locked { remedy, .. } => remedy.clone(),
                _ => "run the same command again".to_owned(),
            }),
        )),
    }
}
