//! Path validation: what each of the two verifiers catches, and hard shapes.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, GeneralSubtree, IsCa, KeyUsagePurpose,
    NameConstraints, SanType,
};

use crate::Profile;
use crate::conformance::forge::{self, ForgedCa};
use crate::x509::{
    Certificate, CertificateChain, PathError, PeerRole, TrustBundle, Validity, verify_path,
    webpki_verify,
};

fn now() -> Timestamp {
    Timestamp::from_second(1_900_000_000).unwrap()
}

fn hours(hours: i64) -> Validity {
    forge::hours(now() - SignedDuration::from_hours(1), hours)
}

fn leaf_with(ca: &ForgedCa, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let csr = forge::csr(&forge::private_key(), "cluster-1");
    let request = forge::leaf_request(csr, Profile::AgentClient, "cluster-1", hours(2), now());
    let mut params = ca.honest(&request);
    change(&mut params);
    ca.certify(&params, request.csr.public_key())
}

fn leaf(ca: &ForgedCa) -> Certificate {
    leaf_with(ca, |_| {})
}

fn chain(certificates: &[&Certificate]) -> CertificateChain {
    CertificateChain::new(certificates.iter().map(|found| (*found).clone()).collect()).unwrap()
}

fn bundle(roots: &[&ForgedCa]) -> TrustBundle {
    TrustBundle::new(roots.iter().map(|root| root.certificate.clone())).unwrap()
}

fn verify(certificates: &[&Certificate], bundle: &TrustBundle) -> Result<(), PathError> {
    verify_path(&chain(certificates), bundle, PeerRole::Client, now())
}

#[track_caller]
fn refused(result: Result<(), PathError>, verifier: &str, words: &str) {
    let error = result.expect_err("it was accepted");
    assert_eq!(error.verifier, verifier, "{error}");
    assert!(error.reason.contains(words), "{words:?} is not in: {error}");
}

fn pki() -> (ForgedCa, ForgedCa) {
    let root = ForgedCa::root("root", hours(1000));
    let signer = root.signer("signer", hours(100));
    (root, signer)
}

#[test]
fn an_honest_chain_verifies_in_its_role_only() {
    let (root, signer) = pki();
    let leaf = leaf(&signer);
    let chain = chain(&[&leaf, &signer.certificate]);
    let bundle = bundle(&[&root]);
    verify_path(&chain, &bundle, PeerRole::Client, now()).unwrap();
    let as_server = verify_path(&chain, &bundle, PeerRole::Server, now());
    refused(as_server, "webpki", "RequiredEkuNotFound");
    let late = now() + SignedDuration::from_hours(3);
    let expired = verify_path(&chain, &bundle, PeerRole::Client, late);
    refused(expired, "own checks", "CN=cluster-1 is valid from");
    let other = ForgedCa::root("root", hours(1000));
    refused(
        verify(&[&leaf, &signer.certificate], &other.anchors),
        "own checks",
        "CN=root",
    );
    refused(
        verify(&[&leaf], &bundle),
        "own checks",
        "neither in the chain nor in the bundle",
    );
}

/// OpenSSL and Go refuse an expired root; webpki does not look.
#[test]
fn an_expired_root_is_refused_although_webpki_accepts_it() {
    let root = ForgedCa::root("root", hours(1));
    let signer = root.signer("signer", hours(100));
    let leaf = leaf(&signer);
    let at = now() + SignedDuration::from_mins(30);
    let chain = chain(&[&leaf, &signer.certificate]);
    let bundle = bundle(&[&root]);
    webpki_verify(&chain, &bundle, PeerRole::Client, at).unwrap();
    let result = verify_path(&chain, &bundle, PeerRole::Client, at);
    refused(result, "own checks", "the root CN=root is valid from");
}

/// A root with path length 1, cross-certified: OpenSSL refuses it, webpki ignores an anchor's limit.
#[test]
fn the_path_length_of_a_root_counts_although_webpki_ignores_it() {
    let old = ForgedCa::root_with("old root", hours(1000), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    });
    let new = ForgedCa::root("new root", hours(1000));
    let cross = cross(&old, &new);
    let signer = new.signer("signer", hours(100));
    let leaf = leaf(&signer);
    let chain = chain(&[&leaf, &signer.certificate, &cross]);
    webpki_verify(&chain, &bundle(&[&old]), PeerRole::Client, now()).unwrap();
    let result = verify_path(&chain, &bundle(&[&old]), PeerRole::Client, now());
    refused(result, "own checks", "allows 1 CA certificates below it");
    // One signer directly below is what the limit allows.
    let direct = old.signer("signer", hours(100));
    verify(
        &[&self::leaf(&direct), &direct.certificate],
        &bundle(&[&old]),
    )
    .unwrap();
}

