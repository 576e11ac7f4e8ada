//! The calls, each at its pace, within its time limit, its failure classified.

use std::future::Future;
use std::time::Duration;

use aws_sdk_acmpca::Client;
use aws_sdk_acmpca::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_acmpca::primitives::Blob;
use aws_sdk_acmpca::types::{
    ApiPassthrough, CertificateAuthority, CertificateAuthorityConfiguration,
    CertificateAuthorityStatus, CertificateAuthorityType, CertificateAuthorityUsageMode,
    RevocationReason, SigningAlgorithm, Tag, Validity as AwsValidity, ValidityPeriodType,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::operation::BuildError;
use jiff::Timestamp;
use relay_pki_authority::x509::{Certificate, SerialNumber, Subject, Validity, VerifiedCsr};
use relay_pki_authority::{AuthorityError, IssuanceId};
use tokio::sync::OnceCell;

use crate::error::{Failed, failed};
use crate::keys::Keys;
use crate::pace::Pace;
use crate::{AuthorityArn, Settings, key, session, template};

/// Most that is read of a list, in pages.
const PAGES: usize = 50;
/// Longest to find out who we are and where.
const CONNECT: Duration = Duration::from_secs(15);
/// The shortest time that AWS keeps a deleted CA for.
const DELETION_DAYS: i32 = 7;

/// AWS Private CA, as one provider asks it.
pub(crate) struct Api {
    /// Who asks, for messages.
    provider: String,
    settings: Settings,
    keys: Option<Keys>,
    client: OnceCell<Client>,
    /// Four fifths of the default quotas: other users of the account want something too.
    issuing: Pace,
    fetching: Pace,
    managing: Pace,
}

/// Everything that a new certificate is asked for with.
pub(crate) struct Order<'a> {
    pub(crate) csr: &'a VerifiedCsr,
    pub(crate) template: &'a str,
    pub(crate) passthrough: Option<ApiPassthrough>,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) validity: Validity,
    pub(crate) token: &'a IssuanceId,
}

/// A CA and the certificates above it, as AWS has them.
pub(crate) struct Installed {
    pub(crate) certificate: Certificate,
    pub(crate) chain: Vec<Certificate>,
}

impl Api {
    pub(crate) fn new(name: &str, settings: Settings) -> Self {
        let given = settings.credentials.clone();
        Self {
            provider: format!("provider {name}"),
            keys: given.map(|given| Keys::new(given, settings.profile.as_deref())),
            client: OnceCell::new(),
            issuing: Pace::per_second(settings.issue_rate.unwrap_or(20)),
            fetching: Pace::per_second(60),
            managing: Pace::per_second(8),
            settings,
        }
    }

