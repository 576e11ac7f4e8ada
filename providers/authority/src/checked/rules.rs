//! What has to hold for a certificate to be what was asked for.

use jiff::SignedDuration;

use crate::x509::{
    Certificate, CertificateChain, PeerRole, TrustBundle, Validity, walk, webpki_verify,
};
use crate::{Dialect, ExtendedKeyUsage, KeyUsage, Profile, RootRequest, Roots, SigningRequest};

/// How far before the asked-for start a backend may date a certificate: AWS Private CA takes an
/// hour.
const BACKDATING: SignedDuration = SignedDuration::from_secs(61 * 60);

/// How long a call may take, in which a backend that counts lifetimes from the moment of signing
/// signs.
const SIGNING: SignedDuration = SignedDuration::from_mins(2);

pub(super) fn check_root(
    root: &Certificate,
    request: &RootRequest,
    roots: Roots,
) -> Result<(), String> {
    check_anchor(root)?;
    match roots {
        Roots::Made => check_made(root, request),
        Roots::Existing => Ok(()),
    }
}

fn check_made(root: &Certificate, request: &RootRequest) -> Result<(), String> {
    let name = root.subject();
    if root.public_key().key_type() != Ok(request.key_type) {
        let found = root.public_key().describe();
        return Err(format!(
            "{name} has a key of type {found}, not {}",
            request.key_type
        ));
    }
    if root.common_name() != Some(request.subject.common_name.as_str()) {
        return Err(format!("{name} is not named {}", request.subject));
    }
    // Not how early it starts: asked again later, an honest backend answers with the root that it
    // made the first time.
    check_end(root, &request.validity)
}

/// What a root must be to be published, whoever made it.
pub(super) fn check_anchor(root: &Certificate) -> Result<(), String> {
    check_ca(root)?;
    let name = root.subject();
    if !root.is_self_signed() {
        return Err(format!("{name} is not self-signed"));
    }
    if root.basic_constraints().and_then(|found| found.path_len) == Some(0) {
        return Err(format!(
            "{name} has path length 0 and can have no signer under it"
        ));
    }
    check_key_identifier(root)?;
    check_serial(root)
}

/// The request as a backend understood it that counts the lifetime from the moment of signing: moved
/// to that moment, and no longer.
pub(super) fn as_signed(
    request: &SigningRequest,
    certificate: &Certificate,
) -> Result<SigningRequest, String> {
    let start = certificate.not_before();
    let asked = request.validity;
    let late = start.duration_since(asked.not_before());
    let late = late.max(SignedDuration::ZERO);
    let moved = |at: jiff::Timestamp| at.checked_add(late).unwrap_or(jiff::Timestamp::MAX);
    let validity = Validity::new(moved(asked.not_before()), moved(asked.not_after()));
    let latest = request.now.checked_add(SIGNING).unwrap_or(request.now);
    Ok(SigningRequest {
        validity: validity.map_err(|error| error.to_string())?,
        now: request.now.max(start.min(latest)),
        ..request.clone()
    })
}

/// What every CA that we are to use must be.
pub(super) fn check_ca(certificate: &Certificate) -> Result<(), String> {
    let name = certificate.subject();
    if !certificate
        .basic_constraints()
        .is_some_and(|found| found.ca)
    {
        return Err(format!("{name} is not a CA (basicConstraints)"));
    }
    let usage = certificate.key_usage();
    if usage.is_some_and(|usage| !usage.contains(KeyUsage::KEY_CERT_SIGN)) {
        return Err(format!("{name} may not sign certificates (keyUsage)"));
    }
    if let Some(attribute) = certificate.repeated_subject_attribute() {
        return Err(format!(
            "the subject {name} has {attribute} more than once; certificates issued by it would \
             name another issuer, so it needs a name without repeated attributes"
        ));
    }
    if let Some(oid) = certificate.unknown_critical_extensions().first() {
        return Err(format!("{name} has the unknown critical extension {oid}"));
    }
    Ok(())
}

