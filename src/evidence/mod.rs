//! What shows that certificates are in use, and not only there: gathered while a rotation is under way,
//! anew for each plan, for its gates.
//!
//! Whatever cannot be looked at costs its own time limit, and is said in the evidence of its cluster.

mod workloads;

use crate::engine::{Fleet, Observed};
use crate::rotation::Phase;

/// Gathers what the document asks for into `observed`. Nothing while no rotation needs it.
pub(crate) async fn gather(fleet: &Fleet, observed: &mut Observed) {
    let Some(record) = observed.journal.rotation() else {
        return;
    };
    if record.phase == Phase::Preparing {
        return;
    }
    workloads::gather(fleet, observed).await;
}
