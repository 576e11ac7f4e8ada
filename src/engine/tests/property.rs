//! Random fleets and random histories: whatever happened, bootstrap brings the fleet to rest, and at
//! rest everything that has to hold holds.

use jiff::SignedDuration;
use proptest::prelude::*;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{PeerRole, TrustBundle, verify_path};

use super::document::{ClusterDoc, Document, workload};
use super::oracle::{leaf, leaves, records, secrets};
use super::world::{BOOTSTRAP, World, request, rotate, start};
use crate::clock::Clock as _;
use crate::cluster::fault::Fault;
use crate::config::Role;
use crate::engine::Goal;
use crate::journal::{Scope, Status};
use crate::relay::{CA_CERT, SecretRole, TLS_CERT, TLS_KEY, TOKEN};
use crate::rotation::{Steering, begin};

/// Something that happens to a fleet.
#[derive(Debug, Clone)]
enum Event {
    Bootstrap,
    Rotate(usize),
    /// Begins a rotation in phases, of the root or of the signer.
    Begin(bool),
    Advance,
    Rollback,
    Due,
    Reconcile,
    /// Hours, also backwards, though never before the beginning.
    Clock(i64),
    Delete(usize, usize),
    Corrupt(usize, usize, usize),
    Unreachable(usize),
    Reachable,
    Name(u8),
    Join,
    Leave(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let hours = prop_oneof![
        -72i64..0,
        0i64..48,
        24 * 7..24 * 35i64,
        24 * 60..24 * 150i64
    ];
    prop_oneof![
        3 => Just(Event::Bootstrap),
        4 => (0usize..5).prop_map(Event::Rotate),
        2 => any::<bool>().prop_map(Event::Begin),
        2 => Just(Event::Advance),
        1 => Just(Event::Rollback),
        2 => Just(Event::Due),
        3 => Just(Event::Reconcile),
        3 => hours.prop_map(Event::Clock),
        2 => (any::<usize>(), 0usize..6).prop_map(|(c, r)| Event::Delete(c, r)),
        2 => (any::<usize>(), 0usize..6, 0usize..4).prop_map(|(c, r, e)| Event::Corrupt(c, r, e)),
        1 => any::<usize>().prop_map(Event::Unreachable),
        1 => Just(Event::Reachable),
        1 => (0u8..3).prop_map(Event::Name),
        1 => Just(Event::Join),
        1 => any::<usize>().prop_map(Event::Leave),
    ]
}

fn document() -> impl Strategy<Value = Document> {
    let kinds = prop_oneof![Just("ecdsa-p256"), Just("ed25519")];
    let workloads = prop::collection::vec(any::<bool>(), 0..7);
    let managements = prop::collection::vec((any::<bool>(), any::<bool>()), 1..3);
    (managements, workloads, kinds.clone(), kinds, any::<bool>()).prop_map(
        |(managements, workloads, ca_key, leaf_key, forwarding)| {
            let mut document = Document::new(managements.len(), workloads.len());
            let (first, rest) = document.clusters.split_at_mut(managements.len());
            for (cluster, (agent, server_signed)) in first.iter_mut().zip(managements) {
                cluster.agent = agent;
                cluster.server_signed = agent && server_signed;
            }
            for (cluster, server_signed) in rest.iter_mut().zip(workloads) {
                cluster.server_signed = server_signed;
            }
            (document.ca_key, document.leaf_key) = (ca_key, leaf_key);
            document.forwarding = forwarding;
            document
        },
    )
}

const ROLES: [SecretRole; 6] = [
    SecretRole::Trust,
    SecretRole::IdentityToken,
    SecretRole::ForwardingToken,
    SecretRole::Signing,
    SecretRole::Server,
    SecretRole::Client,
];

struct History {
    world: World,
    requests: u64,
    joined: usize,
    numbers: [u32; 2],
}

impl History {
    async fn happens(&mut self, event: &Event) {
        let home = self.world.relay.home().name.to_string();
        let clusters = self.world.relay.clusters.len();
        let name = |n: usize| self.world.relay.clusters[n % clusters].name.to_string();
        match event {
            Event::Bootstrap => drop(self.world.run(&BOOTSTRAP).await),
            Event::Due => drop(self.world.run(&Goal::Due).await),
            Event::Reconcile => drop(self.world.run(&Goal::Reconcile).await),
            Event::Begin(root) => self.begin(*root).await,
            Event::Advance => drop(self.world.run(&Goal::Rotation).await),
            // Refused where there is nothing to take back, or no way back.
            Event::Rollback => drop(self.world.steer(Steering::Rollback).await),
            Event::Rotate(which) => {
                let scopes = match which {
                    0 => vec![Scope::Agents],
                    1 => vec![Scope::Agent(name(clusters - 1))],
                    2 => vec![Scope::Server],
                    3 => vec![Scope::Tokens],
                    _ => vec![Scope::Agents, Scope::Server],
                };
                // As the command line does: not before there is something to rotate.
                if self
                    .world
                    .plan(&rotate(&scopes))
                    .await
                    .problems
                    .iter()
                    .any(|p| p.cluster == home)
                {
                    return;
                }
                self.requests += 1;
                self.world.rotate(self.requests, &scopes).await;
            }
            Event::Clock(hours) => {
                let now = self.world.clock.now();
                // A root from the future is an outage that bootstrap reports and does not hide.
                let root = records(self.world.home()).into_iter();
                let root = root
                    .filter_map(|record| record.certificate)
                    .find(|ca| ca.is_self_signed());
                let floor = root.map_or(start(), |root| root.not_before());
                let by = SignedDuration::from_hours(*hours).max(floor.duration_since(now));
                self.world.clock.advance(by);
            }
            Event::Delete(cluster, role) => self.world.delete(&name(*cluster), ROLES[*role]).await,
            Event::Corrupt(cluster, role, entry) => {
                let entry = [TLS_CERT, TLS_KEY, CA_CERT, TOKEN][*entry];
                let object = self.world.object(&name(*cluster), ROLES[*role]);
                if object.is_some_and(|object| object.data.contains_key(entry)) {
                    self.world.edit(
                        &name(*cluster),
                        ROLES[*role],
                        entry,
                        b"no longer what it was",
                    );
                }
            }
            Event::Unreachable(cluster) if name(*cluster) != home => {
                self.world.faults.set_reachable(&name(*cluster), false);
            }
            Event::Unreachable(_) => {}
            Event::Reachable => self.reachable(),
            Event::Name(n) => {
                let name = format!("relay-{n}.example.com");
                if !self.world.document.extra_names.contains(&name) {
                    self.world.document.extra_names.push(name);
                }
                self.world.reload();
            }
            Event::Join => {
                self.joined += 1;
                let cluster = workload(&format!("joined-{}", self.joined));
                self.world.document.clusters.push(cluster);
                self.world.reload();
            }
            Event::Leave(cluster) => {
                let leaves = |doc: &ClusterDoc| !doc.management && doc.name == name(*cluster);
                let document = &mut self.world.document;
                document.clusters.retain(|doc| !leaves(doc));
                self.world.reload();
            }
        }
        self.numbers_grow();
    }

