//! The signed transcripts of rotations: they tell what happened, and nobody changes them unnoticed.

use jiff::SignedDuration;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{KeyType, PrivateKey};

use super::document::Document;
use super::world::{BOOTSTRAP, World, request, start};
use crate::audit::{Report, audit, audit_transcript};
use crate::clock::Clock as _;
use crate::cluster::{Object, ObjectKey, SecretBytes};
use crate::engine::Goal;
use crate::journal::{Entry, Journal, RotationRecord};
use crate::relay::TLS_KEY;
use crate::rotation::{Direction, Phase, Request, Steering};
use crate::transcript::{
    Event, PUBLIC_KEY, TRANSCRIPT, key_name, public_key_from_pem, public_key_pem, verify,
};

fn rotations(world: &World) -> Vec<Object> {
    let objects = world.home().objects().into_iter();
    objects
        .filter(|object| object.key.name.contains("-rotation-"))
        .collect()
}

fn lines(object: &Object) -> String {
    let text = object.data[TRANSCRIPT].expose().to_vec();
    String::from_utf8(text).unwrap()
}

/// What is wrong with the transcripts of a world: they verify, every phase of the record is told once
/// and at its time, and nothing else.
pub(super) fn objection(world: &World) -> Option<String> {
    for object in rotations(world) {
        let record = RotationRecord::decode(&object).unwrap();
        let verified = match verify(&lines(&object), None) {
            Ok(verified) => verified,
            Err(fault) => return Some(format!("{}: {fault}", object.key)),
        };
        let told = verified.lines.iter().filter_map(|line| match &line.event {
            Event::Entered {
                phase, direction, ..
            } => Some((*phase, *direction)),
            _ => None,
        });
        let first = [(Phase::Preparing, Direction::Forward)].into_iter();
        let told: Vec<_> = first.chain(told).collect();
        let entered = |entry: &Entry| (entry.phase, entry.direction);
        let wanted: Vec<_> = record.entered.iter().map(entered).collect();
        if told != wanted {
            return Some(format!("{}: {told:?}, not {wanted:?}", object.key));
        }
    }
    None
}

/// What the transcripts of a world tell about private keys: `disabled signer g1`.
pub(super) fn keys_told(world: &World) -> Vec<String> {
    let mut told = Vec::new();
    for object in rotations(world) {
        for line in lines(&object).lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let event = &line["event"];
            let kind = event["kind"].as_str().unwrap();
            if ["destroyed", "disabled", "leftToOwner"].contains(&kind) {
                assert!(event["fingerprint"].is_string(), "{event}");
                let level = event["level"].as_str().unwrap();
                told.push(format!("{kind} {level} g{}", event["generation"]));
            }
        }
    }
    told
}

async fn bootstrapped(document: Document) -> World {
    let world = World::new(document);
    world.reach(&BOOTSTRAP).await;
    world
}

async fn rotated() -> World {
    let world = bootstrapped(Document::new(1, 2)).await;
    world.through(Level::Root).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
    world
}

async fn report(world: &World) -> Report {
    audit(&world.fleet(), world.clock.now()).await
}

/// The findings about transcripts, with what they are based on.
async fn findings(world: &World) -> Vec<(String, String)> {
    let found = report(world).await.findings.into_iter();
    found
        .map(|finding| (finding.code.to_string(), finding.evidence))
        .filter(|(code, _)| code.starts_with("R103"))
        .collect()
}

