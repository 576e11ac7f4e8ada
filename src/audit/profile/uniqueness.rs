//! What should tell certificates apart: serial numbers and subjects.

use std::collections::HashMap;

use relay_pki_authority::x509::{Certificate, PeerRole};

use super::super::authorities::Authorities;
use super::super::code;
use super::super::finding::Sink;
use super::super::leaf::Leaf;

/// Serial numbers, over everything that was seen.
pub(in crate::audit) fn serials(sink: &mut Sink, leaves: &[Leaf<'_>], authorities: &Authorities) {
    let mut seen: HashMap<(&[u8], &[u8]), &Certificate> = HashMap::new();
    let leaves = leaves
        .iter()
        .map(|leaf| (leaf.certificate(), leaf.place(), leaf.name()));
    let cas = authorities
        .iter()
        .map(|(_, found)| (&found.certificate, found.place(), found.name()))
        .filter(|(certificate, ..)| certificate.raw_subject() != certificate.raw_issuer());
    for (certificate, place, name) in cas.chain(leaves) {
        // Numbers that are not allowed at all are R0705's.
        if certificate.serial().is_err() {
            continue;
        }
        let key = (certificate.raw_issuer(), certificate.raw_serial());
        let first = *seen.entry(key).or_insert(certificate);
        sink.check(
            code::R0707,
            place,
            (first != certificate).then(|| {
                let what = format!("{name} has the serial number of another certificate");
                (
                    what,
                    format!("{} of {} too", first.subject(), first.issuer()),
                )
            }),
        );
    }
}

/// Subjects that should tell parties apart.
pub(super) fn subjects(sink: &mut Sink, leaves: &[Leaf<'_>], authorities: &Authorities) {
    let cas = authorities.subjects();
    let servers: Vec<&[u8]> = leaves
        .iter()
        .filter(|leaf| leaf.role == PeerRole::Server)
        .map(|leaf| leaf.certificate().raw_subject())
        .collect();
    for leaf in leaves {
        let certificate = leaf.certificate();
        let subject = certificate.raw_subject();
        // R0708 and R0717 are the stronger words for these.
        if subject == certificate.raw_issuer() || certificate.is_ca() {
            continue;
        }
        let other = match leaf.role {
            _ if cas.contains(subject) => Some("a CA"),
            PeerRole::Client if servers.contains(&subject) => Some("a server"),
            _ => None,
        };
        sink.check(
            code::R0709,
            leaf.place(),
            other.map(|other| {
                let what = format!("{} has the same subject as {other}", leaf.name());
                (what, certificate.subject().to_owned())
            }),
        );
    }
}
