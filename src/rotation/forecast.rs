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
        restarts: restarts.map(|it| format!("{it} ({})", it.role)).collect(),
        leaves,
        least: least(relay, record),
    }
}

/// How often a rotation soaks: on new certificates, once more for the clusters that go first, and on
/// chains that are cut.
fn least(relay: &Relay, record: &RotationRecord) -> SignedDuration {
    let soaks = match record.emergency {
        true => 0,
        false => 1 + u8::from(!record.canary.is_empty()) + u8::from(cuts_chains(record)),
    };
    relay.rotation.soak.saturating_mul(soaks.into())
}

/// Whether the signer has a certificate under the old root, too, that is given up in the end.
fn cuts_chains(record: &RotationRecord) -> bool {
    record.level == Level::Root && !record.emergency
}

/// When a rotation is over at the earliest; nothing while somebody stopped it.
pub fn expected_end(relay: &Relay, record: &RotationRecord, now: Timestamp) -> Option<Timestamp> {
    if record.paused.is_some() || record.phase.is_over() {
        return None;
    }
    let soak = relay.rotation.soak;
    let soaked = |since: Timestamp| Some(since.checked_add(soak).ok()?.max(now));
    match (record.direction, record.phase) {
        (_, Phase::Retiring) => Some(now),
        (_, Phase::Draining) if record.trimmed.is_some() => soaked(record.trimmed?),
        (Direction::Rollback, Phase::Draining) => soaked(record.since()),
        (Direction::Rollback, _) => Some(now),
        _ if record.emergency => Some(now),
        (Direction::Forward, phase) => {
            let mut end = match phase {
                Phase::Draining => soaked(record.since())?,
                _ => now.checked_add(soak).ok()?,
            };
            let first = !record.canary.is_empty() && record.widened.is_none();
            for _ in 0..u8::from(first) + u8::from(cuts_chains(record)) {
                end = end.checked_add(soak).ok()?;
            }
            Some(end)
        }
    }
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