fn kinds(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["event"]["kind"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_rotation_tells_all_that_happened() {
    let world = rotated().await;
    let object = rotations(&world).remove(0);
    let text = lines(&object);
    let mut wanted = vec!["begun", "made", "made"];
    wanted.extend(["entered"; 4]);
    wanted.extend(["chainsCut", "entered", "destroyed", "destroyed", "entered"]);
    assert_eq!(kinds(&text), wanted);
    let verified = verify(&text, None).unwrap();
    assert!(verified.is_complete());
    let Event::Begun { by, plan, .. } = &verified.lines[0].event else {
        panic!("{:?}", verified.lines[0]);
    };
    assert_eq!(by, "alice");
    let passages: Vec<_> = plan.iter().map(|it| (it.level, it.from, it.to)).collect();
    assert_eq!(passages, [(Level::Root, 1, 2), (Level::Signer, 1, 2)]);
    let journal = world.observe().await.journal;
    let fingerprint = |level: Level, number: u32| {
        let record = &journal.level(level)[&number].record;
        record
            .certificate
            .as_ref()
            .map(|it| it.fingerprint().to_string())
    };
    let made = verified.lines.iter().filter_map(|line| match &line.event {
        Event::Made { fingerprint, .. } => Some(fingerprint.clone()),
        _ => None,
    });
    assert_eq!(
        made.collect::<Vec<_>>(),
        [fingerprint(Level::Root, 2), fingerprint(Level::Signer, 2)]
    );
    let gone = verified.lines.iter().filter_map(|line| match &line.event {
        Event::Destroyed { fingerprint, .. } => Some(fingerprint.clone()),
        _ => None,
    });
    assert_eq!(
        gone.collect::<Vec<_>>(),
        [fingerprint(Level::Signer, 1), fingerprint(Level::Root, 1)]
    );
    // What opened each gate: every cluster with its bundle and its certificates.
    let seen = verified.lines.iter().filter_map(|line| match &line.event {
        Event::Entered { acknowledged, .. } => Some(acknowledged.as_ref().unwrap()),
        _ => None,
    });
    for seen in seen {
        assert_eq!((seen.clusters, seen.held.len()), (3, 3));
    }
    assert_eq!(findings(&world).await, []);
    assert_eq!(objection(&world), None);
}

#[tokio::test]
async fn decisions_of_people_are_told_with_their_names() {
    let mut document = Document::new(1, 2);
    document.rotation = "{ approval: manual }";
    let world = bootstrapped(document).await;
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await;
    let until = world.clock.now() + SignedDuration::from_hours(9);
    for steering in [
        Steering::Pause,
        Steering::Resume,
        Steering::Approve(Phase::Publishing),
        Steering::Waive {
            cluster: "cluster-1".to_owned(),
            until,
            reason: "it burns".to_owned(),
        },
        Steering::Rollback,
    ] {
        world.steer(steering).await.unwrap();
    }
    world.run(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Rolledback);
    let text = lines(&rotations(&world)[0]);
    let said: Vec<String> = text
        .lines()
        .filter(|line| line.contains("\"by\":\"carol\""))
        .map(str::to_owned)
        .collect();
    let wanted = ["paused", "resumed", "approved", "waived", "turnedBack"];
    assert_eq!(kinds(&said.join("\n")), wanted);
    assert!(said[3].contains("it burns"));
    assert_eq!(findings(&world).await, []);
}

#[tokio::test]
async fn an_emergency_names_who_asked_for_it() {
    let world = bootstrapped(Document::new(1, 1)).await;
    world.begin(&request(Level::Root)).await;
    let urgent = Request {
        by: "mallory".to_owned(),
        emergency: true,
        ..request(Level::Root)
    };
    world.begin(&urgent).await;
    world.run(&Goal::Rotation).await;
    let text = lines(&rotations(&world)[0]);
    assert!(
        text.contains("{\"kind\":\"escalated\",\"by\":\"mallory\"}"),
        "{text}"
    );
    assert_eq!(findings(&world).await, []);
}

/// Re-signs lines with another key, as somebody would who can write ConfigMaps and nothing else.
fn forged(text: &str) -> String {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    crate::transcript::sign_anew(text, &key)
}

#[tokio::test]
async fn every_change_of_a_line_is_found() {
    let world = rotated().await;
    let object = rotations(&world).remove(0);
    let text = lines(&object);
    let split: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| format!("{}\n", lines.join("\n"));
    let without = |gone: usize| {
        let mut lines = split.clone();
        lines.remove(gone);
        join(&lines)
    };
    let mut swapped = split.clone();
    swapped.swap(3, 4);
    let mut twice = split.clone();
    twice.insert(3, split[3]);
    let last = split.len() - 1;
    for (name, changed, code, said) in [
        (
            "edited",
            text.replacen("alice", "mallo", 1),
            "R1030",
            "line 1: its signature",
        ),
        (
            "edited later",
            text.replacen("reissuing", "retiring_", 1),
            "R1030",
            "line ",
        ),
        ("dropped", without(5), "R1030", "line 6: it is number 7"),
        (
            "dropped first",
            without(0),
            "R1030",
            "line 1: it is number 2",
        ),
        (
            "reordered",
            join(&swapped),
            "R1030",
            "line 4: it is number 5",
        ),
        ("doubled", join(&twice), "R1030", "line 5: it is number 4"),
        ("truncated", without(last), "R1031", "the record is done"),
        (
            "signed with another key",
            forged(&text),
            "R1030",
            "line 1: it names another key",
        ),
        (
            "unsigned",
            text.replacen(",\"signature\":\"", ",\"signed\":\"", 1),
            "R1030",
            "line 1",
        ),
    ] {
        assert_ne!(changed, text, "{name}");
        let world = world.copy();
        let mut object = object.clone();
        let lines = SecretBytes::new(changed.as_bytes());
        object.data.insert(TRANSCRIPT.to_owned(), lines);
        world.home().overwrite(object);
        let found = findings(&world).await;
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].0, code, "{name}");
        assert!(found[0].1.starts_with(said), "{name}: {}", found[0].1);
    }
}

