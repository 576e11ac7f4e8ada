//! Reads every cluster and decodes what is there into facts: certificates, public halves of keys,
//! digests of tokens. Private keys and tokens end here.

mod decode;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use relay_pki_authority::x509::{BundleDigest, Certificate, PublicKey, TrustBundle};
use relay_pki_authority::{Capabilities, Custody, Level, Roots};

use super::code;
use super::finding::NotChecked;
use crate::cluster::{ClusterError, ObjectKey};
use crate::config::{ClusterSpec, Relay};
use crate::engine::{CALL_TIMEOUT, CONCURRENCY, Fleet, limited};
use crate::journal::Journal;
use crate::relay::{self, Owner, SecretRole};

pub(super) use decode::Pool;

/// The six relay Secrets. All are looked for everywhere: one in the wrong place must be found.
const ROLES: [SecretRole; 6] = [
    SecretRole::Trust,
    SecretRole::IdentityToken,
    SecretRole::ForwardingToken,
    SecretRole::Signing,
    SecretRole::Server,
    SecretRole::Client,
];

/// What was found in the fleet.
#[derive(Default)]
pub(super) struct Inventory {
    /// The clusters that could be read, in the order of the document.
    pub(super) clusters: Vec<ClusterFacts>,
    /// The records, if they could be read.
    pub(super) journal: Option<Journal>,
    /// The CA backends by name.
    pub(super) backends: BTreeMap<String, Backend>,
    /// What could not be read.
    pub(super) not_checked: Vec<NotChecked>,
    /// How many objects were read.
    pub(super) objects: usize,
}

/// A CA backend.
pub(super) struct Backend {
    pub(super) capabilities: Capabilities,
    /// Why it cannot be used now.
    pub(super) objection: Option<String>,
}

impl Backend {
    /// Whether the keys of its CAs of this level are in the relay's own Secrets: not those of a root
    /// that exists outside.
    pub(super) fn keeps_keys_here(&self, level: Level) -> bool {
        let outside = level == Level::Root && self.capabilities.roots == Roots::Existing;
        self.capabilities.custody == Custody::Local && !outside
    }
}

/// What was found in one cluster.
pub(super) struct ClusterFacts {
    pub(super) spec: ClusterSpec,
    pub(super) trust: Option<Secret<TrustFacts>>,
    pub(super) identity_token: Option<Secret<Part<Token>>>,
    pub(super) forwarding_token: Option<Secret<Part<Token>>>,
    pub(super) signing: Option<Secret<TlsFacts>>,
    pub(super) server: Option<Secret<TlsFacts>>,
    pub(super) client: Option<Secret<TlsFacts>>,
    /// Other Secrets of this relay with a private key in them.
    pub(super) keys: Vec<Secret<KeyFacts>>,
    /// The public key that transcripts are signed with, as it is published.
    pub(super) transcript_key: Option<Result<PublicKey, String>>,
    objects: usize,
    journal: Option<Result<Journal, String>>,
}

impl ClusterFacts {
    pub(super) fn new(spec: ClusterSpec) -> Self {
        Self {
            spec,
            trust: None,
            identity_token: None,
            forwarding_token: None,
            signing: None,
            server: None,
            client: None,
            keys: Vec::new(),
            transcript_key: None,
            objects: 0,
            journal: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.spec.name.as_str()
    }

    /// The Secrets with certificates.
    pub(super) fn tls(&self) -> impl Iterator<Item = (SecretRole, &Secret<TlsFacts>)> {
        [
            (SecretRole::Signing, &self.signing),
            (SecretRole::Server, &self.server),
            (SecretRole::Client, &self.client),
        ]
        .into_iter()
        .filter_map(|(role, slot)| Some((role, slot.as_ref()?)))
    }

    /// The tokens.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (SecretRole, &Secret<Part<Token>>)> {
        [
            (SecretRole::IdentityToken, &self.identity_token),
            (SecretRole::ForwardingToken, &self.forwarding_token),
        ]
        .into_iter()
        .filter_map(|(role, slot)| Some((role, slot.as_ref()?)))
    }

    /// Every bundle, with the Secret that it is in.
    pub(super) fn bundles(&self) -> impl Iterator<Item = (SecretRole, &About, &Bundle)> {
        let trust = self.trust.iter().filter_map(|secret| {
            Some((
                SecretRole::Trust,
                &secret.about,
                secret.content.bundle.here()?,
            ))
        });
        trust.chain(self.tls().filter_map(|(role, secret)| {
            Some((role, &secret.about, secret.content.bundle.here()?))
        }))
    }

    /// The roots that this cluster's agent accepts the server with, and where they are.
    pub(super) fn accepted_by_agent(&self) -> Option<(&About, &Bundle)> {
        let client = self
            .client
            .as_ref()
            .and_then(|secret| Some((&secret.about, secret.content.bundle.here()?)));
        client.or_else(|| {
            let trust = self.trust.as_ref()?;
            Some((&trust.about, trust.content.bundle.here()?))
        })
    }
}

/// A Secret and what is in it.
pub(super) struct Secret<T> {
    pub(super) about: About,
    pub(super) content: T,
}

/// A Secret from outside.
pub(super) struct About {
    pub(super) name: String,
    pub(super) place: String,
    pub(super) owner: Owner,
    pub(super) exposed: bool,
    pub(super) secret_type: Option<String>,
    /// Whether it has entries for a certificate and a key, whatever is in them.
    pub(super) has_pair: bool,
    /// The latest rotation request that it satisfies.
    pub(super) request: u64,
}

