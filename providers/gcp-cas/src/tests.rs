//! Against the emulator of `tests/testbed/gcp`.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use relay_pki_authority::conformance::{Fault, Fixture};
use relay_pki_authority::{Credential, CredentialError, Provider};
use relay_pki_testbed::{GoogleCas as Emulator, GoogleProject};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{Access, GoogleCas, Pool};

mod faults;
mod setup;
mod units;

/// A project of the emulator.
struct Backend(GoogleProject);

#[async_trait]
impl Fixture for Backend {
    const BACKEND: &'static str = "Google CAS";

    async fn start() -> Self {
        // What the documented quota allows in a minute, a case needs in a second.
        let wanted = json!({
            "operationSeconds": 0.1,
            "quotas": { "certificateAuthorities.create": 50 },
        });
        Self(Emulator::shared().project_with(&wanted))
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(provider(&self.0))
    }

    async fn issued(&self) -> Option<usize> {
        Some(self.0.issued())
    }

    async fn calls(&self) -> usize {
        self.0.requests().len()
    }

    async fn inject(&self, fault: Fault) -> bool {
        match fault {
            Fault::Unreachable => self.0.disturb(&json!({ "effect": "cut" })),
            Fault::ExpiredCredential => self.0.accept_credential(false),
            Fault::LostReply => self.0.disturb(&json!({
                "effect": "cut", "when": "after", "method": "certificates.create", "times": 1,
            })),
        }
        true
    }

    async fn heal(&self) {
        self.0.calm();
        self.0.accept_credential(true);
    }
}

relay_pki_authority::authority_conformance!(Backend);

mod as_root {
    use relay_pki_authority::conformance::RootOnly;

    use super::Backend;

    relay_pki_authority::authority_conformance!(RootOnly<Backend>);
}

mod as_signer {
    use relay_pki_authority::conformance::SignerOnly;

    use super::Backend;

    relay_pki_authority::authority_conformance!(SignerOnly<Backend>);
}

/// The provider with the key of the project's service account.
fn provider(project: &GoogleProject) -> GoogleCas {
    provider_with(project, Arc::new(Key::new(project.key())))
}

fn provider_with(project: &GoogleProject, key: Arc<dyn Credential>) -> GoogleCas {
    let access = Access {
        pool: pool(project.pool()),
        key: Some(key),
        endpoint: Some(project.endpoint()),
    };
    GoogleCas::new("google", access)
}

/// A key file that can be replaced.
struct Key(Mutex<String>);

impl Key {
    fn new(text: &str) -> Self {
        Self(Mutex::new(text.to_owned()))
    }

    fn replace(&self, text: String) {
        *self.0.lock().unwrap() = text;
    }
}

#[async_trait]
impl Credential for Key {
    fn place(&self) -> String {
        "Secret google, key key.json".to_owned()
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        Ok(Zeroizing::new(self.0.lock().unwrap().clone().into_bytes()))
    }
}

/// From a resource name.
fn pool(name: &str) -> Pool {
    let parts: Vec<&str> = name.split('/').collect();
    Pool::new(parts[1], parts[3], parts[5])
}