    async fn begin(&self, root: bool) {
        let level = if root { Level::Root } else { Level::Signer };
        let (world, asked) = (&self.world, request(level));
        let observed = world.observe().await;
        // As the command line does: not before there is something to rotate, and one at a time.
        if begin(&world.relay, &observed, &asked, world.clock.now()).is_ok() {
            world.begin(&asked).await;
        }
    }

    /// Carries the rotation under way to its end.
    async fn finish(&self) {
        for _ in 0..5 {
            drop(self.world.run(&Goal::Rotation).await);
            self.world.later().await;
        }
        let plan = self.world.plan(&Goal::Rotation).await;
        assert_eq!(plan.rotation.rotation, None, "{:?}", plan.rotation.waiting);
    }

    fn reachable(&self) {
        for cluster in self.world.stores.keys() {
            self.world.faults.set_reachable(cluster, true);
        }
    }

    fn numbers_grow(&mut self) {
        let records = records(self.world.home());
        for (level, before) in [Level::Root, Level::Signer]
            .into_iter()
            .zip(&mut self.numbers)
        {
            let of_level = records.iter().filter(|record| record.level == level);
            let active = of_level
                .clone()
                .filter(|record| record.status == Status::Active);
            assert!(active.clone().count() <= 1);
            let number = active.map(|record| record.number).max().unwrap_or(*before);
            // Going back is what a rollback is for.
            *before = number;
            let all = of_level.map(|record| record.number);
            assert!(number <= all.max().unwrap_or(number));
        }
    }

