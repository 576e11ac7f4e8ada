//! The parties as processes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use relay_pki_testbed::program;
use rustix::process::{Pid, Signal, kill_process};

use super::kubelet::{Kubelet, MountId};
use crate::party::{Orders, Role};
use crate::support::fleet::{CLIENT, ROOT, SERVER};
use crate::support::stage::{Member, Stage};
use crate::support::tools::go_program;
use crate::support::verifiers::AUTHORITY;

/// How long a party may take to finish what it is at.
const END: Duration = Duration::from_secs(40);

/// The pause of an agent between two connections, in milliseconds.
const PAUSE: u64 = 100;

/// How long the agents hold a connection that do.
const HOLD: u64 = 4_000;

/// Whose TLS it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stack {
    Rustls,
    Go,
    OpenSsl,
}

/// When a party reads what is in its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// For each connection.
    Always,
    /// Its certificate for each connection and its bundle once, as the vendor's server does.
    Certificate,
    /// When it starts.
    Once,
    /// For each connection, which it holds.
    Holding,
}

/// A kind of server or of agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    stack: Stack,
    reads: Reads,
    tls12: bool,
}

impl Kind {
    /// The servers, each of which every agent dials.
    pub(super) const SERVERS: [Self; 3] = [
        Self::server(Stack::Rustls, Reads::Always),
        Self::server(Stack::Go, Reads::Certificate),
        Self::server(Stack::OpenSsl, Reads::Once),
    ];

    const fn server(stack: Stack, reads: Reads) -> Self {
        Self {
            stack,
            reads,
            tls12: false,
        }
    }

    /// The kind of the agent with this number: among twenty-four there is every one.
    pub(super) fn of_agent(number: usize) -> Self {
        Self {
            stack: [Stack::Rustls, Stack::Go, Stack::Rustls, Stack::OpenSsl][number % 4],
            reads: [Reads::Always, Reads::Once, Reads::Holding][number / 4 % 3],
            tls12: number / 12 % 2 == 1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stack = match self.stack {
            Stack::Rustls => "rustls",
            Stack::Go => "go",
            Stack::OpenSsl => "openssl",
        };
        let reads = match self.reads {
            Reads::Always => "reads-always",
            Reads::Certificate => "reads-certificate",
            Reads::Once => "reads-once",
            Reads::Holding => "holds",
        };
        let version = if self.tls12 { "-tls12" } else { "" };
        write!(f, "{stack}-{reads}{version}")
    }
}

/// A party that is to run.
pub(super) struct Party {
    kind: Kind,
    orders: Orders,
    volumes: Vec<MountId>,
    log: PathBuf,
    /// Of a server.
    listener: Option<OwnedFd>,
    running: Option<Child>,
    /// Told to end, and since when.
    ending: Vec<(Child, Instant)>,
    restart: Option<Instant>,
}

impl Party {
    pub(super) fn server(
        kind: Kind,
        stage: &Stage<'_>,
        folder: &Path,
        kubelet: &mut Kubelet,
        listener: TcpListener,
    ) -> Self {
        let (cluster, namespace) = (stage.management().name(), stage.namespace());
        let (id, volume) = kubelet.mount(cluster, namespace, SERVER);
        let name = kind.to_string();
        let orders = Orders {
            role: Role::Server,
            servers: BTreeMap::new(),
            trust: volume.clone(),
            hold: 0,
            ..orders(kind, name, volume, folder)
        };
        Self {
            listener: Some(listener.into()),
            ..Self::new(kind, orders, vec![id], folder)
        }
    }

    pub(super) fn agent(
        kind: Kind,
        number: usize,
        member: &Member<'_>,
        servers: &BTreeMap<String, String>,
        folder: &Path,
        kubelet: &mut Kubelet,
    ) -> Self {
        let (cluster, namespace) = (member.server.name(), &member.namespace);
        let (client, credentials) = kubelet.mount(cluster, namespace, CLIENT);
        let (root, roots) = kubelet.mount(cluster, namespace, ROOT);
        // Both Secrets have a bundle, and there are agents that go by the one or the other.
        let trust = match (number + number / 4) % 2 {
            0 => credentials.clone(),
            _ => roots,
        };
        let orders = Orders {
            servers: servers.clone(),
            trust,
            ..orders(kind, member.name.clone(), credentials, folder)
        };
        Self::new(kind, orders, vec![client, root], folder)
    }

