//! Taking over what somebody else made: nothing that a live agent relies on changes.

use relay_pki_authority::Profile;
use relay_pki_authority::x509::{CertificateChain, PrivateKey, TrustBundle};

use super::document::Document;
use super::foreign::{ForeignCa, put, tls};
use super::oracle::{leaf, leaves, records};
use super::world::{ADOPT, BOOTSTRAP, World, request};
use crate::clock::Clock as _;
use crate::cluster::MemoryCluster;
use crate::cluster::fault::Fault;
use crate::engine::Goal;
use crate::journal::{Scope, Status};
use crate::relay::{CA_CERT, SecretRole, TLS_KEY};
use crate::rotation::{Phase, begin};
use relay_pki_authority::Level;

fn writes(world: &World) -> usize {
    world.stores.values().map(MemoryCluster::writes).sum()
}

fn bundle(world: &World, cluster: &str) -> TrustBundle {
    let object = world.object(cluster, SecretRole::Trust).unwrap();
    TrustBundle::from_pem(object.data[CA_CERT].expose()).unwrap()
}

#[tokio::test]
async fn a_root_with_its_key_and_all_below_it() {
    let world = World::new(Document::new(2, 2)).watched();
    let vendor = ForeignCa::new("vendor").await;
    vendor.install(&world, true).await;
    let before: Vec<_> = leaves(&world)
        .into_iter()
        .map(|(cluster, role)| leaf(&world, &cluster, role))
        .collect();
    world.reach(&ADOPT).await;
    let after: Vec<_> = leaves(&world)
        .into_iter()
        .map(|(cluster, role)| leaf(&world, &cluster, role))
        .collect();
    assert_eq!(before, after, "no certificate changed");
    assert_eq!(world.ledger.calls(), 0, "and none was issued");
    let records = records(world.home());
    assert_eq!(records.len(), 2);
    assert!(
        records
            .iter()
            .all(|record| record.provider.as_deref() == Some("local"))
    );
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
    // It is ours now: everything can be rotated.
    let scopes = [Scope::Agents, Scope::Server, Scope::Tokens];
    let plan = world.rotate(1, &scopes).await.unwrap();
    assert_eq!(plan.problems, []);
    for level in [Level::Signer, Level::Root] {
        world.through(level).await;
        assert_eq!(world.rotation().await.phase, Phase::Done);
    }
    world.reach(&BOOTSTRAP).await;
    assert!(world.oracle.as_ref().unwrap().violations().is_empty());
}

#[tokio::test]
async fn only_the_signer() {
    let world = World::new(Document::new(1, 2));
    let vendor = ForeignCa::new("vendor").await;
    vendor.install(&world, false).await;
    world.reach(&ADOPT).await;
    assert_eq!(
        world.rotate(1, &[Scope::Agents]).await.unwrap().problems,
        []
    );
    let chain = leaf(&world, "cluster-1", SecretRole::Client);
    assert_eq!(&chain.intermediates()[0], vendor.signer.certificate());
    // The root's owner has to do the rest; nothing is begun that cannot be finished.
    let observed = world.observe().await;
    let refused = begin(
        &world.relay,
        &observed,
        &request(Level::Signer),
        world.clock.now(),
    );
    let refused = refused.unwrap_err();
    assert!(refused.what.contains("not in reach"), "{refused}");
    // Nor do renewals.
    world
        .clock
        .advance(jiff::SignedDuration::from_hours(24 * 1900));
    let plan = world.plan(&Goal::Due).await;
    assert!(!plan.steps.is_empty());
    world
        .clock
        .advance(jiff::SignedDuration::from_hours(24 * 200));
    let plan = world.plan(&BOOTSTRAP).await;
    assert_eq!(plan.steps, []);
    assert!(
        plan.problems[0].what.contains("not in reach"),
        "{:?}",
        plan.problems
    );
}