    /// What holds at rest.
    async fn rests(&self) {
        let world = &self.world;
        let plan = world.plan(&BOOTSTRAP).await;
        assert_eq!((&plan.steps[..], &plan.problems[..]), (&[][..], &[][..]));
        let bundle = |cluster: &str, role| {
            let object = world.object(cluster, role)?;
            Some(TrustBundle::from_pem(object.data[CA_CERT].expose()).unwrap())
        };
        let now = world.clock.now();
        let leaves = leaves(world);
        let specs = world.relay.clusters.iter();
        let wanted = specs.map(|spec| {
            let pushed = spec
                .agent
                .as_ref()
                .is_some_and(|agent| agent.delivery == crate::config::Delivery::Push);
            usize::from(spec.role == Role::Management) + usize::from(pushed)
        });
        assert!(leaves.len() >= wanted.sum());
        for (cluster, role) in &leaves {
            let spec = world.spec(cluster);
            let side = match role {
                SecretRole::Server => PeerRole::Server,
                _ if spec.agent.as_ref().unwrap().delivery == crate::config::Delivery::Push => {
                    PeerRole::Client
                }
                _ => continue,
            };
            let chain = leaf(world, cluster, *role);
            for spec in &world.relay.clusters {
                for role in [SecretRole::Trust, SecretRole::Server, SecretRole::Client] {
                    if let Some(bundle) = bundle(spec.name.as_str(), role) {
                        verify_path(&chain, &bundle, side, now).unwrap();
                    }
                }
            }
        }
        for role in [SecretRole::IdentityToken, SecretRole::ForwardingToken] {
            let clusters = world.relay.clusters.iter();
            let tokens = clusters.map(|spec| world.object(spec.name.as_str(), role));
            let tokens = tokens.map(|object| object.map(|object| object.data[TOKEN].clone()));
            let tokens: Vec<_> = tokens.collect();
            if role == SecretRole::IdentityToken || world.relay.tokens.forwarding {
                assert!(tokens[0].is_some() && tokens.iter().all(|token| token == &tokens[0]));
            }
        }
        let records = records(world.home());
        for level in [Level::Root, Level::Signer] {
            let active = records
                .iter()
                .filter(|record| record.level == level && record.status == Status::Active);
            assert_eq!(active.count(), 1);
        }
        let oracle = super::oracle::Oracle::new(world);
        oracle.check("all");
        let misplaced = oracle.violations();
        let misplaced = misplaced.iter().filter(|what| what.contains("I5"));
        assert_eq!(misplaced.count(), 0);
        let text = format!("{plan:?} {:?}", world.observe().await);
        assert!(secrets(world).iter().all(|secret| !text.contains(secret)));
    }
}

async fn history(document: Document, events: Vec<Event>) {
    let mut history = History {
        world: World::new(document),
        requests: 0,
        joined: 0,
        numbers: [0, 0],
    };
    for event in &events {
        history.happens(event).await;
    }
    history.reachable();
    history.world.reach(&BOOTSTRAP).await;
    history.finish().await;
    history.world.reach(&BOOTSTRAP).await;
    history.numbers_grow();
    history.rests().await;
}

/// How a write goes wrong.
pub(super) const FAULTS: [Fault; 5] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::LostReply,
    Fault::Twice,
    Fault::Conflict,
];

/// Something that happens to a fleet whose Secrets nobody else touches.
#[derive(Debug, Clone)]
pub(super) enum Turn {
    Begin(bool),
    Goal(usize),
    Rollback,
    Waive(usize),
    Minutes(i64),
    Unreachable(usize),
    Reachable,
    /// The n-th write from now goes wrong.
    Fault(usize, Fault),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        2 => any::<bool>().prop_map(Turn::Begin),
        6 => (0usize..4).prop_map(Turn::Goal),
        1 => Just(Turn::Rollback),
        1 => any::<usize>().prop_map(Turn::Waive),
        3 => (0i64..24 * 60).prop_map(Turn::Minutes),
        2 => any::<usize>().prop_map(Turn::Unreachable),
        2 => Just(Turn::Reachable),
        2 => (1usize..12, 0..FAULTS.len()).prop_map(|(n, fault)| Turn::Fault(n, FAULTS[fault])),
    ]
}

