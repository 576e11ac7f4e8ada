use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_acmpca::types::{
    CertificateAuthority, CertificateAuthorityStatus, CertificateAuthorityUsageMode,
};
use relay_pki_authority::x509::{Certificate, CertificateChain, Subject, TrustBundle, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, IssuanceId,
    Level, Metering, Progress, Provider, Revocation, RootRequest, Roots, SignerRequest,
};

use crate::api::{Api, Order};
use crate::authority::PrivateCa;
use crate::generations::{CERTIFICATE_TAG, Generations, kind};
use crate::{AuthorityArn, Settings, chain, existing, key};

/// How long AWS takes to make a CA, as its own clients assume.
const POLL_CA: Duration = Duration::from_secs(3);
const POLL_CERTIFICATE: Duration = Duration::from_secs(1);

/// Counted by the conformance suite.
const CALLS: Calls = Calls {
    root: 9,
    signer: 5,
    certificate: 2,
};

/// Those of a CA that is there already: it is only looked at.
const CALLS_EXISTING: Calls = Calls {
    root: 1,
    signer: 1,
    ..CALLS
};

/// The provider `awsPrivateCa`.
pub struct AwsPrivateCa {
    name: String,
    api: Arc<Api>,
    generations: Generations,
    capabilities: Capabilities,
}

impl AwsPrivateCa {
    /// A provider called `name` in the document. Nothing is asked of AWS before it has to be.
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        let name = name.into();
        Self {
            capabilities: Capabilities {
                ca_key_types: key::SUPPORTED.to_vec(),
                subject_key_types: key::SUPPORTED.to_vec(),
                calls: match settings.authority {
                    Some(_) => CALLS_EXISTING,
                    None => CALLS,
                },
                custody: Custody::Remote,
                metering: Metering::Counted,
                asynchronous: true,
                recertifies_signers: true,
                cross_certificates: false,
                requests_roots: true,
                revocation: Revocation::Keeps {
                    whole: false,
                    // In S3, where the CA has a CRL; or there is OCSP.
                    lists: false,
                },
                dialect: Dialect::Full,
                roots: match settings.authority {
                    Some(_) => Roots::Existing,
                    None => Roots::Made,
                },
                disables: true,
            },
            api: Arc::new(Api::new(&name, settings)),
            generations: Generations::default(),
            name,
        }
    }

    fn id(&self, generation: &Generation) -> String {
        format!("{}: {generation}", self.name)
    }

    fn given(&self) -> Option<&AuthorityArn> {
        self.api.settings().authority.as_ref()
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

    fn expect_level(&self, generation: &Generation, level: Level) -> Result<(), AuthorityError> {
        match generation.level == level {
            true => Ok(()),
            false => Err(AuthorityError::Rejected {
                authority: self.id(generation),
                reason: format!("it is not a {level}"),
            }),
        }
    }

    /// The CA that holds a generation.
    async fn require(&self, generation: &Generation) -> Result<AuthorityArn, AuthorityError> {
        if let Some(given) = self.given() {
            return Ok(given.clone());
        }
        let found = self.generations.find(&self.api, generation).await?;
        found.ok_or_else(|| {
            self.misconfigured(
                generation,
                "AWS has no CA with its tags".to_owned(),
                "check account and region; a CA that was deleted can be restored for a week, else \
                 rotate to a new generation",
            )
        })
    }

    /// A CA that can sign.
    async fn require_active(
        &self,
        generation: &Generation,
        arn: &AuthorityArn,
    ) -> Result<CertificateAuthority, AuthorityError> {
        let found = self.api.describe(arn).await?;
        let refuse = |reason: &str, remedy: &str| {
            Err(self.misconfigured(generation, format!("{arn} {reason}"), remedy))
        };
        if found.r#type() != Some(&kind(generation.level)) {
            let kind = found.r#type().map_or("other", |kind| kind.as_str());
            let reason = format!("is a {kind} CA, and cannot be a {}", generation.level);
            return refuse(&reason, "name the ARN of another CA");
        }
        match found.status() {
            Some(CertificateAuthorityStatus::Active) => Ok(found),
            Some(
                CertificateAuthorityStatus::Creating
                | CertificateAuthorityStatus::PendingCertificate,
            ) => refuse("has no certificate yet", "finish its creation first"),
            Some(CertificateAuthorityStatus::Disabled) => refuse(
                "is disabled",
                "enable it (aws acm-pca update-certificate-authority --status ACTIVE), or rotate",
            ),
            Some(CertificateAuthorityStatus::Expired) => {
                refuse("has expired", "rotate to a new generation")
            }
            other => refuse(
                &format!(
                    "is {}",
                    other.map_or("without a status", |status| status.as_str())
                ),
                "restore it in the console, or rotate to a new generation",
            ),
        }
    }

    /// The self-signed certificate of a new root. It is noted at the CA before it is fetched, so that
    /// whoever goes on after a crash does not buy another one.
    async fn certify_root(
        &self,
        arn: &AuthorityArn,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let Some(csr) = self.api.csr(arn).await? else {
            return Ok(Progress::Pending {
                poll_after: POLL_CA,
            });
        };
        let tags = self.api.tags(arn.as_str()).await?;
        let noted = tags.iter().find(|tag| tag.key() == CERTIFICATE_TAG);
        let certificate = match noted.and_then(|tag| tag.value()) {
            Some(certificate) if arn.issued(certificate) => certificate.to_owned(),
            _ => {
                let certificate = self.buy_root(arn, &csr, request).await?;
                self.api.tag(arn, (CERTIFICATE_TAG, &certificate)).await?;
                certificate
            }
        };
        let Some(root) = self.api.fetch(arn, &certificate).await? else {
            return Ok(Progress::Pending {
                poll_after: POLL_CERTIFICATE,
            });
        };
        self.api.install(arn, &root, None).await?;
        Ok(Progress::Done(root))
    }

    async fn buy_root(
        &self,
        arn: &AuthorityArn,
        csr: &VerifiedCsr,
        request: &RootRequest,
    ) -> Result<String, AuthorityError> {
        let Some((_, algorithm)) = key::algorithms(request.key_type) else {
            let what = format!("CAs with a key of type {}", request.key_type);
            return Err(self.unsupported(what));
        };
        let token = IssuanceId::derive(&[b"root", arn.as_str().as_bytes()]);
        let order = Order {
            csr,
            template: "RootCACertificate",
            passthrough: None,
            algorithm,
            validity: request.validity,
            token: &token,
        };
        self.api.issue(arn, order).await
    }

    /// A root that somebody else made.
    async fn given_root(
        &self,
        arn: &AuthorityArn,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        self.require_active(&request.generation, arn).await?;
        let root = self.api.installed(arn).await?.certificate;
        if root.public_key().key_type() != Ok(request.key_type) {
            let found = root.public_key().describe();
            return Err(self.misconfigured(
                &request.generation,
                format!("{arn} has a key of type {found}, not {}", request.key_type),
                &format!("write keyType: {found} for the root, or name another CA"),
            ));
        }
        Ok(Progress::Done(root))
    }
}

