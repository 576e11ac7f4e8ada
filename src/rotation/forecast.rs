//! What a rotation comes to, before it is begun and while it is under way.

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;

use super::Refusal;
use super::gate::{Gate, wants_cross};
use super::soak::{is_foreseen_strict, soaking_ahead, soaking_until_reissued};
use crate::config::{Delivery, Relay, Role};
use crate::engine::Observed;
use crate::journal::{Journal, RotationRecord};

/// What a rotation does to a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// How many Secrets are changed.
    pub secrets: usize,
    /// How often they are written, all together.
    pub writes: usize,
    /// What is restarted, once for each change of trust: `Deployment/gloo-mesh-agent (workload)`.
    pub restarts: Vec<String>,
    /// How many certificates of servers and agents are issued.
    pub leaves: usize,
    /// How long it takes at least.
    pub least: SignedDuration,
}

/// What a rotation that begins now comes to.
pub fn forecast(
    relay: &Relay,
    journal: &Journal,
    record: &RotationRecord,
    now: Timestamp,
) -> Forecast {
    let root = record.level == Level::Root;
    let strict = is_foreseen_strict(relay, journal, record, now);
    let crossed = wants_cross(record) && !strict;
    let signed = relay
        .agents()
        .any(|(_, agent)| agent.delivery == Delivery::ServerSigned);
    let (mut secrets, mut writes, mut leaves) = (0, 0, 0);
    for spec in &relay.clusters {
        // The bundle comes and goes; a certificate is issued once, and touched when the bundle beside
        // it comes and goes, and when its chain is cut.
        let pushed = spec.agent.as_ref();
        let pushed = pushed.is_some_and(|agent| agent.delivery == Delivery::Push);
        let certificates = usize::from(spec.role == Role::Management) + usize::from(pushed);
        let signing = usize::from(spec.role == Role::Management && signed);
        let touched = certificates + signing;
        let each = match (wants_cross(record), crossed) {
            (true, true) => 4,
            (true, false) => 3,
            (false, _) => 1,
        };
        secrets += touched + usize::from(root);
        writes += touched * each;
        writes += match (root, record.emergency) {
            (true, false) => 2,
            (true, true) => 1,
            (false, _) => 0,
        };
        leaves += certificates;
    }
    let restarts = relay.rotation.restart.iter();
    Forecast {
        secrets,
        writes,
        restarts: restarts.map(|it| format!("{it} ({})", it.role)).collect(),
        leaves,
        least: soaking_ahead(relay, record, strict, now),
    }
}

/// When a rotation is over at the earliest; nothing while somebody stopped it.
pub fn expected_end(
    relay: &Relay,
    observed: &Observed,
    record: &RotationRecord,
    now: Timestamp,
) -> Option<Timestamp> {
    if record.paused.is_some() || record.phase.is_over() {
        return None;
    }
    let strict = is_foreseen_strict(relay, &observed.journal, record, now);
    let soaked = Gate::new(relay, observed, record, now).soaked();
    let next = soaked.map_or(now, |until| until.max(now));
    let ahead = soaking_ahead(relay, record, strict, now);
    next.checked_add(ahead).ok()
}

/// Refuses what can never be met: what is new has to live longer than it takes to bring it in, and what is
/// old until nobody needs it any more.
pub(super) fn check_policy(
    relay: &Relay,
    journal: &Journal,
    record: &RotationRecord,
    now: Timestamp,
) -> Result<(), Refusal> {
    let strict = is_foreseen_strict(relay, journal, record, now);
    let least = soaking_ahead(relay, record, strict, now);
    let root = (record.level == Level::Root).then_some(("root", relay.root.validity));
    let lives = [
        root,
        Some(("signer", relay.signer.validity)),
        Some(("server", relay.server.validity)),
    ];
    let agents = relay.agents().map(|(_, agent)| ("agents", agent.validity));
    let short = lives.into_iter().flatten().chain(agents);
    if let Some((what, life)) = short.into_iter().find(|(_, life)| life.duration() <= least) {
        return Err(Refusal::new(
            format!(
                "{what}.validity is {life}, and the rotation takes {} s at least (rotation.soak)",
                least.as_secs()
            ),
            format!("shorten rotation.soak or lengthen {what}.validity"),
        ));
    }
    if record.emergency {
        return Ok(());
    }
    let reissued = soaking_until_reissued(relay, record, strict, now);
    let signer = (Level::Signer, record.signers.from, reissued);
    // Without its help nobody relies on the old root longer than on its signer.
    let root = (record.level == Level::Signer || !strict).then_some(least);
    let root = root.map(|least| (Level::Root, record.roots.from, least));
    let old = [root, Some(signer)].into_iter().flatten();
    for (level, number, needed) in old {
        let kept = journal.level(level).get(&number);
        let end = kept.and_then(|kept| Some(kept.record.certificate.as_ref()?.not_after()));
        let stays = level == Level::Root && record.level == Level::Signer;
        // What has ended already, and is replaced, is nothing to be careful of.
        let short = end.filter(|end| {
            (stays || now < *end) && now.checked_add(needed).is_ok_and(|until| *end <= until)
        });
        if let Some(end) = short {
            return Err(Refusal::new(
                format!(
                    "{level} g{number} ends at {end}, and is needed for {} s more at least (rotation.soak)",
                    needed.as_secs()
                ),
                match stays {
                    true => "`relay-pki rotate root`, or shorten rotation.soak",
                    false => "shorten rotation.soak",
                },
            ));
        }
    }
    Ok(())
}
