//! Mistakes that are made on purpose, each of which the model has to find: by them it is known to look.

use relay_pki_authority::Level;

use super::fleet::{Mistake, Setup};
use super::scenarios::{QUIET, ROOT, run};
use super::state::Left;
use crate::engine::{Action, Observed, Plan, Step};
use crate::journal::{RotationRecord, Status};
use crate::rotation::{Fate, GivenUp, Phase};

/// Explores `setup` and expects to find `what` in it.
fn caught(name: &str, setup: Setup, what: &str) {
    let found = run(name, setup).counterexample;
    let found = found.unwrap_or_else(|| panic!("nobody notices: {name}"));
    println!("model: {name}: {found}");
    assert!(found.what.contains(what), "{}", found.what);
}

fn with(plan: fn(&mut Plan, &Observed)) -> Setup {
    let mistake = Mistake {
        plan: Some(plan),
        ..ROOT.mistake
    };
    Setup { mistake, ..ROOT }
}

/// Takes a rotation into `to` where it would go into `from`.
fn skip(plan: &mut Plan, from: Phase, to: Phase) {
    for step in &mut plan.steps {
        if let Action::Advance(record) = &mut step.action
            && record.phase == from
        {
            let record: &mut RotationRecord = record;
            record.phase = to;
            for entry in record.entered.iter_mut().rev().take(1) {
                entry.phase = to;
            }
        }
    }
}

/// The certificates of the new signer under the old root would make up for it: here there are none.
#[test]
fn activating_before_publishing() {
    let setup = Setup {
        crosses: false,
        ..with(|plan, _| skip(plan, Phase::Publishing, Phase::Activating))
    };
    caught("mistake: activating before publishing", setup, "I1");
}

#[test]
fn dropping_the_old_root_early() {
    let early = |plan: &mut Plan, _: &Observed| {
        for step in &mut plan.steps {
            if let Action::Transition {
                level: Level::Root,
                number: 1,
                status,
            } = &mut step.action
            {
                *status = Status::Retired;
            }
        }
    };
    caught("mistake: the old root is dropped early", with(early), "I1");
}

#[test]
fn passing_a_gate_that_is_shut() {
    let setup = with(|plan, _| skip(plan, Phase::Draining, Phase::Retiring));
    caught("mistake: nobody drains", setup, "I1");
}

#[test]
fn destroying_a_key_before_the_last_bundle_is_written() {
    let early = |plan: &mut Plan, _: &Observed| {
        let retires = |step: &Step| match &step.action {
            Action::Advance(record) => record.phase == Phase::Retiring,
            _ => false,
        };
        if let Some(step) = plan.steps.iter().find(|step| retires(step)) {
            let action = Action::GiveUp(GivenUp {
                level: Level::Root,
                number: 1,
                fate: Fate::Destroyed,
            });
            let step = Step {
                action,
                ..step.clone()
            };
            plan.steps.push(step);
        }
    };
    caught("mistake: a key is destroyed early", with(early), "I5");
}

#[test]
fn soaking_from_when_a_phase_was_entered() {
    let mistake = Mistake {
        ageless: true,
        ..ROOT.mistake
    };
    let setup = Setup { mistake, ..ROOT };
    caught("mistake: late writes do not soak", setup, "I1");
}

#[test]
fn writing_without_the_version() {
    let mistake = Mistake {
        unconditional: true,
        unchecked: true,
        ..ROOT.mistake
    };
    let left = Left { second: 1, ..QUIET };
    let setup = Setup {
        left,
        mistake,
        ..ROOT
    };
    caught("mistake: a stale leader's writes count", setup, "I");
}
