//! Who could connect to whom: each server's chain against each agent's bundles and the other way round, with
//! what each holds now and with what it held before, because somebody may not have reloaded.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use relay_pki_authority::x509::{
    BundleDigest, Certificate, CertificateChain, Fingerprint, PeerRole, TrustBundle, verify_path,
};
use serde::Serialize;

use super::agents::Agents;
use crate::config::{ClusterSpec, Relay};
use crate::engine::{Held, Observed, TlsState};

/// How many connections were tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshakes {
    /// All of them.
    pub checked: usize,
    /// Those that failed.
    pub failed: usize,
    /// Servers and agents that could not connect when the rehearsal began, in pairs: they are left out.
    pub broken_before: usize,
}

/// A connection that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The cluster of the server.
    pub server: String,
    /// The cluster of the agent.
    pub agent: String,
    /// Who refused whom, and why.
    pub reason: String,
    /// Whether one of them had not reloaded what it was given last.
    pub outdated: bool,
}

/// What one side holds.
#[derive(Clone, Default, PartialEq)]
struct Side {
    chain: Option<CertificateChain>,
    bundles: Vec<TrustBundle>,
}

/// The same now and before it changed last.
#[derive(Default)]
struct Party {
    now: Side,
    before: Option<Side>,
}

impl Party {
    fn take(&mut self, side: Side) {
        if side != self.now {
            self.before = Some(std::mem::replace(&mut self.now, side));
        }
    }

    /// Each state in which it may be met, and whether that is an earlier one.
    fn states(&self) -> impl Iterator<Item = (&Side, bool)> {
        let before = self.before.iter().map(|side| (side, true));
        std::iter::once((&self.now, false)).chain(before)
    }
}

/// Everybody against everybody.
#[derive(Default)]
pub(super) struct Matrix {
    servers: BTreeMap<String, Party>,
    agents: BTreeMap<String, Party>,
    /// Pairs that could not connect in the beginning.
    broken: Option<BTreeSet<(String, String)>>,
    fits: Fits,
    total: Handshakes,
}

impl Matrix {
    /// How many connections were tried so far.
    pub(super) fn total(&self) -> Handshakes {
        self.total
    }

    /// When the first certificate in use ends that is not over yet.
    pub(super) fn first_end(&self, now: Timestamp) -> Option<Timestamp> {
        let parties = self.servers.values().chain(self.agents.values());
        let chains = parties.filter_map(|party| party.now.chain.as_ref());
        let ends = chains.map(|chain| chain.leaf().not_after());
        ends.filter(|end| *end > now).min()
    }

    /// Takes in what everybody holds now, and tries every connection: the failures. The first time, those are
    /// remembered and left out from then on.
    pub(super) fn look(
        &mut self,
        relay: &Relay,
        observed: &Observed,
        agents: &Agents,
        now: Timestamp,
    ) -> Vec<Handshake> {
        self.take(relay, observed, agents);
        let first = self.broken.is_none();
        let broken = self.broken.take().unwrap_or_default();
        self.fits.at(now);
        let mut failed = Vec::new();
        for (server, serves) in &self.servers {
            for (agent, dials) in &self.agents {
                let pair = (server.clone(), agent.clone());
                if broken.contains(&pair) {
                    continue;
                }
                for (serves, late) in serves.states() {
                    for (dials, later) in dials.states() {
                        self.total.checked += 1;
                        if let Err(reason) = meet(&mut self.fits, serves, dials, late || later) {
                            failed.push(Handshake {
                                server: server.clone(),
                                agent: agent.clone(),
                                reason,
                                outdated: late || later,
                            });
                        }
                    }
                }
            }
        }
        if first {
            let pairs = failed.drain(..).map(|it| (it.server, it.agent));
            let pairs: BTreeSet<(String, String)> = pairs.collect();
            self.total.broken_before = pairs.len();
            self.broken = Some(pairs);
        } else {
            self.broken = Some(broken);
        }
        self.total.failed += failed.len();
        failed
    }

