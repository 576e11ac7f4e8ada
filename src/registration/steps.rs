/// Something that is made, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where: the name of a cluster.
    pub cluster: String,
    /// Kind, namespace and name.
    pub object: String,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is not there yet.
    Create,
    /// It is not as it should be.
    Change,
    /// It stays as it is.
    Keep,
    /// It goes.
    Delete,
}

/// The steps so far.
pub(super) struct Steps {
    pub(super) dry_run: bool,
    pub(super) done: Vec<Step>,
}

impl Steps {
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            done: Vec::new(),
        }
    }

    /// Notes a step; whether it has to be done now.
    pub(super) fn begin(&mut self, cluster: &str, object: String, change: Change) -> bool {
        self.done.push(Step {
            cluster: cluster.to_owned(),
            object,
            change,
        });
        !self.dry_run && change != Change::Keep
    }
}
