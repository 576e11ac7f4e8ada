//! The table of all metrics: what each is called, what it means and when it is absent. Everything
//! that names a metric (the exporter, `docs/metrics.md`) is made from this table. Types and names
//! are for ever: alerts are written on them.

/// What kind of numbers a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, and starts anew with the process.
    Counter,
    /// Durations by size.
    Histogram,
    /// Always 1; its labels are what it says.
    Info,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, as queries use it.
    pub name: &'static str,
    /// What kind of numbers it has.
    pub kind: Kind,
    /// Its labels, in order.
    pub labels: &'static [&'static str],
    /// What it means, in one line.
    pub meaning: &'static str,
    /// When there is no series of it.
    pub absent: &'static str,
}

impl Metric {
    /// The name without the suffix that the format adds by itself.
    pub(super) fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

/// Rows of the table, and a constant for each.
macro_rules! metrics {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $meaning:literal, $absent:literal;)+) => {
        $(pub(super) const $constant: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            meaning: $meaning,
            absent: $absent,
        };)+

        /// All metrics, in the order of the documentation.
        pub const METRICS: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    NOT_BEFORE = "relay_pki_certificate_not_before_timestamp_seconds" Gauge
        ["relay", "cluster", "role", "generation"]
        "When a certificate begins to be valid",
        "there is no such certificate, or its cluster was never read by this process";
    NOT_AFTER = "relay_pki_certificate_not_after_timestamp_seconds" Gauge
        ["relay", "cluster", "role", "generation"]
        "When a certificate ends",
        "there is no such certificate, or its cluster was never read by this process";
    RENEWAL = "relay_pki_certificate_renewal_timestamp_seconds" Gauge
        ["relay", "cluster", "role", "generation"]
        "When a certificate is due to be replaced",
        "nothing renews it by itself: a root, a Secret that is not ours, an agent's that the relay server signs";
    BUNDLE_CURRENT = "relay_pki_bundle_current" Gauge ["relay", "cluster"]
        "Whether every trust bundle in the cluster is the published one (1) or not (0)",
        "the cluster has no bundle yet, no root is published, or the cluster was never read by this process";
    BUNDLE_ANCHORS = "relay_pki_bundle_anchors" Gauge ["relay"]
        "Number of roots in the published bundle",
        "no root is published";
    REACHABLE = "relay_pki_cluster_reachable" Gauge ["relay", "cluster"]
        "Whether the cluster could be read at the last attempt (1) or not (0)",
        "it was not tried yet";
    LAST_CONTACT = "relay_pki_cluster_last_contact_timestamp_seconds" Gauge ["relay", "cluster"]
        "When the cluster was read last",
        "it was never read by this process";
    CLUSTERS = "relay_pki_clusters" Gauge ["relay", "state"]
        "Number of clusters: `ready` (as the document asks), `not_ready` (something is missing, wrong or failed, or not looked at yet), `unreachable`",
        "never, for a known relay";
    ROTATION_STAGE = "relay_pki_rotation_stage" Gauge ["relay", "stage"]
        "1 for the stage that the rotation of the root is in, 0 for the others; `idle` if there is none",
        "never, for a known relay";
    ISSUANCES = "relay_pki_issuances_total" Counter ["relay", "backend", "role", "outcome"]
        "Certificates that were obtained (`success`), or not (the class of the error). A root that was made earlier and found again counts too",
        "none was asked for by this process";
    REQUEST_DURATION = "relay_pki_authority_request_duration_seconds" Histogram
        ["backend", "operation"]
        "How long a CA backend took to answer",
        "it was not asked by this process";
    REQUESTS = "relay_pki_authority_requests_total" Counter ["backend", "operation", "outcome"]
        "Requests to a CA backend. `success` is any answer, also that a certificate is not ready yet; `abandoned` one that did not answer in time or was interrupted; else the class of the error",
        "it was not asked by this process";
    DRIFT_REPAIRS = "relay_pki_drift_repairs_total" Counter ["relay", "cluster"]
        "Secrets that somebody changed or deleted and that were put right",
        "the cluster is not known";
    CONFLICTS = "relay_pki_secret_conflicts_total" Counter ["relay"]
        "Writes that were refused because somebody else had written in between",
        "never, for a known relay";
    EARLIEST_FAILURE = "relay_pki_earliest_failure_timestamp_seconds" Gauge
        ["relay", "cluster", "scenario"]
        "The first second at which the cluster's agent and a server refuse each other if nobody acts: `automation_stops` if nothing is renewed any more, `automation_runs` if renewals go on wherever they work",
        "the cluster was never read by this process, or a certificate is still to be made";
    AUDIT_FINDINGS = "relay_pki_audit_findings" Gauge ["relay", "code", "severity"]
        "Findings of the last audit",
        "it found none of that code, or there was no audit";
    AUDIT_LAST_RUN = "relay_pki_audit_last_run_timestamp_seconds" Gauge ["relay"]
        "When the last audit was",
        "there was none by this process";
    RECONCILES = "relay_pki_reconcile_total" Counter ["outcome"]
        "Reconciliations, by what came of them",
        "there was none by this process";
    RECONCILE_DURATION = "relay_pki_reconcile_duration_seconds" Histogram []
        "How long reconciliations took",
        "never";
    LEADER = "relay_pki_leader" Gauge []
        "Whether this replica is the one that acts (1) or waits (0)",
        "never";
    ENROLMENT_REQUESTS = "relay_pki_enrolment_requests_total" Counter ["operation", "outcome"]
        "Requests that agents made, by what came of them. `success` of `simpleenroll` and `simplereenroll` is a certificate; else the reason of the refusal",
        "there was none at this process";
    ENROLMENT_DURATION = "relay_pki_enrolment_request_duration_seconds" Histogram ["operation"]
        "How long a request took, from its head to its reply",
        "there was none at this process";
    ENROLMENT_HANDSHAKES = "relay_pki_enrolment_handshakes_total" Counter ["outcome"]
        "TLS handshakes of agents: `success`; `failed`, a certificate that was refused among them; `timeout`; `unready`, when there was no relay to serve; `crowded`, when too many strangers came from one address",
        "there was none at this process";
    ENROLMENT_CONNECTIONS = "relay_pki_enrolment_connections" Gauge ["peer"]
        "Connections of agents that are open: of an `agent` that showed a certificate, or of a `stranger`",
        "there was none at this process";
    BUILD = "relay_pki_build_info" Info ["version"]
        "The version of this program",
        "never";
}

