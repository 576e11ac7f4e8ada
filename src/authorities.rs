//! The composition root: the only place that names a concrete provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{KeyStore, Provider, checked};
use relay_pki_self_signed::SelfSigned;

use crate::config::ProviderConfig;

/// The providers of a document, each behind its checks. `keys` is where providers without custody of
/// their own keep CA keys.
pub fn open(
    providers: &BTreeMap<String, ProviderConfig>,
    keys: &Arc<dyn KeyStore>,
) -> BTreeMap<String, Arc<dyn Provider>> {
    providers
        .iter()
        .map(|(name, config)| {
            let provider: Arc<dyn Provider> = match config {
                ProviderConfig::SelfSigned { .. } => Arc::new(SelfSigned::new(name, keys.clone())),
            };
            (name.clone(), checked(provider))
        })
        .collect()
}
