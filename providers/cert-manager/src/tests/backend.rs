//! The backend of the conformance suite: a company's root behind an Issuer, and signers of ours.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::forge::{ForgedCa, hours};
use relay_pki_authority::conformance::{Fault, Fixture};
use relay_pki_authority::{KeyStore, Provider};
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

#[async_trait]
impl Fixture for Backend {
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
        let settings = Settings {
            namespace: self.place.namespace.clone(),
            root: Some(existing(self.issuer.clone(), &self.company)),
            signer: None,
            secret: Some(keys::name),
            deadline: Duration::from_secs(600),
        };
        let access: Arc<dyn Access> = self.place.clone();
        let keys = self.keys.clone();
        Arc::new(CertManager::new("corp", settings, access, keys))
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
