//! Key types as AWS calls them.

use aws_sdk_acmpca::types::{KeyAlgorithm, SigningAlgorithm};
use relay_pki_authority::x509::KeyType;

/// What CAs can have and certificates can be for: everything but Ed25519.
pub(crate) const SUPPORTED: [KeyType; 5] = [
    KeyType::EcdsaP256,
    KeyType::EcdsaP384,
    KeyType::Rsa2048,
    KeyType::Rsa3072,
    KeyType::Rsa4096,
];

/// The algorithms of a CA with a key of this type: its key's and its signatures'.
pub(crate) fn algorithms(key_type: KeyType) -> Option<(KeyAlgorithm, SigningAlgorithm)> {
    Some(match key_type {
        KeyType::EcdsaP256 => (
            KeyAlgorithm::EcPrime256v1,
            SigningAlgorithm::Sha256Withecdsa,
        ),
        KeyType::EcdsaP384 => (KeyAlgorithm::EcSecp384r1, SigningAlgorithm::Sha384Withecdsa),
        KeyType::Rsa2048 => (KeyAlgorithm::Rsa2048, SigningAlgorithm::Sha256Withrsa),
        KeyType::Rsa3072 => (KeyAlgorithm::Rsa3072, SigningAlgorithm::Sha256Withrsa),
        KeyType::Rsa4096 => (KeyAlgorithm::Rsa4096, SigningAlgorithm::Sha256Withrsa),
        KeyType::Ed25519 => return None,
    })
}
