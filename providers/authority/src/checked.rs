//! Nothing unverified leaves a backend: the decorator around every provider.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::x509::{
    Certificate, CertificateChain, PeerRole, PrivateKey, TrustBundle, Validity, VerifiedCsr,
    webpki_verify,
};
use crate::{
    Authority, AuthorityError, Capabilities, ExtendedKeyUsage, Generation, Outcome, Profile,
    Progress, Provider, RootRequest, SignerRequest, SigningRequest, Ticket,
};

/// How far before the asked-for start a backend may date a certificate: AWS Private CA takes an
/// hour.
const BACKDATING: jiff::SignedDuration = jiff::SignedDuration::from_secs(61 * 60);

/// Wraps `provider` so that every certificate it hands out, and every CA it opens, has been compared
/// with what was asked for.
pub fn checked(provider: Arc<dyn Provider>) -> Arc<dyn Provider> {
    Arc::new(CheckedProvider(provider))
}

struct CheckedProvider(Arc<dyn Provider>);

impl CheckedProvider {
    fn misissued(&self, problem: String) -> AuthorityError {
        AuthorityError::Misissued {
            authority: format!("provider {}", self.0.name()),
            problem,
        }
    }
}

#[async_trait]
impl Provider for CheckedProvider {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.0.check().await
    }

    async fn create_root(
        &self,
        request: &RootRequest,
    ) -> Result<Progress<Certificate>, AuthorityError> {
        let progress = self.0.create_root(request).await?;
        if let Progress::Done(root) = &progress {
            check_root(root, request).map_err(|problem| self.misissued(problem))?;
        }
        Ok(progress)
    }

    async fn prepare_signer(
        &self,
        request: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        let progress = self.0.prepare_signer(request).await?;
        if let Progress::Done(csr) = &progress
            && csr.public_key().key_type() != Ok(request.key_type)
        {
            let found = csr.public_key().describe();
            return Err(self.misissued(format!(
                "the key of {} is {found}, not {}",
                request.generation, request.key_type
            )));
        }
        Ok(progress)
    }

    async fn install_signer(
        &self,
        generation: &Generation,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        self.0.install_signer(generation, chain).await
    }

    async fn open(
        &self,
        generation: &Generation,
        anchors: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        let authority = self.0.open(generation, anchors).await?;
        check_ca(authority.certificate()).map_err(|problem| self.misissued(problem))?;
        check_path(authority.certificate(), authority.path(), anchors)
            .map_err(|problem| self.misissued(problem))?;
        Ok(Arc::new(CheckedAuthority {
            inner: authority,
            anchors: anchors.clone(),
            verified: Mutex::new(None),
        }))
    }

    async fn import(
        &self,
        generation: &Generation,
        key: &PrivateKey,
        chain: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        let refuse = |reason: String| AuthorityError::Rejected {
            authority: format!("provider {}", self.name()),
            reason,
        };
        check_ca(chain.leaf()).map_err(refuse)?;
        if chain.leaf().public_key() != key.public_key() {
            return Err(refuse(format!(
                "the private key does not belong to the certificate {}",
                chain.leaf().subject()
            )));
        }
        self.0.import(generation, key, chain).await
    }

    async fn export_key(&self, generation: &Generation) -> Result<PrivateKey, AuthorityError> {
        self.0.export_key(generation).await
    }

    async fn destroy(&self, generation: &Generation) -> Result<(), AuthorityError> {
        self.0.destroy(generation).await
    }
}

struct CheckedAuthority {
    inner: Arc<dyn Authority>,
    anchors: TrustBundle,
    /// The intermediates whose way to the anchors was verified last. Chains of one authority share
    /// them, and their signatures do not change: per leaf only its own signature is left to check.
    verified: Mutex<Option<Vec<Certificate>>>,
}

impl CheckedAuthority {
    fn inspect(
        &self,
        request: &SigningRequest,
        outcome: Outcome,
    ) -> Result<Outcome, AuthorityError> {
        if let Outcome::Issued(issuance) = &outcome {
            self.check_chain(request, &issuance.chain)
                .map_err(|problem| AuthorityError::Misissued {
                    authority: self.id().to_owned(),
                    problem,
                })?;
        }
        Ok(outcome)
    }

    fn check_chain(
        &self,
        request: &SigningRequest,
        chain: &CertificateChain,
    ) -> Result<(), String> {
        let certificate = chain.leaf();
        check_certificate(certificate, request)?;
        let issuer = chain
            .intermediates()
            .first()
            .unwrap_or_else(|| self.inner.certificate());
        check_issuer(certificate, issuer, request)?;
        self.check_intermediates(chain, issuer)?;
        for above in chain.intermediates() {
            encloses(above, certificate)?;
        }
        let root_outlives = |anchor: &&Certificate| encloses(anchor, certificate).is_ok();
        if !self.anchors.anchors().iter().any(|anchor| root_outlives(&anchor)) {
            return Err(format!("{} outlives every root", certificate.subject()));
        }
        Ok(())
    }

