use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::KeyType;

use super::forecast::check_policy;
use super::old_keys::check_old_keys;
use super::{Direction, Phase};
use crate::config::Relay;
use crate::engine::Observed;
use crate::journal::{Entry, GenerationRecord, Journal, Passage, RotationRecord, Signature, Why};

/// A rotation that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is to be rotated.
    pub level: Level,
    /// Who asks.
    pub by: String,
    /// Why.
    pub why: Why,
    /// The clusters that go first.
    pub canary: Vec<String>,
    /// Whether the old root is compromised.
    pub emergency: bool,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// A new rotation, to be recorded.
    New(Box<RotationRecord>),
    /// One is under way, and becomes an emergency: to be recorded.
    Escalated(Box<RotationRecord>),
    /// One is under way that is just this.
    Running(u32),
}

/// Why something is not done to a rotation, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {remedy}")]
pub struct Refusal {
    /// What is in the way.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// Begins a rotation, or finds the one under way that was asked for with the same words.
pub fn begin(
    relay: &Relay,
    observed: &Observed,
    request: &Request,
    now: Timestamp,
) -> Result<Begun, Refusal> {
    let journal = &observed.journal;
    if request.emergency && request.level == Level::Signer {
        return Err(Refusal::new(
            "a signer cannot be given up at once: whatever it signed is accepted as long as its root is",
            "`relay-pki rotate root --emergency` gives up both",
        ));
    }
    if let Some(running) = journal.rotation() {
        return join(running, request, now);
    }
    let canary = canary(relay, request)?;
    let root = journal.active(Level::Root);
    if let Some(root) = root.filter(|root| root.provider.is_none())
        && request.level == Level::Signer
        && !relay.is_offline(&relay.root.provider)
    {
        return Err(Refusal::new(
            format!("the private key of root g{} is not in reach", root.number),
            "have the owner of the root certify a new signer and adopt that, or `relay-pki rotate root`",
        ));
    }
    let passage = |level: Level, moves: bool| {
        let Some(active) = journal.active(level) else {
            return Err(Refusal::new(
                format!("relay {} has no active {level}", relay.name),
                "run `relay-pki bootstrap` first",
            ));
        };
        let from = active.number;
        let to = if moves {
            journal.next_number(level)
        } else {
            from
        };
        Ok(Passage { from, to })
    };
    if request.level == Level::Root && !request.emergency {
        newest(relay, root, now)?;
    }
    let record = RotationRecord {
        number: journal.next_rotation(),
        level: request.level,
        roots: passage(Level::Root, request.level == Level::Root)?,
        signers: passage(Level::Signer, true)?,
        phase: Phase::Preparing,
        direction: Direction::Forward,
        entered: vec![Entry {
            phase: Phase::Preparing,
            direction: Direction::Forward,
            at: now,
        }],
        trimmed: None,
        canary,
        widened: None,
        emergency: request.emergency,
        approvals: Vec::new(),
        paused: None,
        waivers: Default::default(),
        passed: Default::default(),
        requested: Signature {
            by: request.by.clone(),
            at: now,
        },
        why: request.why,
    };
    check_policy(relay, journal, &record, now)?;
    check_old_keys(relay, observed, &record)?;
    Ok(Begun::New(Box::new(record)))
}

/// Refuses a new root that ends before the old one where agents enrol: of several roots, an EST client takes the
/// one that ends last for the newest (RFC 7030 section 4.1.3).
fn newest(relay: &Relay, active: Option<&GenerationRecord>, now: Timestamp) -> Result<(), Refusal> {
    let old = active.and_then(|root| Some((root.number, root.certificate.as_ref()?.not_after())));
    let end = now.checked_add(relay.root.validity.duration());
    let Some((number, old)) = old.filter(|(_, old)| end.is_ok_and(|end| end < *old)) else {
        return Ok(());
    };
    match relay.enrols() {
        false => Ok(()),
        true => Err(Refusal::new(
            format!(
                "root g{number} ends at {old}, after a new one that is valid for {}; clients that enrol \
                 take the one that ends last for the newest",
                relay.root.validity
            ),
            "lengthen root.validity",
        )),
    }
}

/// What a request is to a rotation under way.
fn join(running: &RotationRecord, request: &Request, now: Timestamp) -> Result<Begun, Refusal> {
    let forward = running.direction == Direction::Forward;
    let same = running.level == request.level && forward;
    if same && request.emergency && !running.emergency && running.phase < Phase::Retiring {
        let mut record = running.clone();
        record.emergency = true;
        record.paused = None;
        record.canary.clear();
        if record.phase > Phase::Preparing {
            record.enter(Phase::Retiring, now);
        }
        return Ok(Begun::Escalated(Box::new(record)));
    }
    let same_words = request.canary.is_empty() || running.canary == request.canary;
    if same && same_words && request.emergency <= running.emergency {
        return Ok(Begun::Running(running.number));
    }
    Err(Refusal::new(
        format!(
            "rotation {} of the {} is {} ({})",
            running.number, running.level, running.phase, running.direction
        ),
        "let it end, or take it back with `relay-pki rotation rollback`; `relay-pki rotation status` \
         says what it waits for",
    ))
}

fn canary(relay: &Relay, request: &Request) -> Result<Vec<String>, Refusal> {
    let mut names = request.canary.clone();
    names.sort_unstable();
    names.dedup();
    for name in &names {
        let mut agents = relay.agents();
        if !agents.any(|(spec, _)| spec.name.as_str() == name) {
            return Err(Refusal::new(
                format!("relay {} has no agent in a cluster {name}", relay.name),
                "`relay-pki status` lists the clusters",
            ));
        }
    }
    if request.emergency && !names.is_empty() {
        return Err(Refusal::new(
            "in an emergency no cluster goes first",
            "leave out --canary",
        ));
    }
    Ok(names)
}

/// A rotation whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What is to be rotated.
    pub level: Level,
    /// Why.
    pub why: Why,
    /// The same in words.
    pub what: String,
}

