//! CAs in place of the real ones: with keys of their own, and certificates that differ in nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, CommonName, DnsName, Fingerprint, KeyType, PrivateKey, Subject,
    TrustBundle, VerifiedCsr,
};
use relay_pki_authority::{
    Authority, AuthorityError, Capabilities, ExtendedKeyUsage, Generation, IssuanceId, KeyStore,
    Level, Outcome, Profile, Progress, Provider, RootRequest, SignerRequest, SigningRequest,
};

use super::RehearsalError;
use crate::authorities;
use crate::engine::csr;
use crate::journal::{Cross, GenerationRecord, Journal, Kept};

/// A self-signed provider that announces what another one can do, so that everybody deals with it as with
/// that one.
pub(super) struct StandIn {
    inner: Arc<dyn Provider>,
    capabilities: Capabilities,
}

impl StandIn {
    /// In place of `real`, with its CA keys in `keys`.
    pub(super) fn of(real: &dyn Provider, keys: Arc<dyn KeyStore>) -> Self {
        Self {
            inner: authorities::stand_in(real.name(), keys),
            capabilities: Capabilities {
                // It answers at once; how long people and backends take is not rehearsed.
                asynchronous: false,
                ..real.capabilities().clone()
            },
        }
    }
}

#[async_trait]
impl Provider for StandIn {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.inner.check().await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        self.inner.create_root(request).await
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        self.inner.prepare_signer(request).await
    }

    async fn request_root(
        &self,
        generation: &Generation,
        subject: &Subject,
    ) -> Result<VerifiedCsr, AuthorityError> {
        self.inner.request_root(generation, subject).await
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
        anchors: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        self.inner.install_signer(generation, chain, anchors).await
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        self.inner.open(generation, anchors).await
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        self.inner.export_key(generation).await
    }

    async fn disable(&self, generation: &Generation) -> Result<(), AuthorityError> {
        match self.capabilities.disables {
            // Nobody has anything back from a rehearsal.
            true => self.inner.destroy(generation).await,
            false => self.inner.disable(generation).await,
        }
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.inner.destroy(generation).await
    }
}

/// The CAs that stand in for those of the records.
pub(super) struct StandIns {
    provider: Arc<dyn Provider>,
    relay: String,
    now: Timestamp,
    /// The real certificates of CAs, and what stands in for each.
    certificates: HashMap<Fingerprint, Certificate>,
    /// The real certificate of each generation.
    generations: Vec<(Generation, Certificate)>,
}

impl StandIns {
    /// A stand-in for each generation that has a certificate, its key in `keys`.
    pub(super) async fn of(
        relay: &str,
        journal: &Journal,
        keys: Arc<dyn KeyStore>,
        now: Timestamp,
    ) -> Result<Self, RehearsalError> {
        let mut all = Self {
            provider: authorities::stand_in("stand-in", keys),
            relay: relay.to_owned(),
            now,
            certificates: HashMap::new(),
            generations: Vec::new(),
        };
        for record in records(&journal.roots) {
            all.root(record).await?;
        }
        for record in records(&journal.signers) {
            all.signer(record).await?;
        }
        let records = records(&journal.roots).chain(records(&journal.signers));
        for record in records {
            let crosses = [record.cross_certificate(), record.predecessor_certificate()];
            for certificate in crosses.into_iter().flatten() {
                all.cross(certificate).await?;
            }
        }
        Ok(all)
    }

    /// What stands in for a certificate: itself, if it is none of ours.
    pub(super) fn certificate(&self, real: &Certificate) -> Certificate {
        let found = self.certificates.get(&real.fingerprint());
        found.unwrap_or(real).clone()
    }

