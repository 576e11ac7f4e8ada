use super::{CredentialSource, Location};
use crate::config::Lifetime;

/// Settings of the cert-manager backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertManagerConfig {
    /// The CA that is the root.
    pub root: Option<ExistingCaConfig>,
    /// The CA that is the signer; without it signers are made.
    pub signer: Option<ExistingCaConfig>,
    /// How long a request may wait to be approved and signed.
    pub deadline: Lifetime,
    /// Where cert-manager runs, if not in the first management cluster.
    pub location: Option<Location>,
    /// The namespace of the requests, if not the relay's.
    pub namespace: Option<String>,
}

/// A CA behind an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingCaConfig {
    /// The issuer's API group.
    pub group: String,
    /// The issuer's kind.
    pub kind: String,
    /// The issuer's name.
    pub name: String,
    /// Its certificates up to its root.
    pub certificates: Certificates,
}

/// Certificates that the user vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificates {
    /// They are kept somewhere.
    Kept(CredentialSource),
    /// They are in the document.
    Pem(String),
}
