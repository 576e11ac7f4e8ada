//! Planning of how the private keys of CAs are kept.

use super::super::observed::Observed;
use super::super::step::{Action, Cause, Step};
use super::{Goal, Plan, Problem};
use crate::config::Relay;

/// Puts right what is not kept as the document says, or says what a person has to do about it.
pub(super) fn steps(plan: &mut Plan, relay: &Relay, goal: &Goal, observed: &Observed) {
    if !goal.converges() {
        return;
    }
    let home = &relay.home().name;
    for key in &observed.keys {
        match &key.remedy {
            None => plan.steps.push(Step {
                cluster: home.to_string(),
                action: Action::RewriteKey(key.key),
                cause: Cause::Changed(key.what.clone()),
            }),
            Some(remedy) => {
                let what = format!("the key of {}: {}", key.key, key.what);
                plan.problems.push(Problem::new(home, what, remedy));
            }
        }
    }
}
