//! Certificates, read without the product.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::*;

/// What the tests ask of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) serial: Vec<u8>,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) common_name: String,
    pub(crate) public_key: Vec<u8>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) is_ca: bool,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// Every certificate in PEM text, in order.
pub(crate) fn certificates(pem: &[u8]) -> Vec<Certificate> {
    CertificateDer::pem_slice_iter(pem)
        .map(|der| Certificate::from_der(der.unwrap()))
        .collect()
}

/// The first certificate in PEM text.
pub(crate) fn leaf(pem: &[u8]) -> Certificate {
    certificates(pem).into_iter().next().expect("a certificate")
}

/// The private key in PEM text.
pub(crate) fn private_key(pem: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem).expect("a private key")
}

/// Whether a private key is the one of a certificate.
pub(crate) fn belong_together(certificate: &Certificate, key: &[u8]) -> bool {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    rustls::sign::CertifiedKey::from_der(vec![certificate.der.clone()], private_key(key), &provider)
        .is_ok()
}

impl Certificate {
    fn from_der(der: CertificateDer<'static>) -> Self {
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let alternative = parsed.subject_alternative_name().unwrap();
        let names = alternative.map(|found| found.value.general_names.clone());
        let common_name = parsed.subject().iter_common_name().next();
        Self {
            serial: parsed.raw_serial().to_vec(),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            common_name: common_name
                .map_or("", |name| name.as_str().unwrap())
                .to_owned(),
            public_key: parsed.public_key().raw.to_vec(),
            dns_names: names
                .unwrap_or_default()
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                })
                .collect(),
            is_ca: parsed.is_ca(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            der: der.clone(),
        }
    }
}
