use std::sync::Arc;
use std::time::Duration;

use relay_pki_authority::Credential;

/// Where a Vault server is, how one logs in, and what is used of it.
#[derive(Clone)]
pub struct VaultConfig {
    /// `https://vault.example.org:8200`, with or without a path below which Vault's API begins.
    pub address: String,
    /// The Vault namespace, where there are any.
    pub namespace: Option<String>,
    /// Where the PKI engine is mounted.
    pub mount: String,
    /// An issuer that exists already and is the root, by name or id. Without it the root is made.
    pub root_issuer: Option<String>,
    /// The roles that leaves are signed by.
    pub roles: Roles,
    /// How one logs in.
    pub auth: Auth,
    /// The CAs, PEM, that may have signed the server's TLS certificate; without it, those that the
    /// system trusts.
    pub ca_bundle: Option<Arc<dyn Credential>>,
    /// The certificate that we present to a server which asks for one.
    pub client_certificate: Option<ClientCertificate>,
    /// What the relay will ask for; decides what [`relay_pki_authority::Provider::check`] looks at.
    pub uses: Uses,
    /// Longest that one call may take.
    pub timeout: Duration,
}

/// The roles of the PKI engine, one for each kind of leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// For the relay server's certificate.
    pub server: String,
    /// For agents' certificates.
    pub agent: String,
}

/// How one logs in to Vault.
#[derive(Clone)]
pub enum Auth {
    /// A token that somebody made. It is renewed as long as Vault lets it.
    Token(Arc<dyn Credential>),
    /// An AppRole.
    AppRole {
        /// Where the method is mounted: `approle`.
        mount: String,
        /// The role's id.
        role_id: String,
        /// The secret id.
        secret_id: Arc<dyn Credential>,
    },
    /// A token of a Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted: `kubernetes`.
        mount: String,
        /// The role of the method.
        role: String,
        /// The service account's token.
        token: Arc<dyn Credential>,
    },
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, and what leads from it to the server's CA.
    pub certificate: Arc<dyn Credential>,
    /// The private key.
    pub key: Arc<dyn Credential>,
}

/// What a relay uses a provider for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses {
    /// The relay's name.
    pub relay: String,
    /// Whether it holds the root.
    pub root: bool,
    /// Whether it holds the signer: the longest lifetimes of what that is asked to sign.
    pub signer: Option<Lifetimes>,
}

/// The longest lifetimes that leaves are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of the relay server's certificate.
    pub server: Duration,
    /// Of agents' certificates; none where nobody gets one.
    pub agent: Option<Duration>,
}
