//! What requests are decided on: read of the management cluster again and again, so that no request has
//! to read it.

use std::collections::HashMap;
use std::sync::Arc;

use relay_pki_authority::x509::{Certificate, KeyType, TrustBundle};
use relay_pki_authority::{Authority, Level, Revocation};
use rustls::ServerConfig;

use super::backend::revocation;
use super::certs_only::certs_only;
use super::revocation_list::published;
use super::tls;
use crate::cluster::{ClusterError, ObjectKey, Stored, Version};
use crate::config::{AgentSpec, ClusterSpec, Delivery, EnrolmentTokens};
use crate::engine::{Fleet, limited, open_signer};
use crate::journal::{EnrolledCertificate, GenerationRecord, Journal, RevocationListRecord};
use crate::relay::{self, Owner, SecretRole, TOKEN, TokenDigest, decode_tls, owner_of};
use crate::rotation::GivenOut;

/// A relay, as far as agents that enrol are concerned.
pub(super) struct Snapshot {
    pub(super) fleet: Arc<Fleet>,
    pub(super) journal: Journal,
    /// Agents that enrol, by the name of their cluster: where in the fleet they are.
    agents: Arc<HashMap<String, usize>>,
    /// The signer, or why it cannot be asked.
    pub(super) signer: Result<Arc<dyn Authority>, String>,
    /// Key types that it certifies.
    pub(super) key_types: Vec<KeyType>,
    pub(super) bundle: TrustBundle,
    /// The bundle's digest, as text.
    pub(super) digest: String,
    /// Signers whose certificates are accepted, with their numbers.
    pub(super) signers: Vec<(u32, Certificate)>,
    /// Everything else that leads to the roots.
    others: Vec<Certificate>,
    /// Names everything that is given out.
    pub(super) tag: String,
    /// The certs-only message with everything that a client needs to verify a chain.
    pub(super) ca_certificates: Vec<u8>,
    /// The shared token, where it may be used.
    pub(super) shared_token: Option<TokenDigest>,
    pub(super) tls: Arc<ServerConfig>,
    /// The published revocation lists.
    pub(super) revocation_lists: Option<RevocationListRecord>,
    /// Everything that it was made of.
    read: Read,
}

/// The objects that were read, by version.
#[derive(PartialEq, Eq)]
struct Read {
    versions: Vec<(ObjectKey, Version)>,
    server: Option<Version>,
}

/// Why there is nothing to serve.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The management cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Something is missing or broken there.
    #[error("{0}")]
    Unusable(String),
}

