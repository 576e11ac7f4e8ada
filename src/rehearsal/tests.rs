//! Rehearsals of fleets in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use relay_pki_authority::Level;
use relay_pki_authority::x509::{PrivateKey, TrustBundle};

use relay_pki_self_signed::Offline;

use super::run::Rehearsal;
use super::{Outcome, RehearsalError, Report, rehearse};
use crate::authorities::{self, Surroundings};
use crate::clock::SystemClock;
use crate::cluster::fault::Faults;
use crate::cluster::{Cluster, MemoryCluster, Object, SecretBytes};
use crate::clusters::Opener;
use crate::config::{ProviderConfig, Relay};
use crate::engine::{Apply, Cancel, Fleet, Goal, observe, plan};
use crate::journal::{
    Acknowledgement, Cross, EnrolledCertificate, EnrolmentRecord, Presented, Signature, Why,
};
use crate::relay::{CA_CERT, CaTag, TLS_KEY};
use crate::rotation::{GivenOut, Phase, Request};

/// A fleet in memory: `mgmt`, `c1` and `c2`, and what `clusters` adds.
struct World {
    fleet: Fleet,
    stores: BTreeMap<String, MemoryCluster>,
    faults: Faults,
}

impl World {
    async fn new(spec: &str, clusters: &str) -> Self {
        let text = format!(
            "apiVersion: relay-pki.dev/v1alpha1\nkind: Relay\nmetadata: {{ name: relay }}\nspec:\n{spec}  \
             clusters:\n    - {{ name: mgmt, role: management, directory: mgmt }}\n    \
             - {{ name: c1, role: workload, directory: c1 }}\n    \
             - {{ name: c2, role: workload, directory: c2 }}\n{clusters}"
        );
        let relay = Relay::parse(&text, "relay.yaml", Path::new("")).unwrap();
        let faults = Faults::new();
        let (mut stores, mut clusters) = (BTreeMap::new(), BTreeMap::new());
        for spec in relay.in_reach() {
            let name = spec.name.to_string();
            let store = MemoryCluster::new(&name);
            let cluster: Arc<dyn Cluster> = Arc::new(faults.wrap(store.clone()));
            stores.insert(name.clone(), store);
            clusters.insert(name, cluster);
        }
        let opener = Opener::by_hand("test");
        let providers = authorities::open(&Surroundings {
            relay: &relay,
            home: &clusters["mgmt"],
            opener: &opener,
        });
        let world = Self {
            fleet: Fleet {
                relay,
                clusters,
                providers,
                clock: Arc::new(SystemClock),
            },
            stores,
            faults,
        };
        let bootstrap = Goal::Bootstrap {
            adopt: false,
            prune_keys: false,
        };
        for _ in 0..10 {
            let observed = observe(&world.fleet).await.unwrap();
            let now = world.fleet.clock.now();
            let plan = plan(&world.fleet.relay, &bootstrap, &observed, now);
            let apply = Apply::new(&world.fleet, &observed);
            let applied = apply.run(plan, &Cancel::default(), &|_| {}).await;
            assert!(applied.failed.is_empty(), "{:?}", applied.failed);
        }
        world
    }

    fn objects(&self) -> Vec<(String, Vec<Object>)> {
        let stores = self.stores.iter();
        stores
            .map(|(name, store)| (name.clone(), store.objects()))
            .collect()
    }

    /// Rehearses, and sees that nothing was written.
    async fn rehearse(&self, request: &Request) -> Result<Report, RehearsalError> {
        let before = self.objects();
        let (left_out, cancel) = (BTreeMap::new(), Cancel::default());
        let report = rehearse(&self.fleet, left_out, request, &cancel).await;
        assert!(before == self.objects(), "something was written");
        report
    }

    /// Makes an agent that enrols one that was heard of.
    async fn heard_of(&self, cluster: &str) {
        let journal = observe(&self.fleet).await.unwrap().journal;
        let now = self.fleet.clock.now();
        let tag: CaTag = GivenOut::of(&journal, now).unwrap().tag();
        let record = EnrolmentRecord {
            acknowledged: Some(Acknowledgement::new(&tag, now)),
            presented: Some(Presented {
                certificate: EnrolledCertificate {
                    serial: "01".to_owned(),
                    signer: 1,
                    not_before: now,
                    not_after: now + SignedDuration::from_hours(24 * 30),
                    pem: None,
                },
                at: now,
            }),
            ..EnrolmentRecord::default()
        };
        self.stores["mgmt"].overwrite(record.encode("relay", cluster));
    }

