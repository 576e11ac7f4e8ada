//! A fleet to break: two management clusters, two agents that get their certificates from relay-pki
//! and one that gets it from the relay server.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use relay_pki_authority::{KeyStore, Level, Provider};

use super::cluster::ReadOnly;
use super::fixture::{Ca, Tweak, client_params, codes, days, now, server_params, sound};
use crate::audit::{Report, audit};
use crate::clock::ManualClock;
use crate::cluster::{Cluster, ClusterError, Object, ObjectKey, ObjectKind, SecretBytes};
use crate::config::Relay;
use crate::engine::Fleet;
use crate::journal::{ClusterKeyStore, RequestRecord, Scope, Status};
use crate::relay;

pub(super) const TRUST: &str = "relay-root-tls-secret";
pub(super) const SIGNING: &str = "relay-tls-signing-secret";
pub(super) const SERVER: &str = "relay-server-tls-secret";
pub(super) const CLIENT: &str = "relay-client-tls-secret";
pub(super) const IDENTITY: &str = "relay-identity-token-secret";
pub(super) const FORWARDING: &str = "relay-forwarding-identity-token-secret";

const YAML: &str = "
apiVersion: relay-pki.dev/v1alpha1
kind: Relay
metadata: { name: gloo-mesh }
spec:
  signer: { validity: 1y }
  server: { validity: 90d }
  agents: { validity: 30d }
  tokens: { identity: {}, forwarding: {} }
  clusters:
    - { name: mgmt, role: management, directory: a }
    - { name: mgmt-2, role: management, directory: b }
    - { name: cluster-1, role: workload, directory: c }
    - { name: cluster-2, role: workload, directory: d }
    - { name: cluster-3, role: workload, directory: e, delivery: server-signed }
";

/// The record of a generation. Written as JSON: that form is what outlives a release.
pub(super) struct Record {
    pub(super) level: Level,
    pub(super) number: u32,
    pub(super) status: Status,
    pub(super) provider: Option<&'static str>,
    pub(super) key_type: &'static str,
    pub(super) since: Timestamp,
    pub(super) pem: Option<String>,
}

impl Record {
    pub(super) fn name(&self) -> String {
        format!("relay-pki-gloo-mesh-{}-g{}", self.level, self.number)
    }
}

pub(super) struct World {
    pub(super) yaml: String,
    pub(super) root: Ca,
    pub(super) signer: Ca,
    pub(super) objects: BTreeMap<String, BTreeMap<ObjectKey, Object>>,
    pub(super) exposed: HashSet<(String, String)>,
    pub(super) failing: HashMap<String, ClusterError>,
    pub(super) keys: Option<Arc<dyn KeyStore>>,
}

impl World {
    /// Nothing is wrong with it.
    pub(super) fn sound() -> Self {
        Self::of(sound, sound)
    }

    /// Everything is as it should be below a root and a signer that may not be.
    pub(super) fn of(root: Tweak, signer: Tweak) -> Self {
        let root = Ca::root(root);
        let signer = root.signer(signer);
        let mut world = Self {
            yaml: YAML.to_owned(),
            root,
            signer,
            objects: BTreeMap::new(),
            exposed: HashSet::new(),
            failing: HashMap::new(),
            keys: None,
        };
        for cluster in ["mgmt", "mgmt-2", "cluster-1", "cluster-2", "cluster-3"] {
            world.fill(cluster);
        }
        for level in [Level::Root, Level::Signer] {
            let record = world.generation(level, 1, Status::Active);
            world.record(&record);
            let ca = if level == Level::Root {
                &world.root
            } else {
                &world.signer
            };
            let key = ca.key.serialize_pem();
            world.key_of(&record, &key);
        }
        world
    }

    fn fill(&mut self, cluster: &str) {
        let root = self.root.pem.clone();
        self.put(cluster, TRUST, &[("ca.crt", &root)]);
        self.put(
            cluster,
            IDENTITY,
            &[("token", "an-identity-token-of-32-characters")],
        );
        self.put(
            cluster,
            FORWARDING,
            &[("token", "a-forwarding-token-of-33-characters")],
        );
        if cluster.starts_with("mgmt") {
            let (pem, key) = (self.signer.pem.clone(), self.signer.key.serialize_pem());
            let entries = [("tls.crt", &*pem), ("tls.key", &*key), ("ca.crt", &*root)];
            self.put(cluster, SIGNING, &entries);
            self.issue(cluster, SERVER, |_| {});
        } else {
            self.issue(cluster, CLIENT, |_| {});
        }
        if cluster == "cluster-3" {
            self.disown(cluster, CLIENT);
        }
    }

