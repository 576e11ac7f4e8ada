//! The fleet once more, in memory: what its clusters hold, with stand-ins in place of all CAs.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use relay_pki_authority::x509::{Certificate, CertificateChain, PrivateKey, TrustBundle};
use relay_pki_authority::{KeyStore, Level, Provider, checked};

use super::RehearsalError;
use super::stand_in::{StandIn, StandIns};
use crate::clock::ManualClock;
use crate::cluster::{
    Cluster, ClusterError, Expected, LockGuard, MemoryCluster, Object, ObjectKey, ObjectKind,
    SecretBytes, Stored, Version,
};
use crate::config::{Approval, ClusterSpec, ProviderConfig, Relay};
use crate::engine::{CONCURRENCY, Fleet, limited};
use crate::journal::{ClusterKeyStore, Journal};
use crate::relay::{self, CA_CERT, TLS_CERT, TLS_KEY};
use crate::transcript;

/// A fleet that nobody depends on.
pub(super) struct Copied {
    /// What the engine works with.
    pub(super) fleet: Fleet,
    /// Its time.
    pub(super) clock: ManualClock,
    /// The clusters that could be read.
    pub(super) stores: BTreeMap<String, MemoryCluster>,
}

impl Copied {
    /// A copy of what the clusters of `fleet` hold now, for a rotation of `level`.
    pub(super) async fn of(fleet: &Fleet, level: Level) -> Result<Self, RehearsalError> {
        let (mut stores, mut clusters) = (BTreeMap::new(), BTreeMap::new());
        let mut found = BTreeMap::new();
        for (name, read) in read(fleet).await {
            let cluster: Arc<dyn Cluster> = match read {
                Ok(stored) => {
                    let store = MemoryCluster::new(&name);
                    stores.insert(name.clone(), store.clone());
                    found.insert(name.clone(), stored);
                    Arc::new(store)
                }
                // Without the records there is no rehearsal.
                Err(error) if name == fleet.relay.home().name.as_str() => return Err(error.into()),
                Err(error) => Arc::new(OutOfReach {
                    name: name.clone(),
                    error,
                }),
            };
            clusters.insert(name, cluster);
        }
        let home = fleet.relay.home().name.as_str();
        let records = found.get(home).map(Vec::as_slice).unwrap_or_default();
        let journal = journal(&fleet.relay, records)?;
        let at_home = clusters.get(home).cloned().ok_or_else(|| unknown(home))?;
        let keys: Arc<dyn KeyStore> = Arc::new(ClusterKeyStore::new(at_home));
        let name = &fleet.relay.name;
        let stand_ins = StandIns::of(name, &journal, keys.clone(), fleet.clock.now()).await?;
        for (cluster, stored) in found {
            let Some(store) = stores.get(&cluster) else {
                continue;
            };
            for stored in stored {
                store.overwrite(substituted(stored.object, &stand_ins).await?);
            }
        }
        if let Some(store) = stores.get(home) {
            for kept in journal.roots.values().chain(journal.signers.values()) {
                let mut record = stand_ins.record(&kept.record);
                // An offline root signs no certificates across; as if its key were nowhere.
                let holder = record.provider.as_deref();
                let offline = holder.is_some_and(|holder| fleet.relay.is_offline(holder));
                if level == Level::Root && record.level == Level::Root && offline {
                    record.provider = None;
                }
                store.overwrite(record.encode(name));
            }
        }
        let clock = ManualClock::new(fleet.clock.now());
        let providers = fleet.providers.iter().map(|(name, real)| {
            let stand_in: Arc<dyn Provider> = Arc::new(StandIn::of(real.as_ref(), keys.clone()));
            (name.clone(), checked(stand_in))
        });
        Ok(Self {
            fleet: Fleet {
                relay: document(&fleet.relay),
                providers: providers.collect(),
                clusters,
                clock: Arc::new(clock.clone()),
            },
            clock,
            stores,
        })
    }
}

/// The document of the copy. Nobody is there to approve anything, and no workload to restart.
fn document(real: &Relay) -> Relay {
    let mut relay = real.clone();
    for config in relay.providers.values_mut() {
        *config = ProviderConfig::SelfSigned {
            encryption_key: None,
            previous_encryption_key: None,
        };
    }
    relay.rotation.approval = Approval::Automatic;
    relay.rotation.automatic = false;
    relay.rotation.restart.clear();
    relay
}

type Read = (String, Result<Vec<Stored>, ClusterError>);

/// What is in every cluster that is to be read, side by side.
async fn read(fleet: &Fleet) -> Vec<Read> {
    let mut reads: Vec<BoxFuture<'_, Read>> = Vec::new();
    for spec in fleet.relay.in_reach() {
        let read = read_one(fleet, spec);
        reads.push(async move { (spec.name.to_string(), read.await) }.boxed());
    }
    let reads = futures::stream::iter(reads).buffer_unordered(CONCURRENCY);
    reads.collect().await
}