impl Snapshot {
    /// Reads what there is now. What is the same as in `before` is taken from there.
    pub(super) async fn read(
        fleet: &Arc<Fleet>,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, SnapshotError> {
        let relay = &fleet.relay;
        let (home, spec) = (fleet.home()?, relay.home());
        let server_key = ObjectKey::secret(relay::secret_name(relay, spec, SecretRole::Server));
        let token_key =
            ObjectKey::secret(relay::secret_name(relay, spec, SecretRole::IdentityToken));
        let wanted = [server_key.clone(), token_key.clone()];
        let call = home.list(relay::selector(&relay.name), &wanted);
        let stored = limited(home.name(), "list the relay Secrets", call).await?;
        let find = |key: &ObjectKey| stored.iter().find(|found| found.object.key == *key);
        let server = find(&server_key);
        let read = Read {
            versions: versions(&stored),
            server: server.map(|found| found.version.clone()),
        };
        let before = before.filter(|before| Arc::ptr_eq(&before.fleet, fleet));
        if let Some(before) = before.filter(|before| before.read == read) {
            return Ok(before.clone());
        }
        let unusable = |reason: String| SnapshotError::Unusable(reason);
        let journal = Journal::from_objects(&relay.name, &stored)
            .map_err(|reason| unusable(format!("a record of relay-pki: {reason}")))?;
        let given_out = GivenOut::of(&journal, fleet.clock.now())
            .ok_or_else(|| unusable(format!("relay {} has no root yet", relay.name)))?;
        let (others, tag) = (given_out.others(), given_out.tag());
        let GivenOut {
            bundle,
            signers,
            rolled,
            ..
        } = given_out;
        let unchanged = before.filter(|before| {
            before.bundle == bundle && before.others == others && before.read.server == read.server
        });
        let tls = match (unchanged, server) {
            (Some(before), _) => before.tls.clone(),
            (None, None) => {
                return Err(unusable(format!(
                    "there is no {server_key} in cluster {}",
                    home.name()
                )));
            }
            (None, Some(server)) => decode_tls(&server.object)
                .and_then(|own| tls::server_config(&own, &rolled, &bundle, &others))
                .map_err(|reason| unusable(format!("{}: {reason}", server.place)))?,
        };
        let active = |journal: &Journal| journal.active(Level::Signer).cloned();
        let same_signer = before.filter(|before| {
            before.bundle == bundle
                && before.signer.is_ok()
                && active(&before.journal) == active(&journal)
        });
        let signer = match same_signer {
            Some(before) => before.signer.clone(),
            None => open_signer(fleet, &journal)
                .await
                .map_err(|error| error.to_string()),
        };
        if let (Err(reason), None) = (&signer, same_signer) {
            tracing::warn!(
                target: "relay_pki::enrolment",
                relay = %relay.name, %reason, "no certificates can be issued"
            );
        }
        let shared = relay.enrolment_tokens == EnrolmentTokens::Shared;
        Ok(Arc::new(Self {
            agents: match before {
                Some(before) => before.agents.clone(),
                None => Arc::new(agents(fleet)),
            },
            key_types: key_types(fleet, active(&journal).as_ref()),
            ca_certificates: certs_only(bundle.anchors().iter().chain(&others)),
            digest: bundle.digest().to_string(),
            tag: tag.to_string(),
            others,
            shared_token: find(&token_key)
                .filter(|found| shared && owner_of(&found.object, &relay.name) == Owner::Us)
                .and_then(|found| found.object.data.get(TOKEN))
                .map(|token| TokenDigest::of(token.expose())),
            revocation_lists: published(find(&RevocationListRecord::key(&relay.name))),
            fleet: fleet.clone(),
            journal,
            signer,
            bundle,
            signers,
            tls,
            read,
        }))
    }

    /// Whether certificates of a signer are remembered as a whole: its CA revokes none that it is not shown.
    pub(super) fn keeps_whole(&self, signer: u32) -> bool {
        let kept = self.journal.signers.get(&signer);
        kept.is_some_and(|kept| {
            matches!(
                revocation(&self.fleet, &kept.record),
                Revocation::Keeps { whole: true, .. }
            )
        })
    }

    /// Whether an agent is to have another certificate than the one that it shows: a rotation has come to
    /// it.
    pub(super) fn renews(&self, cluster: &str, shown: &EnrolledCertificate) -> bool {
        let running = self.journal.rotation();
        let wanted = running.and_then(|running| running.agent(self.agent(cluster)?.0));
        wanted.is_some_and(|signer| shown.signer != signer && self.issues_from(signer))
    }

    /// Whether certificates come from a signer now.
    fn issues_from(&self, signer: u32) -> bool {
        let active = self.journal.active(Level::Signer);
        self.signer.is_ok() && active.is_some_and(|active| active.number == signer)
    }

    /// An agent that enrols.
    pub(super) fn agent(&self, cluster: &str) -> Option<(&ClusterSpec, &AgentSpec)> {
        let index = *self.agents.get(cluster)?;
        let spec = self.fleet.relay.clusters.get(index)?;
        Some((spec, spec.agent.as_ref()?))
    }
}

fn versions(stored: &[Stored]) -> Vec<(ObjectKey, Version)> {
    stored
        .iter()
        .map(|found| (found.object.key.clone(), found.version.clone()))
        .collect()
}

fn agents(fleet: &Fleet) -> HashMap<String, usize> {
    let clusters = fleet.relay.clusters.iter().enumerate();
    clusters
        .filter(|(_, spec)| {
            let agent = spec.agent.as_ref();
            agent.is_some_and(|agent| agent.delivery == Delivery::Enroll)
        })
        .map(|(index, spec)| (spec.name.to_string(), index))
        .collect()
}

fn key_types(fleet: &Fleet, signer: Option<&GenerationRecord>) -> Vec<KeyType> {
    signer
        .and_then(|signer| fleet.providers.get(signer.provider.as_ref()?))
        .map(|provider| provider.capabilities().subject_key_types.clone())
        .unwrap_or_default()
}
