use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::Oid;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::facts::{Name, extended_key_usages, repeated, timestamp};
use super::verify::verify_signature;
use super::{
    DnsName, Fingerprint, KeyIdentifier, PublicKey, SerialNumber, Validity, X509Error, pem,
};
use crate::profile::KeyUsage;

/// Largest DER certificate that is parsed.
const DER_LIMIT: usize = 64 * 1024;

/// One X.509 certificate: its DER and the facts that decisions are taken on.
///
/// Parsing is tolerant of what RFC 5280 forbids but the world contains (serial 0, missing
/// extensions): an audit has to name such defects. What is not well-formed does not parse.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: CertificateDer<'static>,
    fingerprint: Fingerprint,
    raw_serial: Vec<u8>,
    subject: Name,
    issuer: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    public_key: PublicKey,
    signature_algorithm: Oid<'static>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<(KeyUsage, bool)>,
    extended_key_usage: Vec<String>,
    dns_names: Vec<String>,
    other_names: Vec<&'static str>,
    subject_key_identifier: Option<KeyIdentifier>,
    authority_key_identifier: Option<KeyIdentifier>,
    name_constraints: bool,
    unknown_critical: Vec<String>,
}

/// The BasicConstraints extension (RFC 5280 section 4.2.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicConstraints {
    /// `cA`.
    pub ca: bool,
    /// `pathLenConstraint`.
    pub path_len: Option<u32>,
    /// Whether the extension is critical.
    pub critical: bool,
}

