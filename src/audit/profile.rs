//! R07: what a certificate says about itself, and how it is signed.

mod constraints;
mod uniqueness;

use relay_pki_authority::x509::{Certificate, PeerRole};
use relay_pki_authority::{ExtendedKeyUsage, KeyUsage};

use super::authorities::{Authorities, Authority};
use super::code;
use super::finding::{Place, Sink};
use super::leaf::Leaf;

pub(super) use uniqueness::serials;

/// Signature algorithms over digests with known collisions.
const WEAK_SIGNATURES: [&str; 7] = [
    "1.2.840.113549.1.1.2", // md2WithRSAEncryption
    "1.2.840.113549.1.1.4", // md5WithRSAEncryption
    "1.2.840.113549.1.1.5", // sha1WithRSAEncryption
    "1.3.14.3.2.29",        // sha1WithRSASignature
    "1.2.840.10045.4.1",    // ecdsa-with-SHA1
    "1.2.840.10040.4.3",    // dsa-with-sha1
    "1.3.14.3.2.27",        // dsaWithSHA1
];

const ANY_USAGE: &str = "2.5.29.37.0";

/// Bits that a serial number may lack of 64 because its first ones happen to be zero.
const SERIAL_BITS: usize = 56;

/// The leaves one by one, and compared with each other.
pub(super) fn leaves(sink: &mut Sink, leaves: &[Leaf<'_>], authorities: &Authorities) {
    for leaf in leaves {
        let issuer = leaf.issuer.and_then(|index| authorities.get(index));
        let issuer = issuer.map(|found| &found.certificate);
        let certificate = leaf.certificate();
        let name = leaf.name();
        any(sink, leaf.place(), &name, certificate, issuer);
        end_entity(sink, leaf.place(), &name, certificate, Some(leaf.role));
    }
    uniqueness::subjects(sink, leaves, authorities);
}

/// The CAs that are trusted, in use, or about to be.
pub(super) fn authorities(sink: &mut Sink, authorities: &Authorities) {
    for (_, authority) in authorities.iter() {
        // R0205 and R0210 say all there is to say about the others.
        if matters(authority) && authority.certificate.is_ca() {
            let issuer = authority.issuer.and_then(|index| authorities.get(index));
            let issuer = issuer.map(|found| &found.certificate);
            ca(sink, authority, issuer);
        } else if authority.used && authority.anchor.is_none() && !authority.signing {
            may_sign(sink, authority);
        }
    }
}

/// Whether anything depends on a CA. Retired ones are only in the records.
pub(super) fn matters(authority: &Authority) -> bool {
    use crate::journal::Status::{Active, Published};
    let current = matches!(authority.status, Some(Active | Published));
    authority.anchor.is_some() || authority.used || authority.signing || current
}

/// What holds for every certificate.
pub(super) fn any(
    sink: &mut Sink,
    place: Place<'_>,
    name: &str,
    certificate: &Certificate,
    issuer: Option<&Certificate>,
) {
    let key = certificate.public_key();
    let described = key.describe();
    let weak = is_weak_key(certificate);
    sink.ensure(code::R0701, place, !weak, || {
        format!("the key of {name} is {described}")
    });
    sink.ensure(code::R0702, place, weak || key.key_type().is_ok(), || {
        format!("the key of {name} is {described}")
    });
    let self_issued = certificate.raw_subject() == certificate.raw_issuer();
    let algorithm = certificate.signature_algorithm();
    let weak = has_weak_signature(certificate);
    let message = || format!("{name} is signed with {}", signature_name(&algorithm));
    let root = self_issued && certificate.is_ca();
    sink.ensure(code::R0703, place, !weak || root, message);
    sink.ensure(code::R0704, place, !weak || !root, message);
    match certificate.serial() {
        Err(error) => {
            sink.check(
                code::R0705,
                place,
                Some((
                    format!("the serial number of {name} is not allowed"),
                    error.to_string(),
                )),
            );
        }
        // A root's serial number identifies nothing: there is one certificate of that issuer.
        Ok(serial) => {
            let bits = serial.bits();
            sink.check(
                code::R0706,
                place,
                (bits < SERIAL_BITS && !root).then(|| {
                    let what = format!("the serial number of {name} is short");
                    (what, format!("it has {bits} bits"))
                }),
            );
        }
    }
    let unknown = certificate.unknown_critical_extensions();
    sink.check(
        code::R0720,
        place,
        (!unknown.is_empty()).then(|| {
            let what = format!("{name} has a critical extension that verifiers do not know");
            (what, unknown.join(", "))
        }),
    );
    identifiers(sink, place, name, certificate, issuer);
}

fn identifiers(
    sink: &mut Sink,
    place: Place<'_>,
    name: &str,
    certificate: &Certificate,
    issuer: Option<&Certificate>,
) {
    let self_issued = certificate.raw_subject() == certificate.raw_issuer();
    let subject = certificate.subject_key_identifier();
    sink.ensure(
        code::R0718,
        place,
        !certificate.is_ca() || subject.is_some(),
        || format!("{name} has no subject key identifier"),
    );
    let authority = certificate.authority_key_identifier();
    // An issuer without an identifier is what there is to say then.
    let owed = issuer.is_some_and(|issuer| issuer.subject_key_identifier().is_some());
    let has_authority = self_issued || authority.is_some() || !owed;
    sink.ensure(code::R0718, place, has_authority, || {
        format!("{name} has no authority key identifier")
    });
    sink.check(
        code::R0719,
        place,
        issuer
            .filter(|issuer| mismatches(certificate, issuer))
            .map(|issuer| {
                let what = format!("{name} names another key identifier than its issuer has");
                (
                    what,
                    format!("it was signed by the key of {}", issuer.subject()),
                )
            }),
    );
}

/// What holds for leaves. `role` is the side that it is used on, if that is known.
pub(super) fn end_entity(
    sink: &mut Sink,
    place: Place<'_>,
    name: &str,
    certificate: &Certificate,
    role: Option<PeerRole>,
) {
    sink.ensure(code::R0717, place, !certificate.is_ca(), || {
        format!("{name} says that it is a CA")
    });
    let own_issuer = certificate.raw_subject() == certificate.raw_issuer();
    sink.ensure(
        code::R0708,
        place,
        !own_issuer || certificate.is_ca(),
        || format!("{name} has the same subject as its issuer"),
    );
    let usages = certificate.extended_key_usage();
    let any = usages.is_empty() || usages.iter().any(|oid| oid == ANY_USAGE);
    sink.ensure(code::R0711, place, !any, || {
        format!("{name} can be used for anything (extended key usage)")
    });
    if let Some(role) = role {
        sink.check(
            code::R0710,
            place,
            (!allows(certificate, role)).then(|| {
                let wanted = match role {
                    PeerRole::Server => "serverAuth",
                    PeerRole::Client => "clientAuth",
                };
                (format!("{name} lacks {wanted}"), usages.join(", "))
            }),
        );
    }
    sink.check(
        code::R0712,
        place,
        certificate
            .key_usage()
            .filter(|usage| !usage.contains(KeyUsage::DIGITAL_SIGNATURE))
            .map(|usage| {
                let what = format!("the key usage of {name} lacks digitalSignature");
                (what, format!("it has {usage}"))
            }),
    );
}

/// What holds for CAs.
pub(super) fn ca(sink: &mut Sink, authority: &Authority, issuer: Option<&Certificate>) {
    let certificate = &authority.certificate;
    let place = authority.place();
    let name = authority.name();
    any(sink, place, &name, certificate, issuer);
    // For what is in a signing Secret, R0205 says it.
    if !authority.signing {
        may_sign(sink, authority);
    }
    let basic = certificate.basic_constraints();
    let critical = basic.is_some_and(|found| found.critical) && certificate.key_usage_is_critical();
    sink.ensure(code::R0714, place, critical, || {
        format!("basic constraints or key usage of {name} are not critical")
    });
    let length = basic.and_then(|found| found.path_len);
    if authority.is_root() {
        sink.ensure(code::R0715, place, length.is_none(), || {
            format!("{name} has a path length")
        });
    } else {
        let shown = length.map_or("none".to_owned(), |length| length.to_string());
        sink.check(
            code::R0716,
            place,
            (length != Some(0)).then(|| {
                let what = format!("the path length of {name} is not 0");
                (what, format!("it is {shown}"))
            }),
        );
    }
    sink.check(
        code::R0721,
        place,
        certificate.repeated_subject_attribute().map(|attribute| {
            let what = format!("the name of {name} repeats an attribute");
            (what, attribute.to_owned())
        }),
    );
    sink.ensure(
        code::R0722,
        place,
        !constraints::on_directory_names(certificate),
        || format!("{name} has name constraints on directory names"),
    );
}

fn may_sign(sink: &mut Sink, authority: &Authority) {
    let sound = can_sign(&authority.certificate);
    sink.check(
        code::R0713,
        authority.place(),
        (!sound).then(|| {
            let usage = authority.certificate.key_usage();
            let what = format!("{} may not sign certificates", authority.name());
            let usage = usage.map_or("absent".to_owned(), |usage| usage.to_string());
            (
                what,
                format!("CA: {}, key usage: {usage}", authority.certificate.is_ca()),
            )
        }),
    );
}

/// Whether peers refuse a leaf for what it is, whoever issued it. Then there is no point in telling
/// about its chain too.
pub(super) fn is_refused_alone(leaf: &Certificate, role: PeerRole) -> bool {
    leaf.is_ca()
        || is_weak_key(leaf)
        || has_weak_signature(leaf)
        || leaf.raw_subject() == leaf.raw_issuer()
        || leaf.serial().is_err()
        || !allows(leaf, role)
        || !leaf.unknown_critical_extensions().is_empty()
        || leaf
            .key_usage()
            .is_some_and(|usage| !usage.contains(KeyUsage::DIGITAL_SIGNATURE))
}

/// Whether nobody verifies this certificate's signature, so that its issuer cannot be told.
pub(super) fn has_unusable_signature(certificate: &Certificate) -> bool {
    has_weak_signature(certificate)
}

/// Whether verifiers refuse a CA on a path for what it is.
pub(super) fn breaks_paths(ca: &Certificate) -> bool {
    !can_sign(ca)
        || is_weak_key(ca)
        || (has_weak_signature(ca) && ca.raw_subject() != ca.raw_issuer())
        || ca.serial().is_err()
        || !ca.unknown_critical_extensions().is_empty()
        || constraints::on_directory_names(ca)
}

/// Whether the identifiers of a certificate and the issuer that signed it contradict each other.
pub(super) fn mismatches(certificate: &Certificate, issuer: &Certificate) -> bool {
    let authority = certificate.authority_key_identifier();
    let subject = issuer.subject_key_identifier();
    matches!((authority, subject), (Some(authority), Some(subject)) if authority != subject)
}

/// Whether CA and key usage allow to sign certificates.
pub(super) fn can_sign(certificate: &Certificate) -> bool {
    let usage = certificate.key_usage();
    certificate.is_ca() && usage.is_none_or(|usage| usage.contains(KeyUsage::KEY_CERT_SIGN))
}

/// Whether there is anything that only a full verification of each certificate can judge.
pub(super) fn constrains_names(ca: &Certificate) -> bool {
    constraints::any(ca)
}

fn allows(certificate: &Certificate, role: PeerRole) -> bool {
    let wanted = match role {
        PeerRole::Server => ExtendedKeyUsage::ServerAuth,
        PeerRole::Client => ExtendedKeyUsage::ClientAuth,
    };
    let usages = certificate.extended_key_usage();
    let fits = |oid: &String| oid == wanted.oid() || oid == ANY_USAGE;
    usages.is_empty() || usages.iter().any(fits)
}

fn is_weak_key(certificate: &Certificate) -> bool {
    // `describe` is the only place that tells the size of a key that is not supported.
    let described = certificate.public_key().describe();
    let bits = described.strip_prefix("rsa-").map(str::parse::<u32>);
    matches!(bits, Some(Ok(bits)) if bits < 2048)
}

fn has_weak_signature(certificate: &Certificate) -> bool {
    let algorithm = certificate.signature_algorithm();
    WEAK_SIGNATURES.contains(&algorithm.as_str())
}

fn signature_name(oid: &str) -> String {
    let name = match oid {
        "1.2.840.113549.1.1.2" => "MD2",
        "1.2.840.113549.1.1.4" => "MD5",
        _ => "SHA-1",
    };
    format!("{name} ({oid})")
}
