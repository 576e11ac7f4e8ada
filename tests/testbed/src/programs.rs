//! Where the components are.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of everything built, as cargo and `tests/testbed/install` see it.
pub(crate) fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    workspace.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The path of a component: from `KUBEBUILDER_ASSETS`, from what `tests/testbed/install` built, or
/// from the `PATH`, in this order. `python` is the one that has the testbed's packages.
///
/// # Panics
///
/// If it is in none of them.
pub fn program(name: &str) -> PathBuf {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = assets
        .into_iter()
        .chain([
            target().join("testbed/bin"),
            target().join("testbed/python/bin"),
        ])
        .chain(env::split_paths(&path));
    folders
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{name} is neither in KUBEBUILDER_ASSETS nor in {} nor on the PATH: run tests/testbed/install",
                target().join("testbed/bin").display()
            )
        })
}
