//! What an agent does next: a pure function of what it holds, what it remembers and what time it is.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use relay_pki_authority::x509::{
    BundleDigest, CertificateChain, Fingerprint, PeerRole, verify_path,
};

use super::anchors::{CaCertificates, Pin};
use super::holdings::Holdings;
use super::retry::{Retry, doubled};
use crate::config::ClusterName;
use crate::relay::{CaTag, TlsContent, TokenDigest};
use crate::renewal::Renewal;

/// What the agent was told to do.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) cluster: ClusterName,
    pub(super) renewal: Renewal,
    /// Between two questions for the bundle.
    pub(super) poll: Duration,
    pub(super) pins: Vec<Pin>,
    /// Whether there are workloads that have to be restarted when trust changes.
    pub(super) restarts: bool,
}

/// A token that a server did not take.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedToken {
    token: TokenDigest,
    failures: u32,
    until: Duration,
}

impl RefusedToken {
    /// First pause before it is tried again: a replica hears of a cluster or a token a little later.
    const FIRST: Duration = Duration::from_secs(10);
    /// Longest.
    const LONGEST: Duration = Duration::from_secs(600);

    /// A token that was refused now, `before` or not.
    pub(super) fn again(before: Option<Self>, token: TokenDigest, up: Duration) -> Self {
        let before = before.filter(|before| before.token == token);
        let failures = before.map_or(0, |it| it.failures.saturating_add(1));
        let pause = doubled(Self::FIRST, failures, Self::LONGEST);
        Self {
            token,
            failures,
            until: up.saturating_add(pause),
        }
    }

    /// Whether it is this token, and there is no use in trying it yet.
    pub(super) fn is(&self, token: &TokenDigest, up: Duration) -> bool {
        self.token == *token && up < self.until
    }
}

/// What the agent remembers as long as it runs. Nothing in it has to survive.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When to ask for the bundle next. Times like this are since the process began: whatever happens to
    /// the clock, they go on.
    pub(super) poll_at: Duration,
    /// The CA certificates that were read last.
    pub(super) known: Option<CaCertificates>,
    /// The certificate that the server wants to be replaced.
    pub(super) to_be_renewed: Option<Fingerprint>,
    /// The server does not verify with the roots held.
    pub(super) distrusted: bool,
    /// Nor does any of the pinned roots vouch for it.
    pub(super) pins_fail: bool,
    /// Until then the server is not shown the certificate that it does not take.
    pub(super) refused_until: Option<Duration>,
    /// The token that is there.
    pub(super) token: Option<TokenDigest>,
    /// The token that was refused last.
    pub(super) refused_token: Option<RefusedToken>,
    /// The bundle that every configured workload was started with.
    pub(super) rolled: Option<BundleDigest>,
    /// When to look how far the restart of a workload is.
    pub(super) restart_at: Duration,
    /// When a certificate that is being made is asked for again.
    pub(super) certificate_at: Duration,
    pub(super) retries: [Retry; Activity::ALL.len()],
}

/// What is tried again by itself: one that fails does not keep the others waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    Trust,
    Certificate,
    Bundle,
    Write,
    Restart,
}

impl Activity {
    const ALL: [Self; 5] = [
        Self::Trust,
        Self::Certificate,
        Self::Bundle,
        Self::Write,
        Self::Restart,
    ];
}

/// Now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The time: the server's as soon as that is known to differ.
    pub(super) now: Timestamp,
    /// Since the process began.
    pub(super) up: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Get the roots from whoever has the pinned one.
    BootstrapTrust,
    /// Write the roots everywhere that they belong.
    Repair,
    /// Write the certificate that is held with the signers' that belong to it now.
    Rechain(CertificateChain),
    /// Restart the workloads that were started with other roots.
    Restart,
    /// Get a certificate with the token.
    Enrol(Reason),
    /// Get a certificate with the one that is there.
    Renew(Reason),
    /// Ask whether there are other roots.
    Poll,
    /// Nothing until then.
    Wait(Duration),
}

impl Action {
    /// What fails together with it.
    pub(super) fn activity(&self) -> Activity {
        match self {
            Self::BootstrapTrust => Activity::Trust,
            Self::Repair | Self::Rechain(_) => Activity::Write,
            Self::Restart => Activity::Restart,
            Self::Enrol(_) | Self::Renew(_) => Activity::Certificate,
            Self::Poll | Self::Wait(_) => Activity::Bundle,
        }
    }

    /// One word for it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::BootstrapTrust => "bootstrap-trust",
            Self::Rechain(_) => "rechain",
            Self::Repair => "repair",
            Self::Restart => "restart",
            Self::Enrol(_) => "enrol",
            Self::Renew(_) => "renew",
            Self::Poll => "poll",
            Self::Wait(_) => "wait",
        }
    }
}

