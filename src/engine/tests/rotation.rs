//! Rotations of root and signer, phase by phase, watched after every write.

use jiff::SignedDuration;
use relay_pki_authority::Level;

use super::document::Document;
use super::oracle::{leaf, leaves, records};
use super::world::{BOOTSTRAP, World, request};
use crate::clock::Clock as _;
use crate::engine::{Action, Apply, Cancel, Goal, Provenance, observe, plan};
use crate::journal::{Cross, Status};
use crate::relay::SecretRole;
use crate::rotation::{Direction, Phase, Request, Steering, Waiting, expected_end};

const DAY: i64 = 24;

fn hours(world: &World, hours: i64) {
    world.clock.advance(SignedDuration::from_hours(hours));
}

async fn bootstrapped(mut document: Document, rotation: &'static str) -> World {
    document.rotation = rotation;
    let world = World::new(document).watched();
    world.reach(&BOOTSTRAP).await;
    world
}

fn no_violations(world: &World) {
    let violations = world.oracle.as_ref().unwrap().violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

async fn waiting(world: &World) -> Vec<Waiting> {
    world.plan(&Goal::Rotation).await.rotation.waiting
}

/// One round, which is not more than one phase.
async fn phase_after_a_round(world: &World) -> Phase {
    world.round(&Goal::Rotation).await.unwrap();
    world.rotation().await.phase
}

/// Rounds until the rotation is in `phase`.
async fn until(world: &World, phase: Phase) {
    for _ in 0..30 {
        if phase_after_a_round(world).await == phase {
            return;
        }
    }
    panic!("not {phase}: {:?}", waiting(world).await);
}

async fn signers(world: &World) -> Vec<Provenance> {
    let observed = world.observe().await;
    let states = observed.clusters.values().flatten();
    states
        .flat_map(|state| [&state.server, &state.client])
        .flatten()
        .map(|held| held.content.as_ref().unwrap().provenance.clone())
        .collect()
}

fn status(world: &World, level: Level, number: u32) -> Status {
    let records = records(world.home());
    let mut records = records.iter();
    let found = records.find(|record| (record.level, record.number) == (level, number));
    found.unwrap().status
}

async fn carried_through(world: &World) {
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Draining);
    world.soak(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
}

#[tokio::test]
async fn a_root_is_rotated_through_every_phase() {
    let mut document = Document::new(2, 3);
    document.clusters[0].agent = true;
    document.clusters[4].server_signed = true;
    let world = bootstrapped(document, "{}").await;
    let before = leaf(&world, "cluster-1", SecretRole::Client);
    world.begin(&request(Level::Root)).await;
    carried_through(&world).await;
    let record = world.rotation().await;
    let phases: Vec<Phase> = record.entered.iter().map(|entry| entry.phase).collect();
    let wanted: Vec<Phase> = Phase::RUNNING.into_iter().chain([Phase::Done]).collect();
    assert_eq!(phases, wanted);
    assert!(
        signers(&world)
            .await
            .iter()
            .all(|it| *it == Provenance::Signer(2))
    );
    for (level, number, wanted) in [
        (Level::Root, 1, Status::Retired),
        (Level::Root, 2, Status::Active),
        (Level::Signer, 1, Status::Retired),
        (Level::Signer, 2, Status::Active),
    ] {
        assert_eq!(status(&world, level, number), wanted);
    }
    let after = leaf(&world, "cluster-1", SecretRole::Client);
    assert_ne!(before.leaf(), after.leaf());
    assert_eq!(after.intermediates().len(), 1);
    // The old keys are gone, the new ones are there.
    let keys = super::oracle::ca_keys(world.home());
    let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["relay-pki-relay-root-g2", "relay-pki-relay-signer-g2"]
    );
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
    assert_eq!(world.plan(&Goal::Reconcile).await.steps, []);
    no_violations(&world);
}

