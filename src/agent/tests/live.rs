//! The whole agent with files, against a server that changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use relay_pki_authority::x509::Certificate;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::ca::{ForgedCa, bundle, cross, root, signer, successor};
use super::server::{NAME, Script, Server};
use crate::agent::{self, Files, Options, Status, Store as _, Tokens};
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::cluster::MemoryCluster;
use crate::config::CredentialSource;
use crate::credential;
use crate::engine::Cancel;
use crate::eventually::until;
use crate::relay::TlsContent;
use crate::renewal::RenewAt;

/// An agent and its directory.
struct Running {
    home: TempDir,
    status: Status,
    cancel: Cancel,
    task: Option<JoinHandle<()>>,
}

struct Wanted<'a> {
    server: &'a Server,
    pins: Vec<String>,
    clock: Arc<dyn Clock>,
}

impl<'a> Wanted<'a> {
    fn of(server: &'a Server) -> Self {
        Self {
            server,
            pins: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }

    fn pinned(mut self, root: &ForgedCa) -> Self {
        self.pins.push(pin(root));
        self
    }
}

fn pin(root: &ForgedCa) -> String {
    format!("sha256:{}", root.certificate.fingerprint())
}

impl Running {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            status: Status::default(),
            cancel: Cancel::default(),
            task: None,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn trust(self, root: &ForgedCa) -> Self {
        let directory = self.path("agent");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("ca.crt"), root.certificate.to_pem()).unwrap();
        self
    }

    fn token(&self, token: &str) {
        fs::write(self.path("token"), format!("{token}\n")).unwrap();
    }

    fn start(&mut self, wanted: Wanted<'_>) {
        let home: Arc<dyn crate::cluster::Cluster> = Arc::new(MemoryCluster::new("none"));
        let source = CredentialSource::File(self.path("token"));
        let address = wanted.server.address;
        let url = format!("https://{address}");
        self.cancel = Cancel::default();
        self.status = Status::default();
        let options = Options {
            cluster: "cluster-1".parse().unwrap(),
            server: agent::Server::new(&url, Some(NAME)).unwrap(),
            store: Arc::new(Files::new(self.path("agent"), false)),
            tokens: Tokens::new(vec![credential::open(&source, &home)]),
            pins: wanted.pins.iter().map(|pin| pin.parse().unwrap()).collect(),
            renew_at: RenewAt::DEFAULT,
            poll: Duration::from_millis(200),
            key_type: None,
            workloads: None,
            listen: None,
            clock: wanted.clock,
            status: self.status.clone(),
        };
        let cancel = self.cancel.clone();
        self.task = Some(tokio::spawn(async move {
            agent::run(options, cancel).await.unwrap();
        }));
    }

    async fn stop(&mut self) {
        self.cancel.cancel();
        let task = self.task.take().unwrap();
        tokio::time::timeout(Duration::from_secs(5), task)
            .await
            .unwrap()
            .unwrap();
    }

    async fn held(&self) -> agent::Holdings {
        Files::new(self.path("agent"), false).load().await.unwrap()
    }

    async fn own(&self) -> TlsContent {
        self.held().await.usable().unwrap().clone()
    }

    async fn ready(&self) {
        until("it is ready", async || self.status.trouble().is_none()).await;
    }

    async fn says(&self, words: &str) {
        let said = || self.status.trouble().unwrap_or_default();
        until(words, async || said().contains(words)).await;
    }
}

async fn count(server: &Server, operation: &str, status: u16, wanted: usize) {
    let what = format!("{wanted} x {operation} {status}");
    let found = || {
        let asked = server.asked();
        let these = asked.iter().filter(|asked| asked.operation == operation);
        these.filter(|asked| asked.status == status).count()
    };
    until(&what, async || found() >= wanted).await;
}

