//! The rotation of a root or a signer: phase by phase, each behind a gate, and back again until the
//! last one. Pure: records and observations in, decisions out. What a phase wants of the clusters is
//! brought about by the engine, as everything else is.

mod advance;
mod begin;
mod evidence;
mod forecast;
mod gate;
mod mark;
mod old_keys;
mod phase;
mod soak;
mod steer;
mod target;

pub use advance::{Verdict, advance};
pub use begin::{Begun, Due, Refusal, Request, begin, due};
pub use evidence::{
    AgentEvidence, ClusterEvidence, Evidence, RESTARTED_FOR, Restarts, WorkloadEvidence,
};
pub use forecast::{Forecast, expected_end, forecast};
pub use gate::Waiting;
pub(crate) use gate::{bundle_before, certified, is_strict, wants_cross};
pub use mark::mark;
pub use old_keys::{Fate, GivenUp};
pub use phase::{Direction, Phase};
pub use steer::{Steering, steer};
pub use target::{GivenOut, certificates, presented};
