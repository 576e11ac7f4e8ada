//! Which rotation requests have to be written down.

use std::collections::BTreeSet;

use super::observed::{ClusterState, Held, Observed, TokenState};
use crate::config::{Delivery, Relay, Role};
use crate::journal::Scope;
use crate::relay::Owner;

/// The requests to write so that everything in `scopes` gets rotated, with the number that they all
/// get; `None` if an earlier run has written them all and was not finished: then that one goes on.
///
/// All of one run's requests have one number, and nothing is rotated before the last of them is
/// written. So if one of them is unfinished, those with its number are its siblings, done or not,
/// and the others were never written.
pub fn requests(
    relay: &Relay,
    observed: &Observed,
    scopes: &BTreeSet<Scope>,
) -> Option<(u64, Vec<Scope>)> {
    let own = |scope: &Scope| observed.journal.requested(std::slice::from_ref(scope));
    let unfinished = scopes
        .iter()
        .filter(|scope| is_unfinished(relay, observed, scope, own(scope)))
        .map(own)
        .max();
    // Numbers only grow: something that was rotated since then needs a new one.
    let number = unfinished.filter(|number| scopes.iter().all(|scope| own(scope) <= *number));
    let number = number.unwrap_or_else(|| next(observed));
    let missing: Vec<Scope> = scopes
        .iter()
        .filter(|scope| own(scope) != number)
        .cloned()
        .collect();
    (!missing.is_empty()).then_some((number, missing))
}

/// Whether something in `scope` is older than the request `number`. What is not there, or cannot be
/// read, is not: it will be made anew, or found later.
fn is_unfinished(relay: &Relay, observed: &Observed, scope: &Scope, number: u64) -> bool {
    let state = |cluster: &str| match observed.clusters.get(cluster) {
        Some(Ok(state)) => Some(state),
        _ => None,
    };
    let agent = |cluster: &str| state(cluster).is_some_and(|s| older(&s.client, number));
    match scope {
        Scope::Agent(cluster) => agent(cluster),
        Scope::Agents => relay
            .agents()
            .filter(|(_, spec)| spec.delivery == Delivery::Push)
            .any(|(cluster, _)| agent(cluster.name.as_str())),
        Scope::Server => relay
            .clusters
            .iter()
            .filter(|spec| spec.role == Role::Management)
            .any(|spec| state(spec.name.as_str()).is_some_and(|s| older(&s.server, number))),
        Scope::Tokens => {
            let home = state(relay.home().name.as_str());
            home.is_some_and(|home| {
                let others = observed.clusters.values().flatten();
                tokens(relay, home, number)
                    || others
                        .into_iter()
                        .any(|state| uncopied(home, state, number))
            })
        }
    }
}

/// The next number: larger than any that is recorded, or that anything says it satisfies. Records
/// restored from a backup know less than the Secrets do.
fn next(observed: &Observed) -> u64 {
    fn of<T>(slot: &Option<Held<T>>) -> u64 {
        let held = slot.as_ref().filter(|held| held.owner == Owner::Us);
        held.map_or(0, |held| held.request)
    }
    let found = observed.clusters.values().flatten().flat_map(|state| {
        [
            of(&state.server),
            of(&state.client),
            of(&state.identity_token),
            of(&state.forwarding_token),
        ]
    });
    found
        .max()
        .map_or(1, |number| number.saturating_add(1))
        .max(observed.journal.next_request())
}

/// Whether a copy of a token is older than the request and not the same as the original.
fn uncopied(home: &ClusterState, state: &ClusterState, number: u64) -> bool {
    let differs = |original: &Option<Held<TokenState>>, copy: &Option<Held<TokenState>>| {
        let content = |slot: &Option<Held<TokenState>>| {
            let held = slot.as_ref().filter(|held| usable(held))?;
            held.content.clone().ok()
        };
        older(copy, number) && content(original).is_some() && content(copy) != content(original)
    };
    differs(&home.identity_token, &state.identity_token)
        || differs(&home.forwarding_token, &state.forwarding_token)
}

fn tokens(relay: &Relay, state: &ClusterState, number: u64) -> bool {
    older(&state.identity_token, number)
        || (relay.tokens.forwarding && older(&state.forwarding_token, number))
}

/// Whether we may write it: what is in somebody's way never gets done, and must not make every later
/// rotation an unfinished one.
fn usable<T>(held: &Held<T>) -> bool {
    held.owner == Owner::Us && !held.exposed
}

fn older<T>(slot: &Option<Held<T>>, number: u64) -> bool {
    slot.as_ref()
        .is_some_and(|held| usable(held) && held.request < number)
}
