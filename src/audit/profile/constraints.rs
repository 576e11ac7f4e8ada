//! Name constraints, as far as the audit needs them: there are any, or some on directory names.
//!
//! The contract's `Certificate` does not carry the extension, so its DER is read here. Nothing is
//! decided on it but a finding: what cannot be read counts as absent.

use relay_pki_authority::x509::Certificate;

/// `id-ce-nameConstraints`, DER.
const OID: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x1e];

const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const SEQUENCE: u8 = 0x30;
/// `directoryName [4]` in a GeneralName.
const DIRECTORY_NAME: u8 = 0xa4;

/// Whether a certificate has name constraints.
pub(super) fn any(certificate: &Certificate) -> bool {
    extension(certificate.der()).is_some()
}

/// Whether a certificate has name constraints on directory names.
pub(super) fn on_directory_names(certificate: &Certificate) -> bool {
    extension(certificate.der())
        .is_some_and(|value| restricts_directory_names(value).unwrap_or(false))
}

/// The extension's value.
fn extension(der: &[u8]) -> Option<&[u8]> {
    let at = der.windows(OID.len()).position(|window| window == OID)?;
    let mut rest = der.get(at + OID.len()..)?;
    let (mut tag, mut value, after) = element(rest)?;
    if tag == BOOLEAN {
        rest = after;
        (tag, value, _) = element(rest)?;
    }
    (tag == OCTET_STRING).then_some(value)
}

/// `NameConstraints ::= SEQUENCE { [0] permitted, [1] excluded }`, each a list of
/// `SEQUENCE { base GeneralName, … }`.
fn restricts_directory_names(value: &[u8]) -> Option<bool> {
    let (_, mut lists, _) = element(value)?;
    while !lists.is_empty() {
        let (_, mut subtrees, rest) = element(lists)?;
        lists = rest;
        while !subtrees.is_empty() {
            let (tag, subtree, rest) = element(subtrees)?;
            subtrees = rest;
            if tag == SEQUENCE && subtree.first() == Some(&DIRECTORY_NAME) {
                return Some(true);
            }
        }
    }
    Some(false)
}

/// Tag and value of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short if short < 0x80 => (short, rest),
        long => {
            let (octets, rest) = rest.split_at_checked(long - 0x80)?;
            let octets = octets.iter().map(|octet| usize::from(*octet));
            let length = octets.fold(0usize, |length, octet| {
                length.saturating_mul(256).saturating_add(octet)
            });
            (length, rest)
        }
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((*tag, value, rest))
}
