use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustify::Endpoint;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::config::{Auth, VaultConfig};
use crate::failure::Failure;
use crate::session::{Session, call};
use crate::transport::{Answer, Call};

/// How often a call is made, all in all.
const ATTEMPTS: u32 = 3;
/// Between the first two attempts; four times as long before every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longer than this nobody waits in the middle of a call: the caller is told when to come back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a call may be made again after its answer got lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It changes nothing, or the second time changes nothing more.
    Always,
    /// Each time makes another certificate.
    OnlyIfUntouched,
}

/// Vault, with somebody logged in.
pub(crate) struct Client {
    config: VaultConfig,
    session: Mutex<Option<Arc<Session>>>,
    keeper: OnceLock<AbortHandle>,
}

impl Client {
    pub(crate) fn new(config: VaultConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            session: Mutex::new(None),
            keeper: OnceLock::new(),
        })
    }

    pub(crate) fn config(&self) -> &VaultConfig {
        &self.config
    }

    /// Calls, and reads the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        self: &Arc<Self>,
        endpoint: &impl Endpoint,
        again: Again,
    ) -> Result<T, Failure> {
        self.perform(&call(endpoint)?, again).await?.data()
    }

    /// Calls, and wants no answer but success.
    pub(crate) async fn tell(self: &Arc<Self>, endpoint: &impl Endpoint) -> Result<(), Failure> {
        self.perform(&call(endpoint)?, Again::Always).await?;
        Ok(())
    }

    async fn perform(self: &Arc<Self>, call: &Call, again: Again) -> Result<Answer, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut replaced = false;
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(call, &mut replaced).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let may_repeat = again == Again::Always || failure.did_nothing();
            let wanted = match &failure {
                Failure::Refused { retry_after, .. } => retry_after.unwrap_or(pause),
                _ => pause,
            };
            if !failure.is_transient()
                || !may_repeat
                || attempt == ATTEMPTS
                || wanted > LONGEST_PAUSE
            {
                return Err(failure);
            }
            tokio::time::sleep(wanted).await;
            attempt += 1;
            pause *= 4;
        }
    }

    /// Calls once; once more with a new token, if it turns out that the old one is no longer known.
    async fn attempt(
        self: &Arc<Self>,
        call: &Call,
        replaced: &mut bool,
    ) -> Result<Answer, Failure> {
        let session = self.session().await?;
        let refused = match session.send(call).await? {
            answer if answer.status == 403 => answer,
            answer => return answer.success().map(|()| answer),
        };
        // Vault says the same of a token it does not know and of one that may not do this.
        if *replaced || session.is_known().await? {
            return Err(Failure::of_answer(&refused));
        }
        *replaced = true;
        self.forget(&session).await;
        let answer = self.session().await?.send(call).await?;
        answer.success().map(|()| answer)
    }

    /// Somebody who is logged in, and will be for a while.
    async fn session(self: &Arc<Self>) -> Result<Arc<Session>, Failure> {
        // Held while logging in: whoever comes meanwhile wants the same token.
        let mut current = self.session.lock().await;
        if let Some(session) = current.as_ref() {
            if session.due_in().is_none_or(|left| !left.is_zero()) {
                return Ok(Arc::clone(session));
            }
            match self.prolonged(session).await {
                Ok(next) => return Ok(Arc::clone(current.insert(Arc::new(next)))),
                // It is good for a little longer.
                Err(failure) if failure.is_transient() && !session.is_over() => {
                    return Ok(Arc::clone(session));
                }
                Err(failure) => {
                    *current = None;
                    return Err(failure);
                }
            }
        }
        let session = Arc::new(Session::begin(&self.config).await?);
        *current = Some(Arc::clone(&session));
        drop(current);
        self.keep();
        Ok(session)
    }

    /// A token that lives longer than the one at hand: the same one renewed, or a new one.
    async fn prolonged(&self, session: &Session) -> Result<Session, Failure> {
        if session.is_renewable() && !session.is_over() {
            match session.renewed().await {
                // At the end of its life a token is renewed for no time at all.
                Ok(renewed) if renewed.due_in().is_none_or(|left| !left.is_zero()) => {
                    return Ok(renewed);
                }
                Err(failure) if failure.is_transient() => return Err(failure),
                _ => {}
            }
        }
        Session::begin(&self.config).await
    }

    async fn forget(&self, session: &Arc<Session>) {
        let mut current = self.session.lock().await;
        if current
            .as_ref()
            .is_some_and(|kept| Arc::ptr_eq(kept, session))
        {
            *current = None;
        }
    }

    /// Renews a token that nobody else can replace also while nothing is asked for. Other tokens may
    /// run out: the next call logs in again.
    fn keep(self: &Arc<Self>) {
        if !matches!(self.config.auth, Auth::Token(_)) {
            return;
        }
        self.keeper.get_or_init(|| {
            let weak = Arc::downgrade(self);
            let task = tokio::spawn(async move {
                while let Some(left) = match weak.upgrade() {
                    Some(client) => client.left().await,
                    None => None,
                } {
                    tokio::time::sleep(left.max(Duration::from_secs(1))).await;
                    let Some(client) = weak.upgrade() else {
                        return;
                    };
                    if let Err(failure) = client.session().await {
                        let error = failure.explain("Vault", "renewing the token");
                        tracing::warn!(%error, "the token is not renewed");
                    }
                }
            });
            task.abort_handle()
        });
    }

    /// How long until somebody should look after the token; none if nobody has to.
    async fn left(&self) -> Option<Duration> {
        match self.session.lock().await.as_ref() {
            Some(session) => session.due_in(),
            // It was lost. It may come back, with a new token where it is kept.
            None => Some(Duration::from_secs(60)),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}
