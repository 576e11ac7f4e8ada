use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use relay_pki_authority::x509::{
    BundleDigest, Certificate, CertificateChain, Fingerprint, PeerRole, TrustBundle, verify_path,
};
use relay_pki_authority::{Capabilities, ExtendedKeyUsage};

use super::observed::{
    ClusterState, Held, KeyObjection, Observed, Provenance, TlsState, TokenState, TrustState,
};
use super::{CONCURRENCY, Fleet, limited};
use crate::cluster::{Cluster, ClusterError, Object, ObjectKey, Stored};
use crate::config::{ClusterSpec, Relay};
use crate::enrolment::Registry;
use crate::journal::Journal;
use crate::relay::{self, REQUEST_ANNOTATION, ROTATED_ANNOTATION, TlsContent};
use crate::rotation::{Evidence, certificates};

mod keys;

/// Reads every cluster, side by side. A cluster that cannot be read costs its own time limit and
/// nothing else; only the one with our records is indispensable.
pub async fn observe(fleet: &Fleet) -> Result<Observed, ClusterError> {
    let observer = Observer::begin(fleet).await?;
    let home = fleet.relay.home();
    // Boxed one by one: what a closure makes of references is `Send` for no task.
    let mut reads: Vec<BoxFuture<'_, _>> = Vec::new();
    for spec in fleet.relay.in_reach() {
        if spec.name != home.name {
            let read = observer.cluster(fleet, spec);
            reads.push(async move { (spec.name.to_string(), read.await) }.boxed());
        }
    }
    let mut reads = futures::stream::iter(reads).buffer_unordered(CONCURRENCY);
    let mut clusters = BTreeMap::new();
    while let Some((name, state)) = reads.next().await {
        clusters.insert(name, state);
    }
    drop(reads);
    let mut observed = observer.observed(clusters);
    if observed.journal.rotation().is_some() && fleet.relay.enrols() {
        let known = Registry::of(fleet)?.list().await?;
        let known = known.into_iter();
        observed.evidence.agents = known.map(|(name, record)| (name, record.into())).collect();
    }
    Ok(observed)
}

/// Reads clusters against the records as they were when it began.
#[derive(Clone)]
pub struct Observer {
    journal: Arc<Journal>,
    home: (String, Result<ClusterState, ClusterError>),
    decoder: Arc<Decoder>,
    keys: Vec<KeyObjection>,
    providers: Arc<BTreeMap<String, Capabilities>>,
}

impl Observer {
    /// Reads the cluster that holds the records.
    pub async fn begin(fleet: &Fleet) -> Result<Self, ClusterError> {
        let relay = &fleet.relay;
        let home = relay.home();
        let stored = list(fleet.home()?.as_ref(), relay, home).await?;
        let journal = Journal::from_objects(&relay.name, &stored).map_err(|reason| {
            ClusterError::Malformed {
                cluster: home.name.to_string(),
                place: "a record of relay-pki".to_owned(),
                reason: format!("{reason}; restore it from a backup"),
            }
        })?;
        let decoder = Arc::new(Decoder::new(&journal, fleet.clock.now()));
        let keys = keys::objections(fleet, &journal, &stored).await?;
        let state = decode_apart(decoder.clone(), relay, home, stored).await;
        Ok(Self {
            journal: Arc::new(journal),
            home: (home.name.to_string(), state),
            decoder,
            keys,
            providers: Arc::new(capabilities(fleet)),
        })
    }

    /// Our records.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Reads another cluster.
    pub async fn cluster(
        &self,
        fleet: &Fleet,
        spec: &ClusterSpec,
    ) -> Result<ClusterState, ClusterError> {
        let cluster = fleet.cluster(spec.name.as_str())?;
        let stored = list(cluster.as_ref(), &fleet.relay, spec).await?;
        decode_apart(self.decoder.clone(), &fleet.relay, spec, stored).await
    }

    /// What a plan is made from: the records, the cluster that holds them, and those that were read
    /// besides. A plan leaves clusters alone that are not in it.
    pub fn observed(
        &self,
        mut clusters: BTreeMap<String, Result<ClusterState, ClusterError>>,
    ) -> Observed {
        let (home, state) = self.home.clone();
        clusters.insert(home, state);
        Observed {
            journal: self.journal.as_ref().clone(),
            clusters,
            keys: self.keys.clone(),
            providers: self.providers.clone(),
            evidence: Evidence::default(),
        }
    }
}

fn capabilities(fleet: &Fleet) -> BTreeMap<String, Capabilities> {
    let providers = fleet.providers.iter();
    providers
        .map(|(name, provider)| (name.clone(), provider.capabilities().clone()))
        .collect()
}

