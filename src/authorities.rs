//! The composition root: the only place that names a concrete provider.

mod measured;

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{KeyStore, Provider, checked};
use relay_pki_self_signed::SelfSigned;

use self::measured::Measured;
use crate::config::ProviderConfig;
use crate::metrics::Metrics;

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