/// The rotation that is due: root before signer, because a new root has a new signer.
pub fn due(relay: &Relay, journal: &Journal, now: Timestamp) -> Option<Due> {
    if journal.rotation().is_some() {
        return None;
    }
    let root = journal.active(Level::Root);
    let signer = journal.active(Level::Signer);
    let (spec, signer_spec) = (&relay.root, &relay.signer);
    root.and_then(|root| changed(root, &spec.provider, spec.key_type))
        .or_else(|| root.and_then(|root| root_ends(relay, root, now)))
        .or_else(|| signer.and_then(|it| changed(it, &signer_spec.provider, signer_spec.key_type)))
        .or_else(|| signer.and_then(|signer| signer_ends(relay, signer, now)))
}

/// Whether the document asks for another one. One that was taken over without its key is nobody's
/// choice.
fn changed(active: &GenerationRecord, provider: &str, key_type: KeyType) -> Option<Due> {
    let holder = active.provider.as_deref()?;
    let (level, number) = (active.level, active.number);
    (holder != provider || active.key_type != key_type).then(|| Due {
        level,
        why: Why::Changed,
        what: format!(
            "{level} g{number} is {} in {holder}, but should be {key_type} in {provider}",
            active.key_type
        ),
    })
}

/// A root is due when a signer that it certifies would be cut short, but not in the first two thirds
/// of its life.
fn root_ends(relay: &Relay, root: &GenerationRecord, now: Timestamp) -> Option<Due> {
    let validity = root.certificate.as_ref()?.validity().ok()?;
    let (from, to) = (validity.not_before(), validity.not_after());
    let signer = relay.signer.validity.duration();
    let cut_short = to.checked_sub(signer).unwrap_or(Timestamp::MIN);
    let late = from.checked_add(to.duration_since(from) / 3 * 2);
    let at = cut_short.max(late.unwrap_or(Timestamp::MAX));
    (at <= now).then(|| Due {
        level: Level::Root,
        why: Why::Due,
        what: format!("root g{} ends at {to}", root.number),
    })
}

fn signer_ends(relay: &Relay, signer: &GenerationRecord, now: Timestamp) -> Option<Due> {
    let validity = signer.certificate.as_ref()?.validity().ok()?;
    // One that has ended is replaced at once: there is nothing left to be careful of.
    let due = validity.contains(now) && relay.signer.due_at(&validity) <= now;
    due.then(|| Due {
        level: Level::Signer,
        why: Why::Due,
        what: format!("signer g{} ends at {}", signer.number, validity.not_after()),
    })
}