async fn list(
    cluster: &dyn Cluster,
    relay: &Relay,
    spec: &ClusterSpec,
) -> Result<Vec<Stored>, ClusterError> {
    let wanted: Vec<ObjectKey> = relay::secret_names(relay, spec)
        .into_iter()
        .map(|(_, name)| ObjectKey::secret(name))
        .collect();
    let call = cluster.list(relay::selector(&relay.name), &wanted);
    limited(spec.name.as_str(), "list the relay Secrets", call).await
}

/// Decoding checks signatures: it runs beside the reads of other clusters, not between them.
async fn decode_apart(
    decoder: Arc<Decoder>,
    relay: &Relay,
    spec: &ClusterSpec,
    stored: Vec<Stored>,
) -> Result<ClusterState, ClusterError> {
    let (name, names) = (relay.name.clone(), relay::secret_names(relay, spec));
    let decoded = tokio::task::spawn_blocking(move || decoder.cluster(&name, &names, stored)).await;
    decoded.map_err(|error| ClusterError::Unavailable {
        cluster: spec.name.to_string(),
        operation: "decode the relay Secrets".to_owned(),
        reason: error.to_string(),
    })
}

/// Decodes Secrets against our records. What all clusters share is decoded and verified once.
pub(super) struct Decoder {
    now: Timestamp,
    /// Every certificate of each signer that leads to a published root.
    signers: BTreeMap<u32, Vec<Certificate>>,
    published: Option<TrustBundle>,
    bundles: Mutex<HashMap<BundleDigest, Arc<TrustBundle>>>,
    above: Mutex<HashMap<Vec<Fingerprint>, Arc<[Certificate]>>>,
}

impl Decoder {
    pub(super) fn new(journal: &Journal, now: Timestamp) -> Self {
        let published = journal.published_roots().ok();
        // A signer counts only while its own chain holds: then a leaf's signature is all that is
        // left to check.
        let holds = |signer: &Certificate| {
            signer.is_valid_at(now)
                && published.as_ref().is_some_and(|roots| {
                    let mut roots = roots.anchors().iter();
                    roots.any(|root| root.is_valid_at(now) && signer.is_issued_by(root))
                })
        };
        Self {
            now,
            signers: journal
                .signers
                .iter()
                .map(|(number, kept)| {
                    let certificates = certificates(&kept.record);
                    let holding = certificates.filter(|found| holds(found));
                    (*number, holding.cloned().collect())
                })
                .collect(),
            published,
            bundles: Mutex::default(),
            above: Mutex::default(),
        }
    }

    pub(super) fn cluster(
        &self,
        relay: &str,
        names: &[(relay::SecretRole, String)],
        stored: Vec<Stored>,
    ) -> ClusterState {
        let mut state = ClusterState::default();
        for stored in stored {
            let name = &stored.object.key.name;
            let secret = stored.object.key.kind == crate::cluster::ObjectKind::Secret;
            let Some((role, _)) = names.iter().find(|(_, wanted)| secret && wanted == name) else {
                continue;
            };
            match role {
                relay::SecretRole::Trust => {
                    state.trust = Some(held(relay, &stored, |object| self.trust(object)));
                }
                relay::SecretRole::IdentityToken => {
                    state.identity_token = Some(held(relay, &stored, token));
                }
                relay::SecretRole::ForwardingToken => {
                    state.forwarding_token = Some(held(relay, &stored, token));
                }
                relay::SecretRole::Signing => {
                    state.signing = Some(held(relay, &stored, |object| self.signing(object)));
                }
                relay::SecretRole::Server => {
                    let decode = |object: &Object| self.leaf(object, PeerRole::Server);
                    state.server = Some(held(relay, &stored, decode));
                }
                relay::SecretRole::Client => {
                    let decode = |object: &Object| self.leaf(object, PeerRole::Client);
                    state.client = Some(held(relay, &stored, decode));
                }
            }
        }
        state
    }

    fn trust(&self, object: &Object) -> Result<TrustState, String> {
        let content = relay::decode_trust(object)?;
        let key = content.key.and_then(Result::ok);
        let (bundle, digest) = self.share(content.bundle);
        Ok(TrustState {
            bundle,
            digest,
            key: key.map(|key| key.public_key().clone()),
        })
    }

    fn leaf(&self, object: &Object, role: PeerRole) -> Result<TlsState, String> {
        let content = relay::decode_tls(object)?;
        let provenance = self.provenance(&content, role);
        Ok(self.tls_state(content, provenance))
    }

