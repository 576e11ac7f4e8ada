use std::fmt;

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, KeyType};

use super::observed::KeptKey;
use crate::cluster::Version;
use crate::config::Workload;
use crate::journal::{RotationRecord, Status};
use crate::relay::SecretRole;
use crate::rotation::{GivenUp, Phase};

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
    /// Whether nothing but the step itself fails if it does: how a key is kept changes nothing about
    /// what it can do, and what a rotation prepares concerns nobody yet.
    pub fn is_apart(&self) -> bool {
        match &self.action {
            Action::RewriteKey(_) | Action::CertifyRoots { .. } => true,
            Action::EstablishRoot { activate, .. } | Action::EstablishSigner { activate, .. } => {
                !activate
            }
            _ => false,
        }
    }

    /// Whether it concerns its cluster alone, and no CA and no record.
    pub fn is_local(&self) -> bool {
        matches!(self.action, Action::Put(_) | Action::Restart { .. })
    }

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
    /// Makes a root, or finishes making it.
    EstablishRoot {
        /// The generation.
        number: u32,
        /// The provider that holds it.
        provider: String,
        /// Its key.
        key_type: KeyType,
        /// Whether it is put into use at once; a rotation does that later.
        activate: bool,
    },
    /// Makes a signer under a root, or finishes making it.
    EstablishSigner {
        /// The generation.
        number: u32,
        /// The root generation that certifies it.
        root: u32,
        /// The provider that holds it.
        provider: String,
        /// Its key.
        key_type: KeyType,
        /// The root before, which is to certify it, too.
        cross: Option<u32>,
        /// Whether it is put into use at once; a rotation does that later.
        activate: bool,
    },
    /// Has two roots certify each other's keys, or writes down why they cannot: an EST client may take the newest
    /// root for the only one.
    CertifyRoots {
        /// The root that goes.
        old: u32,
        /// The root that comes.
        new: u32,
    },
    /// Writes down where a rotation is: begins it, or takes it into its next phase.
    Advance(Box<RotationRecord>),
    /// Gives a generation the status that a rotation wants for it.
    Transition {
        /// Root or signer.
        level: Level,
        /// The generation.
        number: u32,
        /// Its status.
        status: Status,
    },
    /// Gives up the private key of a generation that is in no bundle and no chain any more.
    GiveUp(GivenUp),
    /// Keeps a private key as the document says: encrypted, and with the current encryption key.
    RewriteKey(KeptKey),
    /// Starts a workload anew.
    Restart {
        /// Which one.
        workload: Workload,
        /// Names what its pods start with.
        mark: String,
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
    /// Certificate and key stay; what leads from it to the root is brought up to date.
    Chain,
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
    /// A rotation is in a phase that wants it.
    Rotation {
        /// Which rotation.
        number: u32,
        /// Where it is.
        phase: Phase,
    },
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
            Self::Rotation { number, phase } => write!(f, "rotation {number} is {phase}"),
        }
    }
}
