//! What must hold in every state (the invariants of the design).

use relay_pki_authority::Level;

use super::fleet::{Fleet, whole};
use super::pool::now;
use super::state::{CLUSTERS, State};
use crate::journal::{RotationRecord, Status};
use crate::rotation::{Direction, Phase};

pub(super) fn violation(fleet: &mut Fleet, state: &State) -> Option<String> {
    everybody_is_accepted(fleet, state)
        .or_else(|| one_is_active(fleet, state))
        .or_else(|| keys_are_kept(fleet, state))
        .or_else(|| it_came_to_its_end(fleet, state))
}

/// I1 and I2: whatever chain a party may still present, every bundle that its peers may still use takes
/// it. So no root leaves a bundle as long as somebody may need it.
fn everybody_is_accepted(fleet: &mut Fleet, state: &State) -> Option<String> {
    let rotation = fleet.rotation(state.records)?;
    // The outage was accepted.
    if rotation.emergency {
        return None;
    }
    for n in 1..CLUSTERS {
        if given_up(fleet, fleet.rotation(state.records)?, n) {
            continue;
        }
        for (presents, accepts) in [(0, n), (n, 0)] {
            for chain in state.clusters[presents].chains() {
                for bundle in state.clusters[accepts].bundles() {
                    if !fleet.pool.accepts(presents, chain, bundle) {
                        let name = |n: usize| &fleet.pool.relay.clusters[n].name;
                        return Some(format!(
                            "I1: {} with {bundle:?} does not accept {chain:?} of {}",
                            name(accepts),
                            name(presents)
                        ));
                    }
                }
            }
        }
    }
    None
}

/// Whether a person accepted that a cluster is refused until it is brought up to date.
fn given_up(fleet: &Fleet, rotation: &RotationRecord, cluster: usize) -> bool {
    let name = fleet.pool.relay.clusters[cluster].name.as_str();
    let waiver = rotation.waivers.get(name);
    waiver.is_some_and(|waiver| waiver.until <= now())
}

/// I3: at most one generation of a level is active, and only a rollback goes back to a lower number.
fn one_is_active(fleet: &Fleet, state: &State) -> Option<String> {
    let records = fleet.records(state.records);
    let back = fleet
        .rotation(state.records)
        .is_some_and(|it| it.direction == Direction::Rollback);
    for level in [Level::Root, Level::Signer] {
        let status = |number| records.generation(level, number).map(|it| it.status);
        let (old, new) = (status(1), status(2));
        if old == Some(Status::Active) && new == Some(Status::Active) {
            return Some(format!("I3: both {level}s are active"));
        }
        let was_active = matches!(new, Some(Status::Retiring | Status::Retired));
        if old == Some(Status::Active) && was_active && !back {
            return Some(format!("I3: {level} g1 is active again without a rollback"));
        }
    }
    None
}

/// I5: no private key is gone while it signs, or while its certificate is in a bundle that is waited
/// for.
fn keys_are_kept(fleet: &Fleet, state: &State) -> Option<String> {
    let records = fleet.records(state.records);
    for level in [Level::Root, Level::Signer] {
        for number in [1, 2] {
            let Some(generation) = records.generation(level, number) else {
                continue;
            };
            if !generation.made || state.keys.has(level, number) {
                continue;
            }
            if generation.status == Status::Active {
                return Some(format!(
                    "I5: the key of the active {level} g{number} is gone"
                ));
            }
            if level == Level::Signer {
                continue;
            }
            let rotation = fleet.rotation(state.records);
            for (n, cluster) in state.clusters.iter().enumerate() {
                let name = fleet.pool.relay.clusters[n].name.as_str();
                // It is not waited for.
                let excepted = rotation.is_some_and(|it| {
                    it.passed.contains_key(name) || it.waivers.contains_key(name)
                });
                let excepted = excepted || left_out(fleet, state, n);
                let held = [cluster.held.trust, cluster.held.tls.bundle];
                if held.into_iter().any(|bundle| bundle.has(number)) && !excepted {
                    return Some(format!(
                        "I5: the key of root g{number} is gone, and {name} has it in its bundle"
                    ));
                }
            }
        }
    }
    None
}

/// Whether a gate may have been passed without a cluster, which is written down after the key is gone.
fn left_out(fleet: &Fleet, state: &State, cluster: usize) -> bool {
    let lost = state.left.losses < fleet.setup.left.losses;
    !fleet.pool.relay.rotation.safe_mode && lost && cluster > 0
}

/// I4 and what a rotation is for: once there is nothing more to do, everybody has what is new, or in a
/// rollback what was old, and the key of what was given up is gone.
fn it_came_to_its_end(fleet: &mut Fleet, state: &State) -> Option<String> {
    use super::explore::Model as _;
    if !fleet.is_end(state) {
        return None;
    }
    let rotation = fleet.rotation(state.records)?;
    let (stays, goes) = match rotation.phase {
        Phase::Done => (2, 1),
        _ => (1, 2),
    };
    let level = rotation.level;
    let wanted = whole(level, stays);
    if let Some(n) = (0..CLUSTERS).find(|n| state.clusters[*n].held != wanted) {
        return Some(format!(
            "it is over, and {} holds {:?} instead of {wanted:?}",
            fleet.pool.relay.clusters[n].name, state.clusters[n].held
        ));
    }
    let made = |level| fleet.records(state.records).generation(level, goes);
    let mut levels = vec![Level::Signer];
    levels.extend((level == Level::Root).then_some(Level::Root));
    // A leader that was overtaken while it prepared can make a key when all is over, which nobody uses
    // and nothing destroys: see docs/proofs.md.
    if fleet.setup.left.second > 0 {
        return None;
    }
    let kept = levels
        .into_iter()
        .find(|level| made(*level).is_some() && state.keys.has(*level, goes))?;
    Some(format!(
        "it is over, and the key of {kept} g{goes} is still there"
    ))
}
