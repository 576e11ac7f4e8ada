//! The request of a signer whose key is in the key store.

use rcgen::{CertificateParams, KeyPair};
use relay_pki_authority::x509::{KeyType, PrivateKey, Subject, VerifiedCsr, X509Error};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroize as _;

/// A PKCS#10 request that asks for `subject` and nothing else.
pub(crate) fn csr(key: &PrivateKey, subject: &Subject) -> Result<VerifiedCsr, X509Error> {
    let failed = |error: rcgen::Error| X509Error::Malformed {
        what: "certificate request",
        reason: error.to_string(),
    };
    let algorithm = match key.key_type()? {
        KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        KeyType::Ed25519 => &rcgen::PKCS_ED25519,
    };
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject.distinguished_name();
    let der = PrivatePkcs8KeyDer::from(key.pkcs8_der());
    let mut pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).map_err(failed)?;
    let request = parameters.serialize_request(&pair);
    // rcgen does not erase keys by itself.
    pair.zeroize();
    VerifiedCsr::from_der(request.map_err(failed)?.der())
}
