//! The provider of AWS Private CA, with what it needs of us.

use relay_pki_aws_private_ca::{AuthorityArn, AwsPrivateCa, Settings};

use super::Surroundings;
use crate::config::{AwsPrivateCaConfig, UsageMode};
use crate::credential;

pub(super) fn open(
    name: &str,
    config: &AwsPrivateCaConfig,
    surroundings: &Surroundings<'_>,
) -> AwsPrivateCa {
    let authority = config.certificate_authority.as_ref();
    let credentials = config.credentials.as_ref();
    let settings = Settings {
        region: config.region.clone(),
        authority: authority
            .map(|ca| AuthorityArn::new(&ca.partition, &ca.region, &ca.account, &ca.id)),
        short_lived: config.usage_mode == UsageMode::ShortLived,
        credentials: credentials.map(|source| credential::open(source, surroundings.home)),
        profile: config.profile.clone(),
        role: config.role_arn.clone(),
        external_id: config.external_id.clone(),
        endpoint: config.endpoint.clone(),
        issue_rate: config.certificates_per_second,
    };
    AwsPrivateCa::new(name, settings)
}
