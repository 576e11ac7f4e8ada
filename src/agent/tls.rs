//! The agent's side of TLS.

use std::sync::Arc;

use relay_pki_authority::x509::TrustBundle;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::relay::TlsContent;

/// The one protocol that is spoken.
const HTTP: &[u8] = b"http/1.1";

/// A connection to a server that `bundle` vouches for, with `identity` where it asks for a certificate.
/// Nothing is resumed: what is trusted is asked each time.
///
/// # Errors
///
/// If the roots, the certificate or the key cannot be used.
pub(super) fn verified(
    bundle: &TrustBundle,
    identity: Option<&TlsContent>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(bundle, &provider)?;
    let builder = builder(provider)?.with_webpki_verifier(verifier);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = identity.chain.certificates().iter();
            let chain = chain.map(|certificate| certificate.der().clone()).collect();
            let key = PrivatePkcs8KeyDer::from(identity.key.pkcs8_der().to_vec());
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))
                .map_err(|error| format!("the certificate cannot be presented: {error}"))?
        }
    };
    Ok(finished(config))
}

/// A connection to whoever answers, for reading what is public. That the server has the key of the
/// certificate which it shows is checked, so that the certificate can be judged afterwards.
///
/// # Errors
///
/// If the cryptography of this build cannot be used.
pub(super) fn unverified() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let anyone = Anyone(provider.signature_verification_algorithms);
    let config = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anyone))
        .with_no_client_auth();
    Ok(finished(config))
}

/// Whether `presented` is a chain for `name` from one of `bundle`, now. `more` are certificates that may be
/// between.
///
/// # Errors
///
/// Why it is not.
pub(super) fn vouches(
    bundle: &TrustBundle,
    presented: &[CertificateDer<'_>],
    more: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Result<(), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(bundle, &provider)?;
    let (leaf, rest) = presented
        .split_first()
        .ok_or("the server shows no certificate")?;
    let between: Vec<CertificateDer<'_>> = rest.iter().chain(more).cloned().collect();
    verifier
        .verify_server_cert(leaf, &between, name, &[], UnixTime::now())
        .map(drop)
        .map_err(|error| error.to_string())
}

/// What is wrong with the server's certificate, if it is only a matter of time.
pub(super) fn is_about_time(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

fn verifier(
    bundle: &TrustBundle,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for anchor in bundle.anchors() {
        let added = roots.add(anchor.der().clone());
        added.map_err(|error| format!("the root {}: {error}", anchor.subject()))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| format!("the roots: {error}"))
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Takes every certificate whose key the server has.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