/// What each cluster is written: the bundle comes and goes, a certificate is made once.
#[tokio::test]
async fn no_cluster_is_written_more_often_than_needed() {
    let world = bootstrapped(Document::new(1, 2), "{}").await;
    let certificates = || world.ledger.counts();
    let before = certificates();
    world.begin(&request(Level::Root)).await;
    let mark = world.faults.effects().len();
    carried_through(&world).await;
    let written = |name: &str| {
        let effects = world.faults.effects();
        let of = |effect: &&crate::cluster::fault::Effect| effect.object.name == name;
        let in_one = effects[mark..]
            .iter()
            .filter(|it| it.cluster == "cluster-1");
        in_one.filter(of).count()
    };
    assert_eq!(written("relay-root-tls-secret"), 2);
    // The bundle beside it, the certificate, its chain, the bundle beside it.
    assert_eq!(written("relay-client-tls-secret"), 4);
    let after = certificates();
    for name in ["cluster-1", "cluster-2"] {
        assert_eq!(after[name], before[name] + 1);
    }
    no_violations(&world);
}

#[tokio::test]
async fn a_signer_is_rotated_under_its_root() {
    let world = bootstrapped(Document::new(2, 2), "{}").await;
    world.begin(&request(Level::Signer)).await;
    carried_through(&world).await;
    assert!(
        signers(&world)
            .await
            .iter()
            .all(|it| *it == Provenance::Signer(2))
    );
    assert_eq!(status(&world, Level::Root, 1), Status::Active);
    assert_eq!(status(&world, Level::Signer, 1), Status::Retired);
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
    no_violations(&world);
}

/// Whoever has its chain from a mounted Secret presents the whole one for a while after it was cut.
#[tokio::test]
async fn cut_chains_have_a_soak_time_of_their_own() {
    let world = bootstrapped(Document::new(1, 1), "{}").await;
    world.begin(&request(Level::Root)).await;
    world.reach(&Goal::Rotation).await;
    world.clock.advance(world.relay.rotation.soak);
    world.reach(&Goal::Rotation).await;
    let record = world.rotation().await;
    assert_eq!(record.trimmed, Some(world.clock.now()));
    assert_eq!(record.phase, Phase::Draining);
    let observed = world.observe().await;
    let expected = expected_end(&world.relay, &observed, &record, world.clock.now());
    let over = world.clock.now() + world.relay.rotation.soak;
    assert_eq!(expected, Some(over));
    let [soak] = &waiting(&world).await[..] else {
        panic!("one thing is waited for");
    };
    assert_eq!((soak.cluster.as_deref(), soak.until), (None, Some(over)));
    world.clock.advance(world.relay.rotation.soak);
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
}

#[tokio::test]
async fn another_key_type_is_the_same_rotation() {
    for key in ["ecdsa-p384", "ed25519"] {
        let mut world = bootstrapped(Document::new(1, 1), "{ automatic: true }").await;
        world.document.ca_key = key;
        world.reload();
        world.reach(&Goal::Reconcile).await;
        world.soak(&Goal::Reconcile).await;
        let record = world.rotation().await;
        assert_eq!((record.number, record.phase), (1, Phase::Done));
        let active = records(world.home());
        let active = active.iter().filter(|it| it.status == Status::Active);
        assert!(active.clone().count() == 2);
        assert!(active.clone().all(|it| it.key_type.as_str() == key));
        no_violations(&world);
    }
}

#[tokio::test]
async fn what_is_due_is_reported_and_rotated_only_if_the_document_says_so() {
    for (rotation, rotates) in [("{}", false), ("{ automatic: true }", true)] {
        let world = bootstrapped(Document::new(1, 1), rotation).await;
        for _ in 0..25 {
            hours(&world, 10 * DAY);
            world.reach(&Goal::Reconcile).await;
        }
        let plan = world.plan(&Goal::Reconcile).await;
        let rotations = world.observe().await.journal.rotations;
        let over: Vec<Phase> = rotations.values().map(|it| it.record.phase).collect();
        let wanted = if rotates {
            vec![Phase::Done]
        } else {
            Vec::new()
        };
        assert_eq!((over, plan.rotation.due.is_some()), (wanted, !rotates));
        no_violations(&world);
    }
}

#[tokio::test]
async fn a_missing_cluster_stops_a_safe_rotation_in_every_phase() {
    for phase in &Phase::RUNNING[1..5] {
        let world = bootstrapped(Document::new(1, 2), "{ soak: 0s }").await;
        world.begin(&request(Level::Root)).await;
        until(&world, *phase).await;
        world.faults.set_reachable("cluster-2", false);
        world.run(&Goal::Rotation).await.unwrap();
        hours(&world, 3 * DAY);
        world.run(&Goal::Rotation).await.unwrap();
        let record = world.rotation().await;
        assert_eq!(record.phase, *phase);
        let waiting = waiting(&world).await;
        assert!(
            waiting
                .iter()
                .any(|it| it.missing && it.cluster.as_deref() == Some("cluster-2"))
        );
        world.faults.set_reachable("cluster-2", true);
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, Phase::Done);
        no_violations(&world);
    }
}

