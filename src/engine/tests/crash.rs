//! Crash after the n-th write, for every n: whoever comes next finishes the work, and what was done is
//! neither lost nor done twice.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use relay_pki_authority::Level;

use super::backend::Moment;
use super::document::Document;
use super::foreign::ForeignCa;
use super::oracle::records;
use super::world::{ADOPT, BOOTSTRAP, World, request, rotate};
use crate::cluster::fault::{EffectKind, Fault};
use crate::cluster::{MemoryCluster, ObjectKind};
use crate::engine::Goal;
use crate::journal::{Scope, Status};
use crate::relay::ROTATED_ANNOTATION;
use crate::rotation::Phase;

/// How the n-th write goes wrong.
const MODES: [Fault; 4] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::LostReply,
    Fault::Conflict,
];

/// What the fleet looks like, without what differs from run to run.
pub(super) fn shape(world: &World) -> BTreeMap<String, String> {
    let mut shape = BTreeMap::new();
    for (cluster, store) in &world.stores {
        for object in store.objects() {
            let entries: Vec<&String> = object.data.keys().collect();
            let (labels, mut notes) = (&object.labels, object.annotations.clone());
            notes
                .entry(ROTATED_ANNOTATION.to_owned())
                .and_modify(String::clear);
            let kind = &object.secret_type;
            shape.insert(
                format!("{cluster}: {}", object.key),
                format!("{kind:?} {labels:?} {notes:?} {entries:?}"),
            );
        }
    }
    for record in records(world.home()) {
        let (level, number) = (record.level, record.number);
        let text = format!("{:?} {:?}", record.status, record.root);
        shape.insert(format!("{level} g{number}"), text);
    }
    shape
}

