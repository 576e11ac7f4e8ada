use std::fmt;

use aws_lc_rs::{digest, rand};
use data_encoding::HEXLOWER;

use super::X509Error;

/// A serial number as RFC 5280 section 4.1.2.2 wants it: positive, at most 20 octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SerialNumber(Vec<u8>);

impl SerialNumber {
    /// Octets of a serial number that we choose.
    const LENGTH: usize = 20;

    /// 159 random bits: unguessable, and fresh without asking anybody.
    pub fn random() -> Result<Self, X509Error> {
        let mut bytes = vec![0u8; Self::LENGTH];
        rand::fill(&mut bytes).map_err(|_| X509Error::Crypto {
            operation: "random serial number",
        })?;
        if let Some(first) = bytes.first_mut() {
            // Top bit clear keeps the INTEGER positive in 20 octets; the next one set keeps it
            // non-zero and of constant length.
            *first = (*first & 0x7f) | 0x40;
        }
        Ok(Self(bytes))
    }

    /// From the content octets of a DER INTEGER.
    pub fn from_der_content(content: &[u8]) -> Result<Self, X509Error> {
        let malformed = |reason: &str| X509Error::Malformed {
            what: "serial number",
            reason: reason.to_owned(),
        };
        let first = *content.first().ok_or_else(|| malformed("no octets"))?;
        if first & 0x80 != 0 {
            return Err(malformed("negative"));
        }
        if content.iter().all(|byte| *byte == 0) {
            return Err(malformed("zero"));
        }
        if content.len() > 20 {
            return Err(malformed("longer than 20 octets"));
        }
        Ok(Self(content.to_vec()))
    }

    /// Big-endian octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Without leading zeros, two digits at a time with colons between them: as OpenSSL and most CAs write
    /// and read it.
    pub fn with_colons(&self) -> String {
        let octets = self.0.iter().skip_while(|octet| **octet == 0);
        let octets: Vec<String> = octets.map(|octet| HEXLOWER.encode(&[*octet])).collect();
        octets.join(":")
    }

    /// Significant bits; public CAs owe at least 64 random ones.
    pub fn bits(&self) -> usize {
        let mut octets = self.0.iter().skip_while(|byte| **byte == 0);
        match octets.next() {
            Some(first) => octets.count() * 8 + (8 - first.leading_zeros() as usize),
            None => 0,
        }
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// SHA-256 over the DER of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Fingerprint of `der`.
    pub fn of(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Enough of it for a person to tell certificates apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// A subject or authority key identifier (RFC 5280 section 4.2.1.1 and 4.2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyIdentifier(Vec<u8>);

impl KeyIdentifier {
    /// As found in an extension.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The identifier that we give to a key: SHA-1 over the subjectPublicKey bits (RFC 5280 section 4.2.1.2,
    /// method 1). Nothing relies on its strength, but OpenSSL on its being the same in every certificate of a
    /// key, and this is what Vault, AWS and Google put there.
    pub fn of_public_key_bits(bits: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bits);
        Self(digest.as_ref().to_vec())
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0u8; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

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
    fn random_serials_are_positive_long_and_differ() {
        let first = SerialNumber::random().unwrap();
        let second = SerialNumber::random().unwrap();
        assert_ne!(first, second);
        assert_eq!(first.as_bytes().len(), 20);
        assert!(first.bits() >= 64);
        assert_eq!(
            SerialNumber::from_der_content(first.as_bytes()).unwrap(),
            first
        );
    }

    #[test]
    fn zero_negative_and_long_serials_are_refused() {
        assert!(SerialNumber::from_der_content(&[]).is_err());
        assert!(SerialNumber::from_der_content(&[0]).is_err());
        assert!(SerialNumber::from_der_content(&[0x80]).is_err());
        assert!(SerialNumber::from_der_content(&[1; 21]).is_err());
        assert_eq!(
            SerialNumber::from_der_content(&[0, 0x81]).unwrap().bits(),
            8
        );
    }
}
