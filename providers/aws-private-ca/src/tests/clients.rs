//! Providers for accounts of the emulator.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use relay_pki_authority::{Credential, CredentialError};
use relay_pki_testbed::AwsAccount;
use zeroize::Zeroizing;

use crate::{AwsPrivateCa, Settings};

pub(super) const REGION: &str = "eu-central-1";

/// A credentials file in memory, and how often it was read.
pub(super) struct KeyFile {
    content: Mutex<String>,
    reads: Mutex<usize>,
}

impl KeyFile {
    pub(super) fn of(account: &AwsAccount) -> Arc<Self> {
        Self::with(&account.access_key, &account.secret_key)
    }

    pub(super) fn with(id: &str, secret: &str) -> Arc<Self> {
        let file = Self {
            content: Mutex::default(),
            reads: Mutex::default(),
        };
        file.replace(id, secret);
        Arc::new(file)
    }

    pub(super) fn replace(&self, id: &str, secret: &str) {
        let content =
            format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        *self.content.lock().unwrap() = content;
    }

    pub(super) fn reads(&self) -> usize {
        *self.reads.lock().unwrap()
    }
}

#[async_trait]
impl Credential for KeyFile {
    fn place(&self) -> String {
        "Secret aws-keys, key credentials".to_owned()
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        *self.reads.lock().unwrap() += 1;
        Ok(Zeroizing::new(
            self.content.lock().unwrap().clone().into_bytes(),
        ))
    }
}

/// A provider of an account, its settings changed by `change`.
pub(super) fn provider(account: &AwsAccount, change: impl FnOnce(&mut Settings)) -> AwsPrivateCa {
    let mut settings = Settings {
        region: Some(REGION.to_owned()),
        credentials: Some(KeyFile::of(account)),
        endpoint: Some(account.endpoint()),
        ..Settings::default()
    };
    change(&mut settings);
    AwsPrivateCa::new("aws", settings)
}