    /// A record of the same with what stands in for its certificates.
    pub(super) fn record(&self, real: &GenerationRecord) -> GenerationRecord {
        let cross = |cross: &Cross| match cross {
            Cross::Certificate(real) => Cross::Certificate(self.certificate(real)),
            Cross::Impossible(reason) => Cross::Impossible(reason.clone()),
        };
        GenerationRecord {
            certificate: real.certificate.as_ref().map(|it| self.certificate(it)),
            cross: real.cross.as_ref().map(cross),
            predecessor: real.predecessor.as_ref().map(cross),
            ..real.clone()
        }
    }

    /// The private key of what stands in for a CA.
    pub(super) async fn key(
        &self,
        real: &Certificate,
    ) -> Result<Option<PrivateKey>, RehearsalError> {
        match self.subject_of(real) {
            Some(generation) => Ok(Some(self.provider.export_key(generation).await?)),
            None => Ok(None),
        }
    }

    /// A leaf in place of one of ours, with its key; nothing if it is none of ours.
    pub(super) async fn leaf(
        &self,
        real: &Certificate,
    ) -> Result<Option<(Certificate, PrivateKey)>, RehearsalError> {
        let issuer = self.issuer_of(real, Level::Signer);
        let Some((generation, _)) = issuer.filter(|_| !real.is_ca()) else {
            return Ok(None);
        };
        let server = ExtendedKeyUsage::ServerAuth.oid();
        let profile = match real.extended_key_usage().iter().any(|it| it == server) {
            true => Profile::RelayServer,
            false => Profile::AgentClient,
        };
        let names: Result<Vec<DnsName>, _> =
            real.dns_names().iter().map(|name| name.parse()).collect();
        let names = names.map_err(|error| RehearsalError::stand_in(real.subject(), error))?;
        let subject = self.subject(real)?;
        let key = PrivateKey::generate(real.public_key().key_type()?)?;
        let request = csr(&key, &subject, &names, profile)?;
        let leaf = self
            .signed(generation, real, request, profile, names)
            .await?;
        Ok(Some((leaf, key)))
    }

    async fn root(&mut self, record: &GenerationRecord) -> Result<(), RehearsalError> {
        let Some(real) = &record.certificate else {
            return Ok(());
        };
        let request = RootRequest {
            generation: record.generation(&self.relay),
            subject: self.subject(real)?,
            key_type: record.key_type,
            validity: real.validity()?,
        };
        let root = done(
            &request.generation,
            self.provider.create_root(&request).await?,
        )?;
        self.know(request.generation, real, root);
        Ok(())
    }

    async fn signer(&mut self, record: &GenerationRecord) -> Result<(), RehearsalError> {
        let Some(real) = &record.certificate else {
            return Ok(());
        };
        let generation = record.generation(&self.relay);
        let (root, _) = self.issuer_of(real, Level::Root).ok_or_else(|| {
            RehearsalError::stand_in(&generation, "no root on record has certified it")
        })?;
        let root = root.clone();
        let request = self.request(&generation, real, record.key_type).await?;
        let signer = self
            .signed(&root, real, request, Profile::Signer, Vec::new())
            .await?;
        let chain = CertificateChain::new(vec![signer.clone()])?;
        let anchors = TrustBundle::new([self.of_generation(&root)?])?;
        let install = self.provider.install_signer(&generation, &chain, &anchors);
        install.await?;
        self.know(generation, real, signer);
        Ok(())
    }

    /// Another certificate of a CA that has one.
    async fn cross(&mut self, real: &Certificate) -> Result<(), RehearsalError> {
        let found = self.subject_of(real).zip(self.issuer_of(real, Level::Root));
        // Of a CA that is not on record nothing depends.
        let Some((subject, (root, _))) = found else {
            return Ok(());
        };
        let (subject, root) = (subject.clone(), root.clone());
        let profile = match subject.level {
            Level::Root => Profile::Root,
            Level::Signer => Profile::Signer,
        };
        let key_type = real.public_key().key_type()?;
        let request = self.request(&subject, real, key_type).await?;
        let cross = self
            .signed(&root, real, request, profile, Vec::new())
            .await?;
        self.certificates.insert(real.fingerprint(), cross);
        Ok(())
    }