    fn check_intermediates(
        &self,
        chain: &CertificateChain,
        issuer: &Certificate,
    ) -> Result<(), String> {
        let mut verified = self
            .verified
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if verified.as_deref() == Some(chain.intermediates()) {
            return Ok(());
        }
        let rest = chain.intermediates().get(1..).unwrap_or_default();
        check_path(issuer, rest, &self.anchors)?;
        *verified = Some(chain.intermediates().to_vec());
        Ok(())
    }
}

#[async_trait]
impl Authority for CheckedAuthority {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn certificate(&self) -> &Certificate {
        self.inner.certificate()
    }

    fn path(&self) -> &[Certificate] {
        self.inner.path()
    }

    fn anchors(&self) -> &TrustBundle {
        &self.anchors
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let outcome = self.inner.sign(request).await?;
        self.inspect(request, outcome)
    }

    async fn collect(
        &self,
        request: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        let outcome = self.inner.collect(request, ticket).await?;
        self.inspect(request, outcome)
    }
}

fn check_root(root: &Certificate, request: &RootRequest) -> Result<(), String> {
    check_ca(root)?;
    let name = root.subject();
    if root.public_key().key_type() != Ok(request.key_type) {
        let found = root.public_key().describe();
        return Err(format!("{name} has a key of type {found}, not {}", request.key_type));
    }
    if root.common_name() != Some(request.subject.common_name.as_str()) {
        return Err(format!("{name} is not named {}", request.subject));
    }
    if !root.is_self_signed() {
        return Err(format!("{name} is not self-signed"));
    }
    if root.basic_constraints().and_then(|found| found.path_len) == Some(0) {
        return Err(format!("{name} has path length 0 and can have no signer under it"));
    }
    check_serial(root)?;
    check_validity(root, &request.validity)
}

/// What every CA that we are to use must be.
fn check_ca(certificate: &Certificate) -> Result<(), String> {
    let name = certificate.subject();
    if !certificate.basic_constraints().is_some_and(|found| found.ca) {
        return Err(format!("{name} is not a CA (basicConstraints)"));
    }
    let usage = certificate.key_usage();
    if usage.is_some_and(|usage| !usage.contains(crate::KeyUsage::KEY_CERT_SIGN)) {
        return Err(format!("{name} may not sign certificates (keyUsage)"));
    }
    if let Some(attribute) = certificate.repeated_subject_attribute() {
        return Err(format!(
            "the subject {name} has {attribute} more than once; certificates issued by it would \
             name another issuer, so it needs a name without repeated attributes"
        ));
    }
    if let Some(oid) = certificate.unknown_critical_extensions().first() {
        return Err(format!("{name} has the unknown critical extension {oid}"));
    }
    Ok(())
}

/// Everything about a certificate that can be compared with its request alone.
fn check_certificate(certificate: &Certificate, request: &SigningRequest) -> Result<(), String> {
    let (profile, name) = (request.profile, certificate.subject());
    if certificate.public_key() != request.csr.public_key() {
        return Err("its public key is not the one in the request".to_owned());
    }
    if certificate.common_name() != Some(request.subject.common_name.as_str()) {
        return Err(format!("its subject is {name}, not {}", request.subject));
    }
    check_serial(certificate)?;
    check_validity(certificate, &request.validity)?;
    if certificate.not_before() > request.now {
        return Err(format!("it is valid only from {}", certificate.not_before()));
    }
    if let Some(oid) = certificate.unknown_critical_extensions().first() {
        return Err(format!("it has the unknown critical extension {oid}"));
    }
    check_names(certificate, request)?;
    let constraints = certificate.basic_constraints();
    if certificate.is_ca() != profile.is_ca() {
        return Err(format!("a {profile} certificate must not differ in CA:{}", profile.is_ca()));
    }
    if profile.is_ca() && constraints.and_then(|found| found.path_len) != profile.path_len() {
        return Err("its path length is not the profile's".to_owned());
    }
    let rsa = certificate
        .public_key()
        .key_type()
        .is_ok_and(|key_type| key_type.is_rsa());
    let usage = certificate.key_usage().unwrap_or_default();
    let required = profile.required_key_usage(rsa);
    let allowed = required | profile.tolerated_key_usage();
    if !usage.contains(required) || !allowed.contains(usage) {
        return Err(format!("its key usage is {usage}, not {required}"));
    }
    let wanted: Vec<&str> = profile
        .extended_key_usage()
        .into_iter()
        .map(ExtendedKeyUsage::oid)
        .collect();
    if certificate.extended_key_usage() != wanted {
        let found = certificate.extended_key_usage().join(", ");
        return Err(format!("its extended key usage is [{found}], not {wanted:?}"));
    }
    Ok(())
}

