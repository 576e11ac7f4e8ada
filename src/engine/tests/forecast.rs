//! What is said of a rotation before it begins and while it is under way, against what comes of it by the
//! fleet's clock; and what is refused because it can never come.

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;

use super::document::Document;
use super::oracle::records;
use super::world::{BOOTSTRAP, World, request};
use crate::clock::Clock as _;
use crate::engine::Goal;
use crate::journal::RotationRecord;
use crate::relay::{SecretRole, secret_names};
use crate::rotation::{
    Begun, Forecast, Phase, Refusal, Request, Steering, begin, expected_end, forecast,
};

async fn bootstrapped(document: Document, rotation: &'static str) -> World {
    let mut document = document;
    document.rotation = rotation;
    let world = World::new(document);
    world.reach(&BOOTSTRAP).await;
    world
}

/// From now on the active root can certify nothing more.
fn out_of_reach(world: &World) {
    let mut root = records(world.home());
    root.retain(|record| record.level == Level::Root);
    let mut root = root.remove(0);
    root.provider = None;
    world.home().overwrite(root.encode("relay"));
}

async fn begun(world: &World, request: &Request) -> Result<RotationRecord, Refusal> {
    let observed = world.observe().await;
    match begin(&world.relay, &observed, request, world.clock.now())? {
        Begun::New(record) => Ok(*record),
        other => panic!("{other:?}"),
    }
}

async fn foretold(world: &World, request: &Request) -> Forecast {
    let record = begun(world, request).await.unwrap();
    let journal = world.observe().await.journal;
    forecast(&world.relay, &journal, &record, world.clock.now())
}

/// Rounds until there is nothing left but to wait; then what is said of the end.
async fn said(world: &World) -> Option<Timestamp> {
    world.reach(&Goal::Rotation).await;
    let observed = world.observe().await;
    let record = observed.journal.rotation()?;
    expected_end(&world.relay, &observed, record, world.clock.now())
}

/// Takes the rotation to its end, waiting for nothing but soak times: what is said of the end on the way.
async fn awaited(world: &World) -> Vec<Timestamp> {
    let mut all = Vec::new();
    while let Some(end) = said(world).await {
        all.push(end);
        let waiting = world.plan(&Goal::Rotation).await.rotation.waiting;
        let until = waiting[0].until.unwrap();
        world.clock.advance(until.duration_since(world.clock.now()));
    }
    all
}

/// How often Secrets of the relay were written that a rotation touches.
fn writes(world: &World) -> usize {
    let effects = world.faults.effects();
    let of_rotation = effects.iter().filter(|effect| {
        let mut names = secret_names(&world.relay, world.spec(&effect.cluster)).into_iter();
        names.any(|(role, name)| role.is_rotated() && name == effect.object.name)
    });
    of_rotation.count()
}

fn all_ways() -> Vec<(Level, bool, Request)> {
    let canary = |level| Request {
        canary: vec!["cluster-1".to_owned()],
        ..request(level)
    };
    let emergency = Request {
        emergency: true,
        ..request(Level::Root)
    };
    vec![
        (Level::Root, false, request(Level::Root)),
        (Level::Root, false, canary(Level::Root)),
        (Level::Root, true, request(Level::Root)),
        (Level::Root, true, canary(Level::Root)),
        (Level::Root, false, emergency),
        (Level::Signer, false, request(Level::Signer)),
        (Level::Signer, false, canary(Level::Signer)),
    ]
}

#[tokio::test]
async fn it_takes_as_long_and_writes_as_much_as_was_said() {
    for (level, strict, request) in all_ways() {
        let mut document = Document::new(1, 3);
        document.clusters[0].agent = true;
        document.clusters[3].server_signed = true;
        let world = bootstrapped(document, "{}").await;
        if strict {
            out_of_reach(&world);
        }
        let what = format!("{level}, strict: {strict}, {request:?}");
        let (foretold, before) = (foretold(&world, &request).await, writes(&world));
        let start = world.clock.now();
        world.begin(&request).await;
        let said = awaited(&world).await;
        let record = world.rotation().await;
        assert_eq!(record.phase, Phase::Done, "{what}");
        let end = record.since();
        assert_eq!(end.duration_since(start), foretold.least, "{what}");
        assert!(said.iter().all(|said| *said == end), "{what}: {said:?}");
        assert_eq!(said.is_empty(), request.emergency, "{what}");
        if request.canary.is_empty() {
            assert_eq!(writes(&world) - before, foretold.writes, "{what}");
        }
    }
}

/// The way back soaks where the way there did.
#[tokio::test]
async fn the_end_of_a_rollback_is_what_was_said() {
    for strict in [false, true] {
        let mut ends = Vec::new();
        for at in &Phase::RUNNING[1..5] {
            let world = bootstrapped(Document::new(1, 2), "{}").await;
            if strict {
                out_of_reach(&world);
            }
            world.begin(&request(Level::Root)).await;
            while world.rotation().await.phase != *at {
                let (plan, applied) = world.round(&Goal::Rotation).await.unwrap();
                if applied.done.is_empty() {
                    let until = plan.rotation.waiting[0].until.unwrap();
                    world.clock.advance(until.duration_since(world.clock.now()));
                }
            }
            world.steer(Steering::Rollback).await.unwrap();
            let start = world.clock.now();
            let said = awaited(&world).await;
            let record = world.rotation().await;
            assert_eq!(record.phase, Phase::Rolledback);
            let end = record.since();
            assert!(said.iter().all(|said| *said == end), "{at}: {said:?}");
            ends.push(end.duration_since(start).as_mins());
        }
        let wanted = if strict { [10, 20, 30, 30] } else { [0; 4] };
        assert_eq!(ends, wanted);
    }
}

