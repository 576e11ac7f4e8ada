use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use google_cloud_security_privateca_v1::client::CertificateAuthorityService;
use google_cloud_security_privateca_v1::model;
use google_cloud_security_privateca_v1::model::certificate_authority::{State, Type};
use google_cloud_security_privateca_v1::model::subordinate_config::SubordinateConfigChain;
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, Subject, TrustBundle, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, Level, Metering,
    Profile, Progress, Provider, Revocation, RootRequest, Roots, SignerRequest,
};

use crate::authority::{Issuer, PoolCa};
use crate::chain::{Listed, issuers};
use crate::client::{Access, Client};
use crate::error::Kind;
use crate::names::{authority_id, is_ours, labels};
use crate::operation::ASK_AGAIN;
use crate::terms::{MARGIN, Terms, duration};
use crate::wanted::{CA_KEY_TYPES, ca_config, key_spec};

/// What the service is told as a subordinate CA's lifetime; whoever signs it decides.
const SUBORDINATE_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// What relay-pki has to be allowed in the pool. `privateca.operations.get` belongs to the project and
/// cannot be asked for here.
const PERMISSIONS: [&str; 7] = [
    "privateca.caPools.get",
    "privateca.certificateAuthorities.create",
    "privateca.certificateAuthorities.delete",
    "privateca.certificateAuthorities.get",
    "privateca.certificateAuthorities.update",
    "privateca.certificates.create",
    "privateca.certificates.get",
];

/// Counted by the conformance suite.
const CALLS: Calls = Calls {
    root: 3,
    signer: 7,
    certificate: 1,
};

/// The provider `gcpCas: { pool: … }`.
pub struct GoogleCas {
    name: String,
    client: Arc<Client>,
    capabilities: Capabilities,
}

impl GoogleCas {
    /// A provider called `name` in the document. Nothing is asked of the service yet.
    pub fn new(name: impl Into<String>, access: Access) -> Self {
        let name = name.into();
        Self {
            client: Arc::new(Client::new(name.clone(), access)),
            name,
            capabilities: Capabilities {
                ca_key_types: CA_KEY_TYPES.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                calls: CALLS,
                custody: Custody::Remote,
                metering: Metering::Counted,
                asynchronous: true,
                // The service shows a signer's request, and takes its certificate, once.
                recertifies_signers: false,
                cross_certificates: true,
                requests_roots: false,
                revocation: Revocation::Keeps {
                    whole: false,
                    // In Cloud Storage, if the pool publishes them.
                    lists: false,
                },
                dialect: Dialect::Full,
                roots: Roots::Made,
                disables: true,
            },
        }
    }

    fn id(&self, generation: &Generation) -> String {
        format!("{}: {generation}", self.name)
    }

    fn resource(&self, generation: &Generation) -> String {
        self.client.access.pool.authority(&authority_id(generation))
    }

    fn misconfigured(
        &self,
        generation: &Generation,
        reason: String,
        remedy: &str,
    ) -> AuthorityError {
        AuthorityError::Misconfigured {
            authority: self.id(generation),
            reason,
            remedy: remedy.to_owned(),
        }
    }

    fn rejected(&self, generation: &Generation, reason: impl ToString) -> AuthorityError {
        AuthorityError::Rejected {
            authority: self.id(generation),
            reason: reason.to_string(),
        }
    }

    /// The CA of a generation, if there is one that we made.
    async fn find(
        &self,
        generation: &Generation,
    ) -> Result<Option<model::CertificateAuthority>, AuthorityError> {
        let resource = self.resource(generation);
        let found = match self.client.authority(&self.id(generation), &resource).await {
            Ok(found) => found,
            Err(failed) if failed.kind == Kind::Missing => return Ok(None),
            Err(failed) => return Err(failed.into()),
        };
        if !is_ours(&found.labels, generation) {
            return Err(self.misconfigured(
                generation,
                format!("{resource} exists, but relay-pki did not make it for this"),
                "give the relay a pool of its own",
            ));
        }
        if found.state == State::Deleted {
            return Err(self.misconfigured(
                generation,
                format!("{resource} was deleted"),
                "undelete it within 30 days (gcloud privateca roots undelete, or subordinates \
                 undelete), or rotate to a new generation",
            ));
        }
        Ok(Some(found))
    }