/// Why another certificate is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    Missing,
    Broken(String),
    NotOurs(String),
    Expired(Timestamp),
    Refused,
    Due(Timestamp),
    Unverifiable(String),
    /// The server asks for it: a rotation has come to this cluster.
    Asked,
    SignerGone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no certificate yet"),
            Self::Broken(what) => write!(f, "the certificate cannot be used: {what}"),
            Self::NotOurs(name) => write!(f, "the certificate is of {name:?}"),
            Self::Expired(at) => write!(f, "the certificate ended at {at}"),
            Self::Refused => f.write_str("the server does not take the certificate any more"),
            Self::Due(at) => write!(f, "it was due at {at}"),
            Self::Unverifiable(what) => {
                write!(f, "the certificate does not verify with the roots: {what}")
            }
            Self::Asked => f.write_str("the server wants it to be replaced"),
            Self::SignerGone => f.write_str("its signer is not in use any more"),
        }
    }
}

/// What keeps an agent from working, as far as a person can do something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Something lies in the way.
    Obstacle(String),
    /// There is nothing to trust the server by.
    NoTrust,
    /// The server does not verify with the roots held, nor with one that is pinned; and why a certificate
    /// has to be asked for with a token then.
    Distrusted(Option<Reason>),
    /// A certificate has to be asked for, and there is no token to do that with.
    NoToken(Reason),
    /// The same, and the token that there is was refused.
    TokenRefused(Reason),
}

/// Everything that a decision is made on.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) policy: &'a Policy,
    pub(super) held: &'a Holdings,
    pub(super) memory: &'a Memory,
}

impl Memory {
    /// When `activity` may be tried again.
    fn allowed_at(&self, activity: Activity) -> Duration {
        self.retries
            .get(activity as usize)
            .map_or(Duration::ZERO, |retry| retry.at)
    }

    /// Something failed at `up`; when it is tried again.
    pub(super) fn failed(
        &mut self,
        activity: Activity,
        up: Duration,
        chance: f64,
        asked: Option<Duration>,
    ) -> Duration {
        if let Some(retry) = self.retries.get_mut(activity as usize) {
            *retry = retry.after(up, chance, asked);
        }
        self.allowed_at(activity)
    }

    /// Something worked, or what it depends on is another now.
    pub(super) fn reset(&mut self, activity: Activity) {
        if let Some(retry) = self.retries.get_mut(activity as usize) {
            *retry = Retry::default();
        }
    }

    fn has_usable_token(&self, up: Duration) -> bool {
        self.token
            .is_some_and(|token| !self.refused_token.is_some_and(|it| it.is(&token, up)))
    }
}

