//! Rotations whose gates open by what agents themselves say and show: real agents, a real server, the real
//! engine.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, PeerRole, TrustBundle, verify_path};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::client::Client;
use super::world::{Replica, SERVER, World};
use crate::agent::{self, Files, Options, Status, Store as _, Tokens};
use crate::clock::{Clock as _, SystemClock};
use crate::cluster::{Cluster, MemoryCluster, ObjectKey};
use crate::config::CredentialSource;
use crate::credential;
use crate::engine::{Apply, Cancel, Goal, observe, plan};
use crate::eventually::until;
use crate::journal::{RotationRecord, Why};
use crate::relay::{self, SecretRole, TlsContent, decode_tls};
use crate::renewal::RenewAt;
use crate::rotation::{Direction, Phase, Request, Steering, Waiting, begin};

struct Agent {
    name: &'static str,
    home: TempDir,
    cancel: Cancel,
    task: Option<JoinHandle<()>>,
}

impl Agent {
    /// Enrolled with a token, which is then gone.
    async fn enrolled(world: &World, replica: &Replica, name: &'static str) -> Self {
        let mut agent = Self {
            name,
            home: tempfile::tempdir().unwrap(),
            cancel: Cancel::default(),
            task: None,
        };
        fs::create_dir(agent.path("agent")).unwrap();
        let roots = world.roots().await.to_pem();
        fs::write(agent.path("agent/ca.crt"), roots).unwrap();
        fs::write(agent.path("token"), world.token(name).await).unwrap();
        agent.wake(replica);
        until(name, async || agent.held().await.usable().is_some()).await;
        fs::remove_file(agent.path("token")).unwrap();
        agent
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn wake(&mut self, replica: &Replica) {
        let home: Arc<dyn Cluster> = Arc::new(MemoryCluster::new("none"));
        let source = CredentialSource::File(self.path("token"));
        let url = format!("https://{}", replica.address);
        self.cancel = Cancel::default();
        let options = Options {
            cluster: self.name.parse().unwrap(),
            server: agent::Server::new(&url, Some(SERVER)).unwrap(),
            store: Arc::new(Files::new(self.path("agent"), false)),
            tokens: Tokens::new(vec![credential::open(&source, &home)]),
            pins: Vec::new(),
            renew_at: RenewAt::DEFAULT,
            poll: Duration::from_millis(200),
            key_type: None,
            workloads: None,
            listen: None,
            clock: Arc::new(SystemClock),
            status: Status::default(),
        };
        let cancel = self.cancel.clone();
        self.task = Some(tokio::spawn(async move {
            agent::run(options, cancel).await.unwrap();
        }));
    }

    async fn sleep(&mut self) {
        self.cancel.cancel();
        self.task.take().unwrap().await.unwrap();
    }

    async fn held(&self) -> agent::Holdings {
        Files::new(self.path("agent"), false).load().await.unwrap()
    }

    async fn own(&self) -> TlsContent {
        self.held().await.usable().unwrap().clone()
    }
}

/// A relay with two agents that enrol.
struct Fleet {
    world: World,
    replica: Replica,
    agents: Vec<Agent>,
}

impl Fleet {
    async fn enrolled(settings: &str) -> Self {
        let world = World::with(&format!("  rotation: {settings}\n")).await;
        let replica = world.replica().await;
        let mut agents = Vec::new();
        for name in ["cluster-1", "cluster-2"] {
            agents.push(Agent::enrolled(&world, &replica, name).await);
        }
        Self {
            world,
            replica,
            agents,
        }
    }

    async fn rotation(&self) -> RotationRecord {
        let observed = observe(&self.world.fleet).await.unwrap();
        let last = observed.journal.rotations.last_key_value();
        last.unwrap().1.record.clone()
    }

    async fn waiting(&self) -> Vec<Waiting> {
        self.waiting_at(self.world.fleet.clock.now()).await
    }

