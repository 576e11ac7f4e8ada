//! Everything with a label `relay`: kept as facts, and turned into series when somebody asks. So a
//! series is never left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::facts::{ClusterFacts, Condition, RelayFacts};
use super::table::{self, Kind, Metric};
use crate::audit::{Code, Report, Severity};
use crate::config::Role;
use crate::rotation::Phase;

/// The phases of a rotation, and none of them.
const STAGES: [&str; 7] = [
    "idle",
    "preparing",
    "publishing",
    "activating",
    "reissuing",
    "draining",
    "retiring",
];

/// What is known of all relays.
#[derive(Debug)]
pub(super) struct Fleet {
    /// Whether each workload cluster has series of its own.
    per_cluster: bool,
    relays: Mutex<BTreeMap<String, Kept>>,
}

/// What is known of one relay.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) facts: Option<RelayFacts>,
    /// By cluster.
    pub(super) drift: BTreeMap<String, u64>,
    pub(super) conflicts: u64,
    /// By backend, role and outcome.
    pub(super) issuances: BTreeMap<[&'static str; 3], u64>,
    audit: Option<Audited>,
}

#[derive(Debug)]
struct Audited {
    at: Timestamp,
    findings: BTreeMap<(Code, Severity), i64>,
}

impl Kept {
    pub(super) fn audited(&mut self, report: &Report) {
        let mut findings = BTreeMap::new();
        for finding in &report.findings {
            *findings
                .entry((finding.code, finding.severity))
                .or_insert(0) += 1;
        }
        self.audit = Some(Audited {
            at: report.audited_at,
            findings,
        });
    }

    pub(super) fn replace(&mut self, facts: RelayFacts) {
        let clusters = facts.clusters.iter();
        let known: BTreeSet<&str> = clusters.map(|found| found.cluster.as_str()).collect();
        self.drift
            .retain(|cluster, _| known.contains(cluster.as_str()));
        self.facts = Some(facts);
    }
}

impl Fleet {
    pub(super) fn new(per_cluster: bool) -> Self {
        Self {
            per_cluster,
            relays: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        // Facts are replaced as a whole: a panic elsewhere leaves none half made.
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a cluster is called in labels.
    fn label<'a>(&self, cluster: &'a str, role: Role) -> &'a str {
        match role {
            Role::Workload if !self.per_cluster => "",
            _ => cluster,
        }
    }

    fn series(&self) -> Vec<Series> {
        let relays = self.lock();
        let mut all = AllSeries::default();
        for (relay, kept) in relays.iter() {
            all.counted(self, relay, kept);
            if let Some(facts) = &kept.facts {
                all.relay(relay, facts);
                for cluster in &facts.clusters {
                    let label = self.label(&cluster.cluster, cluster.role);
                    all.cluster(relay, label, cluster);
                }
            }
        }
        all.0
    }
}

impl Collector for Fleet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for series in self.series() {
            series.encode(&mut encoder)?;
        }
        Ok(())
    }
}

/// The series of one metric, by the values of its labels.
struct Series {
    metric: Metric,
    values: BTreeMap<Vec<String>, i64>,
}

