use std::fmt;
use std::sync::Arc;

use relay_pki_authority::Credential;

use crate::AuthorityArn;

/// Where the CAs are, how AWS is spoken to, and who we are. Without anything said about it that is
/// what the standard credential chain says: environment, profile, web identity, container, instance.
#[derive(Clone, Default)]
pub struct Settings {
    /// The region; that of `authority`, or else the one that the environment names.
    pub region: Option<String>,
    /// The one CA that exists already. Without it CAs are made, one for each generation.
    pub authority: Option<AuthorityArn>,
    /// Whether signers that are made are in short-lived certificate mode.
    pub short_lived: bool,
    /// Access keys, in the format of `~/.aws/credentials`, instead of the standard chain.
    pub credentials: Option<Arc<dyn Credential>>,
    /// The profile of the shared configuration files, or in `credentials`.
    pub profile: Option<String>,
    /// The ARN of a role to assume.
    pub role: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// Where the service is, if it is not where AWS says.
    pub endpoint: Option<String>,
    /// Certificates asked for in a second, at most; four fifths of the default quota if not set.
    pub issue_rate: Option<u32>,
}

impl Settings {
    /// The region, where the settings say it.
    pub(crate) fn region(&self) -> Option<&str> {
        let given = self.authority.as_ref().map(AuthorityArn::region);
        self.region.as_deref().or(given)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("region", &self.region)
            .field("authority", &self.authority)
            .field("role", &self.role)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
