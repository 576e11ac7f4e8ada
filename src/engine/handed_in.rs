//! Signers that a person certifies: their requests go out, their certificates come in.

use std::sync::Arc;

use jiff::SignedDuration;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, PrivateKey, Subject, TrustBundle, Validity, VerifiedCsr,
    X509Error,
};
use relay_pki_authority::{
    AuthorityError, Custody, IssuanceId, Level, Outcome, Profile, Progress, Provider,
    SignerRequest, SigningRequest, check_root_handed_in, check_signer_handed_in,
};

use super::apply::{backdated, bounded, csr};
use super::{Fleet, Observed, StepError, limited};
use crate::authorities;
use crate::cluster::{ClusterError, Expected};
use crate::journal::{GenerationRecord, Kept, Status};

/// How much longer than the document says a certificate may live: people reckon in days.
const LEEWAY: SignedDuration = SignedDuration::from_hours(24);

/// A signer that waits for its certificate.
pub struct AwaitedSigner {
    record: GenerationRecord,
    root: Kept<GenerationRecord>,
    provider: Arc<dyn Provider>,
    subject: Subject,
    /// What is to be signed.
    pub csr: VerifiedCsr,
}

/// Why a certificate was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandInError {
    /// No signer waits for one.
    #[error("no signer of relay {relay} waits for a person to certify it")]
    NotAwaited {
        /// The relay.
        relay: String,
    },
    /// It is not what is wanted.
    #[error("{reason}")]
    Refused {
        /// Why, naming the certificate.
        reason: String,
    },
    /// Something else failed.
    #[error(transparent)]
    Failed(#[from] StepError),
}

