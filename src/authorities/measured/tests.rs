#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use jiff::Timestamp;
use relay_pki_authority::conformance::forge::{
    ForgedCa, csr, hours, leaf_request, private_key, subject,
};
use relay_pki_authority::x509::KeyType;
use relay_pki_authority::{Calls, Custody, Dialect, Issuance, Level, Metering, Revocation, Roots};

use super::*;

fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

fn unavailable() -> AuthorityError {
    AuthorityError::Unavailable {
        authority: "corp".to_owned(),
        reason: "its words about cluster-1".to_owned(),
        retry_after: None,
    }
}

/// What a backend does when it is asked for a certificate.
#[derive(Clone, Copy)]
enum Mood {
    Willing,
    Slow,
    Away,
    Silent,
}

struct Backend {
    mood: Mood,
    capabilities: Capabilities,
    ca: ForgedCa,
}

impl Backend {
    fn new(mood: Mood) -> Self {
        Self {
            mood,
            capabilities: Capabilities {
                ca_key_types: KeyType::ALL.to_vec(),
                subject_key_types: KeyType::ALL.to_vec(),
                calls: Calls::NONE,
                custody: Custody::Remote,
                metering: Metering::Counted,
                asynchronous: true,
                recertifies_signers: true,
                cross_certificates: true,
                requests_roots: false,
                revocation: Revocation::Never,
                dialect: Dialect::Full,
                roots: Roots::Made,
                disables: false,
            },
            ca: ForgedCa::root("relay root", hours(now(), 1_000)),
        }
    }

