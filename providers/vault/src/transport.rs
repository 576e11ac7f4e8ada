use std::time::Duration;

use http::{HeaderValue, Method};
use relay_pki_authority::Credential;
use reqwest::redirect;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::config::VaultConfig;
use crate::failure::Failure;

/// The largest answer: an issuer with a long chain has a few thousand bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Connections to the server.
pub(crate) struct Transport {
    client: reqwest::Client,
    address: String,
    namespace: Option<HeaderValue>,
    timeout: Duration,
}

/// A request as the API wants it, without token and namespace.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// `pki/issuer/NAME`
    pub(crate) path: String,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Transport {
    /// Reads the CA bundle and the client certificate as they are now.
    pub(crate) async fn new(config: &VaultConfig) -> Result<Self, Failure> {
        let broken = |error: reqwest::Error| Failure::Unusable {
            reason: format!("HTTP cannot be set up: {}", crate::failure::chain(&error)),
            remedy: "check the address in the document".to_owned(),
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config).await?)
            .timeout(config.timeout)
            .redirect(redirect::Policy::custom(follow))
            .build()
            .map_err(broken)?;
        let namespace = config.namespace.as_deref().map(HeaderValue::from_str);
        let namespace = namespace.transpose().map_err(|_| Failure::Unusable {
            reason: "the namespace has characters that no namespace can have".to_owned(),
            remedy: "correct the namespace in the document".to_owned(),
        })?;
        Ok(Self {
            client,
            address: config.address.trim_end_matches('/').to_owned(),
            namespace,
            timeout: config.timeout,
        })
    }

    /// Makes one call, once.
    pub(crate) async fn send(
        &self,
        call: &Call,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let url = format!("{}/v1/{}", self.address, call.path);
        let mut request = self
            .client
            .request(call.method.clone(), url)
            .header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token);
        }
        if !call.body.is_empty() {
            let kind = match call.method {
                Method::PATCH => "application/merge-patch+json",
                _ => "application/json",
            };
            request = request.header("Content-Type", kind);
            request = request.body(call.body.to_vec());
        }
        let failed = |error| Failure::of_transport(error, self.timeout);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("Retry-After");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::Unreadable(format!(
                    "its answer has more than {MAX_ANSWER} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            body,
        })
    }
}

/// A standby sends its clients to the active server; nobody may send them, and their token, to where
/// everybody can read along.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let before = attempt.previous().last().map(reqwest::Url::scheme);
    let downgraded = before == Some("https") && attempt.url().scheme() != "https";
    match downgraded || attempt.previous().len() > 2 {
        true => attempt.stop(),
        false => attempt.follow(),
    }
}

async fn tls(config: &VaultConfig) -> Result<ClientConfig, Failure> {
    let unusable = |error: rustls::Error| Failure::Unusable {
        reason: format!("TLS cannot be set up: {error}"),
        remedy: "check the CA bundle and the client certificate in the document".to_owned(),
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &config.ca_bundle {
        Some(bundle) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(bundle.as_ref()).await? {
                roots.add(certificate).map_err(unusable)?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(unusable)?,
    };
    let Some(ours) = &config.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(ours.certificate.as_ref()).await?;
    let pem = ours.key.read().await.map_err(Failure::Credential)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| Failure::Unusable {
        reason: format!("{} has no private key in PEM", ours.key.place()),
        remedy: "put the key of the client certificate there".to_owned(),
    })?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| Failure::Unusable {
            reason: format!("the client certificate cannot be used: {error}"),
            remedy: format!(
                "put a certificate into {} and its key into {}",
                ours.certificate.place(),
                ours.key.place()
            ),
        })
}

async fn certificates(kept: &dyn Credential) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = kept.read().await.map_err(Failure::Credential)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Failure::Unusable {
            reason: format!("{} has no certificate in PEM", kept.place()),
            remedy: "put certificates in PEM there".to_owned(),
        }),
    }
}
