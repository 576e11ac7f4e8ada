//! Certificates for the model, made once by the real engine: a fleet is bootstrapped, a rotation taken
//! through, and what comes up on the way is kept. From them the model makes the records and Secrets
//! of each of its states, which the plan then sees as it would see them in a cluster.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::Level;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PeerRole, TrustBundle, verify_path,
};

use super::super::document::Document;
use super::super::oracle::without_going_back;
use super::super::world::{BOOTSTRAP, World, request, start};
use super::state::{Bundle, CLUSTERS, Chain, Crossed, Gen, Held, Records, Tls};
use crate::cluster::{Object, SecretBytes, Stored, Version};
use crate::config::Relay;
use crate::engine::observe::Decoder;
use crate::engine::{ClusterState, Goal, Provenance};
use crate::journal::{Cross, GenerationRecord, Journal, Kept, RotationRecord};
use crate::relay::{CA_CERT, ROTATED_ANNOTATION, SecretRole, TLS_CERT, TLS_KEY, secret_names};

/// The time in the model stands still; what is remembered grows old instead.
pub(super) fn now() -> Timestamp {
    start() + SignedDuration::from_hours(1)
}

/// A leaf and its key.
#[derive(Clone)]
struct Leaf {
    certificate: Certificate,
    key: SecretBytes,
}

/// Everything that a fleet in a rotation is made of.
pub(super) struct Pool {
    pub(super) relay: Relay,
    roots: [GenerationRecord; 2],
    signers: [GenerationRecord; 2],
    /// By cluster, then by signer.
    leaves: [[Leaf; 2]; CLUSTERS],
    /// The Secrets of each cluster with what the model never changes in them.
    secrets: [Vec<Object>; CLUSTERS],
    /// What each party accepts, once asked.
    accepted: HashMap<(usize, Chain, Bundle), bool>,
}

impl Pool {
    /// For rotations of `level` by the settings `rotation` of the document.
    pub(super) fn new(level: Level, rotation: &'static str) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(Self::harvest(level, rotation))
    }

    async fn harvest(level: Level, rotation: &'static str) -> Self {
        let mut document = Document::new(1, CLUSTERS - 1);
        let relay = {
            let mut asked = document.clone();
            asked.rotation = rotation;
            asked.parse()
        };
        document.rotation = "{}";
        let world = World::new(document);
        world.reach(&BOOTSTRAP).await;
        let names: [String; CLUSTERS] = std::array::from_fn(|n| relay.clusters[n].name.to_string());
        let leaves = |world: &World| names.clone().map(|cluster| leaf(world, &cluster));
        let before = leaves(&world);
        world.begin(&request(level)).await;
        world.run(&Goal::Rotation).await;
        let after = leaves(&world);
        let journal = world.observe().await.journal;
        let records = |level| {
            let records = journal.level(level).values();
            let mut records: Vec<_> = records.map(|kept| kept.record.clone()).collect();
            // A rotation of the signer stays under its root.
            records.resize(2, records[0].clone());
            <[GenerationRecord; 2]>::try_from(records).unwrap()
        };
        Self {
            roots: records(Level::Root),
            signers: records(Level::Signer),
            leaves: std::array::from_fn(|n| [before[n].clone(), after[n].clone()]),
            secrets: names.map(|cluster| world.stores[&cluster].objects()),
            relay,
            accepted: HashMap::new(),
        }
    }

    /// The records as they would be read.
    pub(super) fn journal(&self, records: &Records, rotation: Option<&RotationRecord>) -> Journal {
        let mut journal = Journal::default();
        let levels = [
            (Level::Root, &self.roots, &records.roots),
            (Level::Signer, &self.signers, &records.signers),
        ];
        for (level, templates, gens) in levels {
            for (template, generation) in templates.iter().zip(gens) {
                if let Some(generation) = generation {
                    let record = shaped(template, generation);
                    let kept = kept(record);
                    journal.level_mut(level).insert(template.number, kept);
                }
            }
        }
        if let Some(rotation) = rotation {
            let number = rotation.number;
            journal.rotations.insert(number, kept(rotation.clone()));
        }
        journal
    }

