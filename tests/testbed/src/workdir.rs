//! A directory that goes with the process.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Waits until the pipe from the test process closes. What used the directory is killed at the same
/// moment, so it may take more than one attempt.
const REMOVER: &str = r#"
trap '' INT TERM HUP
read -r _
for attempt in 1 2 3 4 5; do
    rm -rf -- "$1"
    [ -e "$1" ] || exit 0
    sleep 1
done
"#;

/// A new temporary directory. It is removed when this is dropped, and also when the process is killed.
#[derive(Debug)]
pub(crate) struct Workdir {
    path: PathBuf,
    remover: Child,
}

impl Workdir {
    pub(crate) fn new() -> Self {
        let made = tempfile::Builder::new()
            .prefix("relay-pki-testbed-")
            .tempdir();
        let path = made.expect("a temporary directory").keep();
        let remover = Command::new("sh")
            .args(["-c", REMOVER, "remover"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh");
        Self { path, remover }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        // `wait` closes the pipe first.
        let _ = self.remover.wait();
    }
}

/// Writes a file that only its owner reads.
pub(crate) fn write_private(path: &Path, content: &str) {
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(content.as_bytes()).unwrap();
}