/// Whoever got something late soaks from then on.
#[tokio::test]
async fn who_was_away_puts_the_end_off() {
    let world = bootstrapped(Document::new(1, 2), "{ safeMode: false }").await;
    world.faults.set_reachable("cluster-2", false);
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await.unwrap();
    while world.rotation().await.phase != Phase::Draining {
        world.clock.advance(SignedDuration::from_secs(91));
        world.run(&Goal::Rotation).await.unwrap();
    }
    world.clock.advance(SignedDuration::from_hours(1));
    world.faults.set_reachable("cluster-2", true);
    let said = awaited(&world).await;
    let end = world.rotation().await.since();
    assert_eq!(said.len(), 2);
    assert_eq!(said, [end, end]);
}

async fn refusal(world: &World, level: Level) -> String {
    begun(world, &request(level)).await.unwrap_err().to_string()
}

/// Closer to the end of the first root than `days`; what is under it is renewed on the way.
async fn late(world: &World, days: i64) {
    let root = records(world.home());
    let root = root.iter().find(|record| record.level == Level::Root);
    let end = root.unwrap().certificate.as_ref().unwrap().not_after();
    let left = SignedDuration::from_hours(24 * days);
    for days in [40, days] {
        let early = end - SignedDuration::from_hours(24 * days);
        world.clock.advance(early.duration_since(world.clock.now()));
        world.reach(&BOOTSTRAP).await;
    }
    assert_eq!(end.duration_since(world.clock.now()), left);
}

#[tokio::test]
async fn what_cannot_be_met_is_refused() {
    let world = bootstrapped(Document::new(1, 1), "{ soak: 40d }").await;
    let refused = refusal(&world, Level::Root).await;
    assert!(refused.contains("agents.validity"), "{refused}");
    // Two soak times would do, five do not.
    let world = bootstrapped(Document::new(1, 1), "{ soak: 10d }").await;
    assert!(begun(&world, &request(Level::Root)).await.is_ok());
    out_of_reach(&world);
    let refused = refusal(&world, Level::Root).await;
    assert!(refused.contains("agents.validity"), "{refused}");
}

#[tokio::test]
async fn what_ends_before_it_is_given_up_is_refused() {
    let world = bootstrapped(Document::new(1, 1), "{ soak: 4d }").await;
    late(&world, 9).await;
    for level in [Level::Root, Level::Signer] {
        assert!(begun(&world, &request(level)).await.is_ok());
    }
    // One soak time under the root that stays, two until the old one is given up.
    world.clock.advance(SignedDuration::from_hours(24));
    let refused = refusal(&world, Level::Root).await;
    assert!(refused.starts_with("root g1 ends at"), "{refused}");
    assert!(begun(&world, &request(Level::Signer)).await.is_ok());
    world.clock.advance(SignedDuration::from_hours(4 * 24));
    let refused = refusal(&world, Level::Signer).await;
    assert!(refused.contains("rotate root"), "{refused}");
    // Given up at once, it need not live any longer.
    let at_once = Request {
        emergency: true,
        ..request(Level::Root)
    };
    assert!(begun(&world, &at_once).await.is_ok());
    // A strict one needs the old signer until the agents have others.
    out_of_reach(&world);
    let refused = refusal(&world, Level::Root).await;
    assert!(refused.starts_with("signer g"), "{refused}");
    // There is nothing left to be careful of.
    world.clock.advance(SignedDuration::from_hours(4 * 24));
    assert!(begun(&world, &request(Level::Root)).await.is_ok());
    let refused = refusal(&world, Level::Signer).await;
    assert!(refused.contains("rotate root"), "{refused}");
}

/// What cannot begin by itself is said, not forgotten.
#[tokio::test]
async fn one_that_is_due_and_refused_is_told_of() {
    let world = bootstrapped(Document::new(1, 1), "{ soak: 4d, automatic: true }").await;
    late(&world, 8).await;
    let outlook = world.plan(&Goal::Reconcile).await.rotation;
    assert_eq!(outlook.rotation, None);
    let due = outlook.due.unwrap().what;
    assert!(due.contains("cannot begin: root g1 ends at"), "{due}");
}

/// A CA that was there before may live for less than the document says, and settings change: nobody gets
/// anything of one that ends too soon.
#[tokio::test]
async fn no_gate_opens_to_a_ca_that_ends_too_soon() {
    for level in [Level::Root, Level::Signer] {
        let mut world = bootstrapped(Document::new(1, 1), "{}").await;
        world.begin(&request(level)).await;
        world.document.rotation = "{ soak: 400d }";
        world.reload();
        world.reach(&Goal::Rotation).await;
        assert_eq!(world.rotation().await.phase, Phase::Preparing);
        let waiting = world.plan(&Goal::Rotation).await.rotation.waiting;
        assert!(
            waiting[0].what.starts_with("signer g2 ends at"),
            "{waiting:?}"
        );
        match level {
            Level::Root => {
                world.steer(Steering::Rollback).await.unwrap();
                world.reach(&Goal::Rotation).await;
                assert_eq!(world.rotation().await.phase, Phase::Rolledback);
            }
            Level::Signer => {
                world.document.rotation = "{}";
                world.reload();
                world.reach(&Goal::Rotation).await;
                assert_eq!(world.rotation().await.phase, Phase::Draining);
            }
        }
        let held = world.object("cluster-1", SecretRole::Client);
        assert!(held.is_some());
    }
}