    fn edit(&self, cluster: &str, secret: &str, change: impl FnOnce(&mut Object)) {
        edit(&self.stores[cluster], secret, change);
    }
}

fn edit(store: &MemoryCluster, secret: &str, change: impl FnOnce(&mut Object)) {
    let mut objects = store.objects().into_iter();
    let mut object = objects.find(|it| it.key.name == secret).unwrap();
    change(&mut object);
    store.overwrite(object);
}

fn request(level: Level) -> Request {
    Request {
        level,
        by: "alice".to_owned(),
        why: Why::Requested,
        canary: Vec::new(),
        emergency: false,
    }
}

fn phases(report: &Report) -> Vec<Phase> {
    report.stretches.iter().map(|it| it.phase).collect()
}

fn whole() -> Vec<Phase> {
    Phase::RUNNING.into_iter().chain([Phase::Done]).collect()
}

const CLIENT: &str = "relay-client-tls-secret";
const TRUST: &str = "relay-root-tls-secret";

#[tokio::test]
async fn a_root_goes_through_every_phase() {
    let world = World::new("  rotation: { soak: 2h }\n", "").await;
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(phases(&report), whole());
    // Two soak times: on new certificates, and on cut chains.
    assert_eq!(
        report.ended.duration_since(report.begun),
        SignedDuration::from_hours(4)
    );
    let (checked, failed) = (report.handshakes.checked, report.handshakes.failed);
    assert!(checked > 20 && failed == 0, "{:?}", report.handshakes);
    assert_eq!(report.handshakes.broken_before, 0);
    // The bundle twice; the certificate, its chain, and the bundle beside it twice.
    let written = |phase: Phase| {
        let mut all = report.stretches.iter();
        all.find(|it| it.phase == phase).unwrap().writes()["c1"]
    };
    assert_eq!(
        (written(Phase::Publishing), written(Phase::Reissuing)),
        (2, 1)
    );
    assert_eq!(report.most_written().unwrap().1, 6);
}

#[tokio::test]
async fn a_signer_and_clusters_that_go_first() {
    let world = World::new("  rotation: { approval: manual }\n", "").await;
    let mut request = request(Level::Signer);
    request.canary = vec!["c1".to_owned()];
    let report = world.rehearse(&request).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    let times = |phase| phases(&report).iter().filter(|it| **it == phase).count();
    assert_eq!((times(Phase::Reissuing), times(Phase::Retiring)), (2, 1));
    let approvals = report.stretches.iter().filter(|it| it.approval).count();
    assert_eq!(approvals, report.stretches.len() - 2);
    assert!(
        report.granted[0].contains("approves"),
        "{:?}",
        report.granted
    );
}

#[tokio::test]
async fn who_is_out_of_reach_is_waited_for_by_name() {
    let world = World::new("  rotation: { safeMode: true }\n", "").await;
    world.faults.set_reachable("c2", false);
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    let Outcome::Waits(waiting) = &report.outcome else {
        panic!("{:?}", report.outcome);
    };
    let named: Vec<_> = waiting.iter().map(|it| it.cluster.as_deref()).collect();
    assert_eq!(named, [Some("c2")]);
    assert!(waiting[0].missing);
    // The first gate is shut already.
    assert_eq!(phases(&report), [Phase::Preparing]);
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_waited_for() {
    let world = World::new("", "").await;
    world.edit("c1", CLIENT, |object| object.labels.clear());
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    let Outcome::Waits(waiting) = &report.outcome else {
        panic!("{:?}", report.outcome);
    };
    assert_eq!(waiting[0].cluster.as_deref(), Some("c1"));
    assert!(waiting[0].what.contains("not managed by relay-pki"));
}

const ENROLLED: &str = "    - { name: e1, role: workload, delivery: enroll }\n";

#[tokio::test]
async fn agents_that_were_heard_of_follow_and_others_are_waited_for() {
    let two = format!("{ENROLLED}{}", ENROLLED.replace("e1", "e2"));
    let world = World::new("", &two).await;
    world.heard_of("e1").await;
    // One that has a token and nothing else.
    let silent = EnrolmentRecord::default();
    world.stores["mgmt"].overwrite(silent.encode("relay", "e2"));
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    let Outcome::Waits(waiting) = &report.outcome else {
        panic!("{:?}", report.outcome);
    };
    let named: Vec<_> = waiting.iter().map(|it| it.cluster.as_deref()).collect();
    assert_eq!(named, [Some("e2")]);
    world.heard_of("e2").await;
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.handshakes.failed, 0);
    assert_eq!(report.granted, ["2 agents that enrol follow at once"]);
}

