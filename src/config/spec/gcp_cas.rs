use super::CredentialSource;

/// Settings of a Google Certificate Authority Service provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpCasConfig {
    /// The pool of the CAs.
    pub pool: GcpPool,
    /// Where a service account's key is kept, if it is not the workload's identity that counts.
    pub credentials: Option<CredentialSource>,
    /// The URL of the service, if it is not the usual one.
    pub endpoint: Option<String>,
}

/// The parts of a CA pool's resource name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpPool {
    /// The project's id or number.
    pub project: String,
    /// The location, `europe-west1` for example.
    pub location: String,
    /// The pool's name there.
    pub name: String,
}
