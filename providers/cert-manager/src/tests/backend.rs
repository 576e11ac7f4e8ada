//! The backend of the conformance suite: a company's root behind an Issuer, and signers of ours.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::forge::{ForgedCa, hours};
use relay_pki_authority::conformance::{Fault, Fixture};
use relay_pki_authority::{KeyStore, Level, Provider};
use relay_pki_testbed as testbed;

use super::keys::{self, Secrets};
use super::place::{Place, existing};
use crate::settings::{IssuerRef, Settings};
use crate::{Access, CertManager};

/// One namespace and what is in it.
pub(super) struct Backend {
    pub(super) place: Arc<Place>,
    keys: Arc<dyn KeyStore>,
    company: ForgedCa,
    issuer: IssuerRef,
}

/// From a while ago, so that it is the root of an existing company.
pub(super) fn company() -> ForgedCa {
    let made = Timestamp::now() - SignedDuration::from_hours(24);
    ForgedCa::root("company root", hours(made, 24 * 365 * 10))
}

impl Backend {
    fn settings(&self) -> Settings {
        Settings {
            namespace: self.place.namespace.clone(),
            root: Some(existing(self.issuer.clone(), &self.company)),
            signer: None,
            secret: Some(keys::name),
            deadline: Duration::from_secs(600),
        }
    }

    fn provider_with(&self, settings: Settings) -> Arc<dyn Provider> {
        let access: Arc<dyn Access> = self.place.clone();
        let keys = self.keys.clone();
        Arc::new(CertManager::new("corp", settings, access, keys))
    }
}

#[async_trait]
impl Fixture for Backend {
    const BACKEND: &'static str = "cert-manager";

    async fn start() -> Self {
        let place = Place::approving().await;
        let company = company();
        Self {
            issuer: place.issuer("company-ca", &company),
            keys: Arc::new(Secrets::new(place.clone())),
            company,
            place,
        }
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        self.provider_with(self.settings())
    }

    async fn issued(&self) -> Option<usize> {
        Some(self.place.issued())
    }

    async fn calls(&self) -> usize {
        self.place.interceptor.requests().len()
    }

    async fn inject(&self, fault: Fault) -> bool {
        let interceptor = &self.place.interceptor;
        let always = usize::MAX;
        interceptor.inject(match fault {
            Fault::Unreachable => testbed::Fault::answer("", "", 503, always),
            Fault::ExpiredCredential => testbed::Fault::answer("", "", 401, always),
            Fault::LostReply => testbed::Fault::lose_reply("POST", "/certificaterequests", 1),
        });
        true
    }

    async fn heal(&self) {
        self.place.interceptor.relent();
    }
}

/// The company's root only; signers are elsewhere.
pub(super) struct RootOnly(Backend);

/// Signers of ours only; the root is elsewhere.
pub(super) struct SignerOnly(Backend);

macro_rules! as_backend {
    ($name:ident, $level:expr, $narrow:expr) => {
        #[async_trait]
        impl Fixture for $name {
            const BACKEND: &'static str = Backend::BACKEND;
            const LEVELS: &'static [Level] = &[$level];

            async fn start() -> Self {
                Self(Backend::start().await)
            }

            async fn provider(&self) -> Arc<dyn Provider> {
                let narrow: fn(&mut Settings) = $narrow;
                let mut settings = self.0.settings();
                narrow(&mut settings);
                self.0.provider_with(settings)
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

as_backend!(RootOnly, Level::Root, |settings| settings.secret = None);
as_backend!(SignerOnly, Level::Signer, |settings| settings.root = None);
