//! Planning of roots and signers.

use jiff::Timestamp;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{BundleDigest, TrustBundle};

use super::super::observed::Observed;
use super::super::step::{Action, Cause, Step};
use super::adopt::Adopted;
use super::{Goal, Problem, not_bootstrapped};
use crate::config::Relay;
use crate::journal::{GenerationRecord, Scope, Status};

/// What becomes of the CAs.
pub(super) struct Authorities {
    /// Steps on them, in order.
    pub(super) steps: Vec<Step>,
    /// The bundle once they are done; `None` if a root is still to be made.
    pub(super) bundle: Option<BundleDigest>,
    /// The signer that will be active.
    pub(super) signer: Option<u32>,
    /// Whether it is still to be made.
    pub(super) new_signer: bool,
}

/// Plans roots and signers, on top of what is adopted.
pub(super) fn steps(
    relay: &Relay,
    goal: &Goal,
    observed: &Observed,
    adopted: Adopted,
    now: Timestamp,
) -> Result<Authorities, Problem> {
    let journal = &observed.journal;
    let home = relay.home().name.to_string();
    let mut steps = adopted.steps;
    let step = |action, cause| Step {
        cluster: home.clone(),
        action,
        cause,
    };

    let active_root = journal
        .active(Level::Root)
        .filter(|_| adopted.root.is_none());
    let root = match (active_root, adopted.root) {
        (Some(root), _) => {
            refuse_expired(relay, root, now)?;
            root.number
        }
        (None, Some(number)) => number,
        (None, None) if !goal.converges() => return Err(not_bootstrapped(relay, Level::Root)),
        (None, None) => {
            let begun = journal.begun(Level::Root).map(|root| root.number);
            let number = begun.unwrap_or_else(|| journal.next_number(Level::Root));
            let establish = Action::EstablishRoot {
                number,
                provider: relay.root.provider.clone(),
                key_type: relay.root.key_type,
            };
            steps.push(step(establish, Cause::Missing));
            number
        }
    };
    let root_is_new = active_root.is_none() && adopted.root.is_none();

    let establish = |number, request| Action::EstablishSigner {
        number,
        root,
        provider: relay.signer.provider.clone(),
        key_type: relay.signer.key_type,
        request,
    };
    let requested = journal.requested(&[Scope::Signer]);
    let active = journal.active(Level::Signer);
    let signer = match (active, adopted.signer) {
        (_, Some(number)) => Some(number),
        (None, None) if !goal.converges() && journal.begun(Level::Signer).is_none() => {
            return Err(not_bootstrapped(relay, Level::Signer));
        }
        (None, None) => None,
        (Some(signer), None) => match replacement(relay, goal, signer, requested, now) {
            None => Some(signer.number),
            Some(cause) => {
                let number = next_signer(observed);
                steps.push(step(establish(number, requested), cause));
                return Ok(Authorities {
                    steps,
                    bundle: bundle(observed, &adopted.anchors, root_is_new),
                    signer: Some(number),
                    new_signer: true,
                });
            }
        },
    };
    let new_signer = signer.is_none();
    let signer = signer.unwrap_or_else(|| {
        let number = next_signer(observed);
        steps.push(step(establish(number, requested), Cause::Missing));
        number
    });
    Ok(Authorities {
        steps,
        bundle: bundle(observed, &adopted.anchors, root_is_new),
        signer: Some(signer),
        new_signer,
    })
}

/// A signer that was begun is finished before another one is started.
fn next_signer(observed: &Observed) -> u32 {
    let journal = &observed.journal;
    let begun = journal.begun(Level::Signer).map(|signer| signer.number);
    begun.unwrap_or_else(|| journal.next_number(Level::Signer))
}

/// Why the active signer has to be replaced.
fn replacement(
    relay: &Relay,
    goal: &Goal,
    signer: &GenerationRecord,
    requested: u64,
    now: Timestamp,
) -> Option<Cause> {
    let certificate = signer.certificate.as_ref()?;
    let validity = certificate.validity().ok()?;
    if goal.converges() && !validity.contains(now) {
        let text = format!("the signer was valid from {validity}");
        return Some(Cause::Broken(text));
    }
    if !goal.rotates(&[Scope::Signer]) {
        return None;
    }
    if signer.request < requested {
        return Some(Cause::Requested(requested));
    }
    let due = relay.signer.renewal.due_at(&validity, "signer");
    (goal == &Goal::Due && due <= now).then_some(Cause::Due(due))
}

/// An expired root is an outage that no step of ours can hide.
fn refuse_expired(relay: &Relay, root: &GenerationRecord, now: Timestamp) -> Result<(), Problem> {
    match &root.certificate {
        Some(certificate) if !certificate.is_valid_at(now) => Err(Problem {
            cluster: relay.home().name.to_string(),
            what: format!(
                "the root {} is valid from {} to {}, not now ({now})",
                certificate.subject(),
                certificate.not_before(),
                certificate.not_after()
            ),
            remedy: "every peer refuses it already; move the records and Secrets away and \
                     bootstrap anew, or set the clock right"
                .to_owned(),
            unreachable: false,
        }),
        _ => Ok(()),
    }
}

/// The digest of the bundle that every Secret should hold once the authority steps are done.
fn bundle(
    observed: &Observed,
    adopted: &[relay_pki_authority::x509::Certificate],
    root_is_new: bool,
) -> Option<BundleDigest> {
    if root_is_new {
        return None;
    }
    let published = observed
        .journal
        .roots
        .values()
        .filter(|kept| Status::is_trusted(kept.record.status))
        .filter_map(|kept| kept.record.certificate.clone());
    TrustBundle::new(published.chain(adopted.iter().cloned()))
        .ok()
        .map(|bundle| bundle.digest())
}
