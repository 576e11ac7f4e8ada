//! Whether a phase may be left: every cluster is as the phase wants it, seen now.

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{BundleDigest, TrustBundle};

use super::soak::{soaking_ahead, soaks};
use super::{Direction, Evidence, GivenOut, Phase, presented};
use crate::config::{ClusterSpec, Delivery, EnrolmentTokens, Relay, Role};
use crate::engine::{ClusterState, Held, Observed, Provenance, TlsState};
use crate::journal::{Cross, GenerationRecord, Journal, MOST_EXCEPTIONS, RotationRecord, Status};
use crate::relay::{CaTag, Owner};

/// Something that keeps a rotation in its phase.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The cluster that it is about; `None` for the rotation as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What is waited for, in words.
    pub what: String,
    /// When it is over by itself, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether the cluster could not be looked at.
    pub missing: bool,
}

impl Waiting {
    pub(super) fn on_all(what: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self {
            cluster: None,
            what: what.into(),
            until,
            missing: false,
        }
    }

    fn on(cluster: &str, what: impl Into<String>) -> Self {
        Self {
            cluster: Some(cluster.to_owned()),
            what: what.into(),
            until: None,
            missing: false,
        }
    }
}

/// The gate out of the phase that a rotation is in.
pub(super) struct Gate<'a> {
    relay: &'a Relay,
    observed: &'a Observed,
    record: &'a RotationRecord,
    now: Timestamp,
    /// The bundle that every cluster should hold.
    bundle: Option<BundleDigest>,
    /// What every agent that enrols should go by.
    given_out: Option<CaTag>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(
        relay: &'a Relay,
        observed: &'a Observed,
        record: &'a RotationRecord,
        now: Timestamp,
    ) -> Self {
        let published = observed.journal.published_roots().ok();
        Self {
            relay,
            observed,
            record,
            now,
            bundle: published.as_ref().map(TrustBundle::digest),
            given_out: GivenOut::of(&observed.journal, now).map(|all| all.tag()),
        }
    }

    /// What keeps it shut, and the clusters that it is passed without.
    pub(super) fn waiting(&self) -> (Vec<Waiting>, Vec<String>) {
        let (mut waiting, mut passed) = (Vec::new(), Vec::new());
        waiting.extend(self.authorities());
        waiting.extend(self.soak());
        for spec in &self.relay.clusters {
            let name = spec.name.as_str();
            let enrols = spec.agent.as_ref();
            let enrols = enrols.is_some_and(|agent| agent.delivery == Delivery::Enroll);
            let state = self.observed.clusters.get(name);
            if state.is_none() && !enrols {
                // Never a decision about the fleet from a part of it.
                waiting.push(Waiting::on(name, "it was not looked at"));
                continue;
            }
            if !self.record.concerns(spec) {
                continue;
            }
            let shut = match state {
                None => match self.agent_behind(spec) {
                    None => continue,
                    Some(what) => self.missing(name, &what),
                },
                Some(Err(error)) => self.missing(name, &error.to_string()),
                Some(Ok(state)) => match self.behind(spec, state) {
                    None => continue,
                    Some(what) => match self.waived(name) {
                        Some(waived) => waived,
                        None => Some(Waiting::on(name, what)),
                    },
                },
            };
            match shut {
                Some(found) => waiting.push(found),
                None => passed.push(name.to_owned()),
            }
        }
        for (name, why) in &self.observed.evidence.left_out {
            match self.missing(name, why) {
                Some(found) => waiting.push(found),
                None => passed.push(name.clone()),
            }
        }
        if passed.len() > MOST_EXCEPTIONS {
            let text = format!("more than {MOST_EXCEPTIONS} clusters are missing");
            waiting.push(Waiting::on_all(text, None));
        }
        (waiting, passed)
    }

    /// What the CAs still owe.
    fn authorities(&self) -> Option<Waiting> {
        if (self.record.direction, self.record.phase) != (Direction::Forward, Phase::Preparing) {
            return None;
        }
        let journal = &self.observed.journal;
        let root = journal.roots.get(&self.record.roots.to);
        let root = root.map(|kept| &kept.record);
        let Some(root) = root.filter(|root| root.certificate.is_some()) else {
            let text = format!("root g{} is not made yet", self.record.roots.to);
            return Some(Waiting::on_all(text, None));
        };
        let ends = |number: u32| {
            let kept = journal.roots.get(&number);
            kept.and_then(|kept| Some(kept.record.certificate.as_ref()?.not_after()))
        };
        let (from, to) = (self.record.roots.from, self.record.roots.to);
        if self.relay.enrols() && wants_cross(self.record) && ends(to) <= ends(from) {
            let text = format!(
                "root g{to} does not end after root g{from}, and clients that enrol take the one that ends \
                 last for the newest; roll back, and have a root that lives longer"
            );
            return Some(Waiting::on_all(text, None));
        }
        if !certified(self.relay, self.record, root) {
            let text = "the roots have not certified each other yet";
            return Some(Waiting::on_all(text, None));
        }
        let number = self.record.signers.to;
        let signer = journal.signers.get(&number).map(|kept| &kept.record);
        let made = signer.filter(|signer| signer.certificate.is_some());
        let Some(signer) = made else {
            let text = format!("signer g{number} is not certified yet");
            return Some(Waiting::on_all(text, None));
        };
        if signer.cross.is_none() && wants_cross(self.record) {
            let text = format!("the old root has not certified signer g{number} yet");
            return Some(Waiting::on_all(text, None));
        }
        [root, signer].into_iter().find_map(|ca| self.too_short(ca))
    }

    /// A CA that ends before the rotation to it can be over: how long one lives that existed before is known
    /// only now.
    fn too_short(&self, ca: &GenerationRecord) -> Option<Waiting> {
        let end = ca.certificate.as_ref()?.not_after();
        let least = soaking_ahead(self.relay, self.record, self.is_strict(), self.now);
        let over = self.now.checked_add(least).unwrap_or(Timestamp::MAX);
        (end <= over).then(|| {
            let (level, number) = (ca.level, ca.number);
            let text = format!(
                "{level} g{number} ends at {end}, and the rotation is not over before {over}; shorten \
                 rotation.soak, or roll back and have a {level} that lives longer"
            );
            Waiting::on_all(text, None)
        })
    }

    fn soak(&self) -> Option<Waiting> {
        let until = self.soaked()?;
        (self.now < until).then(|| Waiting::on_all("the soak time is not over", Some(until)))
    }

    /// When the soak time of the phase is over, if it has one.
    pub(super) fn soaked(&self) -> Option<Timestamp> {
        if !soaks(self.record, self.is_strict()) {
            return None;
        }
        // After the chains are cut, and in a rollback after they are whole again, too: whoever has them
        // from a mounted Secret presents the earlier ones for a while.
        let soak = self.relay.rotation.soak;
        let entered = self.record.trimmed.unwrap_or(self.record.since());
        let since = self.rotated().map_or(entered, |at| at.max(entered));
        Some(since.checked_add(soak).unwrap_or(Timestamp::MAX))
    }

    /// When the last cluster got what the rotation is about: a phase can be older than that, where a
    /// cluster was away for a while or a round was slow.
    fn rotated(&self) -> Option<Timestamp> {
        // A time further ahead is that of a clock that was wrong.
        let sane = self.now.checked_add(self.relay.rotation.soak);
        let sane = sane.unwrap_or(Timestamp::MAX);
        let clusters = self.relay.clusters.iter();
        let states = clusters.filter_map(|spec| {
            let state = self.observed.clusters.get(spec.name.as_str())?;
            state.as_ref().ok().filter(|_| self.record.concerns(spec))
        });
        let agents = self.relay.clusters.iter().filter_map(|spec| {
            let agent = self.observed.evidence.agents.get(spec.name.as_str())?;
            let said = agent.acknowledged.as_ref()?;
            self.record.concerns(spec).then_some(said.at)
        });
        let times = states.filter_map(ClusterState::rotated).chain(agents);
        times.filter(|at| *at <= sane).max()
    }

    /// How a cluster is not as the phase wants it.
    fn behind(&self, spec: &ClusterSpec, state: &ClusterState) -> Option<String> {
        if self.record.phase == Phase::Preparing {
            return None;
        }
        self.bundles(spec, state)
            .or_else(|| self.leaves(spec, state))
            .or_else(|| self.in_use(spec))
    }

    fn bundles(&self, spec: &ClusterSpec, state: &ClusterState) -> Option<String> {
        let Some(trust) = &state.trust else {
            return Some("it has no trust bundle".to_owned());
        };
        let agent = spec.agent.as_ref();
        let pushed = agent.is_some_and(|agent| agent.delivery == Delivery::Push);
        let client = state.client.as_ref().filter(|_| pushed);
        let leaves = [state.server.as_ref(), state.signing.as_ref(), client];
        let leaves = leaves.into_iter().flatten().map(|held| {
            (
                held.place.as_str(),
                &held.owner,
                digest(held, |leaf| leaf.digest),
            )
        });
        let trust = (
            trust.place.as_str(),
            &trust.owner,
            digest(trust, |state| state.digest),
        );
        for (place, owner, digest) in std::iter::once(trust).chain(leaves) {
            match digest {
                _ if *owner != Owner::Us => {
                    return Some(format!("{place} is not managed by relay-pki"));
                }
                Err(reason) => return Some(format!("{place} is unusable: {reason}")),
                Ok(found) if Some(found) != self.bundle => {
                    return Some(format!("{place} does not hold the published trust bundle"));
                }
                Ok(_) => {}
            }
        }
        None
    }

    fn leaves(&self, spec: &ClusterSpec, state: &ClusterState) -> Option<String> {
        if spec.role == Role::Management
            && let Some(signer) = self.record.servers()
        {
            match &state.server {
                None => return Some("it has no server certificate".to_owned()),
                Some(held) => {
                    if let Some(objection) = self.leaf(held, signer) {
                        return Some(objection);
                    }
                }
            }
            if let Some(held) = &state.signing
                && let Some(objection) = self.leaf(held, signer)
            {
                return Some(objection);
            }
        }
        let agent = spec.agent.as_ref()?;
        let signer = self.record.agent(spec)?;
        match (agent.delivery, &state.client) {
            (Delivery::Push, None) => Some("it has no client certificate".to_owned()),
            (Delivery::Push, Some(held)) => self.leaf(held, signer),
            (Delivery::ServerSigned, Some(held)) => self.outlived(held, signer),
            // The relay server and the agent keep it among themselves.
            (Delivery::ServerSigned, None) => None,
            // Such a cluster is not looked at: what it holds is what its agent says.
            (Delivery::Enroll, _) => None,
        }
    }

    /// How the agent of a cluster that is not looked at is not as the phase wants it. Nobody can tell one
    /// that is slow from one that is gone.
    fn agent_behind(&self, spec: &ClusterSpec) -> Option<String> {
        let name = spec.name.as_str();
        let refused = self.observed.journal.is_revoked(name);
        if self.record.phase == Phase::Preparing || refused {
            return None;
        }
        let agent = self.observed.evidence.agents.get(name);
        let Some(acknowledged) = agent.and_then(|agent| agent.acknowledged.as_ref()) else {
            return Some("its agent has not said yet which trust bundle it holds".to_owned());
        };
        let at = acknowledged.at;
        if self.bundle.map(|bundle| bundle.to_string()).as_ref() != Some(&acknowledged.bundle) {
            return Some(format!(
                "its agent holds another trust bundle than the published one, as it said at {at}"
            ));
        }
        let given_out = self.given_out.as_ref();
        if !given_out.is_some_and(|tag| acknowledged.names(tag)) {
            return Some(format!(
                "its agent goes by other certificates of signers than it should, as it said at {at}"
            ));
        }
        let signer = self.record.agent(spec)?;
        let presented = agent.and_then(|agent| agent.presented.as_ref());
        match presented.map(|presented| &presented.certificate) {
            None => Some("its agent has not shown a certificate yet".to_owned()),
            Some(shown) if shown.signer != signer => Some(format!(
                "its agent shows a certificate of signer g{} until {}, not of signer g{signer}",
                shown.signer, shown.not_after
            )),
            Some(_) => None,
        }
    }

    /// Whether a certificate that we make is of `signer`, with what belongs to it.
    fn leaf(&self, held: &Held<TlsState>, signer: u32) -> Option<String> {
        let place = &held.place;
        let content = match &held.content {
            Ok(content) => content,
            Err(reason) => return Some(format!("{place} is unusable: {reason}")),
        };
        match &content.provenance {
            Provenance::Signer(found) if *found == signer => {
                let wanted = presented(&self.observed.journal, signer, self.now);
                let is_ca = content.leaf.is_ca();
                let found: Vec<_> = std::iter::once(&content.leaf)
                    .filter(|_| is_ca)
                    .chain(content.above.iter())
                    .collect();
                let fits = wanted.is_none_or(|wanted| found.into_iter().eq(&wanted));
                (!fits)
                    .then(|| format!("{place} carries the wrong certificates of signer g{signer}"))
            }
            Provenance::Signer(found) => Some(format!(
                "{place} is of signer g{found}, not of signer g{signer}"
            )),
            Provenance::Unusable(reason) => Some(format!("{place} is unusable: {reason}")),
            Provenance::Foreign { .. } => Some(format!("{place} is not of signer g{signer}")),
        }
    }

    /// Whether a certificate that the relay server made is of another signer and still accepted.
    fn outlived(&self, held: &Held<TlsState>, signer: u32) -> Option<String> {
        let content = held.content.as_ref().ok()?;
        match content.provenance {
            Provenance::Signer(found) if found != signer => Some(format!(
                "{} is of signer g{found} until {}; delete it and restart the agent to have a new one",
                held.place,
                content.leaf.not_after()
            )),
            _ => None,
        }
    }

    /// What shows that it does not use what it holds.
    fn in_use(&self, spec: &ClusterSpec) -> Option<String> {
        let evidence: &Evidence = &self.observed.evidence;
        match evidence.clusters.get(spec.name.as_str()) {
            Some(found) => found.open.first().cloned(),
            None => {
                let mut restarts = self.relay.rotation.restart.iter();
                restarts
                    .any(|workload| workload.role == spec.role)
                    .then(|| "nobody looked whether its workloads are restarted".to_owned())
            }
        }
    }

    /// Whether a cluster that is missing keeps the gate shut.
    fn missing(&self, cluster: &str, why: &str) -> Option<Waiting> {
        if let Some(waived) = self.waived(cluster) {
            return waived;
        }
        let waits = |what: String, until| {
            Some(Waiting {
                until,
                missing: true,
                ..Waiting::on(cluster, what)
            })
        };
        if self.relay.rotation.safe_mode || self.is_strict() {
            return waits(why.to_owned(), None);
        }
        let window = self.relay.rotation.safe_start_window;
        let until = self.record.since().checked_add(window);
        let until = until.unwrap_or(Timestamp::MAX);
        if self.now < until {
            return waits(why.to_owned(), Some(until));
        }
        match self.relied_on_until(cluster) {
            Some(end) if self.now < end => waits(
                format!("{why}; until it is back, it may rely on what is given up next"),
                Some(end),
            ),
            _ => None,
        }
    }

    /// What a waiver makes of a cluster that is not as it should be: nothing without one, else whether
    /// it is still waited for.
    fn waived(&self, cluster: &str) -> Option<Option<Waiting>> {
        let waiver = self.record.waivers.get(cluster)?;
        let end = self.relied_on_until(cluster);
        let end = end.map(|end| end.min(waiver.until));
        Some(end.filter(|end| self.now < *end).map(|end| Waiting {
            until: Some(end),
            missing: true,
            ..Waiting::on(cluster, "it is waived, and kept able to connect until then")
        }))
    }

    /// In the phases that end the overlap, and after which keys are destroyed: until when a cluster that was
    /// not seen may rely on it. What runs out before needs nobody's care.
    fn relied_on_until(&self, cluster: &str) -> Option<Timestamp> {
        let gives_up = matches!(
            (self.record.direction, self.record.phase),
            (_, Phase::Draining)
                | (Direction::Forward, Phase::Retiring)
                | (Direction::Rollback, Phase::Publishing)
        );
        if !gives_up || self.record.level == Level::Signer || self.record.emergency {
            return None;
        }
        let old = match self.record.direction {
            Direction::Forward => (self.record.signers.from, self.record.roots.from),
            Direction::Rollback => (self.record.signers.to, self.record.roots.to),
        };
        let journal = &self.observed.journal;
        let signer = journal.signers.get(&old.0);
        let root = journal.roots.get(&old.1);
        [signer, root]
            .into_iter()
            .flatten()
            .filter_map(|kept| Some(kept.record.certificate.as_ref()?.not_after()))
            .chain(self.connects_until(cluster))
            .min()
    }

    /// When the last certificate ends that an agent which enrols is known to have: nobody lets it in
    /// afterwards, and a person has to bring it a token. With the shared token it helps itself, as long as it
    /// knows a root of the server.
    fn connects_until(&self, cluster: &str) -> Option<Timestamp> {
        let agent = self.observed.evidence.agents.get(cluster)?;
        let needs_token = self.relay.enrolment_tokens == EnrolmentTokens::PerCluster;
        agent.ends.filter(|_| needs_token)
    }

    /// Whether no party that missed a step could go on: then none may.
    fn is_strict(&self) -> bool {
        is_strict(&self.observed.journal, self.record)
    }
}

