//! A relay server of each kind and agents of every kind, talking all the time.

mod kubelet;
mod parties;
mod volume;
mod watch;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use relay_pki_testbed::{ApiServer, eventually};
use tempfile::TempDir;

use self::kubelet::Kubelet;
use self::parties::{Kind, Party};
use self::watch::Watch;
use crate::support::dice::Dice;
use crate::support::stage::{Member, Stage};
use crate::tally::Tally;

/// The longest time from a change of a Secret to that of a volume, and from there to the restart of
/// whoever reads it once: staleness is the point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lag {
    pub(crate) volume: Duration,
    pub(crate) restart: Duration,
}

impl Lag {
    /// After this long, everybody goes by what the Secrets hold.
    pub(crate) fn longest(self) -> Duration {
        // What is restarted takes a moment, and so does a busy machine.
        self.volume + self.restart + Duration::from_secs(5)
    }
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            volume: Duration::from_secs(4),
            restart: Duration::from_secs(6),
        }
    }
}

/// Traffic between the members of a stage and their relay servers.
pub(crate) struct Traffic {
    /// Agents, by name.
    agents: BTreeMap<String, String>,
    servers: Vec<String>,
    tally: Tally,
    over: Arc<AtomicBool>,
    kubelet: Option<JoinHandle<Vec<String>>>,
    watches: Vec<Watch>,
    folder: TempDir,
}

impl Traffic {
    /// Starts it; each party comes to life when its Secrets are there.
    pub(crate) fn start(stage: &Stage<'_>, members: &[Member<'_>], lag: Lag, dice: Dice) -> Self {
        let folder = tempfile::Builder::new().prefix("relay-live-").tempdir();
        let folder = folder.unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (tell, seen) = std::sync::mpsc::channel();
        let management = stage.management();
        let clusters = std::iter::once(&management).chain(stage.workloads());
        let watches = clusters
            .map(|server: &&ApiServer| Watch::begin(server, stage.namespace(), tell.clone(), &over))
            .collect();
        let mut kubelet = Kubelet::new(folder.path(), lag, dice, seen);
        let mut servers = BTreeMap::new();
        for kind in Kind::SERVERS {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            servers.insert(kind.to_string(), address);
            let party = Party::server(kind, stage, folder.path(), &mut kubelet, listener);
            kubelet.run(party);
        }
        let mut agents = BTreeMap::new();
        for (number, member) in members.iter().enumerate() {
            let kind = Kind::of_agent(number);
            agents.insert(member.name.clone(), kind.to_string());
            let party = Party::agent(kind, number, member, &servers, folder.path(), &mut kubelet);
            kubelet.run(party);
        }
        let ends = Arc::clone(&over);
        let kubelet = std::thread::spawn(move || kubelet.work(&ends));
        Self {
            tally: Tally::new(records(&folder), agents.clone()),
            agents,
            servers: servers.into_keys().collect(),
            over,
            kubelet: Some(kubelet),
            watches,
            folder,
        }
    }

    /// Waits until each agent has met each server once more; from then on everybody has seen what is
    /// there now or is late as it may be.
    pub(crate) fn wait_everybody_met(&mut self, limit: Duration) {
        let since = now();
        let what = format!(
            "{} agents meet {} servers",
            self.agents.len(),
            self.servers.len()
        );
        eventually(&what, limit, || {
            self.assert_running();
            self.tally.read();
            let mut pairs = self.agents.keys().flat_map(|agent| {
                let servers = self.servers.iter();
                servers.map(move |server| (agent.clone(), server.clone()))
            });
            let missing = pairs.find(|pair| self.tally.last_met(pair) < since);
            missing.is_none().then_some(())
        });
    }

    /// What has happened until now.
    pub(crate) fn tally(&mut self) -> &Tally {
        self.assert_running();
        self.tally.read();
        &self.tally
    }

    fn assert_running(&self) {
        let ended = self.kubelet.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "what keeps the parties running has ended");
    }

    /// Ends it: every party finishes what it is at. What has happened.
    pub(crate) fn end(mut self) -> Tally {
        let troubles = self.stop();
        assert!(troubles.is_empty(), "{troubles:#?}");
        self.tally.read();
        std::mem::replace(
            &mut self.tally,
            Tally::new(records(&self.folder), BTreeMap::new()),
        )
    }

    fn stop(&mut self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        self.watches.clear();
        match self.kubelet.take().map(JoinHandle::join) {
            Some(Ok(troubles)) => troubles,
            Some(Err(_)) => vec!["what keeps the parties running has panicked".to_owned()],
            None => Vec::new(),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Seconds since 1970, as the records have it.
pub(crate) fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

fn records(folder: &TempDir) -> PathBuf {
    folder.path().join("records")
}