fn ca() -> (ForgedCa, ForgedCa) {
    let root = root("relay root");
    let signer = signer(&root, "relay signer 1");
    (root, signer)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn enrols_with_the_root_it_was_given_and_asks_cheaply_afterwards() {
    let (root, signer) = ca();
    let server = Server::start(Script {
        pending: 1,
        ..Script::of(&root, &signer)
    })
    .await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    let own = agent.own().await;
    assert_eq!(own.bundle, bundle(&[&root]));
    assert_eq!(own.chain.certificates().len(), 2);
    // The type of key is what the server asks for.
    assert_eq!(own.key.key_type().unwrap().as_str(), "ecdsa-p384");
    let directory = agent.path("agent");
    assert_eq!(mode(&directory.join("tls.key")), 0o600);
    // With its certificate it says which bundle it holds, and asks cheaply.
    let tag = server.tag();
    let acknowledged = || {
        let asked = server.asked();
        let known = asked
            .iter()
            .filter(|asked| asked.known && asked.status == 304);
        known
            .filter(|asked| asked.held.as_deref() == Some(&tag))
            .count()
    };
    until("it says what it holds", async || acknowledged() >= 3).await;
    // Not yet, and then the same key again.
    let asked = server.asked();
    let keys: Vec<_> = asked.iter().filter_map(|asked| asked.key.clone()).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1]);
    assert!(server.connections() <= 4, "{}", server.connections());
    agent.stop().await;
    // Started again it has all it needs; the token is gone.
    fs::remove_file(agent.path("token")).unwrap();
    let enrolments = server.authorizations();
    agent.start(Wanted::of(&server));
    agent.ready().await;
    assert_eq!(server.authorizations(), enrolments);
    assert_eq!(agent.own().await.chain, own.chain);
    agent.stop().await;
}

#[tokio::test]
async fn renews_with_a_new_key_before_the_end() {
    let (root, signer) = ca();
    let server = Server::start(Script {
        lifetime: SignedDuration::from_secs(12),
        ..Script::of(&root, &signer)
    })
    .await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    let first = agent.own().await;
    count(&server, "simplereenroll", 200, 1).await;
    until("the new one is there", async || {
        let pem = fs::read(agent.path("agent/tls.crt")).unwrap();
        pem != first.chain.to_pem().into_bytes()
    })
    .await;
    let second = agent.own().await;
    assert_ne!(first.key.public_key(), second.key.public_key());
    assert_eq!(server.authorizations(), 1);
    // One generation is left.
    let generations = || {
        let entries = fs::read_dir(agent.path("agent")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with(".generation-"))
            .count()
    };
    until("the old one is gone", async || generations() == 1).await;
    agent.stop().await;
}

