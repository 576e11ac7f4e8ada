//! Restarts of workloads while a root is rotated.

use std::collections::BTreeMap;

use relay_pki_authority::Level;

use super::document::Document;
use super::world::{BOOTSTRAP, World, request};
use crate::cluster::Workloads as _;
use crate::cluster::fault::Fault;
use crate::config::Role;
use crate::engine::{Action, Goal, Plan};
use crate::rotation::{Phase, RESTARTED_FOR, Steering, mark};

const RESTARTS: &str = "{ restart: [\
    { kind: Deployment, name: agent, role: workload }, \
    { kind: Deployment, name: server, role: management }, \
    { kind: StatefulSet, name: collector, role: workload }] }";

/// More rounds than a rotation with restarts takes.
const ROUNDS: usize = 60;

/// Two workload clusters with two workloads each, and a rotation of the root that has just begun.
async fn begun() -> World {
    let mut document = Document::new(1, 2);
    document.rotation = RESTARTS;
    let world = World::new(document);
    world.reach(&BOOTSTRAP).await;
    for spec in &world.relay.clusters {
        for workload in &world.relay.rotation.restart {
            if workload.role == spec.role {
                world.stores[spec.name.as_str()].install(workload);
            }
        }
    }
    world.begin(&request(Level::Root)).await;
    world
}

fn restarts(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter();
    let restart = |action: &Action| match action {
        Action::Restart { workload, .. } => Some(workload.to_string()),
        _ => None,
    };
    steps
        .filter_map(|step| Some(format!("{} {}", step.cluster, restart(&step.action)?)))
        .collect()
}

fn roll_out(world: &World) {
    for store in world.stores.values() {
        store.roll_out();
    }
}

async fn round(world: &World) -> Plan {
    let (plan, applied) = world.round(&Goal::Rotation).await.unwrap();
    assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    plan
}

/// Rounds until there is a restart to do.
async fn first_restarts(world: &World) -> Vec<String> {
    for _ in 0..ROUNDS {
        let restarts = restarts(&round(world).await);
        if !restarts.is_empty() {
            return restarts;
        }
    }
    panic!("nothing is restarted");
}

async fn waits(world: &World) -> Vec<String> {
    let waiting = world.plan(&Goal::Rotation).await.rotation.waiting;
    let text = |cluster: Option<String>, what| format!("{}: {what}", cluster.unwrap_or_default());
    waiting
        .into_iter()
        .map(|waiting| text(waiting.cluster, waiting.what))
        .collect()
}

/// Everything that has to be restarted carries the mark of what its cluster holds.
async fn assert_marked(world: &World) {
    let observed = world.observe().await;
    for spec in &world.relay.clusters {
        let name = spec.name.as_str();
        let mark = mark(spec, observed.clusters[name].as_ref().unwrap());
        for workload in &world.relay.rotation.restart {
            if workload.role == spec.role {
                let found = world.stores[name].rollout(workload).await.unwrap().unwrap();
                assert_eq!(found.annotations[RESTARTED_FOR], mark, "{name} {workload}");
                assert_eq!(found.open, None);
            }
        }
    }
}

#[tokio::test]
async fn servers_first_then_each_workload_once_the_one_before_is_rolled_out() {
    let world = begun().await;
    assert_eq!(first_restarts(&world).await, ["mgmt-1 Deployment/server"]);
    assert_eq!(world.rotation().await.phase, Phase::Publishing);
    // Nothing goes on before it is rolled out, and nothing is done twice.
    let plan = round(&world).await;
    assert_eq!((restarts(&plan), plan.rotation.rolling), (Vec::new(), true));
    let waits = waits(&world).await;
    assert!(
        waits.contains(
            &"mgmt-1: Deployment/server is rolled out: 0 of 1 updated, 1 ready, 1 old".to_owned()
        ),
        "{waits:?}"
    );
    assert!(
        waits.contains(
            &"cluster-1: Deployment/agent still runs with what was there before".to_owned()
        ),
        "{waits:?}"
    );
    for wanted in ["Deployment/agent", "StatefulSet/collector"] {
        roll_out(&world);
        let wanted = ["cluster-1", "cluster-2"].map(|cluster| format!("{cluster} {wanted}"));
        assert_eq!(first_restarts(&world).await, wanted);
        assert_eq!(world.rotation().await.phase, Phase::Publishing);
    }
    // One cluster lags behind: it keeps the gate shut for all.
    world.stores["cluster-1"].roll_out();
    assert_eq!(restarts(&round(&world).await), Vec::<String>::new());
    assert_eq!(world.rotation().await.phase, Phase::Publishing);
    world.stores["cluster-2"].roll_out();
    round(&world).await;
    assert_eq!(world.rotation().await.phase, Phase::Activating);
}