    /// Replaces a leaf by one that is what `tweak` makes of it.
    pub(super) fn issue(
        &mut self,
        cluster: &str,
        secret: &str,
        tweak: impl FnOnce(&mut CertificateParams),
    ) {
        let mut params = match secret {
            SERVER => server_params(),
            _ => client_params(cluster),
        };
        tweak(&mut params);
        let key = KeyPair::generate().unwrap();
        let chain = self.signer.sign(&params, &key) + &self.signer.pem;
        self.put_leaf(cluster, secret, &chain, &key.serialize_pem());
    }

    pub(super) fn put_leaf(&mut self, cluster: &str, secret: &str, chain: &str, key: &str) {
        let root = self.root.pem.clone();
        let labels = self.objects.get(cluster).and_then(|objects| {
            let object = objects.get(&ObjectKey::secret(secret))?;
            Some(object.labels.clone())
        });
        self.put(
            cluster,
            secret,
            &[("tls.crt", chain), ("tls.key", key), ("ca.crt", &root)],
        );
        if let Some(labels) = labels {
            self.object(cluster, secret).labels = labels;
        }
    }

    /// Writes a Secret of ours.
    pub(super) fn put(&mut self, cluster: &str, name: &str, entries: &[(&str, &str)]) {
        self.put_kind(cluster, ObjectKind::Secret, name, entries);
    }

    pub(super) fn put_kind(
        &mut self,
        cluster: &str,
        kind: ObjectKind,
        name: &str,
        entries: &[(&str, &str)],
    ) {
        let object = Object {
            key: ObjectKey {
                kind,
                name: name.to_owned(),
            },
            secret_type: (kind == ObjectKind::Secret).then(|| "Opaque".to_owned()),
            labels: relay::labels("gloo-mesh"),
            annotations: BTreeMap::new(),
            data: entries
                .iter()
                .map(|(key, value)| ((*key).to_owned(), SecretBytes::new(*value)))
                .collect(),
        };
        self.insert(cluster, object);
    }

    pub(super) fn insert(&mut self, cluster: &str, object: Object) {
        let objects = self.objects.entry(cluster.to_owned()).or_default();
        objects.insert(object.key.clone(), object);
    }

    pub(super) fn object(&mut self, cluster: &str, name: &str) -> &mut Object {
        let objects = self.objects.get_mut(cluster).unwrap();
        objects.get_mut(&ObjectKey::secret(name)).unwrap()
    }

    pub(super) fn remove(&mut self, cluster: &str, kind: ObjectKind, name: &str) {
        let key = ObjectKey {
            kind,
            name: name.to_owned(),
        };
        self.objects.get_mut(cluster).unwrap().remove(&key).unwrap();
    }

    /// Takes our labels off.
    pub(super) fn disown(&mut self, cluster: &str, name: &str) {
        self.object(cluster, name).labels.clear();
    }

    pub(super) fn entry(&mut self, cluster: &str, name: &str, key: &str) -> Vec<u8> {
        self.object(cluster, name).data[key].expose().to_vec()
    }

    pub(super) fn text(&mut self, cluster: &str, name: &str, key: &str) -> String {
        String::from_utf8(self.entry(cluster, name, key)).unwrap()
    }

    pub(super) fn set(&mut self, cluster: &str, name: &str, key: &str, value: &[u8]) {
        let data = &mut self.object(cluster, name).data;
        data.insert(key.to_owned(), SecretBytes::new(value));
    }

    /// Every ca.crt of the fleet.
    pub(super) fn set_bundles(&mut self, pem: &str) {
        for object in self.objects.values_mut().flat_map(BTreeMap::values_mut) {
            if let Some(bundle) = object.data.get_mut("ca.crt") {
                *bundle = SecretBytes::new(pem);
            }
        }
    }

