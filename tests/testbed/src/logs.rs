//! What the components say: `target/testbed/logs/PROGRAM-PID/COMPONENT.log`.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, process};

use crate::programs::target;

/// How long logs are kept.
const KEPT: Duration = Duration::from_hours(24);
/// What is quoted of a log, in lines.
const TAIL: usize = 25;

/// The log of a component of this process.
pub(crate) fn path(component: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let all = target().join("testbed/logs");
        remove_old(&all);
        let program = env::current_exe().unwrap();
        let program = program.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = all.join(format!("{program}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    });
    folder.join(format!("{component}.log"))
}

/// Opens a log to go on with it.
pub(crate) fn open(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("cannot write the log {}: {error}", path.display()))
}

/// Where a log is, and its last lines.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(TAIL));
    let last: Vec<String> = last.map(|line| format!("  {line}")).collect();
    format!("the end of {}:\n{}", path.display(), last.join("\n"))
}

/// Another test process may do the same at the same time: what is gone already is well.
fn remove_old(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
