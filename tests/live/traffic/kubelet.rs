//! Brings Secrets into volumes, late, and restarts whoever reads them only once, later.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Lag;
use super::parties::Party;
use super::volume::{Data, Volume};
use super::watch::Seen;
use crate::relay::within;
use crate::support::dice::Dice;

/// How often it looks.
const BEAT: Duration = Duration::from_millis(50);

/// The kubelets of all clusters in one. What it starts ends with its thread.
pub(super) struct Kubelet {
    folder: PathBuf,
    lag: Lag,
    dice: Dice,
    seen: Receiver<Seen>,
    mounts: Vec<Mount>,
    parties: Vec<Party>,
    troubles: Vec<String>,
}

/// A volume with where it comes from.
struct Mount {
    cluster: String,
    namespace: String,
    secret: String,
    volume: Volume,
    /// What is to be shown, and when.
    next: Option<(Data, Instant)>,
}

/// The number of a volume.
pub(super) type MountId = usize;

impl Kubelet {
    pub(super) fn new(folder: &Path, lag: Lag, dice: Dice, seen: Receiver<Seen>) -> Self {
        std::fs::create_dir(folder.join("records")).unwrap();
        Self {
            folder: folder.to_owned(),
            lag,
            dice,
            seen,
            mounts: Vec::new(),
            parties: Vec::new(),
            troubles: Vec::new(),
        }
    }

    /// Makes a volume of a Secret; where it will be.
    pub(super) fn mount(
        &mut self,
        cluster: &str,
        namespace: &str,
        secret: &str,
    ) -> (MountId, PathBuf) {
        let id = self.mounts.len();
        let volume = Volume::new(self.folder.join(format!("volume-{id}")));
        let path = volume.path().to_owned();
        self.mounts.push(Mount {
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            volume,
            next: None,
        });
        (id, path)
    }

    /// Keeps a party running from when its volumes are there.
    pub(super) fn run(&mut self, party: Party) {
        self.parties.push(party);
    }

    /// Works until it is over, and ends everybody in order; what went wrong.
    pub(super) fn work(mut self, over: &AtomicBool) -> Vec<String> {
        while !over.load(Ordering::SeqCst) {
            while let Ok(seen) = self.seen.try_recv() {
                self.take(seen);
            }
            self.show();
            self.attend();
            std::thread::sleep(BEAT);
        }
        // The agents first: nobody dials a server that is gone.
        for agents in [true, false] {
            for party in &mut self.parties {
                if party.is_agent() == agents {
                    party.end(&mut self.troubles);
                }
            }
        }
        self.troubles
    }

    fn take(&mut self, seen: Seen) {
        for mount in &mut self.mounts {
            if mount.cluster != seen.cluster
                || mount.namespace != seen.secret.namespace
                || mount.secret != seen.secret.name
            {
                continue;
            }
            let due = match (&mount.next, mount.volume.shown()) {
                // What a kubelet shows is what is there then, not what it saw first.
                (Some((_, due)), _) => *due,
                (None, Some(shown)) if *shown == seen.secret.data => continue,
                (None, Some(_)) => Instant::now() + within(&mut self.dice, self.lag.volume),
                (None, None) => Instant::now(),
            };
            mount.next = Some((seen.secret.data.clone(), due));
        }
    }

    fn show(&mut self) {
        let now = Instant::now();
        for (id, mount) in self.mounts.iter_mut().enumerate() {
            let Some((data, _)) = mount.next.take_if(|(_, due)| *due <= now) else {
                continue;
            };
            let first = mount.volume.shown().is_none();
            mount.volume.show(data);
            for party in self.parties.iter_mut().filter(|party| party.reads(id)) {
                if !first && party.restarts() {
                    party.restart_within(within(&mut self.dice, self.lag.restart));
                }
            }
        }
    }

    fn attend(&mut self) {
        for party in &mut self.parties {
            let mut volumes = party.volumes().iter().map(|id| &self.mounts[*id].volume);
            let ready = volumes.all(|volume| volume.shown().is_some());
            if ready {
                party.attend(&mut self.troubles);
            }
        }
    }
}
