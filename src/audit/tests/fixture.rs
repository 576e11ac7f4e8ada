//! Certificates, sound and otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::Report;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// The time of every test. The fixtures that openssl made are from a few weeks before.
pub(super) fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

pub(super) fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// A CA with what it was made from.
pub(super) struct Ca {
    pub(super) key: KeyPair,
    pub(super) params: CertificateParams,
    pub(super) pem: String,
}

pub(super) type Tweak = fn(&mut CertificateParams);

/// Changes nothing.
pub(super) fn sound(_: &mut CertificateParams) {}

impl Ca {
    pub(super) fn root(tweak: Tweak) -> Self {
        let mut params = ca_params("relay root");
        lives(&mut params, -100, 3550);
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { key, params, pem }
    }

    pub(super) fn signer(&self, tweak: Tweak) -> Self {
        let mut params = ca_params("relay signer 1");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        lives(&mut params, -30, 335);
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        let pem = self.sign(&params, &key);
        Self { key, params, pem }
    }

    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        key: &impl rcgen::PublicKeyData,
    ) -> String {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(key, &issuer).unwrap().pem()
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "gloo-mesh");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

pub(super) fn server_params() -> CertificateParams {
    let names = ["gloo-mesh-mgmt-server.gloo-mesh", "*.gloo-mesh"];
    let usage = ExtendedKeyUsagePurpose::ServerAuth;
    let mut params = leaf_params("gloo-mesh-mgmt-server", &names, usage);
    lives(&mut params, -5, 85);
    params
}

pub(super) fn client_params(cluster: &str) -> CertificateParams {
    let mut params = leaf_params(cluster, &[cluster], ExtendedKeyUsagePurpose::ClientAuth);
    lives(&mut params, -5, 25);
    params
}

/// From so many days after now to so many days after now.
pub(super) fn lives(params: &mut CertificateParams, from: i64, to: i64) {
    let start = rcgen::date_time_ymd(1970, 1, 1);
    let at = |day: i64| {
        let seconds = (now() + days(day)).as_second();
        start + Duration::from_secs(u64::try_from(seconds).unwrap())
    };
    params.not_before = at(from);
    params.not_after = at(to);
}

/// A checked-in file.
pub(super) fn file(name: &str) -> Vec<u8> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/audit/tests/fixtures");
    std::fs::read(format!("{directory}/{name}")).unwrap()
}

/// The codes of a report, each once.
pub(super) fn codes(report: &Report) -> Vec<String> {
    let codes: BTreeSet<String> = report
        .findings
        .iter()
        .map(|finding| finding.code.to_string())
        .chain(
            report
                .not_checked
                .iter()
                .map(|entry| entry.code.to_string()),
        )
        .collect();
    codes.into_iter().collect()
}
