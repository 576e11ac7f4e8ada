use std::fmt;

use data_encoding::HEXLOWER;

use super::identifier::sha256;
use super::{Certificate, Fingerprint, X509Error};

/// Most certificates in one chain; webpki walks at most six intermediates.
const CHAIN_LIMIT: usize = 8;
/// Most anchors in one bundle.
const BUNDLE_LIMIT: usize = 50;

/// A leaf (or a CA) and the certificates that lead from it towards a root, which is left out:
/// the peer has it or it proves nothing. Order as in TLS: each certificate is issued by the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateChain(Vec<Certificate>);

impl CertificateChain {
    /// From certificates in order, leaf first.
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, X509Error> {
        if certificates.is_empty() {
            return Err(X509Error::Empty {
                what: "certificate chain",
            });
        }
        if certificates.len() > CHAIN_LIMIT {
            return Err(X509Error::TooLarge {
                what: "certificate chain",
                size: certificates.len(),
                limit: CHAIN_LIMIT,
            });
        }
        Ok(Self(certificates))
    }

    /// From PEM text, leaf first.
    pub fn from_pem(text: &[u8]) -> Result<Self, X509Error> {
        Self::new(Certificate::list_from_pem(text)?)
    }

    /// The first certificate.
    pub fn leaf(&self) -> &Certificate {
        // The constructor is the only way in and refuses an empty list.
        #[allow(clippy::indexing_slicing)]
        &self.0[0]
    }

    /// What follows the first certificate.
    pub fn intermediates(&self) -> &[Certificate] {
        self.0.get(1..).unwrap_or_default()
    }

    /// All certificates, leaf first.
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// PEM sections, leaf first.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(Certificate::to_pem).collect()
    }
}

/// The roots that a party accepts: no duplicates, in an order that depends on nothing but the
/// content, so that equal bundles are equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustBundle(Vec<Certificate>);

impl TrustBundle {
    /// From certificates in any order.
    pub fn new(certificates: impl IntoIterator<Item = Certificate>) -> Result<Self, X509Error> {
        let mut anchors: Vec<Certificate> = certificates.into_iter().collect();
        anchors.sort_by_key(|anchor| (anchor.not_after(), anchor.fingerprint()));
        anchors.dedup();
        if anchors.is_empty() {
            return Err(X509Error::Empty {
                what: "trust bundle",
            });
        }
        if anchors.len() > BUNDLE_LIMIT {
            return Err(X509Error::TooLarge {
                what: "trust bundle",
                size: anchors.len(),
                limit: BUNDLE_LIMIT,
            });
        }
        Ok(Self(anchors))
    }

    /// From PEM text.
    pub fn from_pem(text: &[u8]) -> Result<Self, X509Error> {
        Self::new(Certificate::list_from_pem(text)?)
    }

    /// The anchors: earliest end first.
    pub fn anchors(&self) -> &[Certificate] {
        &self.0
    }

    /// Whether `certificate` is one of the anchors.
    pub fn contains(&self, certificate: &Certificate) -> bool {
        self.0.contains(certificate)
    }

    /// PEM sections.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(Certificate::to_pem).collect()
    }

    /// The bundle's name: equal for equal sets of anchors.
    pub fn digest(&self) -> BundleDigest {
        let mut fingerprints: Vec<Fingerprint> =
            self.0.iter().map(Certificate::fingerprint).collect();
        fingerprints.sort();
        let bytes: Vec<u8> = fingerprints
            .iter()
            .flat_map(|fingerprint| fingerprint.as_bytes().iter().copied())
            .collect();
        BundleDigest(sha256(&bytes))
    }
}

/// SHA-256 over the sorted fingerprints of a bundle's anchors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleDigest([u8; 32]);

impl fmt::Display for BundleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}
