//! The composition root: the only place that names a concrete provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{Provider, checked};
use relay_pki_self_signed::SelfSigned;

use crate::cluster::Cluster;
use crate::config::ProviderConfig;
use crate::journal::ClusterKeyStore;

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
            };
            (name.clone(), checked(provider))
        })
        .collect()
}
