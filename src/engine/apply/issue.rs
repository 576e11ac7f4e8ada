//! Obtaining one leaf certificate.

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use relay_pki_authority::x509::{
    CertificateChain, DnsName, KeyType, PrivateKey, PublicKey, Subject, Validity, VerifiedCsr,
    X509Error,
};
use relay_pki_authority::{
    Authority, AuthorityError, ExtendedKeyUsage, Generation, Issuance, IssuanceId, KeyUsage, Level,
    Metering, Outcome, Profile, SigningRequest,
};
use zeroize::Zeroize as _;

use super::super::CALL_TIMEOUT;
use super::super::plan::subject_of_leaf;
use super::{Apply, StepError};
use crate::config::{AgentSpec, ClusterName};
use crate::journal::GenerationRecord;
use crate::relay::SecretRole;

/// How far certificates are dated back: clocks of clusters differ.
const BACKDATING: SignedDuration = SignedDuration::from_mins(5);
/// A leaf that would live shorter than this is not worth issuing: its signer is at its end.
const SHORTEST_LEAF: SignedDuration = SignedDuration::from_mins(10);

/// A leaf that is wanted.
pub(super) struct LeafRequest {
    /// `server-mgmt`, `agent-cluster-1`.
    pub(super) name: String,
    pub(super) profile: Profile,
    pub(super) subject: Subject,
    pub(super) names: Vec<DnsName>,
    pub(super) key_type: KeyType,
    pub(super) lifetime: SignedDuration,
    /// The rotation request that it is to satisfy.
    pub(super) request: u64,
    /// The key of the certificate that it replaces.
    pub(super) replaces: Option<PublicKey>,
}

/// A key and the certificate for it.
pub(super) struct Leaf {
    pub(super) key: PrivateKey,
    pub(super) chain: CertificateChain,
    /// Whether there is a record of it, to be settled once it is delivered.
    pub(super) recorded: bool,
}

impl Apply<'_> {
    /// Obtains a certificate from the active signer.
    pub(super) async fn issue(&self, wanted: &LeafRequest) -> Result<Leaf, StepError> {
        let authority = self.signer().await?;
        let signer = self.active_signer()?;
        match self.metering(signer)? {
            Metering::Free => {
                let key = PrivateKey::generate(wanted.key_type).map_err(refused)?;
                let csr =
                    csr(&key, &wanted.subject, &wanted.names, wanted.profile).map_err(refused)?;
                let certified = self.certify_leaf(authority.as_ref(), signer.number, wanted, csr);
                Ok(Leaf {
                    chain: certified.await?,
                    key,
                    recorded: false,
                })
            }
            Metering::Counted => self.buy(authority.as_ref(), signer.number, wanted).await,
        }
    }

    /// A certificate for the key of `csr`, from a backend where it costs nothing.
    pub(super) async fn certify_leaf(
        &self,
        authority: &dyn Authority,
        issuer: u32,
        wanted: &LeafRequest,
        csr: VerifiedCsr,
    ) -> Result<CertificateChain, StepError> {
        let validity = self.leaf_validity(authority, wanted)?;
        let request = self.signing_request(wanted, issuer, csr, validity);
        match self.sign(authority, &request).await? {
            Outcome::Issued(issuance) => Ok(audited(authority, &request, issuance)),
            Outcome::Pending { poll_after, .. } => Err(StepError::Pending {
                authority: authority.id().to_owned(),
                poll_after,
            }),
        }
    }

    pub(super) fn leaf_validity(
        &self,
        authority: &dyn Authority,
        wanted: &LeafRequest,
    ) -> Result<Validity, StepError> {
        let signer = authority.certificate().validity().map_err(refused)?;
        let left = signer.not_after().duration_since(self.now());
        if left < SHORTEST_LEAF.min(wanted.lifetime) {
            return Err(StepError::Refused {
                reason: format!(
                    "the signer {} ends at {}; run `relay-pki rotate signer` first",
                    authority.certificate().subject(),
                    signer.not_after()
                ),
            });
        }
        if signer.not_before() > self.now() {
            return Err(StepError::Refused {
                reason: format!(
                    "the signer {} is valid only from {}; set the clock right",
                    authority.certificate().subject(),
                    signer.not_before()
                ),
            });
        }
        let validity = backdated(self.now(), wanted.lifetime).map_err(refused)?;
        validity.clamped_to(&signer).map_err(refused)
    }

    pub(super) fn signing_request(
        &self,
        wanted: &LeafRequest,
        issuer: u32,
        csr: VerifiedCsr,
        validity: Validity,
    ) -> SigningRequest {
        let names: Vec<&str> = wanted.names.iter().map(DnsName::as_str).collect();
        SigningRequest {
            id: IssuanceId::derive(&[
                self.fleet.relay.name.as_bytes(),
                wanted.name.as_bytes(),
                &issuer.to_be_bytes(),
                csr.public_key().spki_der(),
                names.join(",").as_bytes(),
                &validity.not_after().as_second().to_be_bytes(),
            ]),
            csr,
            profile: wanted.profile,
            subject: wanted.subject.clone(),
            names: wanted.names.clone(),
            validity,
            now: self.now(),
        }
    }

    pub(super) async fn sign(
        &self,
        authority: &dyn Authority,
        request: &SigningRequest,
    ) -> Result<Outcome, StepError> {
        bounded_by(authority.id(), authority.sign(request)).await
    }

    pub(super) fn active_signer(&self) -> Result<&GenerationRecord, StepError> {
        self.journal
            .active(Level::Signer)
            .ok_or_else(|| StepError::Refused {
                reason: "there is no active signer".to_owned(),
            })
    }

    /// Whether certificates of this CA cost or count.
    pub(super) fn metering(&self, issuer: &GenerationRecord) -> Result<Metering, StepError> {
        Ok(self.provider(issuer)?.capabilities().metering)
    }
}