#[tokio::test]
async fn follows_a_rotation_through_all_phases() {
    let (old, old_signer) = ca();
    let new = successor("relay root");
    let new_signer = signer(&new, "relay signer 2");
    let steady = Script::of(&old, &old_signer);
    let server = Server::start(steady.clone()).await;
    let mut agent = Running::new().trust(&old);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    count(&server, "cacerts", 304, 2).await;
    let acknowledges = |script: &Script| {
        let (tag, asked) = (script.tag(), server.asked());
        let last = asked.iter().rfind(|asked| asked.status == 304);
        last.is_some_and(|asked| asked.known && asked.held.as_deref() == Some(tag.as_str()))
    };
    // Published: both roots, and what the new signer will present.
    let mut publishing = steady.overlapping(&new);
    let crossed = cross(&old, &new_signer);
    let announced = [new_signer.certificate.clone(), crossed.clone()];
    publishing.others.extend(announced);
    server.script(publishing.clone());
    until("both are acknowledged", async || acknowledges(&publishing)).await;
    assert_eq!(agent.own().await.bundle, bundle(&[&old, &new]));
    count(&server, "simplereenroll", 200, 0).await;
    // Reissuing: a certificate is to be of the new signer, though the old one is still taken.
    let mut reissuing = publishing.clone();
    let kept = &mut reissuing.others;
    kept.retain(|other| *other != new_signer.certificate);
    kept.push(old_signer.certificate.clone());
    reissuing.signer = new_signer.clone();
    reissuing.own = new_signer.clone();
    reissuing.wants_renewal = true;
    server.script(reissuing.clone());
    count(&server, "simplereenroll", 200, 1).await;
    until("its chain is acknowledged", async || {
        let pem = fs::read(agent.path("agent/tls.crt")).unwrap();
        let held = Certificate::list_from_pem(&pem).unwrap();
        held[0].is_issued_by(&new_signer.certificate) && acknowledges(&reissuing)
    })
    .await;
    let leads = |own: &TlsContent| own.chain.intermediates().to_vec();
    let whole = agent.own().await;
    assert_eq!(
        leads(&whole),
        [crossed.clone(), new_signer.certificate.clone()]
    );
    // Cut: no more certificates of the old root are presented.
    let mut cut = reissuing.clone();
    cut.others.retain(|other| *other != crossed);
    server.script(cut.clone());
    until("the cut chain is acknowledged", async || acknowledges(&cut)).await;
    let own = agent.own().await;
    assert_eq!(leads(&own), std::slice::from_ref(&new_signer.certificate));
    assert_eq!(own.chain.leaf(), whole.chain.leaf());
    assert_eq!(own.bundle, bundle(&[&old, &new]));
    count(&server, "simplereenroll", 200, 1).await;
    // Retired: the new root alone.
    let retired = Script::of(&new, &new_signer);
    server.script(retired.clone());
    until("the new one is acknowledged", async || {
        acknowledges(&retired)
    })
    .await;
    let own = agent.own().await;
    assert!(own.chain.leaf().is_issued_by(&new_signer.certificate));
    assert_eq!(own.bundle, bundle(&[&new]));
    assert_eq!(server.authorizations(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_bundle_that_makes_no_sense_is_not_taken() {
    let (old, old_signer) = ca();
    let server = Server::start(Script::of(&old, &old_signer)).await;
    let mut agent = Running::new().trust(&old);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    let own = agent.own().await;
    // The server shows a certificate under the old root and gives out another.
    let stranger = root("relay root");
    server.script(Script {
        own: old_signer.clone(),
        roots: vec![stranger.clone()],
        others: vec![cross(&old, &stranger)],
        ..Script::of(&stranger, &signer(&stranger, "relay signer 1"))
    });
    let before = server.asked().len();
    until("it was asked", async || server.asked().len() > before + 2).await;
    assert_eq!(agent.own().await.bundle, own.bundle);
    server.script(Script::of(&old, &old_signer));
    count(&server, "cacerts", 304, 4).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_wrong_token_is_said_and_a_new_one_taken() {
    let (root, signer) = ca();
    let server = Server::start(Script::of(&root, &signer)).await;
    let mut agent = Running::new().trust(&root);
    agent.start(Wanted::of(&server));
    agent
        .says("there is no token; run `relay-pki token create cluster-1`")
        .await;
    agent.token("wrong-token");
    agent
        .says("the server does not take the token; run `relay-pki token create cluster-1`")
        .await;
    // It is not tried over and over.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(server.authorizations(), 1);
    agent.token("first-token");
    agent.ready().await;
    assert_eq!(server.authorizations(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_is_away_comes_back() {
    let (root, signer) = ca();
    let server = Server::start(Script::of(&root, &signer)).await;
    server.change(|script| *script = None);
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(agent.held().await.identity.is_none());
    assert!(agent.held().await.trust.is_some());
    server.script(Script::of(&root, &signer));
    agent.ready().await;
    agent.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_needs_a_token_and_gets_it() {
    let (root, signer) = ca();
    let server = Server::start(Script {
        lifetime: SignedDuration::from_secs(2),
        ..Script::of(&root, &signer)
    })
    .await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    agent.stop().await;
    fs::remove_file(agent.path("token")).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.script(Script {
        token: "second-token".to_owned(),
        ..Script::of(&root, &signer)
    });
    agent.start(Wanted::of(&server));
    agent.says("the certificate ended at").await;
    // It still hears of roots.
    count(&server, "cacerts", 304, 2).await;
    agent.token("second-token");
    agent.ready().await;
    assert_eq!(server.authorizations(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_revoked_certificate_waits_for_a_token() {
    let (root, signer) = ca();
    let server = Server::start(Script {
        lifetime: SignedDuration::from_secs(20),
        ..Script::of(&root, &signer)
    })
    .await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    fs::remove_file(agent.path("token")).unwrap();
    let pem = fs::read(agent.path("agent/tls.crt")).unwrap();
    server.change(|script| {
        let script = script.as_mut().unwrap();
        (script.revoked, script.token) = (true, "second-token".to_owned());
    });
    agent
        .says("the server does not take the certificate any more")
        .await;
    // What it has stays.
    assert_eq!(fs::read(agent.path("agent/tls.crt")).unwrap(), pem);
    agent.token("second-token");
    agent.ready().await;
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_hangs_up_on_the_certificate_means_that() {
    let (root, signer) = ca();
    let server = Server::start(Script::of(&root, &signer)).await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    agent.stop().await;
    fs::remove_file(agent.path("token")).unwrap();
    server.change(|script| script.as_mut().unwrap().hangs_up = true);
    agent.start(Wanted::of(&server));
    agent
        .says("the server does not take the certificate any more")
        .await;
    // It hears of roots all the same.
    let strangers = || {
        let asked = server.asked();
        asked
            .iter()
            .filter(|asked| asked.status == 304 && !asked.known)
            .count()
    };
    let before = strangers();
    until("it asks without", async || strangers() > before + 1).await;
    server.change(|script| script.as_mut().unwrap().hangs_up = false);
    agent.token("first-token");
    agent.ready().await;
    assert_eq!(server.authorizations(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn the_pinned_root_begins_trust() {
    let (root, signer) = ca();
    let server = Server::start(Script::of(&root, &signer)).await;
    let mut agent = Running::new();
    agent.token("first-token");
    agent.start(Wanted::of(&server).pinned(&root));
    agent.ready().await;
    assert_eq!(agent.own().await.bundle, bundle(&[&root]));
    assert_eq!(server.asked()[0].operation, "cacerts");
    assert!(!server.asked()[0].known);
    agent.stop().await;
}

#[tokio::test]
async fn a_man_in_the_middle_gets_no_token() {
    let (root, _) = ca();
    let (stranger, stranger_signer) = ca();
    // One gives out roots of its own; the other the real one beside it, which is no secret, but has no
    // certificate under it.
    for roots in [vec![stranger.clone()], vec![root.clone(), stranger.clone()]] {
        let server = Server::start(Script {
            roots,
            ..Script::of(&stranger, &stranger_signer)
        })
        .await;
        let mut agent = Running::new();
        agent.token("first-token");
        agent.start(Wanted::of(&server).pinned(&root));
        count(&server, "cacerts", 200, 2).await;
        agent.says("there is nothing to trust the server by").await;
        agent.stop().await;
        assert_eq!(server.authorizations(), 0);
        assert!(
            server
                .asked()
                .iter()
                .all(|asked| asked.operation == "cacerts")
        );
        assert!(agent.held().await.trust.is_none());
    }
    // Nor does one whose roots are not those that are held.
    let server = Server::start(Script::of(&stranger, &stranger_signer)).await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.says("start the agent with --trust-fingerprint").await;
    agent
        .says("relay-pki cluster register cluster-1 --delivery enroll")
        .await;
    agent.stop().await;
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn two_rotations_while_it_was_away() {
    let (first, first_signer) = ca();
    let (third, third_signer) = ca();
    for by_pin in [true, false] {
        let server = Server::start(Script::of(&first, &first_signer)).await;
        let mut agent = Running::new().trust(&first);
        agent.token("first-token");
        agent.start(Wanted::of(&server).pinned(&first));
        agent.ready().await;
        agent.stop().await;
        server.script(Script {
            token: "second-token".to_owned(),
            ..Script::of(&third, &third_signer)
        });
        // What it was installed with is pinned still, and is of no more use.
        agent.start(Wanted::of(&server).pinned(&first));
        agent
            .says("the roots that are held do not vouch for the server")
            .await;
        let kept = agent.own().await;
        assert_eq!(kept.bundle, bundle(&[&first]));
        if by_pin {
            agent.stop().await;
            agent.start(Wanted::of(&server).pinned(&third));
        } else {
            let file = agent.path("agent/ca.crt");
            fs::write(file, third.certificate.to_pem()).unwrap();
        }
        agent.says("relay-pki token create cluster-1").await;
        agent.token("second-token");
        agent.ready().await;
        let own = agent.own().await;
        assert_eq!(own.bundle, bundle(&[&third]));
        assert!(own.chain.leaf().is_issued_by(&third_signer.certificate));
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_is_far_ahead_spends_no_token() {
    let (root, signer) = ca();
    let server = Server::start(Script::of(&root, &signer)).await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    agent.start(Wanted::of(&server));
    agent.ready().await;
    agent.stop().await;
    let own = agent.own().await;
    // By this clock the certificate ended long ago.
    let clock = ManualClock::new(SystemClock.now() + SignedDuration::from_hours(24 * 40));
    let wanted = Wanted {
        clock: Arc::new(clock),
        ..Wanted::of(&server)
    };
    agent.start(wanted);
    agent.ready().await;
    count(&server, "cacerts", 304, 3).await;
    assert_eq!(server.authorizations(), 1);
    assert_eq!(agent.own().await.chain, own.chain);
    let metrics = agent.status.text().unwrap();
    assert!(
        metrics.contains("relay_pki_agent_clock_ahead_seconds -34"),
        "{metrics}"
    );
    agent.stop().await;
}

#[tokio::test]
async fn files_of_others_are_left_alone() {
    let (root, signer) = ca();
    let server = Server::start(Script::of(&root, &signer)).await;
    let mut agent = Running::new().trust(&root);
    agent.token("first-token");
    fs::write(agent.path("agent/tls.key"), "somebody's").unwrap();
    agent.start(Wanted::of(&server));
    agent.says("start it with --adopt").await;
    agent.stop().await;
    assert_eq!(server.authorizations(), 0);
    assert_eq!(
        fs::read(agent.path("agent/tls.key")).unwrap(),
        b"somebody's"
    );
}
