//! The composition root: the only place that names a concrete provider.

#[cfg(not(feature = "aws-private-ca"))]
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
                #[cfg(feature = "aws-private-ca")]
                ProviderConfig::AwsPrivateCa(config) => {
                    Arc::new(aws_private_ca(name, config, home))
                }
                #[cfg(not(feature = "aws-private-ca"))]
                ProviderConfig::AwsPrivateCa(_) => {
                    Arc::new(unsupported::NotBuilt::new(name, "aws-private-ca"))
                }
            };
            (name.clone(), checked(provider))
        })
        .collect()
}

#[cfg(feature = "aws-private-ca")]
fn aws_private_ca(
    name: &str,
    config: &crate::config::AwsPrivateCaConfig,
    home: &Arc<dyn Cluster>,
) -> relay_pki_aws_private_ca::AwsPrivateCa {
    use relay_pki_aws_private_ca::{AuthorityArn, AwsPrivateCa, Settings};

    let authority = config.certificate_authority.as_ref();
    let settings = Settings {
        region: config.region.clone(),
        authority: authority
            .map(|ca| AuthorityArn::new(&ca.partition, &ca.region, &ca.account, &ca.id)),
        short_lived: config.usage_mode == crate::config::UsageMode::ShortLived,
        credentials: config
            .credentials
            .as_ref()
            .map(|source| crate::credential::open(source, home)),
        profile: config.profile.clone(),
        role: config.role_arn.clone(),
        external_id: config.external_id.clone(),
        endpoint: config.endpoint.clone(),
        issue_rate: config.certificates_per_second,
    };
    AwsPrivateCa::new(name, settings)
}