    fn know(&mut self, generation: Generation, real: &Certificate, stand_in: Certificate) {
        self.certificates.insert(real.fingerprint(), stand_in);
        self.generations.push((generation, real.clone()));
    }

    /// What stands in for the certificate of a generation.
    fn of_generation(&self, generation: &Generation) -> Result<Certificate, RehearsalError> {
        let mut known = self.generations.iter();
        let found = known.find(|(known, _)| known == generation);
        let found = found.and_then(|(_, real)| self.certificates.get(&real.fingerprint()));
        let found = found.cloned();
        found.ok_or_else(|| RehearsalError::stand_in(generation, "it has no certificate"))
    }

    /// The generation that has the key of a CA's certificate.
    fn subject_of(&self, real: &Certificate) -> Option<&Generation> {
        let mut known = self.generations.iter();
        let found = known.find(|(_, known)| known.public_key() == real.public_key());
        found.map(|(generation, _)| generation)
    }

    fn issuer_of(&self, real: &Certificate, level: Level) -> Option<&(Generation, Certificate)> {
        let mut known = self.generations.iter();
        known.find(|(generation, known)| generation.level == level && real.is_issued_by(known))
    }

    async fn request(
        &self,
        generation: &Generation,
        real: &Certificate,
        key_type: KeyType,
    ) -> Result<VerifiedCsr, RehearsalError> {
        let subject = self.subject(real)?;
        match generation.level {
            Level::Root => Ok(self.provider.request_root(generation, &subject).await?),
            Level::Signer => {
                let request = SignerRequest {
                    generation: generation.clone(),
                    subject,
                    key_type,
                };
                done(generation, self.provider.prepare_signer(&request).await?)
            }
        }
    }

    /// What `by` says of the key of `csr`, for as long as it says so of the real one.
    async fn signed(
        &self,
        by: &Generation,
        real: &Certificate,
        csr: VerifiedCsr,
        profile: Profile,
        names: Vec<DnsName>,
    ) -> Result<Certificate, RehearsalError> {
        let anchors = TrustBundle::new([self.of_generation(by)?])?;
        let authority = self.provider.open(by, &anchors).await?;
        let request = SigningRequest {
            id: IssuanceId::derive(&[real.fingerprint().to_string().as_bytes()]),
            csr,
            profile,
            subject: self.subject(real)?,
            names,
            validity: real.validity()?,
            now: self.now,
        };
        match authority.sign(&request).await? {
            Outcome::Issued(issuance) => Ok(issuance.chain.leaf().clone()),
            Outcome::Pending { .. } => Err(RehearsalError::stand_in(by, "it has no answer")),
        }
    }

    /// As much of the name of a certificate as one of ours has.
    fn subject(&self, real: &Certificate) -> Result<Subject, RehearsalError> {
        let unfit = |error: &dyn std::fmt::Display| RehearsalError::stand_in(real.subject(), error);
        let name = |text: &str| text.parse::<CommonName>();
        let organization = real
            .subject()
            .split(", ")
            .find_map(|it| it.strip_prefix("O="));
        let common_name = real.common_name().unwrap_or(&self.relay);
        Ok(Subject {
            organization: organization
                .map(name)
                .transpose()
                .map_err(|error| unfit(&error))?,
            common_name: name(common_name).map_err(|error| unfit(&error))?,
        })
    }
}

fn records(
    kept: &std::collections::BTreeMap<u32, Kept<GenerationRecord>>,
) -> impl Iterator<Item = &GenerationRecord> {
    kept.values().map(|kept| &kept.record)
}

fn done<T>(generation: &Generation, progress: Progress<T>) -> Result<T, RehearsalError> {
    match progress {
        Progress::Done(result) => Ok(result),
        Progress::Pending { .. } => Err(RehearsalError::stand_in(generation, "it has no answer")),
    }
}
