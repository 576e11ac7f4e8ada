//! The program itself on a large fleet of directories: time, certificates per second, processor time
//! and peak memory of each verb.
//!
//! `cargo bench --bench fleet -- 10000 [DIRECTORY]`; 1,000 clusters in the system's temporary directory
//! without arguments. What the disk does with fsync counts, so name the disk with the figures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Ticks a second of the times in `/proc/PID/stat` (`getconf CLK_TCK`, 100 on Linux).
const TICKS: f64 = 100.0;

fn main() {
    // cargo adds `--bench`.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let size: usize = arguments.next().map_or(1_000, |text| text.parse().unwrap());
    let parent = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::Builder::new()
        .prefix("relay-pki-bench-")
        .tempdir_in(parent)
        .unwrap();
    let document = dir.path().join("relay.yaml");
    std::fs::write(&document, text(size)).unwrap();
    println!("{size} workload clusters");
    let verbs: [(&str, &[&str], usize); 5] = [
        ("bootstrap", &["bootstrap"], size + 1),
        ("bootstrap, nothing to do", &["bootstrap"], 0),
        ("rotate agents", &["rotate", "agents"], size),
        ("status", &["status"], 0),
        ("audit", &["audit"], 0),
    ];
    for (name, verb, certificates) in verbs {
        run(name, verb, &document, certificates);
    }
}

fn text(size: usize) -> String {
    let mut text =
        "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: { name: bench }\nspec:\n  \
                    providers: { local: { selfSigned: {} } }\n  root: { provider: local }\n  \
                    signer: { provider: local }\n  clusters:\n    \
                    - { name: mgmt, role: management, directory: clusters/mgmt }\n"
            .to_owned();
    for n in 0..size {
        let line = format!("    - {{ name: c-{n}, role: workload, directory: clusters/c-{n} }}");
        writeln!(text, "{line}").unwrap();
    }
    text
}

fn run(name: &str, verb: &[&str], document: &Path, certificates: usize) {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_relay-pki"))
        .args(verb)
        .arg("--file")
        .arg(document)
        .arg("--quiet")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut memory, mut processor) = (0, 0.0);
    let status = loop {
        // Once it has ended there is nothing left to look at.
        memory = peak(&child).max(memory);
        processor = ticks(&child).unwrap_or(0.0).max(processor);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let seconds = start.elapsed().as_secs_f64();
    let rate = match certificates {
        0 => String::new(),
        count => format!(", {:.0} certificates/s", count as f64 / seconds),
    };
    println!(
        "{name:26} {seconds:8.2} s, {:7.2} s processor, {:4} MB peak{rate} ({status})",
        processor / TICKS,
        memory / 1024
    );
}

/// `VmHWM` in kB.
fn peak(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    kilobytes.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// User and system time in ticks.
fn ticks(child: &Child) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The second field is a name that may contain anything; count from its end.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (user, system): (f64, f64) = (fields.get(11)?.parse().ok()?, fields.get(12)?.parse().ok()?);
    Some(user + system)
}