#[tokio::test]
async fn a_record_that_was_edited_and_a_transcript_that_is_gone_are_found() {
    let world = rotated().await;
    let object = rotations(&world).remove(0);
    let mut edited = object.clone();
    let record = String::from_utf8(edited.data["record"].expose().to_vec()).unwrap();
    let record = record.replace("alice", "mallory");
    edited
        .data
        .insert("record".to_owned(), SecretBytes::new(record));
    let mut gone = object.clone();
    gone.data.remove(TRANSCRIPT);
    for (object, code) in [(edited, "R1031"), (gone, "R1032")] {
        let world = world.copy();
        world.home().overwrite(object);
        let found: Vec<String> = findings(&world).await.into_iter().map(|it| it.0).collect();
        assert_eq!(found, [code]);
    }
    // A public key that is another one, or none.
    let other = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    for pem in [public_key_pem(other.public_key()), "nothing".to_owned()] {
        let world = world.copy();
        let key = ObjectKey::config_map(key_name("relay"));
        let mut objects = world.home().objects().into_iter();
        let mut object = objects.find(|object| object.key == key).unwrap();
        object
            .data
            .insert(PUBLIC_KEY.to_owned(), SecretBytes::new(pem));
        world.home().overwrite(object);
        let found: Vec<String> = findings(&world).await.into_iter().map(|it| it.0).collect();
        assert_eq!(found, ["R1033"]);
    }
}

#[tokio::test]
async fn a_transcript_kept_elsewhere_is_verified_without_the_fleet() {
    let world = rotated().await;
    let text = lines(&rotations(&world)[0]);
    let name = ObjectKey::config_map(key_name("relay"));
    let mut objects = world.home().objects().into_iter();
    let published = objects.find(|object| object.key == name).unwrap();
    let key = public_key_from_pem(published.data[PUBLIC_KEY].expose()).unwrap();
    let codes = |text: &str, trusted: bool| -> Vec<String> {
        let report = audit_transcript("file", text, trusted.then_some(&key), start());
        let findings = report.findings.iter();
        findings.map(|finding| finding.code.to_string()).collect()
    };
    assert_eq!(codes(&text, true), [] as [&str; 0]);
    assert_eq!(codes(&text, false), ["R1035"]);
    assert_eq!(codes(&forged(&text), true), ["R1030"]);
    assert_eq!(codes(&forged(&text), false), ["R1035"]);
    let (head, _) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(codes(head, true), ["R1034"]);
    assert_eq!(codes(&text.replacen("alice", "eve", 1), true), ["R1030"]);
    assert_eq!(codes("", true), ["R1030"]);
}