#[tokio::test]
async fn neither_key_nor_signer_is_refused() {
    let world = World::new(Document::new(1, 1));
    ForeignCa::new("vendor").await.install(&world, false).await;
    world.delete("mgmt-1", SecretRole::Signing).await;
    let before = writes(&world);
    let plan = world.run(&ADOPT).await.unwrap();
    assert_eq!(plan.problems.len(), 1);
    assert!(
        plan.problems[0].what.contains("neither the key"),
        "{:?}",
        plan.problems
    );
    assert_eq!(writes(&world), before);
}

#[tokio::test]
async fn without_being_asked_nothing_is_taken_over() {
    let world = World::new(Document::new(1, 1));
    ForeignCa::new("vendor").await.install(&world, true).await;
    let plan = world.run(&BOOTSTRAP).await.unwrap();
    assert!(plan.problems[0].remedy.contains("--adopt"));
    assert_eq!(writes(&world), 0);
}

/// Some guides have people copy the server's certificate into the signing Secret.
#[tokio::test]
async fn a_leaf_where_the_signer_should_be_is_replaced() {
    let world = World::new(Document::new(1, 1)).watched();
    let vendor = ForeignCa::new("vendor").await;
    vendor.install(&world, true).await;
    let name = "gloo-mesh-mgmt-server.gloo-mesh";
    let (chain, key) = vendor.leaf(50, Profile::RelayServer, name).await;
    let content = tls(&chain, &key, &vendor.root.to_pem());
    put(&world, "mgmt-1", SecretRole::Signing, content);
    world.reach(&ADOPT).await;
    let signing = leaf(&world, "mgmt-1", SecretRole::Signing);
    assert!(signing.leaf().is_ca());
    assert!(signing.leaf().is_issued_by(&vendor.root));
    assert!(world.oracle.as_ref().unwrap().violations().is_empty());
    assert_eq!(world.plan(&BOOTSTRAP).await.steps, []);
}

#[tokio::test]
async fn anchors_of_all_clusters_are_united() {
    let world = World::new(Document::new(1, 2));
    let (vendor, second) = (
        ForeignCa::new("vendor").await,
        ForeignCa::new("second").await,
    );
    vendor.install(&world, true).await;
    let both = vendor.root.to_pem() + &second.root.to_pem();
    world.edit("mgmt-1", SecretRole::Server, CA_CERT, both.as_bytes());
    let (chain, key) = second.leaf(9, Profile::AgentClient, "cluster-2").await;
    put(
        &world,
        "cluster-2",
        SecretRole::Client,
        tls(&chain, &key, &both),
    );
    world.reach(&ADOPT).await;
    for cluster in ["mgmt-1", "cluster-1", "cluster-2"] {
        assert_eq!(bundle(&world, cluster).anchors().len(), 2, "{cluster}");
    }
    assert_eq!(
        leaf(&world, "cluster-2", SecretRole::Client),
        chain,
        "the leaf stays"
    );
    let records = records(world.home());
    let roots = records.iter().filter(|record| record.root.is_none());
    let states: Vec<Status> = roots.map(|record| record.status).collect();
    assert_eq!(states, [Status::Active, Status::Retiring]);
}

#[tokio::test]
async fn two_roots_of_which_none_is_in_use_are_refused() {
    let world = World::new(Document::new(1, 1));
    let (one, other) = (ForeignCa::new("one").await, ForeignCa::new("other").await);
    let both = (one.root.to_pem() + &other.root.to_pem()).into_bytes();
    put(&world, "mgmt-1", SecretRole::Trust, vec![(CA_CERT, both)]);
    let plan = world.run(&ADOPT).await.unwrap();
    assert!(
        plan.problems[0].what.contains("several roots"),
        "{:?}",
        plan.problems
    );
    assert_eq!(writes(&world), 0);
}

