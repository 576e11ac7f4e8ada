//! When the relay fails first, if nobody acts.
//!
//! A handshake between an agent and a server fails as soon as one of them no longer accepts what the
//! other presents. Nothing but the end of a certificate changes that by itself, so the verifiers are
//! asked at each of those ends, in order, and the first at which they refuse is the answer.

#[cfg(test)]
mod tests;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;
use relay_pki_authority::x509::{BundleDigest, Certificate, PeerRole, TrustBundle};

use self::trial::{Presented, Trials};
use crate::config::{ClusterSpec, Relay, Role};
use crate::engine::{ClusterState, Held, LeafSlot, TlsState, leaves};
use crate::journal::Journal;
use crate::relay::{Owner, SecretRole};

/// What can be told of one cluster: for one with an agent, when a handshake of its agent with any
/// server fails first; for another one, when what its server presents leads to no published root.
///
/// The instant is the first second at which it fails. It lies in the past where that second is known,
/// and is the present where it failed for another reason than time. `None` where nothing is known,
/// and where a certificate is still to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Premortem {
    /// If nothing is renewed any more.
    pub automation_stops: Option<Timestamp>,
    /// If renewals go on wherever they are not known to fail: the root is never renewed by itself,
    /// and a cluster in which the last attempt failed, or that cannot be reached, stays as it is.
    pub automation_runs: Option<Timestamp>,
}

/// Predicts the failures of a fleet. `states` is what the clusters held when they were read last,
/// `failing` names those in which nothing can be renewed now.
pub fn premortem(
    relay: &Relay,
    journal: &Journal,
    states: &BTreeMap<&str, &ClusterState>,
    failing: &BTreeSet<String>,
    now: Timestamp,
) -> BTreeMap<String, Premortem> {
    // X.509 knows whole seconds, and so do the verifiers.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let published = journal.published_roots().ok();
    let mut forecast = Forecast {
        future: Future::of(relay, journal, failing),
        published: published.as_ref().map(Bundle::new),
        trials: Trials::new(now),
        now,
    };
    let parties = || {
        relay.clusters.iter().filter_map(|spec| {
            let state = states.get(spec.name.as_str())?;
            let works = !failing.contains(spec.name.as_str());
            Some((spec, *state, works))
        })
    };
    let servers: Vec<Party<'_>> = parties()
        .filter(|(spec, ..)| spec.role == Role::Management)
        .filter_map(|(spec, state, works)| {
            Party::new(relay, journal, spec, state, SecretRole::Server, works)
        })
        .collect();
    parties()
        .map(|(spec, state, works)| {
            let agent = spec
                .agent
                .as_ref()
                .and_then(|_| Party::new(relay, journal, spec, state, SecretRole::Client, works));
            let known = match (&agent, spec.agent.is_some()) {
                (Some(agent), _) => servers
                    .iter()
                    .map(|server| forecast.handshake(server, agent))
                    .reduce(Premortem::or_earlier),
                (None, true) => None,
                (None, false) => servers
                    .iter()
                    .find(|server| server.cluster == spec.name.as_str())
                    .map(|server| forecast.alone(server)),
            };
            (spec.name.to_string(), known.unwrap_or_default())
        })
        .collect()
}

impl Premortem {
    fn or_earlier(self, other: Self) -> Self {
        let earlier = |one: Option<Timestamp>, other: Option<Timestamp>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            automation_stops: earlier(self.automation_stops, other.automation_stops),
            automation_runs: earlier(self.automation_runs, other.automation_runs),
        }
    }
}

/// Roots that somebody accepts.
#[derive(Clone, Copy)]
struct Bundle<'a> {
    anchors: &'a TrustBundle,
    digest: BundleDigest,
}

impl<'a> Bundle<'a> {
    fn new(anchors: &'a TrustBundle) -> Self {
        Self {
            anchors,
            digest: anchors.digest(),
        }
    }
}

/// One side of a handshake.
struct Party<'a> {
    cluster: &'a str,
    role: PeerRole,
    presents: Presents<'a>,
    accepts: Bundle<'a>,
    /// Whether what it accepts is kept up to date.
    kept: bool,
}

/// What one side shows the other.
enum Presents<'a> {
    /// A certificate.
    Chain {
        chain: Presented<'a>,
        renewed: Renewed,
    },
    /// Something that is no certificate.
    Rubbish,
    /// An agent's certificate that relay-pki cannot see: the agent and the server made it.
    Unseen,
}

/// How a certificate is renewed.
#[derive(Clone, Copy)]
enum Renewed {
    /// Not at all.
    Never,
    /// By relay-pki, from then on.
    From(Timestamp),
    /// By the relay server, in its own time, as long as its signer holds.
    ByServer,
}