/// Whether the two roots have certified each other, as far as that is wanted and can be had: EST clients live by
/// it.
pub(crate) fn certified(relay: &Relay, record: &RotationRecord, new: &GenerationRecord) -> bool {
    let wanted = wants_cross(record) && relay.enrols();
    !wanted || (new.cross.is_some() && new.predecessor.is_some())
}

/// Whether a rotation needs the old root to certify the new signer, too.
pub(crate) fn wants_cross(record: &RotationRecord) -> bool {
    record.level == Level::Root && !record.emergency
}

/// Whether a rotation has to do without a certificate of its signer under the old root.
pub(crate) fn is_strict(journal: &Journal, record: &RotationRecord) -> bool {
    let signer = journal.signers.get(&record.signers.to);
    let cross = signer.and_then(|kept| kept.record.cross.as_ref());
    wants_cross(record) && matches!(cross, Some(Cross::Impossible(_)))
}

/// Whether the new signer has a certificate under the old root, too.
pub(super) fn is_crossed(journal: &Journal, record: &RotationRecord) -> bool {
    let signer = journal.signers.get(&record.signers.to);
    signer.is_some_and(|kept| kept.record.cross_certificate().is_some())
}

/// The bundle without the new root, which clusters that come later may go on holding.
pub(crate) fn bundle_before(journal: &Journal, record: &RotationRecord) -> Option<TrustBundle> {
    let roots = journal.roots.values().map(|kept| &kept.record);
    let others = roots.filter(|root| root.number != record.roots.to);
    let trusted = others.filter(|root| Status::is_trusted(root.status));
    TrustBundle::new(trusted.filter_map(|root| root.certificate.clone())).ok()
}

fn digest<T>(held: &Held<T>, of: impl Fn(&T) -> BundleDigest) -> Result<BundleDigest, &String> {
    held.content.as_ref().map(of)
}