    /// A gate was passed: those of whom it wants to see that they use what they hold have reloaded it. Agents
    /// that enrol say so themselves.
    pub(super) fn pass(&mut self, relay: &Relay) {
        let shown = |spec: &ClusterSpec| {
            let mut restarts = relay.rotation.restart.iter();
            !spec.is_in_reach() || restarts.any(|workload| workload.role == spec.role)
        };
        for spec in relay.clusters.iter().filter(|spec| shown(spec)) {
            for parties in [&mut self.servers, &mut self.agents] {
                if let Some(party) = parties.get_mut(spec.name.as_str()) {
                    party.before = None;
                }
            }
        }
    }

    fn take(&mut self, relay: &Relay, observed: &Observed, agents: &Agents) {
        for spec in &relay.clusters {
            let name = spec.name.to_string();
            let Some(Ok(state)) = observed.clusters.get(&name) else {
                continue;
            };
            let trust = state.trust.as_ref();
            let trust = trust.and_then(|held| held.content.as_ref().ok());
            let trust = trust.map(|content| content.bundle.as_ref().clone());
            if state.server.is_some() {
                let side = side(state.server.as_ref(), trust.clone());
                self.servers.entry(name.clone()).or_default().take(side);
            }
            if spec.agent.is_some() {
                let side = side(state.client.as_ref(), trust);
                self.agents.entry(name).or_default().take(side);
            }
        }
        for (name, agent) in agents.iter() {
            let party = self.agents.entry(name.clone()).or_default();
            party.take(Side {
                chain: Some(agent.chain().clone()),
                bundles: vec![agent.bundle().clone()],
            });
        }
    }
}

fn side(held: Option<&Held<TlsState>>, trust: Option<TrustBundle>) -> Side {
    let content = held.and_then(|held| held.content.as_ref().ok());
    let beside = content.map(|content| content.bundle.as_ref().clone());
    let chain = content.and_then(|content| {
        let above = content.above.iter().cloned();
        let all = std::iter::once(content.leaf.clone()).chain(above);
        CertificateChain::new(all.collect()).ok()
    });
    Side {
        chain,
        bundles: beside.into_iter().chain(trust).collect(),
    }
}

/// Chains and bundles that fit at one time.
#[derive(Default)]
struct Fits {
    now: Timestamp,
    known: HashSet<(Vec<Fingerprint>, BundleDigest)>,
}

impl Fits {
    /// At another time others fit.
    fn at(&mut self, now: Timestamp) {
        if now != self.now {
            self.now = now;
            self.known.clear();
        }
    }
}

/// Whether the two connect; who has nothing to show or to go by is not asked.
fn meet(fits: &mut Fits, server: &Side, agent: &Side, outdated: bool) -> Result<(), String> {
    accept(fits, server, agent, PeerRole::Server, outdated)
        .map_err(|reason| format!("the agent refuses the server: {reason}"))?;
    accept(fits, agent, server, PeerRole::Client, outdated)
        .map_err(|reason| format!("the server refuses the agent: {reason}"))
}

fn accept(
    fits: &mut Fits,
    presents: &Side,
    accepts: &Side,
    role: PeerRole,
    outdated: bool,
) -> Result<(), String> {
    let Some(chain) = &presents.chain else {
        return Ok(());
    };
    // What has run out meanwhile would have been renewed.
    if outdated && !chain.leaf().is_valid_at(fits.now) {
        return Ok(());
    }
    let certificates = chain.certificates().iter();
    let fingerprints: Vec<Fingerprint> = certificates.map(Certificate::fingerprint).collect();
    for bundle in &accepts.bundles {
        let pair = (fingerprints.clone(), bundle.digest());
        if !fits.known.contains(&pair) {
            verify_path(chain, bundle, role, fits.now).map_err(|error| error.to_string())?;
            fits.known.insert(pair);
        }
    }
    Ok(())
}
