//! The real plan and the real decisions about rotations, checked in every state that a small fleet can
//! get into: one management cluster and two workload clusters. See `docs/proofs.md`.

mod age;
mod explore;
mod fleet;
mod invariants;
mod mistakes;
mod pool;
mod scenarios;
mod state;
