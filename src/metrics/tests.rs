#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, Validity};

use super::*;
use crate::authorities::{self, Surroundings};
use crate::clock::{Clock as _, ManualClock};
use crate::cluster::{Cluster, ClusterError, MemoryCluster};
use crate::clusters::Opener;
use crate::config::{Relay, Role};
use crate::engine::{Apply, Cancel, Fleet as Engine, Goal, Observed, leaves, observe, plan};
use crate::journal::{
    Acknowledgement, EnrolledCertificate, EnrolmentRecord, Kept, RevocationRecord, Status,
};
use crate::premortem::Premortem;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");

const YAML: &str = "
apiVersion: relay-pki.dev/v1alpha1
kind: Relay
metadata: { name: gloo-mesh }
spec:
  clusters:
    - { name: mgmt, role: management, directory: a, agent: true }
    - { name: cluster-1, role: workload, directory: b }
    - { name: cluster-2, role: workload, directory: c }
";

fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// A fleet in memory with real certificates.
struct World {
    engine: Engine,
    contacts: Contacts,
    clock: ManualClock,
}

impl World {
    fn empty() -> Self {
        Self::of(YAML)
    }

    fn of(yaml: &str) -> Self {
        let relay = Relay::parse(yaml, "relay.yaml", Path::new("")).unwrap();
        let clusters: BTreeMap<String, Arc<dyn Cluster>> = relay
            .clusters
            .iter()
            .map(|spec| {
                let name = spec.name.to_string();
                let cluster: Arc<dyn Cluster> = Arc::new(MemoryCluster::new(&name));
                (name, cluster)
            })
            .collect();
        let clock = ManualClock::new(now());
        Self {
            engine: Engine {
                providers: authorities::open(&Surroundings {
                    relay: &relay,
                    home: &clusters["mgmt"],
                    opener: &Opener::by_hand("tests"),
                }),
                relay,
                clusters,
                clock: Arc::new(clock.clone()),
            },
            contacts: Contacts::default(),
            clock,
        }
    }

    async fn bootstrapped() -> Self {
        let world = Self::empty();
        world.apply(&Goal::Reconcile).await;
        world
    }

    async fn apply(&self, goal: &Goal) {
        let observed = self.observe().await;
        let plan = plan(&self.engine.relay, goal, &observed, self.clock.now());
        let apply = Apply::new(&self.engine, &observed);
        let applied = apply.run(plan, &Cancel::default(), &|_| {}).await;
        assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    }

    async fn observe(&self) -> Observed {
        observe(&self.engine).await.unwrap()
    }

    fn facts(&mut self, observed: &Observed, failing: &[&str]) -> RelayFacts {
        let (relay, now) = (&self.engine.relay, self.clock.now());
        self.contacts.note(relay, observed, now);
        let failing = failing.iter().map(|name| (*name).to_owned()).collect();
        facts(relay, observed, &failing, &self.contacts, now)
    }
}

fn unreachable(cluster: &str) -> ClusterError {
    ClusterError::Unavailable {
        cluster: cluster.to_owned(),
        operation: "list the relay Secrets".to_owned(),
        reason: "connection refused by 10.0.0.1".to_owned(),
    }
}

/// The samples of a text: name and labels, and the value.
fn samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.text().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    let all: Vec<(String, f64)> = samples.collect();
    let unique: BTreeMap<String, f64> = all.iter().cloned().collect();
    assert_eq!(all.len(), unique.len(), "a series twice:\n{text}");
    unique
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    samples(metrics).get(series).copied()
}

fn seconds(at: Timestamp) -> Option<f64> {
    Some(at.as_second() as f64)
}

/// Everything has happened once.
async fn busy(per_cluster: bool) -> (World, Metrics) {
    let mut world = World::bootstrapped().await;
    let metrics = Metrics::new(per_cluster);
    metrics.leader(true);
    let observed = world.observe().await;
    metrics.relay(world.facts(&observed, &[]));
    metrics.reconciled("success", Duration::from_millis(70));
    metrics.drift_repaired("gloo-mesh", "cluster-1");
    metrics.conflict("gloo-mesh");
    metrics.requested("vault", "sign", "success", Duration::from_millis(30));
    metrics.issued("gloo-mesh", "vault", "agent", "success");
    let enrolment = metrics.enrolment();
    enrolment.answered("cacerts", "success", Duration::from_millis(1));
    enrolment.handshake("success");
    drop(enrolment.connected(true));
    // An hour later the leaves are from the future no more; a Secret is gone and found missing.
    let spec = &world.engine.relay.clusters[1];
    let name =
        crate::relay::secret_name(&world.engine.relay, spec, crate::relay::SecretRole::Client);
    let key = crate::cluster::ObjectKey::secret(name);
    let cluster = &world.engine.clusters["cluster-1"];
    let stored = cluster.read(&key).await.unwrap().unwrap();
    cluster.delete(&key, &stored.version).await.unwrap();
    let report = audit::audit(&world.engine, now()).await;
    assert!(!report.findings.is_empty());
    metrics.audited("gloo-mesh", &report);
    (world, metrics)
}

