//! Two engines on the same storage, without a lock between them: conflicts, never a lost update.

use std::collections::BTreeMap;

use relay_pki_authority::x509::{Subject, TrustBundle};
use relay_pki_authority::{
    Generation, IssuanceId, Level, Outcome, Profile, Progress, SignerRequest, SigningRequest,
};

use super::document::Document;
use super::oracle::leaf;
use super::world::{BOOTSTRAP, World, rotate};
use crate::clock::Clock as _;
use crate::cluster::ObjectKind;
use crate::cluster::fault::EffectKind;
use crate::engine::{Applied, Apply, Cancel, Fleet, Goal, StepError, observe, plan};
use crate::journal::Scope;
use crate::relay::SecretRole;

/// One engine's life: rounds, each from fresh reads, until it finds nothing to do.
async fn work(fleet: &Fleet, goal: &Goal) -> usize {
    let mut conflicts = 0;
    for _ in 0..20 {
        let observed = observe(fleet).await.unwrap();
        let plan = plan(&fleet.relay, goal, &observed, fleet.clock.now());
        if plan.steps.is_empty() {
            return conflicts;
        }
        let apply = Apply::new(fleet, &observed);
        let applied: Applied = apply.run(plan, &Cancel::default(), &|_| {}).await;
        let failures = applied.failed.iter().map(|failure| &failure.error);
        conflicts += failures.clone().count();
        for error in failures {
            // The provider calls a lost race "unavailable"; nothing is refused for good.
            let transient = match error {
                StepError::Cluster(crate::cluster::ClusterError::Conflict { .. }) => true,
                StepError::Authority(error) => error.is_transient(),
                _ => false,
            };
            assert!(transient, "{error}");
        }
    }
    panic!("the engines keep each other from finishing");
}

fn written(world: &World, kind: EffectKind) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for effect in world.faults.effects() {
        let records = effect.object.name.starts_with("relay-pki-");
        if effect.kind == kind && effect.object.kind == ObjectKind::Secret && !records {
            *counts
                .entry(format!("{}: {}", effect.cluster, effect.object))
                .or_insert(0) += 1;
        }
    }
    counts
}

/// Runs two engines of different pace.
async fn race(world: &mut World, seed: u64, goal: &Goal) -> usize {
    world.interleave = Some(seed);
    let one = world.fleet();
    world.interleave = Some(seed.wrapping_mul(31).wrapping_add(7));
    let other = world.fleet();
    let (a, b) = tokio::join!(work(&one, goal), work(&other, goal));
    world.interleave = None;
    a + b
}

/// Two writers can obtain two certificates for the key of one signer. Leaves carry the recorded one,
/// or every later look at them would find another issuer than the record's.
#[tokio::test]
async fn the_record_says_which_certificate_of_a_signer_counts() {
    let mut document = Document::new(1, 2);
    document.clusters[2].server_signed = true;
    let world = World::new(document);
    world.reach(&BOOTSTRAP).await;
    let fleet = world.fleet();
    let provider = fleet.providers["local"].clone();
    let records = super::oracle::records(world.home());
    let of = |level| {
        records
            .iter()
            .find(move |record| record.level == level)
            .unwrap()
    };
    let (root, signer) = (of(Level::Root), of(Level::Signer));
    let generation = |level| Generation {
        relay: "relay".to_owned(),
        level,
        number: 1,
    };
    let subject = Subject {
        organization: Some("relay".parse().unwrap()),
        common_name: "relay signer 1".parse().unwrap(),
    };
    let prepare = SignerRequest {
        generation: generation(Level::Signer),
        subject: subject.clone(),
        key_type: signer.key_type,
    };
    let Progress::Done(csr) = provider.prepare_signer(&prepare).await.unwrap() else {
        panic!("pending");
    };
    let roots = TrustBundle::new(root.certificate.clone()).unwrap();
    let above = provider
        .open(&generation(Level::Root), &roots)
        .await
        .unwrap();
    let request = SigningRequest {
        id: IssuanceId::derive(&[b"another"]),
        csr,
        profile: Profile::Signer,
        subject,
        names: Vec::new(),
        validity: signer.validity.unwrap(),
        now: world.clock.now(),
    };
    let Outcome::Issued(other) = above.sign(&request).await.unwrap() else {
        panic!("pending");
    };
    let generation = generation(Level::Signer);
    provider
        .install_signer(&generation, &other.chain, &roots)
        .await
        .unwrap();
    let opened = provider.open(&generation, &roots).await.unwrap();
    assert_ne!(Some(opened.certificate()), signer.certificate.as_ref());
    for role in [SecretRole::Signing, SecretRole::Server] {
        world.delete("mgmt-1", role).await;
    }
    world.reach(&BOOTSTRAP).await;
    let server = leaf(&world, "mgmt-1", SecretRole::Server);
    assert_eq!(server.intermediates().first(), signer.certificate.as_ref());
    let signing = leaf(&world, "mgmt-1", SecretRole::Signing);
    assert_eq!(Some(signing.leaf()), signer.certificate.as_ref());
}

#[tokio::test]
async fn two_engines_bootstrap_one_fleet() {
    let mut conflicts = 0;
    for seed in 0..16 {
        let mut world = World::new(Document::new(2, 2)).watched();
        conflicts += race(&mut world, seed, &BOOTSTRAP).await;
        world.reach(&BOOTSTRAP).await;
        let twice: Vec<_> = written(&world, EffectKind::Created)
            .into_iter()
            .filter(|(_, count)| *count > 1)
            .collect();
        assert!(twice.is_empty(), "seed {seed}: {twice:?}");
        // Nothing that one wrote was written over by the other.
        let replaced = written(&world, EffectKind::Replaced);
        assert!(replaced.is_empty(), "seed {seed}: {replaced:?}");
        let violations = world.oracle.as_ref().unwrap().violations();
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
    assert!(conflicts > 0, "they never met");
}

#[tokio::test]
async fn two_engines_rotate_one_fleet() {
    let base = World::new(Document::new(2, 2));
    base.reach(&BOOTSTRAP).await;
    let scopes = [Scope::Agents, Scope::Server, Scope::Tokens];
    let goal = rotate(&scopes);
    for seed in 0..16 {
        let mut world = base.copy().watched();
        world.request(1, &scopes).await;
        race(&mut world, seed, &goal).await;
        world.reach(&goal).await;
        world.reach(&BOOTSTRAP).await;
        let replaced = written(&world, EffectKind::Replaced);
        let often: Vec<_> = replaced.iter().filter(|(_, count)| **count > 1).collect();
        // A copy of a token may follow late; nothing else is written twice.
        let often = often.iter().filter(|(name, _)| !name.contains("token"));
        assert_eq!(often.count(), 0, "seed {seed}: {replaced:?}");
        let violations = world.oracle.as_ref().unwrap().violations();
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}
