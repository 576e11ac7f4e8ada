//! The composition root: the only place that names a concrete provider.

#[cfg(not(feature = "cert-manager"))]
mod absent;
#[cfg(feature = "cert-manager")]
mod cert_manager;

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{KeyStore, Provider, checked};
use relay_pki_self_signed::SelfSigned;

use crate::cluster::Cluster;
use crate::clusters::Opener;
use crate::config::{ProviderConfig, Relay};

/// What the providers of a document work with.
pub struct Surroundings<'a> {
    /// The document.
    pub relay: &'a Relay,
    /// The first management cluster.
    pub home: &'a Arc<dyn Cluster>,
    /// Where providers without custody of their own keep CA keys.
    pub keys: &'a Arc<dyn KeyStore>,
    /// Opens the clusters that backends run in.
    pub opener: &'a Opener,
}

/// The providers of a document, each behind its checks. Nothing is connected yet.
pub fn open(surroundings: &Surroundings<'_>) -> BTreeMap<String, Arc<dyn Provider>> {
    let providers = surroundings.relay.providers.iter();
    providers
        .map(|(name, config)| {
            let provider: Arc<dyn Provider> = match config {
                ProviderConfig::SelfSigned { .. } => {
                    Arc::new(SelfSigned::new(name, surroundings.keys.clone()))
                }
                #[cfg(feature = "cert-manager")]
                ProviderConfig::CertManager(config) => {
                    Arc::new(cert_manager::open(name, config, surroundings))
                }
                #[cfg(not(feature = "cert-manager"))]
                ProviderConfig::CertManager(_) => {
                    Arc::new(absent::Absent::new(name, "cert-manager"))
                }
            };
            (name.clone(), checked(provider))
        })
        .collect()
}
