use std::fmt;

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, KeyType};

use crate::cluster::Version;
use crate::journal::Status;
use crate::relay::SecretRole;

/// One thing to do, and why. Idempotent: done again, it changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where it writes.
    pub cluster: String,
    /// What it does.
    pub action: Action,
    /// Why.
    pub cause: Cause,
}

impl Step {
    /// The provider that makes a CA in this step.
    pub(super) fn maker(&self) -> Option<&str> {
        match &self.action {
            Action::EstablishRoot { provider, .. } | Action::EstablishSigner { provider, .. } => {
                Some(provider)
            }
            _ => None,
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Takes over an existing root, with its private key where that is in reach.
    AdoptRoot {
        /// The generation it becomes.
        number: u32,
        /// The root.
        certificate: Certificate,
        /// Where its private key lies, and the provider that takes it.
        key: Option<KeySource>,
        /// Active, or only trusted.
        status: Status,
    },
    /// Takes over an existing signer.
    AdoptSigner {
        /// The generation it becomes.
        number: u32,
        /// The root generation above it.
        root: u32,
        /// The signer.
        certificate: Certificate,
        /// Where its private key lies, and the provider that takes it.
        key: KeySource,
    },
    /// Makes a root, or finishes making it, and activates it.
    EstablishRoot {
        /// The generation.
        number: u32,
        /// The provider that holds it.
        provider: String,
        /// Its key.
        key_type: KeyType,
    },
    /// Makes a signer under a root, or finishes making it, and activates it.
    EstablishSigner {
        /// The generation.
        number: u32,
        /// The root generation that certifies it.
        root: u32,
        /// The provider that holds it.
        provider: String,
        /// Its key.
        key_type: KeyType,
        /// The rotation request that it satisfies.
        request: u64,
    },
    /// Keeps the private key of a CA as the document says: encrypted, and with the current key.
    RewriteKey {
        /// Root or signer.
        level: Level,
        /// The generation.
        number: u32,
    },
    /// Writes a relay Secret.
    Put(Put),
}

/// A Secret to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// What it is for.
    pub role: SecretRole,
    /// Its name.
    pub name: String,
    /// What must be there when it is written; `None` for nothing.
    pub precondition: Option<Version>,
    /// What goes into it.
    pub content: Content,
    /// The rotation request that it satisfies.
    pub request: u64,
    /// Whether a private key that does not belong there is taken out.
    pub prune_key: bool,
}

/// What goes into a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A new key and a new certificate.
    Issue,
    /// What is there stays; the trust bundle beside it and the owner labels are brought up to date.
    Keep,
    /// The current trust bundle.
    Bundle,
    /// The active signer with its key.
    Signer,
    /// A new token.
    NewToken,
    /// The token of the management cluster.
    CopyToken,
}

/// Where the private key of a CA lies that is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// The Secret in the management cluster.
    pub secret: String,
    /// The provider that takes it.
    pub provider: String,
}

/// Why a step is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It is not there.
    Missing,
    /// It is there and was not ours.
    Adopted,
    /// It is unusable.
    Broken(String),
    /// It is not what it should be.
    Drifted(String),
    /// The document changed.
    Changed(String),
    /// Something that it depends on is replaced.
    Follows(&'static str),
    /// Somebody asked for it.
    Requested(u64),
    /// Its renewal time has come.
    Due(Timestamp),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Adopted => f.write_str("adopted"),
            Self::Broken(reason) => write!(f, "unusable: {reason}"),
            Self::Drifted(reason) | Self::Changed(reason) => f.write_str(reason),
            Self::Follows(what) => write!(f, "follows the new {what}"),
            Self::Requested(number) => write!(f, "requested (request {number})"),
            Self::Due(at) => write!(f, "renewal due since {at}"),
        }
    }
}
