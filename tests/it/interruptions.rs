//! `kill -9` at any moment, and the same command again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::certificate::{belong_together, leaf};
use crate::support::fleet::{CLIENT, FORWARDING, Fleet, IDENTITY, ROOT, SERVER, SIGNING, clusters};
use crate::support::manifest::Manifest;
use crate::support::verifiers::{
    Naming, Question, Role, assert_accepted, questions, webpki_answer,
};

const AGENTS: usize = 60;
const KILLS: usize = 30;

fn agents(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("c{number}")).collect()
}

/// What became of a run.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed,
    Done,
}

/// Runs a command and kills it, the hard way, after `delay`, if it is not over by then.
fn run_and_kill(fleet: &Fleet, arguments: &[&str], delay: Duration) -> End {
    let mut command = fleet.command(arguments);
    command
        .arg("--quiet")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    // The moment of the kill is what the test is about; there is nothing to wait for.
    std::thread::sleep(delay.saturating_sub(started.elapsed()));
    let _ = child.kill();
    match child.wait().unwrap().code() {
        None => End::Killed,
        Some(0) => End::Done,
        Some(other) => panic!("relay-pki {arguments:?} ended with {other}"),
    }
}

/// How long `arguments` take undisturbed.
fn wall_time(fleet: &Fleet, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    fleet.done(arguments);
    started.elapsed()
}

/// Delays over the length of a run that come out the same each time and in no order: multiples of
/// the golden ratio, modulo one.
struct Delays {
    wall: Duration,
    drawn: u32,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.drawn += 1;
        let share = (f64::from(self.drawn) * 0.618_033_988_749_895).fract();
        Some(self.wall.mul_f64(share))
    }
}

/// Every agent's leaf goes with its key and verifies in both directions, as its manifest is now.
fn assert_usable(fleet: &Fleet, agents: &[&str]) {
    let server = fleet.secret("mgmt", SERVER);
    for agent in agents {
        let client = read_client(fleet, agent);
        assert_holds_up(agent, &client, &server);
    }
}

fn client_path(fleet: &Fleet, agent: &str) -> PathBuf {
    fleet.path(&format!("clusters/{agent}/{CLIENT}.yaml"))
}

fn read_client(fleet: &Fleet, agent: &str) -> Manifest {
    Manifest::read(&client_path(fleet, agent))
}

fn assert_holds_up(agent: &str, client: &Manifest, server: &Manifest) {
    let found = leaf(client.entry("tls.crt"));
    assert!(belong_together(&found, client.entry("tls.key")), "{agent}");
    assert_eq!(
        webpki_answer(&Question::client(agent, client, server)),
        Ok(()),
        "{agent}"
    );
    let authority = crate::support::verifiers::AUTHORITY;
    let question = Question::server(authority, server, client);
    assert_eq!(question.role, Role::Server);
    assert_eq!(
        webpki_answer(&question),
        Ok(()),
        "the server before {agent}"
    );
}

fn serials(fleet: &Fleet, agents: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let serial = |agent: &&str| {
        let client = read_client(fleet, agent);
        ((*agent).to_owned(), leaf(client.entry("tls.crt")).serial)
    };
    agents.iter().map(serial).collect()
}

/// Says that it is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn leftovers(fleet: &Fleet) -> Vec<String> {
    let tree = fleet.tree();
    tree.0
        .into_keys()
        .filter(|path| path.ends_with(".tmp"))
        .collect()
}

#[test]
fn a_killed_rotation_of_all_agents_goes_on_where_it_was() {
    let names = agents(AGENTS);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::bootstrapped(&clusters(&names));
    let wall = wall_time(&fleet, &["rotate", "agents"]);
    let mut delays = Delays { wall, drawn: 0 };
    let (mut kills, mut halfway, mut rotations) = (0, 0, 0);
    while kills < KILLS {
        assert!(rotations < KILLS, "{kills} kills hit anything");
        // One rotation: killed again and again until it is through.
        let mut seen: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        let note = |seen: &mut BTreeMap<String, BTreeSet<Vec<u8>>>| {
            for (agent, serial) in serials(&fleet, &names) {
                seen.entry(agent).or_default().insert(serial);
            }
            seen.values().filter(|serials| serials.len() > 1).count()
        };
        note(&mut seen);
        for attempt in 1.. {
            // The last attempt is left alone: what remains may take less than it takes to start.
            let end = if attempt <= 6 {
                run_and_kill(&fleet, &["rotate", "agents"], delays.next().unwrap())
            } else {
                fleet.done(&["rotate", "agents"]);
                End::Done
            };
            let replaced = note(&mut seen);
            assert_usable(&fleet, &names);
            kills += usize::from(end == End::Killed);
            halfway += usize::from(end == End::Killed && replaced > 0 && replaced < AGENTS);
            // Killed after its last write it was through, too; another run would be another rotation.
            if end == End::Done || replaced == AGENTS {
                break;
            }
        }
        rotations += 1;
        for (agent, serials) in &seen {
            assert_eq!(
                serials.len(),
                2,
                "{agent} was replaced {} times",
                serials.len() - 1
            );
        }
    }
    assert!(
        halfway >= 3,
        "of {kills} kills in {rotations} rotations {halfway} hit the work"
    );
    assert_eq!(leftovers(&fleet), Vec::<String>::new());
    let tree = fleet.tree();
    fleet.done(&["bootstrap"]).says(&["Nothing to do"]);
    tree.assert_unchanged(&fleet.tree());
    assert_accepted(&questions(&fleet, &Naming::default(), &["mgmt"], &names));
}

