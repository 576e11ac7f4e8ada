//! The composition root: the only place that names a concrete provider.

#[cfg(not(feature = "vault"))]
mod left_out;
#[cfg(feature = "vault")]
mod vault;

use std::collections::BTreeMap;
use std::sync::Arc;

use relay_pki_authority::{KeyStore, Provider, checked};
use relay_pki_self_signed::SelfSigned;

use crate::cluster::Cluster;
use crate::config::{ProviderConfig, Relay};

/// The providers of a relay, each behind its checks. `keys` is where providers without custody of
/// their own keep CA keys; the Secrets of `home` are where the others find their credentials.
#[cfg_attr(
    not(feature = "vault"),
    expect(unused_variables, reason = "needed by backends that are left out")
)]
pub fn open(
    relay: &Relay,
    home: &Arc<dyn Cluster>,
    keys: &Arc<dyn KeyStore>,
) -> BTreeMap<String, Arc<dyn Provider>> {
    relay
        .providers
        .iter()
        .map(|(name, config)| {
            let provider: Arc<dyn Provider> = match config {
                ProviderConfig::SelfSigned { .. } => Arc::new(SelfSigned::new(name, keys.clone())),
                #[cfg(feature = "vault")]
                ProviderConfig::Vault(config) => vault::open(relay, name, config, home),
                #[cfg(not(feature = "vault"))]
                ProviderConfig::Vault(_) => Arc::new(left_out::LeftOut::new(name, "vault")),
            };
            (name.clone(), checked(provider))
        })
        .collect()
}
