//! What is explored.

use relay_pki_authority::Level;

use super::explore::{Explored, explore};
use super::fleet::{Fleet, Mistake, Setup};
use super::state::Left;

pub(super) const QUIET: Left = Left {
    second: 0,
    crashes: 0,
    losses: 0,
    pauses: 0,
    waivers: 0,
};

pub(super) const ROOT: Setup = Setup {
    level: Level::Root,
    settings: "safeMode: true",
    left: QUIET,
    crosses: true,
    canary: &[],
    rollback: false,
    emergency: false,
    apart: false,
    mistake: Mistake {
        plan: None,
        unconditional: false,
        unchecked: false,
        ageless: false,
    },
};

pub(super) fn run(name: &str, setup: Setup) -> Explored {
    let mut fleet = Fleet::new(setup);
    fleet.settle_in();
    let explored = explore(&mut fleet);
    println!("model: {name}: {explored}, {} plans", fleet.plans());
    explored
}

fn holds(name: &str, setup: Setup) {
    let explored = run(name, setup);
    if let Some(found) = explored.counterexample {
        panic!("{name}: {found}");
    }
}

/// The bounds of a scenario: `RELAY_PKI_MODEL=large` asks for those that take minutes.
fn left(small: Left, large: Left) -> Left {
    match std::env::var("RELAY_PKI_MODEL").as_deref() {
        Ok("large") => large,
        _ => small,
    }
}

const CRASH: Left = Left {
    crashes: 1,
    ..QUIET
};
const AWAY: Left = Left { losses: 1, ..QUIET };
const BOTH: Left = Left {
    crashes: 1,
    losses: 1,
    ..QUIET
};
const STALE: Left = Left { second: 1, ..QUIET };

#[test]
fn a_root() {
    let left = left(AWAY, BOTH);
    holds("root", Setup { left, ..ROOT });
}

#[test]
fn a_root_and_back() {
    let left = left(QUIET, CRASH);
    let setup = Setup {
        left,
        rollback: true,
        ..ROOT
    };
    holds("root, rolled back", setup);
}

#[test]
fn a_root_by_the_controller() {
    let left = left(QUIET, AWAY);
    let setup = Setup {
        left,
        apart: true,
        ..ROOT
    };
    holds("root, cluster by cluster", setup);
}

#[test]
fn a_root_without_a_cross() {
    let left = left(QUIET, CRASH);
    let setup = Setup {
        left,
        rollback: true,
        crosses: false,
        ..ROOT
    };
    holds("root, strict, rolled back", setup);
}

#[test]
fn a_root_without_safe_mode() {
    let left = left(AWAY, BOTH);
    let setup = Setup {
        left,
        settings: "safeMode: false",
        ..ROOT
    };
    holds("root, no safe mode", setup);
}

#[test]
fn a_root_approved_by_hand() {
    let left = left(QUIET, Left { pauses: 1, ..AWAY });
    let setup = Setup {
        left,
        settings: "approval: manual",
        ..ROOT
    };
    holds("root, approved phase by phase", setup);
}

#[test]
fn a_root_with_a_pause() {
    let pause = Left { pauses: 1, ..QUIET };
    let left = left(
        pause,
        Left {
            crashes: 1,
            ..pause
        },
    );
    holds("root, paused", Setup { left, ..ROOT });
}

#[test]
fn a_root_with_a_waiver() {
    let waiver = Left {
        waivers: 1,
        ..QUIET
    };
    let left = left(
        waiver,
        Left {
            losses: 1,
            ..waiver
        },
    );
    holds("root, a cluster waived", Setup { left, ..ROOT });
}

#[test]
fn a_root_of_a_few_first() {
    let left = left(QUIET, CRASH);
    let setup = Setup {
        left,
        canary: &["cluster-1"],
        rollback: true,
        ..ROOT
    };
    holds("root, cluster-1 first, rolled back", setup);
}

#[test]
fn a_compromised_root() {
    let left = left(QUIET, CRASH);
    let setup = Setup {
        left,
        emergency: true,
        ..ROOT
    };
    holds("root, emergency", setup);
}

#[test]
fn a_signer() {
    let left = left(CRASH, BOTH);
    let setup = Setup {
        level: Level::Signer,
        left,
        rollback: true,
        ..ROOT
    };
    holds("signer, rolled back", setup);
}

/// With a leader that goes on with what it planned long ago only by hand: that takes minutes.
#[test]
fn a_signer_beside_a_stale_leader() {
    let setup = Setup {
        level: Level::Signer,
        left: left(QUIET, STALE),
        rollback: true,
        ..ROOT
    };
    holds("signer, rolled back, beside a stale leader by hand", setup);
}

/// Likewise.
#[test]
fn a_root_beside_a_stale_leader() {
    let left = left(QUIET, STALE);
    holds(
        "root, beside a stale leader by hand",
        Setup { left, ..ROOT },
    );
}
