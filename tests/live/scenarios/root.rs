//! The root is rotated, moved to another CA, and given up half way, while everybody talks.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::relay::{Fields, Relay, only};
use crate::support::certificate::certificates;
use crate::support::fleet::{ROOT, SERVER};
use crate::support::stage::{Stage, secret};
use crate::support::verifiers::AUTHORITY;
use crate::traffic::Lag;

/// The phases in which a rotation waits for somebody's approval of the next one.
const PHASES: [&str; 6] = [
    "preparing",
    "publishing",
    "activating",
    "reissuing",
    "draining",
    "retiring",
];

/// Longer than anybody lags behind.
const SOAK: Duration = Duration::from_secs(20);

/// A rotation has a handful of gates; at each one a controller may just have been killed.
const PATIENCE: Duration = Duration::from_secs(600);

/// A rotation of the root.
pub(super) struct Leg {
    /// Where to, for whoever reads along.
    pub(super) to: &'static str,
    /// What is changed in the document before.
    pub(super) change: Value,
    /// The phase from which a first attempt is rolled back.
    pub(super) back_from: &'static str,
}

/// Rotates in place, from one kind of key to the next.
pub(super) fn keys() {
    let leg = |to, back_from| Leg {
        to,
        change: json!({ "root": { "keyType": to }, "signer": { "keyType": to } }),
        back_from,
    };
    travel(
        "keys",
        only(json!({})),
        &[
            leg("ecdsa-p384", "preparing"),
            leg("rsa-2048", "publishing"),
            leg("ed25519", "activating"),
            leg("rsa-3072", "reissuing"),
            leg("ecdsa-p256", "draining"),
        ],
    );
}

/// Takes a relay through all legs. `fields` makes what its document needs, and says what that is.
#[allow(clippy::print_stdout)]
pub(super) fn travel(prefix: &str, fields: impl Fields, legs: &[Leg]) {
    let lag = Lag::default();
    assert!(
        lag.longest() < SOAK,
        "nobody lags behind for longer than the soak time"
    );
    let fields = |stage: &Stage<'_>, folder: &Path| {
        let (mut fields, surroundings) = fields(stage, folder);
        fields["server"] = json!({ "extraDnsNames": [AUTHORITY] });
        fields["rotation"] = json!({ "soak": format!("{}s", SOAK.as_secs()) });
        (fields, surroundings)
    };
    let mut relay = Relay::start(prefix, fields, lag);
    let mut shown = 0;
    for leg in legs {
        let Leg {
            to,
            change,
            back_from,
        } = leg;
        let before = roots(&relay);
        relay.edit(change);
        relay.edit(&json!({ "rotation": { "approval": "manual" } }));
        begin(&relay);
        reach(&mut relay, back_from);
        relay.meet();
        relay.done_or_waiting(&["rotation", "rollback"]);
        finish(&mut relay, "rolledback");
        relay.settle();
        assert_eq!(roots(&relay), before, "{to}: back again");
        report(
            &mut relay,
            &mut shown,
            &format!("{to}: back from {back_from}"),
        );

        relay.edit(&json!({ "rotation": { "approval": "automatic" } }));
        begin(&relay);
        finish(&mut relay, "done");
        relay.settle();
        let after = roots(&relay);
        assert_eq!(after.len(), 1, "{to}: one root everywhere");
        assert!(after.is_disjoint(&before), "{to}: another one");
        report(&mut relay, &mut shown, &format!("{to}: there"));
    }
    let (tally, killed) = relay.end();
    println!(
        "{} rotations of the root, {killed} controllers killed",
        legs.len()
    );
    tally.assert_clean(1_000 * legs.len());
    assert!(killed > 0, "no controller was killed");
}

fn begin(relay: &Relay) {
    relay.done_or_waiting(&["rotate", "root", "--yes"]);
}

/// Approves one phase after the other until the rotation has done everything in `phase`.
fn reach(relay: &mut Relay, phase: &str) {
    let begun = Instant::now();
    loop {
        let status = status(relay);
        let now = status["phase"].as_str().unwrap().to_owned();
        let position = PHASES.iter().position(|known| *known == now);
        let position = position.unwrap_or_else(|| panic!("{status:#}"));
        let next = PHASES[position + 1];
        // Waiting for nothing else: the gate is open.
        let waiting = status["waitingFor"].as_array().unwrap();
        let open = match waiting.as_slice() {
            [only] => only["what"].as_str().unwrap().contains("approved"),
            _ => false,
        };
        if open && now == phase {
            return;
        }
        if open {
            relay.run(&["rotation", "approve", next]);
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "it does not reach {phase}: {status:#}"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Waits until no rotation is under way; the last one has come to `outcome`.
fn finish(relay: &mut Relay, outcome: &str) {
    let begun = Instant::now();
    let mut phases: Vec<String> = Vec::new();
    loop {
        let status = status(relay);
        let phase = status["phase"].as_str().unwrap();
        if phase == "idle" {
            assert_eq!(
                status["history"][0]["outcome"], outcome,
                "{phases:?}: {status:#}"
            );
            return;
        }
        if phases.last().is_none_or(|last| last != phase) {
            phases.push(phase.to_owned());
        }
        assert!(begun.elapsed() < PATIENCE, "after {phases:?}: {status:#}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn status(relay: &Relay) -> Value {
    let run = relay.done_or_waiting(&["rotation", "status", "--output", "json"]);
    run.json()
}

/// Every root in any bundle of the fleet.
fn roots(relay: &Relay) -> BTreeSet<Vec<u8>> {
    let (management, namespace) = (relay.stage.management(), relay.stage.namespace());
    let mut bundles = vec![
        secret(management, namespace, SERVER),
        secret(management, namespace, ROOT),
    ];
    bundles.extend(relay.members.iter().map(|member| member.secret(ROOT)));
    let roots = bundles
        .iter()
        .flat_map(|bundle| certificates(bundle.entry("ca.crt")));
    roots.map(|root| root.der.to_vec()).collect()
}

/// Says how it went, and what has failed since `shown` failures were told of.
#[allow(clippy::print_stdout)]
fn report(relay: &mut Relay, shown: &mut usize, what: &str) {
    let tally = relay.tally();
    println!(
        "{what}; {} handshakes, {} failed",
        tally.handshakes(),
        tally.failed()
    );
    for (pair, number) in tally.failing_pairs(*shown) {
        println!("    {number} times {pair}");
    }
    *shown = tally.failures().len();
}
