use schemars::JsonSchema;
use serde::Deserialize;

use super::super::located::{Located, Text};
use super::super::spec::UsageMode;
use super::{
    AwsAuthorityArn, AwsProfile, AwsRegion, AwsRoleArn, Credential, ExternalId, ServiceUrl,
};

/// Settings of the AWS Private CA backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in super::super) struct AwsPrivateCa {
    /// The region of the CAs. Without it that of `certificateAuthority`, or the one that the environment
    /// of relay-pki names.
    pub(in super::super) region: Option<Text<AwsRegion>>,
    /// The ARN of a CA that exists already, to be used as it is. Without it relay-pki makes a CA for
    /// each generation.
    pub(in super::super) certificate_authority: Option<Text<AwsAuthorityArn>>,
    /// The mode of signers that relay-pki makes. In `short-lived` mode they cost less and issue for 7
    /// days at most.
    #[schemars(extend("default" = "general-purpose"))]
    pub(in super::super) usage_mode: Option<Text<UsageMode>>,
    /// Access keys, in the format of `~/.aws/credentials`. Without them AWS's standard credential chain
    /// says who relay-pki is.
    pub(in super::super) credentials: Option<Located<Credential>>,
    /// The profile in `credentials`, or else in the shared configuration files of AWS.
    /// A Relay of the API that has it needs `credentials`, too.
    pub(in super::super) profile: Option<Text<AwsProfile>>,
    /// The ARN of a role to assume.
    pub(in super::super) role_arn: Option<Text<AwsRoleArn>>,
    /// The external id that the role asks for.
    pub(in super::super) external_id: Option<Text<ExternalId>>,
    /// The URL of the service, if it is not where AWS has it: that of a VPC endpoint, for example.
    /// A Relay of the API that has it is refused: set `AWS_ENDPOINT_URL_ACM_PCA` for the controller.
    pub(in super::super) endpoint: Option<Text<ServiceUrl>>,
    /// The most certificates that are asked for in a second: less than the quota of the account, which
    /// is 25 unless AWS raised it.
    #[schemars(range(min = 1, max = 1000), extend("default" = 20))]
    pub(in super::super) certificates_per_second: Option<Text<u32>>,
}
