//! Planning of roots and signers.

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{Certificate, KeyType, TrustBundle};

use super::super::observed::Observed;
use super::super::step::{Action, Cause, Step};
use super::adopt::Adopted;
use super::{Goal, Problem, not_bootstrapped};
use crate::config::Relay;
use crate::journal::{GenerationRecord, Journal, Status};

/// What becomes of the CAs.
pub(super) struct Authorities {
    /// Steps on them, in order.
    pub(super) steps: Vec<Step>,
    /// What keeps a CA from being replaced, while the old one still serves.
    pub(super) problems: Vec<Problem>,
    /// The bundle once they are done; `None` if a root is still to be made.
    pub(super) bundle: Option<TrustBundle>,
    /// The signer that will be active; `None` if it is still to be made.
    pub(super) signer: Option<Certificate>,
}

/// The root that will be active.
struct Root {
    number: u32,
    is_new: bool,
    /// Whether it can certify another signer.
    signs: bool,
}

/// Plans roots and signers, on top of what is adopted. `journal` has the records once a rotation did
/// its part.
pub(super) fn steps(
    relay: &Relay,
    goal: &Goal,
    observed: &Observed,
    journal: &Journal,
    adopted: Adopted,
    now: Timestamp,
) -> Result<Authorities, Problem> {
    let mut steps = adopted.steps;
    let mut add = |action, cause| {
        steps.push(Step {
            cluster: relay.home().name.to_string(),
            action,
            cause,
        });
    };
    refuse_lost_records(relay, observed)?;
    let root = match (journal.active(Level::Root), &adopted.root) {
        (Some(root), _) => {
            // A rotation leads away from it.
            if journal.rotation().is_none() {
                refuse_expired(relay, root, now)?;
            }
            Root {
                number: root.number,
                is_new: false,
                signs: root.provider.is_some() || relay.is_offline(&relay.root.provider),
            }
        }
        (None, Some(adopted)) => Root {
            number: adopted.number,
            is_new: false,
            signs: adopted.has_key || relay.is_offline(&relay.root.provider),
        },
        (None, None) if !goal.converges() => return Err(not_bootstrapped(relay, Level::Root)),
        (None, None) => {
            let (provider, key_type) = (&relay.root.provider, relay.root.key_type);
            let number = number_to_make(journal, Level::Root, provider, key_type, now);
            let establish = Action::EstablishRoot {
                number,
                provider: provider.clone(),
                key_type,
                activate: true,
            };
            add(establish, Cause::Missing);
            Root {
                number,
                is_new: true,
                signs: true,
            }
        }
    };
    let mut problems = Vec::new();
    let (signer, cause) = signer(relay, goal, journal, adopted.signer, now)?;
    let (signer, new_signer) = match (signer, cause) {
        (Some(_), None)
            if adopted.signer.is_none()
                && !usable(journal, now)
                && journal.rotation().is_none() =>
        {
            return Err(out_of_time(relay, journal));
        }
        (Some(signer), None) => (signer, false),
        (Some(active), Some(_)) if !root.signs && usable(journal, now) => {
            problems.push(out_of_reach(relay, root.number));
            (active, false)
        }
        (_, cause) if root.signs => {
            let (provider, key_type) = (&relay.signer.provider, relay.signer.key_type);
            let number = number_to_make(journal, Level::Signer, provider, key_type, now);
            let establish = Action::EstablishSigner {
                number,
                root: root.number,
                provider: provider.clone(),
                key_type,
                cross: None,
                activate: true,
            };
            add(establish, cause.unwrap_or(Cause::Missing));
            (number, true)
        }
        _ => return Err(out_of_reach(relay, root.number)),
    };
    let recorded = journal.signers.get(&signer);
    let recorded = recorded.and_then(|kept| kept.record.certificate.clone());
    let adopted_signer = steps.iter().find_map(|step| match &step.action {
        Action::AdoptSigner { certificate, .. } => Some(certificate.clone()),
        _ => None,
    });
    Ok(Authorities {
        steps,
        problems,
        bundle: match root.is_new {
            true => None,
            false => Some(bundle(relay, journal, &adopted.anchors)?),
        },
        signer: adopted_signer.or(recorded).filter(|_| !new_signer),
    })
}

/// The signer that there is, and why another one has to be made.
fn signer(
    relay: &Relay,
    goal: &Goal,
    journal: &Journal,
    adopted: Option<u32>,
    now: Timestamp,
) -> Result<(Option<u32>, Option<Cause>), Problem> {
    if adopted.is_some() {
        return Ok((adopted, None));
    }
    if let Some(active) = journal.active(Level::Signer) {
        return Ok((Some(active.number), replacement(goal, active, journal, now)));
    }
    // A run that was killed while it put a new signer into use has left none active: whoever comes
    // next has to finish that, or nothing can be signed.
    let replaced = |record: &GenerationRecord| record.status == Status::Retiring;
    let mut earlier = journal.signers.values().map(|kept| &kept.record);
    match journal.begun(Level::Signer) {
        Some(_) if earlier.any(replaced) => Ok((None, None)),
        _ if goal.converges() => Ok((None, None)),
        _ => Err(not_bootstrapped(relay, Level::Signer)),
    }
}

