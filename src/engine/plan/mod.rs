mod adopt;
mod authority;
mod ca;
mod context;
mod keys;
mod leaf;
mod put;
mod restart;
mod rotation;
mod settle;
mod token;

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use relay_pki_authority::Level;

use self::context::Context;
pub(super) use self::rotation::ITSELF;
pub use self::rotation::Outlook;
pub(super) use self::settle::{
    subject_of_cross, subject_of_leaf, subject_of_predecessor, subject_of_signer,
};
use super::observed::Observed;
use super::step::Step;
use crate::config::{Relay, Role};
use crate::journal::Scope;

/// What a plan is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Everything that the document asks for is there and usable.
    Bootstrap {
        /// Take over Secrets that are not ours.
        adopt: bool,
        /// Take private keys out of Secrets in which they do not belong.
        prune_keys: bool,
    },
    /// What was asked to be rotated is rotated, and nothing else.
    Rotate(BTreeSet<Scope>),
    /// What is due for renewal is renewed, and rotations that were begun are finished.
    Due,
    /// The rotation under way goes on; what is missing or wrong is put right, because it would stand in
    /// the way.
    Rotation,
    /// Everything is as the document, the requests and the time ask for: what the controller works
    /// towards. Nothing that is not ours is touched.
    Reconcile,
}

impl Goal {
    /// Whether anything of `scopes` is to be rotated on request.
    pub(super) fn rotates(&self, scopes: &[Scope]) -> bool {
        match self {
            Self::Bootstrap { .. } | Self::Rotation => false,
            Self::Rotate(wanted) => scopes.iter().any(|scope| wanted.contains(scope)),
            Self::Due | Self::Reconcile => true,
        }
    }

    /// Whether what is missing or wrong is put right.
    pub(super) fn converges(&self) -> bool {
        matches!(
            self,
            Self::Bootstrap { .. } | Self::Rotation | Self::Reconcile
        )
    }

    /// Whether a rotation under way is taken on.
    pub(super) fn advances(&self) -> bool {
        matches!(self, Self::Rotation | Self::Due | Self::Reconcile)
    }

    /// Whether what is due by the time is renewed.
    pub(super) fn renews(&self) -> bool {
        matches!(self, Self::Due | Self::Reconcile)
    }

    pub(super) fn adopts(&self) -> bool {
        matches!(self, Self::Bootstrap { adopt: true, .. })
    }

    pub(super) fn prunes(&self) -> bool {
        matches!(
            self,
            Self::Bootstrap {
                prune_keys: true,
                ..
            }
        )
    }
}

/// What has to be done next, in order, and what stands in the way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Steps in the order in which they are done; steps of different clusters may run side by side
    /// once those on the authorities are done.
    pub steps: Vec<Step>,
    /// What keeps a cluster, or everything, from being brought to the goal.
    pub problems: Vec<Problem>,
    /// Names of issuance records whose certificates are delivered, or wanted by nobody any more: what
    /// an interrupted run did not come to remove.
    pub settled: Vec<String>,
    /// Relay Secrets that are as they should be.
    pub unchanged: usize,
    /// How the rotation of root or signer stands.
    pub rotation: Outlook,
}

/// Something that stands in the way and that a person has to decide about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The cluster that it is about.
    pub cluster: String,
    /// What is wrong, naming the object.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// Whether the cluster could not be read (and may be read later).
    pub unreachable: bool,
}

impl Problem {
    /// Something about a cluster that could be read.
    fn new(cluster: impl ToString, what: String, remedy: &str) -> Self {
        Self {
            cluster: cluster.to_string(),
            what,
            remedy: remedy.to_owned(),
            unreachable: false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.cluster, self.what, self.remedy)
    }
}

/// Computes what has to be done. Pure: no I/O, no clock, no randomness.
pub fn plan(relay: &Relay, goal: &Goal, observed: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan {
        problems: unreachable(observed, goal),
        ..Plan::default()
    };
    let home = relay.home();
    let Some(Ok(home_state)) = observed.clusters.get(home.name.as_str()) else {
        // Without the records nothing can be decided.
        return plan;
    };
    keys::steps(&mut plan, relay, goal, observed);
    let rotating = rotation::steps(relay, goal, observed, now);
    let journal = rotating.journal.as_ref();
    plan.steps.extend(rotating.steps);
    plan.rotation = rotating.outlook;
    let authorities = adopt::steps(relay, goal, observed, now)
        .and_then(|adopted| authority::steps(relay, goal, observed, journal, adopted, now));
    let mut authorities = match authorities {
        Ok(authorities) => authorities,
        Err(problem) => {
            plan.problems.push(problem);
            return plan;
        }
    };
    plan.steps.append(&mut authorities.steps);
    plan.problems.append(&mut authorities.problems);
    let context = Context::new(relay, goal, journal, authorities, now);
    let tokens = context.home_tokens(&mut plan, home_state);
    // The management clusters first: they serve what the agents verify.
    let (management, workload): (Vec<_>, Vec<_>) = relay
        .clusters
        .iter()
        .partition(|spec| spec.role == Role::Management);
    for spec in management.into_iter().chain(workload) {
        if let Some(Ok(state)) = observed.clusters.get(spec.name.as_str()) {
            context.cluster(&mut plan, spec, state, &tokens);
        }
    }
    restart::steps(&mut plan, relay, goal, observed);
    plan.settled = settle::settled(relay, observed, &plan.steps);
    plan.settled.extend(rotating.settled);
    plan
}

/// Clusters that could not be read.
fn unreachable(observed: &Observed, goal: &Goal) -> Vec<Problem> {
    let remedy = match goal {
        // The same command again would rotate everything else once more.
        Goal::Rotate(_) => "repair it, then finish with `relay-pki rotate due`",
        _ => "repair it and run the same command again",
    };
    let failed = observed
        .clusters
        .iter()
        .filter_map(|(cluster, state)| Some((cluster, state.as_ref().err()?)));
    failed
        .map(|(cluster, error)| Problem {
            cluster: cluster.clone(),
            what: error.to_string(),
            remedy: remedy.to_owned(),
            unreachable: true,
        })
        .collect()
}

/// The scopes of rotation requests that concern one agent.
pub fn scopes_of_agent(cluster: &str) -> [Scope; 2] {
    [Scope::Agents, Scope::Agent(cluster.to_owned())]
}

/// The level whose absence keeps anything from being rotated.
pub(super) fn not_bootstrapped(relay: &Relay, level: Level) -> Problem {
    Problem::new(
        &relay.home().name,
        format!("relay {} has no active {level}", relay.name),
        "run `relay-pki bootstrap` first",
    )
}
