//! What a rotation comes to, before it is begun and while it is under way.

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;

use super::{Direction, Phase, Refusal};
use crate::config::{Delivery, Relay, Role};
use crate::journal::RotationRecord;

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
pub fn forecast(relay: &Relay, record: &RotationRecord) -> Forecast {
    let root = record.level == Level::Root;
    let crossed = root && !record.emergency;
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
        let each = match (root, crossed) {
            (true, true) => 4,
            (true, false) => 1,
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
        restarts: restarts
            .map(|it| format!("{}/{} ({})", it.kind, it.name, it.role))
            .collect(),
        leaves,
        least: least(relay, record),
    }
}

fn least(relay: &Relay, record: &RotationRecord) -> SignedDuration {
    let rounds = match (record.emergency, record.canary.is_empty()) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    relay.rotation.soak.saturating_mul(rounds)
}

/// When a rotation is over at the earliest; nothing while somebody stopped it.
pub fn expected_end(relay: &Relay, record: &RotationRecord, now: Timestamp) -> Option<Timestamp> {
    if record.paused.is_some() || record.phase.is_over() {
        return None;
    }
    let back = record.direction == Direction::Rollback;
    let soaked = record.trimmed.is_some() || record.phase == Phase::Retiring;
    if back || soaked || record.emergency {
        return Some(now);
    }
    let soak = relay.rotation.soak;
    let first = !record.canary.is_empty() && record.widened.is_none();
    let mut end = match record.phase {
        Phase::Draining => record.since().checked_add(soak).ok()?.max(now),
        _ => now.checked_add(soak).ok()?,
    };
    if first {
        end = end.checked_add(soak).ok()?;
    }
    Some(end)
}

/// Refuses what can never be met: what is new has to live longer than it takes to bring it in.
pub(super) fn check_policy(relay: &Relay, record: &RotationRecord) -> Result<(), Refusal> {
    let least = least(relay, record);
    let root = (record.level == Level::Root).then_some(("root", relay.root.validity));
    let lives = [
        root,
        Some(("signer", relay.signer.validity)),
        Some(("server", relay.server.validity)),
    ];
    let agents = relay.agents().map(|(_, agent)| ("agents", agent.validity));
    let short = lives.into_iter().flatten().chain(agents);
    match short.into_iter().find(|(_, life)| life.duration() <= least) {
        None => Ok(()),
        Some((what, life)) => Err(Refusal::new(
            format!(
                "{what}.validity is {life}, and the rotation takes {} s at least (rotation.soak)",
                least.as_secs()
            ),
            format!("shorten rotation.soak or lengthen {what}.validity"),
        )),
    }
}
