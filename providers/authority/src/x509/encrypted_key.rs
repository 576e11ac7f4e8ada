//! Private keys under a passphrase: PKCS#8 with PBES2 (RFC 8018), PBKDF2 with HMAC-SHA-256 and
//! AES-256 in CBC mode, as OpenSSL writes and reads them.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::{iv::FixedLength, pbkdf2, rand};
use rustls_pki_types::pem::SectionKind;
use x509_parser::der_parser::{self, ber::BerObject};
use zeroize::Zeroizing;

use super::{PrivateKey, X509Error, pem};

/// Iterations for new keys (OWASP, 2023).
const ITERATIONS: u32 = 600_000;
/// Most iterations that are gone through: a file must not keep us busy for hours.
const MOST_ITERATIONS: u32 = 20_000_000;
const SALT_SIZE: usize = 16;
const KEY_SIZE: usize = 32;
const IV_SIZE: usize = 16;

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const HMAC_SHA256: &str = "1.2.840.113549.2.9";
const AES_256_CBC: &str = "2.16.840.1.101.3.4.1.42";

/// The same object identifiers as DER.
const PBES2_DER: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBKDF2_DER: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const HMAC_SHA256_DER: &[u8] = b"\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x09";
const AES_256_CBC_DER: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
const NULL_DER: &[u8] = b"\x05\x00";

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

impl PrivateKey {
    /// One PEM `ENCRYPTED PRIVATE KEY` section.
    pub fn to_encrypted_pem(&self, passphrase: &[u8]) -> Result<String, X509Error> {
        let failed = |_| X509Error::Crypto {
            operation: "encrypting a key",
        };
        let (mut salt, mut iv) = ([0; SALT_SIZE], [0; IV_SIZE]);
        rand::fill(&mut salt).map_err(failed)?;
        rand::fill(&mut iv).map_err(failed)?;
        let key = derive(passphrase, &salt, ITERATIONS);
        let key = UnboundCipherKey::new(&AES_256, &*key).map_err(failed)?;
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(failed)?;
        // Room for the padding from the start: growing would leave a copy behind.
        let plain = self.pkcs8_der();
        let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + IV_SIZE));
        text.extend_from_slice(plain);
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        key.less_safe_encrypt(&mut *text, context).map_err(failed)?;
        Ok(pem::encode(
            "ENCRYPTED PRIVATE KEY",
            &encode(&salt, &iv, &text),
        ))
    }

    /// From a PEM `ENCRYPTED PRIVATE KEY` section; what OpenSSL 3 writes by default fits.
    pub fn from_encrypted_pem(text: &[u8], passphrase: &[u8]) -> Result<Self, X509Error> {
        let label = "ENCRYPTED PRIVATE KEY";
        let missing = X509Error::PemMissing { wanted: label };
        // The PEM reader knows no such section; under another label it reads it like any other.
        let text = std::str::from_utf8(text).map_err(|_| missing.clone())?;
        if !text.contains(label) {
            return Err(missing);
        }
        let relabelled = Zeroizing::new(text.replace(label, "PRIVATE KEY"));
        let sections = pem::sections(relabelled.as_bytes())?;
        let mut sections = sections.iter();
        let (_, der) = sections
            .find(|(kind, _)| *kind == SectionKind::PrivateKey)
            .ok_or(missing)?;
        let parameters = decode(der).ok_or_else(|| X509Error::Malformed {
            what: "encrypted private key",
            reason: "it is not PBES2 with PBKDF2, HMAC-SHA-256 and AES-256-CBC; \
                     `openssl pkcs8 -topk8 -v2 aes-256-cbc` converts it"
                .to_owned(),
        })?;
        let key = derive(passphrase, &parameters.salt, parameters.iterations);
        let wrong = |_| X509Error::WrongPassphrase;
        let key = UnboundCipherKey::new(&AES_256, &*key).map_err(wrong)?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(wrong)?;
        let context = DecryptionContext::Iv128(FixedLength::from(parameters.iv));
        let mut text = Zeroizing::new(parameters.text);
        let plain = key.decrypt(&mut text, context).map_err(wrong)?;
        // The padding of a wrong passphrase is right by chance once in 256 times.
        Self::from_der(plain).map_err(|_| X509Error::WrongPassphrase)
    }
}

struct Parameters {
    salt: Vec<u8>,
    iterations: u32,
    iv: [u8; IV_SIZE],
    text: Vec<u8>,
}

fn derive(passphrase: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; KEY_SIZE]> {
    let mut key = Zeroizing::new([0; KEY_SIZE]);
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, passphrase, &mut *key);
    key
}

fn encode(salt: &[u8], iv: &[u8], text: &[u8]) -> Vec<u8> {
    // The shortest form; the top bit of the first byte that is left is not set.
    let iterations = ITERATIONS.to_be_bytes();
    let iterations: Vec<u8> = iterations
        .into_iter()
        .skip_while(|byte| *byte == 0)
        .collect();
    let derivation = [
        tlv(OCTET_STRING, &[salt]),
        tlv(INTEGER, &[&iterations]),
        tlv(SEQUENCE, &[HMAC_SHA256_DER, NULL_DER]),
    ];
    let derivation: Vec<&[u8]> = derivation.iter().map(Vec::as_slice).collect();
    let derivation = tlv(SEQUENCE, &[PBKDF2_DER, &tlv(SEQUENCE, &derivation)]);
    let cipher = tlv(SEQUENCE, &[AES_256_CBC_DER, &tlv(OCTET_STRING, &[iv])]);
    let algorithm = tlv(
        SEQUENCE,
        &[PBES2_DER, &tlv(SEQUENCE, &[&derivation, &cipher])],
    );
    tlv(SEQUENCE, &[&algorithm, &tlv(OCTET_STRING, &[text])])
}

/// One DER value.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            // At most eight.
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}

fn decode(der: &[u8]) -> Option<Parameters> {
    let (rest, whole) = der_parser::parse_der(der).ok()?;
    let [algorithm, text] = sequence(&whole)? else {
        return None;
    };
    let [scheme, parameters] = sequence(algorithm)? else {
        return None;
    };
    let [derivation, cipher] = sequence(parameters)? else {
        return None;
    };
    let [function, derivation] = sequence(derivation)? else {
        return None;
    };
    let [cipher, iv] = sequence(cipher)? else {
        return None;
    };
    // The length of the key may be said between iterations and pseudo-random function.
    let (salt, iterations, function_of) = match sequence(derivation)? {
        [salt, iterations, function_of] | [salt, iterations, _, function_of] => {
            (salt, iterations, function_of)
        }
        _ => return None,
    };
    let known = is(scheme, PBES2)
        && is(function, PBKDF2)
        && is(sequence(function_of)?.first()?, HMAC_SHA256)
        && is(cipher, AES_256_CBC);
    let iterations = iterations.as_u32().ok()?;
    if !rest.is_empty() || !known || iterations > MOST_ITERATIONS {
        return None;
    }
    Some(Parameters {
        salt: salt.as_slice().ok()?.to_vec(),
        iterations,
        iv: iv.as_slice().ok()?.try_into().ok()?,
        text: text.as_slice().ok()?.to_vec(),
    })
}

fn sequence<'a>(object: &'a BerObject<'a>) -> Option<&'a [BerObject<'a>]> {
    object.as_sequence().ok().map(Vec::as_slice)
}

fn is(object: &BerObject<'_>, oid: &str) -> bool {
    object
        .as_oid()
        .is_ok_and(|found| found.to_id_string() == oid)
}