/// The number of the generation to make: one that was begun is finished before another one is
/// started, unless the document wants something else by now or its time is over.
fn number_to_make(
    journal: &Journal,
    level: Level,
    provider: &str,
    key_type: KeyType,
    now: Timestamp,
) -> u32 {
    let begun = journal
        .begun(level)
        .filter(|begun| match &begun.certificate {
            Some(certificate) => certificate.is_valid_at(now),
            None => {
                begun.provider.as_deref() == Some(provider)
                    && begun.key_type == key_type
                    && begun.validity.is_none_or(|validity| validity.contains(now))
            }
        });
    begun.map_or_else(|| journal.next_number(level), |begun| begun.number)
}

/// Why the active signer has to be replaced at once. One that only nears its end is rotated.
fn replacement(
    goal: &Goal,
    signer: &GenerationRecord,
    journal: &Journal,
    now: Timestamp,
) -> Option<Cause> {
    // The rotation under way brings another one.
    if !goal.converges() || journal.rotation().is_some() {
        return None;
    }
    let validity = signer.certificate.as_ref()?.validity().ok()?;
    let text = || format!("the signer was valid from {validity}");
    (!validity.contains(now)).then(|| Cause::Broken(text()))
}

/// Whether the active signer can go on for now.
fn usable(journal: &Journal, now: Timestamp) -> bool {
    let active = journal.active(Level::Signer);
    let certificate = active.and_then(|record| record.certificate.as_ref());
    certificate.is_some_and(|certificate| certificate.is_valid_at(now))
}

/// Every leaf under it would be refused; to ask for one would only cost.
fn out_of_time(relay: &Relay, journal: &Journal) -> Problem {
    let active = journal.active(Level::Signer);
    let validity = active.and_then(|record| record.certificate.as_ref()?.validity().ok());
    let validity = validity.map_or_else(|| "unknown".to_owned(), |found| found.to_string());
    Problem::new(
        &relay.home().name,
        format!("the active signer is valid from {validity}, not now"),
        "run `relay-pki bootstrap`, which replaces it, or set the clock right",
    )
}

fn out_of_reach(relay: &Relay, root: u32) -> Problem {
    Problem::new(
        &relay.home().name,
        format!(
            "relay {} needs a new signer, but the private key of its root g{root} is not in reach",
            relay.name
        ),
        "relay-pki took over only the signer; have the owner of the root certify a new \
                 one, and adopt that",
    )
}

/// Secrets of ours without any record of their root: the records are somewhere else, or lost. A new
/// root beside the one in use would lock everybody out.
fn refuse_lost_records(relay: &Relay, observed: &Observed) -> Result<(), Problem> {
    if !observed.journal.roots.is_empty() {
        return Ok(());
    }
    let problem = |what: String, remedy: &str| Err(Problem::new(&relay.home().name, what, remedy));
    let mut clusters = observed.clusters.iter();
    let found = clusters.find_map(|(name, state)| Some((name, state.as_ref().ok()?.ours()?)));
    if let Some((cluster, place)) = found {
        return problem(
            format!(
                "{place} in {cluster} belongs to relay {}, but its records are not in this cluster",
                relay.name
            ),
            "name the management cluster that has the records first in the document, or restore \
             them from a backup; a new root would lock every agent out",
        );
    }
    let home = relay.home().name.as_str();
    let mut others = observed.clusters.iter().filter(|(name, _)| *name != home);
    let any = others.clone().next().is_some();
    match any && others.all(|(_, state)| state.is_err()) {
        true => problem(
            "no other cluster can be read".to_owned(),
            "repair one first: whether this relay is new or has lost its records shows there",
        ),
        false => Ok(()),
    }
}

/// An expired root is an outage that no step of ours can hide.
fn refuse_expired(relay: &Relay, root: &GenerationRecord, now: Timestamp) -> Result<(), Problem> {
    match &root.certificate {
        Some(certificate) if !certificate.is_valid_at(now) => Err(Problem::new(
            &relay.home().name,
            format!(
                "the root {} is valid from {} to {}, not now ({now})",
                certificate.subject(),
                certificate.not_before(),
                certificate.not_after()
            ),
            "every peer refuses it already; move the records and Secrets away and \
                     bootstrap anew, or set the clock right",
        )),
        _ => Ok(()),
    }
}

/// The bundle that every Secret should hold once the authority steps are done.
fn bundle(
    relay: &Relay,
    journal: &Journal,
    adopted: &[Certificate],
) -> Result<TrustBundle, Problem> {
    let published = journal
        .roots
        .values()
        .filter(|kept| Status::is_trusted(kept.record.status))
        .filter_map(|kept| kept.record.certificate.clone());
    TrustBundle::new(published.chain(adopted.iter().cloned())).map_err(|error| {
        Problem::new(
            &relay.home().name,
            format!("the roots in use do not fit into one trust bundle: {error}"),
            "take roots that nobody uses out of the ca.crt entries",
        )
    })
}
