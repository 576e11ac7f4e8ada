//! The connection: who we are, and how long we wait.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_auth::credentials::{Builder, Credentials, service_account};
use google_cloud_gax::exponential_backoff::ExponentialBackoffBuilder;
use google_cloud_gax::retry_policy::{Aip194Strict, RetryPolicyExt as _};
use google_cloud_security_privateca_v1::client::CertificateAuthorityService;
use relay_pki_authority::{AuthorityError, Credential};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::pool::Pool;

/// Longest that one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(8);
/// Attempts, where an attempt may be repeated.
const ATTEMPTS: u32 = 4;
/// Longest that all attempts together may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(22);

/// Where the service is and who we are there.
#[derive(Clone)]
pub struct Access {
    /// The pool.
    pub pool: Pool,
    /// A service account's key file. Without it Application Default Credentials: the workload's
    /// identity, or what `GOOGLE_APPLICATION_CREDENTIALS` names.
    pub key: Option<Arc<dyn Credential>>,
    /// The service's address, if it is not Google's own: `https://…`.
    pub endpoint: Option<String>,
}

/// A client that is made when it is needed, and made again when its credential is refused.
pub(crate) struct Client {
    /// For messages.
    name: String,
    pub(crate) access: Access,
    made: Mutex<Option<Made>>,
}

/// A client and the key that it was made with.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) service: CertificateAuthorityService,
    key: Option<Arc<Zeroizing<Vec<u8>>>>,
}

impl Client {
    pub(crate) fn new(name: String, access: Access) -> Self {
        Self {
            name,
            access,
            made: Mutex::new(None),
        }
    }

    /// Whose credential is used, for messages.
    pub(crate) fn identity(&self) -> String {
        match &self.access.key {
            Some(key) => format!("the service account of {}", key.place()),
            None => "the workload's identity (Application Default Credentials)".to_owned(),
        }
    }

    /// The client. Made on first use, because making it starts a task.
    pub(crate) async fn made(&self) -> Result<Made, AuthorityError> {
        let mut made = self.made.lock().await;
        if let Some(made) = made.as_ref() {
            return Ok(made.clone());
        }
        let key = self.read_key().await?;
        let new = self.make(key).await?;
        Ok(made.insert(new).clone())
    }

    /// Makes the client again after the credential of `refused` was not accepted, unless another caller
    /// did. `false` if the credential is still the same.
    pub(crate) async fn renew(&self, refused: &Made) -> Result<bool, AuthorityError> {
        let mut made = self.made.lock().await;
        if made.as_ref().is_some_and(|made| made.key != refused.key) {
            return Ok(true);
        }
        // Until there is another one, nobody uses this one.
        *made = None;
        let key = self.read_key().await?;
        let changed = key != refused.key;
        *made = Some(self.make(key).await?);
        Ok(changed)
    }

    async fn read_key(&self) -> Result<Option<Arc<Zeroizing<Vec<u8>>>>, AuthorityError> {
        let Some(key) = &self.access.key else {
            return Ok(None);
        };
        match key.read().await {
            Ok(bytes) => Ok(Some(Arc::new(bytes))),
            Err(error) => {
                Err(self.misconfigured(error.to_string(), "put a service account's key there"))
            }
        }
    }

    async fn make(&self, key: Option<Arc<Zeroizing<Vec<u8>>>>) -> Result<Made, AuthorityError> {
        let credentials = match &key {
            Some(key) => self.service_account(key)?,
            None => Builder::default().build().map_err(|error| {
                let remedy = "run where there is a workload identity, set \
                              GOOGLE_APPLICATION_CREDENTIALS, or write credentials: in the provider";
                self.misconfigured(error.to_string(), remedy)
            })?,
        };
        let backoff = ExponentialBackoffBuilder::new()
            .with_initial_delay(Duration::from_millis(200))
            .with_maximum_delay(Duration::from_secs(4))
            .clamp();
        let retries = Aip194Strict
            .continue_on_client_timeout()
            .with_attempt_limit(ATTEMPTS)
            .with_time_limit(PATIENCE);
        let mut builder = CertificateAuthorityService::builder()
            .with_credentials(credentials)
            .with_attempt_timeout(ATTEMPT)
            .with_retry_policy(retries)
            .with_backoff_policy(backoff);
        if let Some(endpoint) = &self.access.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let service = builder.build().await.map_err(|error| {
            self.misconfigured(error.to_string(), "check the endpoint and the credentials")
        })?;
        Ok(Made { service, key })
    }

    /// Only the keys of service accounts: other kinds of credentials name files, programs and servers,
    /// and whoever may write a Secret must not get those of the controller used.
    fn service_account(&self, key: &[u8]) -> Result<Credentials, AuthorityError> {
        const REMEDY: &str = "put a service account's key there as gcloud iam service-accounts keys \
                              create writes it; other kinds go into GOOGLE_APPLICATION_CREDENTIALS";
        // The parser's words could quote the key.
        let unusable = |what: &str| self.misconfigured(format!("the credentials {what}"), REMEDY);
        let json: serde_json::Value =
            serde_json::from_slice(key).map_err(|_| unusable("are not JSON"))?;
        if json.get("type").and_then(serde_json::Value::as_str) != Some("service_account") {
            return Err(unusable("are not the key of a service account"));
        }
        service_account::Builder::new(json)
            .build()
            .map_err(|_| unusable("are not a complete key of a service account"))
    }

    fn misconfigured(&self, reason: String, remedy: &str) -> AuthorityError {
        AuthorityError::Misconfigured {
            authority: format!("provider {}", self.name),
            reason,
            remedy: remedy.to_owned(),
        }
    }
}
