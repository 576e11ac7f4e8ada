//! The CA certificates that a server gives out, and what of them is believed.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PeerRole, TrustBundle, X509Error, verify_path,
};

use crate::config::ValueError;
use crate::relay::CaTag;

/// Most certificates above a leaf: webpki walks no further.
const INTERMEDIATES: usize = 6;

/// SHA-256 of a root that is trusted whoever hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin(String);

/// The content of `/cacerts`.
#[derive(Debug, Clone)]
pub(super) struct CaCertificates {
    /// The roots: what is signed with its own key.
    pub(super) roots: TrustBundle,
    /// Signers, and roots certified by other roots.
    pub(super) others: Vec<Certificate>,
}

/// Why CA certificates are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Disbelief {
    #[error("the server gives out no root")]
    NoRoot,
    #[error("the roots cannot be used: {0}")]
    Unusable(String),
    #[error(
        "none of the roots that the server gives out is held already, or certified by one that is"
    )]
    Unrelated,
    #[error("the server's own certificate does not verify with the roots that it gives out: {0}")]
    Contradiction(String),
}

impl CaCertificates {
    pub(super) fn new(certificates: Vec<Certificate>) -> Result<Self, Disbelief> {
        let (roots, others): (Vec<_>, Vec<_>) = certificates
            .into_iter()
            .filter(Certificate::is_ca)
            .partition(Certificate::is_self_signed);
        if roots.is_empty() {
            return Err(Disbelief::NoRoot);
        }
        let roots = TrustBundle::new(roots);
        Ok(Self {
            roots: roots.map_err(|error| Disbelief::Unusable(error.to_string()))?,
            others,
        })
    }

    /// Whether the roots may replace `held`. The server that gave them out was authenticated with
    /// those, so this keeps out mistakes rather than attackers: one of the new roots has to be known, or
    /// certified by one that is (NewWithOld, RFC 4210 section 4.4), and whoever holds the new ones has
    /// to accept the server.
    pub(super) fn may_replace(
        &self,
        held: &TrustBundle,
        server: &CertificateChain,
        now: Timestamp,
    ) -> Result<(), Disbelief> {
        let mut roots = self.roots.anchors().iter();
        if !roots.any(|root| held.contains(root) || self.is_certified(root, held)) {
            return Err(Disbelief::Unrelated);
        }
        self.accept(server, now)
    }

    /// Whether a party that holds the roots accepts the server.
    fn accept(&self, server: &CertificateChain, now: Timestamp) -> Result<(), Disbelief> {
        verify_path(server, &self.roots, PeerRole::Server, now)
            .map_err(|error| Disbelief::Contradiction(error.to_string()))
    }

    /// Whether one of `held` certified the key of `root`.
    fn is_certified(&self, root: &Certificate, held: &TrustBundle) -> bool {
        self.others.iter().any(|other| {
            other.raw_subject() == root.raw_subject()
                && other.public_key() == root.public_key()
                && held.anchors().iter().any(|old| other.is_issued_by(old))
        })
    }

    /// Names them.
    pub(super) fn tag(&self) -> CaTag {
        CaTag::of(&self.roots, &self.others)
    }

    /// Whether one of the signers issued `leaf`.
    pub(super) fn has_signer_of(&self, leaf: &Certificate) -> bool {
        let mut all = self.others.iter().chain(self.roots.anchors());
        all.any(|signer| leaf.names_as_issuer(signer))
    }

    /// `leaf` with everything that leads from it to the roots. Where a signer has two certificates, the one
    /// under the root that ends first comes first: OpenSSL takes the first one that fits and does not go
    /// back, and a peer that knows one root only knows the old one. What roots say of each other is for
    /// those who verify, not for those who present.
    pub(super) fn chain(&self, leaf: Certificate) -> Result<CertificateChain, X509Error> {
        let mut chain = vec![leaf.clone()];
        let mut level = vec![leaf];
        while chain.len() <= INTERMEDIATES {
            let issued = |issuer: &Certificate| {
                !chain.contains(issuer)
                    && !self.is_of_root(issuer)
                    && level.iter().any(|below| below.is_issued_by(issuer))
            };
            let others = self.others.iter().cloned();
            let mut issuers: Vec<Certificate> = others.filter(issued).collect();
            if issuers.is_empty() {
                break;
            }
            issuers.sort_by_key(|issuer| (self.end_of_root(issuer), issuer.fingerprint()));
            issuers.truncate(INTERMEDIATES + 1 - chain.len());
            chain.extend(issuers.iter().cloned());
            level = issuers;
        }
        CertificateChain::new(chain)
    }

    /// Whether it certifies the key of one of the roots.
    fn is_of_root(&self, certificate: &Certificate) -> bool {
        let mut roots = self.roots.anchors().iter();
        roots.any(|root| root.public_key() == certificate.public_key())
    }

    /// When the root that issued a signer ends; never if none of the roots did.
    fn end_of_root(&self, signer: &Certificate) -> Timestamp {
        let mut roots = self.roots.anchors().iter();
        let root = roots.find(|root| signer.is_issued_by(root));
        root.map_or(Timestamp::MAX, Certificate::not_after)
    }

    /// The root that one of `pins` names.
    pub(super) fn pinned(&self, pins: &[Pin]) -> Option<&Certificate> {
        let mut roots = self.roots.anchors().iter();
        roots.find(|root| pins.iter().any(|pin| pin.names(root)))
    }
}

impl Pin {
    fn names(&self, root: &Certificate) -> bool {
        root.fingerprint().to_string() == self.0
    }
}

impl FromStr for Pin {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        // OpenSSL writes colons and capitals.
        let digits = digits.replace(':', "").to_ascii_lowercase();
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match digits.len() == 64 && is_hex {
            true => Ok(Self(digits)),
            false => Err(ValueError::new(
                format!("{text:?} is no fingerprint of a root"),
                "write sha256: and 64 hexadecimal digits, as `relay-pki cluster register` prints them",
            )),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}