#[test]
fn a_resumed_rotation_says_so_and_spares_what_is_done() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1", "c2", "c3"]));
    let old = fleet.client_leaves(&["c1", "c2", "c3"]);
    // As after a kill: one cluster was not reached.
    let broken = fleet.path("clusters/c2/broken.yaml");
    fs::write(&broken, "a: [").unwrap();
    fleet.ends(&["rotate", "agents"], 7);
    fs::remove_file(&broken).unwrap();
    let halfway = fleet.client_leaves(&["c1", "c2", "c3"]);
    assert_eq!(halfway["c2"], old["c2"]);
    fleet.done(&["rotate", "agents"]).says(&["not finished"]);
    let new = fleet.client_leaves(&["c1", "c2", "c3"]);
    assert_ne!(new["c2"], old["c2"]);
    assert_eq!((&new["c1"], &new["c3"]), (&halfway["c1"], &halfway["c3"]));
}

#[test]
fn every_file_is_whole_at_every_moment_of_a_rotation() {
    let names = agents(20);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::bootstrapped(&clusters(&names));
    let wall = wall_time(&fleet, &["rotate", "agents"]);
    let over = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let server = fleet.secret("mgmt", SERVER);
            let mut reads = 0;
            while !over.load(Ordering::SeqCst) {
                for agent in &names {
                    let text = fs::read_to_string(client_path(&fleet, agent)).unwrap();
                    let client = Manifest::parse(&text)
                        .unwrap_or_else(|reason| panic!("{agent}: {reason}: {text:?}"));
                    assert_holds_up(agent, &client, &server);
                    reads += 1;
                }
            }
            reads
        });
        // Also when something here fails: the reader would read for ever.
        let end = Over(&over);
        for delay in (Delays { wall, drawn: 0 }).take(8) {
            run_and_kill(&fleet, &["rotate", "agents"], delay);
        }
        fleet.done(&["rotate", "agents"]);
        drop(end);
        reader.join().unwrap()
    });
    assert!(reads > 100, "only {reads} reads");
}

#[test]
fn who_has_a_file_open_goes_on_reading_the_old_one() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    let path = client_path(&fleet, "c1");
    let old = fs::read(&path).unwrap();
    let mut opened = fs::File::open(&path).unwrap();
    fleet.done(&["rotate", "agents"]);
    let mut read = Vec::new();
    opened.read_to_end(&mut read).unwrap();
    assert_eq!(read, old, "the file was written to and not replaced");
    assert_ne!(fs::read(&path).unwrap(), old);
}

#[test]
fn a_killed_bootstrap_goes_on_with_the_root_and_the_tokens_that_it_made() {
    let names = agents(10);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let spec = clusters(&names);
    let wall = wall_time(&Fleet::new(&spec), &["bootstrap"]);
    let mut delays = Delays { wall, drawn: 0 };
    for _ in 0..4 {
        let fleet = Fleet::new(&spec);
        let (mut roots, mut tokens) = (BTreeSet::new(), BTreeSet::new());
        let mut note = || {
            for cluster in names.iter().chain(&["mgmt"]) {
                for (_, found) in fleet.manifests(cluster) {
                    match found.name.as_str() {
                        ROOT => drop(roots.insert(found.entry("ca.crt").to_vec())),
                        IDENTITY => drop(tokens.insert(found.entry("token").to_vec())),
                        _ => {}
                    }
                }
            }
            (roots.len(), tokens.len())
        };
        for _ in 0..6 {
            let delay = delays.next().unwrap();
            if run_and_kill(&fleet, &["bootstrap"], delay) == End::Done {
                break;
            }
            note();
        }
        fleet.done(&["bootstrap"]);
        assert_eq!(
            note(),
            (1, 1),
            "one root and one token from the first moment on"
        );
        assert_ne!(
            fleet.secret("mgmt", IDENTITY).entry("token"),
            fleet.secret("mgmt", FORWARDING).entry("token")
        );
        assert_eq!(fleet.generations("root"), [(1, "active".to_owned())]);
        assert_eq!(fleet.generations("signer"), [(1, "active".to_owned())]);
        assert_usable(&fleet, &names);
        assert_eq!(leftovers(&fleet), Vec::<String>::new());
        let tree = fleet.tree();
        fleet.done(&["bootstrap"]);
        tree.assert_unchanged(&fleet.tree());
    }
}