    fn signing(&self, object: &Object) -> Result<TlsState, String> {
        let content = relay::decode_tls(object)?;
        let ca = content.chain.leaf();
        let mut signers = self.signers.iter();
        let known = signers.find(|(_, certificates)| certificates.contains(ca));
        let provenance = match known {
            Some((number, _)) => Provenance::Signer(*number),
            None if !ca.is_ca() => Provenance::Unusable(format!("{} is not a CA", ca.subject())),
            None => {
                let mut anchors = content.bundle.anchors().iter();
                match anchors.find(|anchor| ca.is_issued_by(anchor)) {
                    Some(anchor) => Provenance::Foreign {
                        anchor: anchor.fingerprint(),
                    },
                    None => Provenance::Unusable(format!(
                        "{} was not issued by a root in its ca.crt",
                        ca.subject()
                    )),
                }
            }
        };
        Ok(self.tls_state(content, provenance))
    }

    fn tls_state(&self, content: TlsContent, provenance: Provenance) -> TlsState {
        let (bundle, digest) = self.share(content.bundle);
        TlsState {
            leaf: content.chain.leaf().clone(),
            above: self.share_above(content.chain.intermediates()),
            provenance,
            bundle,
            digest,
        }
    }

    fn provenance(&self, content: &TlsContent, role: PeerRole) -> Provenance {
        let leaf = content.chain.leaf();
        let signers = self.signers.iter().flat_map(|(number, certificates)| {
            certificates
                .iter()
                .map(move |certificate| (number, certificate))
        });
        for (number, signer) in signers {
            let carried = content.chain.intermediates().contains(signer);
            if carried && leaf.is_issued_by(signer) {
                return match self.objection(leaf, role) {
                    None => Provenance::Signer(*number),
                    Some(objection) => Provenance::Unusable(objection),
                };
            }
        }
        // Not ours: does it hold for anybody? Peers know either the roots that we publish or the
        // ones that lie beside it.
        let verify = |bundle: &TrustBundle| verify_path(&content.chain, bundle, role, self.now);
        let published = self.published.iter().flat_map(|roots| roots.anchors());
        let anchors = content.bundle.anchors().iter().chain(published);
        let mut objection = None;
        for anchor in anchors {
            match TrustBundle::new([anchor.clone()]).map(|bundle| verify(&bundle)) {
                Ok(Ok(())) => {
                    return Provenance::Foreign {
                        anchor: anchor.fingerprint(),
                    };
                }
                Ok(Err(error)) => objection = objection.or(Some(error.to_string())),
                Err(_) => {}
            }
        }
        Provenance::Unusable(chain_objection(&content.chain, objection))
    }

    /// What makes a leaf of ours useless, though its chain holds.
    fn objection(&self, leaf: &Certificate, role: PeerRole) -> Option<String> {
        let usage = match role {
            PeerRole::Server => ExtendedKeyUsage::ServerAuth,
            PeerRole::Client => ExtendedKeyUsage::ClientAuth,
        };
        let (from, to) = (leaf.not_before(), leaf.not_after());
        if !leaf.is_valid_at(self.now) {
            return Some(format!("it is valid from {from} to {to}, not now"));
        }
        let fits = leaf
            .extended_key_usage()
            .iter()
            .any(|found| found == usage.oid());
        (!fits).then(|| format!("{} is for another side of the handshake", leaf.subject()))
    }

    /// One copy of each bundle, however many clusters hold it.
    fn share(&self, bundle: TrustBundle) -> (Arc<TrustBundle>, BundleDigest) {
        let digest = bundle.digest();
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = bundles.entry(digest).or_insert_with(|| Arc::new(bundle));
        (shared.clone(), digest)
    }

    /// The same for what leads from leaves to roots.
    fn share_above(&self, above: &[Certificate]) -> Arc<[Certificate]> {
        let fingerprints = above.iter().map(Certificate::fingerprint).collect();
        let mut known = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = known.entry(fingerprints).or_insert_with(|| above.into());
        shared.clone()
    }
}

fn chain_objection(chain: &CertificateChain, objection: Option<String>) -> String {
    objection.unwrap_or_else(|| format!("{} leads to no root", chain.leaf().subject()))
}

fn token(object: &Object) -> Result<TokenState, String> {
    relay::decode_token(object).map(|digest| TokenState { digest })
}

fn held<T>(
    relay: &str,
    stored: &Stored,
    decode: impl FnOnce(&Object) -> Result<T, String>,
) -> Held<T> {
    let annotations = &stored.object.annotations;
    let request = annotations.get(REQUEST_ANNOTATION);
    let rotated = annotations.get(ROTATED_ANNOTATION);
    Held {
        version: stored.version.clone(),
        owner: relay::owner_of(&stored.object, relay),
        place: stored.place.clone(),
        exposed: stored.exposed,
        request: request.and_then(|text| text.parse().ok()).unwrap_or(0),
        rotated: rotated.and_then(|text| text.parse().ok()),
        content: decode(&stored.object),
    }
}
