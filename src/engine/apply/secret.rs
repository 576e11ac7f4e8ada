//! Writing relay Secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use relay_pki_authority::Profile;
use relay_pki_authority::x509::{Certificate, CertificateChain, PublicKey, Subject, TrustBundle};
use zeroize::Zeroizing;

use super::super::limited;
use super::super::plan::subject_of_leaf;
use super::super::step::{Content, Put};
use super::issue::{LeafRequest, bounded, refused};
use super::{Apply, StepError};
use crate::cluster::{
    Cluster, ClusterError, Expected, Object, ObjectKey, SecretBytes, Stored, Version,
};
use crate::config::ClusterSpec;
use crate::journal::GenerationRecord;
use crate::relay::{
    self, CA_CERT, Owner, REQUEST_ANNOTATION, ROTATED_ANNOTATION, SecretRole, TLS_CERT, TLS_KEY,
    TLS_TYPE, TOKEN, decode_token, new_secret, owner_of,
};
use crate::rotation::presented;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

impl Apply<'_> {
    /// Writes one Secret, if what is there is still what the plan saw.
    pub(super) async fn put(&self, spec: &ClusterSpec, put: &Put) -> Result<(), StepError> {
        let cluster = self.fleet.cluster(spec.name.as_str())?.as_ref();
        let key = ObjectKey::secret(put.name.clone());
        let existing = match (&put.precondition, put.content) {
            // There is nothing to keep, and the write itself finds out if somebody was faster. For a
            // certificate that would be too late: it may have been paid for by then.
            (None, content) if content != Content::Issue => None,
            (precondition, _) => self.expected(cluster, &key, precondition.as_ref()).await?,
        };
        let mut object = match &existing {
            Some(stored) => stored.object.clone(),
            None => new_secret(key, put.role),
        };
        let before = object.clone();
        object.labels.extend(relay::labels(&self.fleet.relay.name));
        let mut recorded = None;
        match put.content {
            Content::Issue => {
                let mut wanted = self.leaf_request(spec, put)?;
                wanted.replaces = certified_key(&object);
                let leaf = self.issue(&wanted).await?;
                let chain = self.led(leaf.chain)?;
                set(&mut object.data, TLS_CERT, chain.to_pem().as_bytes());
                set(&mut object.data, TLS_KEY, leaf.key.to_pem().as_bytes());
                recorded = leaf.recorded.then_some(wanted.name);
            }
            Content::Chain => {
                let pem = object.data.get(TLS_CERT);
                let pem = pem.ok_or_else(|| StepError::Refused {
                    reason: format!("{} has no {TLS_CERT}", object.key),
                })?;
                let chain = CertificateChain::from_pem(pem.expose()).map_err(refused)?;
                let chain = self.led(chain)?;
                set(&mut object.data, TLS_CERT, chain.to_pem().as_bytes());
            }
            Content::Keep | Content::Bundle => {}
            Content::Signer => self.set_signer(&mut object).await?,
            Content::NewToken => {
                let token = new_token()?;
                set(&mut object.data, TOKEN, token.as_bytes());
            }
            Content::CopyToken => {
                let token = self.home_token(put.role).await?;
                object.data.insert(TOKEN.to_owned(), token);
            }
        }
        if !matches!(
            put.role,
            SecretRole::IdentityToken | SecretRole::ForwardingToken
        ) {
            self.set_bundle(&mut object)?;
        }
        // A copy that is no other than before has not followed the original yet.
        let follows = put.content != Content::CopyToken || object.data != before.data;
        if put.request > 0 && follows {
            let request = put.request.to_string();
            object
                .annotations
                .insert(REQUEST_ANNOTATION.to_owned(), request);
        }
        if put.prune_key {
            // The certificate of a key that is gone is no use to anybody.
            for entry in [TLS_KEY, TLS_CERT] {
                match object.secret_type.as_deref() {
                    // Types never change, and this one wants both entries, if only empty.
                    Some(TLS_TYPE) => set(&mut object.data, entry, &[]),
                    _ => drop(object.data.remove(entry)),
                }
            }
        }
        // Nobody uses an earlier one where there was none.
        if existing.is_some() && lineage(&object) != lineage(&before) {
            let at = self.now().to_string();
            object.annotations.insert(ROTATED_ANNOTATION.to_owned(), at);
        }
        if existing.is_none() || object != before {
            let expected = existing.map_or(Expected::Absent, |stored| Expected::At(stored.version));
            let call = cluster.write(&object, &expected);
            limited(cluster.name(), &format!("write {}", object.key), call).await?;
        }
        if let Some(subject) = recorded {
            self.settle(&subject).await?;
        }
        Ok(())
    }

    /// What is there now: read afresh, and only good if it is what the plan was made from.
    async fn expected(
        &self,
        cluster: &dyn Cluster,
        key: &ObjectKey,
        precondition: Option<&Version>,
    ) -> Result<Option<Stored>, StepError> {
        let call = cluster.read(key);
        let stored = limited(cluster.name(), &format!("read {key}"), call).await?;
        if stored.as_ref().map(|stored| &stored.version) == precondition {
            return Ok(stored);
        }
        Err(StepError::Cluster(ClusterError::Conflict {
            cluster: cluster.name().to_owned(),
            object: key.clone(),
        }))
    }

    fn leaf_request(&self, spec: &ClusterSpec, put: &Put) -> Result<LeafRequest, StepError> {
        if let (SecretRole::Client, Some(agent)) = (put.role, &spec.agent) {
            return LeafRequest::agent(&spec.name, agent, put.request);
        }
        let relay = &self.fleet.relay;
        // The relay authority is the server's name for people too; a long namespace makes it too
        // long for a common name.
        let authority = relay.server.names.first().map(|name| name.as_str());
        let authority = authority.filter(|name| name.len() <= 64);
        let common_name = authority.unwrap_or("gloo-mesh-mgmt-server");
        Ok(LeafRequest {
            name: subject_of_leaf(put.role, spec.name.as_str()),
            profile: Profile::RelayServer,
            subject: Subject {
                organization: None,
                common_name: common_name.parse().map_err(refused)?,
            },
            names: relay.server.names.clone(),
            key_type: relay.server.key_type,
            lifetime: relay.server.validity.duration(),
            request: put.request,
            replaces: None,
        })
    }

    async fn set_signer(&self, object: &mut Object) -> Result<(), StepError> {
        let authority = self.signer().await?;
        let record = self.active_signer()?;
        let generation = record.generation(&self.fleet.relay.name);
        let provider = self.provider(record)?;
        let key = bounded(&generation, provider.export_key(&generation)).await?;
        let chain = presented(&self.journal, record.number, self.now()).unwrap_or_else(|| {
            let own = authority.certificate();
            let above = authority.path().iter().filter(|above| *above != own);
            std::iter::once(own).chain(above).cloned().collect()
        });
        let chain: String = chain.iter().map(Certificate::to_pem).collect();
        set(&mut object.data, TLS_CERT, chain.as_bytes());
        set(&mut object.data, TLS_KEY, key.to_pem().as_bytes());
        Ok(())
    }

    /// A leaf of a signer that has several certificates, with those that lead to the roots now.
    fn led(&self, chain: CertificateChain) -> Result<CertificateChain, StepError> {
        let leaf = chain.leaf();
        let issued = |record: &GenerationRecord| {
            let mut own = record.certificate.iter();
            own.any(|signer| leaf.is_issued_by(signer))
        };
        let mut signers = self.journal.signers.values().map(|kept| &kept.record);
        let signer = signers.rfind(|record| issued(record));
        let above = signer.and_then(|signer| presented(&self.journal, signer.number, self.now()));
        match above {
            None => Ok(chain),
            Some(above) => {
                let whole = std::iter::once(leaf.clone()).chain(above);
                CertificateChain::new(whole.collect()).map_err(refused)
            }
        }
    }

    /// The published bundle, unless what is there says the same: then its bytes stay.
    fn set_bundle(&self, object: &mut Object) -> Result<(), StepError> {
        let bundle = self.bundle.as_ref().ok_or_else(|| StepError::Refused {
            reason: "there is no published root".to_owned(),
        })?;
        let existing = object.data.get(CA_CERT);
        let existing = existing.and_then(|pem| TrustBundle::from_pem(pem.expose()).ok());
        if existing.map(|found| found.digest()) != Some(bundle.digest()) {
            set(&mut object.data, CA_CERT, bundle.to_pem().as_bytes());
        }
        Ok(())
    }

    /// The token of the management cluster that holds the records. It is written before any copy is,
    /// so it is read once for all of them.
    async fn home_token(&self, role: SecretRole) -> Result<SecretBytes, StepError> {
        let cell = match role {
            SecretRole::ForwardingToken => &self.forwarding_token,
            _ => &self.identity_token,
        };
        let token = cell.get_or_try_init(|| self.read_home_token(role)).await?;
        Ok(token.clone())
    }

    async fn read_home_token(&self, role: SecretRole) -> Result<SecretBytes, StepError> {
        let relay = &self.fleet.relay;
        let home = self.fleet.home()?;
        let key = ObjectKey::secret(relay::secret_name(relay, relay.home(), role));
        let stored = limited(home.name(), "read the token", home.read(&key)).await?;
        let refuse = |reason: String| StepError::Refused {
            reason: format!("{key} in cluster {}: {reason}", home.name()),
        };
        let stored = stored.ok_or_else(|| refuse("it is gone".to_owned()))?;
        if owner_of(&stored.object, &relay.name) != Owner::Us {
            return Err(refuse("it is not managed by this relay".to_owned()));
        }
        decode_token(&stored.object).map_err(refuse)?;
        let token = stored.object.data.get(TOKEN).cloned();
        token.ok_or_else(|| refuse(format!("it has no {TOKEN}")))
    }
}

/// The public key in a Secret with a certificate, if there is one that can be read.
fn certified_key(object: &Object) -> Option<PublicKey> {
    let pem = object.data.get(TLS_CERT)?;
    let chain = CertificateChain::from_pem(pem.expose()).ok()?;
    Some(chain.leaf().public_key().clone())
}

/// What a rotation replaces in a Secret: the trust bundle, and what leads from the certificate to the
/// roots.
fn lineage(object: &Object) -> (Option<&SecretBytes>, Vec<Certificate>) {
    let pem = object.data.get(TLS_CERT);
    let chain = pem.and_then(|pem| CertificateChain::from_pem(pem.expose()).ok());
    let chain = chain.iter().flat_map(CertificateChain::certificates);
    let above = chain.filter(|certificate| certificate.is_ca());
    (object.data.get(CA_CERT), above.cloned().collect())
}

fn new_token() -> Result<Zeroizing<String>, StepError> {
    let mut bytes = Zeroizing::new([0u8; TOKEN_BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| StepError::Refused {
        reason: "the system has no randomness for a token".to_owned(),
    })?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

fn set(data: &mut BTreeMap<String, SecretBytes>, key: &str, value: &[u8]) {
    data.insert(key.to_owned(), SecretBytes::new(value));
}
