//! Nothing outlives the process, and what is missing is said.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use relay_pki_testbed::eventually;

const TESTBED: &str = env!("CARGO_BIN_EXE_relay-pki-testbed");

/// The processes that have `word` in an argument; those that have ended and only wait to be asked how
/// have no arguments.
fn processes(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(word)).collect()
}

/// A process with a testbed of a management cluster only, and the testbed's directory.
fn started() -> (Child, String) {
    let mut child = Command::new(TESTBED)
        .arg("0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let directory = lines
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("ready: ").map(str::to_owned));
    (child, directory.expect("a testbed"))
}

fn all_gone(directory: &str) {
    eventually(
        "processes and files are gone",
        Duration::from_secs(15),
        || (processes(directory).is_empty() && !Path::new(directory).exists()).then_some(()),
    );
}

#[test]
fn nothing_outlives_a_killed_process() {
    let (mut child, directory) = started();
    let running = processes(&directory);
    for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        let program = format!("/{program} ");
        assert!(
            running.iter().any(|line| line.contains(&program)),
            "{program}: {running:#?}"
        );
    }
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    all_gone(&directory);
}

#[test]
fn nothing_outlives_a_process_that_ends_well() {
    let (mut child, directory) = started();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    all_gone(&directory);
}

#[test]
fn a_missing_component_fails_and_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(TESTBED)
        .arg("0")
        .env_remove("KUBEBUILDER_ASSETS")
        .env("CARGO_TARGET_DIR", empty.path())
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("run tests/testbed/install"), "{errors}");
}

#[test]
fn a_component_that_does_not_start_fails_with_its_last_words() {
    let broken = tempfile::tempdir().unwrap();
    let etcd = broken.path().join("etcd");
    fs::write(&etcd, "#!/bin/sh\necho no room\nexit 3\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&etcd, mode).unwrap();
    let output = Command::new(TESTBED)
        .arg("0")
        .env("KUBEBUILDER_ASSETS", broken.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    for part in ["etcd ended", "no room", "tests/testbed/install"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}
