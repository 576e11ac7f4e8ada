//! The composition root: the only place that names a concrete provider.

mod measured;
#[cfg(not(feature = "gcp-cas"))]
mod unsupported;

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{MemoryKeyStore, Provider, checked};
use relay_pki_self_signed::{Offline, SelfSigned};

use self::measured::Measured;
use crate::cluster::Cluster;
use crate::config::ProviderConfig;
use crate::journal::ClusterKeyStore;
use crate::metrics::Metrics;

/// The providers of a document, each behind its checks. `home` is the cluster where providers without
/// custody of their own keep CA keys, and where credentials lie that are Secrets.
pub fn open(
    providers: &BTreeMap<String, ProviderConfig>,
    home: &Arc<dyn Cluster>,
) -> BTreeMap<String, Arc<dyn Provider>> {
    providers
        .iter()
        .map(|(name, config)| {
            let provider: Arc<dyn Provider> = match config {
                ProviderConfig::SelfSigned { .. } => {
                    let keys = ClusterKeyStore::of(config, home);
                    Arc::new(SelfSigned::new(name, Arc::new(keys)))
                }
                ProviderConfig::Offline => Arc::new(Offline::new(name)),
                #[cfg(feature = "gcp-cas")]
                ProviderConfig::GcpCas(config) => Arc::new(gcp_cas(name, config, home)),
                #[cfg(not(feature = "gcp-cas"))]
                ProviderConfig::GcpCas(_) => Arc::new(unsupported::NotBuilt::new(name, "gcp-cas")),
            };
            (name.clone(), checked(provider))
        })
        .collect()
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

/// A provider that keeps nothing: for a ceremony on a machine of its own, and for rehearsals.
pub fn in_memory() -> Arc<dyn Provider> {
    let keys = Arc::new(MemoryKeyStore::default());
    checked(Arc::new(SelfSigned::new("memory", keys)))
}

#[cfg(feature = "gcp-cas")]
fn gcp_cas(
    name: &str,
    config: &crate::config::GcpCasConfig,
    home: &Arc<dyn Cluster>,
) -> relay_pki_gcp_cas::GoogleCas {
    let pool = &config.pool;
    let credentials = config.credentials.as_ref();
    let access = relay_pki_gcp_cas::Access {
        pool: relay_pki_gcp_cas::Pool::new(&pool.project, &pool.location, &pool.name),
        key: credentials.map(|source| crate::credential::open(source, home)),
        endpoint: config.endpoint.clone(),
    };
    relay_pki_gcp_cas::GoogleCas::new(name, access)
}
