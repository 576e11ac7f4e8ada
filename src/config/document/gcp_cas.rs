use schemars::JsonSchema;
use serde::Deserialize;

use super::super::located::{Located, Text};
use super::{Credential, GcpPoolName, GcpUrl};

/// Settings of the Google Certificate Authority Service backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in super::super) struct GcpCas {
    /// The CA pool: `projects/PROJECT/locations/LOCATION/caPools/NAME`. relay-pki makes a CA in it for
    /// each generation.
    pub(in super::super) pool: Text<GcpPoolName>,
    /// The key file of a service account. Without it Application Default Credentials say who relay-pki
    /// is: the workload's identity, or what `GOOGLE_APPLICATION_CREDENTIALS` names.
    pub(in super::super) credentials: Option<Located<Credential>>,
    /// The URL of the service, if it is not Google's public one: that of a Private Service Connect
    /// endpoint, for example.
    pub(in super::super) endpoint: Option<Text<GcpUrl>>,
}