impl Series {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metric = &self.metric;
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            _ => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(metric.stem(), metric.meaning, None, kind)?;
        for (values, number) in &self.values {
            let labels: Vec<(&str, &str)> = metric
                .labels
                .iter()
                .copied()
                .zip(values.iter().map(String::as_str))
                .collect();
            let one = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => {
                    ConstCounter::new(u64::try_from(*number).unwrap_or(0)).encode(one)?;
                }
                _ => ConstGauge::new(*number).encode(one)?,
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct AllSeries(Vec<Series>);

impl AllSeries {
    fn values(&mut self, metric: Metric) -> &mut BTreeMap<Vec<String>, i64> {
        let found = self
            .0
            .iter()
            .position(|series| series.metric.name == metric.name);
        let index = found.unwrap_or(self.0.len());
        if found.is_none() {
            let values = BTreeMap::new();
            self.0.push(Series { metric, values });
        }
        // It is there by now.
        #[allow(clippy::indexing_slicing)]
        &mut self.0[index].values
    }

    /// Clusters that share a series show the lowest of their values: the earliest, the worst.
    fn lowest(&mut self, metric: Metric, labels: &[&str], value: i64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let kept = self.values(metric).entry(labels).or_insert(value);
        *kept = value.min(*kept);
    }

    fn sum(&mut self, metric: Metric, labels: &[&str], count: u64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let kept = self.values(metric).entry(labels).or_insert(0);
        *kept = kept.saturating_add(count);
    }

    fn counted(&mut self, fleet: &Fleet, relay: &str, kept: &Kept) {
        self.sum(table::CONFLICTS, &[relay], kept.conflicts);
        let clusters = kept.facts.iter().flat_map(|facts| &facts.clusters);
        for facts in clusters {
            let count = kept.drift.get(&facts.cluster).copied().unwrap_or(0);
            let label = fleet.label(&facts.cluster, facts.role);
            self.sum(table::DRIFT_REPAIRS, &[relay, label], count);
        }
        for ([backend, role, outcome], count) in &kept.issuances {
            let labels = [relay, *backend, *role, *outcome];
            self.sum(table::ISSUANCES, &labels, *count);
        }
        if let Some(audit) = &kept.audit {
            self.lowest(table::AUDIT_LAST_RUN, &[relay], audit.at.as_second());
            for ((code, severity), count) in &audit.findings {
                let (code, severity) = (code.to_string(), severity.to_string());
                let labels = [relay, code.as_str(), severity.as_str()];
                self.lowest(table::AUDIT_FINDINGS, &labels, *count);
            }
        }
    }

    fn relay(&mut self, relay: &str, facts: &RelayFacts) {
        if let Some(anchors) = facts.anchors {
            let anchors = i64::try_from(anchors).unwrap_or(i64::MAX);
            self.lowest(table::BUNDLE_ANCHORS, &[relay], anchors);
        }
        for condition in Condition::ALL {
            let clusters = facts.clusters.iter();
            let count = clusters
                .filter(|found| found.condition == condition)
                .count();
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.sum(table::CLUSTERS, &[relay, condition.label()], count);
        }
        for stage in STAGES {
            let current = i64::from(stage == facts.rotation.map_or("idle", Phase::as_str));
            self.lowest(table::ROTATION_STAGE, &[relay, stage], current);
        }
    }

    fn cluster(&mut self, relay: &str, cluster: &str, facts: &ClusterFacts) {
        for found in &facts.certificates {
            let generation = found.generation.map(|number| number.to_string());
            let generation = generation.unwrap_or_default();
            let labels = [relay, cluster, found.role, generation.as_str()];
            let (from, to) = (found.validity.not_before(), found.validity.not_after());
            self.time(table::NOT_BEFORE, &labels, Some(from));
            self.time(table::NOT_AFTER, &labels, Some(to));
            self.time(table::RENEWAL, &labels, found.renewal);
        }
        let labels = [relay, cluster];
        if let Some(reachable) = facts.reachable {
            self.lowest(table::REACHABLE, &labels, i64::from(reachable));
        }
        if let Some(current) = facts.bundle_current {
            self.lowest(table::BUNDLE_CURRENT, &labels, i64::from(current));
        }
        self.time(table::LAST_CONTACT, &labels, facts.last_contact);
        for (scenario, at) in [
            ("automation_stops", facts.failure.automation_stops),
            ("automation_runs", facts.failure.automation_runs),
        ] {
            let labels = [relay, cluster, scenario];
            self.time(table::EARLIEST_FAILURE, &labels, at);
        }
    }

    fn time(&mut self, metric: Metric, labels: &[&str], at: Option<Timestamp>) {
        if let Some(at) = at {
            self.lowest(metric, labels, at.as_second());
        }
    }
}