/// Everything about a certificate that can be compared with its request alone.
pub(super) fn check_certificate(
    certificate: &Certificate,
    request: &SigningRequest,
    dialect: Dialect,
) -> Result<(), String> {
    let (profile, name) = (request.profile, certificate.subject());
    if certificate.public_key() != request.csr.public_key() {
        return Err("its public key is not the one in the request".to_owned());
    }
    if certificate.common_name() != Some(request.subject.common_name.as_str()) {
        return Err(format!("its subject is {name}, not {}", request.subject));
    }
    // Of two common names some programs take the first and some the last.
    if let Some(attribute) = certificate.repeated_subject_attribute() {
        return Err(format!("its subject {name} has {attribute} more than once"));
    }
    check_serial(certificate)?;
    check_end(certificate, &request.validity)?;
    check_start(certificate, request)?;
    if let Some(oid) = certificate.unknown_critical_extensions().first() {
        return Err(format!("it has the unknown critical extension {oid}"));
    }
    check_names(certificate, request)?;
    match (certificate.is_ca(), profile.is_ca()) {
        (true, false) => return Err(format!("it is a CA's (CA:TRUE), not a {profile}'s")),
        (false, true) => return Err(format!("it is not a CA's (CA:TRUE), as a {profile}'s is")),
        _ => {}
    }
    if profile.is_ca() {
        check_key_identifier(certificate)?;
        let found = certificate
            .basic_constraints()
            .and_then(|found| found.path_len);
        let open = found.is_none() && dialect == Dialect::Csr;
        if found != profile.path_len() && !open {
            let (found, wanted) = (path_len(found), path_len(profile.path_len()));
            return Err(format!("its path length is {found}, not {wanted}"));
        }
    }
    check_usages(certificate, profile)
}

fn check_usages(certificate: &Certificate, profile: Profile) -> Result<(), String> {
    let rsa = certificate
        .public_key()
        .key_type()
        .is_ok_and(|key_type| key_type.is_rsa());
    let usage = certificate.key_usage().unwrap_or_default();
    let required = profile.required_key_usage(rsa);
    let allowed = required | profile.tolerated_key_usage();
    if !usage.contains(required) || !allowed.contains(usage) {
        return Err(format!("its key usage is {usage}, not {required}"));
    }
    let wanted: Vec<&str> = profile
        .extended_key_usage()
        .into_iter()
        .map(ExtendedKeyUsage::oid)
        .collect();
    if certificate.extended_key_usage() != wanted {
        let found = certificate.extended_key_usage().join(", ");
        return Err(format!(
            "its extended key usage is [{found}], not {wanted:?}"
        ));
    }
    Ok(())
}

fn check_names(certificate: &Certificate, request: &SigningRequest) -> Result<(), String> {
    let mut found: Vec<&str> = certificate.dns_names().iter().map(String::as_str).collect();
    let mut wanted: Vec<&str> = request.names.iter().map(|name| name.as_str()).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    wanted.dedup();
    if found != wanted {
        return Err(format!("its DNS names are {found:?}, not {wanted:?}"));
    }
    match certificate.other_names().first() {
        Some(kind) => Err(format!("it carries a name nobody asked for ({kind})")),
        None => Ok(()),
    }
}

fn check_serial(certificate: &Certificate) -> Result<(), String> {
    match certificate.serial() {
        Ok(serial) if serial.bits() >= 64 => Ok(()),
        Ok(serial) => Err(format!("its serial number {serial} has fewer than 64 bits")),
        Err(error) => Err(error.to_string()),
    }
}

/// Roots keep one name over their generations: only key identifiers tell the issuers apart.
fn check_key_identifier(certificate: &Certificate) -> Result<(), String> {
    match certificate.subject_key_identifier() {
        Some(_) => Ok(()),
        None => Err("it has no subject key identifier".to_owned()),
    }
}

fn path_len(length: Option<u32>) -> String {
    length.map_or("unlimited".to_owned(), |length| length.to_string())
}

fn check_end(certificate: &Certificate, asked: &Validity) -> Result<(), String> {
    let validity = certificate.validity().map_err(|error| error.to_string())?;
    match validity.not_after() > asked.not_after() {
        true => Err(format!(
            "it ends at {}, after the {} that was asked for",
            validity.not_after(),
            asked.not_after()
        )),
        false => Ok(()),
    }
}

