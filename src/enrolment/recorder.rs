//! What agents show of themselves, written down behind their replies: the bundle that they hold and the
//! certificates that they have. Only what is new is written.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::{Notify, watch};

use super::Registry;
use super::snapshot::Snapshot;
use crate::cluster::ClusterError;
use crate::engine::{Cancel, settle_agent};
use crate::journal::{Acknowledgement, EnrolledCertificate, Presented};

/// After something new, that much time passes before it is written: an agent that got a certificate comes
/// again with it, and that is one write. What is lost with a process that is killed meanwhile is in its log.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Pause after the management cluster did not take something.
const PAUSE: Duration = Duration::from_secs(5);
/// Records that are written side by side.
const CONCURRENCY: usize = 4;
/// Certificates of one cluster that wait to be written.
const WAITING: usize = 8;

/// Keeps what agents show. Bounded by the agents that are registered.
#[derive(Default)]
pub(super) struct Recorder {
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Default)]
struct Inner {
    /// What each cluster showed last.
    seen: HashMap<String, Seen>,
    /// What is not written yet.
    waiting: BTreeMap<String, News>,
}

#[derive(Default)]
struct Seen {
    /// The digests of what it goes by.
    held: Option<(String, String)>,
    /// The certificate that it was seen with, and the one that it got: while it renews, it has two.
    shown: Option<String>,
    issued: Option<String>,
}

#[derive(Default, Clone)]
struct News {
    acknowledged: Option<Acknowledgement>,
    certificates: Vec<EnrolledCertificate>,
    /// The one that it was seen with.
    shown: Option<Presented>,
}

impl News {
    fn certificate(&mut self, certificate: EnrolledCertificate) {
        if certificate.join(&mut self.certificates) {
            let surplus = self.certificates.len().saturating_sub(WAITING);
            self.certificates.drain(..surplus);
        }
    }
}

impl Recorder {
    /// An agent said which bundle it holds.
    pub(super) fn acknowledged(&self, cluster: &str, acknowledgement: Acknowledgement) {
        let mut inner = self.inner();
        let held = (
            acknowledgement.bundle.clone(),
            acknowledgement.others.clone(),
        );
        let seen = inner.seen.entry(cluster.to_owned()).or_default();
        if seen.held.as_ref() == Some(&held) {
            return;
        }
        seen.held = Some(held);
        let news = inner.waiting.entry(cluster.to_owned()).or_default();
        news.acknowledged = Some(acknowledgement);
        self.news.notify_one();
    }

    /// An agent got a certificate.
    pub(super) fn issued(&self, cluster: &str, certificate: EnrolledCertificate) {
        let mut inner = self.inner();
        let seen = inner.seen.entry(cluster.to_owned()).or_default();
        if seen.issued.as_ref() == Some(&certificate.serial) {
            return;
        }
        seen.issued = Some(certificate.serial.clone());
        let news = inner.waiting.entry(cluster.to_owned()).or_default();
        news.certificate(certificate);
        self.news.notify_one();
    }

    /// An agent has the certificate of that serial number; `presented` tells the rest.
    pub(super) fn shown(&self, cluster: &str, serial: &str, presented: impl FnOnce() -> Presented) {
        let mut inner = self.inner();
        let seen = inner.seen.get(cluster);
        // So it is with all requests of a connection but the first.
        if seen.is_some_and(|seen| seen.shown.as_deref() == Some(serial)) {
            return;
        }
        let seen = inner.seen.entry(cluster.to_owned()).or_default();
        seen.shown = Some(serial.to_owned());
        let presented = presented();
        let news = inner.waiting.entry(cluster.to_owned()).or_default();
        news.certificate(presented.certificate.clone());
        news.shown = Some(presented);
        self.news.notify_one();
    }