/// `docs/metrics.md`.
pub fn metrics_markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for metric in METRICS {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        text.push_str(&format!(
            "| `{}` | {kind} | {} | {} | {} |\n",
            metric.name,
            labels.join(", "),
            metric.meaning,
            metric.absent
        ));
    }
    text
}

const INTRODUCTION: &str = "\
# Metrics

The controller serves them at `/metrics` in the OpenMetrics text form.

Made from the table in `src/metrics/table.rs`; change it there, then run
`RELAY_PKI_WRITE_DOCS=1 cargo test -p relay-pki --lib metrics::`.

- Times are Unix timestamps: compute what is left when you query. Every certificate is in one row, so shares of its
  lifetime are `(not_after - time()) / (not_after - not_before)`.
- What is not known has no series; it is never 0. A cluster or relay that goes takes its series with it.
- Everything with a label `relay` comes from the replica that leads, and is gone from one that no longer does.
  `relay_pki_leader` tells which one that is.
- A cluster that cannot be reached keeps the certificates that it was seen with last: they end all the same.
- Of a cluster whose agent enrols, the controller knows what was issued to it and what its agent said last, and tells that
  within five minutes: the dates of its latest certificate, and whether its bundle is current. The renewal is where the
  document has it; an agent with another `--renew-at` renews earlier or later. A revoked cluster has no such series.
- No label carries a serial number, a name of a certificate, a fingerprint or a message. A cluster has at most 25 series.
- With `--per-cluster-metrics=false` all workload clusters share one series with `cluster=\"\"`: the lowest of their values
  for gauges (the earliest time; 0 if any is 0), the sum for counters. Management clusters keep their names, and
  `relay_pki_clusters` counts as before.
- `backend` is the kind of CA backend, as in the document: `selfSigned`. `role` is `root`, `signer`, `server` or `agent`.
  `generation` is the number of the root or signer; of a server's or agent's certificate, that of its signer, or empty if
  the signer is not ours.
- What begins with `relay_pki_enrolment_` comes from every replica that serves agents: sum it. `operation` is that of EST, `crl`,
  or `other`. A refusal is `malformed`, `unauthenticated`, `forbidden`, `not_found`, `not_offered`, `wrong_method`,
  `too_large`, `too_slow`, `wrong_type`, `too_many`, `pending` (the CA takes its time) or `unavailable`.
- `stage` is `idle`, `preparing`, `publishing`, `activating`, `reissuing`, `draining` or `retiring`.

| metric | type | labels | meaning | absent when |
|---|---|---|---|---|
";