/// Without safe mode the window is waited for, then the rotation goes on as far as the missing one can
/// still connect; when it is back, it is brought up to date.
#[tokio::test]
async fn a_missing_cluster_is_passed_by_name_and_kept_able_to_connect() {
    let settings = "{ safeMode: false, safeStartWindow: 90s, soak: 0s }";
    let world = bootstrapped(Document::new(1, 2), settings).await;
    world.faults.set_reachable("cluster-2", false);
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await.unwrap();
    assert_eq!(world.rotation().await.phase, Phase::Preparing);
    for phase in [
        Phase::Publishing,
        Phase::Activating,
        Phase::Reissuing,
        Phase::Draining,
    ] {
        world.clock.advance(SignedDuration::from_secs(91));
        world.run(&Goal::Rotation).await.unwrap();
        assert_eq!(world.rotation().await.phase, phase);
    }
    // Its old certificate may be in use, and it may know the old root alone.
    hours(&world, 5 * DAY);
    world.run(&Goal::Rotation).await.unwrap();
    let record = world.rotation().await;
    assert_eq!((record.phase, record.trimmed), (Phase::Draining, None));
    assert_eq!(record.passed["cluster-2"], Phase::Reissuing);
    no_violations(&world);
    world.faults.set_reachable("cluster-2", true);
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
    assert!(
        signers(&world)
            .await
            .iter()
            .all(|it| *it == Provenance::Signer(2))
    );
    no_violations(&world);
}

