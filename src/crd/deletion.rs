use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The finalizer of objects whose deletion deletes what was made for them.
pub const FINALIZER: &str = "relay-pki.dev/cleanup";

/// What happens to the Secrets and records of an object that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are deleted too.
    Delete,
}
