//! Certificates with rcgen, from policy alone.
//!
//! rcgen's defaults are wrong for a CA (serial from the key's hash, validity 1975 to 4096, no
//! authority key identifier), and its CSR parser takes the key's algorithm from the signature. So
//! there is one constructor, which sets everything, and the subject key goes in as raw
//! SubjectPublicKeyInfo.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType,
    SerialNumber, SignatureAlgorithm, SigningKey,
};
use relay_pki_authority::x509::{
    Certificate, DnsName, KeyType, PrivateKey, PublicKey, RevocationList, Subject, Validity,
    X509Error,
};
use relay_pki_authority::{ExtendedKeyUsage, KeyUsage, Profile, RevocationListRequest};
use rustls_pki_types::PrivatePkcs8KeyDer;
use time::OffsetDateTime;
use zeroize::Zeroize as _;

/// A CA's key, loaded for signing.
pub(crate) struct Issuer {
    issuer: rcgen::Issuer<'static, CaKey>,
}

/// rcgen's key pair keeps the private key as bytes and does not erase them.
struct CaKey(KeyPair);

impl Drop for CaKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for CaKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for CaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// A key to be certified. rcgen would parse it once more, and guess its algorithm.
struct SubjectKey<'a> {
    key: &'a PublicKey,
    algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for SubjectKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.bits()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl Issuer {
    /// The CA of `certificate`; refuses a key that does not belong to it, which rcgen would not.
    pub(crate) fn new(certificate: &Certificate, key: &PrivateKey) -> Result<Self, X509Error> {
        if certificate.public_key() != key.public_key() {
            return Err(X509Error::Malformed {
                what: "CA",
                reason: format!(
                    "the private key does not belong to the certificate {}",
                    certificate.subject()
                ),
            });
        }
        let issuer = rcgen::Issuer::from_ca_cert_der(certificate.der(), key_pair(key)?)
            .map_err(|error| failed("loading the CA", &error))?;
        Ok(Self { issuer })
    }

    /// A certificate for `key`.
    pub(crate) fn sign(
        &self,
        key: &PublicKey,
        profile: Profile,
        subject: &Subject,
        names: &[DnsName],
        validity: &Validity,
    ) -> Result<Certificate, X509Error> {
        let subject_key = SubjectKey {
            key,
            algorithm: algorithm(key.key_type()?),
        };
        let mut parameters = parameters(key, profile, subject, names, validity)?;
        parameters.use_authority_key_identifier_extension = true;
        let signed = parameters
            .signed_by(&subject_key, &self.issuer)
            .map_err(|error| failed("signing", &error))?;
        Certificate::from_der(signed.der())
    }
}

impl Issuer {
    /// A list of revoked certificates of the CA of `certificate`.
    pub(crate) fn revocation_list(
        &self,
        certificate: &Certificate,
        request: &RevocationListRequest,
    ) -> Result<RevocationList, X509Error> {
        let revoked = request.revoked.iter().map(|revoked| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(revoked.serial.as_bytes()),
                revocation_time: date(revoked.at)?,
                reason_code: None,
                invalidity_date: None,
            })
        });
        let own = certificate.public_key().key_identifier();
        let identifier = certificate.subject_key_identifier().unwrap_or(&own);
        let list = CertificateRevocationListParams {
            this_update: date(request.validity.not_before())?,
            next_update: date(request.validity.not_after())?,
            crl_number: SerialNumber::from(request.number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect::<Result<_, X509Error>>()?,
            key_identifier_method: KeyIdMethod::PreSpecified(identifier.as_bytes().to_vec()),
        };
        let signed = list
            .signed_by(&self.issuer)
            .map_err(|error| failed("signing", &error))?;
        RevocationList::from_der(signed.der(), certificate)
    }
}

/// A self-signed root.
pub(crate) fn root(
    key: &PrivateKey,
    subject: &Subject,
    validity: &Validity,
) -> Result<Certificate, X509Error> {
    let signed = parameters(key.public_key(), Profile::Root, subject, &[], validity)?
        .self_signed(&key_pair(key)?)
        .map_err(|error| failed("signing", &error))?;
    Certificate::from_der(signed.der())
}

/// A PKCS#10 request for a signer.
pub(crate) fn request(key: &PrivateKey, subject: &Subject) -> Result<Vec<u8>, X509Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject.distinguished_name();
    let request = parameters
        .serialize_request(&key_pair(key)?)
        .map_err(|error| failed("signing the request", &error))?;
    Ok(request.der().to_vec())
}

fn parameters(
    key: &PublicKey,
    profile: Profile,
    subject: &Subject,
    names: &[DnsName],
    validity: &Validity,
) -> Result<CertificateParams, X509Error> {
    let serial = relay_pki_authority::x509::SerialNumber::random()?;
    let rsa = key.key_type()?.is_rsa();
    let mut parameters = CertificateParams::default();
    parameters.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    parameters.not_before = date(validity.not_before())?;
    parameters.not_after = date(validity.not_after())?;
    parameters.distinguished_name = subject.distinguished_name();
    parameters.is_ca = match (profile.is_ca(), profile.path_len()) {
        (true, None) => IsCa::Ca(BasicConstraints::Unconstrained),
        (true, Some(length)) => IsCa::Ca(BasicConstraints::Constrained(
            u8::try_from(length).unwrap_or(0),
        )),
        (false, _) => IsCa::ExplicitNoCa,
    };
    // The same identifier wherever this key is certified, so that cross-certificates fit.
    parameters.key_identifier_method =
        KeyIdMethod::PreSpecified(key.key_identifier().as_bytes().to_vec());
    parameters.key_usages = key_usages(profile.required_key_usage(rsa));
    parameters.extended_key_usages = profile
        .extended_key_usage()
        .into_iter()
        .map(|usage| match usage {
            ExtendedKeyUsage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
        })
        .collect();
    for name in names {
        let name = name
            .as_str()
            .try_into()
            .map_err(|error| failed("encoding a DNS name", &error))?;
        parameters.subject_alt_names.push(SanType::DnsName(name));
    }
    Ok(parameters)
}

fn key_usages(wanted: KeyUsage) -> Vec<KeyUsagePurpose> {
    [
        (
            KeyUsage::DIGITAL_SIGNATURE,
            KeyUsagePurpose::DigitalSignature,
        ),
        (KeyUsage::KEY_ENCIPHERMENT, KeyUsagePurpose::KeyEncipherment),
        (KeyUsage::KEY_CERT_SIGN, KeyUsagePurpose::KeyCertSign),
        (KeyUsage::CRL_SIGN, KeyUsagePurpose::CrlSign),
    ]
    .into_iter()
    .filter(|(usage, _)| wanted.contains(*usage))
    .map(|(_, purpose)| purpose)
    .collect()
}

fn date(at: jiff::Timestamp) -> Result<OffsetDateTime, X509Error> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|error| X509Error::Malformed {
        what: "validity",
        reason: error.to_string(),
    })
}

fn algorithm(key_type: KeyType) -> &'static SignatureAlgorithm {
    match key_type {
        KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        KeyType::Ed25519 => &rcgen::PKCS_ED25519,
    }
}

fn key_pair(key: &PrivateKey) -> Result<CaKey, X509Error> {
    let der = PrivatePkcs8KeyDer::from(key.pkcs8_der());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm(key.key_type()?))
        .map(CaKey)
        .map_err(|error| failed("loading the private key", &error))
}

fn failed(operation: &'static str, error: &rcgen::Error) -> X509Error {
    X509Error::Malformed {
        what: operation,
        reason: error.to_string(),
    }
}
