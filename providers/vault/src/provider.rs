use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, KeyType, Subject, TrustBundle, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Calls, Capabilities, Custody, Dialect, Generation, Level, Metering,
    Progress, Provider, Revocation, RootRequest, Roots, SignerRequest,
};
use vaultrs::api::pki::requests::{
    DeleteIssuerRequest, DeleteKeyRequest, GenerateIntermediateCSRRequest, ListIssuersRequest,
    SetSignedIntermediateRequest,
};

use crate::authority::{VaultCa, rfc3339};
use crate::client::{Again, Client};
use crate::config::VaultConfig;
use crate::endpoints::{
    CertificateReply, CsrReply, GenerateRoot, ImportReply, IssuersReply, PatchIssuer,
};
use crate::failure::Failure;
use crate::issuer::Issuer;
use crate::{check, names};

/// What a retired issuer may still do: be read.
const RETIRED: &str = "read-only";

/// Counted by the conformance suite.
const CALLS: Calls = Calls {
    root: 1,
    signer: 8,
    certificate: 1,
};

/// The provider `vault: { … }`.
pub struct Vault {
    name: String,
    client: Arc<Client>,
    capabilities: Capabilities,
}

/// Whether Vault makes a key or finds it by its name.
#[derive(Clone, Copy)]
enum Key {
    New,
    Existing,
}

impl Vault {
    /// A provider called `name` in the document. Nothing is asked yet.
    pub fn new(name: impl Into<String>, config: VaultConfig) -> Self {
        Self {
            name: name.into(),
            capabilities: Capabilities {
                ca_key_types: KeyType::ALL.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                calls: CALLS,
                custody: Custody::Remote,
                // A certificate whose answer got lost cannot be found again: a record before the
                // call would be of no use.
                metering: Metering::Free,
                asynchronous: false,
                recertifies_signers: true,
                cross_certificates: true,
                requests_roots: true,
                revocation: Revocation::Keeps {
                    // Roles need not store what they sign.
                    whole: true,
                    lists: true,
                },
                dialect: Dialect::Full,
                roots: match config.root_issuer {
                    Some(_) => Roots::Existing,
                    None => Roots::Made,
                },
                disables: true,
            },
            client: Client::new(config),
        }
    }

    fn id(&self, generation: &Generation) -> String {
        format!("{}: {generation}", self.name)
    }

    fn config(&self) -> &VaultConfig {
        self.client.config()
    }

