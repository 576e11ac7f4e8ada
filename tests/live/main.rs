//! The live proof: a relay with real TLS between real processes, on real API servers, whose
//! certificates change all the time, and nobody notices.
//!
//! The parties are this program again, a Go program and a Python program. `cargo test --test live` is
//! the short form, `tests/live/run MINUTES` the long one; `docs/live.md` says what is proved how.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod controllers;
mod party;
mod relay;
mod scenarios;
// The integration tests use all of it.
#[allow(dead_code)]
#[path = "../it/support/mod.rs"]
mod support;
mod surroundings;
mod tally;
mod traffic;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use crate::scenarios::When;

/// Runs a party, or the scenarios whose names contain one of the arguments; without one, all.
#[allow(clippy::print_stdout)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, orders] = arguments.as_slice()
        && role == "party"
    {
        party::run(orders);
        return ExitCode::SUCCESS;
    }
    // What else cargo passes on is meant for its own harness.
    let wanted: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let listed = arguments.iter().any(|it| it == "--list");
    let mut failed = false;
    for (name, when, scenario) in scenarios::ALL {
        let named = wanted.iter().any(|wanted| name.contains(wanted.as_str()));
        let chosen = named || (wanted.is_empty() && when == When::Always);
        if !chosen {
            continue;
        }
        if listed {
            println!("{name}: test");
            continue;
        }
        println!("scenario {name}");
        let begun = Instant::now();
        let ok = catch_unwind(scenario).is_ok();
        let result = if ok { "ok" } else { "FAILED" };
        println!(
            "scenario {name}: {result} after {} s\n",
            begun.elapsed().as_secs()
        );
        failed |= !ok;
    }
    match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