    /// What would be waited for at another time.
    async fn waiting_at(&self, now: Timestamp) -> Vec<Waiting> {
        let fleet = &self.world.fleet;
        let observed = observe(fleet).await.unwrap();
        plan(&fleet.relay, &Goal::Rotation, &observed, now)
            .rotation
            .waiting
    }

    /// Rounds until one cluster alone is waited for, and a while longer.
    async fn waits_for(&self, cluster: &str) {
        let begun = Instant::now();
        let mut seen = 0;
        while seen < 10 {
            let phase = self.rotation().await.phase;
            self.until("the same phase", |record| record.phase == phase)
                .await;
            let waiting = self.waiting().await;
            seen = match asleep(&waiting)[..] == [cluster] {
                true => seen + 1,
                false => 0,
            };
            let late = begun.elapsed() > Duration::from_secs(40);
            assert!(!late, "{waiting:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Rounds until the rotation is as `done` wants it; every party verifies every other one after each.
    async fn until(&self, what: &str, done: impl Fn(&RotationRecord) -> bool) {
        let fleet = &self.world.fleet;
        let begun = Instant::now();
        loop {
            let observed = observe(fleet).await.unwrap();
            let next = plan(&fleet.relay, &Goal::Rotation, &observed, fleet.clock.now());
            let applied = Apply::new(fleet, &observed)
                .run(next, &Cancel::default(), &|_| {})
                .await;
            assert!(applied.failed.is_empty(), "{:?}", applied.failed);
            self.everybody_connects().await;
            if done(&self.rotation().await) {
                return;
            }
            let waiting = self.waiting().await;
            let late = begun.elapsed() > Duration::from_secs(40);
            assert!(!late, "{what}: {waiting:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn everybody_connects(&self) {
        let relay = &self.world.fleet.relay;
        let name = relay::secret_name(relay, relay.home(), SecretRole::Server);
        let found = self
            .world
            .home
            .read(&ObjectKey::secret(name))
            .await
            .unwrap();
        let server = decode_tls(&found.unwrap().object).unwrap();
        let now = SystemClock.now();
        for agent in &self.agents {
            let own = agent.own().await;
            verify_path(&own.chain, &server.bundle, PeerRole::Client, now).unwrap();
            verify_path(&server.chain, &own.bundle, PeerRole::Server, now).unwrap();
        }
    }

    /// Whether everything is on the second generation, or on the first.
    async fn rests_on(&self, root: &Certificate) {
        let bundle = self.world.roots().await;
        assert_eq!(bundle.anchors(), std::slice::from_ref(root));
        let signer = self.world.signer().await;
        for agent in &self.agents {
            let own = agent.own().await;
            assert_eq!(own.bundle, bundle, "{}", agent.name);
            assert_eq!(own.chain.intermediates(), std::slice::from_ref(&signer));
        }
    }
}

fn asleep(waiting: &[Waiting]) -> Vec<&str> {
    let waiting = waiting.iter().filter(|waiting| waiting.missing);
    waiting.filter_map(|it| it.cluster.as_deref()).collect()
}

#[tokio::test]
async fn agents_take_a_new_root_through_all_phases() {
    let fleet = Fleet::enrolled("{ soak: 0s }").await;
    let old = fleet.world.roots().await.anchors()[0].clone();
    fleet.world.begin(Level::Root).await;
    fleet.until("done", |record| record.phase.is_over()).await;
    let record = fleet.rotation().await;
    assert_eq!(record.phase, Phase::Done);
    assert!(record.passed.is_empty(), "{:?}", record.passed);
    let new = fleet.world.roots().await.anchors()[0].clone();
    assert_ne!(new, old);
    fleet.rests_on(&new).await;
}

#[tokio::test]
async fn agents_go_back_to_the_old_root() {
    let fleet = Fleet::enrolled("{ soak: 0s, approval: manual }").await;
    let old = fleet.world.roots().await.anchors()[0].clone();
    fleet.world.begin(Level::Root).await;
    let phases = [
        Phase::Publishing,
        Phase::Activating,
        Phase::Reissuing,
        Phase::Draining,
    ];
    for phase in phases {
        fleet.world.steer(&Steering::Approve(phase)).await;
        let what = phase.to_string();
        fleet.until(&what, |record| record.phase == phase).await;
    }
    fleet.world.steer(&Steering::Rollback).await;
    fleet.until("back", |record| record.phase.is_over()).await;
    let record = fleet.rotation().await;
    assert_eq!(
        (record.phase, record.direction),
        (Phase::Rolledback, Direction::Rollback)
    );
    fleet.rests_on(&old).await;
}

/// An agent that sleeps holds everything up, or is gone on without until it is back.
#[tokio::test]
async fn one_agent_sleeps_through_it_and_comes_back() {
    for safe in [true, false] {
        let settings = format!("{{ soak: 0s, safeMode: {safe}, safeStartWindow: 0s }}");
        let mut fleet = Fleet::enrolled(&settings).await;
        fleet.agents[1].sleep().await;
        fleet.world.begin(Level::Root).await;
        if safe {
            let publishing = |record: &RotationRecord| record.phase == Phase::Publishing;
            fleet.until("publishing", publishing).await;
            fleet.waits_for("cluster-2").await;
            let until = SystemClock.now() + SignedDuration::from_hours(1);
            let waive = Steering::Waive {
                cluster: "cluster-2".to_owned(),
                until,
                reason: "it sleeps".to_owned(),
            };
            fleet.world.steer(&waive).await;
        }
        let draining = |record: &RotationRecord| record.phase == Phase::Draining;
        fleet.until("draining", draining).await;
        fleet.waits_for("cluster-2").await;
        let before = fleet.agents[1].own().await;
        let replica = &fleet.replica;
        fleet.agents[1].wake(replica);
        fleet.until("done", |record| record.phase.is_over()).await;
        assert_eq!(fleet.rotation().await.phase, Phase::Done);
        let new = fleet.world.roots().await.anchors()[0].clone();
        fleet.rests_on(&new).await;
        assert_ne!(fleet.agents[1].own().await.bundle, before.bundle);
    }
}

/// Whose last certificate has ended connects to nobody, and a person has to bring a token. With the shared
/// one, an agent comes back by itself as long as it knows a root.
#[tokio::test]
async fn nothing_is_kept_for_a_certificate_that_has_ended() {
    for (tokens, comes_back) in [("perCluster", false), ("shared", true)] {
        let settings = format!("{{ soak: 0s }}\n  enrolment: {{ tokens: {tokens} }}");
        let mut fleet = Fleet::enrolled(&settings).await;
        fleet.agents[1].sleep().await;
        fleet.world.begin(Level::Root).await;
        let waived = SystemClock.now() + SignedDuration::from_hours(24 * 200);
        let waive = Steering::Waive {
            cluster: "cluster-2".to_owned(),
            until: waived,
            reason: "it sleeps".to_owned(),
        };
        fleet.world.steer(&waive).await;
        let draining = |record: &RotationRecord| record.phase == Phase::Draining;
        fleet.until("draining", draining).await;
        fleet.waits_for("cluster-2").await;
        let ended = fleet.agents[1].own().await.chain.leaf().not_after();
        let over = if comes_back { waived } else { ended };
        let before = fleet.waiting_at(over - SignedDuration::from_secs(1)).await;
        assert_eq!(asleep(&before), ["cluster-2"], "{tokens}");
        assert_eq!(before[0].until, Some(over), "{tokens}");
        assert_eq!(fleet.waiting_at(over).await, [], "{tokens}");
    }
}

/// One that was let in again is one of them.
#[tokio::test]
async fn a_revoked_cluster_is_not_waited_for() {
    let world = World::with("  rotation: { soak: 0s }\n").await;
    let replica = world.replica().await;
    let fleet = Fleet {
        world,
        replica,
        agents: Vec::new(),
    };
    fleet.world.begin(Level::Root).await;
    let publishing = |record: &RotationRecord| record.phase == Phase::Publishing;
    fleet.until("publishing", publishing).await;
    let both = ["cluster-1", "cluster-2"];
    assert_eq!(asleep(&fleet.waiting().await), both);
    let (registry, now) = (fleet.world.registry(), SystemClock.now());
    let revoked = registry.revoke("cluster-1", None, &[], now).await;
    assert!(!revoked.unwrap().before);
    assert_eq!(asleep(&fleet.waiting().await), ["cluster-2"]);
    assert!(registry.lift("cluster-1", now).await.unwrap());
    assert_eq!(asleep(&fleet.waiting().await), both);
}

#[tokio::test]
async fn the_new_root_has_to_be_the_last_to_end() {
    let world = World::with("  root: { validity: 10y }\n").await;
    let shorter = super::world::document("  root: { validity: 5y }\n");
    let observed = observe(&world.fleet).await.unwrap();
    let now = SystemClock.now();
    let request = |emergency| Request {
        level: Level::Root,
        by: "alice".to_owned(),
        why: Why::Requested,
        canary: Vec::new(),
        emergency,
    };
    let refused = begin(&shorter, &observed, &request(false), now).unwrap_err();
    assert!(refused.to_string().contains("root.validity"), "{refused}");
    begin(&shorter, &observed, &request(true), now).unwrap();
    begin(&world.fleet.relay, &observed, &request(false), now).unwrap();
}

/// Whether a client that knows one root connects: with webpki, and with OpenSSL.
async fn connects(replica: &Replica, root: &Certificate) -> bool {
    let bundle = TrustBundle::new([root.clone()]).unwrap();
    let ours = Client::new(replica.address, &bundle);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("root.pem");
    fs::write(&file, root.to_pem()).unwrap();
    let openssl = tokio::process::Command::new("openssl")
        .args([
            "s_client",
            "-verify_return_error",
            "-verify_hostname",
            SERVER,
        ])
        .args(["-servername", SERVER, "-connect"])
        .arg(replica.address.to_string())
        .arg("-CAfile")
        .arg(&file)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    ours.connect().await.is_ok() && openssl.status.success()
}

/// A conforming client takes the newest root of `/cacerts` for the only one, and a late one knows the old root
/// alone (RFC 7030 section 4.1.3).
#[tokio::test]
async fn clients_that_know_one_root_go_on() {
    let fleet = Fleet::enrolled("{ soak: 0s, approval: manual }").await;
    let (world, replica) = (&fleet.world, &fleet.replica);
    let old = world.roots().await.anchors()[0].clone();
    world.begin(Level::Root).await;
    for phase in [Phase::Publishing, Phase::Activating, Phase::Reissuing] {
        world.steer(&Steering::Approve(phase)).await;
        let what = phase.to_string();
        fleet.until(&what, |record| record.phase == phase).await;
        let roots = world.roots().await;
        let new = roots.anchors().iter().find(|root| **root != old).unwrap();
        assert!(new.not_after() > old.not_after());
        let begun = Instant::now();
        while !(connects(replica, &old).await && connects(replica, new).await) {
            let late = begun.elapsed() > Duration::from_secs(20);
            assert!(!late, "{phase}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let client = world.client(replica).await;
        let all = client.get("cacerts").await.unwrap().certificates();
        let certified = |root: &Certificate, by: &Certificate| {
            let key = root.public_key();
            let found = all.iter().filter(|it| it.public_key() == key);
            found.filter(|it| it.is_issued_by(by)).count()
        };
        for (root, by) in [(&old, &old), (new, new), (&old, new), (new, &old)] {
            assert_eq!(certified(root, by), 1, "{phase}");
        }
    }
}
