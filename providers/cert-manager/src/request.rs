//! One `CertificateRequest`, from what is wanted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::VerifiedCsr;
use relay_pki_authority::{ExtendedKeyUsage, KeyUsage, Profile, SigningRequest};

use crate::objects::{API_VERSION, CertificateRequest, ENDS, Metadata, RequestSpec, RequestStatus};
use crate::settings::IssuerRef;

/// How long signing usually takes. Lifetimes begin with it, and are shorter by as much, so that
/// certificates end when they were asked to.
pub(crate) const SIGNING: SignedDuration = SignedDuration::from_mins(1);

/// The request for a certificate that ends at `end`.
pub(crate) fn request(
    name: String,
    relay: &str,
    issuer: &IssuerRef,
    wanted: &SigningRequest,
    end: Timestamp,
) -> CertificateRequest {
    let lifetime = end.duration_since(wanted.now) - SIGNING;
    let mut metadata = Metadata::new(name, relay);
    metadata
        .annotations
        .insert(ENDS.to_owned(), end.to_string());
    CertificateRequest {
        api_version: API_VERSION.to_owned(),
        kind: "CertificateRequest".to_owned(),
        metadata,
        spec: RequestSpec {
            request: STANDARD.encode(wanted.csr.to_pem()),
            issuer_ref: issuer.clone(),
            duration: format!("{}s", lifetime.as_secs()),
            is_ca: wanted.profile.is_ca(),
            usages: usages(wanted),
        },
        status: RequestStatus::default(),
    }
}

/// In what a request that was found differs from the one that would have been made. Its lifetime may
/// be another one: it was made at another time.
pub(crate) fn difference(
    found: &CertificateRequest,
    issuer: &IssuerRef,
    wanted: &SigningRequest,
) -> Option<&'static str> {
    let pem = STANDARD.decode(&found.spec.request).unwrap_or_default();
    let Ok(csr) = VerifiedCsr::from_pem(&pem) else {
        return Some("its CSR cannot be read");
    };
    let names = wanted.names.as_slice();
    [
        (
            csr.public_key() != wanted.csr.public_key(),
            "it is for another key",
        ),
        (
            csr.asking_for(&wanted.subject, names).is_err(),
            "it is for another subject",
        ),
        (found.spec.issuer_ref != *issuer, "it is for another issuer"),
        (
            found.spec.is_ca != wanted.profile.is_ca() || found.spec.usages != usages(wanted),
            "it is for another usage",
        ),
    ]
    .into_iter()
    .find_map(|(differs, how)| differs.then_some(how))
}

/// The usages of a profile, as cert-manager calls them.
fn usages(wanted: &SigningRequest) -> Vec<String> {
    let key_type = wanted.csr.public_key().key_type();
    let rsa = key_type.is_ok_and(|key_type| key_type.is_rsa());
    usages_of(wanted.profile, rsa)
}

fn usages_of(profile: Profile, rsa: bool) -> Vec<String> {
    let required = profile.required_key_usage(rsa);
    let known = [
        (KeyUsage::DIGITAL_SIGNATURE, "digital signature"),
        (KeyUsage::KEY_ENCIPHERMENT, "key encipherment"),
        (KeyUsage::KEY_CERT_SIGN, "cert sign"),
        (KeyUsage::CRL_SIGN, "crl sign"),
    ];
    let key_usages = known.into_iter();
    let key_usages = key_usages.filter(|(usage, _)| required.contains(*usage));
    let extended = profile.extended_key_usage().map(|usage| match usage {
        ExtendedKeyUsage::ServerAuth => "server auth",
        ExtendedKeyUsage::ClientAuth => "client auth",
    });
    key_usages
        .map(|(_, name)| name)
        .chain(extended)
        .map(str::to_owned)
        .collect()
}
