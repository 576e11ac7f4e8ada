//! `rehearse`: what a rotation would do, and nothing done.

use serde_json::Value;

use crate::support::fleet::{CLIENT, Fleet, clusters};

fn fleet() -> Fleet {
    Fleet::bootstrapped(&format!(
        "  rotation: {{ soak: 2h, safeMode: true }}\n{}",
        clusters(&["c1", "c2"])
    ))
}

#[test]
fn a_rehearsal_writes_nothing_and_tells_all() {
    let fleet = fleet();
    let before = fleet.tree();
    let run = fleet.done(&["rehearse", "root", "--output", "json"]);
    let report = run.json();
    assert_eq!(
        (&report["kind"], &report["outcome"]),
        (&Value::from("Rehearsal"), &Value::from("done"))
    );
    assert_eq!(report["least"], 4 * 3600);
    assert_eq!(report["handshakes"]["failed"], 0);
    assert!(report["handshakes"]["checked"].as_u64() > Some(10));
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases
        .iter()
        .map(|it| it["phase"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "preparing",
            "publishing",
            "activating",
            "reissuing",
            "draining",
            "retiring",
            "done"
        ]
    );
    assert_eq!(phases[1]["writes"]["c1"], 2);
    fleet
        .done(&["rehearse", "signer", "--canary", "c1"])
        .says(&["draining", "soak time", "0 failed", "ends in done"]);
    fleet.done(&["rehearse", "root", "--emergency"]).says(&[
        "retiring",
        "failed: the outage",
        "ends in done",
    ]);
    // Nothing that is logged in a rehearsal happens.
    let run = fleet.done(&["-v", "rehearse", "root"]);
    assert!(!run.stderr.contains("issued"), "{run:#?}");
    before.assert_unchanged(&fleet.tree());
}

#[test]
fn whom_it_would_wait_for_is_named() {
    let fleet = fleet();
    fleet.edit("c2", CLIENT, |manifest| manifest.labels.clear());
    let before = fleet.tree();
    fleet.ends(&["rehearse", "root"], 6).says(&[
        "would wait for",
        "c2: ",
        "not managed by relay-pki",
    ]);
    before.assert_unchanged(&fleet.tree());
}

#[test]
fn what_a_rotation_refuses_a_rehearsal_refuses() {
    let fleet = fleet();
    fleet
        .ends(&["rehearse", "root", "--canary", "c9"], 8)
        .says(&["c9", "relay-pki status"]);
    fleet
        .ends(&["rehearse", "signer", "--emergency"], 8)
        .says(&["rotate root --emergency"]);
    fleet.ends(&["rehearse"], 2);
    fleet.ends(&["rehearse", "agents"], 2);
    fleet.ends(&["rehearse", "root", "--dry-run"], 2);
}
