use std::fmt;

use jiff::Timestamp;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};
use x509_parser::revocation_list::CertificateRevocationList;

use super::facts::timestamp;
use super::{Certificate, SerialNumber, X509Error, pem};

/// Largest DER list that is parsed: some ten thousand certificates.
const DER_LIMIT: usize = 512 * 1024;
const WHAT: &str = "certificate revocation list";

/// A certificate revocation list (RFC 5280 section 5) whose signature was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct RevocationList {
    der: Vec<u8>,
    this_update: Timestamp,
    next_update: Timestamp,
    serials: Vec<SerialNumber>,
}

impl RevocationList {
    /// From one PEM section, if it is `issuer`'s.
    pub fn from_pem(text: &[u8], issuer: &Certificate) -> Result<Self, X509Error> {
        if text.len() > 2 * DER_LIMIT {
            return Err(X509Error::TooLarge {
                what: WHAT,
                size: text.len(),
                limit: 2 * DER_LIMIT,
            });
        }
        let der = CertificateRevocationListDer::from_pem_slice(text).map_err(pem::malformed)?;
        Self::from_der(&der, issuer)
    }

    /// From DER, if it is `issuer`'s.
    pub fn from_der(der: &[u8], issuer: &Certificate) -> Result<Self, X509Error> {
        let malformed = |reason: String| X509Error::Malformed { what: WHAT, reason };
        if der.len() > DER_LIMIT {
            return Err(X509Error::TooLarge {
                what: WHAT,
                size: der.len(),
                limit: DER_LIMIT,
            });
        }
        let (rest, parsed) = CertificateRevocationList::from_der(der)
            .map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} trailing bytes", rest.len())));
        }
        if parsed.issuer().as_raw() != issuer.raw_subject() {
            return Err(malformed(format!("it is not of {}", issuer.subject())));
        }
        let spki = issuer.public_key().spki_der();
        let (_, spki) =
            SubjectPublicKeyInfo::from_der(spki).map_err(|error| malformed(error.to_string()))?;
        parsed
            .verify_signature(&spki)
            .map_err(|_| X509Error::BadSignature { what: WHAT })?;
        let next_update = parsed
            .next_update()
            .ok_or_else(|| malformed("it does not say when the next one comes".to_owned()))?;
        let serials = parsed
            .iter_revoked_certificates()
            .map(|revoked| SerialNumber::from_der_content(revoked.raw_serial()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            der: der.to_vec(),
            this_update: timestamp(parsed.last_update()),
            next_update: timestamp(next_update),
            serials,
        })
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// One PEM section.
    pub fn to_pem(&self) -> String {
        pem::encode("X509 CRL", &self.der)
    }

    /// Since when it holds.
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// When it has to be replaced.
    pub fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// The revoked certificates.
    pub fn serials(&self) -> &[SerialNumber] {
        &self.serials
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("next_update", &self.next_update)
            .field("serials", &self.serials.len())
            .finish_non_exhaustive()
    }
}