/// An entry of a Secret.
#[derive(Debug, Clone)]
pub(super) enum Part<T> {
    Absent,
    Broken(String),
    Here(T),
}

impl<T> Part<T> {
    pub(super) fn here(&self) -> Option<&T> {
        match self {
            Self::Here(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

pub(super) struct TrustFacts {
    pub(super) bundle: Part<Bundle>,
    pub(super) key: Part<PublicKey>,
}

pub(super) struct TlsFacts {
    pub(super) chain: Part<Chain>,
    pub(super) key: Part<PublicKey>,
    pub(super) bundle: Part<Bundle>,
}

pub(super) struct KeyFacts {
    /// Whether it is encrypted: then nothing of it is known here.
    pub(super) encrypted: bool,
    pub(super) key: Part<PublicKey>,
}

/// Anchors; one copy of each set however many clusters hold it.
#[derive(Debug, Clone)]
pub(super) struct Bundle {
    pub(super) digest: BundleDigest,
    pub(super) anchors: Arc<TrustBundle>,
}

/// A certificate with what follows it, of which there is one copy too.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) leaf: Certificate,
    pub(super) above: Arc<[Certificate]>,
    /// The key that signed the leaf, if its certificate is in the chain or in the bundle beside it.
    pub(super) signed_by: Option<PublicKey>,
}

/// What is worth knowing of a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) digest: [u8; 32],
    pub(super) length: usize,
    pub(super) white_space: bool,
}

/// Reads the fleet. Whatever fails costs itself only.
pub(super) async fn gather(fleet: &Fleet) -> Inventory {
    let relay = &fleet.relay;
    let pool = Arc::new(Pool::default());
    let mut inventory = Inventory {
        clusters: Vec::with_capacity(relay.clusters.len()),
        ..Inventory::default()
    };
    // Boxed one by one: what a closure makes of references is `Send` for no task.
    let mut reads: Vec<BoxFuture<'_, _>> = Vec::with_capacity(relay.clusters.len());
    for (index, spec) in relay.in_reach().enumerate() {
        let read = cluster(fleet, spec, pool.clone());
        reads.push(async move { (index, spec, read.await) }.boxed());
    }
    let reads = futures::stream::iter(reads).buffer_unordered(CONCURRENCY);
    let mut reads: Vec<_> = reads.collect().await;
    // The report must not depend on who answers first.
    reads.sort_by_key(|(index, ..)| *index);
    for (_, spec, read) in reads {
        match read {
            Ok(mut facts) => {
                inventory.objects += facts.objects;
                match facts.journal.take() {
                    Some(Ok(journal)) => inventory.journal = Some(journal),
                    Some(Err(reason)) => inventory.not_checked.push(NotChecked::new(
                        code::R0404,
                        spec.name.as_str(),
                        format!("the records of relay-pki: {reason}"),
                    )),
                    None => {}
                }
                inventory.clusters.push(facts);
            }
            Err(error) => inventory.not_checked.push(unreadable(spec, &error)),
        }
    }
    let home_is_read = inventory
        .clusters
        .iter()
        .any(|facts| facts.name() == relay.home().name.as_str());
    if home_is_read {
        inventory.backends = backends(fleet).await;
    }
    inventory
}

fn unreadable(spec: &ClusterSpec, error: &ClusterError) -> NotChecked {
    let code = match error {
        ClusterError::Denied { .. } => code::R0402,
        ClusterError::Malformed { .. } => code::R0403,
        _ => code::R0401,
    };
    NotChecked::new(code, spec.name.as_str(), error.to_string())
}

async fn cluster(
    fleet: &Fleet,
    spec: &ClusterSpec,
    pool: Arc<Pool>,
) -> Result<ClusterFacts, ClusterError> {
    let relay = &fleet.relay;
    let cluster = fleet.cluster(spec.name.as_str())?;
    let names = names(relay, spec);
    let wanted: Vec<ObjectKey> = names
        .iter()
        .map(|(_, name)| ObjectKey::secret(name.clone()))
        .collect();
    let call = cluster.list(relay::selector(&relay.name), &wanted);
    let stored = limited(spec.name.as_str(), "list the relay Secrets", call).await?;
    let home = relay.home().name == spec.name;
    let (relay, owned) = (relay.name.clone(), spec.clone());
    let decoded =
        tokio::task::spawn_blocking(move || pool.cluster(&relay, owned, &names, home, stored))
            .await;
    decoded.map_err(|error| ClusterError::Unavailable {
        cluster: spec.name.to_string(),
        operation: "decode the relay Secrets".to_owned(),
        reason: error.to_string(),
    })
}

/// What each of the six Secrets would be called in a cluster, whatever its role.
fn names(relay: &Relay, spec: &ClusterSpec) -> Vec<(SecretRole, String)> {
    ROLES
        .into_iter()
        .map(|role| {
            let name = relay::secret_name(relay, spec, role);
            // Without an agent the name of its Secret is still a template.
            (role, name.replace("<cluster>", spec.name.as_str()))
        })
        .collect()
}

async fn backends(fleet: &Fleet) -> BTreeMap<String, Backend> {
    let checks = fleet.providers.iter().map(|(name, provider)| async move {
        let objection = match tokio::time::timeout(CALL_TIMEOUT, provider.check()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", CALL_TIMEOUT.as_secs())),
        };
        let backend = Backend {
            capabilities: provider.capabilities().clone(),
            objection,
        };
        (name.clone(), backend)
    });
    futures::future::join_all(checks)
        .await
        .into_iter()
        .collect()
}