impl<'a> Party<'a> {
    /// `None` if it is not complete yet: then there is no handshake that could begin to fail.
    fn new(
        relay: &Relay,
        journal: &'a Journal,
        spec: &'a ClusterSpec,
        state: &'a ClusterState,
        role: SecretRole,
        works: bool,
    ) -> Option<Self> {
        let slot = leaves(relay, spec, state).find(|slot| slot.role == role)?;
        let peer = match role {
            SecretRole::Server => PeerRole::Server,
            _ => PeerRole::Client,
        };
        let content = slot.content();
        let trust = state.trust.as_ref();
        let trust = trust.and_then(|held| held.content.as_ref().ok());
        let accepts = content
            .map(|content| (&content.bundle, content.digest))
            .or(trust.map(|trust| (&trust.bundle, trust.digest)));
        let accepts = accepts.map(|(anchors, digest)| Bundle { anchors, digest });
        let owner = match content {
            Some(_) => slot.held.map(|held| &held.owner),
            None => state.trust.as_ref().map(|held| &held.owner),
        };
        let presents = match (slot.held, content) {
            (None, _) if slot.pushed => return None,
            (None, _) => Presents::Unseen,
            (Some(_), None) => Presents::Rubbish,
            (Some(held), Some(content)) => Presents::Chain {
                chain: Presented::new(content, journal, peer),
                renewed: renewed(&slot, held, works),
            },
        };
        Some(Self {
            cluster: spec.name.as_str(),
            role: peer,
            presents,
            accepts: accepts?,
            // What is not ours is left alone.
            kept: works && owner == Some(&Owner::Us),
        })
    }
}

fn renewed(slot: &LeafSlot<'_>, held: &Held<TlsState>, works: bool) -> Renewed {
    match slot.due {
        Some(due) if works && held.owner == Owner::Us => Renewed::From(due),
        None if !slot.pushed => Renewed::ByServer,
        _ => Renewed::Never,
    }
}

/// What renewals come to: where certificates that are still to be made will end.
struct Future<'a> {
    root: Option<&'a Certificate>,
    /// The first second at which whatever is signed until then is refused.
    end: Option<Timestamp>,
}

impl<'a> Future<'a> {
    fn of(relay: &Relay, journal: &'a Journal, failing: &BTreeSet<String>) -> Self {
        let root = journal.active(Level::Root);
        // A root that was taken over without its key certifies no other signer.
        let renews = root.is_some_and(|root| root.provider.is_some())
            && !failing.contains(relay.home().name.as_str());
        let root = root.and_then(|record| record.certificate.as_ref());
        let signer = journal.active(Level::Signer);
        let signer = signer.and_then(|record| record.certificate.as_ref());
        let last = signer.filter(|_| !renews).map(Certificate::not_after);
        let end = root.map(|root| root.not_after());
        Self {
            root,
            end: end
                .map(|end| last.map_or(end, |last| last.min(end)))
                .map(after),
        }
    }
}

/// The first second after an end that is itself included.
fn after(end: Timestamp) -> Timestamp {
    end.saturating_add(SignedDuration::from_secs(1))
        .unwrap_or(end)
}

struct Forecast<'a> {
    future: Future<'a>,
    published: Option<Bundle<'a>>,
    trials: Trials,
    now: Timestamp,
}

impl<'a> Forecast<'a> {
    /// Both directions between a server and an agent.
    fn handshake(&mut self, server: &Party<'a>, agent: &Party<'a>) -> Premortem {
        self.direction(server, agent.accepts, agent.kept)
            .or_earlier(self.direction(agent, server.accepts, server.kept))
    }

    /// A server, whoever asks it.
    fn alone(&mut self, server: &Party<'a>) -> Premortem {
        self.direction(server, self.published.unwrap_or(server.accepts), true)
    }

    /// When somebody who accepts `bundle` no longer accepts what `party` presents. `kept` tells
    /// whether that bundle is kept up to date.
    fn direction(&mut self, party: &Party<'a>, bundle: Bundle<'a>, kept: bool) -> Premortem {
        let (chain, renewed) = match &party.presents {
            Presents::Chain { chain, renewed } => (chain, *renewed),
            Presents::Rubbish => {
                return Premortem {
                    automation_stops: Some(self.now),
                    automation_runs: Some(self.now),
                };
            }
            Presents::Unseen => return Premortem::default(),
        };
        let stops = self.trials.end(chain, party.role, bundle);
        let runs = match stops > self.now {
            true => self.renewed(party, chain, renewed, bundle, kept, stops),
            false => stops,
        };
        Premortem {
            automation_stops: Some(stops),
            automation_runs: Some(runs),
        }
    }

    /// The same, where renewals go on. `stops` is when it fails without them.
    fn renewed(
        &mut self,
        party: &Party<'a>,
        chain: &Presented<'a>,
        renewed: Renewed,
        bundle: Bundle<'a>,
        kept: bool,
        stops: Timestamp,
    ) -> Timestamp {
        // A bundle that is kept up to date becomes the published one.
        let bundle = self.published.filter(|_| kept).unwrap_or(bundle);
        let frozen = match kept {
            true => self.trials.end(chain, party.role, bundle).max(self.now),
            false => stops,
        };
        let (Some(root), Some(end)) = (self.future.root, self.future.end) else {
            return frozen;
        };
        let accepted = bundle.anchors.contains(root);
        match renewed {
            Renewed::From(due) if due < frozen => {
                let due = due.max(self.now);
                match accepted {
                    // From CAs that end by then it gets no other one.
                    _ if end <= after(due) => frozen,
                    true => end,
                    // Renewed, it leads to a root that is not known there.
                    false => due,
                }
            }
            // The relay server signs with what it is given.
            Renewed::ByServer if accepted && kept => end,
            _ => frozen,
        }
    }
}