async fn read_one(fleet: &Fleet, spec: &ClusterSpec) -> Result<Vec<Stored>, ClusterError> {
    let (name, relay) = (spec.name.as_str(), &fleet.relay);
    let cluster = fleet.cluster(name)?;
    let secrets = relay::secret_names(relay, spec).into_iter();
    let wanted: Vec<ObjectKey> = secrets.map(|(_, name)| ObjectKey::secret(name)).collect();
    let call = cluster.list(relay::selector(&relay.name), &wanted);
    let mut stored = limited(name, "list the relay Secrets", call).await?;
    if name == relay.home().name.as_str() && relay.enrols() {
        let call = cluster.list(relay::enrolment_selector(&relay.name), &[]);
        stored.extend(limited(name, "list the enrolments", call).await?);
    }
    // Keys of CAs, of the transcript and of certificates that are being bought stay where they are; such a
    // purchase begins anew.
    let transcripts = transcript::key_name(&relay.name);
    let bought = format!("relay-pki-{}-issuance-", relay.name);
    stored.retain(|stored| {
        let key = &stored.object.key;
        match key.kind {
            ObjectKind::Secret => wanted.contains(key),
            ObjectKind::ConfigMap => !key.name.starts_with(&bought) && key.name != transcripts,
        }
    });
    Ok(stored)
}

fn journal(relay: &Relay, stored: &[Stored]) -> Result<Journal, ClusterError> {
    Journal::from_objects(&relay.name, stored).map_err(|reason| ClusterError::Malformed {
        cluster: relay.home().name.to_string(),
        place: "a record of relay-pki".to_owned(),
        reason: format!("{reason}; restore it from a backup"),
    })
}

fn unknown(cluster: &str) -> ClusterError {
    ClusterError::Unavailable {
        cluster: cluster.to_owned(),
        operation: "find the cluster".to_owned(),
        reason: "the relay does not have it".to_owned(),
    }
}

/// A Secret with stand-ins for the certificates in it that are ours. What is foreign or broken stays as it is.
async fn substituted(mut object: Object, stand_ins: &StandIns) -> Result<Object, RehearsalError> {
    let entry = |name: &str| object.data.get(name).map(SecretBytes::expose);
    let bundle = entry(CA_CERT).and_then(|pem| TrustBundle::from_pem(pem).ok());
    let chain = entry(TLS_CERT).and_then(|pem| CertificateChain::from_pem(pem).ok());
    let key = entry(TLS_KEY).and_then(|pem| PrivateKey::from_pem(pem).ok());
    if let Some(bundle) = bundle {
        let roots = bundle.anchors().iter();
        let roots = TrustBundle::new(roots.map(|root| stand_ins.certificate(root)))?;
        put(&mut object, CA_CERT, roots.to_pem().as_bytes());
    }
    let Some(chain) = chain else {
        // A key beside a bundle is a CA's.
        object.data.remove(TLS_KEY);
        return Ok(object);
    };
    let real = chain.leaf();
    let fits = key.is_some_and(|key| key.public_key() == real.public_key());
    let (leaf, key) = match stand_ins.leaf(real).await? {
        Some((leaf, key)) => (leaf, Some(key)),
        None => (stand_ins.certificate(real), stand_ins.key(real).await?),
    };
    let above = chain.intermediates().iter();
    let above = above.map(|above| stand_ins.certificate(above));
    let all: Vec<Certificate> = std::iter::once(leaf).chain(above).collect();
    put(
        &mut object,
        TLS_CERT,
        CertificateChain::new(all)?.to_pem().as_bytes(),
    );
    if let Some(key) = key.filter(|_| fits) {
        put(&mut object, TLS_KEY, key.to_pem().as_bytes());
    }
    Ok(object)
}

fn put(object: &mut Object, entry: &str, pem: &[u8]) {
    object.data.insert(entry.to_owned(), SecretBytes::new(pem));
}

/// A cluster that cannot be read now, and therefore not in the rehearsal either.
struct OutOfReach {
    name: String,
    error: ClusterError,
}

#[async_trait]
impl Cluster for OutOfReach {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        "out of reach".to_owned()
    }

    async fn list(&self, _: (&str, &str), _: &[ObjectKey]) -> Result<Vec<Stored>, ClusterError> {
        Err(self.error.clone())
    }

    async fn read(&self, _: &ObjectKey) -> Result<Option<Stored>, ClusterError> {
        Err(self.error.clone())
    }

    async fn write(&self, _: &Object, _: &Expected) -> Result<Version, ClusterError> {
        Err(self.error.clone())
    }

    async fn delete(&self, _: &ObjectKey, _: &Version) -> Result<(), ClusterError> {
        Err(self.error.clone())
    }

    async fn lock(&self) -> Result<LockGuard, ClusterError> {
        Err(self.error.clone())
    }
}