    /// What a cluster holds, as it would be read.
    pub(super) fn cluster(
        &self,
        decoder: &Decoder,
        cluster: usize,
        held: Held,
        rotated: Timestamp,
    ) -> ClusterState {
        let spec = &self.relay.clusters[cluster];
        let names = secret_names(&self.relay, spec);
        let mut stored = Vec::new();
        for object in &self.secrets[cluster] {
            let role = names.iter().find(|(_, name)| *name == object.key.name);
            let mut object = object.clone();
            match role.map(|(role, _)| role) {
                Some(SecretRole::Trust) => {
                    let pem = self.bundle(held.trust).to_pem();
                    object
                        .data
                        .insert(CA_CERT.to_owned(), SecretBytes::new(pem));
                }
                Some(SecretRole::Server | SecretRole::Client) => {
                    let Tls { chain, bundle } = held.tls;
                    let leaf = &self.leaves[cluster][usize::from(chain.signer) - 1];
                    let data = &mut object.data;
                    let chain = self.chain(cluster, chain).to_pem();
                    data.insert(TLS_CERT.to_owned(), SecretBytes::new(chain));
                    data.insert(TLS_KEY.to_owned(), leaf.key.clone());
                    let pem = self.bundle(bundle).to_pem();
                    data.insert(CA_CERT.to_owned(), SecretBytes::new(pem));
                }
                Some(_) => {}
                None => continue,
            }
            let (note, at) = (ROTATED_ANNOTATION.to_owned(), rotated.to_string());
            object.annotations.insert(note, at);
            stored.push(Stored {
                version: seen(),
                place: object.key.to_string(),
                exposed: false,
                object,
            });
        }
        decoder.cluster(&self.relay.name, &names, stored)
    }

    /// Whether whoever holds `bundle` accepts what `cluster` presents, as the strictest verifier does.
    pub(super) fn accepts(&mut self, cluster: usize, chain: Chain, bundle: Bundle) -> bool {
        if let Some(known) = self.accepted.get(&(cluster, chain, bundle)) {
            return *known;
        }
        let role = match cluster {
            0 => PeerRole::Server,
            _ => PeerRole::Client,
        };
        let (presented, anchors) = (self.chain(cluster, chain), self.bundle(bundle));
        let accepted = verify_path(&presented, &anchors, role, now()).is_ok()
            && without_going_back(&presented, &anchors).is_ok();
        self.accepted.insert((cluster, chain, bundle), accepted);
        accepted
    }

    fn bundle(&self, bundle: Bundle) -> TrustBundle {
        let roots = self.roots.iter().zip(1..);
        let held = roots.filter(|(_, number)| bundle.has(*number));
        TrustBundle::new(held.filter_map(|(root, _)| root.certificate.clone())).unwrap()
    }

    fn chain(&self, cluster: usize, chain: Chain) -> CertificateChain {
        let index = usize::from(chain.signer) - 1;
        let signer = &self.signers[index];
        let cross = signer.cross_certificate().filter(|_| chain.crossed);
        let leaf = self.leaves[cluster][index].certificate.clone();
        let above = cross.into_iter().chain(signer.certificate.as_ref());
        let whole = std::iter::once(leaf).chain(above.cloned());
        CertificateChain::new(whole.collect()).unwrap()
    }
}

/// The one version there is: which of them a writer has seen is what the model keeps.
pub(super) fn seen() -> Version {
    Version("seen".to_owned())
}

fn kept<T>(record: T) -> Kept<T> {
    Kept {
        record,
        version: Some(seen()),
    }
}

fn shaped(template: &GenerationRecord, generation: &Gen) -> GenerationRecord {
    let mut record = template.clone();
    record.status = generation.status;
    record.certificate = record.certificate.filter(|_| generation.made);
    record.cross = match generation.crossed {
        Crossed::Unasked => None,
        Crossed::Made => record.cross,
        Crossed::Impossible => Some(Cross::Impossible("its key is lost".to_owned())),
    };
    record
}

fn leaf(world: &World, cluster: &str) -> Leaf {
    let role = match world.object(cluster, SecretRole::Server) {
        Some(_) => SecretRole::Server,
        None => SecretRole::Client,
    };
    let object = world.object(cluster, role).unwrap();
    let chain = CertificateChain::from_pem(object.data[TLS_CERT].expose()).unwrap();
    Leaf {
        certificate: chain.leaf().clone(),
        key: object.data[TLS_KEY].clone(),
    }
}

/// What the decoder made of a leaf; the model relies on knowing its signer.
pub(super) fn signer_of(state: &ClusterState) -> Option<u32> {
    let held = state.server.as_ref().or(state.client.as_ref())?;
    match held.content.as_ref().ok()?.provenance {
        Provenance::Signer(number) => Some(number),
        _ => None,
    }
}
