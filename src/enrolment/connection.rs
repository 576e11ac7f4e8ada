//! Who is at the other end of a connection.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{Certificate, CertificateChain, PeerRole, verify_path};

use super::policy::Binding;
use super::snapshot::Snapshot;
use crate::journal::EnrolledCertificate;

/// Longest that a certificate is dated back, and the share of its validity that it is at most.
const BACKDATING: SignedDuration = SignedDuration::from_mins(5);
const BACKDATED_SHARE: i32 = 21;

/// A connection, once its handshake is done.
pub(super) struct Connection {
    pub(super) source: IpAddr,
    pub(super) binding: Binding,
    /// Who presented a certificate.
    pub(super) peer: Option<Peer>,
}

/// The holder of a certificate of ours.
pub(super) struct Peer {
    pub(super) certificate: Certificate,
    /// The one name in it; none if it is no agent's.
    pub(super) cluster: Option<String>,
    /// Its serial number in hexadecimal digits.
    pub(super) serial: String,
    /// The digest of the bundle that it was verified against.
    verified: String,
}

impl Peer {
    /// From what was presented, and verified against the bundle of `snapshot`.
    pub(super) fn new(der: &[u8], snapshot: &Snapshot) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let cluster = match certificate.dns_names() {
            [name]
                if certificate.other_names().is_empty()
                    && certificate.common_name() == Some(name) =>
            {
                Some(name.clone())
            }
            _ => None,
        };
        Some(Self {
            serial: serial_digits(&certificate),
            certificate,
            cluster,
            verified: snapshot.digest.clone(),
        })
    }

    /// Whether the certificate is good now: a connection outlives certificates and roots.
    pub(super) fn is_valid(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        if !self.certificate.is_valid_at(now) {
            return false;
        }
        if self.verified == snapshot.digest {
            return true;
        }
        let signer = self.signer(snapshot).map(|(_, signer)| signer.clone());
        let chain = std::iter::once(self.certificate.clone()).chain(signer);
        CertificateChain::new(chain.collect())
            .is_ok_and(|chain| verify_path(&chain, &snapshot.bundle, PeerRole::Client, now).is_ok())
    }

    /// The signer generation that issued the certificate.
    fn signer<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a (u32, Certificate)> {
        let mut signers = snapshot.signers.iter();
        signers.find(|(_, signer)| self.certificate.names_as_issuer(signer))
    }

    /// The certificate as it is remembered.
    pub(super) fn enrolled(&self, snapshot: &Snapshot) -> EnrolledCertificate {
        let signer = self.signer(snapshot).map_or(0, |(number, _)| *number);
        enrolled(&self.certificate, signer, snapshot.keeps_whole(signer))
    }
}

/// A certificate as it is remembered, itself with it if it is to be kept `whole`.
pub(super) fn enrolled(certificate: &Certificate, signer: u32, whole: bool) -> EnrolledCertificate {
    EnrolledCertificate {
        serial: serial_digits(certificate),
        signer,
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        pem: whole.then(|| certificate.to_pem()),
    }
}

/// The serial number in hexadecimal digits, whatever it is.
pub(super) fn serial_digits(certificate: &Certificate) -> String {
    HEXLOWER.encode(certificate.raw_serial())
}

/// When a certificate was issued, as far as it shows: it is dated back.
pub(super) fn issued_at(certificate: &Certificate) -> Timestamp {
    let (begin, end) = (certificate.not_before(), certificate.not_after());
    let back = BACKDATING.min(end.duration_since(begin) / BACKDATED_SHARE);
    begin.checked_add(back).unwrap_or(begin)
}