#[async_trait]
impl Provider for AwsPrivateCa {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        match self.given() {
            Some(arn) => Ok(self.api.describe(arn).await.map(|_| ())?),
            None => self.api.probe().await,
        }
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let generation = &request.generation;
        self.expect_level(generation, Level::Root)?;
        if let Some(given) = self.given() {
            return self.given_root(given, request).await;
        }
        let arn = self
            .generations
            .find_or_make(&self.api, generation, &request.subject, request.key_type)
            .await?;
        let found = self.api.describe(&arn).await?;
        match found.status() {
            Some(CertificateAuthorityStatus::Creating) => Ok(Progress::Pending {
                poll_after: POLL_CA,
            }),
            Some(CertificateAuthorityStatus::PendingCertificate) => {
                self.certify_root(&arn, request).await
            }
            _ => {
                self.require_active(generation, &arn).await?;
                Ok(Progress::Done(self.api.installed(&arn).await?.certificate))
            }
        }
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.expect_level(&request.generation, Level::Signer)?;
        if let Some(given) = self.given() {
            return Err(existing::not_certified_here(&self.api, given));
        }
        let arn = self
            .generations
            .find_or_make(
                &self.api,
                &request.generation,
                &request.subject,
                request.key_type,
            )
            .await?;
        Ok(match self.api.csr(&arn).await? {
            Some(csr) => Progress::Done(csr),
            None => Progress::Pending {
                poll_after: POLL_CA,
            },
        })
    }

    async fn request_root(
        &self,
        generation: &Generation,
        _: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        self.expect_level(generation, Level::Root)?;
        let arn = self.require(generation).await?;
        let csr = self.api.csr(&arn).await?;
        csr.ok_or_else(|| self.unsupported(format!("a certificate request of {generation}")))
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.expect_level(generation, Level::Signer)?;
        if let Some(given) = self.given() {
            return Err(existing::not_certified_here(&self.api, given));
        }
        let arn = self.require(generation).await?;
        let found = self.api.describe(&arn).await?;
        if found.status() == Some(&CertificateAuthorityStatus::Active)
            && self.api.installed(&arn).await?.certificate == *chain.leaf()
        {
            return Ok(());
        }
        // AWS wants everything up to the root, in order, and nothing else.
        let mut way = chain::towards(chain.leaf(), chain.intermediates(), anchors);
        let top = way.last().unwrap_or(chain.leaf());
        let root = chain::root_of(top, anchors).ok_or_else(|| AuthorityError::Rejected {
            authority: self.id(generation),
            reason: format!(
                "the certificate {} does not lead to any of the expected roots",
                chain.leaf().subject()
            ),
        })?;
        way.push(root.clone());
        let above = way.iter().skip(1).map(Certificate::to_pem).collect();
        self.api.install(&arn, chain.leaf(), Some(above)).await
    }

    async fn existing_signer(
        &self,
        generation: &Generation,
    ) -> Result<Option<CertificateChain>, AuthorityError> {
        self.expect_level(generation, Level::Signer)?;
        let Some(given) = self.given() else {
            return Ok(None);
        };
        self.require_active(generation, given).await?;
        let installed = self.api.installed(given).await?;
        let above = installed.chain.into_iter();
        let above = above.filter(|certificate| !certificate.is_self_signed());
        let chain = std::iter::once(installed.certificate)
            .chain(above)
            .collect();
        CertificateChain::new(chain)
            .map(Some)
            .map_err(|error| AuthorityError::rejected(self.id(generation), &error))
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let arn = self.require(generation).await?;
        let found = self.require_active(generation, &arn).await?;
        let installed = self.api.installed(&arn).await?;
        let certificate = installed.certificate;
        let key_type = certificate.public_key().key_type();
        let Some((_, algorithm)) = key_type.ok().and_then(key::algorithms) else {
            let found = certificate.public_key().describe();
            return Err(self.misconfigured(
                generation,
                format!("{arn} has a key of type {found}"),
                "name a CA with a P-256, P-384 or RSA key",
            ));
        };
        Ok(Arc::new(PrivateCa {
            id: self.id(generation),
            api: self.api.clone(),
            path: match generation.level {
                Level::Root => Vec::new(),
                Level::Signer => chain::towards(&certificate, &installed.chain, anchors),
            },
            short_lived: found.usage_mode()
                == Some(&CertificateAuthorityUsageMode::ShortLivedCertificate),
            arn,
            certificate,
            anchors: anchors.clone(),
            algorithm,
        }))
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        if let Some(given) = self.given() {
            return existing::is_retired(&self.api, given, generation).await;
        }
        let Some(arn) = self.generations.find(&self.api, generation).await? else {
            return Ok(());
        };
        match self.api.describe(&arn).await {
            // In every other state it signs nothing, and AWS would refuse.
            Ok(found) if found.status() == Some(&CertificateAuthorityStatus::Active) => {
                self.api.disable(&arn).await
            }
            Ok(_) => Ok(()),
            Err(failed) if failed.is("ResourceNotFoundException") => Ok(()),
            Err(failed) => Err(failed.into()),
        }
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        if let Some(given) = self.given() {
            return existing::is_retired(&self.api, given, generation).await;
        }
        let Some(arn) = self.generations.find(&self.api, generation).await? else {
            return Ok(());
        };
        let found = match self.api.describe(&arn).await {
            Ok(found) => found,
            Err(failed) if failed.is("ResourceNotFoundException") => return Ok(()),
            Err(failed) => return Err(failed.into()),
        };
        match found.status() {
            Some(CertificateAuthorityStatus::Deleted) => {}
            // Only what does not sign any more can be deleted.
            Some(CertificateAuthorityStatus::Active) => {
                self.api.disable(&arn).await?;
                self.api.delete(&arn).await?;
            }
            _ => self.api.delete(&arn).await?,
        }
        self.generations.forget(generation);
        Ok(())
    }
}