#[test]
fn a_killed_rotation_of_the_signer_never_leaves_two_in_use() {
    let signed = "    - { name: signed, role: workload, directory: clusters/signed, delivery: server-signed }\n";
    let fleet = Fleet::bootstrapped(&format!("{}{signed}", clusters(&["c1", "c2"])));
    let wall = wall_time(&fleet, &["rotate", "signer"]);
    let mut delays = Delays { wall, drawn: 0 };
    for _ in 0..12 {
        run_and_kill(&fleet, &["rotate", "signer"], delays.next().unwrap());
        let active = |found: &(u64, String)| found.1 == "active";
        let generations = fleet.generations("signer");
        assert!(
            generations.iter().filter(|found| active(found)).count() <= 1,
            "{generations:?}"
        );
        assert_usable(&fleet, &["c1", "c2"]);
        // Everything may be done again at any moment.
        fleet.done(&["rotate", "signer"]);
        let generations = fleet.generations("signer");
        let (last, earlier) = generations.split_last().unwrap();
        assert_eq!(last.1, "active", "{generations:?}");
        assert!(
            earlier.iter().all(|found| found.1 == "retired"),
            "{generations:?}"
        );
        let signing = fleet.leaf("mgmt", SIGNING);
        assert!(
            signing.subject.ends_with(&format!(" {}", last.0)),
            "{}",
            signing.subject
        );
        assert_usable(&fleet, &["c1", "c2"]);
    }
    fleet.done(&["rotate", "agents"]);
    fleet.done(&["rotate", "server"]);
    assert_usable(&fleet, &["c1", "c2"]);
    let tree = fleet.tree();
    fleet.done(&["bootstrap"]);
    tree.assert_unchanged(&fleet.tree());
}

#[test]
fn a_killed_rotation_of_the_tokens_ends_with_one_token() {
    let names = agents(10);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::bootstrapped(&clusters(&names));
    let wall = wall_time(&fleet, &["rotate", "tokens"]);
    for delay in (Delays { wall, drawn: 0 }).take(8) {
        let old = fleet.secret("mgmt", IDENTITY).entry("token").to_vec();
        run_and_kill(&fleet, &["rotate", "tokens"], delay);
        fleet.done(&["rotate", "tokens"]);
        let new = fleet.secret("mgmt", IDENTITY).entry("token").to_vec();
        assert_ne!(new, old);
        for name in [IDENTITY, FORWARDING] {
            let expected = fleet.secret("mgmt", name).entry("token").to_vec();
            for cluster in &names {
                assert_eq!(
                    fleet.secret(cluster, name).entry("token"),
                    expected,
                    "{name} in {cluster}"
                );
            }
        }
    }
}

#[test]
fn sigterm_ends_between_two_steps_with_its_own_code() {
    let names = agents(40);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // RSA keys take long enough to be interrupted.
    let spec = format!("  agents: {{ keyType: rsa-2048 }}\n{}", clusters(&names));
    let fleet = Fleet::new(&spec);
    let mut command = fleet.command(&["bootstrap", "--output", "json"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first leaf of a workload cluster: it is in the middle of its work.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !names.iter().any(|name| client_path(&fleet, name).exists()) {
        assert!(Instant::now() < deadline, "no leaf after 30 s");
        std::thread::yield_now();
    }
    let terminated = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status();
    assert!(terminated.unwrap().success());
    let run = crate::support::fleet::Run::of(child.wait_with_output().unwrap());
    assert_eq!(run.code, Some(143), "{run:#?}");
    run.says(&["run the same command again"]);
    assert!(run.json()["skipped"].as_u64().unwrap() > 0, "{run:#?}");
    assert_eq!(leftovers(&fleet), Vec::<String>::new());
}
