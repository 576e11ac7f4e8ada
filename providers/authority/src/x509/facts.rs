//! What is read out of parsed structures, in owned form.

use jiff::Timestamp;
use x509_parser::asn1_rs::Oid;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::X509Name;
use x509_parser::time::ASN1Time;

/// A distinguished name.
pub(super) struct Name {
    pub(super) raw: Vec<u8>,
    pub(super) text: String,
    pub(super) common_name: Option<String>,
    pub(super) repeated_attribute: Option<String>,
}

impl Name {
    pub(super) fn new(name: &X509Name<'_>) -> Self {
        let repeated_attribute = repeated(name.iter_attributes().map(|found| found.attr_type()))
            .map(|oid| match oid2abbrev(oid, oid_registry()) {
                Ok(abbreviation) => abbreviation.to_owned(),
                Err(_) => oid.to_id_string(),
            });
        Self {
            raw: name.as_raw().to_vec(),
            text: printable(&name.to_string()),
            common_name: name
                .iter_common_name()
                .next()
                .and_then(|attribute| attribute.as_str().ok())
                .map(printable),
            repeated_attribute,
        }
    }
}

/// Names come from outside and end on terminals: no control characters, no endless text.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(512)
        .collect()
}

pub(super) fn extended_key_usages(
    found: &x509_parser::extensions::ExtendedKeyUsage<'_>,
) -> Vec<String> {
    let known = [
        (found.any, "2.5.29.37.0"),
        (found.server_auth, "1.3.6.1.5.5.7.3.1"),
        (found.client_auth, "1.3.6.1.5.5.7.3.2"),
        (found.code_signing, "1.3.6.1.5.5.7.3.3"),
        (found.email_protection, "1.3.6.1.5.5.7.3.4"),
        (found.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (found.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    let known = known
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, oid)| (*oid).to_owned());
    let other = found.other.iter().map(|oid| oid.to_id_string());
    known.chain(other).collect()
}

/// "No well-defined end" (99991231235959Z, RFC 5280 section 4.1.2.5) lies a day beyond what a
/// [`Timestamp`] can hold: times out of range become the nearest that is in range.
pub(super) fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = time.timestamp();
    Timestamp::from_second(seconds).unwrap_or(match seconds < 0 {
        true => Timestamp::MIN,
        false => Timestamp::MAX,
    })
}

/// The first identifier that occurs a second time.
pub(super) fn repeated<'a, 'o: 'a>(
    identifiers: impl Iterator<Item = &'a Oid<'o>>,
) -> Option<&'a Oid<'o>> {
    let mut seen = Vec::new();
    for oid in identifiers {
        if seen.contains(&oid) {
            return Some(oid);
        }
        seen.push(oid);
    }
    None
}