/// How far a clock is set back in all: by less than certificates are dated back.
const SET_BACK: SignedDuration = SignedDuration::from_mins(4);

/// What a schedule went through.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Times that a process died.
    pub(super) crashes: usize,
    /// Writes that went wrong, with a crash or otherwise.
    pub(super) faults: usize,
    /// Pairs of a chain and a bundle that were looked at.
    pub(super) handshakes: usize,
}

/// Whatever happens while root and signer are rotated, after each single write every party accepts
/// every other one.
pub(super) async fn rotations(mut document: Document, safe: bool, turns: Vec<Turn>) -> Tally {
    document.rotation = match safe {
        true => "{ soak: 5m }",
        false => "{ soak: 5m, safeMode: false }",
    };
    let history = History {
        world: World::new(document),
        requests: 0,
        joined: 0,
        numbers: [0, 0],
    };
    history.world.reach(&BOOTSTRAP).await;
    let history = History {
        world: history.world.watched(),
        ..history
    };
    let world = &history.world;
    let workloads: Vec<String> = world
        .relay
        .clusters
        .iter()
        .filter(|spec| spec.role == Role::Workload)
        .map(|spec| spec.name.to_string())
        .collect();
    let name = |n: usize| workloads.get(n % workloads.len().max(1)).cloned();
    let mut crashes = 0;
    let mut latest = world.clock.now();
    for turn in &turns {
        crashes += usize::from(world.faults.is_crashed());
        world.faults.revive();
        match turn {
            Turn::Begin(root) => history.begin(*root).await,
            Turn::Goal(n) => {
                let goals = [Goal::Rotation, Goal::Rotation, Goal::Reconcile, Goal::Due];
                drop(world.run(&goals[*n]).await);
            }
            Turn::Rollback => drop(world.steer(Steering::Rollback).await),
            Turn::Waive(n) => {
                if let Some(cluster) = name(*n) {
                    let until = world.clock.now() + SignedDuration::from_hours(24 * 100);
                    let reason = "it is moved".to_owned();
                    let waive = Steering::Waive {
                        cluster,
                        until,
                        reason,
                    };
                    drop(world.steer(waive).await);
                }
            }
            Turn::Minutes(minutes) => {
                let by = SignedDuration::from_mins(*minutes);
                let least = latest.duration_since(world.clock.now()) - SET_BACK;
                world.clock.advance(by.max(least));
                latest = latest.max(world.clock.now());
            }
            Turn::Unreachable(n) => {
                if let Some(name) = name(*n) {
                    world.faults.set_reachable(&name, false);
                }
            }
            Turn::Reachable => history.reachable(),
            Turn::Fault(n, fault) => {
                world.faults.plan(world.faults.mutations() + n, *fault);
            }
        }
    }
    // A crash that is still to come takes its turn, too.
    history.reachable();
    for _ in 0..turns.len() + 5 {
        crashes += usize::from(world.faults.is_crashed());
        world.faults.revive();
        drop(world.run(&Goal::Rotation).await);
        crashes += usize::from(world.faults.is_crashed());
        world.faults.revive();
        world.later().await;
    }
    world.faults.revive();
    assert_eq!(world.observe().await.journal.rotation(), None);
    history.rests().await;
    let oracle = world.oracle.as_ref().unwrap();
    let violations = oracle.violations();
    assert!(violations.is_empty(), "{violations:#?}");
    Tally {
        crashes,
        faults: world.faults.injected(),
        handshakes: oracle.handshakes(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // More with PROPTEST_CASES.
        cases: std::env::var("PROPTEST_CASES").map_or(20, |text| text.parse().unwrap()),
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rotations_lock_nobody_out(
        document in document(),
        safe in any::<bool>(),
        turns in prop::collection::vec(turn(), 4..28),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(rotations(document, safe, turns));
    }

    #[test]
    fn bootstrap_brings_every_fleet_to_rest(
        document in document(),
        events in prop::collection::vec(event(), 0..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(history(document, events));
    }
}
