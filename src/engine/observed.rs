use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use relay_pki_authority::x509::{BundleDigest, Certificate, Fingerprint, PublicKey, TrustBundle};
use relay_pki_authority::{Capabilities, Level};

use crate::cluster::{ClusterError, Version};
use crate::journal::Journal;
use crate::relay::{Owner, TokenDigest};
use crate::rotation::Evidence;

/// What is there: the input of the plan. No private key and no token is in it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Our records; an error blocks everything.
    pub journal: Journal,
    /// Each cluster of the document, or why it could not be read.
    pub clusters: BTreeMap<String, Result<ClusterState, ClusterError>>,
    /// Keys that are not kept as the document says.
    pub keys: Vec<KeyObjection>,
    /// What each provider of the document can do.
    pub providers: Arc<BTreeMap<String, Capabilities>>,
    /// What was found out besides, for the gates of a rotation.
    pub evidence: Evidence,
}

/// A private key that is kept in the management cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptKey {
    /// That of a CA.
    Authority {
        /// Root or signer.
        level: Level,
        /// Which of them.
        number: u32,
    },
    /// What transcripts are signed with.
    Transcript,
}

impl fmt::Display for KeptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority { level, number } => write!(f, "{level} g{number}"),
            Self::Transcript => f.write_str("the transcripts"),
        }
    }
}

/// What is wrong with how a private key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyObjection {
    /// Which one.
    pub key: KeptKey,
    /// What is wrong.
    pub what: String,
    /// What a person has to do about it; `None` if keeping it anew puts it right.
    pub remedy: Option<String>,
}

/// The relay Secrets of one cluster; `None` for absent ones.
#[derive(Debug, Clone, Default)]
pub struct ClusterState {
    /// `relay-root-tls-secret`.
    pub trust: Option<Held<TrustState>>,
    /// `relay-identity-token-secret`.
    pub identity_token: Option<Held<TokenState>>,
    /// `relay-forwarding-identity-token-secret`.
    pub forwarding_token: Option<Held<TokenState>>,
    /// `relay-tls-signing-secret`.
    pub signing: Option<Held<TlsState>>,
    /// `relay-server-tls-secret`.
    pub server: Option<Held<TlsState>>,
    /// `relay-client-tls-secret`.
    pub client: Option<Held<TlsState>>,
}

impl ClusterState {
    /// Where there is a certificate or a trust bundle of ours.
    pub fn ours(&self) -> Option<&str> {
        fn place<T>(slot: &Option<Held<T>>) -> Option<&str> {
            let held = slot.as_ref().filter(|held| held.owner == Owner::Us)?;
            Some(held.place.as_str())
        }
        place(&self.server)
            .or_else(|| place(&self.client))
            .or_else(|| place(&self.trust))
            .or_else(|| place(&self.signing))
    }

    /// When something that a rotation replaces was replaced last.
    pub fn rotated(&self) -> Option<Timestamp> {
        let trust = self.trust.as_ref().and_then(|held| held.rotated);
        let leaves = [&self.signing, &self.server, &self.client];
        let leaves = leaves.into_iter().flatten();
        leaves.filter_map(|held| held.rotated).chain(trust).max()
    }
}

/// A Secret as it was found.
#[derive(Debug, Clone)]
pub struct Held<T> {
    /// What a write has to expect.
    pub version: Version,
    /// Whose it is.
    pub owner: Owner,
    /// Where it is, for messages.
    pub place: String,
    /// Whether other users of the machine can read it.
    pub exposed: bool,
    /// The latest rotation request that it satisfies.
    pub request: u64,
    /// When the trust bundle in it, or what leads from its certificate to the roots, was replaced last.
    pub rotated: Option<Timestamp>,
    /// What is in it, or what is wrong with it.
    pub content: Result<T, String>,
}

/// A token Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// Names the token.
    pub digest: TokenDigest,
}

/// A trust bundle Secret.
#[derive(Debug, Clone)]
pub struct TrustState {
    /// The anchors; shared by every cluster that holds the same.
    pub bundle: Arc<TrustBundle>,
    /// Names the bundle.
    pub digest: BundleDigest,
    /// The public half of a private key that lies beside it.
    pub key: Option<PublicKey>,
}

/// A Secret with a certificate. Its key matches, or its content would be an error.
#[derive(Debug, Clone)]
pub struct TlsState {
    /// The first certificate.
    pub leaf: Certificate,
    /// What follows it; shared by every cluster that holds the same.
    pub above: Arc<[Certificate]>,
    /// Who issued it.
    pub provenance: Provenance,
    /// The anchors in `ca.crt`.
    pub bundle: Arc<TrustBundle>,
    /// Names them.
    pub digest: BundleDigest,
}

/// Where a leaf comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provenance {
    /// A signer generation of ours; one of the certificates it has leads to a published root.
    Signer(u32),
    /// Another issuer. `anchor` is the root in its own `ca.crt` that its chain leads to.
    Foreign {
        /// The root's fingerprint.
        anchor: Fingerprint,
    },
    /// No peer accepts it.
    Unusable(String),
}
