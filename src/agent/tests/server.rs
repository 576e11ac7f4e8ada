//! An EST server that does what a test tells it, and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE, IF_NONE_MATCH};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Profile;
use relay_pki_authority::conformance::forge::{ForgedCa, params, subject};
use relay_pki_authority::x509::{Certificate, Validity, VerifiedCsr};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::ca::{bundle, cross, days, leaf};
use crate::enrolment::{Layout, RENEW, certs_only, csr_attributes, decode_body, encode_body};
use crate::relay::CaTag;
use relay_pki_authority::x509::KeyType;

pub(super) const NAME: &str = "gloo-mesh-mgmt-server.gloo-mesh";

/// What the server does from now on.
#[derive(Clone)]
pub(super) struct Script {
    /// What `/cacerts` and the verification of agents is made of; the first one is old.
    pub(super) roots: Vec<ForgedCa>,
    pub(super) signer: ForgedCa,
    /// What the server itself shows is issued by this one.
    pub(super) own: ForgedCa,
    /// More certificates in `/cacerts`.
    pub(super) others: Vec<Certificate>,
    pub(super) token: String,
    /// The names of whom it certifies, and how long.
    pub(super) lifetime: SignedDuration,
    /// How often it answers "not yet" first.
    pub(super) pending: usize,
    /// Whether it hangs up on everybody who shows a certificate.
    pub(super) hangs_up: bool,
    /// Whether renewals are refused.
    pub(super) revoked: bool,
    /// Whether whoever shows a certificate that is not of `signer` is told to renew it.
    pub(super) wants_renewal: bool,
}

impl Script {
    pub(super) fn of(root: &ForgedCa, signer: &ForgedCa) -> Self {
        Self {
            roots: vec![root.clone()],
            signer: signer.clone(),
            own: signer.clone(),
            others: Vec::new(),
            token: "first-token".to_owned(),
            lifetime: SignedDuration::from_hours(24),
            pending: 0,
            hangs_up: false,
            revoked: false,
            wants_renewal: false,
        }
    }

    fn ca_certificates(&self) -> Vec<Certificate> {
        let roots = self.roots.iter().map(|root| root.certificate.clone());
        roots.chain(self.others()).collect()
    }

    fn others(&self) -> Vec<Certificate> {
        let signer = self.signer.certificate.clone();
        std::iter::once(signer).chain(self.others.clone()).collect()
    }

    /// What `/cacerts` is tagged with.
    pub(super) fn tag(&self) -> String {
        let roots: Vec<&ForgedCa> = self.roots.iter().collect();
        format!("\"{}\"", CaTag::of(&bundle(&roots), &self.others()))
    }

    /// The same with another root beside the first, both certified by each other.
    pub(super) fn overlapping(mut self, new: &ForgedCa) -> Self {
        let old = self.roots[0].clone();
        self.others = vec![cross(&old, new), cross(new, &old)];
        self.roots = vec![old, new.clone()];
        self
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) operation: String,
    /// Whether a certificate was shown.
    pub(super) known: bool,
    pub(super) held: Option<String>,
    pub(super) status: u16,
    /// The key that a certificate was asked for.
    pub(super) key: Option<Vec<u8>>,
}

#[derive(Default)]
struct Shared {
    script: Option<Script>,
    asked: Vec<Asked>,
    authorizations: usize,
    connections: usize,
}

/// The server; it ends when it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared {
            script: Some(script),
            ..Shared::default()
        }));
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self {
            address,
            shared,
            task,
        }
    }

    /// What it tags `/cacerts` with.
    pub(super) fn tag(&self) -> String {
        let shared = self.shared.lock().unwrap();
        shared.script.as_ref().unwrap().tag()
    }

    /// Does something else from now on; nothing at all without a script.
    pub(super) fn change(&self, change: impl FnOnce(&mut Option<Script>)) {
        change(&mut self.shared.lock().unwrap().script);
    }

    pub(super) fn script(&self, script: Script) {
        self.change(|current| *current = Some(script));
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().asked.clone()
    }

    /// How often anything came with credentials.
    pub(super) fn authorizations(&self) -> usize {
        self.shared.lock().unwrap().authorizations
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }
}

