use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use relay_pki_authority::conformance::{Fault, Fixture};
use relay_pki_authority::{Credential, CredentialError, Level, Provider};
use relay_pki_testbed::{Interceptor, Mode, Proxy, Vault};
use relay_pki_vault::{Auth, Lifetimes, Roles, Uses, VaultConfig};
use serde_json::json;
use zeroize::Zeroizing;

use crate::page;

/// A credential that a test can replace.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Mutex<String>>);

impl Kept {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(text.into())))
    }

    pub(crate) fn replace(&self, text: impl Into<String>) {
        *self.0.lock().unwrap() = text.into();
    }

    pub(crate) fn credential(&self) -> Arc<dyn Credential> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Credential for Kept {
    fn place(&self) -> String {
        "the test's drawer".to_owned()
    }

    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        Ok(Zeroizing::new(self.0.lock().unwrap().clone().into_bytes()))
    }
}

/// What a relay asks for that has both its CAs in one mount.
pub(crate) fn uses() -> Uses {
    Uses {
        relay: "conformance".to_owned(),
        root: true,
        signer: Some(Lifetimes {
            server: Duration::from_hours(24 * 90),
            agent: Some(Duration::from_hours(24 * 30)),
        }),
    }
}

pub(crate) fn config(vault: &Vault, mount: &str, auth: Auth) -> VaultConfig {
    VaultConfig {
        address: vault.url(),
        namespace: None,
        mount: mount.to_owned(),
        root_issuer: None,
        roles: Roles {
            server: "relay-server".to_owned(),
            agent: "relay-agent".to_owned(),
        },
        auth,
        ca_bundle: Some(Kept::new(vault.certificate_authority()).credential()),
        client_certificate: None,
        uses: uses(),
        timeout: Duration::from_secs(30),
    }
}

/// A mount of its own, with the roles and the policy of the docs page.
pub(crate) struct Backend {
    pub(crate) mount: String,
    policy: String,
    pub(crate) token: Kept,
    proxy: Proxy,
    interceptor: Interceptor,
}

impl Backend {
    pub(crate) fn begin(retiring: bool) -> Self {
        let vault = Vault::shared();
        let (mount, policy) = page::set_up(vault, retiring);
        Self {
            token: Kept::new(new_token(&policy)),
            mount,
            policy,
            proxy: Proxy::before(vault),
            interceptor: Interceptor::before(vault),
        }
    }

    pub(crate) fn interceptor(&self) -> &Interceptor {
        &self.interceptor
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// As the policy lets it, through the interceptor.
    pub(crate) fn config(&self) -> VaultConfig {
        VaultConfig {
            address: self.interceptor.url(),
            ..config(
                Vault::shared(),
                &self.mount,
                Auth::Token(self.token.credential()),
            )
        }
    }

    pub(crate) fn new_token(&self) -> String {
        new_token(&self.policy)
    }

    fn revoke(&self) {
        let token = self.token.0.lock().unwrap().clone();
        let body = json!({ "token": token });
        Vault::shared().admin("POST", "auth/token/revoke", &body);
    }
}

fn new_token(policy: &str) -> String {
    Vault::shared().token(&json!({
        "policies": [policy], "no_default_policy": true, "ttl": "1h", "no_parent": true,
    }))
}

#[async_trait]
impl Fixture for Backend {
    const BACKEND: &'static str = "Vault";

    async fn start() -> Self {
        tokio::task::spawn_blocking(|| Self::begin(true))
            .await
            .unwrap()
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(relay_pki_vault::Vault::new("corp", self.config()))
    }

    async fn issued(&self) -> Option<usize> {
        Some(Vault::shared().issued(&self.mount).len())
    }

    async fn calls(&self) -> usize {
        self.interceptor.requests().len()
    }

    async fn inject(&self, fault: Fault) -> bool {
        match fault {
            Fault::Unreachable => {
                let answer = relay_pki_testbed::Fault::answer("", "", 503, usize::MAX);
                self.interceptor.inject(answer);
            }
            Fault::ExpiredCredential => self.revoke(),
            Fault::LostReply => {
                let lose = relay_pki_testbed::Fault::lose_reply("POST", "/sign", 1);
                self.interceptor.inject(lose);
            }
        }
        true
    }

    async fn heal(&self) {
        self.proxy.set(Mode::Pass);
        self.interceptor.relent();
        self.token.replace(self.new_token());
    }
}

/// The same as a root only.
pub(crate) struct RootOnly(Backend);

/// The same as a signer only.
pub(crate) struct SignerOnly(Backend);

macro_rules! as_backend {
    ($name:ident, $level:expr, $root:literal) => {
        #[async_trait]
        impl Fixture for $name {
            const BACKEND: &'static str = Backend::BACKEND;
            const LEVELS: &'static [Level] = &[$level];

            async fn start() -> Self {
                Self(Backend::start().await)
            }

            async fn provider(&self) -> Arc<dyn Provider> {
                let mut config = self.0.config();
                match $root {
                    true => config.uses.signer = None,
                    false => config.uses.root = false,
                }
                Arc::new(relay_pki_vault::Vault::new("corp", config))
            }

            async fn issued(&self) -> Option<usize> {
                self.0.issued().await
            }

            async fn calls(&self) -> usize {
                self.0.calls().await
            }

            async fn inject(&self, fault: Fault) -> bool {
                self.0.inject(fault).await
            }

            async fn heal(&self) {
                self.0.heal().await;
            }
        }
    };
}

as_backend!(RootOnly, Level::Root, true);
as_backend!(SignerOnly, Level::Signer, false);
