use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;

use super::super::error::ValueError;
use super::super::structure::suggestion;
use super::{CredentialSource, Lifetime};

/// Settings of an AWS Private CA provider.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsPrivateCaConfig {
    /// The region, if it is not the CA's or the environment's.
    pub region: Option<String>,
    /// The CA that exists already.
    pub certificate_authority: Option<AwsAuthority>,
    /// The mode of signers that are made.
    pub usage_mode: UsageMode,
    /// Where access keys are kept, if not where AWS's standard credential chain looks.
    pub credentials: Option<CredentialSource>,
    /// The profile in them, or in the shared configuration files.
    pub profile: Option<String>,
    /// The ARN of a role to assume.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// The URL of the service, if it is not the usual one.
    pub endpoint: Option<String>,
    /// Most certificates in a second.
    pub certificates_per_second: Option<u32>,
}

/// The parts of a CA's ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsAuthority {
    /// `aws`, `aws-cn`, `aws-us-gov`, ….
    pub partition: String,
    /// The region.
    pub region: String,
    /// The account's number.
    pub account: String,
    /// The CA's id.
    pub id: String,
}

/// What signers of AWS Private CA are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UsageMode {
    /// Certificates of any lifetime.
    #[default]
    GeneralPurpose,
    /// Certificates of 7 days at most, for less money.
    ShortLived,
}

impl UsageMode {
    /// <https://docs.aws.amazon.com/privateca/latest/userguide/short-lived-certificates.html>
    pub(in super::super) fn longest_leaf(self) -> Option<Lifetime> {
        (self == Self::ShortLived).then_some(Lifetime::days(7))
    }
}

words!(UsageMode, "usage mode", "general-purpose" => GeneralPurpose, "short-lived" => ShortLived);
