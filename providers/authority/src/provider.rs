use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::x509::{
    Certificate, CertificateChain, KeyType, PrivateKey, Subject, TrustBundle, Validity, VerifiedCsr,
};
use crate::{Authority, AuthorityError};
use async_trait::async_trait;

/// A backend that holds CAs: several generations of roots, of signers, or of both.
///
/// Every operation may be repeated. Asked again for a generation that exists, a provider answers
/// with that generation and makes nothing.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The name in the document.
    fn name(&self) -> &str;

    /// What this backend can do.
    fn capabilities(&self) -> &Capabilities;

    /// Cheap probe: reachable, authenticated, permitted.
    async fn check(&self) -> Result<(), AuthorityError>;

    /// Makes the root of a generation, or finds it again.
    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError>;

    /// Makes the key of a signer generation, or finds it again, and proves its possession.
    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError>;

    /// Proves possession of the key of a root, so that another root can certify it
    /// ([`crate::Profile::Root`]). Only where [`Capabilities::requests_roots`].
    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        let _ = subject;
        Err(self.unsupported(format!("a certificate request of {generation}")))
    }

    /// Gives a prepared signer its certificate (first in `chain`) and what leads to the root.
    /// `anchors` are the roots that the chain ends in: some backends want it whole.
    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError>;

    /// A signer that exists in the backend and is used as it is: its certificate and what leads to
    /// the root, without it. There is nothing to prepare and nothing to install then.
    async fn existing_signer(
        &self,
        generation: &Generation,
    ) -> Result<Option<CertificateChain>, AuthorityError> {
        let _ = generation;
        Ok(None)
    }

    /// Opens a CA. `anchors` are the roots that its chains must end in, as our own records say,
    /// never as the backend says.
    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError>;

    /// Takes over a CA that exists outside. Only where [`Capabilities::custody`] is local.
    async fn import(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        let _ = (key, chain);
        Err(self.unsupported(format!("taking over the key of {generation}")))
    }

    /// The private key of a CA, for a relay server that signs by itself. Only where
    /// [`Capabilities::custody`] is local.
    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        Err(self.unsupported(format!("handing out the key of {generation}")))
    }

    /// Sees to it that a CA signs no more, in a way that a person can undo in the backend. Disabled already,
    /// and absent, is success. Only where [`Capabilities::disables`].
    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        Err(self.unsupported(format!("disabling {generation}")))
    }

    /// Destroys a CA's private key. Absent already is success.
    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError>;

    /// The error for an ability that this backend lacks.
    fn unsupported(&self, what: String) -> AuthorityError {
        AuthorityError::Unsupported {
            authority: format!("provider {}", self.name()),
            what,
        }
    }
}

/// What a backend can do, as data: the plan decides on it before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Key types that its CAs can have.
    pub ca_key_types: Vec<KeyType>,
    /// Key types that it signs certificates for.
    pub subject_key_types: Vec<KeyType>,
    /// Where CA keys are.
    pub custody: Custody,
    /// Whether certificates cost or count.
    pub metering: Metering,
    /// What it is asked for when all goes well.
    pub calls: Calls,
    /// Whether it may answer "pending".
    pub asynchronous: bool,
    /// Whether a signer that has its certificate can be given another one for the same key, and still
    /// shows its request. Without it, a new root needs a new signer.
    pub recertifies_signers: bool,
    /// Whether its roots can certify the key of another root ([`crate::Profile::Root`]).
    pub cross_certificates: bool,
    /// Whether its roots can show a request for a certificate of another root.
    pub requests_roots: bool,
    /// What it does about certificates that are revoked.
    pub revocation: Revocation,
    /// How it is told what to issue.
    pub dialect: Dialect,
    /// Where its roots come from.
    pub roots: Roots,
    /// Whether it can disable a CA without destroying its key.
    pub disables: bool,
}

/// Fewest calls that the backend gets, if nothing goes wrong and it is never too early to ask: to log
/// in is not among them, nor to look at what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// To make a root.
    pub root: usize,
    /// To make a signer's key and to give it its certificate, which is [`Self::certificate`] of whoever
    /// certifies it.
    pub signer: usize,
    /// To obtain a certificate.
    pub certificate: usize,
}

impl Calls {
    /// Those of a backend that nobody is called for.
    pub const NONE: Self = Self {
        root: 0,
        signer: 0,
        certificate: 0,
    };
}

/// What a backend does about certificates that are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// Nothing: a certificate is good until it ends.
    Never,
    /// It signs lists of what we say is revoked, and knows nothing of it otherwise
    /// ([`Authority::revocation_list`]).
    Signs,
    /// It keeps what is revoked, and is told of each certificate ([`Authority::revoke`]).
    Keeps {
        /// Whether it has to see the certificate: of a serial number alone it may know nothing.
        whole: bool,
        /// Whether it hands its list out ([`Authority::revocation_list`]). Otherwise it publishes that
        /// itself, where its operator says.
        lists: bool,
    },
}

impl Revocation {
    /// Whether [`Authority::revocation_list`] answers.
    pub fn lists(self) -> bool {
        matches!(self, Self::Signs | Self::Keeps { lists: true, .. })
    }

    /// Whether [`Authority::revoke`] answers.
    pub fn keeps(self) -> bool {
        matches!(self, Self::Keeps { .. })
    }
}

/// How a backend is told what to issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Every field of a [`SigningRequest`](crate::SigningRequest) counts, whatever its CSR says.
    Full,
    /// It is told a CSR, a lifetime, usages, and whether a CA is wanted. So subject and names are the
    /// CSR's, which has to ask for exactly what policy says; the lifetime begins when it signs,
    /// however long that took; and the path length of a CA is its own affair.
    Csr,
}

/// Where the roots of a backend come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roots {
    /// They are made as they are asked for.
    Made,
    /// The document names one that exists: its name, its key type and its end are its own.
    Existing,
}

/// Where the private keys of CAs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// In the relay's own key store; they can be imported and exported.
    Local,
    /// In the backend; nobody sees them.
    Remote,
}

/// Whether an issuance costs money, quota or storage in the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// It does not: no record is owed before the call.
    Free,
    /// It does: every issuance is recorded, with its id, before the call.
    Counted,
}

/// A result that may take the backend a while. The request itself is the ticket.
#[derive(Debug, Clone)]
pub enum Progress<T> {
    /// Here it is.
    Done(T),
    /// Ask again.
    Pending {
        /// Not sooner than this.
        poll_after: Duration,
    },
}

/// Root or signer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The trust anchor.
    Root,
    /// The intermediate CA that signs leaves.
    Signer,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Signer => "signer",
        })
    }
}

/// The n-th root or the n-th signer of a relay. Numbers only grow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation {
    /// The relay's name.
    pub relay: String,
    /// Root or signer.
    pub level: Level,
    /// Counted from 1.
    pub number: u32,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} g{}", self.relay, self.level, self.number)
    }
}

/// A root that is wanted.
#[derive(Debug, Clone)]
pub struct RootRequest {
    /// Which one.
    pub generation: Generation,
    /// Its name: the same for every generation (RFC 9810 section 4.4).
    pub subject: Subject,
    /// Its key.
    pub key_type: KeyType,
    /// Its validity.
    pub validity: Validity,
}

/// A signer key that is wanted.
#[derive(Debug, Clone)]
pub struct SignerRequest {
    /// Which one.
    pub generation: Generation,
    /// Its name.
    pub subject: Subject,
    /// Its key.
    pub key_type: KeyType,
}
