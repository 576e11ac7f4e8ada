//! The server's side of TLS: our certificate, and agents that may present theirs.

use std::sync::Arc;

use relay_pki_authority::x509::{Certificate, TrustBundle};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::relay::TlsContent;

/// The one protocol that is spoken.
const HTTP: &[u8] = b"http/1.1";

/// What the server presents (its chain, and roots `rolled` over, for clients that know one of them only), and whose certificates it takes: chains of `signers` to `bundle`. A client
/// need not present any. Nothing is resumed: a session of yesterday knows nothing of today's trust.
///
/// # Errors
///
/// If the certificate, the key or the bundle cannot be used.
pub(super) fn server_config(
    own: &TlsContent,
    rolled: &[Certificate],
    bundle: &TrustBundle,
    signers: &[Certificate],
) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for anchor in bundle.anchors() {
        let added = roots.add(anchor.der().clone());
        added.map_err(|error| format!("the root {}: {error}", anchor.subject()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| format!("the trust bundle: {error}"))?;
    let verifier = AgentVerifier {
        inner: verifier,
        signers: signers.iter().map(|signer| signer.der().clone()).collect(),
    };
    let chain = own.chain.certificates().iter().chain(rolled);
    let chain = chain.map(|certificate| certificate.der().clone()).collect();
    let key = PrivatePkcs8KeyDer::from(own.key.pkcs8_der().to_vec());
    let mut config = builder(provider)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, PrivateKeyDer::Pkcs8(key))
        .map_err(|error| format!("the server's certificate: {error}"))?;
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, String> {
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())
}

/// Verifies agents with webpki. Some clients send their certificate without the signer's, which we
/// have; and none is told which roots we accept, or it would keep a certificate to itself that was issued
/// by somebody below them.
#[derive(Debug)]
struct AgentVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    signers: Vec<CertificateDer<'static>>,
}

impl ClientCertVerifier for AgentVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let sent = intermediates.iter().cloned();
        let known = self.signers.iter().cloned();
        let all: Vec<CertificateDer<'_>> = sent.chain(known).collect();
        self.inner.verify_client_cert(end_entity, &all, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