/// `new`'s key certified by `old` (NewWithOld, RFC 9810 section 4.4).
fn cross(old: &ForgedCa, new: &ForgedCa) -> Certificate {
    let mut params = new.issuer.clone();
    params.use_authority_key_identifier_extension = true;
    old.certify(&params, new.key.public_key())
}

#[test]
fn a_cross_certified_chain_verifies_for_old_new_and_both() {
    // One name for all generations, as our own roots have it.
    let (old, new) = (
        ForgedCa::root("root", hours(1000)),
        ForgedCa::root("root", hours(2000)),
    );
    let cross = cross(&old, &new);
    let signer = new.signer("signer", hours(100));
    let leaf = leaf(&signer);
    for roots in [vec![&old], vec![&new], vec![&old, &new]] {
        let bundle = bundle(&roots);
        verify(&[&leaf, &signer.certificate, &cross], &bundle).unwrap();
        verify(&[&leaf, &cross, &signer.certificate], &bundle).unwrap();
    }
}

/// What is served while a root rotation is under way, in both orders.
#[test]
fn two_certificates_of_one_signer_key_verify_in_both_orders() {
    let (old, new) = (
        ForgedCa::root("root", hours(1000)),
        ForgedCa::root("root", hours(2000)),
    );
    let signer = old.signer("signer", hours(100));
    let again = new.certify(&signer.issuer, signer.key.public_key());
    let leaf = leaf(&signer);
    for roots in [vec![&old], vec![&new], vec![&old, &new]] {
        let bundle = bundle(&roots);
        verify(&[&leaf, &signer.certificate, &again], &bundle).unwrap();
        verify(&[&leaf, &again, &signer.certificate], &bundle).unwrap();
    }
}

/// The first fitting issuer is expired, the second is not: the search goes back.
#[test]
fn an_expired_twin_does_not_hide_the_good_one() {
    let (root, signer) = pki();
    let mut params = signer.issuer.clone();
    forge::set_validity(
        &mut params,
        now() - SignedDuration::from_hours(10),
        now() - SignedDuration::from_hours(5),
    );
    let expired = root.certify(&params, signer.key.public_key());
    let leaf = leaf(&signer);
    verify(&[&leaf, &expired, &signer.certificate], &bundle(&[&root])).unwrap();
    let only = verify(&[&leaf, &expired], &bundle(&[&root]));
    refused(only, "own checks", "the issuer CN=signer is valid from");
}

#[test]
fn issuers_that_may_not_issue_are_refused() {
    let (root, _) = pki();
    let no_ca = root.signer_with("signer", hours(100), |params| {
        params.is_ca = IsCa::ExplicitNoCa
    });
    let result = verify(&[&leaf(&no_ca), &no_ca.certificate], &bundle(&[&root]));
    refused(result, "own checks", "is not a CA");
    let no_signing = root.signer_with("signer", hours(100), |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    // rcgen looks at the issuer's usages for revocation lists only.
    let chain = [&leaf(&no_signing), &no_signing.certificate];
    webpki_verify(
        &self::chain(&chain),
        &bundle(&[&root]),
        PeerRole::Client,
        now(),
    )
    .unwrap();
    let result = verify(&chain, &bundle(&[&root]));
    refused(result, "own checks", "may not sign certificates (keyUsage)");
    let (root, signer) = pki();
    let below = signer.signer("below", hours(50));
    let result = verify(
        &[&leaf(&below), &below.certificate, &signer.certificate],
        &bundle(&[&root]),
    );
    refused(result, "own checks", "(path length)");
}

#[test]
fn a_leaf_that_may_not_sign_is_refused_although_webpki_accepts_it() {
    let (root, signer) = pki();
    let leaf = leaf_with(&signer, |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    });
    let result = verify(&[&leaf, &signer.certificate], &bundle(&[&root]));
    refused(result, "own checks", "may not sign handshakes");
}