/// What it held before is in use for a while, however long the phase has lasted.
#[tokio::test]
async fn a_cluster_that_is_back_soaks_before_anything_is_given_up() {
    let world = bootstrapped(Document::new(1, 2), "{ safeMode: false }").await;
    world.faults.set_reachable("cluster-2", false);
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await.unwrap();
    while world.rotation().await.phase != Phase::Draining {
        world.clock.advance(SignedDuration::from_secs(91));
        world.run(&Goal::Rotation).await.unwrap();
    }
    hours(&world, 1);
    world.faults.set_reachable("cluster-2", true);
    world.run(&Goal::Rotation).await.unwrap();
    let record = world.rotation().await;
    assert_eq!((record.phase, record.trimmed), (Phase::Draining, None));
    world.clock.advance(world.relay.rotation.soak);
    world.run(&Goal::Rotation).await.unwrap();
    assert!(world.rotation().await.trimmed.is_some());
    world.soak(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
    no_violations(&world);
}

#[tokio::test]
async fn a_waived_cluster_is_kept_able_to_connect_until_its_waiver_ends() {
    let world = bootstrapped(Document::new(1, 2), "{ soak: 0s }").await;
    world.faults.set_reachable("cluster-2", false);
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await.unwrap();
    let waive = |days: i64| Steering::Waive {
        cluster: "cluster-2".to_owned(),
        until: world.clock.now() + SignedDuration::from_hours(days * DAY),
        reason: "its machines are moved".to_owned(),
    };
    world.steer(waive(3)).await.unwrap();
    world.run(&Goal::Rotation).await.unwrap();
    let record = world.rotation().await;
    assert_eq!((record.phase, record.trimmed), (Phase::Draining, None));
    assert_eq!(record.waivers["cluster-2"].signature.by, "carol");
    no_violations(&world);
    hours(&world, 3 * DAY);
    world.run(&Goal::Rotation).await.unwrap();
    assert_eq!(world.rotation().await.phase, Phase::Done);
    // Back again, it gets everything, though nobody accepts what it had.
    world.faults.set_reachable("cluster-2", true);
    world.reach(&BOOTSTRAP).await;
    assert!(
        signers(&world)
            .await
            .iter()
            .all(|it| *it == Provenance::Signer(2))
    );
    for refused in [
        Steering::Waive {
            cluster: "mgmt-1".to_owned(),
            until: world.clock.now(),
            reason: String::new(),
        },
        Steering::Pause,
    ] {
        assert!(world.steer(refused).await.is_err());
    }
}

#[tokio::test]
async fn a_rotation_goes_back_from_every_phase() {
    for level in [Level::Root, Level::Signer] {
        for (at, trimmed) in [
            (Phase::Preparing, false),
            (Phase::Publishing, false),
            (Phase::Activating, false),
            (Phase::Reissuing, false),
            (Phase::Draining, false),
            (Phase::Draining, true),
        ] {
            if trimmed && level == Level::Signer {
                continue;
            }
            let mut document = Document::new(2, 2);
            document.clusters[3].server_signed = true;
            let world = bootstrapped(document, "{}").await;
            world.begin(&request(level)).await;
            if at > Phase::Preparing {
                until(&world, at).await;
            }
            if trimmed {
                world.run(&Goal::Rotation).await.unwrap();
                world.clock.advance(world.relay.rotation.soak);
                // The chains of the management clusters are cut, the others' not yet.
                world.faults.set_reachable("cluster-1", false);
                world.round(&Goal::Rotation).await.unwrap();
                world.faults.set_reachable("cluster-1", true);
                world.round(&Goal::Rotation).await.unwrap();
                assert!(world.rotation().await.trimmed.is_some());
            }
            world.steer(Steering::Rollback).await.unwrap();
            world.reach(&Goal::Rotation).await;
            if trimmed {
                // Whoever presents a cut chain still has to get the whole one first.
                assert_eq!(world.rotation().await.phase, Phase::Draining);
                world.clock.advance(world.relay.rotation.soak);
                world.reach(&Goal::Rotation).await;
            }
            let record = world.rotation().await;
            assert_eq!(record.phase, Phase::Rolledback, "from {at}");
            assert!(
                signers(&world)
                    .await
                    .iter()
                    .all(|it| *it == Provenance::Signer(1))
            );
            assert_eq!(status(&world, level, 1), Status::Active);
            assert_eq!(super::oracle::ca_keys(world.home()).len(), 2, "from {at}");
            assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
            no_violations(&world);
            // And once more, forward: numbers only grow.
            world.begin(&request(level)).await;
            carried_through(&world).await;
            let last = records(world.home()).into_iter();
            let last = last.filter(|it| it.level == level && it.status == Status::Active);
            assert!(
                last.map(|it| it.number)
                    .eq([if at == Phase::Preparing { 2 } else { 3 }])
            );
            no_violations(&world);
        }
    }
}

#[tokio::test]
async fn the_key_of_a_root_that_is_not_ours_stays() {
    for back in [true, false] {
        let world = bootstrapped(Document::new(1, 2), "{}").await;
        world.ledger.has_one_root(2);
        world.begin(&request(Level::Root)).await;
        until(&world, Phase::Publishing).await;
        match back {
            true => {
                world.steer(Steering::Rollback).await.unwrap();
                world.reach(&Goal::Rotation).await;
                assert_eq!(world.rotation().await.phase, Phase::Rolledback);
            }
            false => carried_through(&world).await,
        }
        // Both roots' and one signer's.
        let keys = super::oracle::ca_keys(world.home());
        assert_eq!(keys.len(), 3, "{keys:?}");
        assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
        no_violations(&world);
        world.begin(&request(Level::Root)).await;
        match back {
            // To what was taken back there is a way again; to what is in use there is none.
            true => carried_through(&world).await,
            false => {
                let (_, applied) = world.round(&Goal::Rotation).await.unwrap();
                let refused = format!("{:?}", applied.failed);
                assert!(refused.contains("is still"), "{refused}");
            }
        }
        no_violations(&world);
    }
}

#[tokio::test]
async fn once_retiring_there_is_no_way_back() {
    let world = bootstrapped(Document::new(1, 1), "{ soak: 0s }").await;
    world.begin(&request(Level::Root)).await;
    until(&world, Phase::Retiring).await;
    let refusal = world.steer(Steering::Rollback).await.unwrap_err();
    assert!(refusal.what.contains("retiring"), "{refusal}");
}

#[tokio::test]
async fn a_person_lets_it_into_each_phase_by_name() {
    let settings = "{ soak: 0s, approval: manual }";
    let world = bootstrapped(Document::new(1, 1), settings).await;
    world.begin(&request(Level::Root)).await;
    for pair in Phase::RUNNING.windows(2) {
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, pair[0]);
        for phase in Phase::RUNNING {
            if phase != pair[1] {
                let refused = world.steer(Steering::Approve(phase)).await;
                assert!(refused.is_err(), "{phase} while {}", pair[0]);
            }
        }
        world.clock.advance(SignedDuration::from_secs(1));
        world.steer(Steering::Approve(pair[1])).await.unwrap();
    }
    world.reach(&Goal::Rotation).await;
    let record = world.rotation().await;
    assert_eq!(record.phase, Phase::Done);
    assert!(record.approvals.iter().all(|it| it.signature.by == "carol"));
    no_violations(&world);
}

