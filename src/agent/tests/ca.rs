//! CAs of the tests.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Profile;
pub(in super::super) use relay_pki_authority::conformance::forge::ForgedCa;
use relay_pki_authority::conformance::forge::{params, private_key, subject};
use relay_pki_authority::x509::{Certificate, CertificateChain, PrivateKey, TrustBundle, Validity};

use crate::relay::TlsContent;

/// When everything in these tests begins.
pub(in super::super) static START: LazyLock<Timestamp> =
    LazyLock::new(|| Timestamp::now() - SignedDuration::from_hours(1));

pub(in super::super) fn days(days: i64) -> Validity {
    Validity::new(*START, *START + SignedDuration::from_hours(24 * days)).unwrap()
}

pub(in super::super) fn root(name: &str) -> ForgedCa {
    ForgedCa::root(name, days(3650))
}

/// A root that ends after those of `root`, as that of a rotation does.
pub(in super::super) fn successor(name: &str) -> ForgedCa {
    ForgedCa::root(name, days(7300))
}

/// A root that is the same wherever it is asked for.
pub(in super::super) fn fixed() -> ForgedCa {
    static FIXED: LazyLock<ForgedCa> = LazyLock::new(|| root("fixed"));
    FIXED.clone()
}

pub(in super::super) fn signer(root: &ForgedCa, name: &str) -> ForgedCa {
    root.signer(name, days(365))
}

pub(in super::super) fn bundle(roots: &[&ForgedCa]) -> TrustBundle {
    TrustBundle::new(roots.iter().map(|root| root.certificate.clone())).unwrap()
}

/// `subject`'s key and name, certified by `issuer`.
pub(in super::super) fn cross(issuer: &ForgedCa, certified: &ForgedCa) -> Certificate {
    let mut contents = certified.issuer.clone();
    contents.use_authority_key_identifier_extension = true;
    issuer.certify(&contents, certified.key.public_key())
}

pub(in super::super) fn leaf(
    signer: &ForgedCa,
    profile: Profile,
    name: &str,
    validity: Validity,
) -> (PrivateKey, CertificateChain) {
    let key = private_key();
    let names = [name.parse().unwrap()];
    let contents = params(profile, key.public_key(), &subject(name), &names, validity);
    let leaf = signer.certify(&contents, key.public_key());
    let chain = std::iter::once(leaf).chain(signer.path.iter().cloned());
    (key, CertificateChain::new(chain.collect()).unwrap())
}

/// What an agent holds that enrolled with `signer`.
pub(in super::super) fn identity(
    signer: &ForgedCa,
    name: &str,
    validity: Validity,
    bundle: TrustBundle,
) -> TlsContent {
    let (key, chain) = leaf(signer, Profile::AgentClient, name, validity);
    TlsContent { chain, key, bundle }
}