/// The name of a series' metric and the names of its labels.
fn shape(series: &str) -> (String, Vec<String>) {
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), Vec::new());
    };
    let labels = labels.trim_end_matches('}').split("\",");
    let names = labels.map(|label| label.split('=').next().unwrap().to_owned());
    (name.to_owned(), names.collect())
}

#[tokio::test]
async fn what_is_exported_is_what_the_table_says() {
    let (_, metrics) = busy(true).await;
    let text = metrics.text().unwrap();
    let mut found = BTreeSet::new();
    for series in samples(&metrics).keys() {
        let (name, mut labels) = shape(series);
        labels.retain(|label| label != "le");
        let row = METRICS.iter().find(|metric| {
            let suffixes: &[&str] = match metric.kind {
                Kind::Histogram => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            suffixes
                .iter()
                .any(|suffix| format!("{}{suffix}", metric.name) == name)
        });
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(labels, row.labels, "{series}");
        found.insert(row.name);
    }
    for row in METRICS {
        assert!(found.contains(row.name), "no series of {}", row.name);
        let kind = format!("{:?}", row.kind).to_lowercase();
        let line = format!("# TYPE {} {kind}\n", row.stem());
        assert!(text.contains(&line), "{line}");
        assert!(text.contains(&format!("# HELP {} ", row.stem())));
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for row in METRICS {
        let name = row.name;
        assert!(names.insert(name), "{name} twice");
        assert!(name.starts_with("relay_pki_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            row.kind == Kind::Counter,
            "{name}"
        );
        assert_eq!(name.ends_with("_info"), row.kind == Kind::Info, "{name}");
        for text in [row.meaning, row.absent] {
            assert!(
                !text.is_empty() && !text.ends_with('.') && !text.contains('|'),
                "{name}"
            );
        }
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let wanted = metrics_markdown();
    if std::env::var_os("RELAY_PKI_WRITE_DOCS").is_some() {
        std::fs::write(DOCS, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(DOCS).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/metrics.md is out of date; see its first lines"
    );
}

/// Even a management cluster with an agent, while a new root and a new signer are on their way.
#[tokio::test]
async fn a_cluster_has_few_series_and_none_that_tells_too_much() {
    let (mut world, metrics) = busy(true).await;
    let mut observed = world.observe().await;
    for level in [Level::Root, Level::Signer] {
        let active = observed.journal.active(level).unwrap().clone();
        // And many earlier ones that nobody uses any more.
        for number in 2..=9 {
            let mut record = active.clone();
            record.number = number;
            record.status = match number {
                9 => Status::Published,
                _ => Status::Retiring,
            };
            let kept = Kept {
                record,
                version: None,
            };
            observed.journal.level_mut(level).insert(number, kept);
        }
    }
    observed
        .clusters
        .insert("cluster-2".to_owned(), Err(unreachable("cluster-2")));
    metrics.relay(world.facts(&observed, &["cluster-1"]));
    let all = samples(&metrics);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cluster in ["mgmt", "cluster-1", "cluster-2"] {
        let label = format!("cluster=\"{cluster}\"");
        let count = all.keys().filter(|series| series.contains(&label)).count();
        counts.insert(cluster, count);
    }
    assert!(
        counts.values().all(|count| (4..=25).contains(count)),
        "{counts:?}"
    );
    assert!(counts["mgmt"] > 20, "{counts:?}");
    let text = all.keys().fold(String::new(), |text, series| text + series);
    let mut certificates: Vec<Certificate> = Vec::new();
    let records = observed.journal.roots.values();
    certificates.extend(records.filter_map(|kept| kept.record.certificate.clone()));
    for spec in &world.engine.relay.clusters {
        if let Some(Ok(state)) = observed.clusters.get(spec.name.as_str()) {
            let slots = leaves(&world.engine.relay, spec, state);
            certificates.extend(slots.filter_map(|slot| Some(slot.content()?.leaf.clone())));
        }
    }
    assert!(certificates.len() >= 3);
    for certificate in certificates {
        let fingerprint = certificate.fingerprint().to_string();
        let serial = certificate.serial().unwrap().to_string();
        for secret in [certificate.subject(), &fingerprint, &serial] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    assert!(!text.contains("refused"), "{text}");
    assert!(!text.contains("local"), "the name of a provider");
}

#[tokio::test]
async fn certificates_are_told_with_their_dates() {
    let (world, metrics) = busy(true).await;
    let observed = world.observe().await;
    let relay = &world.engine.relay;
    let signer = observed.journal.active(Level::Signer).unwrap();
    let signer = signer.certificate.as_ref().unwrap();
    let series = |what: &str, labels: &str| {
        let name = format!("relay_pki_certificate_{what}_timestamp_seconds");
        value(&metrics, &format!("{name}{{relay=\"gloo-mesh\",{labels}}}"))
    };
    let labels = "cluster=\"mgmt\",role=\"signer\",generation=\"1\"";
    assert_eq!(series("not_before", labels), seconds(signer.not_before()));
    assert_eq!(series("not_after", labels), seconds(signer.not_after()));
    let due = relay.signer.due_at(&signer.validity().unwrap());
    assert_eq!(series("renewal", labels), seconds(due));
    let labels = "cluster=\"mgmt\",role=\"root\",generation=\"1\"";
    assert!(series("not_after", labels).is_some());
    assert_eq!(series("renewal", labels), None, "nothing renews a root");
    let Some(Ok(state)) = observed.clusters.get("cluster-2") else {
        panic!("cluster-2 was not read");
    };
    let leaf = &state
        .client
        .as_ref()
        .unwrap()
        .content
        .as_ref()
        .unwrap()
        .leaf;
    let labels = "cluster=\"cluster-2\",role=\"agent\",generation=\"1\"";
    assert_eq!(series("not_after", labels), seconds(leaf.not_after()));
    assert!(series("renewal", labels) < series("not_after", labels));
    let first = "relay_pki_earliest_failure_timestamp_seconds{relay=\"gloo-mesh\",\
                 cluster=\"cluster-2\",scenario=\"automation_stops\"}";
    let end = leaf.not_after() + SignedDuration::from_secs(1);
    assert_eq!(value(&metrics, first), seconds(end));
    let anchors = "relay_pki_bundle_anchors{relay=\"gloo-mesh\"}";
    assert_eq!(value(&metrics, anchors), Some(1.0));
    let stage = |stage| {
        let series = format!("relay_pki_rotation_stage{{relay=\"gloo-mesh\",stage=\"{stage}\"}}");
        value(&metrics, &series)
    };
    assert_eq!((stage("idle"), stage("publishing")), (Some(1.0), Some(0.0)));
}

#[tokio::test]
async fn clusters_are_counted_by_their_state() {
    let metrics = Metrics::new(true);
    let counts = || {
        ["ready", "not_ready", "unreachable"].map(|state| {
            let series = format!("relay_pki_clusters{{relay=\"gloo-mesh\",state=\"{state}\"}}");
            value(&metrics, &series).unwrap()
        })
    };
    let mut world = World::empty();
    let observed = world.observe().await;
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(counts(), [0.0, 3.0, 0.0], "nothing is there yet");
    world.apply(&Goal::Reconcile).await;
    let mut observed = world.observe().await;
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(counts(), [3.0, 0.0, 0.0]);
    metrics.relay(world.facts(&observed, &["cluster-1"]));
    assert_eq!(counts(), [2.0, 1.0, 0.0], "the last attempt failed");
    let error = Err(unreachable("cluster-2"));
    observed.clusters.insert("cluster-2".to_owned(), error);
    observed.clusters.remove("cluster-1");
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(counts(), [1.0, 1.0, 1.0], "one was not looked at");
    // What is merely due is as it should be.
    world.clock.advance(hours(24 * 25));
    let observed = world.observe().await;
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(counts(), [3.0, 0.0, 0.0]);
}

#[tokio::test]
async fn what_is_out_of_reach_keeps_what_is_known_of_it() {
    let mut world = World::bootstrapped().await;
    let metrics = Metrics::new(true);
    let ask = |name: &str, rest: &str| {
        let labels = format!("relay=\"gloo-mesh\",cluster=\"cluster-2\"{rest}");
        value(&metrics, &format!("relay_pki_{name}{{{labels}}}"))
    };
    let not_after = "certificate_not_after_timestamp_seconds";
    let agent = ",role=\"agent\",generation=\"1\"";
    let failure = "earliest_failure_timestamp_seconds";
    let runs = ",scenario=\"automation_runs\"";
    // A process that never saw the cluster knows nothing of it.
    let mut observed = world.observe().await;
    let read = observed.clusters.remove("cluster-2").unwrap();
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(ask("cluster_reachable", ""), None);
    let error = Err(unreachable("cluster-2"));
    observed.clusters.insert("cluster-2".to_owned(), error);
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(ask("cluster_reachable", ""), Some(0.0));
    for (name, rest) in [
        ("cluster_last_contact_timestamp_seconds", ""),
        ("bundle_current", ""),
        (not_after, agent),
        (failure, runs),
    ] {
        assert_eq!(ask(name, rest), None, "{name}");
    }
    // One that has seen it goes on telling.
    let gone = observed.clusters.insert("cluster-2".to_owned(), read);
    metrics.relay(world.facts(&observed, &[]));
    let (end, root) = (ask(not_after, agent), ask(failure, runs));
    assert!(end.is_some() && root > end, "{end:?} {root:?}");
    assert_eq!(ask("bundle_current", ""), Some(1.0));
    observed
        .clusters
        .insert("cluster-2".to_owned(), gone.unwrap());
    world.clock.advance(hours(1));
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(ask("cluster_reachable", ""), Some(0.0));
    let contact = ask("cluster_last_contact_timestamp_seconds", "");
    assert_eq!(contact, seconds(now()));
    assert_eq!(ask(not_after, agent), end);
    // And nothing will be renewed there.
    assert_eq!(ask(failure, runs), end.map(|end| end + 1.0));
}

/// It is out of reach, so what it showed and said is all there is.
#[tokio::test]
async fn of_an_agent_that_enrols_is_told_what_it_showed_and_said() {
    let enrolling = "    - { name: cluster-3, role: workload, delivery: enroll }\n";
    let mut world = World::of(&format!("{YAML}{enrolling}"));
    world.apply(&Goal::Reconcile).await;
    let mut observed = world.observe().await;
    let published = observed.journal.published_roots().unwrap().digest();
    let certificate = |from, to| EnrolledCertificate {
        serial: format!("{to:x}"),
        signer: 1,
        not_before: now() + hours(from),
        not_after: now() + hours(to),
        pem: None,
    };
    let record = |bundle: &str| EnrolmentRecord {
        acknowledged: Some(Acknowledgement {
            bundle: bundle.to_owned(),
            others: String::new(),
            at: now(),
        }),
        certificates: vec![certificate(-1, 23), certificate(-20, 4)],
        ..EnrolmentRecord::default()
    };
    let metrics = Metrics::new(true);
    let ask = |name: &str, rest: &str| {
        let labels = format!("relay=\"gloo-mesh\",cluster=\"cluster-3\"{rest}");
        value(&metrics, &format!("relay_pki_{name}{{{labels}}}"))
    };
    let agent = ",role=\"agent\",generation=\"1\"";
    let of = |cluster: &str| {
        let mut all = samples(&metrics);
        all.retain(|series, _| series.contains(cluster));
        all
    };
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(of("cluster-3").len(), 1, "nothing was ever heard of it");
    let pushed = of("cluster-2");
    // The record of a cluster that is reached by now tells nothing.
    let names = ["cluster-2", "cluster-3", "cluster-4"];
    let all = |bundle: &str| {
        let records = names.map(|name| (name.to_owned(), record(bundle)));
        Arc::new(Enrolments::from(records))
    };
    world.contacts.enrolled(all(&published.to_string()));
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(of("cluster-3").len(), 5);
    assert_eq!(of("cluster-2"), pushed);
    assert!(of("cluster-4").is_empty(), "it is not in the document");
    let at = |hour| seconds(now() + hours(hour));
    let not_before = "certificate_not_before_timestamp_seconds";
    let not_after = "certificate_not_after_timestamp_seconds";
    assert_eq!(ask(not_before, agent), at(-1));
    assert_eq!(ask(not_after, agent), at(23));
    let due = ask("certificate_renewal_timestamp_seconds", agent);
    assert!(due > at(12) && due < at(16), "{due:?}");
    assert_eq!(ask("bundle_current", ""), Some(1.0));
    world.contacts.enrolled(all("sha256:another"));
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(ask("bundle_current", ""), Some(0.0));
    // Nobody has to see to the certificate of one that is kept out, until it is let in again.
    for (lifted, series) in [(None, 1), (Some(now()), 5)] {
        let record = RevocationRecord {
            at: now(),
            reason: None,
            lifted,
            certificates: Vec::new(),
            told: Default::default(),
        };
        let kept = Kept {
            record,
            version: None,
        };
        let revocations = &mut observed.journal.revocations;
        revocations.insert("cluster-3".to_owned(), kept);
        metrics.relay(world.facts(&observed, &[]));
        assert_eq!(of("cluster-3").len(), series, "{lifted:?}");
    }
}

#[tokio::test]
async fn series_go_with_what_they_tell_of() {
    let (mut world, metrics) = busy(true).await;
    let of = |label: &str| {
        let all = samples(&metrics);
        all.keys().filter(|series| series.contains(label)).count()
    };
    assert!(of("cluster=\"cluster-1\"") > 0 && of("cluster=\"cluster-2\"") > 0);
    let relay = &mut world.engine.relay;
    relay
        .clusters
        .retain(|spec| spec.name.as_str() != "cluster-1");
    let observed = world.observe().await;
    metrics.relay(world.facts(&observed, &[]));
    assert_eq!(of("cluster=\"cluster-1\""), 0);
    assert!(of("cluster=\"cluster-2\"") > 0);
    metrics.forget("gloo-mesh");
    assert_eq!(of("relay=\"gloo-mesh\""), 0);
    metrics.relay(world.facts(&observed, &[]));
    assert!(of("relay=\"gloo-mesh\"") > 0);
    metrics.leader(false);
    assert_eq!(of("relay=\"gloo-mesh\""), 0, "somebody else tells of it");
    assert!(of("relay_pki_reconcile_total") > 0);
    assert_eq!(value(&metrics, "relay_pki_leader"), Some(0.0));
}

fn cluster(name: &str, role: Role, end: i64, reachable: bool) -> ClusterFacts {
    let at = |hour| now() + hours(hour);
    ClusterFacts {
        cluster: name.to_owned(),
        role,
        condition: Condition::Ready,
        reachable: Some(reachable),
        last_contact: Some(at(end - 100)),
        bundle_current: Some(true),
        certificates: vec![CertificateFacts {
            role: "agent",
            generation: Some(1),
            validity: Validity::new(at(-end), at(end)).unwrap(),
            renewal: Some(at(end / 2)),
        }],
        failure: Premortem {
            automation_stops: Some(at(end)),
            automation_runs: None,
        },
    }
}

#[test]
fn workload_clusters_fold_into_the_worst_of_them() {
    let metrics = Metrics::new(false);
    metrics.relay(RelayFacts {
        relay: "r".to_owned(),
        anchors: Some(2),
        rotation: None,
        clusters: vec![
            cluster("mgmt", Role::Management, 10, true),
            cluster("cluster-1", Role::Workload, 30, true),
            cluster("cluster-2", Role::Workload, 20, false),
        ],
    });
    metrics.drift_repaired("r", "cluster-1");
    metrics.drift_repaired("r", "cluster-2");
    metrics.drift_repaired("r", "cluster-2");
    metrics.drift_repaired("r", "mgmt");
    let ask = |name: &str, labels: &str| {
        value(
            &metrics,
            &format!("relay_pki_{name}{{relay=\"r\",{labels}}}"),
        )
    };
    let at = |hour| seconds(now() + hours(hour));
    let folded = "cluster=\"\"";
    let leaf = "cluster=\"\",role=\"agent\",generation=\"1\"";
    assert_eq!(ask("certificate_not_after_timestamp_seconds", leaf), at(20));
    assert_eq!(
        ask("certificate_not_before_timestamp_seconds", leaf),
        at(-30)
    );
    assert_eq!(ask("certificate_renewal_timestamp_seconds", leaf), at(10));
    assert_eq!(ask("cluster_reachable", folded), Some(0.0));
    assert_eq!(ask("bundle_current", folded), Some(1.0));
    assert_eq!(
        ask("cluster_last_contact_timestamp_seconds", folded),
        at(-80)
    );
    let stops = "cluster=\"\",scenario=\"automation_stops\"";
    assert_eq!(ask("earliest_failure_timestamp_seconds", stops), at(20));
    assert_eq!(ask("drift_repairs_total", folded), Some(3.0));
    assert_eq!(ask("drift_repairs_total", "cluster=\"mgmt\""), Some(1.0));
    assert_eq!(ask("cluster_reachable", "cluster=\"mgmt\""), Some(1.0));
    assert_eq!(ask("clusters", "state=\"ready\""), Some(3.0));
    assert!(!metrics.text().unwrap().contains("cluster-"));
}
