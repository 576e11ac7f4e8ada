use std::fmt;
use std::str::FromStr;

use relay_pki_authority::x509::{Certificate, Fingerprint, TrustBundle};

/// Names the CA certificates that a party goes by: the trust bundle, and whatever else leads from a
/// certificate to it. Two parties that say the same name accept the same and present the same.
///
/// As text it is the bundle's digest, a dot, and a digest of the rest: as an entity tag of `/cacerts` it has
/// to change with either (RFC 9110 section 8.8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaTag {
    bundle: String,
    others: String,
}

/// A text that names no CA certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no tag of CA certificates")]
pub struct NoCaTag;

impl CaTag {
    /// The name of a bundle and of what else there is, in whatever order.
    pub fn of(bundle: &TrustBundle, others: &[Certificate]) -> Self {
        let mut others: Vec<Fingerprint> = others.iter().map(Certificate::fingerprint).collect();
        others.sort();
        others.dedup();
        let bytes: Vec<u8> = others
            .iter()
            .flat_map(|other| other.as_bytes().iter().copied())
            .collect();
        Self {
            bundle: bundle.digest().to_string(),
            others: Fingerprint::of(&bytes).to_string(),
        }
    }

    /// The digest of the bundle, as `BundleDigest` shows it.
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// The digest of everything else.
    pub fn others(&self) -> &str {
        &self.others
    }
}

impl fmt::Display for CaTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.bundle, self.others)
    }
}

impl FromStr for CaTag {
    type Err = NoCaTag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (bundle, others) = text.split_once('.').ok_or(NoCaTag)?;
        let hex = bundle.strip_prefix("sha256:").ok_or(NoCaTag)?;
        let is_digest = |hex: &str| {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            hex.len() == 64 && hex.bytes().all(is_digit)
        };
        match is_digest(hex) && is_digest(others) {
            true => Ok(Self {
                bundle: bundle.to_owned(),
                others: others.to_owned(),
            }),
            false => Err(NoCaTag),
        }
    }
}
