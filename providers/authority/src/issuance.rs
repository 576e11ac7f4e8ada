use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use jiff::Timestamp;

use crate::Profile;
use crate::x509::{
    Certificate, CertificateChain, DnsName, SerialNumber, Subject, TrustBundle, Validity,
    VerifiedCsr,
};

/// One certificate that is wanted, in full. The CSR proves possession of the key and gives nothing
/// else; names, usages and lifetime are policy's. Where the backend reads the CSR
/// ([`Dialect::Csr`](crate::Dialect::Csr)), it has to say the same.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    /// The same for every attempt at this certificate.
    pub id: IssuanceId,
    /// Proof that somebody holds the private key.
    pub csr: VerifiedCsr,
    /// What the certificate is for.
    pub profile: Profile,
    /// Its subject.
    pub subject: Subject,
    /// Its DNS names, exactly these; empty for a CA.
    pub names: Vec<DnsName>,
    /// Its validity. A backend may give less, never more. Recorded with the id: asked again, it is
    /// the same.
    pub validity: Validity,
    /// The time at which the result is verified.
    pub now: Timestamp,
}

/// Names one need for one certificate. Derived, not random: whoever asks again after a crash, a
/// timeout or a lost reply asks with the same id, and a backend that knows ids answers with the same
/// certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuanceId(String);

impl IssuanceId {
    /// From everything that makes the need what it is. 32 hexadecimal digits: every backend's
    /// idempotency token takes that.
    pub fn derive(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            // Lengths keep ("ab", "c") and ("a", "bc") apart.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digits = HEXLOWER.encode(context.finish().as_ref());
        digits.truncate(32);
        Self(digits)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IssuanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A certificate that is to be revoked where it was issued.
#[derive(Debug, Clone)]
pub struct RevocationRequest {
    /// Its serial number.
    pub serial: SerialNumber,
    /// The certificate, where it is known.
    pub certificate: Option<Certificate>,
}

/// A certificate revocation list that is wanted.
#[derive(Debug, Clone)]
pub struct RevocationListRequest {
    /// Its number; each is larger than the one before. A backend with a list of its own counts itself.
    pub number: u64,
    /// From when it holds until the next one comes. A backend with a list of its own dates it itself.
    pub validity: Validity,
    /// What is revoked: certificates of this CA. A backend with a list of its own has been told of them.
    pub revoked: Vec<RevokedCertificate>,
}

/// A certificate on a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Its serial number.
    pub serial: SerialNumber,
    /// When that was decided.
    pub at: Timestamp,
}

/// What a backend answers.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The certificate.
    Issued(Issuance),
    /// Not yet; ask again with the ticket.
    Pending {
        /// What [`crate::Authority::collect`] wants to see.
        ticket: Ticket,
        /// Not sooner than this.
        poll_after: Duration,
    },
}

/// A certificate as a backend hands it out.
#[derive(Debug, Clone)]
pub struct Issuance {
    /// Leaf (or CA) first, then what leads to the root, without it.
    pub chain: CertificateChain,
    /// Roots in which the chain ends.
    pub anchors: TrustBundle,
    /// The backend's own name for the certificate (an ARN, a resource name), for revocation.
    pub reference: Option<String>,
}

/// A backend's name for an issuance under way. Opaque; kept in the issuance record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub String);

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_keep_parts_apart() {
        let id = IssuanceId::derive(&[b"relay", b"agent/cluster-1"]);
        assert_eq!(id, IssuanceId::derive(&[b"relay", b"agent/cluster-1"]));
        assert_ne!(id, IssuanceId::derive(&[b"rela", b"yagent/cluster-1"]));
        assert_eq!(id.as_str().len(), 32);
        assert!(id.as_str().chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