impl LeafRequest {
    /// The client certificate of an agent.
    pub(super) fn agent(
        cluster: &ClusterName,
        agent: &AgentSpec,
        request: u64,
    ) -> Result<Self, StepError> {
        let name = cluster.as_str();
        Ok(Self {
            name: subject_of_leaf(SecretRole::Client, name),
            profile: Profile::AgentClient,
            // CN and the one DNS name are both the cluster's name: the relay server derives the
            // agent's identity from one or the other.
            subject: Subject {
                organization: None,
                common_name: name.parse().map_err(refused)?,
            },
            names: vec![name.parse::<DnsName>().map_err(refused)?],
            key_type: agent.key_type,
            lifetime: agent.validity.duration(),
            request,
            replaces: None,
        })
    }
}

/// One audit line for each certificate, before anybody gets it.
pub(super) fn audited(
    authority: &dyn Authority,
    request: &SigningRequest,
    issuance: Issuance,
) -> CertificateChain {
    let leaf = issuance.chain.leaf();
    if tracing::enabled!(target: "relay_pki::issuance", tracing::Level::INFO) {
        let serial = leaf.serial().map(|serial| serial.to_string());
        tracing::info!(
            target: "relay_pki::issuance",
            id = %request.id,
            authority = authority.id(),
            profile = %request.profile,
            subject = %request.subject,
            serial = serial.unwrap_or_default(),
            not_after = %leaf.not_after(),
            "issued"
        );
    }
    issuance.chain
}

/// A validity of `lifetime` from now, dated back a little: so little that no renewal fraction that a
/// document may ask for makes it due at once.
pub(crate) fn backdated(now: Timestamp, lifetime: SignedDuration) -> Result<Validity, X509Error> {
    let end = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
    let backdating = BACKDATING.min(lifetime / 20);
    Validity::new(now.checked_sub(backdating).unwrap_or(now), end)
}

pub(super) fn refused(error: X509Error) -> StepError {
    StepError::Refused {
        reason: error.to_string(),
    }
}

/// Runs a provider call with a time limit.
pub(crate) async fn bounded<T>(
    generation: &Generation,
    call: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, StepError> {
    bounded_by(&generation.to_string(), call).await
}

pub(super) async fn bounded_by<T>(
    authority: &str,
    call: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, StepError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(StepError::Authority(AuthorityError::Unavailable {
            authority: authority.to_owned(),
            reason: format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
            retry_after: None,
        })),
    }
}

/// Proof that we hold `key`. Names and usages are policy's business; some backends grant what a
/// request asks for, so it asks for exactly that.
pub(crate) fn csr(
    key: &PrivateKey,
    subject: &Subject,
    names: &[DnsName],
    profile: Profile,
) -> Result<VerifiedCsr, X509Error> {
    let failed = |error: rcgen::Error| X509Error::Malformed {
        what: "certificate request",
        reason: error.to_string(),
    };
    let algorithm = match key.key_type()? {
        KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        KeyType::Ed25519 => &rcgen::PKCS_ED25519,
    };
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(key.pkcs8_der());
    let mut pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).map_err(failed)?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject.distinguished_name();
    for name in names {
        let name = name.as_str().try_into().map_err(failed)?;
        parameters.subject_alt_names.push(SanType::DnsName(name));
    }
    let required = profile.required_key_usage(key.key_type()?.is_rsa());
    let key_usages = [
        (
            KeyUsage::DIGITAL_SIGNATURE,
            KeyUsagePurpose::DigitalSignature,
        ),
        (KeyUsage::KEY_ENCIPHERMENT, KeyUsagePurpose::KeyEncipherment),
    ]
    .into_iter();
    parameters.key_usages = key_usages
        .filter(|(usage, _)| required.contains(*usage))
        .map(|(_, purpose)| purpose)
        .collect();
    parameters.extended_key_usages = match profile.extended_key_usage() {
        Some(ExtendedKeyUsage::ServerAuth) => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Some(ExtendedKeyUsage::ClientAuth) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        None => Vec::new(),
    };
    let request = parameters.serialize_request(&pair);
    // rcgen does not erase keys by itself.
    pair.zeroize();
    let request = request.map_err(failed)?;
    VerifiedCsr::from_der(request.der())
}