fn check_start(certificate: &Certificate, request: &SigningRequest) -> Result<(), String> {
    let (start, asked) = (certificate.not_before(), request.validity.not_before());
    if asked.duration_since(start) > BACKDATING {
        return Err(format!(
            "it is dated back to {start}, before the {asked} that was asked for"
        ));
    }
    if start > request.now {
        return Err(format!("it is valid only from {start}"));
    }
    if certificate.not_after() < request.now {
        return Err(format!("it expired at {}", certificate.not_after()));
    }
    Ok(())
}

/// Whether `issuer` really issued `certificate`. For leaves webpki is asked, with the issuer as its
/// anchor: that checks the signature, and everything else it knows, at the price of one signature.
pub(super) fn check_issuer(
    certificate: &Certificate,
    issuer: &Certificate,
    request: &SigningRequest,
) -> Result<(), String> {
    if certificate.raw_issuer() != issuer.raw_subject() {
        return Err(format!(
            "its issuer name is {}, but the CA is named {}",
            certificate.issuer(),
            issuer.subject()
        ));
    }
    if certificate.authority_key_identifier().is_none() {
        return Err("it has no authority key identifier".to_owned());
    }
    if !certificate.names_as_issuer(issuer) {
        return Err("its authority key identifier is not the CA's".to_owned());
    }
    let limit = issuer.basic_constraints().and_then(|found| found.path_len);
    if request.profile.is_ca() && limit == Some(0) {
        return Err(format!(
            "{} may not issue CA certificates (path length 0)",
            issuer.subject()
        ));
    }
    let Some(role) = peer_role(request.profile) else {
        return match certificate.is_signed_by(issuer.public_key()) {
            true => Ok(()),
            false => Err(format!("{} did not sign it", issuer.subject())),
        };
    };
    let chain = CertificateChain::new(vec![certificate.clone()]).map_err(|e| e.to_string())?;
    let anchor = TrustBundle::new([issuer.clone()]).map_err(|e| e.to_string())?;
    webpki_verify(&chain, &anchor, role, request.now).map_err(|error| error.reason)
}

pub(super) fn peer_role(profile: Profile) -> Option<PeerRole> {
    match profile {
        Profile::RelayServer => Some(PeerRole::Server),
        Profile::AgentClient => Some(PeerRole::Client),
        Profile::Root | Profile::Signer => None,
    }
}

/// Whether `path`, which starts with `ca` itself, leads to one of `anchors`. When the CAs are valid
/// is not looked at: CAs that were made by hand often outlive their root by seconds, and every
/// certificate that they issue is checked at both of its ends.
pub(super) fn check_way(
    ca: &Certificate,
    path: &[Certificate],
    anchors: &TrustBundle,
) -> Result<(), String> {
    if !anchors.contains(ca) && path.first() != Some(ca) {
        return Err(format!(
            "the path of {} does not start with its certificate",
            ca.subject()
        ));
    }
    check_linked(path)?;
    let rest = path.get(1..).unwrap_or_default();
    walk(ca, rest, anchors, None, 1)
        .map(|_| ())
        .map_err(|error| {
            format!(
                "it does not lead to any of the expected roots: {}",
                error.reason
            )
        })
}

/// Whether each certificate issued one before it, or certifies the same CA once more (a signer
/// under the old root and under the new one). Anything else has no business in a chain.
pub(super) fn check_linked(certificates: &[Certificate]) -> Result<(), String> {
    for (index, certificate) in certificates.iter().enumerate().skip(1) {
        check_ca(certificate)?;
        let belongs = |before: &Certificate| {
            let same_ca = before.raw_subject() == certificate.raw_subject()
                && before.public_key() == certificate.public_key();
            same_ca || before.is_issued_by(certificate)
        };
        if !certificates.iter().take(index).any(belongs) {
            return Err(format!(
                "{} is in the chain but issued none of the certificates before it",
                certificate.subject()
            ));
        }
    }
    Ok(())
}