    /// The CA of a generation: what there is, or a new one. `None` while the service makes it.
    async fn find_or_make(
        &self,
        generation: &Generation,
        subject: &Subject,
        key_type: KeyType,
        lifetime: SignedDuration,
    ) -> Result<Option<model::CertificateAuthority>, AuthorityError> {
        if let Some(found) = self.find(generation).await? {
            return Ok(Some(found));
        }
        let key = key_spec(key_type)
            .ok_or_else(|| self.unsupported(format!("CAs with keys of type {key_type}")))?;
        let (kind, profile) = match generation.level {
            Level::Root => (Type::SelfSigned, Profile::Root),
            Level::Signer => (Type::Subordinate, Profile::Signer),
        };
        let wanted = model::CertificateAuthority::new()
            .set_type(kind)
            .set_key_spec(key)
            .set_config(ca_config(profile, subject))
            .set_lifetime(duration(lifetime))
            .set_labels(labels(generation));
        let (pool, id) = (&self.client.access.pool, authority_id(generation));
        let create = |service: CertificateAuthorityService| {
            service
                .create_certificate_authority()
                .set_parent(pool.as_str())
                .set_certificate_authority_id(&id)
                .set_certificate_authority(wanted.clone())
                .send()
        };
        let doing = format!("create the CA {id}");
        match self
            .client
            .operate(&self.id(generation), &doing, create)
            .await
        {
            Ok(true) => self.find(generation).await,
            Ok(false) => Ok(None),
            // Begun by somebody else, or by us before the answer was lost.
            Err(failed) if failed.kind == Kind::Exists => self.find(generation).await,
            Err(failed) => Err(failed.into()),
        }
    }

    fn listed(
        &self,
        generation: &Generation,
        found: &model::CertificateAuthority,
    ) -> Result<Option<Listed>, AuthorityError> {
        Listed::new(&found.pem_ca_certificates)
            .map_err(|error| self.rejected(generation, format!("its certificates: {error}")))
    }

    /// The request of a CA that has no certificate yet.
    async fn request(&self, generation: &Generation) -> Result<VerifiedCsr, AuthorityError> {
        let name = self.resource(generation);
        let fetch = |service: CertificateAuthorityService| {
            service
                .fetch_certificate_authority_csr()
                .set_name(&name)
                .send()
        };
        let (id, doing) = (self.id(generation), "fetch the CA's certificate request");
        let fetched = self.client.call(&id, doing, fetch).await?;
        VerifiedCsr::from_pem(fetched.pem_csr.as_bytes())
            .map_err(|error| self.rejected(generation, error))
    }