impl From<AuthorityError> for HandInError {
    fn from(error: AuthorityError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ClusterError> for HandInError {
    fn from(error: ClusterError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<X509Error> for HandInError {
    fn from(error: X509Error) -> Self {
        refused(error.to_string())
    }
}

fn refused(reason: impl Into<String>) -> HandInError {
    HandInError::Refused {
        reason: reason.into(),
    }
}

impl AwaitedSigner {
    /// The signer of an offline root that was begun and has no certificate yet.
    pub async fn find(fleet: &Fleet, observed: &Observed) -> Result<Self, HandInError> {
        let (relay, journal) = (&fleet.relay, &observed.journal);
        let not_awaited = || HandInError::NotAwaited {
            relay: relay.name.clone(),
        };
        let record = journal.begun(Level::Signer).ok_or_else(not_awaited)?;
        let root = record.root.and_then(|root| journal.roots.get(&root));
        let root = root.cloned().ok_or_else(not_awaited)?;
        let holder = root.record.provider.as_deref();
        if record.certificate.is_some() || !relay.is_offline(holder.unwrap_or(&relay.root.provider))
        {
            return Err(not_awaited());
        }
        let provider = record.provider.as_ref();
        let provider = provider.and_then(|name| fleet.providers.get(name));
        let provider = provider.cloned().ok_or_else(not_awaited)?;
        let generation = record.generation(&relay.name);
        let subject = Subject {
            organization: Some(relay.name.parse()?),
            common_name: format!("relay signer {}", record.number).parse()?,
        };
        let request = SignerRequest {
            generation: generation.clone(),
            subject: subject.clone(),
            key_type: record.key_type,
        };
        match bounded(&generation, provider.prepare_signer(&request)).await? {
            Progress::Done(csr) => Ok(Self {
                record: record.clone(),
                root,
                provider,
                subject,
                csr,
            }),
            Progress::Pending { poll_after } => Err(HandInError::Failed(StepError::Pending {
                authority: generation.to_string(),
                poll_after,
            })),
        }
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.record.number
    }

    /// Whether its root has to be handed in with it.
    pub fn wants_root(&self) -> bool {
        self.root.record.certificate.is_none()
    }

    /// Looks at `certificates`, in any order, and takes them if everything about them is right: the
    /// root into our records, the signer to its provider. Nothing is written before that; done again,
    /// it changes nothing. The next run of the engine puts them into use.
    pub async fn install(
        &self,
        fleet: &Fleet,
        certificates: &[Certificate],
    ) -> Result<(), HandInError> {
        let mut rest: Vec<&Certificate> = Vec::new();
        let mut signers: Vec<&Certificate> = Vec::new();
        for certificate in certificates {
            let ours = certificate.public_key() == self.csr.public_key();
            let list = if ours { &mut signers } else { &mut rest };
            if !list.contains(&certificate) {
                list.push(certificate);
            }
        }
        let signer = match signers.as_slice() {
            [signer] => *signer,
            [] => {
                let found: Vec<&str> = rest.iter().map(|found| found.subject()).collect();
                return Err(refused(format!(
                    "no certificate is for the key of signer g{}, only: {}; was another request \
                     signed? `relay-pki signer csr` prints the right one",
                    self.record.number,
                    found.join("; ")
                )));
            }
            _ => return Err(refused("two certificates are for the signer; give one")),
        };
        let root = self.root_among(&rest)?;
        self.check(fleet, signer, &root)
            .map_err(|reason| refused(format!("the certificate {}: {reason}", signer.subject())))?;
        self.rehearse(fleet, signer, &root).await?;
        self.record_root(fleet, &root).await?;
        let generation = self.record.generation(&fleet.relay.name);
        let chain = CertificateChain::new(vec![signer.clone()])?;
        let anchors = TrustBundle::new([root])?;
        let install = self.provider.install_signer(&generation, &chain, &anchors);
        Ok(bounded(&generation, install).await?)
    }

    /// The root: the one in our records, or the only one handed in.
    fn root_among(&self, others: &[&Certificate]) -> Result<Certificate, HandInError> {
        match (&self.root.record.certificate, others) {
            (Some(known), []) => Ok(known.clone()),
            (Some(known), [given]) if *given == known => Ok(known.clone()),
            (Some(known), [given, ..]) => Err(refused(format!(
                "{} is neither the signer nor the root of this relay, {} ({})",
                given.subject(),
                known.subject(),
                known.fingerprint()
            ))),
            (None, [root]) => Ok((*root).clone()),
            (None, []) => Err(refused(
                "the root is missing: hand its certificate in together with the signer's",
            )),
            (None, _) => Err(refused(
                "there are more certificates than signer and root: a signer is certified by the root \
                 itself",
            )),
        }
    }

    fn check(&self, fleet: &Fleet, signer: &Certificate, root: &Certificate) -> Result<(), String> {
        let now = fleet.clock.now();
        check_root_handed_in(root)?;
        let key_type = root.public_key().key_type().map_err(|e| e.to_string())?;
        let wanted = fleet.relay.root.key_type;
        if self.wants_root() && key_type != wanted {
            return Err(format!(
                "its root {} has a key of type {key_type}, but root.keyType in the document is \
                 {wanted}",
                root.subject()
            ));
        }
        if !root.is_valid_at(now) {
            return Err(format!(
                "its root {} is valid from {} to {}, not now",
                root.subject(),
                root.not_before(),
                root.not_after()
            ));
        }
        if signer.not_after() > root.not_after() {
            return Err(format!(
                "it ends at {}, after its root, which ends at {}",
                signer.not_after(),
                root.not_after()
            ));
        }
        let longest = fleet.relay.signer.validity.duration() + LEEWAY;
        let end = signer.not_before().checked_add(longest);
        // When it was signed is that person's business, for how long is the document's.
        let validity = Validity::new(signer.not_before(), end.unwrap_or(signer.not_after()));
        let request = SigningRequest {
            id: IssuanceId::derive(&[signer.public_key().spki_der()]),
            csr: self.csr.clone(),
            profile: Profile::Signer,
            subject: self.subject.clone(),
            names: Vec::new(),
            validity: validity.map_err(|error| error.to_string())?,
            now,
        };
        check_signer_handed_in(signer, root, &request)
    }

    /// Lets the signer sign a server's and an agent's certificate in memory, so that chains under it
    /// are verified before anybody relies on them. Only where its key can be had.
    async fn rehearse(
        &self,
        fleet: &Fleet,
        signer: &Certificate,
        root: &Certificate,
    ) -> Result<(), HandInError> {
        if self.provider.capabilities().custody != Custody::Local {
            return Ok(());
        }
        let generation = self.record.generation(&fleet.relay.name);
        let exported = self.provider.export_key(&generation);
        let key = bounded(&generation, exported).await?;
        let stage = authorities::in_memory();
        let chain = CertificateChain::new(vec![signer.clone()])?;
        stage.import(&generation, &key, &chain).await?;
        let anchors = TrustBundle::new([root.clone()])?;
        let authority = stage.open(&generation, &anchors).await?;
        let now = fleet.clock.now();
        for profile in [Profile::RelayServer, Profile::AgentClient] {
            let leaf = PrivateKey::generate(Default::default())?;
            let subject = Subject {
                organization: None,
                common_name: "rehearsal".parse()?,
            };
            let names = vec!["rehearsal".parse()?];
            let request = SigningRequest {
                id: IssuanceId::derive(&[leaf.public_key().spki_der()]),
                csr: csr(&leaf, &subject, &names, profile)?,
                profile,
                subject,
                names,
                validity: backdated(now, SignedDuration::from_mins(10))?,
                now,
            };
            match authority.sign(&request).await? {
                Outcome::Issued(_) => {}
                Outcome::Pending { .. } => return Err(refused("the rehearsal did not end")),
            }
        }
        Ok(())
    }

    async fn record_root(&self, fleet: &Fleet, root: &Certificate) -> Result<(), HandInError> {
        if !self.wants_root() {
            return Ok(());
        }
        let record = GenerationRecord {
            status: Status::Published,
            certificate: Some(root.clone()),
            since: fleet.clock.now(),
            ..self.root.record.clone()
        };
        let expected = match &self.root.version {
            Some(version) => Expected::At(version.clone()),
            None => Expected::Absent,
        };
        let home = fleet.home()?;
        let object = record.encode(&fleet.relay.name);
        let call = home.write(&object, &expected);
        limited(home.name(), "write a record", call).await?;
        Ok(())
    }
}
