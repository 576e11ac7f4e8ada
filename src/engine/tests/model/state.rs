//! A fleet in a rotation, as small as can be: what is a certificate in a cluster is a number here.

use std::fmt;

use relay_pki_authority::Level;

use crate::journal::Status;

/// One management cluster and the workload clusters.
pub(super) const CLUSTERS: usize = 3;

/// Everything that there is at one instant.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Number of the records.
    pub(super) records: u32,
    pub(super) keys: Keys,
    pub(super) clusters: [Cluster; CLUSTERS],
    /// The processes that are applying a plan.
    pub(super) flights: [Option<Flight>; 2],
    /// How often somebody may still do what.
    pub(super) left: Left,
}

/// What may still happen, so that there is an end to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Left {
    /// Plans of a second process.
    pub(super) second: u8,
    /// Crashes.
    pub(super) crashes: u8,
    /// Times that a cluster goes out of reach.
    pub(super) losses: u8,
    /// Times that a person stops the rotation.
    pub(super) pauses: u8,
    /// Clusters that a person waives.
    pub(super) waivers: u8,
}

/// The private keys of CAs that are there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Keys(u8);

impl Keys {
    pub(super) const FIRST: Self = Self(0b0101);

    fn bit(level: Level, number: u32) -> u8 {
        match level {
            Level::Root => 1 << (number - 1),
            Level::Signer => 4 << (number - 1),
        }
    }

    pub(super) fn has(self, level: Level, number: u32) -> bool {
        self.0 & Self::bit(level, number) != 0
    }

    pub(super) fn insert(&mut self, level: Level, number: u32) {
        self.0 |= Self::bit(level, number);
    }

    pub(super) fn remove(&mut self, level: Level, number: u32) {
        self.0 &= !Self::bit(level, number);
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = [(Level::Root, "root"), (Level::Signer, "signer")];
        let all = levels
            .into_iter()
            .flat_map(|level| [(level, 1), (level, 2)]);
        let kept = all.filter(|((level, _), number)| self.has(*level, *number));
        f.debug_list()
            .entries(kept.map(|((_, word), number)| format!("{word} g{number}")))
            .finish()
    }
}

/// The records of the management cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Records {
    pub(super) roots: [Option<Gen>; 2],
    pub(super) signers: [Option<Gen>; 2],
    /// Number of the rotation's record.
    pub(super) rotation: Option<u32>,
}

impl Records {
    pub(super) fn level(&self, level: Level) -> &[Option<Gen>; 2] {
        match level {
            Level::Root => &self.roots,
            Level::Signer => &self.signers,
        }
    }

    pub(super) fn generation(&self, level: Level, number: u32) -> Option<Gen> {
        self.level(level)[number as usize - 1]
    }

    pub(super) fn set(&mut self, level: Level, number: u32, generation: Gen) {
        let gens = match level {
            Level::Root => &mut self.roots,
            Level::Signer => &mut self.signers,
        };
        gens[number as usize - 1] = Some(generation);
    }
}

/// A generation's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Gen {
    pub(super) status: Status,
    pub(super) made: bool,
    pub(super) crossed: Crossed,
}

/// Whether a signer has a certificate under the old root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Crossed {
    Unasked,
    Made,
    Impossible,
}

/// A set of roots.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Bundle(pub(super) u8);

impl Bundle {
    pub(super) const FIRST: Self = Self(1);

    pub(super) fn has(self, root: u32) -> bool {
        self.0 & 1 << (root - 1) != 0
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = (1..=2).filter(|root| self.has(*root));
        f.debug_set().entries(roots).finish()
    }
}

/// A leaf with what leads from it to the roots.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Chain {
    pub(super) signer: u8,
    /// Whether the signer's certificate under the old root is in it, before its own.
    pub(super) crossed: bool,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crossed = if self.crossed { "×" } else { "" };
        write!(f, "s{}{crossed}", self.signer)
    }
}

/// A Secret with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tls {
    pub(super) chain: Chain,
    pub(super) bundle: Bundle,
}

/// What lies in the Secrets of one cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) trust: Bundle,
    pub(super) tls: Tls,
}

impl Held {
    pub(super) const FIRST: Self = Self {
        trust: Bundle::FIRST,
        tls: Tls {
            chain: Chain {
                signer: 1,
                crossed: false,
            },
            bundle: Bundle::FIRST,
        },
    };
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tls { chain, bundle } = self.tls;
        write!(f, "{:?} {chain:?} {bundle:?}", self.trust)
    }
}

/// A cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cluster {
    pub(super) held: Held,
    /// What its server or agent may still use of what lay in its Secrets before, by the age of the
    /// write that replaced it.
    pub(super) stale: [Stale; Self::AGES],
    /// Whether it is out of reach.
    pub(super) away: bool,
}

impl Cluster {
    /// After so many steps of the time a write is in use everywhere.
    pub(super) const AGES: usize = 2;

    /// Puts something into its Secrets; what was there is in use for a while.
    pub(super) fn write(&mut self, held: Held) {
        self.stale[0].add(self.held);
        self.held = held;
    }

    /// How many steps of the time ago something was put into its Secrets, as far as that matters.
    pub(super) fn age(&self) -> u8 {
        let mut ages = self.stale.iter();
        let youngest = ages.position(|stale| *stale != Stale::default());
        youngest.unwrap_or(Self::AGES) as u8
    }

    pub(super) fn grow_old(&mut self) {
        self.stale.rotate_right(1);
        self.stale[0] = Stale::default();
    }

    /// Chains that its peers may see.
    pub(super) fn chains(&self) -> impl Iterator<Item = Chain> {
        let bits = self.stale.iter().fold(0, |bits, stale| bits | stale.chains);
        let bits = bits | 1 << chain_bit(self.held.tls.chain);
        (0..8)
            .filter(move |bit| bits & 1 << bit != 0)
            .map(|bit| Chain {
                signer: bit & 3,
                crossed: bit & 4 != 0,
            })
    }

    /// Bundles that it may accept its peers with.
    pub(super) fn bundles(&self) -> impl Iterator<Item = Bundle> {
        let bits = self
            .stale
            .iter()
            .fold(0, |bits, stale| bits | stale.bundles);
        let bits = bits | 1 << self.held.trust.0 | 1 << self.held.tls.bundle.0;
        (1..4).filter(move |bit| bits & 1 << bit != 0).map(Bundle)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let away = if self.away { ", away" } else { "" };
        let (chains, bundles) = (self.chains(), self.bundles());
        let (chains, bundles): (Vec<_>, Vec<_>) = (chains.collect(), bundles.collect());
        write!(f, "{:?} (in use {chains:?} {bundles:?}{away})", self.held)
    }
}

/// Chains and bundles that may still be in use: a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Stale {
    chains: u8,
    bundles: u8,
}

impl Stale {
    fn add(&mut self, held: Held) {
        self.chains |= 1 << chain_bit(held.tls.chain);
        self.bundles |= 1 << held.trust.0 | 1 << held.tls.bundle.0;
    }
}

fn chain_bit(chain: Chain) -> u8 {
    chain.signer | if chain.crossed { 4 } else { 0 }
}

/// A process that is applying a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    /// Number of the plan.
    pub(super) plan: u32,
    /// Steps that are not done, a bit each.
    pub(super) todo: u32,
    /// Number of the records as it knows them.
    pub(super) records: u32,
    /// Objects that somebody else wrote since it looked, a bit each.
    pub(super) changed: u16,
    /// Clusters for which it has looked at the rotation once more, a bit each.
    pub(super) checked: u8,
    /// How long ago it looked.
    pub(super) age: u8,
}
