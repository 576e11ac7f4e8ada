//! What is done to a relay while it is in use.

mod daily;
mod defects;
mod root;
mod tour;

/// When a scenario is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// With every test run.
    Always,
    /// When somebody names it.
    Named,
}

/// Every scenario with its name.
pub(crate) const ALL: [(&str, When, fn()); 4] = [
    (
        "daily_rotations_and_renewals",
        When::Always,
        daily::rotations_and_renewals,
    ),
    ("defects_are_counted", When::Always, defects::are_counted),
    ("root_from_key_to_key", When::Named, root::keys),
    ("root_from_ca_to_ca", When::Named, tour::tour),
];
