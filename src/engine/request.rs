//! Which rotation requests have to be written down.

use std::collections::BTreeSet;

use relay_pki_authority::Level;

use super::observed::{ClusterState, Held, Observed};
use crate::config::{Delivery, Relay, Role};
use crate::journal::Scope;

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
    let number = number.unwrap_or_else(|| observed.journal.next_request());
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
        Scope::Signer => {
            let active = observed.journal.active(Level::Signer);
            active.is_some_and(|signer| signer.request < number)
        }
        Scope::Tokens => {
            state(relay.home().name.as_str()).is_some_and(|s| tokens(relay, s, number))
        }
    }
}

fn tokens(relay: &Relay, state: &ClusterState, number: u64) -> bool {
    older(&state.identity_token, number)
        || (relay.tokens.forwarding && older(&state.forwarding_token, number))
}

fn older<T>(slot: &Option<Held<T>>, number: u64) -> bool {
    slot.as_ref().is_some_and(|held| held.request < number)
}