    pub(crate) fn provider(&self) -> &str {
        &self.provider
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn client(&self) -> Result<&Client, AuthorityError> {
        let connect = async {
            let connected = tokio::time::timeout(
                CONNECT,
                session::connect(&self.settings, self.keys.as_ref()),
            );
            let connected = connected.await;
            match connected {
                Ok(Some(client)) => Ok(client),
                Ok(None) => Err(AuthorityError::Misconfigured {
                    authority: self.provider.clone(),
                    reason: "no region is set".to_owned(),
                    remedy: "write region: … into the provider, or set AWS_REGION".to_owned(),
                }),
                Err(_) => Err(AuthorityError::Unavailable {
                    authority: self.provider.clone(),
                    reason: "reading the AWS configuration takes too long".to_owned(),
                    retry_after: None,
                }),
            }
        };
        self.client.get_or_try_init(|| connect).await
    }

    /// Makes a call when it is its turn.
    async fn call<T, E>(
        &self,
        pace: &Pace,
        operation: &str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failed>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        if let Err(wait) = pace.turn().await {
            return Err(Failed {
                code: None,
                error: AuthorityError::Unavailable {
                    authority: self.provider.clone(),
                    reason: format!("{operation}: too many calls are waiting for the quota"),
                    retry_after: Some(wait),
                },
            });
        }
        let answer = call.await;
        answer.map_err(|error| {
            let failed = failed(&self.provider, operation, &error);
            if let Some(pause) = failed.throttled() {
                pace.hold(pause);
            }
            if let (true, Some(keys)) = (failed.is_refused_identity(), &self.keys) {
                keys.forget();
            }
            failed
        })
    }

    /// Every CA of the account in the region that is not deleted.
    pub(crate) async fn list(&self) -> Result<Vec<CertificateAuthority>, AuthorityError> {
        let client = self.client().await?;
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..PAGES {
            let call = client.list_certificate_authorities();
            let call = call.set_next_token(next.take()).max_results(100).send();
            let page = self.call(&self.managing, "ListCertificateAuthorities", call);
            let page = page.await?;
            let alive = page.certificate_authorities().iter();
            let alive = alive.filter(|one| {
                one.status() != Some(&CertificateAuthorityStatus::Deleted) && one.arn().is_some()
            });
            found.extend(alive.cloned());
            next = page.next_token().map(str::to_owned);
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(self.nonsense("the list of CAs does not end".to_owned()))
    }

    /// Whether the CAs of the account can be listed.
    pub(crate) async fn probe(&self) -> Result<(), AuthorityError> {
        let call = self.client().await?.list_certificate_authorities();
        let call = call.max_results(1).send();
        let probe = self.call(&self.managing, "ListCertificateAuthorities", call);
        Ok(probe.await.map(|_| ())?)
    }

    /// The tags of a CA; none where it has gone meanwhile.
    pub(crate) async fn tags(&self, arn: &str) -> Result<Vec<Tag>, AuthorityError> {
        let client = self.client().await?;
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..PAGES {
            let call = client.list_tags().certificate_authority_arn(arn);
            let call = call.set_next_token(next.take()).send();
            match self.call(&self.managing, "ListTags", call).await {
                Ok(page) => {
                    found.extend_from_slice(page.tags());
                    next = page.next_token().map(str::to_owned);
                }
                Err(failed)
                    if failed.is("InvalidStateException")
                        || failed.is("ResourceNotFoundException") =>
                {
                    return Ok(Vec::new());
                }
                Err(failed) => return Err(failed.into()),
            }
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(self.nonsense(format!("the list of the tags of {arn} does not end")))
    }

    pub(crate) async fn tag(
        &self,
        arn: &AuthorityArn,
        tag: (&str, &str),
    ) -> Result<(), AuthorityError> {
        let tags = self.tags_from(&[tag])?;
        let call = self.client().await?.tag_certificate_authority();
        let call = call.certificate_authority_arn(arn.as_str());
        let call = call.set_tags(Some(tags)).send();
        let tagged = self.call(&self.managing, "TagCertificateAuthority", call);
        Ok(tagged.await.map(|_| ())?)
    }

    pub(crate) async fn create(
        &self,
        kind: CertificateAuthorityType,
        subject: &Subject,
        key_type: relay_pki_authority::x509::KeyType,
        tags: &[(&str, &str)],
        token: &IssuanceId,
    ) -> Result<AuthorityArn, AuthorityError> {
        let Some((key, signing)) = key::algorithms(key_type) else {
            return Err(AuthorityError::Unsupported {
                authority: self.provider.clone(),
                what: format!("CAs with a key of type {key_type}"),
            });
        };
        let configuration = CertificateAuthorityConfiguration::builder()
            .key_algorithm(key)
            .signing_algorithm(signing)
            .subject(template::subject(subject))
            .build()
            .map_err(|error| self.unbuilt(&error))?;
        // A CA in short-lived mode issues no CAs.
        let short = self.settings.short_lived && kind == CertificateAuthorityType::Subordinate;
        let call = self.client().await?.create_certificate_authority();
        let call = call
            .certificate_authority_configuration(configuration)
            .certificate_authority_type(kind)
            .usage_mode(match short {
                true => CertificateAuthorityUsageMode::ShortLivedCertificate,
                false => CertificateAuthorityUsageMode::GeneralPurpose,
            })
            .set_tags(Some(self.tags_from(tags)?))
            .idempotency_token(token.as_str())
            .send();
        let made = self.call(&self.managing, "CreateCertificateAuthority", call);
        let made = made.await?;
        let arn = made.certificate_authority_arn().unwrap_or_default();
        self.arn(arn)
    }

    pub(crate) async fn describe(
        &self,
        arn: &AuthorityArn,
    ) -> Result<CertificateAuthority, Failed> {
        let client = self.client().await.map_err(unnamed)?;
        let call = client.describe_certificate_authority();
        let call = call.certificate_authority_arn(arn.as_str()).send();
        let answer = self.call(&self.managing, "DescribeCertificateAuthority", call);
        let answer = answer.await?;
        let nonsense = || unnamed(self.nonsense(format!("nothing is said about {arn}")));
        answer.certificate_authority.ok_or_else(nonsense)
    }

    /// The CSR of a CA; `None` while it is being made.
    pub(crate) async fn csr(
        &self,
        arn: &AuthorityArn,
    ) -> Result<Option<VerifiedCsr>, AuthorityError> {
        let call = self.client().await?.get_certificate_authority_csr();
        let call = call.certificate_authority_arn(arn.as_str()).send();
        let answer = self.call(&self.managing, "GetCertificateAuthorityCsr", call);
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(failed) if failed.is("RequestInProgressException") => return Ok(None),
            Err(failed) => return Err(failed.into()),
        };
        VerifiedCsr::from_pem(answer.csr().unwrap_or_default().as_bytes())
            .map(Some)
            .map_err(|error| self.nonsense(format!("the CSR of {arn}: {error}")))
    }

    pub(crate) async fn install(
        &self,
        arn: &AuthorityArn,
        certificate: &Certificate,
        chain: Option<String>,
    ) -> Result<(), AuthorityError> {
        let call = self.client().await?;
        let call = call
            .import_certificate_authority_certificate()
            .certificate_authority_arn(arn.as_str())
            .certificate(Blob::new(certificate.to_pem()))
            .set_certificate_chain(chain.map(Blob::new))
            .send();
        let operation = "ImportCertificateAuthorityCertificate";
        Ok(self
            .call(&self.managing, operation, call)
            .await
            .map(|_| ())?)
    }

    /// The certificate of a CA and those above it.
    pub(crate) async fn installed(&self, arn: &AuthorityArn) -> Result<Installed, AuthorityError> {
        let call = self.client().await?;
        let call = call.get_certificate_authority_certificate();
        let call = call.certificate_authority_arn(arn.as_str()).send();
        let operation = "GetCertificateAuthorityCertificate";
        let answer = self.call(&self.managing, operation, call).await?;
        let broken = |error| self.nonsense(format!("the certificate of {arn}: {error}"));
        let certificate = answer.certificate().unwrap_or_default();
        Ok(Installed {
            certificate: Certificate::from_pem(certificate.as_bytes()).map_err(broken)?,
            chain: match answer.certificate_chain() {
                None | Some("") => Vec::new(),
                Some(chain) => Certificate::list_from_pem(chain.as_bytes()).map_err(broken)?,
            },
        })
    }

    /// Asks for a certificate; its ARN.
    pub(crate) async fn issue(
        &self,
        arn: &AuthorityArn,
        order: Order<'_>,
    ) -> Result<String, AuthorityError> {
        let call = self.client().await?.issue_certificate();
        let call = call
            .certificate_authority_arn(arn.as_str())
            .csr(Blob::new(order.csr.to_pem()))
            .signing_algorithm(order.algorithm)
            .template_arn(arn.template(order.template))
            .set_api_passthrough(order.passthrough)
            .validity(self.absolute(order.validity.not_after())?)
            .validity_not_before(self.absolute(order.validity.not_before())?)
            .idempotency_token(order.token.as_str())
            .send();
        let answer = self.call(&self.issuing, "IssueCertificate", call).await?;
        match answer.certificate_arn() {
            Some(certificate) if arn.issued(certificate) => Ok(certificate.to_owned()),
            _ => Err(self.nonsense(format!("the new certificate is not one of {arn}"))),
        }
    }

    /// An issued certificate; `None` while it is being made.
    pub(crate) async fn fetch(
        &self,
        arn: &AuthorityArn,
        certificate: &str,
    ) -> Result<Option<Certificate>, AuthorityError> {
        let call = self.client().await?.get_certificate();
        let call = call
            .certificate_authority_arn(arn.as_str())
            .certificate_arn(certificate)
            .send();
        let answer = match self.call(&self.fetching, "GetCertificate", call).await {
            Ok(answer) => answer,
            Err(failed) if failed.is("RequestInProgressException") => return Ok(None),
            Err(failed) => return Err(failed.into()),
        };
        let text = answer.certificate().unwrap_or_default();
        Certificate::from_pem(text.as_bytes())
            .map(Some)
            .map_err(|error| self.nonsense(format!("{certificate}: {error}")))
    }

    /// Revokes a certificate; revoked before is success.
    pub(crate) async fn revoke(
        &self,
        arn: &AuthorityArn,
        serial: &SerialNumber,
    ) -> Result<(), AuthorityError> {
        let call = self.client().await?.revoke_certificate();
        let call = call
            .certificate_authority_arn(arn.as_str())
            .certificate_serial(serial.with_colons())
            .revocation_reason(RevocationReason::PrivilegeWithdrawn)
            .send();
        match self.call(&self.managing, "RevokeCertificate", call).await {
            Ok(_) => Ok(()),
            Err(failed) if failed.is("RequestAlreadyProcessedException") => Ok(()),
            Err(failed) => Err(failed.into()),
        }
    }

    pub(crate) async fn disable(&self, arn: &AuthorityArn) -> Result<(), AuthorityError> {
        let call = self.client().await?.update_certificate_authority();
        let call = call
            .certificate_authority_arn(arn.as_str())
            .status(CertificateAuthorityStatus::Disabled)
            .send();
        let operation = "UpdateCertificateAuthority";
        Ok(self
            .call(&self.managing, operation, call)
            .await
            .map(|_| ())?)
    }

    pub(crate) async fn delete(&self, arn: &AuthorityArn) -> Result<(), AuthorityError> {
        let call = self.client().await?.delete_certificate_authority();
        let call = call
            .certificate_authority_arn(arn.as_str())
            .permanent_deletion_time_in_days(DELETION_DAYS)
            .send();
        let operation = "DeleteCertificateAuthority";
        Ok(self
            .call(&self.managing, operation, call)
            .await
            .map(|_| ())?)
    }

    /// An ARN as AWS says it.
    pub(crate) fn arn(&self, text: &str) -> Result<AuthorityArn, AuthorityError> {
        text.parse()
            .map_err(|reason| self.nonsense(format!("the ARN of a CA: {reason}")))
    }

    fn absolute(&self, at: Timestamp) -> Result<AwsValidity, AuthorityError> {
        let validity = AwsValidity::builder()
            .value(at.as_second())
            .r#type(ValidityPeriodType::Absolute);
        validity.build().map_err(|error| self.unbuilt(&error))
    }

    fn tags_from(&self, tags: &[(&str, &str)]) -> Result<Vec<Tag>, AuthorityError> {
        let tag = |(key, value): &(&str, &str)| Tag::builder().key(*key).value(*value).build();
        let tags: Result<_, _> = tags.iter().map(tag).collect();
        tags.map_err(|error| self.unbuilt(&error))
    }

    fn unbuilt(&self, error: &BuildError) -> AuthorityError {
        AuthorityError::Rejected {
            authority: self.provider.clone(),
            reason: error.to_string(),
        }
    }

    /// An answer that AWS does not give; a proxy or another service might.
    fn nonsense(&self, reason: String) -> AuthorityError {
        AuthorityError::Unavailable {
            authority: self.provider.clone(),
            reason: format!("the answer makes no sense: {reason}"),
            retry_after: None,
        }
    }
}

fn unnamed(error: AuthorityError) -> Failed {
    Failed { code: None, error }
}
