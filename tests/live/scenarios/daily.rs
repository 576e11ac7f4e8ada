//! What happens every day: rotations that people ask for, renewals, edits, controllers that are killed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::relay::{Relay, only, within};
use crate::support::dice::number;
use crate::support::verifiers::AUTHORITY;
use crate::traffic::Lag;

/// How long it goes on, in minutes.
const LENGTH: &str = "RELAY_PKI_LIVE_MINUTES";

/// The tokens with which the controllers and the command line reach the clusters are valid for an hour.
const LONGEST: u64 = 50;

/// Handshakes in a minute, at the least: far fewer than there are, more than a standstill has.
const A_MINUTE: u64 = 3_000;

/// What people do, in turn.
const DEEDS: [&[&str]; 6] = [
    &["rotate", "agents"],
    &["rotate", "server"],
    &["rotate", "signer"],
    &["rotate", "agents"],
    &["rotate", "tokens"],
    &["rotate", "due"],
];

/// Everything short-lived: each certificate is replaced every minute without anybody asking for it.
#[allow(clippy::print_stdout)]
pub(super) fn rotations_and_renewals() {
    let minutes = number(LENGTH).unwrap_or(2);
    assert!(minutes <= LONGEST, "{LENGTH} is {LONGEST} at the most");
    let server = json!({ "extraDnsNames": [AUTHORITY], "validity": "10m", "renewAt": 0.4 });
    let mut relay = Relay::start(
        "daily",
        only(json!({
            "server": server,
            "agents": { "validity": "10m", "renewAt": 0.4 },
            "signer": { "validity": "1h" },
            // Longer than anybody lags behind.
            "rotation": { "soak": "20s" },
        })),
        Lag::default(),
    );
    let (begun, length) = (Instant::now(), Duration::from_secs(60 * minutes));
    let mut deeds = 0;
    while begun.elapsed() < length || deeds <= DEEDS.len() {
        let what = match DEEDS.get(deeds % (DEEDS.len() + 1)) {
            Some(verb) => {
                relay.done(verb);
                verb.join(" ")
            }
            None => {
                // The names change, and so the certificate.
                let more = format!("relay-{deeds}.example.com");
                relay.edit(&json!({ "server": { "extraDnsNames": [AUTHORITY, more] } }));
                "edit".to_owned()
            }
        };
        deeds += 1;
        relay.meet();
        let tally = relay.tally();
        println!(
            "{:>5} s: {what}; {} handshakes, {} failed",
            begun.elapsed().as_secs(),
            tally.handshakes(),
            tally.failed()
        );
        let pause = within(&mut relay.dice, Duration::from_secs(10));
        std::thread::sleep(pause);
    }
    relay.settle();
    let (tally, killed) = relay.end();
    println!("{deeds} deeds, {killed} controllers killed");
    tally.assert_clean(usize::try_from(A_MINUTE * minutes).unwrap());
    assert!(killed > 0, "no controller was killed");
}