impl Certificate {
    /// From DER; trailing bytes are an error.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        Self::from_owned(CertificateDer::from(der.to_vec()))
    }

    /// The first certificate in PEM text.
    pub fn from_pem(text: &[u8]) -> Result<Self, X509Error> {
        match pem::certificates(text)?.into_iter().next() {
            Some(der) => Self::from_owned(der),
            None => Err(X509Error::PemMissing {
                wanted: "CERTIFICATE",
            }),
        }
    }

    /// Every certificate in PEM text, in order; at least one.
    pub fn list_from_pem(text: &[u8]) -> Result<Vec<Self>, X509Error> {
        pem::certificates(text)?
            .into_iter()
            .map(Self::from_owned)
            .collect()
    }

    fn from_owned(der: CertificateDer<'static>) -> Result<Self, X509Error> {
        let malformed = |reason: String| X509Error::Malformed {
            what: "certificate",
            reason,
        };
        if der.len() > DER_LIMIT {
            return Err(X509Error::TooLarge {
                what: "certificate",
                size: der.len(),
                limit: DER_LIMIT,
            });
        }
        let (rest, parsed) =
            X509Certificate::from_der(&der).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} trailing bytes", rest.len())));
        }
        // Whoever reads the other one of two copies decides differently (RFC 5280 section 4.2).
        if let Some(oid) = repeated(parsed.extensions().iter().map(|found| &found.oid)) {
            return Err(malformed(format!("extension {oid} appears twice")));
        }
        let mut inner = Inner {
            fingerprint: Fingerprint::of(&der),
            raw_serial: parsed.raw_serial().to_vec(),
            subject: Name::new(parsed.subject()),
            issuer: Name::new(parsed.issuer()),
            not_before: timestamp(parsed.validity().not_before),
            not_after: timestamp(parsed.validity().not_after),
            public_key: PublicKey::from_parsed(parsed.public_key())?,
            signature_algorithm: parsed.signature_algorithm.algorithm.to_owned(),
            basic_constraints: None,
            key_usage: None,
            extended_key_usage: Vec::new(),
            dns_names: Vec::new(),
            other_names: Vec::new(),
            subject_key_identifier: None,
            authority_key_identifier: None,
            name_constraints: false,
            unknown_critical: Vec::new(),
            der: CertificateDer::from(Vec::new()),
        };
        for extension in parsed.extensions() {
            let critical = extension.critical;
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(found) => {
                    inner.basic_constraints = Some(BasicConstraints {
                        ca: found.ca,
                        path_len: found.path_len_constraint,
                        critical,
                    });
                }
                ParsedExtension::KeyUsage(found) => {
                    inner.key_usage = Some((KeyUsage::from_bits(found.flags), critical));
                }
                ParsedExtension::ExtendedKeyUsage(found) => {
                    inner.extended_key_usage = extended_key_usages(found);
                }
                ParsedExtension::SubjectAlternativeName(found) => {
                    for name in &found.general_names {
                        match name {
                            GeneralName::DNSName(dns) => inner.dns_names.push((*dns).to_owned()),
                            GeneralName::IPAddress(_) => inner.other_names.push("IP address"),
                            GeneralName::URI(_) => inner.other_names.push("URI"),
                            GeneralName::RFC822Name(_) => inner.other_names.push("e-mail"),
                            _ => inner.other_names.push("other name"),
                        }
                    }
                }
                ParsedExtension::SubjectKeyIdentifier(found) => {
                    inner.subject_key_identifier = Some(KeyIdentifier::new(found.0));
                }
                ParsedExtension::AuthorityKeyIdentifier(found) => {
                    inner.authority_key_identifier = found
                        .key_identifier
                        .as_ref()
                        .map(|id| KeyIdentifier::new(id.0));
                }
                ParsedExtension::ParseError { .. } => {
                    return Err(malformed(format!(
                        "extension {} does not parse",
                        extension.oid.to_id_string()
                    )));
                }
                ParsedExtension::NameConstraints(_) => inner.name_constraints = true,
                // The parser knows the last three; nothing here or in webpki enforces them.
                ParsedExtension::UnsupportedExtension { .. }
                | ParsedExtension::PolicyConstraints(_)
                | ParsedExtension::PolicyMappings(_)
                | ParsedExtension::InhibitAnyPolicy(_)
                    if critical =>
                {
                    inner.unknown_critical.push(extension.oid.to_id_string());
                }
                _ => {}
            }
        }
        drop(parsed);
        inner.der = der;
        Ok(Self(Arc::new(inner)))
    }

    /// The DER bytes.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.0.der
    }

    /// One PEM section.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.0.der)
    }

    /// SHA-256 over the DER.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The serial number, if it is one that RFC 5280 allows.
    pub fn serial(&self) -> Result<SerialNumber, X509Error> {
        SerialNumber::from_der_content(&self.0.raw_serial)
    }

    /// The serial number's content octets, whatever they are.
    pub fn raw_serial(&self) -> &[u8] {
        &self.0.raw_serial
    }

    /// The subject, for people.
    pub fn subject(&self) -> &str {
        &self.0.subject.text
    }

    /// The subject's DER.
    pub fn raw_subject(&self) -> &[u8] {
        &self.0.subject.raw
    }

    /// The issuer, for people.
    pub fn issuer(&self) -> &str {
        &self.0.issuer.text
    }

    /// The issuer's DER.
    pub fn raw_issuer(&self) -> &[u8] {
        &self.0.issuer.raw
    }

    /// The subject's (first) common name.
    pub fn common_name(&self) -> Option<&str> {
        self.0.subject.common_name.as_deref()
    }

    /// An attribute type that the subject has more than once. Such a CA cannot be used: rcgen and
    /// others write an issuer name with all but one of them lost, which breaks the chain.
    pub fn repeated_subject_attribute(&self) -> Option<&str> {
        self.0.subject.repeated_attribute.as_deref()
    }

    /// The validity period; an error if it ends before it starts.
    pub fn validity(&self) -> Result<Validity, X509Error> {
        Validity::new(self.0.not_before, self.0.not_after)
    }

    /// First instant of validity.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// Last instant of validity.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// Whether `at` lies inside the validity period.
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.0.not_before <= at && at <= self.0.not_after
    }

    /// The subject's public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// The signature algorithm's object identifier, dotted.
    pub fn signature_algorithm(&self) -> String {
        self.0.signature_algorithm.to_id_string()
    }

    /// BasicConstraints, if present.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.0.basic_constraints
    }

    /// Whether the certificate says that it is a CA's.
    pub fn is_ca(&self) -> bool {
        self.0.basic_constraints.is_some_and(|found| found.ca)
    }

    /// KeyUsage, if present.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.key_usage.map(|(usage, _)| usage)
    }

    /// Whether KeyUsage is present and critical.
    pub fn key_usage_is_critical(&self) -> bool {
        self.0.key_usage.is_some_and(|(_, critical)| critical)
    }

    /// Object identifiers in ExtendedKeyUsage, dotted; empty when the extension is absent.
    pub fn extended_key_usage(&self) -> &[String] {
        &self.0.extended_key_usage
    }

    /// DNS names in SubjectAlternativeName.
    pub fn dns_names(&self) -> &[String] {
        &self.0.dns_names
    }

    /// Kinds of the SubjectAlternativeName entries that are not DNS names.
    pub fn other_names(&self) -> &[&'static str] {
        &self.0.other_names
    }

    /// Whether a DNS name of the certificate, possibly a wildcard, covers `host` (RFC 9525).
    pub fn covers(&self, host: &DnsName) -> bool {
        self.0
            .dns_names
            .iter()
            .filter_map(|name| name.to_ascii_lowercase().parse::<DnsName>().ok())
            .any(|name| name.covers(host))
    }

    /// SubjectKeyIdentifier, if present.
    pub fn subject_key_identifier(&self) -> Option<&KeyIdentifier> {
        self.0.subject_key_identifier.as_ref()
    }

    /// The key identifier in AuthorityKeyIdentifier, if present.
    pub fn authority_key_identifier(&self) -> Option<&KeyIdentifier> {
        self.0.authority_key_identifier.as_ref()
    }

    /// Whether NameConstraints is present: then names below have to be checked along the whole path.
    pub fn has_name_constraints(&self) -> bool {
        self.0.name_constraints
    }

    /// Critical extensions that this code does not enforce; a verifier must refuse them.
    pub fn unknown_critical_extensions(&self) -> &[String] {
        &self.0.unknown_critical
    }

    /// Whether subject and issuer are the same name and the certificate's own key signed it.
    pub fn is_self_signed(&self) -> bool {
        self.0.subject.raw == self.0.issuer.raw && self.is_signed_by(&self.0.public_key)
    }

    /// Whether `issuer`'s name and key identifier fit. Cheap: no signature is checked.
    pub fn names_as_issuer(&self, issuer: &Self) -> bool {
        let identifiers_fit = match (
            self.authority_key_identifier(),
            issuer.subject_key_identifier(),
        ) {
            (Some(authority), Some(subject)) => authority == subject,
            _ => true,
        };
        self.0.issuer.raw == issuer.0.subject.raw && identifiers_fit
    }

    /// Whether `issuer` is named and its key signed this certificate.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        self.names_as_issuer(issuer) && self.is_signed_by(issuer.public_key())
    }

    /// Whether `key` signed this certificate.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(&self.0.der) else {
            return false;
        };
        // Only one of the two is signed; they must agree (RFC 5280 section 4.1.1.2).
        if parsed.signature_algorithm != parsed.tbs_certificate.signature {
            return false;
        }
        verify_signature(
            key,
            &parsed.signature_algorithm,
            &parsed.signature_value,
            parsed.tbs_certificate.as_ref(),
        )
        .is_ok()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.fingerprint == other.0.fingerprint
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Certificate({}, {})",
            self.subject(),
            self.fingerprint().short()
        )
    }
}
