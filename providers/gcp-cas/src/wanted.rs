//! Certificates and CAs as the service wants them described: always by policy, never by a CSR.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use google_cloud_security_privateca_v1::model;
use google_cloud_security_privateca_v1::model::certificate_authority::{
    KeyVersionSpec, SignHashAlgorithm,
};
use google_cloud_security_privateca_v1::model::certificate_config::SubjectConfig;
use google_cloud_security_privateca_v1::model::key_usage::{
    ExtendedKeyUsageOptions, KeyUsageOptions,
};
use google_cloud_security_privateca_v1::model::public_key::KeyFormat;
use google_cloud_security_privateca_v1::model::x_509_parameters::CaOptions;
use relay_pki_authority::x509::{KeyType, PublicKey, Subject};
use relay_pki_authority::{ExtendedKeyUsage, KeyUsage, Profile, SigningRequest};

/// The key types of the service's CAs. Its RSA-PSS signatures are not among those that every peer
/// verifies.
pub(crate) const CA_KEY_TYPES: [KeyType; 5] = [
    KeyType::EcdsaP256,
    KeyType::EcdsaP384,
    KeyType::Rsa2048,
    KeyType::Rsa3072,
    KeyType::Rsa4096,
];

/// The service's name for a CA's key type.
pub(crate) fn key_spec(key_type: KeyType) -> Option<KeyVersionSpec> {
    let algorithm = match key_type {
        KeyType::EcdsaP256 => SignHashAlgorithm::EcP256Sha256,
        KeyType::EcdsaP384 => SignHashAlgorithm::EcP384Sha384,
        KeyType::Rsa2048 => SignHashAlgorithm::RsaPkcs12048Sha256,
        KeyType::Rsa3072 => SignHashAlgorithm::RsaPkcs13072Sha256,
        KeyType::Rsa4096 => SignHashAlgorithm::RsaPkcs14096Sha256,
        KeyType::Ed25519 => return None,
    };
    Some(KeyVersionSpec::new().set_algorithm(algorithm))
}

/// A CA.
pub(crate) fn ca_config(profile: Profile, subject: &Subject) -> model::CertificateConfig {
    model::CertificateConfig::new()
        .set_subject_config(SubjectConfig::new().set_subject(name(subject)))
        .set_x509_config(parameters(profile, false))
}

/// A certificate for the key of a request.
pub(crate) fn certificate_config(request: &SigningRequest) -> model::CertificateConfig {
    let key = request.csr.public_key();
    let rsa = key.key_type().is_ok_and(KeyType::is_rsa);
    let mut subject = SubjectConfig::new().set_subject(name(&request.subject));
    if !request.names.is_empty() {
        let names = request.names.iter().map(|name| name.as_str());
        subject = subject.set_subject_alt_name(model::SubjectAltNames::new().set_dns_names(names));
    }
    model::CertificateConfig::new()
        .set_subject_config(subject)
        .set_x509_config(parameters(request.profile, rsa))
        .set_public_key(public_key(key))
}

fn name(subject: &Subject) -> model::Subject {
    let name = model::Subject::new().set_common_name(subject.common_name.as_str());
    match &subject.organization {
        Some(organization) => name.set_organization(organization.as_str()),
        None => name,
    }
}

fn parameters(profile: Profile, rsa: bool) -> model::X509Parameters {
    let usage = profile.required_key_usage(rsa);
    let base = KeyUsageOptions::new()
        .set_digital_signature(usage.contains(KeyUsage::DIGITAL_SIGNATURE))
        .set_key_encipherment(usage.contains(KeyUsage::KEY_ENCIPHERMENT))
        .set_cert_sign(usage.contains(KeyUsage::KEY_CERT_SIGN))
        .set_crl_sign(usage.contains(KeyUsage::CRL_SIGN));
    let mut usages = model::KeyUsage::new().set_base_key_usage(base);
    if let Some(extended) = profile.extended_key_usage() {
        usages = usages.set_extended_key_usage(match extended {
            ExtendedKeyUsage::ServerAuth => ExtendedKeyUsageOptions::new().set_server_auth(true),
            ExtendedKeyUsage::ClientAuth => ExtendedKeyUsageOptions::new().set_client_auth(true),
        });
    }
    let mut ca = CaOptions::new().set_is_ca(profile.is_ca());
    if let Some(length) = profile.path_len() {
        ca = ca.set_max_issuer_path_length(i32::try_from(length).unwrap_or(i32::MAX));
    }
    model::X509Parameters::new()
        .set_key_usage(usages)
        .set_ca_options(ca)
}

fn public_key(key: &PublicKey) -> model::PublicKey {
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in STANDARD.encode(key.spki_der()).as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    model::PublicKey::new()
        .set_key(pem)
        .set_format(KeyFormat::Pem)
}