async fn accept(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Some(script) = shared.lock().unwrap().script.clone() else {
            continue;
        };
        shared.lock().unwrap().connections += 1;
        let shared = shared.clone();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(config(&script));
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let peer = stream.get_ref().1.peer_certificates();
            let peer = peer.map(|shown| Certificate::from_der(&shown[0]).unwrap());
            if peer.is_some() && script.hangs_up {
                return;
            }
            let service = service_fn(|request| {
                let (shared, peer) = (shared.clone(), peer.clone());
                async move { answer(&shared, peer, request).await }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn config(script: &Script) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in &script.roots {
        roots.add(root.certificate.der().clone()).unwrap();
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let (key, chain) = leaf(&script.own, Profile::RelayServer, NAME, days(90));
    let chain = chain.certificates().iter();
    let chain = chain.map(|certificate| certificate.der().clone()).collect();
    let key = PrivatePkcs8KeyDer::from(key.pkcs8_der().to_vec());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key.into())
        .unwrap();
    Arc::new(config)
}

async fn answer(
    shared: &Mutex<Shared>,
    peer: Option<Certificate>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = peer.is_some();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut shared = shared.lock().unwrap();
    let Some(mut script) = shared.script.clone() else {
        return Ok(reply(503, "away"));
    };
    let operation = parts.uri.path().rsplit('/').next().unwrap().to_owned();
    let header = |name| {
        let value: Option<&http::HeaderValue> = parts.headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let held = header(IF_NONE_MATCH);
    let mut key = None;
    let tag = script.tag();
    let mut answer = match operation.as_str() {
        "cacerts" if held.as_ref() == Some(&tag) => reply(304, ""),
        "cacerts" => encoded(&certs_only(&script.ca_certificates())),
        "csrattrs" => encoded(&csr_attributes(KeyType::EcdsaP384)),
        "simpleenroll" | "simplereenroll" => {
            let csr = VerifiedCsr::from_der(&decode_body(&body).unwrap()).unwrap();
            key = Some(csr.public_key().spki_der().to_vec());
            shared.authorizations += usize::from(header(AUTHORIZATION).is_some());
            let wanted = STANDARD.encode(format!("cluster-1:{}", script.token));
            let authorized = match operation.as_str() {
                "simpleenroll" => header(AUTHORIZATION) == Some(format!("Basic {wanted}")),
                _ => known && !script.revoked,
            };
            match (authorized, script.pending) {
                (false, _) => reply(403, "not you\nwith this"),
                (true, 0) => encoded(&certs_only([&certify(&script, &csr)])),
                (true, _) => {
                    script.pending -= 1;
                    let mut later = reply(202, "not yet");
                    later.headers_mut().insert("retry-after", 1.into());
                    later
                }
            }
        }
        _ => reply(404, "?"),
    };
    if script.wants_renewal
        && peer.is_some_and(|leaf| !leaf.is_issued_by(&script.signer.certificate))
    {
        answer.headers_mut().insert(RENEW, "now".parse().unwrap());
    }
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    answer
        .headers_mut()
        .insert(DATE, date.to_string().parse().unwrap());
    shared.asked.push(Asked {
        operation,
        known,
        held,
        status: answer.status().as_u16(),
        key,
    });
    shared.script = Some(script);
    Ok(answer)
}

fn certify(script: &Script, csr: &VerifiedCsr) -> Certificate {
    let now = Timestamp::now();
    let from = now - SignedDuration::from_secs(1);
    let validity = Validity::new(from, now + script.lifetime).unwrap();
    let names = ["cluster-1".parse().unwrap()];
    let key = csr.public_key();
    let contents = params(
        Profile::AgentClient,
        key,
        &subject("cluster-1"),
        &names,
        validity,
    );
    script.signer.certify(&contents, key)
}

fn encoded(der: &[u8]) -> Response<Full<Bytes>> {
    reply(200, &encode_body(der, Layout::OneLine))
}

fn reply(status: u16, text: &str) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *reply.status_mut() = status.try_into().unwrap();
    reply
}