#[tokio::test]
async fn who_pauses_it_stops_it_until_it_is_resumed() {
    let world = bootstrapped(Document::new(1, 1), "{ soak: 0s }").await;
    world.begin(&request(Level::Root)).await;
    until(&world, Phase::Publishing).await;
    world.steer(Steering::Pause).await.unwrap();
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Publishing);
    assert!(waiting(&world).await[0].what.contains("carol"));
    world.steer(Steering::Resume).await.unwrap();
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
}

#[tokio::test]
async fn one_at_a_time_and_the_same_one_goes_on() {
    let world = bootstrapped(Document::new(1, 1), "{}").await;
    world.begin(&request(Level::Root)).await;
    until(&world, Phase::Publishing).await;
    let observed = world.observe().await;
    let begin =
        |level| crate::rotation::begin(&world.relay, &observed, &request(level), world.clock.now());
    assert_eq!(begin(Level::Root), Ok(crate::rotation::Begun::Running(1)));
    let refusal = begin(Level::Signer).unwrap_err();
    assert!(
        refusal
            .what
            .contains("rotation 1 of the root is publishing"),
        "{refusal}"
    );
}

/// A plan from a part of the fleet decides nothing about the whole.
#[tokio::test]
async fn a_part_of_the_fleet_passes_no_gate() {
    let world = bootstrapped(Document::new(1, 2), "{ soak: 0s }").await;
    world.begin(&request(Level::Root)).await;
    until(&world, Phase::Publishing).await;
    let fleet = world.fleet();
    let mut observed = observe(&fleet).await.unwrap();
    let all = plan(&world.relay, &Goal::Reconcile, &observed, world.clock.now());
    observed.clusters.remove("cluster-2");
    let part = plan(&world.relay, &Goal::Reconcile, &observed, world.clock.now());
    let moves = |plan: &crate::engine::Plan| {
        plan.steps
            .iter()
            .any(|step| matches!(step.action, Action::Advance(_)))
    };
    assert!(moves(&all) && !moves(&part));
}

/// Somebody who was away while the rotation went on writes nothing of what an earlier phase wanted.
#[tokio::test]
async fn a_plan_from_an_earlier_phase_is_not_applied() {
    let world = bootstrapped(Document::new(1, 1), "{ soak: 0s }").await;
    world.begin(&request(Level::Root)).await;
    until(&world, Phase::Publishing).await;
    world.delete("cluster-1", SecretRole::Client).await;
    let fleet = world.fleet();
    let late = observe(&fleet).await.unwrap();
    let planned = plan(&world.relay, &BOOTSTRAP, &late, world.clock.now());
    assert_eq!(planned.steps.len(), 1);
    world.steer(Steering::Pause).await.unwrap();
    let applied = Apply::new(&fleet, &late)
        .run(planned, &Cancel::default(), &|_| {})
        .await;
    assert_eq!((applied.done.len(), applied.failed.len()), (0, 1));
    assert!(world.object("cluster-1", SecretRole::Client).is_none());
}