    async fn answer<T>(&self, done: T, pending: T) -> Result<T, AuthorityError> {
        match self.mood {
            Mood::Willing => Ok(done),
            Mood::Slow => Ok(pending),
            Mood::Away => Err(unavailable()),
            Mood::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Provider for Backend {
    fn name(&self) -> &str {
        "corp"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.answer((), ()).await
    }

    async fn create_root(&self, _: &RootRequest) -> Result<Progress<Certificate>, AuthorityError> {
        let poll_after = Duration::from_secs(1);
        let done = Progress::Done(self.ca.certificate.clone());
        self.answer(done, Progress::Pending { poll_after }).await
    }

    async fn prepare_signer(
        &self,
        _: &SignerRequest,
    ) -> Result<Progress<VerifiedCsr>, AuthorityError> {
        Err(self.unsupported("signers".to_owned()))
    }

    async fn install_signer(
        &self,
        _: &Generation,
        _: &CertificateChain,
        _: &TrustBundle,
    ) -> Result<(), AuthorityError> {
        Ok(())
    }

    async fn open(
        &self,
        _: &Generation,
        _: &TrustBundle,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        Ok(Arc::new(Self {
            ca: self.ca.clone(),
            ..Self::new(self.mood)
        }))
    }

    async fn import(
        &self,
        _: &Generation,
        _: &PrivateKey,
        _: &CertificateChain,
    ) -> Result<(), AuthorityError> {
        Ok(())
    }

    async fn export_key(&self, _: &Generation) -> Result<PrivateKey, AuthorityError> {
        Ok(self.ca.key.clone())
    }

    async fn disable(&self, _: &Generation) -> Result<(), AuthorityError> {
        Ok(())
    }

    async fn destroy(&self, _: &Generation) -> Result<(), AuthorityError> {
        Ok(())
    }
}

#[async_trait]
impl Authority for Backend {
    fn id(&self) -> &str {
        "corp/signer/1"
    }

    fn certificate(&self) -> &Certificate {
        &self.ca.certificate
    }

    fn path(&self) -> &[Certificate] {
        &[]
    }

    fn anchors(&self) -> &TrustBundle {
        &self.ca.anchors
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError> {
        let params = self.ca.honest(request);
        let leaf = self.ca.certify(&params, request.csr.public_key());
        let issued = Outcome::Issued(Issuance {
            chain: CertificateChain::new(vec![leaf]).unwrap(),
            anchors: self.ca.anchors.clone(),
            reference: None,
        });
        let pending = Outcome::Pending {
            ticket: Ticket("42".to_owned()),
            poll_after: Duration::from_secs(1),
        };
        self.answer(issued, pending).await
    }

    async fn collect(
        &self,
        request: &SigningRequest,
        _: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        self.sign(request).await
    }
}

fn measured(mood: Mood) -> (Measured, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(true));
    let measured = Measured::new(Arc::new(Backend::new(mood)), "vault", metrics.clone());
    (measured, metrics)
}

fn generation() -> Generation {
    Generation {
        relay: "gloo-mesh".to_owned(),
        level: Level::Signer,
        number: 1,
    }
}

fn request(profile: Profile) -> SigningRequest {
    let key = private_key();
    let csr = csr(&key, "cluster-1");
    leaf_request(csr, profile, "cluster-1", hours(now(), 10), now())
}

async fn open(measured: &Measured) -> Arc<dyn Authority> {
    let anchors = ForgedCa::root("relay root", hours(now(), 10)).anchors;
    measured.open(&generation(), &anchors).await.unwrap()
}

/// Lines that begin so, up to their value.
fn lines(metrics: &Metrics, beginning: &str) -> Vec<String> {
    let text = metrics.text().unwrap();
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

fn request_line(operation: &str, outcome: &str, count: u64) -> String {
    format!(
        "relay_pki_authority_requests_total{{backend=\"vault\",operation=\"{operation}\",\
         outcome=\"{outcome}\"}} {count}"
    )
}

fn issuance_line(role: &str, outcome: &str, count: u64) -> String {
    format!(
        "relay_pki_issuances_total{{relay=\"gloo-mesh\",backend=\"vault\",role=\"{role}\",\
         outcome=\"{outcome}\"}} {count}"
    )
}

const REQUESTS: &str = "relay_pki_authority_requests_total";
const ISSUANCES: &str = "relay_pki_issuances_total";

#[tokio::test]
async fn certificates_are_counted_by_what_they_are_for() {
    let (measured, metrics) = measured(Mood::Willing);
    let authority = open(&measured).await;
    for profile in [
        Profile::AgentClient,
        Profile::AgentClient,
        Profile::RelayServer,
    ] {
        authority.sign(&request(profile)).await.unwrap();
    }
    let root = RootRequest {
        generation: generation(),
        subject: subject("relay root"),
        key_type: KeyType::EcdsaP256,
        validity: hours(now(), 10),
    };
    measured.create_root(&root).await.unwrap();
    let wanted = [
        issuance_line("agent", "success", 2),
        issuance_line("root", "success", 1),
        issuance_line("server", "success", 1),
    ];
    assert_eq!(lines(&metrics, ISSUANCES), wanted);
    let wanted = [
        request_line("create_root", "success", 1),
        request_line("open", "success", 1),
        request_line("sign", "success", 3),
    ];
    assert_eq!(lines(&metrics, REQUESTS), wanted);
    let counts = lines(
        &metrics,
        "relay_pki_authority_request_duration_seconds_count",
    );
    assert!(
        counts
            .iter()
            .any(|line| line.ends_with("operation=\"sign\"} 3")),
        "{counts:?}"
    );
}

#[tokio::test]
async fn one_that_is_not_ready_is_counted_when_it_is() {
    let (measured, metrics) = measured(Mood::Slow);
    let authority = open(&measured).await;
    let request = request(Profile::AgentClient);
    authority.sign(&request).await.unwrap();
    let ticket = Ticket("42".to_owned());
    authority.collect(&request, &ticket).await.unwrap();
    assert_eq!(lines(&metrics, ISSUANCES), Vec::<String>::new());
    let wanted = [
        request_line("collect", "success", 1),
        request_line("open", "success", 1),
        request_line("sign", "success", 1),
    ];
    assert_eq!(lines(&metrics, REQUESTS), wanted);
}

#[tokio::test]
async fn failures_are_counted_by_their_class_and_not_by_their_words() {
    let (measured, metrics) = measured(Mood::Away);
    let authority = open(&measured).await;
    assert!(
        authority
            .sign(&request(Profile::AgentClient))
            .await
            .is_err()
    );
    assert!(measured.check().await.is_err());
    let signer = SignerRequest {
        generation: generation(),
        subject: subject("relay signer 1"),
        key_type: KeyType::EcdsaP256,
    };
    assert!(measured.prepare_signer(&signer).await.is_err());
    let wanted = [issuance_line("agent", "unavailable", 1)];
    assert_eq!(lines(&metrics, ISSUANCES), wanted);
    let wanted = [
        request_line("check", "unavailable", 1),
        request_line("open", "success", 1),
        request_line("prepare_signer", "unsupported", 1),
        request_line("sign", "unavailable", 1),
    ];
    assert_eq!(lines(&metrics, REQUESTS), wanted);
    assert!(!metrics.text().unwrap().contains("its words"));
}

/// The time limit is the caller's: it stops waiting, and the call is never heard of again.
#[tokio::test]
async fn a_backend_that_never_answers_is_counted_too() {
    let (measured, metrics) = measured(Mood::Silent);
    let authority = open(&measured).await;
    let request = request(Profile::RelayServer);
    let limit = Duration::from_millis(20);
    assert!(
        tokio::time::timeout(limit, authority.sign(&request))
            .await
            .is_err()
    );
    let wanted = [issuance_line("server", "abandoned", 1)];
    assert_eq!(lines(&metrics, ISSUANCES), wanted);
    let sum = lines(&metrics, "relay_pki_authority_request_duration_seconds_sum");
    let sign = sum.iter().find(|line| line.contains("\"sign\"")).unwrap();
    let seconds: f64 = sign.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(seconds >= 0.02, "{sign}");
}

/// Nothing gets lost on the way through.
#[tokio::test]
async fn everything_else_is_passed_on() {
    let (measured, metrics) = measured(Mood::Willing);
    assert_eq!(measured.name(), "corp");
    assert_eq!(measured.capabilities().custody, Custody::Remote);
    let key = measured.export_key(&generation()).await.unwrap();
    let ca = ForgedCa::root("relay root", hours(now(), 10));
    let chain = CertificateChain::new(vec![ca.certificate.clone()]).unwrap();
    measured.import(&generation(), &key, &chain).await.unwrap();
    measured
        .install_signer(&generation(), &chain, &ca.anchors)
        .await
        .unwrap();
    measured.disable(&generation()).await.unwrap();
    measured.destroy(&generation()).await.unwrap();
    let operations = [
        "destroy",
        "disable",
        "export_key",
        "import",
        "install_signer",
    ];
    let wanted = operations.map(|operation| request_line(operation, "success", 1));
    assert_eq!(lines(&metrics, REQUESTS), wanted);
    let authority = open(&measured).await;
    assert_eq!(authority.id(), "corp/signer/1");
    assert!(authority.anchors().contains(authority.certificate()));
    assert!(authority.path().is_empty());
}
