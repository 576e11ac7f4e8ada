//! The composition root: the only place that names a concrete provider.

#[cfg(not(feature = "gcp-cas"))]
mod unsupported;

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{KeyStore, Provider, checked};
use relay_pki_self_signed::SelfSigned;

use crate::cluster::Cluster;
use crate::config::ProviderConfig;

/// The providers of a document, each behind its checks. `keys` is where providers without custody of
/// their own keep CA keys; Secrets with credentials are those of `home`.
pub fn open(
    providers: &BTreeMap<String, ProviderConfig>,
    keys: &Arc<dyn KeyStore>,
    home: &Arc<dyn Cluster>,
) -> BTreeMap<String, Arc<dyn Provider>> {
    // Which backends ask for credentials is a matter of features.
    let _ = home;
    providers
        .iter()
        .map(|(name, config)| {
            let provider: Arc<dyn Provider> = match config {
                ProviderConfig::SelfSigned { .. } => Arc::new(SelfSigned::new(name, keys.clone())),
                #[cfg(feature = "gcp-cas")]
                ProviderConfig::GcpCas(config) => Arc::new(gcp_cas(name, config, home)),
                #[cfg(not(feature = "gcp-cas"))]
                ProviderConfig::GcpCas(_) => Arc::new(unsupported::NotBuilt::new(name, "gcp-cas")),
            };
            (name.clone(), checked(provider))
        })
        .collect()
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
