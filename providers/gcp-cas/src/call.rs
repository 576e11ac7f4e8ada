//! One call: bounded, patient with throttling, and repeated once with a credential that was replaced.

use std::time::{Duration, Instant};

use google_cloud_security_privateca_v1::Result as Answer;
use google_cloud_security_privateca_v1::client::CertificateAuthorityService;
use relay_pki_authority::AuthorityError;

use crate::client::{Client, PATIENCE};
use crate::error::{Failed, Kind, retry_after};

/// Longest that a call may take, with everything that is tried: less than the caller's own patience, so
/// that its reason is known.
const LIMIT: Duration = Duration::from_secs(25);
/// First pause after being throttled without being told for how long; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

impl Client {
    /// Makes a call. `authority` and `doing` are for messages.
    pub(crate) async fn call<T, F>(
        &self,
        authority: &str,
        doing: &str,
        call: impl Fn(CertificateAuthorityService) -> F + Send,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Answer<T>> + Send,
    {
        let attempts = self.attempts(authority, doing, call);
        let answered = tokio::time::timeout(LIMIT, attempts).await;
        answered.unwrap_or_else(|_| {
            Err(Failed {
                kind: Kind::Other,
                error: AuthorityError::Unavailable {
                    authority: authority.to_owned(),
                    reason: format!("cannot {doing}: no answer within {} s", LIMIT.as_secs()),
                    retry_after: None,
                },
            })
        })
    }

    async fn attempts<T, F>(
        &self,
        authority: &str,
        doing: &str,
        call: impl Fn(CertificateAuthorityService) -> F + Send,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Answer<T>> + Send,
    {
        let own = |error| Failed {
            kind: Kind::Credential,
            error,
        };
        let begun = Instant::now();
        let (mut pause, mut renewed) = (PAUSE, false);
        loop {
            let made = self.made().await.map_err(own)?;
            let error = match call(made.service.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let failed = Failed::new(authority, doing, &self.identity(), &error);
            match failed.kind {
                // The key may have been replaced since it was read.
                Kind::Credential if !renewed => {
                    renewed = true;
                    if !self.renew(&made).await.map_err(own)? {
                        return Err(failed);
                    }
                }
                Kind::Throttled => {
                    let wait = retry_after(&error).unwrap_or(pause);
                    if begun.elapsed() + wait > PATIENCE {
                        return Err(failed);
                    }
                    tokio::time::sleep(wait).await;
                    pause *= 2;
                }
                _ => return Err(failed),
            }
        }
    }
}