    /// The state of a CA that is to be given up; nothing where there is none, or it is deleted.
    async fn left(&self, generation: &Generation) -> Result<Option<State>, AuthorityError> {
        let (id, name) = (self.id(generation), self.resource(generation));
        match self.client.authority(&id, &name).await {
            Ok(found) if found.state == State::Deleted => Ok(None),
            Ok(_) => Ok(self.find(generation).await?.map(|found| found.state)),
            Err(failed) if failed.kind == Kind::Missing => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }

    /// In every other state it signs nothing, and the service would refuse.
    async fn ensure_disabled(
        &self,
        generation: &Generation,
        state: State,
    ) -> Result<(), AuthorityError> {
        if !matches!(state, State::Enabled | State::Staged) {
            return Ok(());
        }
        let name = self.resource(generation);
        let disable = |service: CertificateAuthorityService| {
            service
                .disable_certificate_authority()
                .set_name(&name)
                .send()
        };
        let id = self.id(generation);
        Ok(self.client.complete(&id, "disable the CA", disable).await?)
    }

    async fn activate(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        issuers: &[Certificate],
    ) -> Result<(), AuthorityError> {
        let name = self.resource(generation);
        let (own, issuers) = (
            chain.leaf().to_pem(),
            issuers.iter().map(Certificate::to_pem).collect::<Vec<_>>(),
        );
        let issuers = SubordinateConfigChain::new().set_pem_certificates(issuers);
        let issuers = model::SubordinateConfig::new().set_pem_issuer_chain(issuers);
        let activate = |service: CertificateAuthorityService| {
            service
                .activate_certificate_authority()
                .set_name(&name)
                .set_pem_ca_certificate(&own)
                .set_subordinate_config(issuers.clone())
                .send()
        };
        let id = self.id(generation);
        match self.client.complete(&id, "activate the CA", activate).await {
            Ok(()) => Ok(()),
            // By somebody else, or by us before the answer was lost.
            Err(failed) if failed.kind == Kind::WrongState => {
                match self.certificate(generation).await? {
                    Some(certificate) if certificate == *chain.leaf() => Ok(()),
                    _ => Err(failed.into()),
                }
            }
            Err(failed) => Err(failed.into()),
        }
    }

    /// The certificate that a generation's CA has.
    async fn certificate(
        &self,
        generation: &Generation,
    ) -> Result<Option<Certificate>, AuthorityError> {
        let Some(found) = self.find(generation).await? else {
            return Ok(None);
        };
        Ok(self.listed(generation, &found)?.map(|listed| listed.own))
    }

    /// The pool's terms, if relay-pki can work with them.
    async fn terms(&self, authority: &str) -> Result<Terms, AuthorityError> {
        let pool = &self.client.access.pool;
        let get = |service: CertificateAuthorityService| {
            service.get_ca_pool().set_name(pool.as_str()).send()
        };
        let found = self.client.call(authority, "read the CA pool", get).await?;
        Terms::of(&found).map_err(|(reason, remedy)| AuthorityError::Misconfigured {
            authority: authority.to_owned(),
            reason: format!("{pool}: {reason}"),
            remedy,
        })
    }
}

#[async_trait]
impl Provider for GoogleCas {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let authority = format!("provider {}", self.name);
        self.terms(&authority).await?;
        let pool = &self.client.access.pool;
        let ask = |service: CertificateAuthorityService| {
            service
                .test_iam_permissions()
                .set_resource(pool.as_str())
                .set_permissions(PERMISSIONS)
                .send()
        };
        let granted = self.client.call(&authority, "read our permissions", ask);
        let granted = granted.await?.permissions;
        let missing: Vec<&str> = PERMISSIONS
            .into_iter()
            .filter(|wanted| !granted.iter().any(|one| one == wanted))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(AuthorityError::Misconfigured {
            authority,
            reason: format!(
                "{} lacks {} on {pool}",
                self.client.identity(),
                missing.join(", ")
            ),
            remedy: "grant the role of docs/providers/gcp-cas.md on the pool".to_owned(),
        })
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let generation = &request.generation;
        // The service dates the root by its own clock, and it must not end too late.
        let left = request
            .validity
            .not_after()
            .duration_since(Timestamp::now());
        let lifetime = left - MARGIN;
        let found = self
            .find_or_make(generation, &request.subject, request.key_type, lifetime)
            .await?;
        let listed = match &found {
            Some(found) => self.listed(generation, found)?,
            None => None,
        };
        Ok(match listed {
            Some(listed) => Progress::Done(listed.own),
            None => Progress::Pending {
                poll_after: ASK_AGAIN,
            },
        })
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        let generation = &request.generation;
        let lifetime = SignedDuration::try_from(SUBORDINATE_LIFETIME).unwrap_or_default();
        let found = self
            .find_or_make(generation, &request.subject, request.key_type, lifetime)
            .await?;
        match found.map(|found| found.state) {
            None => Ok(Progress::Pending {
                poll_after: ASK_AGAIN,
            }),
            Some(State::AwaitingUserActivation) => {
                self.request(generation).await.map(Progress::Done)
            }
            Some(_) => Err(self.unsupported(format!(
                "showing the request of {generation} again: it has its certificate"
            ))),
        }
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        if generation.level != Level::Signer {
            return Err(self.rejected(generation, "it is not a signer"));
        }
        let certificate = chain.leaf();
        let Some(found) = self.find(generation).await? else {
            return Err(self.misconfigured(
                generation,
                "it does not exist yet".to_owned(),
                "have it made first",
            ));
        };
        let not_its_key = || {
            let subject = certificate.subject();
            self.rejected(
                generation,
                format!("the certificate {subject} is not for this signer's key"),
            )
        };
        if let Some(listed) = self.listed(generation, &found)? {
            if listed.own == *certificate {
                return Ok(());
            }
            if listed.own.public_key() != certificate.public_key() {
                return Err(not_its_key());
            }
            return Err(self.unsupported(format!(
                "another certificate for the key of {generation}: rotate the signer instead"
            )));
        }
        if self.request(generation).await?.public_key() != certificate.public_key() {
            return Err(not_its_key());
        }
        let issuers = issuers(chain, anchors).ok_or_else(|| {
            let subject = certificate.subject();
            self.rejected(
                generation,
                format!("the chain of {subject} does not lead to a root of the relay"),
            )
        })?;
        self.activate(generation, chain, &issuers).await
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let resource = self.resource(generation);
        let Some(found) = self.find(generation).await? else {
            return Err(self.misconfigured(
                generation,
                format!("there is no {resource}"),
                "check the provider's pool; a CA that is lost is replaced by a rotation",
            ));
        };
        if found.state == State::Disabled {
            return Err(self.misconfigured(
                generation,
                format!("{resource} is disabled"),
                "enable it with gcloud privateca roots enable, or subordinates enable",
            ));
        }
        let Some(listed) = self.listed(generation, &found)? else {
            return Err(self.misconfigured(
                generation,
                "it has no certificate yet".to_owned(),
                "finish its creation first",
            ));
        };
        let terms = self.terms(&self.id(generation)).await?;
        Ok(Arc::new(PoolCa::new(
            self.client.clone(),
            Issuer {
                id: self.id(generation),
                resource,
                name: authority_id(generation),
                certificate: listed.own,
                path: listed.path,
                anchors: anchors.clone(),
                terms,
            },
        )))
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        match self.left(generation).await? {
            Some(state) => self.ensure_disabled(generation, state).await,
            None => Ok(()),
        }
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        let (id, name) = (self.id(generation), self.resource(generation));
        let Some(state) = self.left(generation).await? else {
            return Ok(());
        };
        self.ensure_disabled(generation, state).await?;
        // With the service's 30 days of grace: until they are over it can be undeleted, by somebody else
        // than us.
        let delete = |service: CertificateAuthorityService| {
            service
                .delete_certificate_authority()
                .set_name(&name)
                .set_ignore_active_certificates(true)
                .send()
        };
        Ok(self.client.complete(&id, "delete the CA", delete).await?)
    }
}