impl View<'_> {
    /// The next action.
    pub(super) fn next(&self, moment: Moment) -> Action {
        // Whatever else there is, the store and the token are looked at as often as the bundle.
        let mut wake = moment.up + self.policy.poll;
        for (action, from) in self.wanted(moment) {
            let from = from.max(self.memory.allowed_at(action.activity()));
            if from <= moment.up {
                return action;
            }
            wake = wake.min(from);
        }
        Action::Wait(wake)
    }

    /// What has to be done, in this order, and from when on.
    fn wanted(&self, moment: Moment) -> Vec<(Action, Duration)> {
        let mut wanted = Vec::new();
        // Nothing is asked for that could not be kept: a token is good only once.
        if self.held.obstacle.is_some() {
            return wanted;
        }
        let pinned = !self.policy.pins.is_empty();
        let Some(anchors) = self.held.anchors() else {
            wanted.extend(pinned.then_some((Action::BootstrapTrust, moment.up)));
            return wanted;
        };
        if self.memory.distrusted && pinned {
            wanted.push((Action::BootstrapTrust, moment.up));
        }
        if !self.held.agrees() {
            wanted.push((Action::Repair, moment.up));
        }
        if let Some(chain) = self.better_chain() {
            wanted.push((Action::Rechain(chain), moment.up));
        }
        let need = self.need(moment);
        if let Some(reason) = need.clone() {
            let action = match reason.needs_token() {
                false => Some(Action::Renew(reason)),
                true if self.memory.has_usable_token(moment.up) => Some(Action::Enrol(reason)),
                true => None,
            };
            wanted.extend(action.map(|action| (action, self.memory.certificate_at)));
        }
        if self.policy.restarts && self.memory.rolled != Some(anchors.digest()) {
            wanted.push((Action::Restart, self.memory.restart_at));
        }
        wanted.push((Action::Poll, self.memory.poll_at));
        if let (None, Some(due)) = (&need, self.due()) {
            let left = Duration::try_from(due.duration_since(moment.now)).unwrap_or_default();
            wanted.push((Action::Renew(Reason::Due(due)), moment.up + left));
        }
        wanted
    }

    /// When the certificate that is there is to be renewed.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let validity = self.held.usable()?.chain.leaf().validity().ok()?;
        let cluster = self.policy.cluster.as_str();
        Some(self.policy.renewal.due_at(&validity, cluster))
    }

    /// Why another certificate is needed now.
    pub(super) fn need(&self, moment: Moment) -> Option<Reason> {
        let identity = match &self.held.identity {
            None => return Some(Reason::Missing),
            Some(Err(what)) => return Some(Reason::Broken(what.clone())),
            Some(Ok(identity)) => identity,
        };
        let leaf = identity.chain.leaf();
        if leaf.dns_names() != [self.policy.cluster.as_str()] {
            return Some(Reason::NotOurs(leaf.dns_names().join(", ")));
        }
        if moment.now >= leaf.not_after() {
            return Some(Reason::Expired(leaf.not_after()));
        }
        if !self.presents(moment) {
            return Some(Reason::Refused);
        }
        if let Some(due) = self.due().filter(|due| *due <= moment.now) {
            return Some(Reason::Due(due));
        }
        let anchors = self.held.anchors()?;
        // A clock that is behind makes no certificate worse: it is the servers that look at it.
        let at = moment.now.max(leaf.not_before());
        if let Err(error) = verify_path(&identity.chain, anchors, PeerRole::Client, at) {
            return Some(Reason::Unverifiable(error.to_string()));
        }
        if self.memory.to_be_renewed == Some(leaf.fingerprint()) {
            return Some(Reason::Asked);
        }
        let known = self.memory.known.as_ref();
        let gone = known.is_some_and(|known| !known.has_signer_of(leaf));
        gone.then_some(Reason::SignerGone)
    }

    /// What the server gave out, if that is what is held.
    fn current(&self) -> Option<&CaCertificates> {
        let known = self.memory.known.as_ref()?;
        (self.held.anchors()? == &known.roots).then_some(known)
    }

    /// The certificate that is held with other signers' than it is held with: they come and go with the
    /// roots.
    fn better_chain(&self) -> Option<CertificateChain> {
        let (known, held) = (self.current()?, self.held.usable()?);
        let leaf = held.chain.leaf();
        let wanted = known.chain(leaf.clone()).ok()?;
        (known.has_signer_of(leaf) && wanted != held.chain).then_some(wanted)
    }

    /// Whether the server is shown the certificate.
    fn presents(&self, moment: Moment) -> bool {
        let refused = self.memory.refused_until;
        refused.is_none_or(|until| until <= moment.up)
    }

    /// The certificate to show to the server: none that it does not take anyway, because it hangs up then.
    pub(super) fn presented(&self, moment: Moment) -> Option<&TlsContent> {
        let identity = self.held.usable()?;
        let ended = moment.now >= identity.chain.leaf().not_after();
        (self.presents(moment) && !ended).then_some(identity)
    }

    /// What the server may be told of: roots that the components use, not some that merely lie there, and
    /// signers that are presented.
    pub(super) fn acknowledged(&self) -> Option<CaTag> {
        let known = self.current()?;
        let used = !self.policy.restarts || self.memory.rolled == Some(known.roots.digest());
        (self.held.agrees() && used && self.better_chain().is_none()).then(|| known.tag())
    }

    /// What a person has to do something about.
    pub(super) fn trouble(&self, moment: Moment) -> Option<Trouble> {
        if let Some(obstacle) = &self.held.obstacle {
            return Some(Trouble::Obstacle(obstacle.clone()));
        }
        let reason = self.need(moment).filter(Reason::needs_token);
        let unpinned = self.policy.pins.is_empty() || self.memory.pins_fail;
        if self.held.anchors().is_none() && unpinned {
            return Some(Trouble::NoTrust);
        }
        if self.memory.distrusted && unpinned {
            return Some(Trouble::Distrusted(reason));
        }
        let reason = reason?;
        match self.memory.token {
            None => Some(Trouble::NoToken(reason)),
            Some(_) if !self.memory.has_usable_token(moment.up) => {
                Some(Trouble::TokenRefused(reason))
            }
            Some(_) => None,
        }
    }
}

impl Reason {
    /// Whether the certificate that is there is no help in getting another one.
    pub(super) fn needs_token(&self) -> bool {
        match self {
            Self::Missing
            | Self::Broken(_)
            | Self::NotOurs(_)
            | Self::Expired(_)
            | Self::Refused => true,
            Self::Due(_) | Self::Unverifiable(_) | Self::Asked | Self::SignerGone => false,
        }
    }
}
