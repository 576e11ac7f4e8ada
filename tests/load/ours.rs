//! relay-pki's EST server, and clients that enrolled there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::Full;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::identity::{Csr, Identity, SERVER};
use crate::process::{Server, free_port};
use crate::serve::Records;
use crate::support::fleet::{Fleet, IDENTITY, ROOT};
use crate::target::{Client, Dialect, Target, certs_only};
use crate::transport::{ask, client_config, connect};

/// A relay whose server runs.
pub(crate) struct Ours {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) signer: CertificateDer<'static>,
    token: String,
    anonymous: Arc<ClientConfig>,
    records: Records,
    _fleet: Fleet,
}

/// The names of clusters that enrol.
pub(crate) fn names(count: usize) -> Vec<String> {
    (1..=count)
        .map(|index| format!("cluster-{index}"))
        .collect()
}

/// The document of a relay whose management cluster is at `place`.
pub(crate) fn spec(place: &str, names: &[String]) -> String {
    let mut spec = format!(
        "  server: {{ extraDnsNames: [{SERVER}] }}\n  enrolment: {{ tokens: shared }}\n  clusters:\n    \
         - {{ name: mgmt, role: management, {place} }}\n"
    );
    for name in names {
        spec.push_str(&format!(
            "    - {{ name: {name}, role: workload, delivery: enroll }}\n"
        ));
    }
    spec
}

impl Ours {
    /// Serves a fleet that is bootstrapped in a directory.
    pub(crate) async fn start(names: &[String], records: Records) -> Self {
        let fleet = Fleet::new(&spec("directory: clusters/mgmt", names));
        bootstrap(&fleet);
        let root = fleet.secret("mgmt", ROOT).data["ca.crt"].clone();
        let token = fleet.secret("mgmt", IDENTITY).data["token"].clone();
        Self::serve(fleet, &root, token, records).await
    }

    /// Serves a fleet whose root and token are these.
    pub(crate) async fn serve(fleet: Fleet, root: &[u8], token: Vec<u8>, records: Records) -> Self {
        let root = CertificateDer::from_pem_slice(root).unwrap();
        let port = free_port();
        let arguments = ["serve", "relay.yaml", &port.to_string(), records.argument()];
        let program = std::env::current_exe().unwrap();
        let server = Server::start(&program, &arguments, fleet.dir(), "server.log");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let anonymous = client_config(&root, None);
        let signer = signer(address, &anonymous, &root).await;
        Self {
            server,
            address,
            root,
            signer,
            token: String::from_utf8(token).unwrap(),
            anonymous,
            records,
            _fleet: fleet,
        }
    }

    /// Enrols as `name`, as an agent does first.
    pub(crate) async fn enroll(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let csr = Csr::with(name, &key);
        let credentials = STANDARD.encode(format!("{name}:{}", self.token));
        let request = Request::post("/.well-known/est/simpleenroll")
            .header(HOST, SERVER)
            .header(CONTENT_TYPE, "application/pkcs10")
            .header(AUTHORIZATION, format!("Basic {credentials}"))
            .body(Full::new(Bytes::from(STANDARD.encode(&csr.der))))
            .unwrap();
        let mut connection = connect(self.address, &self.anonymous).await.unwrap();
        let reply = ask(&mut connection, request).await.unwrap();
        let text = String::from_utf8_lossy(reply.body());
        assert_eq!(reply.status(), StatusCode::OK, "{name}: {text}");
        let leaf = Dialect::Est.certificate(reply.body()).unwrap();
        Identity::new(name, vec![leaf, self.signer.clone()], &key)
    }

    /// What load is put on: one client a name.
    pub(crate) async fn target(&self, names: &[String], requests: usize) -> Target {
        let mut clients = Vec::new();
        for name in names {
            let identity = self.enroll(name).await;
            clients.push(Client::new(&identity, &self.root, &Dialect::Est, requests));
        }
        Target {
            label: match self.records {
                Records::InMemory => "relay-pki simplereenroll",
                Records::Kept => "relay-pki simplereenroll, with records",
            },
            durability: "none",
            address: self.address,
            pid: self.server.pid(),
            dialect: Dialect::Est,
            root: self.root.clone(),
            intermediate: self.signer.clone(),
            clients,
        }
    }
}

/// The program with the server that is measured.
pub(crate) fn bootstrap(fleet: &Fleet) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_relay-pki"));
    let run = Command::new(program)
        .args(["bootstrap", "--quiet"])
        .current_dir(fleet.dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "bootstrap: {said}");
}

/// Waits until the server answers; the signer that it tells of.
async fn signer(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    root: &CertificateDer<'static>,
) -> CertificateDer<'static> {
    for _ in 0..600 {
        if let Some(body) = ca_certificates(address, config).await {
            let message = STANDARD.decode(body).unwrap();
            let mut all = certs_only(&message).unwrap().into_iter();
            return all.find(|certificate| certificate != root).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("relay-pki's server does not answer");
}

async fn ca_certificates(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<Bytes> {
    let mut connection = connect(address, config).await.ok()?;
    let request = Request::get("/.well-known/est/cacerts")
        .header(HOST, SERVER)
        .body(Full::default())
        .unwrap();
    let reply = ask(&mut connection, request).await.ok()?;
    (reply.status() == StatusCode::OK).then(|| reply.into_body())
}
