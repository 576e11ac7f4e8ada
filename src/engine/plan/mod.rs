mod adopt;
mod authority;
mod put;

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::BundleDigest;

use self::authority::Authorities;
use self::put::{Reason, put, same_token};
use super::observed::{ClusterState, Held, Observed, Provenance, TlsState, TokenState, TrustState};
use super::step::{Cause, Content, Step};
use crate::config::{AgentSpec, ClusterSpec, Delivery, Relay, Role};
use crate::journal::{Journal, Scope};
use crate::relay::{Owner, SecretRole};
use crate::renewal::Renewal;

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
}

impl Goal {
    /// Whether anything of `scopes` is to be rotated on request.
    pub(super) fn rotates(&self, scopes: &[Scope]) -> bool {
        match self {
            Self::Bootstrap { .. } => false,
            Self::Rotate(wanted) => scopes.iter().any(|scope| wanted.contains(scope)),
            Self::Due => true,
        }
    }

    /// Whether what is missing or wrong is put right.
    pub(super) fn converges(&self) -> bool {
        matches!(self, Self::Bootstrap { .. })
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
    /// Relay Secrets that are as they should be.
    pub unchanged: usize,
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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.cluster, self.what, self.remedy)
    }
}

/// Everything that the planning of one Secret looks at.
pub(super) struct Context<'a> {
    pub(super) relay: &'a Relay,
    pub(super) goal: &'a Goal,
    pub(super) journal: &'a Journal,
    pub(super) now: Timestamp,
    /// The bundle that every Secret should hold; `None` while a root is still to be made.
    pub(super) bundle: Option<BundleDigest>,
    /// The signer that leaves and copies should come from.
    pub(super) signer: Option<u32>,
    /// Whether that signer is still to be made.
    pub(super) new_signer: bool,
}

/// Computes what has to be done. Pure: no I/O, no clock, no randomness.
pub fn plan(relay: &Relay, goal: &Goal, observed: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for (cluster, state) in &observed.clusters {
        if let Err(error) = state {
            plan.problems.push(Problem {
                cluster: cluster.clone(),
                what: error.to_string(),
                remedy: "repair it and run the same command again".to_owned(),
                unreachable: true,
            });
        }
    }
    let home = relay.home();
    let Some(Ok(home_state)) = observed.clusters.get(home.name.as_str()) else {
        // Without the records nothing can be decided.
        return plan;
    };
    let adopted = adopt::steps(relay, goal, observed, now);
    let authorities = match adopted {
        Ok(adopted) => authority::steps(relay, goal, observed, adopted, now),
        Err(problem) => Err(problem),
    };
    let Authorities {
        steps,
        bundle,
        signer,
        new_signer,
    } = match authorities {
        Ok(authorities) => authorities,
        Err(problem) => {
            plan.problems.push(problem);
            return plan;
        }
    };
    plan.steps = steps;
    let context = Context {
        relay,
        goal,
        journal: &observed.journal,
        now,
        bundle,
        signer,
        new_signer,
    };
    let tokens = Tokens {
        identity: context.home_token(
            &mut plan,
            SecretRole::IdentityToken,
            &home_state.identity_token,
        ),
        forwarding: match relay.tokens.forwarding {
            true => context.home_token(
                &mut plan,
                SecretRole::ForwardingToken,
                &home_state.forwarding_token,
            ),
            false => Token::Kept(None),
        },
    };
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
    plan
}

/// The tokens of the management cluster: every other cluster gets a copy.
struct Tokens {
    identity: Token,
    forwarding: Token,
}

enum Token {
    /// It stays (if it can be read).
    Kept(Option<TokenState>),
    /// It is made anew.
    New,
}

