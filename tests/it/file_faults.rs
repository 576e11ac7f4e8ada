//! File systems and other processes that do not do as one would like.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::fleet::{CLIENT, Fleet, ROOT, Run, clusters};
use crate::support::tools::required;
use crate::support::verifiers::{Naming, assert_accepted, questions};

fn assert_verifies(fleet: &Fleet, agents: &[&str]) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], agents));
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs `relay-pki` as somebody for whom permissions hold: root is above them.
fn run_without_privileges(fleet: &Fleet, arguments: &[&str]) -> Run {
    let probe = tempfile::tempdir().unwrap();
    set_mode(probe.path(), 0o500);
    if fs::write(probe.path().join("probe"), "").is_err() {
        return fleet.run(arguments);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]);
    command.arg(env!("CARGO_BIN_EXE_relay-pki")).args(arguments);
    command.current_dir(fleet.dir()).stdin(Stdio::null());
    Run::of(required(
        command.output(),
        "setpriv",
        "apt-get install util-linux",
    ))
}

#[test]
fn a_directory_that_may_not_be_written_holds_up_its_own_cluster_only() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    let old = fleet.client_leaves(&["c1", "c2"]);
    let dir = fleet.path("clusters/c1");
    set_mode(&dir, 0o500);
    let run = run_without_privileges(&fleet, &["rotate", "agents"]);
    set_mode(&dir, 0o700);
    assert_eq!(run.code, Some(4), "{run:#?}");
    run.says(&["not permitted", "clusters/c1"]);
    let new = fleet.client_leaves(&["c1", "c2"]);
    assert_eq!(new["c1"], old["c1"]);
    assert_ne!(new["c2"], old["c2"], "the other cluster proceeds");
    assert_verifies(&fleet, &["c1", "c2"]);
    fleet.done(&["rotate", "agents"]).says(&["not finished"]);
    assert_ne!(fleet.leaf("c1", CLIENT), old["c1"]);
    assert_eq!(fleet.leaf("c2", CLIENT), new["c2"]);
}

#[test]
fn a_directory_that_may_not_be_read_is_incomplete_and_not_absent() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    let dir = fleet.path("clusters/c1");
    set_mode(&dir, 0o000);
    let run = run_without_privileges(&fleet, &["bootstrap"]);
    let status = run_without_privileges(&fleet, &["status", "--output", "json"]);
    set_mode(&dir, 0o700);
    assert_eq!(run.code, Some(7), "{run:#?}");
    assert_eq!(status.code, Some(7), "{status:#?}");
    assert_eq!(status.json()["incomplete"], true);
    assert_verifies(&fleet, &["c1", "c2"]);
}

#[test]
fn a_file_where_a_directory_should_be() {
    let fleet = Fleet::new(&clusters(&["c1", "c2"]));
    fs::create_dir(fleet.path("clusters")).unwrap();
    fs::write(fleet.path("clusters/c1"), "not a directory").unwrap();
    let run = fleet.run(&["bootstrap"]);
    assert!(matches!(run.code, Some(1 | 7)), "{run:#?}");
    run.says(&["clusters/c1"]);
    assert_eq!(
        fs::read(fleet.path("clusters/c1")).unwrap(),
        b"not a directory"
    );
    assert_verifies(&fleet, &["c2"]);
}

/// Runs `relay-pki` where no file may grow beyond so many blocks of 512 bytes: as on a full disk,
/// what is small still fits.
fn run_with_file_limit(fleet: &Fleet, blocks: u32, signal: &str, arguments: &str) -> Option<i32> {
    let script = format!("trap {signal} XFSZ; ulimit -f {blocks}; exec \"$0\" {arguments}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_relay-pki")]);
    command.current_dir(fleet.dir());
    let output = command.output().unwrap();
    let code = output.status.code();
    if code.is_some() {
        let run = Run::of(output);
        assert!(run.code != Some(0), "{run:#?}");
        run.says(&["File too large"]);
    }
    code
}

/// `''` makes the write fail, `-` makes the system kill the process in the middle of it.
const FAILS_AND_KILLS: [&str; 2] = ["''", "-"];

#[test]
fn a_disk_without_room_loses_nothing_while_certificates_are_replaced() {
    for signal in FAILS_AND_KILLS {
        for blocks in [0, 1, 4] {
            let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
            let old = fleet.client_leaves(&["c1", "c2"]);
            let code = run_with_file_limit(&fleet, blocks, signal, "rotate agents");
            assert!(code.is_none() || code == Some(1), "{code:?}");
            assert_eq!(fleet.client_leaves(&["c1", "c2"]), old, "{blocks} blocks");
            assert_verifies(&fleet, &["c1", "c2"]);
            fleet.done(&["rotate", "agents"]);
            let new = fleet.client_leaves(&["c1", "c2"]);
            assert!(new["c1"] != old["c1"] && new["c2"] != old["c2"]);
            assert_verifies(&fleet, &["c1", "c2"]);
        }
    }
}

