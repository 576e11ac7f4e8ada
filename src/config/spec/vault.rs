use super::CredentialSource;

/// CAs in the PKI engine of a Vault server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultConfig {
    /// The server's address; only on the loopback interface without TLS.
    pub address: String,
    /// The Vault namespace.
    pub namespace: Option<String>,
    /// Where the PKI engine is mounted.
    pub mount: String,
    /// The issuer that exists already and is the root; the root is made if there is none.
    pub root_issuer: Option<String>,
    /// The role of the relay server's certificate.
    pub server_role: String,
    /// The role of the agents' certificates.
    pub agent_role: String,
    /// How one logs in.
    pub auth: VaultAuth,
    /// The CAs of the server's certificate; the system's if there is none.
    pub ca_bundle: Option<CredentialSource>,
    /// Our certificate and its key, where the server asks for one.
    pub client_certificate: Option<(CredentialSource, CredentialSource)>,
}

/// How one logs in to Vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultAuth {
    /// A token.
    Token(CredentialSource),
    /// An AppRole.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role's id.
        role_id: String,
        /// The secret id.
        secret_id: CredentialSource,
    },
    /// A token of a Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted.
        mount: String,
        /// The role of the method.
        role: String,
        /// The token.
        token: CredentialSource,
    },
}