impl Context<'_> {
    fn cluster(&self, plan: &mut Plan, spec: &ClusterSpec, state: &ClusterState, tokens: &Tokens) {
        let home = spec.name == self.relay.home().name;
        self.trust(plan, spec, &state.trust);
        if !home {
            let role = SecretRole::IdentityToken;
            self.token_copy(plan, spec, role, &state.identity_token, &tokens.identity);
            if self.relay.tokens.forwarding {
                let role = SecretRole::ForwardingToken;
                self.token_copy(
                    plan,
                    spec,
                    role,
                    &state.forwarding_token,
                    &tokens.forwarding,
                );
            }
        }
        if spec.role == Role::Management {
            self.signing(plan, spec, &state.signing);
            self.server(plan, spec, &state.server);
        }
        if let Some(agent) = &spec.agent
            && agent.delivery == Delivery::Push
        {
            self.client(plan, spec, agent, &state.client);
        }
    }

    fn trust(&self, plan: &mut Plan, spec: &ClusterSpec, slot: &Option<Held<TrustState>>) {
        let goal = self.goal;
        if !goal.converges() {
            return;
        }
        let misplaced = |state: &TrustState| {
            goal.prunes() && spec.role == Role::Workload && state.key.is_some()
        };
        let reason = self.reason(slot, |state| {
            if misplaced(state) {
                let text = "a private key is taken out of it";
                return Some((Cause::Drifted(text.to_owned()), Content::Bundle));
            }
            self.bundle_cause(state.digest)
                .map(|cause| (cause, Content::Bundle))
        });
        let prune = slot
            .as_ref()
            .is_some_and(|held| held.content.as_ref().is_ok_and(misplaced));
        let missing = Content::Bundle;
        put(
            self,
            plan,
            spec,
            SecretRole::Trust,
            slot,
            reason,
            missing,
            0,
            prune,
        );
    }

    fn home_token(
        &self,
        plan: &mut Plan,
        role: SecretRole,
        slot: &Option<Held<TokenState>>,
    ) -> Token {
        let scopes = [Scope::Tokens];
        let requested = self.journal.requested(&scopes);
        let reason = self.reason(slot, |_| None).or_requested(
            self.goal.rotates(&scopes),
            slot.as_ref().map_or(requested, |held| held.request),
            requested,
            Content::NewToken,
        );
        let spec = self.relay.home();
        let missing = Content::NewToken;
        let content = put(
            self, plan, spec, role, slot, reason, missing, requested, false,
        );
        match (content, slot) {
            (Some(Content::NewToken), _) => Token::New,
            (_, Some(held)) => Token::Kept(held.content.clone().ok()),
            (_, None) => Token::Kept(None),
        }
    }

    fn token_copy(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        role: SecretRole,
        slot: &Option<Held<TokenState>>,
        source: &Token,
    ) {
        let rotates = self.goal.rotates(&[Scope::Tokens]);
        if !self.goal.converges() && !rotates {
            return;
        }
        let reason = self.reason(slot, |state| match source {
            Token::New => Some((Cause::Follows("token"), Content::CopyToken)),
            Token::Kept(Some(kept)) if !same_token(kept, state) => {
                let text = "it differs from the management cluster's token";
                Some((Cause::Drifted(text.to_owned()), Content::CopyToken))
            }
            Token::Kept(_) => None,
        });
        let request = self.journal.requested(&[Scope::Tokens]);
        let missing = Content::CopyToken;
        put(
            self, plan, spec, role, slot, reason, missing, request, false,
        );
    }

    fn signing(&self, plan: &mut Plan, spec: &ClusterSpec, slot: &Option<Held<TlsState>>) {
        let mut agents = self.relay.clusters.iter().filter_map(|c| c.agent.as_ref());
        let wanted = agents.any(|agent| agent.delivery == Delivery::ServerSigned);
        let converges = self.goal.converges() || self.new_signer;
        // An adopted one is kept in step even if no agent needs it: somebody's server may read it.
        if !(wanted || slot.is_some()) || !converges {
            return;
        }
        let reason = self.reason(slot, |state| match (&state.provenance, self.signer) {
            _ if self.new_signer => Some((Cause::Follows("signer"), Content::Signer)),
            (Provenance::Signer(number), Some(active)) if *number == active => self
                .bundle_cause(state.digest)
                .map(|cause| (cause, Content::Signer)),
            (Provenance::Unusable(reason), _) => {
                Some((Cause::Broken(reason.clone()), Content::Signer))
            }
            _ => {
                let text = "it is not the active signer";
                Some((Cause::Drifted(text.to_owned()), Content::Signer))
            }
        });
        let missing = Content::Signer;
        put(
            self,
            plan,
            spec,
            SecretRole::Signing,
            slot,
            reason,
            missing,
            0,
            false,
        );
    }

    fn server(&self, plan: &mut Plan, spec: &ClusterSpec, slot: &Option<Held<TlsState>>) {
        let server = &self.relay.server;
        let identity = format!("server-{}", spec.name);
        let reason = self.leaf(slot, &[Scope::Server], &server.renewal, &identity, |leaf| {
            let lacking = server.names.iter().find(|name| !leaf.leaf.covers(name));
            lacking.map(|name| Cause::Changed(format!("the certificate does not cover {name}")))
        });
        let request = self.journal.requested(&[Scope::Server]);
        let missing = Content::Issue;
        put(
            self,
            plan,
            spec,
            SecretRole::Server,
            slot,
            reason,
            missing,
            request,
            false,
        );
    }

    fn client(
        &self,
        plan: &mut Plan,
        spec: &ClusterSpec,
        agent: &AgentSpec,
        slot: &Option<Held<TlsState>>,
    ) {
        let name = spec.name.as_str();
        let scopes = scopes_of_agent(name);
        let reason = self.leaf(slot, &scopes, &agent.renewal, name, |leaf| {
            let named = leaf.leaf.dns_names().iter().any(|found| found == name);
            let text = || format!("the certificate is not for {name}");
            (!named).then(|| Cause::Broken(text()))
        });
        let request = self.journal.requested(&scopes);
        let missing = Content::Issue;
        put(
            self,
            plan,
            spec,
            SecretRole::Client,
            slot,
            reason,
            missing,
            request,
            false,
        );
    }

    /// Why a leaf has to be replaced or touched. `identity` spreads renewals.
    fn leaf(
        &self,
        slot: &Option<Held<TlsState>>,
        scopes: &[Scope],
        renewal: &Renewal,
        identity: &str,
        misnamed: impl Fn(&TlsState) -> Option<Cause>,
    ) -> Reason {
        let rotates = self.goal.rotates(scopes);
        if !self.goal.converges() && !rotates {
            return Reason::Fine;
        }
        let due = |state: &TlsState| {
            let validity = state.leaf.validity().ok()?;
            let at = renewal.due_at(&validity, identity);
            (at <= self.now).then_some(Cause::Due(at))
        };
        let reason = self.reason(slot, |state| {
            if self.goal == &Goal::Due {
                return due(state).map(|cause| (cause, Content::Issue));
            }
            if let Provenance::Unusable(reason) = &state.provenance {
                return Some((Cause::Broken(reason.clone()), Content::Issue));
            }
            if let Some(cause) = misnamed(state) {
                return Some((cause, Content::Issue));
            }
            self.bundle_cause(state.digest)
                .filter(|_| self.goal.converges())
                .map(|cause| (cause, Content::Keep))
        });
        let requested = self.journal.requested(scopes);
        let satisfied = slot.as_ref().map_or(requested, |held| held.request);
        reason.or_requested(rotates, satisfied, requested, Content::Issue)
    }

    /// Why a bundle has to be written again.
    pub(super) fn bundle_cause(&self, found: BundleDigest) -> Option<Cause> {
        match self.bundle {
            None => Some(Cause::Follows("root")),
            Some(wanted) if wanted != found => {
                let text = "its trust bundle is not the published one";
                Some(Cause::Drifted(text.to_owned()))
            }
            Some(_) => None,
        }
    }

    /// What speaks for writing a Secret, by what is there.
    fn reason<T>(
        &self,
        slot: &Option<Held<T>>,
        inspect: impl FnOnce(&T) -> Option<(Cause, Content)>,
    ) -> Reason {
        let Some(held) = slot else {
            return match self.goal {
                Goal::Due => Reason::Fine,
                _ => Reason::Missing,
            };
        };
        match &held.content {
            Err(_) if self.goal == &Goal::Due => Reason::Fine,
            Err(reason) => Reason::Replace(Cause::Broken(reason.clone())),
            Ok(content) => match inspect(content) {
                Some((cause, content)) => Reason::Write(cause, content),
                None if held.owner == Owner::Foreign => Reason::Adopt,
                None => Reason::Fine,
            },
        }
    }
}

/// The scopes of rotation requests that concern one agent.
pub fn scopes_of_agent(cluster: &str) -> [Scope; 2] {
    [Scope::Agents, Scope::Agent(cluster.to_owned())]
}

/// The level whose absence keeps anything from being rotated.
pub(super) fn not_bootstrapped(relay: &Relay, level: Level) -> Problem {
    Problem {
        cluster: relay.home().name.to_string(),
        what: format!("relay {} has no active {level}", relay.name),
        remedy: "run `relay-pki bootstrap` first".to_owned(),
        unreachable: false,
    }
}
