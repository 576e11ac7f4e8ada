//! R06: the shared secrets for an agent's first contact.

use jiff::{SignedDuration, Timestamp};

use super::code;
use super::finding::{Place, Sink};
use super::inventory::{ClusterFacts, Inventory, Part, Secret, Token};
use crate::config::{Relay, Role};
use crate::journal::{Journal, Scope};
use crate::relay::{Owner, SecretRole};
use crate::wording::duration;

/// Fewer characters than this can be guessed.
const LENGTH: usize = 16;
/// How long a token may be in use.
const AGE: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Every token, and whether they are the same everywhere.
pub(super) fn check(sink: &mut Sink, relay: &Relay, inventory: &Inventory, now: Timestamp) {
    let home = relay.home().name.as_str();
    let reference = |role| reference(inventory, home, role);
    let identity = reference(SecretRole::IdentityToken);
    let forwarding = reference(SecretRole::ForwardingToken);
    for facts in &inventory.clusters {
        for (role, secret) in facts.tokens() {
            let place = place(facts, secret);
            let name = &secret.about.name;
            let there = sink.ensure(code::R0603, place, !secret.content.is_absent(), || {
                format!("{name} holds no token")
            });
            let Some(token) = secret.content.here().filter(|_| there) else {
                continue;
            };
            content(sink, place, name, token);
            let (code, reference) = match role {
                SecretRole::ForwardingToken => (code::R0607, forwarding),
                _ => (code::R0602, identity),
            };
            if let Some((from, wanted)) = reference {
                sink.check(
                    code,
                    place,
                    (wanted.digest != token.digest).then(|| {
                        let what = format!("{name} differs from the management cluster's");
                        (what, format!("compared with {from}"))
                    }),
                );
            }
        }
        let tokens = (
            facts.identity_token.as_ref(),
            facts.forwarding_token.as_ref(),
        );
        if let (Some(identity), Some(forwarding)) = tokens
            && let (Some(one), Some(other)) = (identity.content.here(), forwarding.content.here())
        {
            sink.ensure(
                code::R0605,
                place(facts, forwarding),
                one.digest != other.digest,
                || format!("{} equals {}", forwarding.about.name, identity.about.name),
            );
        }
    }
    age(sink, inventory, home, now);
}

/// Messages say nothing about what is in a token but its length.
fn content(sink: &mut Sink, place: Place<'_>, name: &str, token: &Token) {
    sink.ensure(code::R0604, place, !token.white_space, || {
        format!("the token in {name} contains white space")
    });
    sink.check(
        code::R0606,
        place,
        (token.length < LENGTH).then(|| {
            let what = format!("the token in {name} is short");
            (what, format!("it has {} characters", token.length))
        }),
    );
}

/// The token that the others are compared with: the home cluster's, else that of the first
/// management cluster that has one.
fn reference<'a>(
    inventory: &'a Inventory,
    home: &str,
    role: SecretRole,
) -> Option<(&'a str, &'a Token)> {
    let token = |facts: &'a ClusterFacts| {
        let found = facts.tokens().find(|(found, _)| *found == role)?;
        Some((facts.name(), found.1.content.here()?))
    };
    let management = |facts: &&ClusterFacts| facts.spec.role == Role::Management;
    let mut clusters = inventory.clusters.iter();
    let first = clusters.find(|facts| facts.name() == home).and_then(token);
    first.or_else(|| inventory.clusters.iter().filter(management).find_map(token))
}

fn age(sink: &mut Sink, inventory: &Inventory, home: &str, now: Timestamp) {
    let facts = inventory.clusters.iter().find(|facts| facts.name() == home);
    let Some((facts, secret)) =
        facts.and_then(|facts| Some((facts, facts.identity_token.as_ref()?)))
    else {
        return;
    };
    let since = inventory.journal.as_ref().and_then(made);
    if let Some(since) = since.filter(|_| secret.about.owner == Owner::Us) {
        let age = now.duration_since(since);
        sink.check(
            code::R0601,
            place(facts, secret),
            (age > AGE).then(|| {
                let what = "the tokens have not been replaced for more than 400 days".to_owned();
                (what, format!("since {since}, {}", duration(age)))
            }),
        );
    }
}

/// When the tokens were made: at the last rotation, or with the first root.
fn made(journal: &Journal) -> Option<Timestamp> {
    let rotated = journal
        .requests
        .get(&Scope::Tokens)
        .map(|kept| kept.record.at);
    rotated.or_else(|| {
        let roots = journal.roots.values();
        let roots = roots.filter_map(|kept| kept.record.certificate.as_ref());
        roots.map(|root| root.not_before()).min()
    })
}

fn place<'a>(facts: &'a ClusterFacts, secret: &'a Secret<Part<Token>>) -> Place<'a> {
    Place::new(facts.name(), &secret.about.place)
}
