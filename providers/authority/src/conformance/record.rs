//! What came of each case, in files: tests end in processes that know nothing of each other.

use std::fs;
use std::path::PathBuf;

use super::{Fixture, NotApplicable};
use crate::Level;

/// Runs a case and writes down what came of it.
pub async fn run<F: Fixture>(
    topic: &str,
    case: &str,
    running: impl Future<Output = Result<(), NotApplicable>>,
) {
    let role = match F::LEVELS {
        [Level::Root] => "root",
        [Level::Signer] => "signer",
        _ => "root and signer",
    };
    let folder = folder().join(F::BACKEND).join(role);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{topic}.{case}"));
    // What does not come back has failed.
    fs::write(&file, "failed").unwrap();
    let said = match running.await {
        Ok(()) => "ok".to_owned(),
        Err(NotApplicable(why)) => format!("not applicable: {why}"),
    };
    fs::write(&file, said).unwrap();
}

/// `target/PROFILE/conformance`; the test is `target/PROFILE/deps/NAME`.
fn folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("conformance")
}
