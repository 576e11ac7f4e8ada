//! What a plan costs the CA backends.

use std::collections::BTreeMap;
use std::fmt;

use relay_pki_authority::{Level, Metering};
use serde::Serialize;

use crate::engine::{Action, Content, Fleet, Step};
use crate::journal::{Journal, RotationRecord, Status};
use crate::rehearsal::Round;
use crate::rotation::wants_cross;

/// What one provider is asked for.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Calls {
    /// Roots that it makes.
    roots: usize,
    /// Signers that it makes.
    signers: usize,
    /// Certificates that it signs for others: leaves, and signers of its roots.
    certificates: usize,
    /// Fewest calls that its backend gets: to log in, to look at what is there and to ask again what
    /// was not ready are not counted.
    at_least: usize,
    /// Whether certificates cost money, quota or storage there.
    counted: bool,
}

impl Calls {
    fn add(&mut self, other: &Self) {
        self.roots += other.roots;
        self.signers += other.signers;
        self.certificates += other.certificates;
        self.at_least += other.at_least;
        self.counted |= other.counted;
    }
}

/// What each provider is asked for in `steps`, with `journal` as it is before them.
pub(super) fn calls(fleet: &Fleet, journal: &Journal, steps: &[Step]) -> BTreeMap<String, Calls> {
    let mut tally = Tally::new(fleet, journal);
    let issuer = tally.issuer(steps);
    for step in steps {
        match &step.action {
            Action::EstablishRoot { provider, .. } => tally.of(provider).roots += 1,
            Action::EstablishSigner {
                provider,
                root,
                cross,
                ..
            } => tally.signer(provider, *root, *cross),
            Action::Put(put) if put.content == Content::Issue => tally.of(issuer).certificates += 1,
            _ => {}
        }
    }
    tally.priced()
}

/// What each provider is asked for in several rounds, each with the records as they are before it.
pub(super) fn calls_of_rounds(fleet: &Fleet, rounds: &[Round]) -> BTreeMap<String, Calls> {
    let mut all: BTreeMap<String, Calls> = BTreeMap::new();
    for round in rounds {
        for (provider, asked) in calls(fleet, &round.journal, &round.steps) {
            all.entry(provider).or_default().add(&asked);
        }
    }
    all
}

/// What each provider is asked for in the whole of a rotation that issues so many `leaves`.
pub(super) fn calls_of_rotation(
    fleet: &Fleet,
    journal: &Journal,
    record: &RotationRecord,
    leaves: usize,
) -> BTreeMap<String, Calls> {
    let mut tally = Tally::new(fleet, journal);
    let relay = &fleet.relay;
    if record.level == Level::Root {
        tally.of(&relay.root.provider).roots += 1;
    }
    let cross = wants_cross(record).then_some(record.roots.from);
    tally.signer(&relay.signer.provider, record.roots.to, cross);
    tally.of(&relay.signer.provider).certificates += leaves;
    tally.priced()
}

/// The one place that counts.
struct Tally<'a> {
    fleet: &'a Fleet,
    journal: &'a Journal,
    all: BTreeMap<String, Calls>,
}

impl<'a> Tally<'a> {
    fn new(fleet: &'a Fleet, journal: &'a Journal) -> Self {
        Self {
            fleet,
            journal,
            all: BTreeMap::new(),
        }
    }

    fn of(&mut self, provider: &str) -> &mut Calls {
        self.all.entry(provider.to_owned()).or_default()
    }

    /// A signer, its certificate, and the one under the root before if that can be had.
    fn signer(&mut self, provider: &str, root: u32, cross: Option<u32>) {
        self.of(provider).signers += 1;
        // A root that is not begun is made where the document says.
        let above = self.holder(Level::Root, root);
        let above = above.unwrap_or(&self.fleet.relay.root.provider);
        self.of(above).certificates += 1;
        let capabilities = self.fleet.providers.get(provider);
        let again = capabilities.is_some_and(|it| it.capabilities().recertifies_signers);
        let old = cross.and_then(|old| self.holder(Level::Root, old));
        if let Some(old) = old.filter(|old| again && !self.fleet.relay.is_offline(old)) {
            self.of(old).certificates += 1;
        }
    }

    /// The provider that has the key of a generation.
    fn holder(&self, level: Level, number: u32) -> Option<&'a str> {
        let kept = self.journal.level(level).get(&number)?;
        kept.record.provider.as_deref()
    }

    /// The provider of the signer that is in use once the CAs of `steps` are as they should be.
    fn issuer(&self, steps: &'a [Step]) -> &'a str {
        let next = steps.iter().rev().find_map(|step| match &step.action {
            Action::EstablishSigner {
                provider,
                activate: true,
                ..
            } => Some(provider.as_str()),
            Action::Transition {
                level: Level::Signer,
                number,
                status: Status::Active,
            } => self.holder(Level::Signer, *number),
            _ => None,
        });
        let active = self.journal.active(Level::Signer);
        next.or_else(|| active?.provider.as_deref())
            .unwrap_or(&self.fleet.relay.signer.provider)
    }

    /// By provider, with the calls that it comes to there.
    fn priced(mut self) -> BTreeMap<String, Calls> {
        for (name, asked) in &mut self.all {
            if let Some(provider) = self.fleet.providers.get(name) {
                let capabilities = provider.capabilities();
                let each = capabilities.calls;
                asked.at_least = asked.roots * each.root
                    + asked.signers * each.signer
                    + asked.certificates * each.certificate;
                asked.counted = capabilities.metering == Metering::Counted;
            }
        }
        self.all
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.roots, "root", "roots"),
            (self.signers, "signer", "signers"),
            (self.certificates, "certificate", "certificates"),
        ];
        let mut separator = "";
        for (count, one, several) in parts {
            if count > 0 {
                let word = if count == 1 { one } else { several };
                write!(f, "{separator}{count} {word}")?;
                separator = ", ";
            }
        }
        match self.at_least {
            0 => f.write_str("; no calls"),
            calls => write!(f, "; {calls} calls or more"),
        }?;
        match self.counted {
            true => f.write_str(", and certificates cost or count"),
            false => Ok(()),
        }
    }
}