/// Until those that go first are through, the others are not written at all.
#[tokio::test]
async fn canaries_go_first() {
    let world = bootstrapped(Document::new(1, 3), "{}").await;
    let others = || world.stores["cluster-2"].writes() + world.stores["cluster-3"].writes();
    let before = others();
    world
        .begin(&Request {
            canary: vec!["cluster-1".to_owned()],
            ..request(Level::Root)
        })
        .await;
    world.reach(&Goal::Rotation).await;
    let record = world.rotation().await;
    assert_eq!((record.phase, record.widened), (Phase::Draining, None));
    assert_eq!(others(), before);
    assert_eq!(
        leaf(&world, "cluster-1", SecretRole::Client)
            .intermediates()
            .len(),
        2
    );
    no_violations(&world);
    world.clock.advance(world.relay.rotation.soak);
    world.reach(&Goal::Rotation).await;
    assert!(world.rotation().await.widened.is_some());
    world.soak(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
    assert!(
        signers(&world)
            .await
            .iter()
            .all(|it| *it == Provenance::Signer(2))
    );
    no_violations(&world);
}

/// Whoever let those that go first into a phase has not let in the others, however close the two are.
#[tokio::test]
async fn an_approval_is_not_used_for_both_passes() {
    for pause in [0, 1] {
        let settings = "{ soak: 0s, approval: manual }";
        let world = bootstrapped(Document::new(1, 2), settings).await;
        world
            .begin(&Request {
                canary: vec!["cluster-1".to_owned()],
                ..request(Level::Root)
            })
            .await;
        let first = [
            Phase::Publishing,
            Phase::Activating,
            Phase::Reissuing,
            Phase::Draining,
        ];
        let all = [&first[..], &first[..], &[Phase::Retiring]].concat();
        for (n, phase) in all.into_iter().enumerate() {
            world.reach(&Goal::Rotation).await;
            let waiting = waiting(&world).await;
            let said = waiting.first().map(|it| it.what.as_str());
            let wanted = format!("nobody has approved {phase}");
            let right = said.is_some_and(|said| said.starts_with(&wanted));
            assert!(
                right,
                "step {n}, {pause} s apart: {waiting:?}, not {wanted}"
            );
            world.clock.advance(SignedDuration::from_secs(pause));
            world.steer(Steering::Approve(phase)).await.unwrap();
        }
        world.reach(&Goal::Rotation).await;
        let record = world.rotation().await;
        assert_eq!(record.phase, Phase::Done);
        assert_eq!(record.approvals.len(), 5);
        assert_eq!(super::transcript::objection(&world), None);
        no_violations(&world);
    }
}

#[tokio::test]
async fn canaries_go_back() {
    let world = bootstrapped(Document::new(1, 2), "{}").await;
    world
        .begin(&Request {
            canary: vec!["cluster-1".to_owned()],
            ..request(Level::Root)
        })
        .await;
    world.reach(&Goal::Rotation).await;
    world.clock.advance(world.relay.rotation.soak);
    until(&world, Phase::Publishing).await;
    world.steer(Steering::Rollback).await.unwrap();
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Rolledback);
    assert!(
        signers(&world)
            .await
            .iter()
            .all(|it| *it == Provenance::Signer(1))
    );
    no_violations(&world);
}

/// A compromised root is given up at once; whoever asks while a rotation is under way gets that one.
#[tokio::test]
async fn an_emergency_gives_up_the_old_root_at_once() {
    for under_way in [None, Some(Phase::Publishing), Some(Phase::Draining)] {
        let mut world = bootstrapped(Document::new(1, 2), "{}").await;
        // The outage is what was asked for.
        world.oracle = None;
        if let Some(phase) = under_way {
            world.begin(&request(Level::Root)).await;
            until(&world, phase).await;
        }
        world
            .begin(&Request {
                emergency: true,
                ..request(Level::Root)
            })
            .await;
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, Phase::Done, "{under_way:?}");
        assert_eq!(status(&world, Level::Root, 1), Status::Tainted);
        let oracle = super::oracle::Oracle::new(&world);
        oracle.check("all");
        assert_eq!(oracle.violations(), [] as [String; 0]);
        for (cluster, role) in leaves(&world) {
            assert_eq!(leaf(&world, &cluster, role).intermediates().len(), 1);
        }
    }
}

/// With an expired root nobody connects; a rotation leads out of it.
#[tokio::test]
async fn an_expired_root_is_rotated_away() {
    let mut world = bootstrapped(Document::new(1, 1), "{ soak: 0s }").await;
    world.oracle = None;
    hours(&world, 3651 * DAY);
    assert!(!world.plan(&BOOTSTRAP).await.problems.is_empty());
    world.begin(&request(Level::Root)).await;
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
    let signer = records(world.home());
    let signer = signer
        .iter()
        .find(|it| it.level == Level::Signer && it.number == 2);
    assert!(
        matches!(&signer.unwrap().cross, Some(Cross::Impossible(why)) if why.contains("ended"))
    );
    world.reach(&BOOTSTRAP).await;
    let oracle = super::oracle::Oracle::new(&world);
    oracle.check("all");
    assert_eq!(oracle.violations(), [] as [String; 0]);
}

