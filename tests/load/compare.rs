//! All servers in one run, in turn, several rounds: every line is a median over the rounds, and a ratio is the
//! median of the rounds' ratios.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{Pattern, Seen, load};
use crate::ours::{Ours, names};
use crate::peers::Peers;
use crate::serve::Records;
use crate::target::Target;
use crate::verify::verify;

/// Connections, each of a client of its own.
const CLIENTS: usize = 8;
/// Requests that a client has ready; then it begins again.
const REQUESTS: usize = 256;
/// Load before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is run.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    /// Requests a second of the open loop.
    pub(crate) rate: u32,
}

/// The numbers of one server under one pattern, a value a round.
#[derive(Default)]
struct Series(BTreeMap<&'static str, Vec<f64>>);

const CPU: &str = "cpu_us";

impl Series {
    fn note(&mut self, seen: &Seen) {
        let values = [
            (CPU, seen.each()),
            ("per_s", seen.rate()),
            ("p50_ms", seen.latency(0.5)),
            ("p99_ms", seen.latency(0.99)),
            ("p999_ms", seen.latency(0.999)),
            ("memory_mib", seen.memory as f64 / 1024.0 / 1024.0),
            ("replies", seen.answers.len() as f64),
        ];
        for (name, value) in values {
            self.0.entry(name).or_default().push(value);
        }
    }

    fn median(&self, name: &str) -> f64 {
        median(&self.0[name])
    }

    /// How much more processor time this one takes, by the rounds.
    fn ratio(&self, ours: &Self) -> f64 {
        let rounds = self.0[CPU].iter().zip(&ours.0[CPU]);
        median(&rounds.map(|(it, ours)| it / ours).collect::<Vec<_>>())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() / 2 {
        _ if sorted.is_empty() => f64::NAN,
        half if sorted.len() % 2 == 1 => sorted[half],
        half => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

/// Runs the comparison, prints its table, and gives all of its numbers.
pub(crate) async fn compare(plan: &Plan) -> Value {
    let before = load_average();
    let names = names(CLIENTS);
    let ours = Ours::start(&names, Records::InMemory).await;
    let recording = Ours::start(&names, Records::Kept).await;
    let peers = Peers::new();
    let others = [
        peers.cfssl(&names, REQUESTS).await,
        peers.step_ca(false, &names, REQUESTS).await,
        peers.vault(&names, REQUESTS).await,
        peers.step_ca(true, &names, REQUESTS).await,
    ];
    let mut targets = vec![
        Arc::new(ours.target(&names, REQUESTS).await),
        Arc::new(recording.target(&names, REQUESTS).await),
    ];
    targets.extend(others.iter().map(|peer| peer.target.clone()));
    for target in &targets {
        let seen = load(target, Pattern::KeepAlive, WARM_UP).await;
        verify(target, &seen.answers);
    }
    let patterns = [
        ("keep-alive", Pattern::KeepAlive),
        ("new connection", Pattern::Connecting),
        ("open loop", Pattern::Rate(plan.rate)),
    ];
    let mut rows: Vec<Vec<Series>> = patterns
        .iter()
        .map(|_| targets.iter().map(|_| Series::default()).collect())
        .collect();
    for round in 1..=plan.rounds {
        for ((name, pattern), rows) in patterns.iter().zip(&mut rows) {
            for (target, row) in targets.iter().zip(rows) {
                let seen = load(target, *pattern, plan.time).await;
                verify(target, &seen.answers);
                row.note(&seen);
            }
            eprintln!("round {round} of {}: {name}", plan.rounds);
        }
    }
    for ((name, _), rows) in patterns.iter().zip(&rows) {
        table(name, &targets, rows);
    }
    let series = patterns.iter().zip(&rows).flat_map(|((name, _), rows)| {
        targets.iter().zip(rows).map(move |(target, row)| {
            json!({
                "server": target.label,
                "durability": target.durability,
                "pattern": name,
                "rounds": row.0,
                "cpu_ratio_to_ours": row.ratio(&rows[0]),
            })
        })
    });
    json!({
        "series": series.collect::<Vec<_>>(),
        "clients": CLIENTS,
        "seconds_each": plan.time.as_secs_f64(),
        "open_loop_per_s": plan.rate,
        "versions": versions(),
        "load_average": { "before": before, "after": load_average() },
    })
}

fn table(name: &str, targets: &[Arc<Target>], rows: &[Series]) {
    println!(
        "\n| {name} | on disk before the reply | CPU a certificate | × ours | a second | p50 | p99 | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (target, row) in targets.iter().zip(rows) {
        println!(
            "| {} | {} | {:.0} µs | {:.1} | {:.0} | {:.2} ms | {:.2} ms | {:.0} MiB |",
            target.label,
            target.durability,
            row.median(CPU),
            row.ratio(&rows[0]),
            row.median("per_s"),
            row.median("p50_ms"),
            row.median("p99_ms"),
            row.median("memory_mib"),
        );
    }
}

/// What the peers were built from.
fn versions() -> Value {
    let version = |folder: &str, module: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let text = std::fs::read_to_string(root.join(folder).join("go.mod")).unwrap();
        let line = text.lines().find_map(|line| {
            let rest = line.trim().trim_start_matches("require ");
            rest.strip_prefix(module)?.split_whitespace().next()
        });
        line.map(str::to_owned)
    };
    json!({
        "cfssl": version("load/peers/cfssl", "github.com/cloudflare/cfssl "),
        "step-ca": version("load/peers/step-ca", "github.com/smallstep/certificates "),
        "vault": version("testbed/vault", "github.com/hashicorp/vault "),
    })
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.trim().to_owned()
}
