//! What the load is put on: one server, how it is asked for a certificate, and where that is in its reply.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::asn1_rs::{Any, FromDer as _};

use crate::identity::{Csr, Identity, SERVER};
use crate::transport::client_config;

/// A server that certifies keys.
pub(crate) struct Target {
    pub(crate) label: &'static str,
    /// What is on disk before the reply.
    pub(crate) durability: &'static str,
    pub(crate) address: SocketAddr,
    /// The server's process.
    pub(crate) pid: u32,
    pub(crate) dialect: Dialect,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) intermediate: CertificateDer<'static>,
    /// Clients, each with its connection.
    pub(crate) clients: Vec<Client>,
}

/// A client, and the requests that it makes in turn.
pub(crate) struct Client {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) orders: Vec<Order>,
}

/// A request that is ready to be sent, and what has to come of it.
pub(crate) struct Order {
    path: &'static str,
    header: Option<(&'static str, HeaderValue)>,
    kind: &'static str,
    body: Bytes,
    pub(crate) name: String,
    pub(crate) spki: Vec<u8>,
}

/// How a server is asked.
#[derive(Clone)]
pub(crate) enum Dialect {
    /// EST `simplereenroll`.
    Est,
    /// step-ca's `rekey`.
    Rekey,
    /// cfssl's `authsign`, with the key of its HMAC.
    AuthSign([u8; 16]),
    /// Vault's `pki/sign`, with a token.
    Vault(String),
}

impl Client {
    pub(crate) fn new(
        identity: &Identity,
        root: &CertificateDer<'static>,
        dialect: &Dialect,
        requests: usize,
    ) -> Self {
        let orders = (0..requests).map(|_| dialect.order(&Csr::new(&identity.name)));
        Self {
            config: client_config(root, Some(identity)),
            orders: orders.collect(),
        }
    }
}

impl Order {
    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(self.path);
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static(SERVER));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if let Some((name, value)) = &self.header {
            headers.insert(*name, value.clone());
        }
        request
    }
}

impl Dialect {
    /// The request for `csr`.
    pub(crate) fn order(&self, csr: &Csr) -> Order {
        let (path, kind, header, body) = match self {
            Self::Est => (
                "/.well-known/est/simplereenroll",
                "application/pkcs10",
                None,
                STANDARD.encode(&csr.der),
            ),
            Self::Rekey => {
                let body = json!({ "csr": csr.pem }).to_string();
                ("/1.0/rekey", "application/json", None, body)
            }
            Self::AuthSign(key) => {
                let request = json!({ "certificate_request": csr.pem }).to_string();
                let key = hmac::Key::new(hmac::HMAC_SHA256, key);
                let token = hmac::sign(&key, request.as_bytes());
                let body = json!({
                    "token": STANDARD.encode(token.as_ref()),
                    "request": STANDARD.encode(&request),
                });
                let path = "/api/v1/cfssl/authsign";
                (path, "application/json", None, body.to_string())
            }
            Self::Vault(token) => {
                let body = json!({ "csr": csr.pem, "common_name": csr.name }).to_string();
                let token = HeaderValue::from_str(token).unwrap();
                let header = Some(("x-vault-token", token));
                ("/v1/pki/sign/agent", "application/json", header, body)
            }
        };
        Order {
            path,
            header,
            kind,
            body: Bytes::from(body),
            name: csr.name.clone(),
            spki: csr.spki.clone(),
        }
    }

    /// The certificate in a reply.
    pub(crate) fn certificate(&self, body: &[u8]) -> Option<CertificateDer<'static>> {
        if let Self::Est = self {
            let mut certificates = certs_only(&STANDARD.decode(body).ok()?)?;
            return certificates.pop().filter(|_| certificates.is_empty());
        }
        let reply: Value = serde_json::from_slice(body).ok()?;
        let pem = match self {
            Self::Vault(_) => &reply["data"]["certificate"],
            Self::AuthSign(_) => &reply["result"]["certificate"],
            _ => &reply["crt"],
        };
        CertificateDer::from_pem_slice(pem.as_str()?.as_bytes()).ok()
    }
}

/// The certificates of a certs-only message (RFC 5272), read as DER and by nothing of the product.
pub(crate) fn certs_only(message: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let content_info = Any::from_der(message).ok()?.1;
    let (rest, _) = Any::from_der(content_info.data).ok()?;
    let explicit = Any::from_der(rest).ok()?.1;
    let signed_data = Any::from_der(explicit.data).ok()?.1;
    let mut rest = signed_data.data;
    // Version, digest algorithms and content come first.
    for _ in 0..3 {
        (rest, _) = Any::from_der(rest).ok()?;
    }
    let mut rest = Any::from_der(rest).ok()?.1.data;
    let mut certificates = Vec::new();
    while !rest.is_empty() {
        let (more, _) = Any::from_der(rest).ok()?;
        let (own, _) = rest.split_at(rest.len() - more.len());
        certificates.push(CertificateDer::from(own.to_vec()));
        rest = more;
    }
    Some(certificates)
}
