//! Long-running operations: what is begun with a CA takes the service some seconds.

use std::time::{Duration, Instant};

use google_cloud_gax::error::rpc::{Code, Status};
use google_cloud_security_privateca_v1::Error;
use google_cloud_security_privateca_v1::client::CertificateAuthorityService;
use google_cloud_security_privateca_v1::{Result as Answer, model};
use relay_pki_authority::AuthorityError;

use crate::client::Client;
use crate::error::Failed;

/// How long an operation is waited for before the caller is told to ask again.
const PATIENCE: Duration = Duration::from_secs(10);
/// When to ask again then.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(3);
/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What all operations are called that change CAs.
type Operation = google_cloud_longrunning::model::Operation;

impl Client {
    /// Begins an operation and waits a while. `false` if it is still going on.
    pub(crate) async fn operate<F>(
        &self,
        authority: &str,
        doing: &str,
        begin: impl Fn(CertificateAuthorityService) -> F + Send,
    ) -> Result<bool, Failed>
    where
        F: Future<Output = Answer<Operation>> + Send,
    {
        let begun = Instant::now();
        let mut operation = self.call(authority, doing, begin).await?;
        let mut pause = PAUSES.0;
        loop {
            if let Some(error) = operation.error() {
                let status = Status::default()
                    .set_code(Code::from(error.code))
                    .set_message(error.message.clone());
                let error = Error::service(status);
                return Err(Failed::new(authority, doing, &self.identity(), &error));
            }
            if operation.done {
                return Ok(true);
            }
            if begun.elapsed() + pause > PATIENCE {
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            let name = operation.name.clone();
            let look = |service: CertificateAuthorityService| {
                service.get_operation().set_name(&name).send()
            };
            operation = self.call(authority, doing, look).await?;
        }
    }

    /// The same, where the caller cannot go on without it.
    pub(crate) async fn complete<F>(
        &self,
        authority: &str,
        doing: &str,
        begin: impl Fn(CertificateAuthorityService) -> F + Send,
    ) -> Result<(), Failed>
    where
        F: Future<Output = Answer<Operation>> + Send,
    {
        match self.operate(authority, doing, begin).await? {
            true => Ok(()),
            false => Err(still_busy(authority, doing)),
        }
    }

    /// The CA of a resource name.
    pub(crate) async fn authority(
        &self,
        authority: &str,
        name: &str,
    ) -> Result<model::CertificateAuthority, Failed> {
        let get = |service: CertificateAuthorityService| {
            service.get_certificate_authority().set_name(name).send()
        };
        self.call(authority, "read the CA", get).await
    }
}

fn still_busy(authority: &str, doing: &str) -> Failed {
    Failed {
        kind: crate::error::Kind::Other,
        error: AuthorityError::Unavailable {
            authority: authority.to_owned(),
            reason: format!("the service is still busy to {doing}"),
            retry_after: Some(ASK_AGAIN),
        },
    }
}
