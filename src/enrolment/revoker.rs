//! What follows from revocations: backends are told, and lists are published. Whoever leads does it, beside
//! everything else: a backend that is away or hangs keeps nothing waiting but this. What did not work is tried
//! again.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Publication, Unable, publish_revocations, tell_backends};
use crate::engine::{Cancel, Fleet};
use crate::journal::Journal;

/// Pause after something did not work; twice as long after every further time.
const PAUSE: Duration = Duration::from_secs(60);
/// How much longer than that it gets.
const LONGEST_PAUSE: u32 = 10;
/// Longest that backends, or lists, may take. What is done by then is noted.
const TRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Does what follows from the revocations of one relay. It ends when the last of its kind is dropped.
#[derive(Clone)]
pub(crate) struct Revoker {
    fleet: watch::Sender<Option<Arc<Fleet>>>,
}

impl Revoker {
    /// Begins to work, until `cancel` at the latest.
    pub(crate) fn start(cancel: Cancel) -> Self {
        Self::pausing(PAUSE, cancel)
    }

    pub(super) fn pausing(pause: Duration, cancel: Cancel) -> Self {
        let (fleet, known) = watch::channel(None);
        tokio::spawn(run(known, pause, cancel));
        Self { fleet }
    }

    /// Hears of records that were just read, and waits for nothing.
    pub(crate) fn hear(&self, fleet: &Arc<Fleet>, journal: &Journal) {
        let wanted = !journal.revocations.is_empty();
        self.fleet.send_replace(wanted.then(|| fleet.clone()));
    }
}

async fn run(mut known: watch::Receiver<Option<Arc<Fleet>>>, shortest: Duration, cancel: Cancel) {
    let (mut failing, mut after, mut pause) = (false, Instant::now(), shortest);
    let mut unable = Unable::default();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = known.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(after), if failing => {}
        }
        if failing && Instant::now() < after {
            continue;
        }
        let fleet = known.borrow_and_update().clone();
        let done = match fleet {
            Some(fleet) => tokio::select! {
                done = settle(&fleet, &mut unable) => done,
                () = cancel.cancelled() => return,
            },
            None => true,
        };
        failing = !done;
        if done {
            pause = shortest;
        } else {
            after = Instant::now() + pause;
            pause = (pause * 2).min(shortest * LONGEST_PAUSE);
        }
    }
}

/// Does what is left to be done about certificates that are revoked; whether all of it is done. What is in
/// the way is in the log.
async fn settle(fleet: &Fleet, unable: &mut Unable) -> bool {
    let relay = &fleet.relay.name;
    let mut done = true;
    // A backend that hangs is no reason to publish nothing.
    for work in [tell(fleet, unable).boxed(), publish(fleet).boxed()] {
        done &= match tokio::time::timeout(TRY_TIMEOUT, work).await {
            Ok(done) => done,
            Err(_) => {
                tracing::warn!(
                    target: "relay_pki::enrolment",
                    %relay, "revoking certificates takes too long"
                );
                false
            }
        };
    }
    done
}

/// Tells backends; whether nothing is left to be tried again.
async fn tell(fleet: &Fleet, unable: &mut Unable) -> bool {
    let relay = &fleet.relay.name;
    let told = tell_backends(fleet, unable).await;
    let mut done = told.is_ok();
    if let Err(error) = &told {
        tracing::warn!(
            target: "relay_pki::enrolment",
            %relay, %error, "no certificates are revoked in backends"
        );
    }
    for told in told.iter().flatten() {
        let (cluster, serial) = (&told.cluster, &told.serial);
        match &told.result {
            Ok(()) => tracing::info!(
                target: "relay_pki::enrolment",
                %relay, cluster, serial, "the certificate is revoked in its backend"
            ),
            Err(error) if told.is_unable() => tracing::warn!(
                target: "relay_pki::enrolment",
                %relay, cluster, serial, %error,
                "the certificate cannot be revoked in its backend, and is good until it ends"
            ),
            Err(error) => {
                done = false;
                tracing::warn!(
                    target: "relay_pki::enrolment",
                    %relay, cluster, serial, %error, "the certificate is not revoked in its backend yet"
                );
            }
        }
    }
    done
}

/// Publishes lists; whether they are as they have to be.
async fn publish(fleet: &Fleet) -> bool {
    let relay = &fleet.relay.name;
    match publish_revocations(fleet).await {
        Ok(Publication::Written { certificates, .. }) => tracing::info!(
            target: "relay_pki::enrolment",
            %relay, certificates, "the revocation lists are published"
        ),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(
                target: "relay_pki::enrolment",
                %relay, %error, "the revocation lists are not published"
            );
            return false;
        }
    }
    true
}
