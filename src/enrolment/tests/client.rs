//! A client of our own: as strict as a good one, and as rude as a bad one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use relay_pki_authority::x509::{Certificate, TrustBundle};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::SERVER;

#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    roots: RootCertStore,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// The certificates in a certs-only message, read by OpenSSL.
    pub(super) fn certificates(&self) -> Vec<Certificate> {
        assert_eq!(self.status, 200, "{}", self.text());
        let der = STANDARD.decode(&self.body).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("message");
        std::fs::write(&file, der).unwrap();
        let output = std::process::Command::new("openssl")
            .args(["pkcs7", "-inform", "DER", "-print_certs", "-in"])
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success());
        Certificate::list_from_pem(&output.stdout).unwrap()
    }

    pub(super) fn certificate(&self) -> Certificate {
        let certificates = self.certificates();
        assert_eq!(certificates.len(), 1);
        certificates[0].clone()
    }
}

pub(super) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// A request for `name`, in base64.
pub(super) fn request(key: &KeyPair, name: &str) -> Vec<u8> {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let request = parameters.serialize_request(key).unwrap();
    STANDARD.encode(request.der()).into_bytes()
}

impl Client {
    pub(super) fn new(address: SocketAddr, bundle: &TrustBundle) -> Self {
        let mut roots = RootCertStore::empty();
        for anchor in bundle.anchors() {
            roots.add(anchor.der().clone()).unwrap();
        }
        let config = builder(&roots).with_no_client_auth();
        Self {
            address,
            config: Arc::new(config),
            roots,
        }
    }

    /// Presents a certificate, without anything above it.
    pub(super) fn with(&self, key: &KeyPair, certificate: &Certificate) -> Self {
        let chain = vec![certificate.der().clone()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = builder(&self.roots);
        Self {
            config: Arc::new(config.with_client_auth_cert(chain, key.into()).unwrap()),
            ..self.clone()
        }
    }

    /// The same, with one version of TLS.
    pub(super) fn speaking(&self, version: &'static rustls::SupportedProtocolVersion) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    pub(super) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(SERVER).unwrap();
        TlsConnector::from(self.config.clone())
            .connect(name, stream)
            .await
    }

    /// A connection for several requests.
    pub(super) async fn open(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let stream = self.connect().await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> io::Result<Answer> {
        send(&mut self.open().await?, request).await
    }

    pub(super) async fn get(&self, operation: &str) -> io::Result<Answer> {
        self.get_with(operation, &[]).await
    }

    pub(super) async fn get_with(
        &self,
        operation: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let mut request =
            Request::get(format!("/.well-known/est/{operation}")).header(HOST, SERVER);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub(super) async fn get_path(&self, path: &str) -> io::Result<Answer> {
        let request = Request::get(path).header(HOST, SERVER);
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub(super) async fn enroll(&self, user: &str, token: &str, body: &[u8]) -> Answer {
        let credentials = STANDARD.encode(format!("{user}:{token}"));
        let request = post("simpleenroll")
            .header(AUTHORIZATION, format!("Basic {credentials}"))
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        self.send(request).await.unwrap()
    }

    pub(super) async fn reenroll(&self, body: &[u8]) -> io::Result<Answer> {
        let request = post("simplereenroll").body(Full::new(Bytes::copy_from_slice(body)));
        self.send(request.unwrap()).await
    }
}

pub(super) async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> io::Result<Answer> {
    sender.ready().await.map_err(io::Error::other)?;
    let reply = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let (parts, body) = reply.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

pub(super) fn post(operation: &str) -> http::request::Builder {
    Request::post(format!("/.well-known/est/{operation}"))
        .header(HOST, SERVER)
        .header(CONTENT_TYPE, "application/pkcs10")
}

fn builder(
    roots: &RootCertStore,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
}