/// The old root runs out in the middle: what is left of it holds nothing up.
#[tokio::test]
async fn the_old_root_may_end_during_the_rotation() {
    let mut world = bootstrapped(Document::new(1, 2), "{ soak: 0s, safeMode: false }").await;
    for days in [3600, 40] {
        hours(&world, days * DAY);
        world.reach(&BOOTSTRAP).await;
    }
    world.begin(&request(Level::Root)).await;
    until(&world, Phase::Draining).await;
    world.faults.set_reachable("cluster-2", false);
    world.oracle = None;
    hours(&world, 11 * DAY);
    world.run(&Goal::Rotation).await.unwrap();
    world.clock.advance(world.relay.rotation.safe_start_window);
    world.run(&Goal::Rotation).await.unwrap();
    assert_eq!(world.rotation().await.phase, Phase::Done);
}

/// A relay server that signs by itself hands both certificates of the signer on.
#[tokio::test]
async fn a_signing_secret_carries_what_its_agents_need() {
    let mut document = Document::new(1, 1);
    document.clusters[1].server_signed = true;
    let world = bootstrapped(document, "{}").await;
    world.begin(&request(Level::Root)).await;
    until(&world, Phase::Draining).await;
    let signing = leaf(&world, "mgmt-1", SecretRole::Signing);
    assert_eq!(signing.certificates().len(), 2);
    assert!(signing.certificates()[0].names_as_issuer(&root(&world, 1)));
    assert!(signing.certificates()[1].names_as_issuer(&root(&world, 2)));
    world.clock.advance(world.relay.rotation.soak);
    world.reach(&Goal::Rotation).await;
    assert_eq!(
        leaf(&world, "mgmt-1", SecretRole::Signing)
            .certificates()
            .len(),
        1
    );
    assert_eq!(world.rotation().await.direction, Direction::Forward);
}

fn root(world: &World, number: u32) -> relay_pki_authority::x509::Certificate {
    let records = records(world.home());
    let mut roots = records.into_iter().filter(|it| it.level == Level::Root);
    roots
        .find(|it| it.number == number)
        .unwrap()
        .certificate
        .unwrap()
}

/// A cluster that can be read but not written keeps the bundle that it had, and the gate shut.
#[tokio::test]
async fn a_bundle_that_is_not_written_keeps_the_gate_shut() {
    let world = bootstrapped(Document::new(1, 2), "{ soak: 0s }").await;
    let mut foreign = world.object("cluster-2", SecretRole::Trust).unwrap();
    let ours = foreign.clone();
    foreign.labels.clear();
    world.stores["cluster-2"].overwrite(foreign);
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await.unwrap();
    assert_eq!(world.rotation().await.phase, Phase::Publishing);
    let waiting = waiting(&world).await;
    assert_eq!(waiting[0].cluster.as_deref(), Some("cluster-2"));
    world.stores["cluster-2"].overwrite(ours);
    world.reach(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
    no_violations(&world);
}

/// A process that was overtaken between looking and writing can still take the old generation out of use,
/// because nobody has written it since. The next look puts it back, and makes no other.
#[tokio::test]
async fn what_a_rotation_left_in_use_stays_in_use() {
    for level in [Level::Root, Level::Signer] {
        let world = bootstrapped(Document::new(1, 1), "{ soak: 0s }").await;
        world.begin(&request(level)).await;
        until(&world, Phase::Activating).await;
        world.steer(Steering::Rollback).await.unwrap();
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, Phase::Rolledback);
        let mut overtaken = records(world.home());
        overtaken.retain(|record| (record.level, record.number) == (level, 1));
        let mut record = overtaken.remove(0);
        record.status = Status::Retiring;
        world.home().overwrite(record.encode("relay"));
        world.reach(&Goal::Reconcile).await;
        assert_eq!(status(&world, level, 1), Status::Active);
        let made = records(world.home());
        assert!(made.iter().all(|record| record.number < 3), "{level}");
        no_violations(&world);
    }
}
