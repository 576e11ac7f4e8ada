//! A handshake with a relay server, for the chain that it presents.
//!
//! The server may well refuse us, who have no certificate: in TLS 1.2 before the handshake is over, in TLS 1.3
//! after it. By then it has shown its chain, and signed with the key of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use relay_pki_authority::x509::{Certificate, CertificateChain, TrustBundle};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What relay servers speak; a server that insists on one of them would not show anything else.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The chain that a server presents to whoever asks for `name`; it has the key of it.
///
/// # Errors
///
/// Why there is none, in words.
pub(super) async fn presented(
    address: SocketAddr,
    name: &ServerName<'static>,
) -> Result<CertificateChain, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| format!("no connection: {error}"))?;
    let witness = Arc::new(Witness::default());
    let config = config(witness.clone())?;
    let outcome = TlsConnector::from(config)
        .connect(name.clone(), stream)
        .await;
    match (witness.proven(), outcome) {
        (Some(chain), _) => {
            let parsed = chain.iter().map(|der| Certificate::from_der(der.as_ref()));
            let parsed: Result<Vec<Certificate>, _> = parsed.collect();
            let chain = parsed.and_then(CertificateChain::new);
            chain.map_err(|error| format!("what it presents is no chain: {error}"))
        }
        (None, Err(error)) => Err(format!("no TLS: {error}")),
        (None, Ok(_)) => Err("it presents no certificate".to_owned()),
    }
}

/// Whether whoever knows `bundle` alone accepts a chain for `name`, as rustls sees it.
///
/// # Errors
///
/// Why not.
pub(super) fn accepts(
    bundle: &TrustBundle,
    chain: &CertificateChain,
    name: &ServerName<'_>,
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for anchor in bundle.anchors() {
        let added = roots.add(anchor.der().clone());
        added.map_err(|error| format!("the root {}: {error}", anchor.subject()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| format!("the roots: {error}"))?;
    let above: Vec<CertificateDer<'_>> = chain
        .intermediates()
        .iter()
        .map(|certificate| certificate.der().clone())
        .collect();
    verifier
        .verify_server_cert(chain.leaf().der(), &above, name, &[], UnixTime::now())
        .map(drop)
        .map_err(|error| error.to_string())
}

fn config(witness: Arc<Witness>) -> Result<Arc<ClientConfig>, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(witness)
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // A session that is resumed has no certificates in it.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes every chain and remembers it. Nothing is sent over such a connection.
#[derive(Debug)]
struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    is_signed: bool,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            seen: Mutex::default(),
        }
    }
}

impl Witness {
    /// The chain, if whoever presented it has its key.
    fn proven(&self) -> Option<Vec<CertificateDer<'static>>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_signed.then(|| seen.chain.clone())
    }

    fn signed(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_signed = true;
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(leaf).chain(above);
        let chain = chain.map(|der| der.clone().into_owned()).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.chain = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid =
            rustls::crypto::verify_tls12_signature(message, leaf, signature, &self.algorithms)?;
        self.signed();
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid =
            rustls::crypto::verify_tls13_signature(message, leaf, signature, &self.algorithms)?;
        self.signed();
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
