//! What is done to a relay while it is in use.

mod daily;
mod defects;

/// Every scenario with its name.
pub(crate) const ALL: [(&str, fn()); 2] = [
    (
        "daily_rotations_and_renewals",
        daily::rotations_and_renewals,
    ),
    ("defects_are_counted", defects::are_counted),
];
