//! What a request should look like, for clients that ask (RFC 7030 section 4.5.2, RFC 9908).

use relay_pki_authority::x509::KeyType;

use super::der::{INTEGER, OID, SEQUENCE, SET, value};

/// id-ecPublicKey, 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// secp256r1, 1.2.840.10045.3.1.7.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34.
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// ecdsa-with-SHA256, 1.2.840.10045.4.3.2.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// ecdsa-with-SHA384, 1.2.840.10045.4.3.3.
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
/// rsaEncryption, 1.2.840.113549.1.1.1.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// sha256WithRSAEncryption, 1.2.840.113549.1.1.11.
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// id-Ed25519, 1.3.101.112.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The DER of CsrAttrs that ask for a key of `key_type` and the hash that goes with it. No
/// challengePassword: it would ask for a channel binding, which TLS 1.2 cannot give here.
pub fn csr_attributes(key_type: KeyType) -> Vec<u8> {
    let oid = |bytes: &[u8]| value(OID, &[bytes]);
    let key = |algorithm: &[u8], parameter: &[u8]| {
        value(SEQUENCE, &[&oid(algorithm), &value(SET, &[parameter])])
    };
    let bits = |bits: u16| value(INTEGER, &[&bits.to_be_bytes()]);
    let attributes = match key_type {
        KeyType::EcdsaP256 => vec![key(EC_PUBLIC_KEY, &oid(P256)), oid(ECDSA_SHA256)],
        KeyType::EcdsaP384 => vec![key(EC_PUBLIC_KEY, &oid(P384)), oid(ECDSA_SHA384)],
        KeyType::Rsa2048 => vec![key(RSA, &bits(2048)), oid(RSA_SHA256)],
        KeyType::Rsa3072 => vec![key(RSA, &bits(3072)), oid(RSA_SHA256)],
        KeyType::Rsa4096 => vec![key(RSA, &bits(4096)), oid(RSA_SHA256)],
        KeyType::Ed25519 => vec![oid(ED25519)],
    };
    let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
    value(SEQUENCE, &attributes)
}