/// How often each object came into being, was changed, and went (Sieve's second oracle).
fn effects(world: &World, kinds: &[EffectKind], secrets_only: bool) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for effect in world.faults.effects() {
        let counted = !secrets_only
            || (effect.object.kind == ObjectKind::Secret
                && !effect.object.name.starts_with("relay-pki-"));
        if kinds.contains(&effect.kind) && counted {
            let name = format!("{:?} {}: {}", effect.kind, effect.cluster, effect.object);
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    counts
}

/// How a process ends at the n-th call to the backend.
const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

/// Runs `act` once undisturbed; then for each n with the n-th write going wrong in each mode, and
/// again as a fresh process if it died; then the same with the n-th call to the backend. `check` compares
/// the outcome with the undisturbed one. `name` is what is printed.
pub(super) async fn enumerate(
    name: &str,
    base: &World,
    act: impl AsyncFn(&World),
    check: impl Fn(&World, &World, &str),
) {
    let reference = base.copy().watched();
    act(&reference).await;
    let (writes, calls) = (reference.faults.mutations(), reference.ledger.all_calls());
    assert!(writes > 0);
    let mut passed = 0;
    for mode in MODES {
        for n in 1..=writes {
            let what = format!("{mode:?} at write {n} of {writes}");
            let world = base.copy().watched();
            world.faults.plan(n, mode);
            disturbed(&world, &reference, &act, &check, &what).await;
            passed += 1;
        }
    }
    for moment in MOMENTS {
        for n in 1..=calls {
            let what = format!("dead {moment:?} call {n} of {calls}");
            let world = base.copy().watched();
            world.ledger.crash(n, moment);
            disturbed(&world, &reference, &act, &check, &what).await;
            passed += 1;
        }
    }
    println!("crash points: {passed} passed: {name}: {writes} writes, {calls} backend calls");
}

async fn disturbed(
    world: &World,
    reference: &World,
    act: &impl AsyncFn(&World),
    check: &impl Fn(&World, &World, &str),
    what: &str,
) {
    act(world).await;
    if world.faults.is_crashed() {
        world.faults.revive();
        // Whoever comes next comes later: what was asked for must not be reckoned anew.
        world.clock.advance(SignedDuration::from_hours(2));
        act(world).await;
    }
    assert!(!world.faults.is_crashed(), "{what}");
    compare(world, reference, what);
    let quiet = world.plan(&BOOTSTRAP).await;
    assert_eq!(quiet.steps, [], "{what}");
    assert_eq!(quiet.problems, [], "{what}");
    check(world, reference, what);
}

fn compare(world: &World, reference: &World, what: &str) {
    let violations = world.oracle.as_ref().unwrap().violations();
    assert!(violations.is_empty(), "{what}: {violations:#?}");
    assert_eq!(super::transcript::objection(world), None, "{what}");
    assert_eq!(shape(world), shape(reference), "{what}");
    let (made, all) = ([EffectKind::Created, EffectKind::Deleted], false);
    assert_eq!(
        effects(world, &made, all),
        effects(reference, &made, all),
        "{what}"
    );
    let changed = [EffectKind::Replaced];
    assert_eq!(
        effects(world, &changed, true),
        effects(reference, &changed, true),
        "{what}"
    );
}

/// A free signature that was not delivered is made once more. One that was, never.
fn at_most_one_more(world: &World, reference: &World, what: &str) {
    let (counts, wanted) = (world.ledger.counts(), reference.ledger.counts());
    assert!(counts.keys().eq(wanted.keys()), "{what}");
    let total = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
    let undelivered = !what.starts_with("CrashAfter") && !what.starts_with("LostReply");
    let most = total(&wanted) + usize::from(undelivered);
    assert!(total(&counts) <= most, "{what}: {counts:?}");
}

fn fleet() -> Document {
    let mut document = Document::new(2, 3);
    document.clusters[0].agent = true;
    document.clusters[4].server_signed = true;
    document
}

async fn bootstrapped() -> World {
    let world = World::new(fleet());
    world.reach(&BOOTSTRAP).await;
    world
}

#[tokio::test]
async fn bootstrap() {
    let act = async |world: &World| drop(world.run(&BOOTSTRAP).await);
    enumerate("bootstrap", &World::new(fleet()), act, at_most_one_more).await;
}

#[tokio::test]
async fn adoption() {
    let world = World::new(fleet());
    ForeignCa::new("vendor").await.install(&world, true).await;
    let act = async |world: &World| drop(world.run(&ADOPT).await);
    enumerate("adoption", &world, act, at_most_one_more).await;
}

#[tokio::test]
async fn rotations() {
    let world = bootstrapped().await;
    for scope in [Scope::Agents, Scope::Server, Scope::Tokens] {
        let name = format!("rotation of {scope}");
        let scopes = [scope];
        let act = async |world: &World| drop(world.rotate(1, &scopes).await);
        enumerate(&name, &world, act, at_most_one_more).await;
    }
}

/// A whole rotation in phases, with its soak time.
async fn through(world: &World, level: Level) {
    let over = async || {
        let rotations = world.observe().await.journal.rotations;
        let last = rotations.last_key_value();
        last.is_some_and(|(_, kept)| kept.record.phase.is_over())
    };
    if world.faults.is_crashed() || over().await {
        return;
    }
    for _ in 0..2 {
        // Whoever is told that it could not be written asks again.
        world.begin(&request(level)).await;
    }
    if world.faults.is_crashed() || world.run(&Goal::Rotation).await.is_none() {
        return;
    }
    world.soak(&Goal::Rotation).await;
}

#[tokio::test]
async fn rotation_of_the_signer() {
    let world = bootstrapped().await;
    let act = async |world: &World| through(world, Level::Signer).await;
    enumerate("rotation of the signer", &world, act, at_most_one_more).await;
}

#[tokio::test]
async fn rotation_of_the_root() {
    let world = bootstrapped().await;
    let act = async |world: &World| through(world, Level::Root).await;
    enumerate("rotation of the root", &world, act, at_most_one_more).await;
}

/// Whatever somebody does next after a rotation was killed, it is not refused, and whoever goes on in
/// the end has everything.
#[tokio::test]
async fn a_killed_rotation_stops_nothing_else() {
    let base = bootstrapped().await;
    for level in [Level::Root, Level::Signer] {
        let reference = base.copy();
        through(&reference, level).await;
        let mut next = [rotate(&[Scope::Agents]), Goal::Due, Goal::Reconcile]
            .into_iter()
            .cycle();
        for n in 2..=reference.faults.mutations() {
            for mode in [Fault::CrashBefore, Fault::CrashAfter] {
                let next = next.next().unwrap();
                let world = base.copy().watched();
                world.faults.plan(n, mode);
                through(&world, level).await;
                assert!(world.faults.is_crashed());
                world.faults.revive();
                if matches!(next, Goal::Rotate(_)) {
                    world.request(1, &[Scope::Agents]).await;
                }
                let plan = world.run(&next).await.unwrap();
                assert_eq!(plan.problems, [], "{mode:?} at {n}, then {next:?}");
                let active = records(world.home());
                let active = active
                    .iter()
                    .filter(|record| record.status == Status::Active);
                assert_eq!(active.count(), 2, "{mode:?} at {n}, then {next:?}");
                through(&world, level).await;
                assert_eq!(world.rotation().await.phase, Phase::Done);
                assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
                let violations = world.oracle.as_ref().unwrap().violations();
                assert!(violations.is_empty(), "{violations:#?}");
            }
        }
    }
}

/// The clock goes on while nobody comes back, or it is set back meanwhile.
#[tokio::test]
async fn coming_back_much_later_or_earlier() {
    let reference = World::new(fleet());
    reference.reach(&BOOTSTRAP).await;
    for hours in [-3, 2, 24 * 40, 24 * 400, 24 * 4000] {
        for n in 1..=reference.faults.mutations() {
            let world = World::new(fleet());
            world.faults.plan(n, Fault::CrashAfter);
            assert!(world.run(&BOOTSTRAP).await.is_none());
            world.faults.revive();
            world.clock.advance(SignedDuration::from_hours(hours));
            let plan = world.run(&BOOTSTRAP).await.unwrap();
            if !plan.problems.is_empty() {
                // Only an outage that nothing can hide stops it.
                let text = plan.problems[0].to_string();
                assert!(text.contains("is valid from"), "{hours} h at {n}: {text}");
            }
        }
    }
}

/// Reads of a fleet at rest write nothing.
#[tokio::test]
async fn a_second_run_writes_nothing() {
    let world = bootstrapped().await;
    let before: usize = world.stores.values().map(MemoryCluster::writes).sum();
    world.reach(&BOOTSTRAP).await;
    world.reach(&Goal::Due).await;
    let after: usize = world.stores.values().map(MemoryCluster::writes).sum();
    assert_eq!(before, after);
}
