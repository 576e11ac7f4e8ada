//! Load on relay-pki's EST server, and on other CAs for comparison. Every reply is verified.
//!
//! `cargo test --test load` is a short form on our server alone, which measures nothing. `tests/load/run` is
//! the whole, on a release build; `docs/performance.md` has its results.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod agents;
mod compare;
mod identity;
mod load;
mod ours;
mod peers;
mod process;
mod serve;
// The integration tests use all of it.
#[allow(dead_code)]
#[path = "../it/support/mod.rs"]
mod support;
mod target;
mod transport;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::agents::agents;
use crate::compare::{Plan, compare};
use crate::load::{Pattern, load};
use crate::ours::{Ours, names};
use crate::serve::Records;
use crate::verify::verify;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", document, port, records] => {
            serve::run(document, port.parse().unwrap(), Records::of(records));
        }
        ["compare", rounds, seconds, rate, out] => {
            let plan = Plan {
                rounds: rounds.parse().unwrap(),
                time: Duration::from_secs(seconds.parse().unwrap()),
                rate: rate.parse().unwrap(),
            };
            write(out, &runtime().block_on(compare(&plan)));
        }
        ["agents", count, seconds, out] => {
            let time = Duration::from_secs(seconds.parse().unwrap());
            let seen = runtime().block_on(agents(count.parse().unwrap(), time));
            println!("{seen:#}");
            write(out, &seen);
        }
        ["profile", seconds, records] => {
            let seconds = seconds.parse().unwrap();
            runtime().block_on(profile(seconds, Records::of(records)));
        }
        // What cargo passes on is meant for a harness of its own.
        _ if arguments.contains(&"--list") => println!("replies_verify: test"),
        _ => runtime().block_on(replies_verify()),
    }
}

fn write(path: &str, seen: &Value) {
    std::fs::write(path, format!("{seen:#}\n")).unwrap();
}

/// On one processor: the other one is the server's.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// The short form: whatever our server replies under a little load of each kind verifies.
async fn replies_verify() {
    let names = names(4);
    let ours = Ours::start(&names, Records::Kept).await;
    let target = Arc::new(ours.target(&names, 8).await);
    for pattern in [Pattern::KeepAlive, Pattern::Connecting, Pattern::Rate(40)] {
        let seen = load(&target, pattern, Duration::from_millis(1500)).await;
        assert!(seen.answers.len() >= names.len(), "{pattern:?}");
        verify(&target, &seen.answers);
        println!("{pattern:?}: {} replies verify", seen.answers.len());
    }
}

/// Our server alone, for a profiler: of so many seconds of each kind, the best one and the median. A
/// neighbour on the machine makes seconds worse, never better.
async fn profile(seconds: usize, records: Records) {
    let names = names(8);
    let ours = Ours::start(&names, records).await;
    let target = Arc::new(ours.target(&names, 512).await);
    println!("server: {}", target.pid);
    for pattern in [Pattern::KeepAlive, Pattern::Connecting, Pattern::Rate(300)] {
        let mut rounds = Vec::with_capacity(seconds);
        for _ in 0..seconds {
            let seen = load(&target, pattern, Duration::from_secs(1)).await;
            verify(&target, &seen.answers);
            rounds.push(seen);
        }
        rounds.sort_by(|one, other| one.each().total_cmp(&other.each()));
        let (best, middle) = (&rounds[0], &rounds[seconds / 2]);
        println!(
            "{pattern:?}: {:.1} µs, median {:.1} µs, {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} KiB",
            best.each(),
            middle.each(),
            best.rate(),
            best.latency(0.5),
            best.latency(0.99),
            best.memory / 1024
        );
    }
}
