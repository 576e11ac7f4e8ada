use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::{Error, PemObject as _};
use x509_parser::certification_request::{X509CertificationRequest, X509CertificationRequestInfo};
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use super::facts::{printable, repeated};
use super::verify::verify_signature;
use super::{DnsName, PublicKey, Subject, X509Error, pem};

const COMMON_NAME: &str = "2.5.4.3";
const ORGANIZATION: &str = "2.5.4.10";

/// Largest DER request that is parsed.
const DER_LIMIT: usize = 16 * 1024;

/// A PKCS#10 request (RFC 2986) whose sender has proved possession of the key.
///
/// There is no way to hold a request whose signature was not checked. What the request asks for is
/// advisory: certificates are built from policy, and only the public key is taken from here. It is
/// read by the algorithm in the SubjectPublicKeyInfo, never by the signature's: a P-256 key may sign
/// its request with SHA-384.
#[derive(Debug, Clone)]
pub struct VerifiedCsr {
    der: Vec<u8>,
    public_key: PublicKey,
    subject: String,
    common_name: Option<String>,
    /// Object identifiers and values.
    attributes: Vec<(String, Option<String>)>,
    dns_names: Vec<String>,
    other_names: Vec<&'static str>,
    wants_ca: bool,
    /// Whether it carries a challengePassword.
    has_challenge: bool,
}

impl VerifiedCsr {
    /// From DER. Refuses broken signatures and keys that relay-pki does not work with.
    ///
    /// A request to become a CA parses, because backends ask so for their own signers (AWS Private
    /// CA does); [`VerifiedCsr::for_leaf`] refuses it wherever a leaf is to be issued.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        let malformed = |reason: String| X509Error::Malformed {
            what: "certificate request",
            reason,
        };
        if der.len() > DER_LIMIT {
            return Err(X509Error::TooLarge {
                what: "certificate request",
                size: der.len(),
                limit: DER_LIMIT,
            });
        }
        let (rest, parsed) = X509CertificationRequest::from_der(der)
            .map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} trailing bytes", rest.len())));
        }
        let info = &parsed.certification_request_info;
        let public_key = PublicKey::from_parsed(&info.subject_pki)?;
        public_key.key_type()?;
        verify_signature(
            &public_key,
            &parsed.signature_algorithm,
            &parsed.signature_value,
            info.raw,
        )
        .map_err(|error| match error {
            X509Error::BadSignature { .. } => X509Error::BadSignature {
                what: "certificate request",
            },
            other => other,
        })?;
        let mut dns_names = Vec::new();
        let mut other_names = Vec::new();
        let mut wants_ca = false;
        let requested = requested_extensions(info).map_err(&malformed)?;
        for extension in requested {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(found) => {
                    for name in &found.general_names {
                        match name {
                            GeneralName::DNSName(dns) => dns_names.push((*dns).to_owned()),
                            GeneralName::IPAddress(_) => other_names.push("IP address"),
                            GeneralName::URI(_) => other_names.push("URI"),
                            GeneralName::RFC822Name(_) => other_names.push("e-mail"),
                            _ => other_names.push("other name"),
                        }
                    }
                }
                ParsedExtension::BasicConstraints(found) => wants_ca |= found.ca,
                ParsedExtension::ParseError { .. } => {
                    return Err(malformed("a requested extension does not parse".to_owned()));
                }
                _ => {}
            }
        }
        Ok(Self {
            subject: printable(&info.subject.to_string()),
            common_name: info
                .subject
                .iter_common_name()
                .next()
                .and_then(|attribute| attribute.as_str().ok())
                .map(printable),
            attributes: info
                .subject
                .iter_attributes()
                .map(|attribute| {
                    let value = attribute.as_str().ok().map(str::to_owned);
                    (attribute.attr_type().to_id_string(), value)
                })
                .collect(),
            has_challenge: challenge(info).is_some(),
            der: der.to_vec(),
            public_key,
            dns_names,
            other_names,
            wants_ca,
        })
    }

    /// From one PEM `CERTIFICATE REQUEST` section.
    pub fn from_pem(text: &[u8]) -> Result<Self, X509Error> {
        let text = pem::bounded("certificate request", text)?;
        let der =
            CertificateSigningRequestDer::from_pem_slice(text).map_err(|error| match error {
                Error::NoItemsFound => X509Error::PemMissing {
                    wanted: "CERTIFICATE REQUEST",
                },
                other => pem::malformed(other),
            })?;
        Self::from_der(&der)
    }

    /// The request as it came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// One PEM section.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE REQUEST", &self.der)
    }

    /// The key whose possession is proved.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Refuses the request for a leaf if it asks to be a CA: nobody honest does, and no backend
    /// should get the chance to grant it.
    pub fn for_leaf(&self) -> Result<&Self, X509Error> {
        match self.wants_ca {
            true => Err(X509Error::ForbiddenRequest {
                what: "a CA certificate",
            }),
            false => Ok(self),
        }
    }

    /// Refuses a request that does not ask for exactly this subject and these names: some backends
    /// grant what the request asks for.
    pub fn asking_for(&self, subject: &Subject, names: &[DnsName]) -> Result<&Self, X509Error> {
        let common_name = Some((COMMON_NAME, subject.common_name.as_str()));
        let organization = subject.organization.as_ref();
        let organization = organization.map(|name| (ORGANIZATION, name.as_str()));
        let mut wanted: Vec<(&str, Option<&str>)> = [common_name, organization]
            .into_iter()
            .flatten()
            .map(|(oid, value)| (oid, Some(value)))
            .collect();
        let attributes = self.attributes.iter();
        let mut found: Vec<(&str, Option<&str>)> = attributes
            .map(|(oid, value)| (oid.as_str(), value.as_deref()))
            .collect();
        let mut wanted_names: Vec<&str> = names.iter().map(DnsName::as_str).collect();
        let mut found_names: Vec<&str> = self.dns_names.iter().map(String::as_str).collect();
        for list in [&mut wanted, &mut found] {
            list.sort_unstable();
        }
        for list in [&mut wanted_names, &mut found_names] {
            list.sort_unstable();
            list.dedup();
        }
        if found == wanted && found_names == wanted_names && self.other_names.is_empty() {
            return Ok(self);
        }
        Err(X509Error::OtherRequest {
            found: asked(&self.subject, &found_names, &self.other_names),
            wanted: asked(&subject.to_string(), &wanted_names, &[]),
        })
    }

    /// The subject asked for, for people.
    pub fn requested_subject(&self) -> &str {
        &self.subject
    }

    /// The common name asked for.
    pub fn requested_common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The DNS names asked for.
    pub fn requested_dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The challengePassword (RFC 2985 section 5.4.1), which EST carries a channel binding in. It is not
    /// kept beside the other facts, where `Debug` would show it.
    pub fn challenge_password(&self) -> Option<Zeroizing<String>> {
        if !self.has_challenge {
            return None;
        }
        let (_, parsed) = X509CertificationRequest::from_der(&self.der).ok()?;
        challenge(&parsed.certification_request_info).map(|found| Zeroizing::new(found.to_owned()))
    }

    /// Kinds of the names asked for that are not DNS names.
    pub fn requested_other_names(&self) -> &[&'static str] {
        &self.other_names
    }
}