/// Two histories of one rotation, as after a backup was restored: each line is signed and has its number,
/// and still none fits into the other.
#[tokio::test]
async fn a_line_of_another_history_is_found() {
    let one = bootstrapped(Document::new(1, 1)).await;
    one.begin(&request(Level::Root)).await;
    let other = one.copy();
    other.clock.advance(SignedDuration::from_secs(5));
    for world in [&one, &other] {
        world.run(&Goal::Rotation).await;
    }
    let (text, foreign) = (lines(&rotations(&one)[0]), lines(&rotations(&other)[0]));
    assert_eq!(kinds(&text), kinds(&foreign));
    assert_eq!(text.lines().next(), foreign.lines().next());
    let mut spliced: Vec<&str> = text.lines().collect();
    spliced[3] = foreign.lines().nth(3).unwrap();
    let fault = verify(&spliced.join("\n"), None).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "line 4: it does not follow on the line before it"
    );
}

/// Whoever has the key still cannot make two rotations one.
#[tokio::test]
async fn a_line_of_another_rotation_is_found() {
    let world = bootstrapped(Document::new(1, 1)).await;
    world.begin(&request(Level::Root)).await;
    world.run(&Goal::Rotation).await;
    let text = lines(&rotations(&world)[0]);
    let mut mixed: Vec<String> = text.lines().map(str::to_owned).collect();
    mixed[2] = mixed[2].replace("\"rotation\":1,", "\"rotation\":2,");
    verify(&forged(&text), None).unwrap();
    let fault = verify(&forged(&mixed.join("\n")), None).unwrap_err();
    assert_eq!(fault.to_string(), "line 3: it is of rotation 2 of relay");
}

/// Nothing of a large fleet is listed one by one.
#[tokio::test]
async fn a_transcript_does_not_grow_with_the_fleet() {
    let size = async |clusters: usize| {
        let world = bootstrapped(Document::new(1, clusters)).await;
        world.through(Level::Root).await;
        lines(&rotations(&world)[0]).len()
    };
    let (small, large) = (size(20).await, size(60).await);
    assert!(large < small + 100, "{small} and {large} bytes");
}

#[tokio::test]
async fn a_full_transcript_takes_no_more_decisions_and_the_rotation_ends() {
    let world = bootstrapped(Document::new(1, 1)).await;
    world.begin(&request(Level::Root)).await;
    let pause = async |world: &World| {
        world.steer(Steering::Pause).await.unwrap();
        world.steer(Steering::Resume).await.unwrap();
    };
    let waive = Steering::Waive {
        cluster: "cluster-1".to_owned(),
        until: world.clock.now() + SignedDuration::from_hours(9),
        reason: "x".repeat(60_000),
    };
    for _ in 0..12 {
        world.clock.advance(SignedDuration::from_secs(1));
        world.steer(waive.clone()).await.unwrap();
    }
    let before = lines(&rotations(&world)[0]);
    assert!(before.len() < 640 * 1024, "{}", before.len());
    pause(&world).await;
    assert_eq!(lines(&rotations(&world)[0]), before);
    world.run(&Goal::Rotation).await;
    world.soak(&Goal::Rotation).await;
    assert_eq!(world.rotation().await.phase, Phase::Done);
    assert_eq!(findings(&world).await, []);
}

/// The key of the transcripts stays the same, whoever writes; and it is never in a transcript.
#[tokio::test]
async fn one_key_signs_all_rotations() {
    let world = rotated().await;
    world.through(Level::Signer).await;
    let keys: Vec<_> = rotations(&world)
        .iter()
        .map(|object| verify(&lines(object), None).unwrap().key)
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    let name = ObjectKey::secret(key_name("relay"));
    let mut objects = world.home().objects().into_iter();
    let secret = objects.find(|object| object.key == name).unwrap();
    let private = PrivateKey::from_pem(secret.data[TLS_KEY].expose()).unwrap();
    assert_eq!(*private.public_key(), keys[0]);
    assert_eq!(findings(&world).await, []);
    let journal: Journal = world.observe().await.journal;
    assert_eq!(journal.transcripts.len(), 2);
}
