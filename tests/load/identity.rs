//! Keys, requests and certificates that the load is made of: P-256 and SHA-256 everywhere.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The name that every server is called by.
pub(crate) const SERVER: &str = "localhost";

/// A client that can show who it is.
pub(crate) struct Identity {
    pub(crate) name: String,
    /// Its certificate, with the signer's.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

/// A request for a certificate, and what has to come of it.
pub(crate) struct Csr {
    pub(crate) name: String,
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
    /// The key in it, as SubjectPublicKeyInfo.
    pub(crate) spki: Vec<u8>,
}

/// Root, intermediate and server certificate for the peers, as a relay has them.
pub(crate) struct Pki {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    pub(crate) intermediate_pem: String,
    pub(crate) intermediate_key_pem: String,
    /// The server's certificate with the intermediate's.
    pub(crate) server_pem: String,
    pub(crate) server_key_pem: String,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Identity {
    pub(crate) fn new(name: &str, chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        Self {
            name: name.to_owned(),
            chain,
            key: key.serialize_der(),
        }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

impl Csr {
    /// A request of `name` for a new key.
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, &KeyPair::generate().unwrap())
    }

    pub(crate) fn with(name: &str, key: &KeyPair) -> Self {
        let request = parameters(name, &[name]).serialize_request(key).unwrap();
        Self {
            name: name.to_owned(),
            der: request.der().to_vec(),
            pem: request.pem().unwrap(),
            spki: key.subject_public_key_info(),
        }
    }
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut root = ca("load root", BasicConstraints::Unconstrained);
        root.distinguished_name
            .push(DnType::OrganizationName, "load");
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let intermediate_key_pem = key.serialize_pem();
        let signer = ca("load intermediate", BasicConstraints::Constrained(0));
        let intermediate = CertifiedIssuer::signed_by(signer, key, &root).unwrap();
        let server_key = KeyPair::generate().unwrap();
        let mut server = parameters(SERVER, &[SERVER]);
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.use_authority_key_identifier_extension = true;
        let server = server.signed_by(&server_key, &intermediate).unwrap();
        Self {
            root: root.der().clone(),
            root_pem: root.pem(),
            intermediate_pem: intermediate.pem(),
            intermediate_key_pem,
            server_pem: server.pem() + &intermediate.pem(),
            server_key_pem: server_key.serialize_pem(),
            intermediate,
        }
    }

    /// A client that the intermediate certified.
    pub(crate) fn client(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut leaf = parameters(name, &[name]);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.use_authority_key_identifier_extension = true;
        leaf.not_before = time::OffsetDateTime::now_utc() - time::Duration::minutes(5);
        leaf.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(30);
        let leaf = leaf.signed_by(&key, &self.intermediate).unwrap();
        let chain = vec![leaf.der().clone(), self.intermediate.der().clone()];
        Identity::new(name, chain, &key)
    }

    pub(crate) fn intermediate(&self) -> CertificateDer<'static> {
        self.intermediate.der().clone()
    }
}

fn parameters(name: &str, dns: &[&str]) -> CertificateParams {
    let dns: Vec<String> = dns.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(dns).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn ca(name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut ca = parameters(name, &[]);
    ca.is_ca = IsCa::Ca(constraints);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca
}
