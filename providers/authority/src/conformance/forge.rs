//! A CA inside the test process, which obeys whatever it is told: the stranger under whose root a
//! backend has to work, and the liar that the checks have to catch.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SanType, SubjectPublicKeyInfo,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::x509::{
    Certificate, CertificateChain, DnsName, KeyType, PrivateKey, PublicKey, SerialNumber, Subject,
    TrustBundle, Validity, VerifiedCsr,
};
use crate::{
    Authority, AuthorityError, ExtendedKeyUsage, Issuance, IssuanceId, Outcome, Profile,
    SigningRequest,
};

/// A CA of the test's own.
#[derive(Clone)]
pub struct ForgedCa {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its private key.
    pub key: PrivateKey,
    /// What follows a leaf in its chains.
    pub path: Vec<Certificate>,
    /// Roots in which its chains end.
    pub anchors: TrustBundle,
    /// What it puts into what it issues as the issuer: name, key identifier, usages.
    pub issuer: CertificateParams,
}

impl ForgedCa {
    /// A root.
    pub fn root(name: &str, validity: Validity) -> Self {
        Self::root_with(name, validity, |_| {})
    }

    /// A root that `change` makes different.
    pub fn root_with(
        name: &str,
        validity: Validity,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = private_key();
        let subject = subject(name);
        let mut params = params(Profile::Root, key.public_key(), &subject, &[], validity);
        params.use_authority_key_identifier_extension = false;
        change(&mut params);
        let signed = params.self_signed(&key_pair(&key)).unwrap();
        let certificate = Certificate::from_der(signed.der()).unwrap();
        Self {
            anchors: TrustBundle::new([certificate.clone()]).unwrap(),
            path: Vec::new(),
            certificate,
            key,
            issuer: params,
        }
    }

    /// A CA below this one.
    pub fn signer(&self, name: &str, validity: Validity) -> Self {
        self.signer_with(name, validity, |_| {})
    }

    /// A CA below this one that `change` makes different.
    pub fn signer_with(
        &self,
        name: &str,
        validity: Validity,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = private_key();
        let mut params = params(
            Profile::Signer,
            key.public_key(),
            &subject(name),
            &[],
            validity,
        );
        change(&mut params);
        let certificate = self.certify(&params, key.public_key());
        let mut path = vec![certificate.clone()];
        path.extend(self.path.iter().cloned());
        Self {
            certificate,
            key,
            path,
            anchors: self.anchors.clone(),
            issuer: params,
        }
    }

    /// Signs whatever `params` say.
    pub fn certify(&self, params: &CertificateParams, key: &PublicKey) -> Certificate {
        Certificate::from_der(&self.certify_der(params, key)).unwrap()
    }

    /// Signs whatever `params` say, even what does not parse.
    pub fn certify_der(&self, params: &CertificateParams, key: &PublicKey) -> Vec<u8> {
        let spki = SubjectPublicKeyInfo::from_der(key.spki_der()).unwrap();
        let issuer = rcgen::Issuer::from_params(&self.issuer, key_pair(&self.key));
        params.signed_by(&spki, &issuer).unwrap().der().to_vec()
    }

    /// What an honest CA signs for `request`.
    pub fn honest(&self, request: &SigningRequest) -> CertificateParams {
        params(
            request.profile,
            request.csr.public_key(),
            &request.subject,
            &request.names,
            request.validity,
        )
    }
}

#[async_trait]
impl Authority for ForgedCa {
    fn id(&self) -> &str {
        "forge"
    }

    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn path(&self) -> &[Certificate] {
        &self.path
    }

    fn anchors(&self) -> &TrustBundle {
        &self.anchors
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let leaf = self.certify(&self.honest(request), request.csr.public_key());
        let chain = std::iter::once(leaf).chain(self.path.iter().cloned());
        Ok(Outcome::Issued(Issuance {
            chain: CertificateChain::new(chain.collect()).unwrap(),
            anchors: self.anchors.clone(),
            reference: None,
        }))
    }
}

