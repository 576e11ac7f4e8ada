//! Secrets of a Kubernetes cluster as an agent's store.

use std::sync::Arc;

use async_trait::async_trait;
use relay_pki_authority::x509::{CertificateChain, PrivateKey, TrustBundle};

use super::holdings::Holdings;
use super::store::{Store, StoreError};
use crate::cluster::{Cluster, ClusterError, Expected, Object, ObjectKey, SecretBytes, Stored};
use crate::engine::limited;
use crate::relay::{
    self, CA_CERT, Owner, SecretRole, TLS_CERT, TLS_KEY, decode_tls, decode_trust, is_managed,
    new_secret, owner_of,
};

/// The Secret with the roots and the one with the certificate, as the relay's agent expects them.
pub struct Secrets {
    cluster: Arc<dyn Cluster>,
    relay: String,
    root: ObjectKey,
    client: ObjectKey,
    adopt: bool,
}

impl Secrets {
    /// Those called `root` and `client`, labelled as `relay`'s. What is there without these labels is taken
    /// over with `adopt` only.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        relay: &str,
        (root, client): (&str, &str),
        adopt: bool,
    ) -> Self {
        Self {
            cluster,
            relay: relay.to_owned(),
            root: ObjectKey::secret(root),
            client: ObjectKey::secret(client),
            adopt,
        }
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<Stored>, StoreError> {
        let call = self.cluster.read(key);
        let operation = format!("read {key}");
        let stored = limited(self.cluster.name(), &operation, call).await;
        stored.map_err(|error| failed(&error))
    }

    /// Why `stored` may not be written.
    fn obstacle(&self, stored: Option<&Stored>) -> Option<String> {
        let stored = stored?;
        let place = &stored.place;
        match owner_of(&stored.object, &self.relay) {
            Owner::Us => None,
            Owner::Foreign if self.adopt || self.is_given(stored) => None,
            Owner::Foreign => Some(format!(
                "{place} is not managed by relay-pki; start the agent with --adopt (in the chart \
                 agent.adopt=true) to have it kept up to date, or delete it"
            )),
            Owner::OtherRelay(other) => Some(format!(
                "{place} belongs to relay {other}, and this agent to relay {}; start it with --relay \
                 {other}, or give it other Secrets",
                self.relay
            )),
        }
    }

    /// Whether it is the root that somebody handed over for a beginning: nothing else is in it, and nobody
    /// else keeps it. It has to be kept up to date from now on, or the next rotation locks the cluster out.
    fn is_given(&self, stored: &Stored) -> bool {
        let object = &stored.object;
        object.key == self.root
            && !is_managed(object)
            && object.data.keys().all(|key| key == CA_CERT)
    }

    /// Writes `key` with what `change` makes of it, if that is anything else.
    async fn change(
        &self,
        key: &ObjectKey,
        role: SecretRole,
        change: impl FnOnce(&mut Object),
    ) -> Result<(), StoreError> {
        let stored = self.read(key).await?;
        // Somebody may have put it there since it was looked at.
        if let Some(obstacle) = self.obstacle(stored.as_ref()) {
            return Err(StoreError(obstacle));
        }
        let (before, expected) = match stored {
            Some(stored) => (Some(stored.object), Expected::At(stored.version)),
            None => (None, Expected::Absent),
        };
        let mut object = before
            .clone()
            .unwrap_or_else(|| new_secret(key.clone(), role));
        object.labels.extend(relay::labels(&self.relay));
        change(&mut object);
        if before.as_ref() == Some(&object) {
            return Ok(());
        }
        let call = self.cluster.write(&object, &expected);
        let operation = format!("write {key}");
        let written = limited(self.cluster.name(), &operation, call).await;
        written.map(drop).map_err(|error| failed(&error))
    }
}

#[async_trait]
impl Store for Secrets {
    fn place(&self) -> String {
        self.cluster.location()
    }

    async fn load(&self) -> Result<Holdings, StoreError> {
        let root = self.read(&self.root).await?;
        let client = self.read(&self.client).await?;
        let obstacle = self.obstacle(root.as_ref());
        let obstacle = obstacle.or_else(|| self.obstacle(client.as_ref()));
        let trust = root.and_then(|stored| {
            let content = decode_trust(&stored.object);
            let content = content.inspect_err(
                |reason| tracing::warn!(target: super::LOG, place = %stored.place, %reason, "no roots"),
            );
            Some(content.ok()?.bundle)
        });
        Ok(Holdings {
            trust,
            identity: client.map(|stored| {
                let content = decode_tls(&stored.object);
                content.map_err(|reason| format!("{}: {reason}", stored.place))
            }),
            obstacle,
        })
    }

    async fn save(
        &self,
        trust: &TrustBundle,
        identity: Option<(&PrivateKey, &CertificateChain)>,
    ) -> Result<(), StoreError> {
        // The roots first: what lies there is what the agent goes by after a crash in between.
        self.change(&self.root, SecretRole::Trust, |object| {
            set_bundle(object, trust);
        })
        .await?;
        if identity.is_none() && self.read(&self.client).await?.is_none() {
            return Ok(());
        }
        self.change(&self.client, SecretRole::Client, |object| {
            if let Some((key, chain)) = identity {
                set(object, TLS_CERT, chain.to_pem().as_bytes());
                set(object, TLS_KEY, key.to_pem().as_bytes());
            }
            set_bundle(object, trust);
        })
        .await
    }
}

/// The roots, unless what is there says the same: then its bytes stay.
fn set_bundle(object: &mut Object, trust: &TrustBundle) {
    let existing = object.data.get(CA_CERT);
    let existing = existing.and_then(|pem| TrustBundle::from_pem(pem.expose()).ok());
    if existing.as_ref() != Some(trust) {
        set(object, CA_CERT, trust.to_pem().as_bytes());
    }
}

fn set(object: &mut Object, entry: &str, content: &[u8]) {
    object
        .data
        .insert(entry.to_owned(), SecretBytes::new(content));
}

fn failed(error: &ClusterError) -> StoreError {
    StoreError(error.to_string())
}
