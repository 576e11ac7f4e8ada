//! The composition root: the only place that names a concrete provider.

#[cfg(feature = "aws-private-ca")]
mod aws_private_ca;
#[cfg(feature = "cert-manager")]
mod cert_manager;
#[cfg(feature = "gcp-cas")]
mod gcp_cas;
mod measured;
#[cfg(not(all(
    feature = "aws-private-ca",
    feature = "cert-manager",
    feature = "gcp-cas",
    feature = "vault"
)))]
mod unsupported;
#[cfg(feature = "vault")]
mod vault;

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{KeyStore, MemoryKeyStore, Provider, checked};
use relay_pki_self_signed::{Offline, SelfSigned};

use self::measured::Measured;
use crate::cluster::Cluster;
use crate::clusters::Opener;
use crate::config::{ProviderConfig, Relay};
use crate::journal::ClusterKeyStore;
use crate::metrics::Metrics;

/// What the providers of a document work with.
pub struct Surroundings<'a> {
    /// The document.
    pub relay: &'a Relay,
    /// The first management cluster: where providers without custody of their own keep CA keys, and
    /// where credentials lie that are Secrets.
    pub home: &'a Arc<dyn Cluster>,
    /// Opens the clusters that backends run in.
    pub opener: &'a Opener,
}

/// The providers of a document, each behind its checks. Nothing is connected yet.
pub fn open(surroundings: &Surroundings<'_>) -> BTreeMap<String, Arc<dyn Provider>> {
    let providers = surroundings.relay.providers.iter();
    providers
        .map(|(name, config)| (name.clone(), checked(provider(name, config, surroundings))))
        .collect()
}

fn provider(
    name: &str,
    config: &ProviderConfig,
    surroundings: &Surroundings<'_>,
) -> Arc<dyn Provider> {
    let keys = || Arc::new(ClusterKeyStore::of(config, surroundings.home));
    match config {
        ProviderConfig::SelfSigned { .. } => Arc::new(SelfSigned::new(name, keys())),
        ProviderConfig::Offline => Arc::new(Offline::new(name)),
        #[cfg(feature = "aws-private-ca")]
        ProviderConfig::AwsPrivateCa(config) => {
            Arc::new(aws_private_ca::open(name, config, surroundings))
        }
        #[cfg(not(feature = "aws-private-ca"))]
        ProviderConfig::AwsPrivateCa(_) => {
            Arc::new(unsupported::NotBuilt::new(name, "aws-private-ca"))
        }
        #[cfg(feature = "cert-manager")]
        ProviderConfig::CertManager(config) => {
            Arc::new(cert_manager::open(name, config, keys(), surroundings))
        }
        #[cfg(not(feature = "cert-manager"))]
        ProviderConfig::CertManager(_) => {
            Arc::new(unsupported::NotBuilt::new(name, "cert-manager"))
        }
        #[cfg(feature = "gcp-cas")]
        ProviderConfig::GcpCas(config) => Arc::new(gcp_cas::open(name, config, surroundings)),
        #[cfg(not(feature = "gcp-cas"))]
        ProviderConfig::GcpCas(_) => Arc::new(unsupported::NotBuilt::new(name, "gcp-cas")),
        #[cfg(feature = "vault")]
        ProviderConfig::Vault(config) => Arc::new(vault::open(name, config, surroundings)),
        #[cfg(not(feature = "vault"))]
        ProviderConfig::Vault(_) => Arc::new(unsupported::NotBuilt::new(name, "vault")),
    }
}

/// The same providers, every call to which is measured: outside the checks, so that an answer which
/// is not what was asked for counts as the failure that it is.
pub fn measured(
    opened: BTreeMap<String, Arc<dyn Provider>>,
    providers: &BTreeMap<String, ProviderConfig>,
    metrics: &Arc<Metrics>,
) -> BTreeMap<String, Arc<dyn Provider>> {
    opened
        .into_iter()
        .map(|(name, provider)| {
            let provider: Arc<dyn Provider> = match providers.get(&name) {
                Some(config) => Arc::new(Measured::new(provider, config.kind(), metrics.clone())),
                None => provider,
            };
            (name, provider)
        })
        .collect()
}

/// A provider that stands in for others in a rehearsal, with its CA keys in `keys`. Unchecked: CAs that were
/// taken over have certificates that no check lets through.
pub fn stand_in(name: &str, keys: Arc<dyn KeyStore>) -> Arc<dyn Provider> {
    Arc::new(SelfSigned::new(name, keys))
}

/// A provider that keeps nothing: for a ceremony on a machine of its own.
pub fn in_memory() -> Arc<dyn Provider> {
    let keys = Arc::new(MemoryKeyStore::default());
    checked(Arc::new(SelfSigned::new("memory", keys)))
}