    /// Writes what is new until `cancel`; then what is left.
    pub(super) async fn run(
        &self,
        snapshots: watch::Receiver<Option<std::sync::Arc<Snapshot>>>,
        cancel: Cancel,
    ) {
        loop {
            let stopping = tokio::select! {
                () = self.news.notified() => false,
                () = cancel.cancelled() => true,
            };
            if !stopping {
                tokio::select! {
                    () = tokio::time::sleep(DEBOUNCE) => {}
                    () = cancel.cancelled() => {}
                }
            }
            let snapshot = snapshots.borrow().clone();
            let written = match &snapshot {
                Some(snapshot) => self.write(snapshot).await,
                None => true,
            };
            if stopping {
                return;
            }
            if !written {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = cancel.cancelled() => {}
                }
                self.news.notify_one();
            }
        }
    }

    /// Writes everything that waits; whether all of it was taken.
    async fn write(&self, snapshot: &Snapshot) -> bool {
        let Ok(registry) = Registry::of(&snapshot.fleet) else {
            return false;
        };
        let waiting = {
            let mut inner = self.inner();
            // Clusters come and go.
            inner
                .seen
                .retain(|cluster, _| snapshot.agent(cluster).is_some());
            std::mem::take(&mut inner.waiting)
        };
        let writes = waiting.into_iter().map(|(cluster, news)| {
            let registry = registry.clone();
            async move {
                let result = record(&registry, snapshot, &cluster, &news).await;
                (cluster, news, result)
            }
        });
        let writes: Vec<futures::future::BoxFuture<'_, _>> =
            writes.map(futures::FutureExt::boxed).collect();
        let mut writes = futures::stream::iter(writes).buffer_unordered(CONCURRENCY);
        let mut all = true;
        while let Some((cluster, news, result)) = writes.next().await {
            if let Err(error) = result {
                tracing::warn!(
                    target: "relay_pki::enrolment",
                    %cluster, %error, "what the agent showed is not written yet"
                );
                self.put_back(cluster, news);
                all = false;
            }
        }
        all
    }

    /// What came meanwhile is newer.
    fn put_back(&self, cluster: String, news: News) {
        let mut inner = self.inner();
        let waiting = inner.waiting.entry(cluster).or_default();
        if waiting.acknowledged.is_none() {
            waiting.acknowledged = news.acknowledged;
        }
        if waiting.shown.is_none() {
            waiting.shown = news.shown;
        }
        let newer = std::mem::take(&mut waiting.certificates);
        waiting.certificates = news.certificates;
        waiting.certificates.extend(newer);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where certificates count, the record of an issuance is kept until its certificate was seen: then no
/// reply can have been lost any more.
async fn settle(snapshot: &Snapshot, cluster: &str, news: &News) {
    let (fleet, journal) = (&snapshot.fleet, &snapshot.journal);
    let (Some((spec, agent)), Some(shown)) = (snapshot.agent(cluster), &news.shown) else {
        return;
    };
    let serial = &shown.certificate.serial;
    let settled = settle_agent(fleet, journal, (&spec.name, agent), serial).await;
    if let Err(error) = settled {
        tracing::warn!(
            target: "relay_pki::enrolment",
            %cluster, %error, "a settled issuance stays for now"
        );
    }
}

async fn record(
    registry: &Registry,
    snapshot: &Snapshot,
    cluster: &str,
    news: &News,
) -> Result<(), ClusterError> {
    let now = snapshot.fleet.clock.now();
    registry
        .change(cluster, |record| {
            let mut changed = false;
            for certificate in &news.certificates {
                changed |= record.note(certificate, now);
            }
            if let Some(new) = &news.acknowledged {
                changed |= record.acknowledge(new);
            }
            if let Some(new) = &news.shown {
                changed |= record.present(new);
            }
            ((), changed)
        })
        .await?;
    settle(snapshot, cluster, news).await;
    // Issued by a replica that had not heard of the decision yet.
    if snapshot.journal.revocations.contains_key(cluster) && !news.certificates.is_empty() {
        registry.revoke_more(cluster, &news.certificates).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn certificate(serial: &str) -> EnrolledCertificate {
        EnrolledCertificate {
            serial: serial.to_owned(),
            signer: 1,
            not_before: Timestamp::MIN,
            not_after: Timestamp::MAX,
            pem: None,
        }
    }

    impl Recorder {
        fn show(&self, serial: &str) {
            self.shown("cluster-1", serial, || Presented {
                certificate: certificate(serial),
                at: Timestamp::UNIX_EPOCH,
            });
        }

        fn issue(&self, serial: &str) {
            self.issued("cluster-1", certificate(serial));
        }

        /// The certificates that wait, and the one that was shown.
        fn take(&self) -> (Vec<String>, Option<String>) {
            let waiting = std::mem::take(&mut self.inner().waiting);
            let news = waiting.into_values().next().unwrap_or_default();
            let certificates = news.certificates.into_iter();
            (
                certificates.map(|certificate| certificate.serial).collect(),
                news.shown.map(|presented| presented.certificate.serial),
            )
        }
    }

    fn nothing() -> (Vec<String>, Option<String>) {
        (Vec::new(), None)
    }

    #[test]
    fn an_agent_that_renews_and_goes_on_with_its_connection_is_news_once() {
        let recorder = Recorder::default();
        recorder.show("01");
        assert_eq!(
            recorder.take(),
            (vec!["01".to_owned()], Some("01".to_owned()))
        );
        recorder.show("01");
        assert_eq!(recorder.take(), nothing());
        recorder.issue("02");
        assert_eq!(recorder.take(), (vec!["02".to_owned()], None));
        recorder.show("01");
        recorder.issue("02");
        assert_eq!(recorder.take(), nothing());
        recorder.show("02");
        assert_eq!(
            recorder.take(),
            (vec!["02".to_owned()], Some("02".to_owned()))
        );
    }

    #[test]
    fn a_certificate_and_its_first_use_are_one_record() {
        let recorder = Recorder::default();
        recorder.issue("01");
        recorder.show("01");
        assert_eq!(
            recorder.take(),
            (vec!["01".to_owned()], Some("01".to_owned()))
        );
    }
}
