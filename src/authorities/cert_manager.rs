//! The provider of cert-manager, with what it needs of us.

use std::sync::Arc;

use async_trait::async_trait;
use kube::Client;
use relay_pki_authority::{Credential, KeyStore};
use relay_pki_cert_manager::{Access, AccessError, CertManager, ExistingCa, IssuerRef, Settings};

use super::Surroundings;
use crate::cluster::{ClusterError, KubernetesCluster};
use crate::config::{CertManagerConfig, Certificates, ExistingCaConfig};
use crate::credential;
use crate::journal::GenerationRecord;

/// The cluster that cert-manager runs in.
struct Place(KubernetesCluster);

#[async_trait]
impl Access for Place {
    async fn client(&self) -> Result<Client, AccessError> {
        self.0.client().await.map_err(|error| match error {
            ClusterError::Unavailable { .. } => AccessError::Unavailable(error.to_string()),
            error => AccessError::Unusable(error.to_string()),
        })
    }

    fn forget(&self) {
        self.0.forget_credentials();
    }
}

pub(super) fn open(
    name: &str,
    config: &CertManagerConfig,
    keys: Arc<dyn KeyStore>,
    surroundings: &Surroundings<'_>,
) -> CertManager {
    let Surroundings {
        relay,
        home,
        opener,
    } = *surroundings;
    let at_home = relay.home();
    let namespace = config.namespace.as_ref().unwrap_or(&at_home.namespace);
    let cluster = match &config.location {
        Some(location) => opener.kubernetes_at(relay, name, namespace, location, Some(home)),
        None => {
            let cluster = at_home.name.as_str();
            opener.kubernetes_at(relay, cluster, namespace, &at_home.location, None)
        }
    };
    // Elsewhere an Issuer would look in vain for the Secrets of the key store.
    let is_home = config.location.is_none() && *namespace == at_home.namespace;
    let existing = |level: &str, config: &Option<ExistingCaConfig>| {
        let place = format!("spec.providers.{name}.certManager.{level}.pem");
        config.as_ref().map(|config| ExistingCa {
            issuer: IssuerRef {
                group: config.group.clone(),
                kind: config.kind.clone(),
                name: config.name.clone(),
            },
            certificates: match &config.certificates {
                Certificates::Kept(source) => credential::open(source, home),
                Certificates::Pem(text) => credential::written(place, text),
            } as Arc<dyn Credential>,
        })
    };
    let settings = Settings {
        namespace: namespace.clone(),
        root: existing("root", &config.root),
        signer: existing("signer", &config.signer),
        secret: is_home.then_some(GenerationRecord::object_name),
        deadline: config.deadline.duration().unsigned_abs(),
    };
    CertManager::new(name, settings, Arc::new(Place(cluster)), keys)
}