#[test]
fn a_disk_without_room_does_not_spoil_a_bootstrap() {
    for signal in FAILS_AND_KILLS {
        let fleet = Fleet::new(&clusters(&["c1", "c2"]));
        for blocks in [0, 1, 2, 3, 4] {
            run_with_file_limit(&fleet, blocks, signal, "bootstrap");
        }
        fleet.done(&["bootstrap"]);
        assert_eq!(fleet.generations("root"), [(1, "active".to_owned())]);
        assert_eq!(fleet.generations("signer"), [(1, "active".to_owned())]);
        assert_verifies(&fleet, &["c1", "c2"]);
        let names: Vec<String> = fleet.tree().0.into_keys().collect();
        assert!(
            !names.iter().any(|name| name.ends_with(".tmp")),
            "{names:?}"
        );
    }
}

#[test]
fn a_disk_without_room_keeps_the_signer_in_use() {
    for signal in FAILS_AND_KILLS {
        for blocks in [0, 1, 2] {
            let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
            run_with_file_limit(&fleet, blocks, signal, "rotate signer");
            assert_verifies(&fleet, &["c1", "c2"]);
            fleet.done(&["rotate", "signer"]);
            fleet.done(&["rotate", "agents"]);
            assert_verifies(&fleet, &["c1", "c2"]);
            let generations = fleet.generations("signer");
            let active = generations.iter().filter(|found| found.1 == "active");
            assert_eq!(active.count(), 1, "{generations:?}");
        }
    }
}

#[test]
fn the_second_of_two_processes_says_who_holds_the_lock() {
    let names: Vec<String> = (1..=30).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // RSA keys take long enough for the other process to come in between.
    let fleet = Fleet::new(&format!(
        "  agents: {{ keyType: rsa-2048 }}\n{}",
        clusters(&names)
    ));
    let mut command = fleet.command(&["bootstrap", "--quiet"]);
    let mut first = command.stdout(Stdio::null()).spawn().unwrap();
    let pid = first.id().to_string();
    let lock = fleet.path("clusters/mgmt/.relay-pki.lock");
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::read_to_string(&lock).unwrap_or_default().trim() != pid {
        assert!(Instant::now() < deadline, "no lock after 30 s");
        std::thread::yield_now();
    }
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success(), "the first process is over already");
    };
    signal("-STOP");
    let run = fleet.run(&["rotate", "agents"]);
    let dry = fleet.run(&["bootstrap", "--dry-run"]);
    signal("-CONT");
    assert!(first.wait().unwrap().success());
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says(&["locked", &format!("process {pid}"), "run this again"]);
    assert_eq!(dry.code, Some(0), "who only looks needs no lock: {dry:#?}");
    assert_verifies(&fleet, &names);
    fleet.done(&["rotate", "agent", "c1"]);
}

#[test]
fn two_processes_at_once_end_in_one_state() {
    for _ in 0..5 {
        let fleet = Fleet::new(&clusters(&["c1", "c2", "c3"]));
        let start = || {
            let mut command = fleet.command(&["bootstrap"]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let runs = [start(), start()].map(|child| Run::of(child.wait_with_output().unwrap()));
        let done = runs.iter().filter(|run| run.code == Some(0)).count();
        assert!(done >= 1, "{runs:#?}");
        for run in runs.iter().filter(|run| run.code != Some(0)) {
            assert_eq!(run.code, Some(1), "{run:#?}");
            run.says(&["locked"]);
        }
        assert_eq!(fleet.generations("root"), [(1, "active".to_owned())]);
        assert_verifies(&fleet, &["c1", "c2", "c3"]);
        fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
    }
}

#[test]
fn a_secret_that_others_can_read_is_not_written_and_the_fix_is_named() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    let old = fleet.client_leaves(&["c1", "c2"]);
    set_mode(&fleet.secret_path("c1", CLIENT), 0o644);
    let run = fleet.ends(&["rotate", "agents"], 8);
    run.says(&["c1", CLIENT, "can be read by other users", "chmod 600"]);
    let new = fleet.client_leaves(&["c1", "c2"]);
    assert_eq!(new["c1"], old["c1"]);
    assert_ne!(new["c2"], old["c2"]);
    set_mode(&fleet.secret_path("c1", CLIENT), 0o600);
    fleet.done(&["rotate", "agents"]);
    assert_ne!(fleet.leaf("c1", CLIENT), old["c1"]);
    // Certificates are no secret.
    set_mode(&fleet.secret_path("c1", ROOT), 0o644);
    fleet.edit("c1", ROOT, |secret| drop(secret.data.remove("ca.crt")));
    fleet.done(&["bootstrap"]);
}

#[test]
fn loops_of_symbolic_links_end() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2"]));
    // Directories are not followed.
    symlink(".", fleet.path("clusters/c1/loop")).unwrap();
    symlink("../..", fleet.path("clusters/c1/up")).unwrap();
    fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
    // A manifest that leads to itself cannot be read, which is not the same as absent.
    symlink("me.yaml", fleet.path("clusters/c1/me.yaml")).unwrap();
    fleet
        .ends(&["rotate", "agents"], 7)
        .says(&["c1", "me.yaml"]);
    assert_verifies(&fleet, &["c1", "c2"]);
}

#[test]
fn a_secret_behind_a_symbolic_link_is_read_and_never_written() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let (path, elsewhere) = (
        fleet.secret_path("c1", CLIENT),
        fleet.path("elsewhere.yaml"),
    );
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
    let before = fs::read(&elsewhere).unwrap();
    fleet
        .ends(&["rotate", "agents"], 8)
        .says(&["symbolic link"]);
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
}