    pub(super) fn generation(&self, level: Level, number: u32, status: Status) -> Record {
        let ca = if level == Level::Root {
            &self.root
        } else {
            &self.signer
        };
        Record {
            level,
            number,
            status,
            provider: Some("local"),
            key_type: "ecdsa-p256",
            since: now() - days(30),
            pem: Some(ca.pem.clone()),
        }
    }

    pub(super) fn record(&mut self, record: &Record) {
        let json = serde_json::json!({
            "level": record.level,
            "number": record.number,
            "status": record.status,
            "provider": record.provider,
            "keyType": record.key_type,
            "root": (record.level == Level::Signer).then_some(1),
            "since": record.since,
        });
        let json = json.to_string();
        let name = record.name();
        let mut entries = vec![("record", json.as_str())];
        entries.extend(record.pem.as_ref().map(|pem| ("tls.crt", pem.as_str())));
        self.put_kind("mgmt", ObjectKind::ConfigMap, &name, &entries);
    }

    /// The Secret with the key of a generation.
    pub(super) fn key_of(&mut self, record: &Record, key: &str) {
        let pem = record.pem.clone().unwrap_or_default();
        let name = record.name();
        self.put("mgmt", &name, &[("tls.key", key), ("tls.crt", &pem)]);
    }

    pub(super) fn request(&mut self, scope: &Scope, number: u64, days_ago: i64) {
        let at = now() - days(days_ago);
        let record = RequestRecord { number, at };
        self.insert("mgmt", record.encode("gloo-mesh", scope));
    }

    /// Forgets all records and keys of relay-pki, and that anything is managed by it.
    pub(super) fn unmanaged(&mut self) {
        let home = self.objects.get_mut("mgmt").unwrap();
        home.retain(|key, _| !key.name.starts_with("relay-pki-"));
        for object in self.objects.values_mut().flat_map(BTreeMap::values_mut) {
            object.labels.clear();
        }
    }

    pub(super) fn fleet(&self) -> Fleet {
        let relay = Relay::parse(&self.yaml, "relay.yaml", Path::new("")).unwrap();
        let clusters: BTreeMap<String, Arc<dyn Cluster>> = relay
            .clusters
            .iter()
            .map(|spec| {
                let name = spec.name.to_string();
                let objects = self
                    .objects
                    .get(&name)
                    .into_iter()
                    .flat_map(BTreeMap::values);
                let objects = objects.map(|object| {
                    let key = (name.clone(), object.key.name.clone());
                    (object.clone(), self.exposed.contains(&key))
                });
                let cluster = ReadOnly {
                    objects: match self.failing.get(&name) {
                        Some(error) => Err(error.clone()),
                        None => Ok(objects.collect()),
                    },
                    name: name.clone(),
                };
                (name, Arc::new(cluster) as Arc<dyn Cluster>)
            })
            .collect();
        let home = clusters["mgmt"].clone();
        let keys = self.keys.clone();
        let keys = keys.unwrap_or_else(|| Arc::new(ClusterKeyStore::new(home)));
        let local: Arc<dyn Provider> =
            Arc::new(relay_pki_self_signed::SelfSigned::new("local", keys));
        Fleet {
            relay,
            clusters,
            providers: BTreeMap::from([("local".to_owned(), local)]),
            clock: Arc::new(ManualClock::new(now())),
        }
    }

    pub(super) async fn audit(&self) -> Report {
        audit(&self.fleet(), now()).await
    }

    /// The codes that are found, each once, and where.
    pub(super) async fn codes(&self) -> (Vec<String>, Vec<String>) {
        let report = self.audit().await;
        let clusters: BTreeSet<String> = report
            .findings
            .iter()
            .map(|finding| finding.cluster.clone())
            .chain(report.not_checked.iter().map(|entry| entry.cluster.clone()))
            .collect();
        (codes(&report), clusters.into_iter().collect())
    }

    /// Exactly this code is found, in exactly these clusters.
    pub(super) async fn assert(&self, code: &str, clusters: &[&str]) {
        let (codes, found) = self.codes().await;
        if codes != [code] || found != clusters {
            let report = self.audit().await;
            panic!(
                "wanted {code} in {clusters:?}, got {:#?} {:#?}",
                report.findings, report.not_checked
            );
        }
    }
}