/// A new P-256 key.
pub fn private_key() -> PrivateKey {
    PrivateKey::generate(KeyType::EcdsaP256).unwrap()
}

/// A subject with a common name only.
pub fn subject(name: &str) -> Subject {
    Subject {
        organization: None,
        common_name: name.parse().unwrap(),
    }
}

/// From `at`, so many hours.
pub fn hours(at: Timestamp, hours: i64) -> Validity {
    Validity::new(at, at + SignedDuration::from_hours(hours)).unwrap()
}

/// A request signed by `key` that asks for nothing but a common name.
pub fn csr(key: &PrivateKey, name: &str) -> VerifiedCsr {
    csr_with(key, name, |_| {})
}

/// Names as rcgen takes them.
pub fn dns_names(names: &[&str]) -> Vec<SanType> {
    let names = names.iter();
    names
        .map(|name| SanType::DnsName((*name).try_into().unwrap()))
        .collect()
}

/// A request that `change` makes different.
pub fn csr_with(
    key: &PrivateKey,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> VerifiedCsr {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name).distinguished_name();
    change(&mut params);
    let request = params.serialize_request(&key_pair(key)).unwrap();
    VerifiedCsr::from_der(request.der()).unwrap()
}

/// A request for one leaf, named `name`.
pub fn leaf_request(
    csr: VerifiedCsr,
    profile: Profile,
    name: &str,
    validity: Validity,
    now: Timestamp,
) -> SigningRequest {
    SigningRequest {
        id: IssuanceId::derive(&[
            name.as_bytes(),
            csr.der(),
            profile.to_string().as_bytes(),
            validity.to_string().as_bytes(),
        ]),
        csr,
        profile,
        subject: subject(name),
        names: vec![name.parse().unwrap()],
        validity,
        now,
    }
}

/// Certificate contents exactly as `profile` wants them.
pub fn params(
    profile: Profile,
    key: &PublicKey,
    subject: &Subject,
    names: &[DnsName],
    validity: Validity,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    let serial = SerialNumber::random().unwrap();
    params.serial_number = Some(serial.as_bytes().to_vec().into());
    set_validity(&mut params, validity.not_before(), validity.not_after());
    params.distinguished_name = subject.distinguished_name();
    params.is_ca = match (profile.is_ca(), profile.path_len()) {
        (true, None) => IsCa::Ca(BasicConstraints::Unconstrained),
        (true, Some(length)) => IsCa::Ca(BasicConstraints::Constrained(length as u8)),
        (false, _) => IsCa::ExplicitNoCa,
    };
    params.key_identifier_method =
        KeyIdMethod::PreSpecified(key.key_identifier().as_bytes().to_vec());
    params.use_authority_key_identifier_extension = true;
    params.key_usages = match profile.is_ca() {
        true => vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
        false => vec![KeyUsagePurpose::DigitalSignature],
    };
    params.extended_key_usages = match profile.extended_key_usage() {
        Some(ExtendedKeyUsage::ServerAuth) => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Some(ExtendedKeyUsage::ClientAuth) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        None => Vec::new(),
    };
    params.subject_alt_names = names
        .iter()
        .map(|name| SanType::DnsName(name.as_str().try_into().unwrap()))
        .collect();
    params
}

/// Sets both dates; from 1970 on.
pub fn set_validity(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    let date = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds)
    };
    params.not_before = date(from);
    params.not_after = date(to);
}

fn key_pair(key: &PrivateKey) -> KeyPair {
    let algorithm = match key.key_type().unwrap() {
        KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Ed25519 => &rcgen::PKCS_ED25519,
        _ => &rcgen::PKCS_RSA_SHA256,
    };
    let der = PrivatePkcs8KeyDer::from(key.pkcs8_der());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).unwrap()
}
