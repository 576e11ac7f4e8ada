//! What follows from revocations, behind those who enrol: backends are told, and lists are published. Any
//! replica may do it, and what did not work is tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::snapshot::Snapshot;
use super::{Publication, publish_revocations, tell_backends};
use crate::engine::{Cancel, Fleet};

/// Pause after something did not work; twice as long after every further time.
const PAUSE: Duration = Duration::from_secs(60);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How often it is looked whether something is to be done: certificates end and lists grow old.
const LOOK: Duration = Duration::from_secs(10);
/// Longest that one try may take. What is done by then is noted.
const TRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Goes on until `cancel`. Says when something was `written`.
pub(super) async fn run(
    mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    written: Arc<Notify>,
    cancel: Cancel,
) {
    let (mut after, mut pause) = (Instant::now(), PAUSE);
    loop {
        let latest = snapshots.borrow_and_update().clone();
        let wanted = latest.filter(|latest| latest.wants_revoking());
        if let Some(latest) = wanted
            && after <= Instant::now()
        {
            let done = tokio::select! {
                done = settle_revocations(&latest.fleet) => done,
                () = cancel.cancelled() => return,
            };
            if done {
                pause = PAUSE;
            } else {
                after = Instant::now() + pause;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            written.notify_one();
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = snapshots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Does what is left to be done about certificates that are revoked; whether all of it is done. What is in
/// the way is in the log.
pub(crate) async fn settle_revocations(fleet: &Fleet) -> bool {
    match tokio::time::timeout(TRY_TIMEOUT, settle(fleet)).await {
        Ok(done) => done,
        Err(_) => {
            let relay = &fleet.relay.name;
            tracing::warn!(
                target: "relay_pki::enrolment",
                %relay, "revoking certificates takes too long"
            );
            false
        }
    }
}

async fn settle(fleet: &Fleet) -> bool {
    let relay = &fleet.relay.name;
    let told = tell_backends(fleet).await;
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
            Err(error) => {
                done = false;
                tracing::warn!(
                    target: "relay_pki::enrolment",
                    %relay, cluster, serial, %error, "the certificate is not revoked in its backend yet"
                );
            }
        }
    }
    match publish_revocations(fleet).await {
        Ok(Publication::Written { certificates, .. }) => tracing::info!(
            target: "relay_pki::enrolment",
            %relay, certificates, "the revocation lists are published"
        ),
        Ok(_) => {}
        Err(error) => {
            done = false;
            tracing::warn!(
                target: "relay_pki::enrolment",
                %relay, %error, "the revocation lists are not published"
            );
        }
    }
    done
}