    /// A failure of what was done for a generation.
    fn failed(&self, generation: &Generation, what: &str, failure: Failure) -> AuthorityError {
        failure.explain(&self.id(generation), what)
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

    async fn issuer(
        &self,
        generation: &Generation,
        name: &str,
    ) -> Result<Option<Issuer>, AuthorityError> {
        let read = Issuer::read(&self.client, name).await;
        read.map_err(|failure| self.failed(generation, &format!("reading issuer {name}"), failure))
    }

    /// The root that was there before us.
    async fn existing_root(
        &self,
        generation: &Generation,
        name: &str,
    ) -> Result<Issuer, AuthorityError> {
        let found = self.issuer(generation, name).await?;
        found.ok_or_else(|| {
            let mount = &self.config().mount;
            self.misconfigured(
                generation,
                format!("mount {mount} has no issuer {name}"),
                "correct rootIssuer in the document; without it relay-pki makes a root",
            )
        })
    }

    /// Of issuers that were there before us the one that our records say: the document may name
    /// another one since.
    async fn recorded_root(
        &self,
        generation: &Generation,
        name: &str,
        anchors: &TrustBundle,
    ) -> Result<Issuer, AuthorityError> {
        let named = self.existing_root(generation, name).await?;
        if anchors.contains(&named.certificate) {
            return Ok(named);
        }
        let failed = |failure| self.failed(generation, "listing issuers", failure);
        for id in self.issuers().await.map_err(failed)?.keys {
            if let Some(found) = self.issuer(generation, &id).await?
                && anchors.contains(&found.certificate)
            {
                return Ok(found);
            }
        }
        Ok(named)
    }

    async fn generate_root(
        &self,
        request: &RootRequest,
        key: Key,
    ) -> Result<CertificateReply, Failure> {
        let name = names::of(&request.generation);
        let (key_type, key_bits) = vault_type(request.key_type);
        let organization = request.subject.organization.iter();
        let mut generate = GenerateRoot {
            mount: self.config().mount.clone(),
            issuer_name: name.clone(),
            common_name: request.subject.common_name.to_string(),
            organization: organization.map(ToString::to_string).collect(),
            exclude_cn_from_sans: true,
            not_before_duration: backdating(request),
            not_after: rfc3339(request.validity.not_after()),
            ..GenerateRoot::default()
        };
        match key {
            Key::New => {
                generate.key = "internal";
                generate.key_name = Some(name);
                generate.key_type = Some(key_type);
                generate.key_bits = Some(key_bits);
            }
            Key::Existing => {
                generate.key = "existing";
                generate.key_ref = Some(name);
            }
        }
        self.client.ask(&generate, Again::Always).await
    }

    /// A request by the key `name`.
    async fn generate_csr(
        &self,
        name: &str,
        subject: Option<&Subject>,
        key: Key,
        key_type: KeyType,
    ) -> Result<CsrReply, Failure> {
        let organization = subject.and_then(|subject| subject.organization.as_ref());
        let mut generate = GenerateIntermediateCSRRequest {
            mount: self.config().mount.clone(),
            common_name: Some(match subject {
                Some(subject) => subject.common_name.to_string(),
                None => name.to_owned(),
            }),
            organization: organization.map(|name| vec![name.to_string()]),
            exclude_cn_from_sans: Some(true),
            ..GenerateIntermediateCSRRequest::default()
        };
        let (type_name, bits) = vault_type(key_type);
        match key {
            Key::New => {
                generate.request_type = "internal".to_owned();
                generate.key_name = Some(name.to_owned());
                generate.key_type = Some(type_name.to_owned());
                generate.key_bits = Some(bits);
            }
            Key::Existing => {
                generate.request_type = "existing".to_owned();
                generate.key_ref = Some(name.to_owned());
            }
        }
        self.client.ask(&generate, Again::Always).await
    }

    fn read_csr(
        &self,
        generation: &Generation,
        reply: &CsrReply,
    ) -> Result<VerifiedCsr, AuthorityError> {
        VerifiedCsr::from_pem(reply.csr.as_bytes())
            .map_err(|error| AuthorityError::rejected(self.id(generation), &error))
    }

    async fn issuers(&self) -> Result<IssuersReply, Failure> {
        let list = ListIssuersRequest {
            mount: self.config().mount.clone(),
        };
        match self.client.ask(&list, Again::Always).await {
            // An empty list is "not found".
            Err(failure) if failure.is_absence() => Ok(IssuersReply::default()),
            listed => listed,
        }
    }

    /// The issuers of a generation: that with its certificate, and those that it replaced.
    async fn own_issuers(&self, generation: &Generation) -> Result<Vec<String>, AuthorityError> {
        let name = names::of(generation);
        let failed = |failure| self.failed(generation, "listing issuers", failure);
        let listed = self.issuers().await.map_err(failed)?;
        let ours = listed.key_info.into_iter();
        let ours = ours.filter(|(_, info)| names::belongs(&info.issuer_name, &name));
        Ok(ours.map(|(id, _)| id).collect())
    }

    /// Takes from an issuer that it may sign.
    async fn retire(&self, generation: &Generation, id: String) -> Result<(), AuthorityError> {
        let retire = PatchIssuer {
            mount: self.config().mount.clone(),
            issuer: id,
            issuer_name: None,
            usage: Some(RETIRED),
        };
        let retired = self.client.tell(&retire).await;
        retired.map_err(|failure| self.failed(generation, "retiring an issuer", failure))
    }

    /// Refuses what is not ours to do to a root that was there before us: others may use it.
    fn refuse_existing(&self, generation: &Generation, what: &str) -> Result<(), AuthorityError> {
        match self.config().root_issuer.is_some() && generation.level == Level::Root {
            true => Err(self.unsupported(format!("{what} {generation}, which it did not make"))),
            false => Ok(()),
        }
    }

    async fn rename(&self, id: &str, name: String) -> Result<(), Failure> {
        let rename = PatchIssuer {
            mount: self.config().mount.clone(),
            issuer: id.to_owned(),
            issuer_name: Some(name),
            usage: None,
        };
        self.client.tell(&rename).await
    }

    /// Adds the certificates of `chain`, and finds the issuer that is its first.
    async fn add(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
    ) -> Result<Issuer, AuthorityError> {
        let add = SetSignedIntermediateRequest {
            mount: self.config().mount.clone(),
            certificate: chain.to_pem(),
        };
        let added: Result<ImportReply, Failure> = self.client.ask(&add, Again::Always).await;
        let failed =
            |failure| self.failed(generation, "adding the certificate of a signer", failure);
        let added = added.map_err(failed)?;
        for (id, _) in added.mapping.iter().filter(|(_, key)| !key.is_empty()) {
            if let Some(issuer) = self.issuer(generation, id).await?
                && &issuer.certificate == chain.leaf()
            {
                return Ok(issuer);
            }
        }
        Err(self.misconfigured(
            generation,
            "Vault added the certificate without its key".to_owned(),
            "look for the key in the mount; without it, rotate to a new generation",
        ))
    }
}

#[async_trait]
impl Provider for Vault {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        check::check(&self.client, &format!("provider {}", self.name)).await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let generation = &request.generation;
        self.expect_level(generation, Level::Root)?;
        if let Some(name) = &self.config().root_issuer {
            let root = self.existing_root(generation, name).await?;
            return Ok(Progress::Done(root.certificate));
        }
        let mut made = self.generate_root(request, Key::New).await;
        if let Err(failure) = &made
            && failure.says("key name already in use")
        {
            made = self.generate_root(request, Key::Existing).await;
        }
        match made {
            Ok(reply) => Certificate::from_pem(reply.certificate.as_bytes())
                .map(Progress::Done)
                .map_err(|error| AuthorityError::Misissued {
                    authority: self.id(generation),
                    problem: error.to_string(),
                }),
            Err(failure) if failure.says("issuer name already in use") => {
                let found = self.issuer(generation, &names::of(generation)).await?;
                match found {
                    Some(root) => Ok(Progress::Done(root.certificate)),
                    None => Err(self.failed(generation, "making a root", failure)),
                }
            }
            Err(failure) => Err(self.failed(generation, "making a root", failure)),
        }
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        let generation = &request.generation;
        self.expect_level(generation, Level::Signer)?;
        let (name, subject) = (names::of(generation), Some(&request.subject));
        let key_type = request.key_type;
        let mut made = self.generate_csr(&name, subject, Key::New, key_type).await;
        if let Err(failure) = &made
            && failure.says("key name already in use")
        {
            made = self
                .generate_csr(&name, subject, Key::Existing, key_type)
                .await;
        }
        let failed = |failure| self.failed(generation, "making the key of a signer", failure);
        let csr = self.read_csr(generation, &made.map_err(failed)?)?;
        Ok(Progress::Done(csr))
    }

    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        self.expect_level(generation, Level::Root)?;
        let (name, any) = (names::of(generation), KeyType::default());
        let made = self.generate_csr(&name, Some(subject), Key::Existing, any);
        let failed = |failure| self.failed(generation, "requesting a certificate", failure);
        self.read_csr(generation, &made.await.map_err(failed)?)
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        _: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.expect_level(generation, Level::Signer)?;
        let name = names::of(generation);
        let key_type = KeyType::default();
        let csr = match self
            .generate_csr(&name, None, Key::Existing, key_type)
            .await
        {
            Ok(reply) => self.read_csr(generation, &reply)?,
            Err(failure) if failure.is_absence() => {
                return Err(self.misconfigured(
                    generation,
                    format!("Vault has no key {name}"),
                    "restore it from a backup, or rotate to a new generation",
                ));
            }
            Err(failure) => {
                return Err(self.failed(generation, "looking for the key of a signer", failure));
            }
        };
        if csr.public_key() != chain.leaf().public_key() {
            let subject = chain.leaf().subject();
            return Err(AuthorityError::Rejected {
                authority: self.id(generation),
                reason: format!("the certificate {subject} is not for this signer's key"),
            });
        }
        let named = self.issuer(generation, &name).await?;
        if named
            .as_ref()
            .is_some_and(|named| &named.certificate == chain.leaf())
        {
            return Ok(());
        }
        let added = self.add(generation, chain).await?;
        let failed = |failure| self.failed(generation, "naming an issuer", failure);
        if let Some(old) = named {
            let retired = names::replaced(&name, &old.certificate);
            self.rename(&old.id, retired).await.map_err(failed)?;
        }
        self.rename(&added.id, name).await.map_err(failed)
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let name = names::of(generation);
        let issuer = match (&self.config().root_issuer, generation.level) {
            (Some(existing), Level::Root) => {
                self.recorded_root(generation, existing, anchors).await?
            }
            _ => match self.issuer(generation, &name).await? {
                Some(issuer) => issuer,
                None => {
                    let mount = &self.config().mount;
                    return Err(self.misconfigured(
                        generation,
                        format!("mount {mount} has no issuer {name}"),
                        "finish its creation first; if it was deleted, rotate to a new generation",
                    ));
                }
            },
        };
        if !issuer.issues {
            return Err(self.misconfigured(
                generation,
                format!("the issuer {name} is retired: it may not sign"),
                "give it the usage issuing-certificates again, or rotate to a new generation",
            ));
        }
        Ok(Arc::new(VaultCa {
            id: self.id(generation),
            client: Arc::clone(&self.client),
            path: match generation.level {
                Level::Root => Vec::new(),
                Level::Signer => issuer.path(anchors),
            },
            issuer: issuer.id,
            certificate: issuer.certificate,
            anchors: anchors.clone(),
        }))
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.refuse_existing(generation, "disabling")?;
        for id in self.own_issuers(generation).await? {
            self.retire(generation, id).await?;
        }
        Ok(())
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.refuse_existing(generation, "destroying")?;
        let mount = &self.config().mount;
        let failed = |what: &'static str| move |failure| self.failed(generation, what, failure);
        for id in self.own_issuers(generation).await? {
            // First that it signs no more, for that needs less permission than the rest.
            self.retire(generation, id.clone()).await?;
            let delete = DeleteIssuerRequest {
                mount: mount.clone(),
                issuer: id,
            };
            let deleted = self.client.tell(&delete).await;
            deleted.map_err(failed("deleting an issuer"))?;
        }
        let delete = DeleteKeyRequest {
            mount: mount.clone(),
            key: names::of(generation),
        };
        match self.client.tell(&delete).await {
            Err(failure) if failure.is_absence() => Ok(()),
            deleted => deleted.map_err(failed("deleting a key")),
        }
    }
}

/// How far back a root is dated, in seconds, if it is made now.
fn backdating(request: &RootRequest) -> u64 {
    let start = request.validity.not_before();
    u64::try_from(Timestamp::now().duration_since(start).as_secs()).unwrap_or(0)
}

/// A key type in Vault's words.
fn vault_type(key_type: KeyType) -> (&'static str, u64) {
    match key_type {
        KeyType::EcdsaP256 => ("ec", 256),
        KeyType::EcdsaP384 => ("ec", 384),
        KeyType::Rsa2048 => ("rsa", 2048),
        KeyType::Rsa3072 => ("rsa", 3072),
        KeyType::Rsa4096 => ("rsa", 4096),
        KeyType::Ed25519 => ("ed25519", 0),
    }
}
