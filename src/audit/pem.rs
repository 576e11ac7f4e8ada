//! The audit of bare PEM files: certificates, bundles, keys and requests, without a fleet around
//! them.
//!
//! What a file is for is told by what is in it: self-signed CAs are roots, other CAs signers, the
//! rest leaves of the sides that their extended key usage names.

mod sections;

use jiff::Timestamp;
use relay_pki_authority::ExtendedKeyUsage;
use relay_pki_authority::x509::{Certificate, PeerRole, PublicKey, TrustBundle};

use self::sections::{Item, Section, sections};
use super::authorities::Authorities;
use super::chain::{self, Paths};
use super::code;
use super::finding::{NotChecked, Place, Sink};
use super::inventory::{Bundle, Chain};
use super::report::{self, ChainNode, EarliestFailure, Report, TreeLeaf};
use super::{profile, validity};

/// A certificate in a file.
struct Found<'a> {
    file: &'a str,
    object: &'a str,
    certificate: Certificate,
    issuer: Option<usize>,
}

impl Found<'_> {
    fn place(&self) -> Place<'_> {
        Place::new("", self.object)
    }

    fn name(&self) -> String {
        format!("the certificate {}", self.certificate.subject())
    }
}

/// Audits files of PEM sections (or single DER certificates) by their names and contents. Every
/// certificate is checked for itself, keys are matched with certificates, and chains are built among
/// the files as far as that is possible; what cannot be verified is in [`Report::not_checked`].
pub fn audit_pem(files: &[(String, Vec<u8>)], now: Timestamp) -> Report {
    let mut sink = Sink::default();
    let sections: Vec<Section<'_>> = files
        .iter()
        .flat_map(|(name, content)| sections(name, content))
        .collect();
    let mut authorities = Authorities::default();
    let mut found = Vec::new();
    let mut keys: Vec<(&Section<'_>, &PublicKey)> = Vec::new();
    for section in &sections {
        match &section.item {
            Item::Certificate(certificate) if !is_known(&found, certificate) => {
                if certificate.is_ca() {
                    authorities.insert(certificate, "", &section.name);
                }
                found.push(Found {
                    file: section.file,
                    object: &section.name,
                    certificate: certificate.clone(),
                    issuer: None,
                });
            }
            Item::Certificate(_) | Item::Request => {}
            Item::Key(key) => keys.push((section, key)),
            Item::Unreadable(reason) => sink.not_checked.push(NotChecked::new(
                code::R0405,
                "",
                format!("{}: {reason}", section.name),
            )),
        }
    }
    let anchors: Vec<Certificate> = found
        .iter()
        .map(|found| &found.certificate)
        .filter(|certificate| certificate.is_ca() && is_self_issued(certificate))
        .cloned()
        .collect();
    let bundle = bundle(&mut sink, anchors);
    if let Some(bundle) = &bundle {
        authorities.bundle("", "", bundle);
    }
    authorities.link();
    for found in &mut found {
        found.issuer = authorities.issuer_of(&found.certificate, None);
        if let Some(issuer) = found.issuer {
            authorities.mark_used(issuer);
        }
    }
    let mut paths = Paths::new(&authorities, now);
    for found in &found {
        certificate(&mut sink, found, &authorities, now);
        path(&mut sink, found, &authorities, bundle.as_ref(), &mut paths);
    }
    matching(&mut sink, &keys, &found);
    let chain = tree(&found, &authorities, &sink, now);
    let earliest = found
        .iter()
        .map(|found| EarliestFailure {
            at: found.certificate.not_after(),
            what: found.name(),
            cluster: String::new(),
        })
        .min_by_key(|failure| failure.at);
    Report::new(
        None,
        now,
        (files.len(), sections.len()),
        sink,
        chain,
        earliest,
    )
}

fn is_known(found: &[Found<'_>], certificate: &Certificate) -> bool {
    found.iter().any(|other| other.certificate == *certificate)
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.raw_subject() == certificate.raw_issuer()
}

fn bundle(sink: &mut Sink, anchors: Vec<Certificate>) -> Option<Bundle> {
    if anchors.is_empty() {
        return None;
    }
    match TrustBundle::new(anchors) {
        Ok(anchors) => Some(Bundle {
            digest: anchors.digest(),
            anchors: anchors.into(),
        }),
        Err(error) => {
            let what = format!("chains, because {error}");
            sink.not_checked
                .push(NotChecked::new(code::R0405, "", what));
            None
        }
    }
}

/// A certificate for itself.
fn certificate(sink: &mut Sink, found: &Found<'_>, authorities: &Authorities, now: Timestamp) {
    let (place, name) = (found.place(), found.name());
    let certificate = &found.certificate;
    let issuer = found.issuer.and_then(|index| authorities.get(index));
    let authority = authorities
        .find(certificate)
        .and_then(|index| authorities.get(index));
    match authority {
        Some(authority) => {
            let issuer = issuer.filter(|_| !is_self_issued(certificate));
            profile::ca(sink, authority, issuer.map(|issuer| &issuer.certificate));
        }
        None => {
            profile::any(
                sink,
                place,
                &name,
                certificate,
                issuer.map(|issuer| &issuer.certificate),
            );
            profile::end_entity(sink, place, &name, certificate, None);
        }
    }
    if validity::period(sink, place, &name, certificate, now) {
        if !is_self_issued(certificate) {
            validity::outlives(sink, place, &name, certificate, issuer, now);
        }
        validity::short(sink, place, &name, certificate, now);
    }
}

/// The way from a certificate to a root among the files.
fn path(
    sink: &mut Sink,
    found: &Found<'_>,
    authorities: &Authorities,
    bundle: Option<&Bundle>,
    paths: &mut Paths<'_>,
) {
    let certificate = &found.certificate;
    if is_self_issued(certificate) {
        return;
    }
    let above: Vec<_> = authorities.way_up(found.issuer).collect();
    let complete = above.last().is_some_and(|last| last.is_root());
    let Some(bundle) = bundle.filter(|_| complete) else {
        let last = above.last().map_or(certificate, |last| &last.certificate);
        // A signature that no verifier accepts hides the issuer, and is a finding already.
        if profile::has_unusable_signature(last) {
            return;
        }
        let what = format!(
            "the chain of {}: its issuer {} is not among the files",
            found.name(),
            last.issuer()
        );
        sink.not_checked
            .push(NotChecked::new(code::R0405, "", what));
        return;
    };
    if certificate.is_ca() {
        return;
    }
    let above = above.iter().filter(|authority| !authority.is_root());
    let chain = Chain {
        leaf: certificate.clone(),
        above: above
            .map(|authority| authority.certificate.clone())
            .collect(),
        signed_by: None,
    };
    for role in sides(certificate) {
        chain::file_chain(
            sink,
            found.place(),
            &chain,
            found.issuer,
            role,
            bundle,
            paths,
        );
    }
}

/// The sides of the handshake that a leaf is for.
fn sides(certificate: &Certificate) -> Vec<PeerRole> {
    let usages = certificate.extended_key_usage();
    let names = |usage: ExtendedKeyUsage| usages.iter().any(|oid| oid == usage.oid());
    let sides = [
        (ExtendedKeyUsage::ServerAuth, PeerRole::Server),
        (ExtendedKeyUsage::ClientAuth, PeerRole::Client),
    ];
    let sides: Vec<PeerRole> = sides
        .into_iter()
        .filter(|(usage, _)| names(*usage))
        .map(|(_, role)| role)
        .collect();
    match usages.is_empty() {
        true => vec![PeerRole::Server],
        false => sides,
    }
}

/// A file with a key and a certificate in it means them to belong together.
fn matching(sink: &mut Sink, keys: &[(&Section<'_>, &PublicKey)], found: &[Found<'_>]) {
    for (section, key) in keys {
        let name = &section.name;
        let place = Place::new("", name);
        let matches = found
            .iter()
            .any(|found| found.certificate.public_key() == *key);
        let together = found.iter().any(|found| found.file == section.file);
        sink.ensure(code::R0203, place, matches || !together, || {
            format!("the private key in {name} belongs to no certificate in that file")
        });
        sink.ensure(code::R0211, place, matches || together, || {
            format!("the private key in {name} belongs to no certificate among the files")
        });
    }
}

fn tree(
    found: &[Found<'_>],
    authorities: &Authorities,
    sink: &Sink,
    now: Timestamp,
) -> Vec<ChainNode> {
    let leaves = found.iter().filter(|found| !found.certificate.is_ca());
    let leaves = leaves.map(|found| TreeLeaf {
        name: found.certificate.subject().to_owned(),
        place: found.place(),
        certificate: &found.certificate,
        issuer: found.issuer,
    });
    report::tree(leaves, authorities, &sink.findings, now)
}