/// What the new signer got from the old root.
fn cross(report: &Report) -> Cross {
    let rounds = report.stretches.iter().flat_map(|it| &it.rounds);
    let journal = &rounds.last().unwrap().journal;
    journal.signers[&2].record.cross.clone().unwrap()
}

/// A backend that refuses everything: it is not asked, and what it cannot do its stand-in does not do.
#[tokio::test]
async fn no_backend_is_asked_for_anything() {
    let mut world = World::new(RESTART, "").await;
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    assert!(matches!(cross(&report), Cross::Certificate(_)));
    let providers = &mut world.fleet.providers;
    let name = providers.keys().next().unwrap().clone();
    providers.insert(name.clone(), Arc::new(Offline::new(&name)));
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert!(matches!(cross(&report), Cross::Impossible(_)));
    // Without the old root's word for the new signer, somebody who has not reloaded cannot connect.
    world.fleet.relay.rotation.restart.clear();
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    let Outcome::Failed(failure) = &report.outcome else {
        panic!("{:?}", report.outcome);
    };
    assert!(failure.handshake.as_ref().unwrap().outdated);
    assert!(
        failure.what.contains("rotation.restart"),
        "{}",
        failure.what
    );
}

/// Workloads that the gates wait for.
const RESTART: &str = "  rotation: { restart: [{ kind: Deployment, name: server, role: management }, \
                       { kind: Deployment, name: agent, role: workload }] }\n";