fn challenge<'a>(info: &'a X509CertificationRequestInfo<'_>) -> Option<&'a str> {
    info.iter_attributes()
        .find_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ChallengePassword(found) => Some(found.0.as_str()),
            _ => None,
        })
}

/// A subject and names, for people.
fn asked(subject: &str, names: &[&str], others: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| printable(name)).collect();
    let mut text = match names.is_empty() {
        true => format!("{subject} without DNS names"),
        false => format!("{subject} with the DNS names {}", names.join(", ")),
    };
    if let Some(kind) = others.first() {
        text = format!("{text} and a name of another kind ({kind})");
    }
    text
}

/// The extensions asked for. Two lists, or one extension twice, is an attempt to show different
/// readers different requests.
fn requested_extensions<'a>(
    info: &'a X509CertificationRequestInfo<'_>,
) -> Result<&'a [X509Extension<'a>], String> {
    let mut lists =
        info.iter_attributes()
            .filter_map(|attribute| match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(requested) => {
                    Some(requested.extensions.as_slice())
                }
                _ => None,
            });
    let list = lists.next().unwrap_or_default();
    if lists.next().is_some() {
        return Err("it has more than one list of requested extensions".to_owned());
    }
    match repeated(list.iter().map(|extension| &extension.oid)) {
        Some(oid) => Err(format!("extension {oid} is requested twice")),
        None => Ok(list),
    }
}