/// Goes on until the rotation is over; how often each workload was restarted.
async fn carried_through(world: &World) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for _ in 0..ROUNDS {
        if world.faults.is_crashed() {
            world.faults.revive();
        }
        match world.round(&Goal::Rotation).await {
            Ok((plan, applied)) => {
                for step in &applied.done {
                    if let Action::Restart { workload, .. } = &step.action {
                        let name = format!("{} {workload}", step.cluster);
                        *tally.entry(name).or_default() += 1;
                    }
                }
                let over = plan.rotation.rotation.is_none();
                if over && !world.faults.is_crashed() {
                    assert_eq!(world.rotation().await.phase, Phase::Done);
                    return tally;
                }
                let soaks = plan.rotation.waiting.iter().all(|it| it.until.is_some());
                if plan.steps.is_empty() && soaks {
                    world.clock.advance(world.relay.rotation.soak);
                }
            }
            Err(error) => assert!(world.faults.is_crashed(), "{error}"),
        }
        roll_out(world);
    }
    panic!("no end to it: {:?}", waits(world).await);
}

/// What is read only at the start is read again whenever it is another: the bundle with both roots, the new
/// certificate, the cut chain and the bundle with the new root.
#[tokio::test]
async fn everything_is_restarted_once_for_each_change() {
    let world = begun().await;
    let tally = carried_through(&world).await;
    assert_eq!(tally.len(), 5);
    assert!(tally.values().all(|count| *count == 4), "{tally:?}");
    assert_marked(&world).await;
}

#[tokio::test]
async fn a_crash_at_any_write_loses_no_restart_and_repeats_none() {
    let whole = begun().await;
    let before = whole.faults.mutations();
    carried_through(&whole).await;
    let writes = whole.stores["cluster-1"].writes();
    for n in before + 1..=whole.faults.mutations() {
        let faults = [Fault::CrashAfter, Fault::Conflict, Fault::LostReply];
        let fault = faults[n % faults.len()];
        let world = begun().await;
        world.faults.plan(n, fault);
        carried_through(&world).await;
        assert_marked(&world).await;
        let written = world.stores["cluster-1"].writes();
        assert_eq!(written, writes, "{fault:?} at {n}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_cannot_be_reached_keeps_the_gate_shut() {
    let world = begun().await;
    let mut relay = world.relay.clone();
    for workload in &mut relay.rotation.restart {
        if workload.role == Role::Management {
            workload.name = "elsewhere".to_owned();
        }
    }
    let world = World { relay, ..world };
    world.run(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Publishing);
    let waits = waits(&world).await;
    assert!(
        waits[0].contains("Deployment/elsewhere is not there; install it"),
        "{waits:?}"
    );
}

/// Clusters whose turn comes later keep running as they are.
#[tokio::test]
async fn clusters_that_do_not_go_first_are_left_alone() {
    let world = begun().await;
    world.steer(Steering::Rollback).await.unwrap();
    for _ in 0..ROUNDS {
        round(&world).await;
        roll_out(&world);
    }
    world
        .begin(&crate::rotation::Request {
            canary: vec!["cluster-1".to_owned()],
            ..request(Level::Root)
        })
        .await;
    let mut restarted = Vec::new();
    while world.rotation().await.phase != Phase::Draining {
        restarted.extend(restarts(&round(&world).await));
        roll_out(&world);
    }
    assert!(restarted.contains(&"cluster-1 Deployment/agent".to_owned()));
    assert!(
        !restarted.iter().any(|it| it.starts_with("cluster-2")),
        "{restarted:?}"
    );
}