/// Whoever forgets `--adopt` when going on is told so, and makes nothing worse.
#[tokio::test]
async fn an_interrupted_take_over_goes_on_with_adopt_only() {
    let base = World::new(Document::new(1, 2));
    let (vendor, second) = (
        ForeignCa::new("vendor").await,
        ForeignCa::new("second").await,
    );
    vendor.install(&base, false).await;
    let both = vendor.root.to_pem() + &second.root.to_pem();
    base.edit("cluster-2", SecretRole::Client, CA_CERT, both.as_bytes());
    let reference = base.copy();
    reference.reach(&ADOPT).await;
    for n in 1..=reference.faults.mutations() {
        let world = base.copy().watched();
        world.faults.plan(n, Fault::CrashAfter);
        assert!(world.run(&ADOPT).await.is_none());
        world.faults.revive();
        let plan = world.run(&BOOTSTRAP).await.unwrap();
        let foreign = world.relay.clusters.iter().any(|spec| {
            let store = &world.stores[spec.name.as_str()];
            store
                .objects()
                .iter()
                .any(|object| object.labels.is_empty())
        });
        assert_eq!(
            foreign,
            !plan.problems.is_empty(),
            "{n}: {:?}",
            plan.problems
        );
        world.reach(&ADOPT).await;
        assert_eq!(
            super::crash::shape(&world),
            super::crash::shape(&reference),
            "{n}"
        );
        assert_eq!(
            world.ledger.calls(),
            0,
            "{n}: nothing is issued by a take-over"
        );
        let violations = world.oracle.as_ref().unwrap().violations();
        assert!(violations.is_empty(), "{n}: {violations:#?}");
    }
}

#[tokio::test]
async fn the_key_goes_where_the_record_says() {
    let world = World::new(Document::new(1, 1));
    let vendor = ForeignCa::new("vendor").await;
    vendor.install(&world, true).await;
    world.reach(&ADOPT).await;
    let kept = world.home().objects();
    let kept = kept
        .iter()
        .find(|object| object.key.name == "relay-pki-relay-root-g1" && object.secret_type.is_some())
        .unwrap();
    let key = PrivateKey::from_pem(kept.data["tls.key"].expose()).unwrap();
    let chain = CertificateChain::from_pem(kept.data["tls.crt"].expose()).unwrap();
    assert_eq!(key.public_key(), vendor.root.public_key());
    assert_eq!(chain.leaf(), &vendor.root);
}

#[tokio::test]
async fn another_working_ca_is_not_overwritten() {
    let world = World::new(Document::new(2, 1));
    let vendor = ForeignCa::new("vendor").await;
    vendor.install(&world, true).await;
    let other = ForeignCa::new("other").await;
    let chain = CertificateChain::new(vec![other.signer.certificate().clone()]).unwrap();
    let signing = tls(&chain, &other.signer_key().await, &other.root.to_pem());
    put(&world, "mgmt-2", SecretRole::Signing, signing);
    let before = world.object("mgmt-2", SecretRole::Signing).unwrap();
    let plan = world.run(&ADOPT).await.unwrap();
    let mut problems = plan.problems.iter();
    assert!(problems.any(|p| p.what.contains("another working CA")));
    let after = world.object("mgmt-2", SecretRole::Signing).unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn the_only_copy_of_a_roots_key_is_not_taken_out() {
    let world = World::new(Document::new(1, 1));
    let vendor = ForeignCa::new("vendor").await;
    vendor.install(&world, false).await;
    let trust = vec![
        (CA_CERT, vendor.root.to_pem().into_bytes()),
        (
            TLS_KEY,
            vendor.root_key().await.to_pem().as_bytes().to_vec(),
        ),
    ];
    put(&world, "cluster-1", SecretRole::Trust, trust);
    world.reach(&ADOPT).await;
    let goal = Goal::Bootstrap {
        adopt: false,
        prune_keys: true,
    };
    let plan = world.run(&goal).await.unwrap();
    assert!(plan.problems[0].what.contains("only known copy"));
    let trust = world.object("cluster-1", SecretRole::Trust).unwrap();
    assert!(trust.data.contains_key(TLS_KEY));
}