#[test]
fn name_constraints_hold_or_fail_closed() {
    let constrained = |permitted: Vec<GeneralSubtree>| {
        let root = ForgedCa::root("root", hours(1000));
        let signer = root.signer_with("signer", hours(100), |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: permitted,
                excluded_subtrees: Vec::new(),
            });
        });
        let leaf = leaf(&signer);
        verify(&[&leaf, &signer.certificate], &bundle(&[&root]))
    };
    constrained(vec![GeneralSubtree::DnsName("cluster-1".to_owned())]).unwrap();
    let other = constrained(vec![GeneralSubtree::DnsName("cluster-2".to_owned())]);
    refused(other, "webpki", "NameConstraintViolation");
    // Even the directory name that the leaf has: webpki does not implement these.
    let directory = rcgen::DistinguishedName::new();
    let directory = constrained(vec![GeneralSubtree::DirectoryName(directory)]);
    refused(directory, "webpki", "NameConstraintViolation");
}

/// A SPIFFE trust domain as a constraint: rcgen cannot write it, so here it is by hand.
#[test]
fn uri_constraints_fail_closed_when_there_is_a_uri() {
    let root = ForgedCa::root("root", hours(1000));
    let signer = root.signer_with("signer", hours(100), |params| {
        let mut content = vec![0x30, 0x0f, 0xa0, 0x0d, 0x30, 0x0b, 0x86, 0x09];
        content.extend_from_slice(b"gloo-mesh");
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    });
    assert!(signer.certificate.has_name_constraints());
    let with_uri = leaf_with(&signer, |params| {
        let uri = SanType::URI("spiffe://gloo-mesh/agent".try_into().unwrap());
        params.subject_alt_names.push(uri);
    });
    let result = verify(&[&with_uri, &signer.certificate], &bundle(&[&root]));
    refused(result, "webpki", "NameConstraintViolation");
}

#[test]
fn unknown_critical_extensions_are_refused_anywhere() {
    let critical = |params: &mut CertificateParams| {
        let oid = [1, 3, 6, 1, 4, 1, 99999, 1];
        let mut extension = CustomExtension::from_oid_content(&oid, vec![0x05, 0x00]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    };
    let (root, signer) = pki();
    let result = verify(
        &[&leaf_with(&signer, critical), &signer.certificate],
        &bundle(&[&root]),
    );
    refused(result, "own checks", "unknown critical extension");
    let odd = root.signer_with("odd", hours(100), critical);
    let result = verify(&[&leaf(&odd), &odd.certificate], &bundle(&[&root]));
    refused(
        result,
        "own checks",
        "CN=odd has the unknown critical extension",
    );
}

/// Two CAs that certify each other, neither known: the search ends.
#[test]
fn loops_end() {
    let (a, b) = (
        ForgedCa::root("a", hours(100)),
        ForgedCa::root("b", hours(100)),
    );
    let (a_by_b, b_by_a) = (cross(&b, &a), cross(&a, &b));
    let leaf = leaf(&a);
    let stranger = ForgedCa::root("stranger", hours(100));
    let chain = [&leaf, &a_by_b, &b_by_a, &a.certificate, &b.certificate];
    assert!(verify(&chain, &bundle(&[&stranger])).is_err());
    verify(&chain, &bundle(&[&b])).unwrap();
    // A leaf that is an anchor itself proves nothing to webpki.
    assert!(verify(&[&a.certificate, &a.certificate], &bundle(&[&stranger])).is_err());
}

/// Seven certificates of one name, one key and no identifiers: 13,700 paths, most of them one
/// signature longer than the one before.
#[test]
fn the_search_is_bounded() {
    let unlimited = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let one = ForgedCa::root("same", hours(100));
    let twins: Vec<Certificate> = (0..7)
        .map(|_| {
            let mut params = one.issuer.clone();
            unlimited(&mut params);
            let serial = crate::x509::SerialNumber::random().unwrap();
            params.serial_number = Some(serial.as_bytes().to_vec().into());
            one.certify(&params, one.key.public_key())
        })
        .collect();
    let leaf = leaf(&one);
    let mut chain = vec![&leaf];
    chain.extend(&twins);
    let stranger = ForgedCa::root("stranger", hours(100));
    refused(
        verify(&chain, &bundle(&[&stranger])),
        "own checks",
        "too many paths",
    );
}

#[test]
fn a_chain_has_at_most_eight_certificates() {
    let (_, signer) = pki();
    let many = vec![signer.certificate.clone(); 9];
    assert!(CertificateChain::new(many).is_err());
    assert!(CertificateChain::new(Vec::new()).is_err());
}