    fn new(kind: Kind, orders: Orders, volumes: Vec<MountId>, folder: &Path) -> Self {
        let log = folder.join(format!("{}.log", orders.name));
        Self {
            kind,
            orders,
            volumes,
            log,
            listener: None,
            running: None,
            ending: Vec::new(),
            restart: None,
        }
    }

    pub(super) fn is_agent(&self) -> bool {
        self.orders.role == Role::Agent
    }

    pub(super) fn volumes(&self) -> &[MountId] {
        &self.volumes
    }

    pub(super) fn reads(&self, volume: MountId) -> bool {
        self.volumes.contains(&volume)
    }

    /// Whether it has to be restarted to see a change.
    pub(super) fn restarts(&self) -> bool {
        !(self.orders.rereads_certificate && self.orders.rereads_trust)
    }

    /// Has it restarted, unless it will be anyway.
    pub(super) fn restart_within(&mut self, delay: Duration) {
        self.restart.get_or_insert(Instant::now() + delay);
    }

    /// Starts it, or its successor if it is time for that, and sees to those that end.
    pub(super) fn attend(&mut self, troubles: &mut Vec<String>) {
        if let Some(running) = &mut self.running
            && let Some(status) = running.try_wait().unwrap()
        {
            self.running = None;
            troubles.push(format!(
                "{} ends with {status}: {}",
                self.orders.name,
                self.said()
            ));
        }
        let due = self.restart.take_if(|due| *due <= Instant::now());
        if self.running.is_none() || due.is_some() {
            // As a Deployment does it: the new one first.
            let before = self.running.replace(self.start());
            if let Some(before) = before {
                terminate(&before);
                self.ending.push((before, Instant::now()));
            }
        }
        let mut ending = std::mem::take(&mut self.ending);
        ending.retain_mut(|(child, since)| {
            let status = child.try_wait().unwrap();
            let hangs = status.is_none() && since.elapsed() > END;
            if hangs {
                let _ = child.kill();
                let _ = child.wait();
            }
            if hangs || status.is_some_and(|status| !status.success()) {
                let how = status.map_or("does not end".to_owned(), |it| format!("ends with {it}"));
                troubles.push(format!("{} {how}: {}", self.orders.name, self.said()));
            }
            status.is_none() && !hangs
        });
        self.ending = ending;
    }

    /// Ends it and waits until everything of it has ended.
    pub(super) fn end(&mut self, troubles: &mut Vec<String>) {
        if let Some(running) = self.running.take() {
            terminate(&running);
            self.ending.push((running, Instant::now()));
        }
        for (mut child, since) in self.ending.drain(..) {
            while child.try_wait().unwrap().is_none() && since.elapsed() < END {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let status = child.wait().unwrap();
            if !status.success() {
                troubles.push(format!("{} ends with {status}", self.orders.name));
            }
        }
    }

    fn start(&self) -> Child {
        let orders = serde_json::to_string(&self.orders).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        match self.kind.stack {
            Stack::Rustls => command.arg(std::env::current_exe().unwrap()).arg("party"),
            Stack::Go => command.arg(go()),
            Stack::OpenSsl => command.arg(program("python")).arg(python()),
        };
        command.arg(orders);
        let input = match &self.listener {
            Some(listener) => Stdio::from(listener.try_clone().unwrap()),
            None => Stdio::null(),
        };
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.unwrap();
        command
            .stdin(input)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // Where the machine has another configuration than most.
            .env("OPENSSL_CONF", "/dev/null");
        command.spawn().expect("setpriv, of util-linux")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn orders(kind: Kind, name: String, credentials: PathBuf, folder: &Path) -> Orders {
    Orders {
        role: Role::Agent,
        authority: AUTHORITY.to_owned(),
        servers: BTreeMap::new(),
        trust: credentials.clone(),
        credentials,
        rereads_certificate: kind.reads != Reads::Once,
        rereads_trust: matches!(kind.reads, Reads::Always | Reads::Holding),
        hold: if kind.reads == Reads::Holding {
            HOLD
        } else {
            0
        },
        pause: PAUSE,
        tls12: kind.tls12,
        records: folder.join("records").join(&name),
        name,
    }
}

fn terminate(child: &Child) {
    // It may have ended by itself, which whoever waits for it sees.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| go_program("party"))
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/party.py")
}