fn check_names(certificate: &Certificate, request: &SigningRequest) -> Result<(), String> {
    let mut found: Vec<&str> = certificate.dns_names().iter().map(String::as_str).collect();
    let mut wanted: Vec<&str> = request.names.iter().map(|name| name.as_str()).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    wanted.dedup();
    if found != wanted {
        return Err(format!("its DNS names are {found:?}, not {wanted:?}"));
    }
    match certificate.other_names().first() {
        Some(kind) => Err(format!("it carries a {kind} that nobody asked for")),
        None => Ok(()),
    }
}

fn check_serial(certificate: &Certificate) -> Result<(), String> {
    match certificate.serial() {
        Ok(serial) if serial.as_bytes().len() >= 8 => Ok(()),
        Ok(serial) => Err(format!("its serial number {serial} has fewer than 64 bits")),
        Err(error) => Err(error.to_string()),
    }
}

fn check_validity(certificate: &Certificate, asked: &Validity) -> Result<(), String> {
    let validity = certificate.validity().map_err(|error| error.to_string())?;
    if validity.not_after() > asked.not_after() {
        return Err(format!(
            "it ends at {}, after the {} that was asked for",
            validity.not_after(),
            asked.not_after()
        ));
    }
    if validity.not_before() + BACKDATING < asked.not_before() {
        return Err(format!("it is dated back to {}", validity.not_before()));
    }
    Ok(())
}

/// Whether `issuer` really issued `certificate`. For leaves webpki is asked, with the issuer as its
/// anchor: that checks the signature, and everything else it knows, at the price of one signature.
fn check_issuer(
    certificate: &Certificate,
    issuer: &Certificate,
    request: &SigningRequest,
) -> Result<(), String> {
    if certificate.raw_issuer() != issuer.raw_subject() {
        return Err(format!(
            "its issuer name is {}, but the CA is named {}",
            certificate.issuer(),
            issuer.subject()
        ));
    }
    if certificate.authority_key_identifier().is_none() {
        return Err("it has no authority key identifier".to_owned());
    }
    if !certificate.names_as_issuer(issuer) {
        return Err("its authority key identifier is not the CA's".to_owned());
    }
    encloses(issuer, certificate)?;
    let role = match request.profile {
        Profile::RelayServer => PeerRole::Server,
        Profile::AgentClient => PeerRole::Client,
        Profile::Root | Profile::Signer => {
            return match certificate.is_signed_by(issuer.public_key()) {
                true => Ok(()),
                false => Err(format!("{} did not sign it", issuer.subject())),
            };
        }
    };
    let chain = CertificateChain::new(vec![certificate.clone()]).map_err(|e| e.to_string())?;
    let anchor = TrustBundle::new([issuer.clone()]).map_err(|e| e.to_string())?;
    webpki_verify(&chain, &anchor, role, request.now).map_err(|error| error.reason)
}

/// Whether `path` leads from `ca` to one of `anchors`, signature by signature.
fn check_path(ca: &Certificate, path: &[Certificate], anchors: &TrustBundle) -> Result<(), String> {
    let mut current = ca;
    for above in path.iter().filter(|certificate| *certificate != ca) {
        if anchors.contains(current) {
            break;
        }
        check_ca(above)?;
        if !current.is_issued_by(above) {
            let (below, above) = (current.subject(), above.subject());
            return Err(format!("{below} was not issued by {above}, which follows it"));
        }
        encloses(above, current)?;
        current = above;
    }
    let ends = |anchor: &Certificate| anchor == current || current.is_issued_by(anchor);
    match anchors.anchors().iter().any(ends) {
        true => Ok(()),
        false => Err(format!(
            "{} does not lead to any of the expected roots",
            current.subject()
        )),
    }
}

fn encloses(issuer: &Certificate, certificate: &Certificate) -> Result<(), String> {
    let inside = issuer.not_before() <= certificate.not_before()
        && certificate.not_after() <= issuer.not_after();
    match inside {
        true => Ok(()),
        false => Err(format!(
            "{} is valid outside the validity of its issuer {}",
            certificate.subject(),
            issuer.subject()
        )),
    }
}