#[tokio::test]
async fn a_person_stands_in_for_an_offline_root() {
    let spec = "  providers: { own: { selfSigned: {} }, vault: { selfSigned: {} } }\n  \
                root: { provider: vault }\n  signer: { provider: own }\n";
    let spec = format!("{spec}{RESTART}");
    let mut world = World::new(&spec, "").await;
    let providers = &mut world.fleet.relay.providers;
    providers.insert("vault".to_owned(), ProviderConfig::Offline);
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert!(matches!(cross(&report), Cross::Impossible(_)));
    assert_eq!(report.granted[0], "a person signs with the offline root");
    let report = world.rehearse(&request(Level::Signer)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
}

/// Without safe mode a cluster that is missing is waited for as long as the old root lives: nobody would.
#[tokio::test]
async fn time_does_not_run_past_the_certificates_in_use() {
    let world = World::new("  rotation: { safeMode: false }\n", "").await;
    world.faults.set_reachable("c2", false);
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    let Outcome::Waits(waiting) = &report.outcome else {
        panic!("{:?}", report.outcome);
    };
    assert_eq!(phases(&report).last(), Some(&Phase::Draining));
    assert_eq!(waiting[0].cluster.as_deref(), Some("c2"));
    assert!(waiting.last().unwrap().what.contains("renews nothing"));
}

#[tokio::test]
async fn what_would_be_refused_is_refused() {
    let world = World::new("", "").await;
    let mut no_such = request(Level::Root);
    no_such.canary = vec!["c9".to_owned()];
    let refused = world.rehearse(&no_such).await.unwrap_err();
    assert!(matches!(refused, RehearsalError::Refused(_)), "{refused}");
    let mut emergency = request(Level::Signer);
    emergency.emergency = true;
    let refused = world.rehearse(&emergency).await.unwrap_err();
    assert!(matches!(refused, RehearsalError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn an_emergency_is_an_outage_that_ends() {
    let world = World::new("", "").await;
    let mut request = request(Level::Root);
    request.emergency = true;
    let report = world.rehearse(&request).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert!(report.handshakes.failed > 0);
}

/// Somebody tampers with a bundle of the copy while the rotation runs.
#[tokio::test]
async fn a_connection_that_breaks_fails_it_with_both_names() {
    let world = World::new("", "").await;
    let (root, cancel) = (request(Level::Root), Cancel::default());
    let mut rehearsal = Rehearsal::begin(&world.fleet, BTreeMap::new(), &root)
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(rehearsal.round(&cancel).await.unwrap(), None);
    }
    let other = World::new("", "").await;
    let mut foreign = other.stores["c1"].objects().into_iter();
    let foreign = foreign.find(|it| it.key.name == TRUST).unwrap();
    let foreign: SecretBytes = foreign.data[CA_CERT].clone();
    TrustBundle::from_pem(foreign.expose()).unwrap();
    edit(&rehearsal.copied.stores["c1"], TRUST, |object| {
        object.data.insert(CA_CERT.to_owned(), foreign);
    });
    let outcome = rehearsal.round(&cancel).await.unwrap();
    let Some(Outcome::Failed(failure)) = &outcome else {
        panic!("{outcome:?}");
    };
    let handshake = failure.handshake.as_ref().unwrap();
    assert_eq!(
        (&handshake.server[..], &handshake.agent[..]),
        ("mgmt", "c1")
    );
    assert!(handshake.reason.contains("the agent refuses the server"));
}

#[tokio::test]
async fn it_can_be_stopped() {
    let world = World::new("", "").await;
    let cancel = Cancel::default();
    cancel.cancel();
    let stopped = rehearse(
        &world.fleet,
        BTreeMap::new(),
        &request(Level::Root),
        &cancel,
    )
    .await;
    assert!(matches!(stopped, Err(RehearsalError::Interrupted)));
}

/// What is rehearsed with looks like the real thing, and none of its keys is in it.
#[tokio::test]
async fn no_private_key_of_the_fleet_is_in_the_copy() {
    let signed = "    - { name: s1, role: workload, directory: s1, delivery: server-signed }\n";
    let world = World::new("", signed).await;
    let rehearsal = Rehearsal::begin(&world.fleet, BTreeMap::new(), &request(Level::Root))
        .await
        .unwrap();
    let keys = |objects: Vec<Object>| -> Vec<(String, PrivateKey)> {
        let with_key = objects.into_iter().filter_map(|object| {
            let pem = object.data.get(TLS_KEY)?;
            let key = PrivateKey::from_pem(pem.expose()).unwrap();
            Some((object.key.name, key))
        });
        with_key.collect()
    };
    for (name, store) in &world.stores {
        let real = keys(store.objects());
        let copied = keys(rehearsal.copied.stores[name].objects());
        let names = |all: &[(String, PrivateKey)]| -> Vec<String> {
            all.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&real), names(&copied));
        for (name, key) in &copied {
            let public = key.public_key();
            assert!(
                real.iter().all(|(_, it)| it.public_key() != public),
                "{name}"
            );
        }
    }
    // The copies fit together as the real ones do.
    let real = observe(&world.fleet).await.unwrap();
    let copied = observe(&rehearsal.copied.fleet).await.unwrap();
    for (name, state) in &real.clusters {
        let (real, copied) = (
            state.as_ref().unwrap(),
            copied.clusters[name].as_ref().unwrap(),
        );
        for (real, copied) in [
            (&real.server, &copied.server),
            (&real.client, &copied.client),
            (&real.signing, &copied.signing),
        ] {
            let (Some(real), Some(copied)) = (real, copied) else {
                assert!(real.is_none() && copied.is_none());
                continue;
            };
            let (real, copied) = (
                real.content.as_ref().unwrap(),
                copied.content.as_ref().unwrap(),
            );
            assert_eq!(real.provenance, copied.provenance);
            assert_eq!(real.leaf.subject(), copied.leaf.subject());
            assert_eq!(real.leaf.dns_names(), copied.leaf.dns_names());
            assert_eq!(real.leaf.not_after(), copied.leaf.not_after());
            assert_ne!(real.leaf, copied.leaf);
        }
    }
}

/// The way of a rotation that is under way already is rehearsed from where it is.
#[tokio::test]
async fn a_rotation_under_way_is_rehearsed_to_its_end() {
    let world = World::new("", "").await;
    let observed = observe(&world.fleet).await.unwrap();
    let now = world.fleet.clock.now();
    let begun = crate::rotation::begin(&world.fleet.relay, &observed, &request(Level::Root), now);
    let Ok(crate::rotation::Begun::New(mut record)) = begun else {
        panic!("{begun:?}");
    };
    world.stores["mgmt"].overwrite(record.encode("relay"));
    for _ in 0..4 {
        let observed = observe(&world.fleet).await.unwrap();
        let plan = plan(&world.fleet.relay, &Goal::Rotation, &observed, now);
        let apply = Apply::new(&world.fleet, &observed);
        let applied = apply.run(plan, &Cancel::default(), &|_| {}).await;
        assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    }
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert!(phases(&report)[0] > Phase::Preparing);
    // One that somebody stopped stays where it is.
    let journal = observe(&world.fleet).await.unwrap().journal;
    *record = journal.rotation().unwrap().clone();
    record.paused = Some(Signature {
        by: "bob".to_owned(),
        at: now,
    });
    world.stores["mgmt"].overwrite(record.encode("relay"));
    let report = world.rehearse(&request(Level::Root)).await.unwrap();
    assert!(matches!(report.outcome, Outcome::Waits(_)));
}
