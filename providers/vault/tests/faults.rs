//! The wire and the server at their worst; what Vault has stored is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::Fixture as _;
use relay_pki_authority::conformance::forge::{self, ForgedCa};
use relay_pki_authority::x509::{CertificateChain, KeyType, Subject, TrustBundle, Validity};
use relay_pki_authority::{
    Authority, AuthorityError, Generation, Level, Outcome, Profile, Progress, Provider,
    RootRequest, SignerRequest, SigningRequest, checked,
};
use relay_pki_testbed::{Fault, Mode, Vault};
use relay_pki_vault::VaultConfig;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::page;

const SIGN: &str = "/sign/";

/// A backend whose signer is open, under a root from elsewhere.
struct Signing {
    backend: Backend,
    provider: Arc<dyn Provider>,
    signer: Arc<dyn Authority>,
    root: ForgedCa,
}

fn subject(name: &str) -> Subject {
    Subject {
        organization: None,
        common_name: name.parse().unwrap(),
    }
}

fn validity(hours: i64) -> Validity {
    let now = Timestamp::now();
    let start = now - SignedDuration::from_mins(5);
    Validity::new(start, now + SignedDuration::from_hours(hours)).unwrap()
}

fn generation(level: Level) -> Generation {
    Generation {
        relay: "conformance".to_owned(),
        level,
        number: 1,
    }
}

fn agent() -> SigningRequest {
    let csr = forge::csr(&forge::private_key(), "cluster-1");
    let validity = validity(24);
    forge::leaf_request(
        csr,
        Profile::AgentClient,
        "cluster-1",
        validity,
        Timestamp::now(),
    )
}

async fn prepared(provider: &Arc<dyn Provider>) -> relay_pki_authority::x509::VerifiedCsr {
    let request = SignerRequest {
        generation: generation(Level::Signer),
        subject: subject("relay signer 1"),
        key_type: KeyType::EcdsaP256,
    };
    match provider.prepare_signer(&request).await.unwrap() {
        Progress::Done(csr) => csr,
        Progress::Pending { .. } => panic!("a key is made at once"),
    }
}

impl Signing {
    async fn begin() -> Self {
        let backend = Backend::start().await;
        // What is not stored cannot be counted.
        let role = format!("{}/roles/relay-agent", backend.mount);
        page::run(
            Vault::shared(),
            &format!("vault patch {role} no_store=false"),
        );
        let provider = checked(backend.provider().await);
        let root = ForgedCa::root("relay root", validity(24 * 365));
        let csr = prepared(&provider).await;
        let params = forge::params(
            Profile::Signer,
            csr.public_key(),
            &subject("relay signer 1"),
            &[],
            validity(24 * 30),
        );
        let certificate = root.certify(&params, csr.public_key());
        let chain = CertificateChain::new(vec![certificate]).unwrap();
        let signer = generation(Level::Signer);
        provider
            .install_signer(&signer, &chain, &root.anchors)
            .await
            .unwrap();
        Self {
            signer: provider.open(&signer, &root.anchors).await.unwrap(),
            provider,
            root,
            backend,
        }
    }

    fn issued(&self) -> usize {
        Vault::shared().issued(&self.backend.mount).len()
    }

    async fn sign(&self) -> Result<(), AuthorityError> {
        match self.signer.sign(&agent()).await? {
            Outcome::Issued(_) => Ok(()),
            Outcome::Pending { .. } => panic!("Vault signs at once"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_is_obeyed_and_costs_nothing() {
    let signing = Signing::begin().await;
    let interceptor = signing.backend.interceptor();
    interceptor.inject(Fault::answer("POST", SIGN, 429, 2));
    let begun = Instant::now();
    signing.sign().await.unwrap();
    // The server asked for a second, twice.
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(signing.issued(), 1);

    interceptor.inject(Fault::answer("POST", SIGN, 429, 10));
    interceptor.forget();
    let error = signing.sign().await.unwrap_err();
    let wanted = Some(Duration::from_secs(1));
    assert!(
        matches!(&error, AuthorityError::Unavailable { retry_after, .. } if *retry_after == wanted),
        "{error:?}"
    );
    assert_eq!(interceptor.count("POST", SIGN), 3);
    assert_eq!(signing.issued(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unavailable_server_is_asked_again_a_few_times() {
    let signing = Signing::begin().await;
    let interceptor = signing.backend.interceptor();
    interceptor.inject(Fault::answer("POST", SIGN, 503, 2));
    signing.sign().await.unwrap();
    assert_eq!(signing.issued(), 1);
    interceptor.inject(Fault::answer("POST", SIGN, 503, 10));
    let error = signing.sign().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(signing.issued(), 1);
}

/// The certificate is there, nobody has it: asking again by itself would make a third one some day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_not_asked_for_again_by_itself() {
    let signing = Signing::begin().await;
    let interceptor = signing.backend.interceptor();
    interceptor.inject(Fault::lose_reply("POST", SIGN, 1));
    interceptor.forget();
    let error = signing.sign().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(interceptor.count("POST", SIGN), 1);
    assert_eq!(signing.issued(), 1);
    signing.sign().await.unwrap();
    assert_eq!(signing.issued(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_leave_one_root_and_one_key() {
    let backend = Backend::start().await;
    let provider = checked(backend.provider().await);
    let interceptor = backend.interceptor();
    let request = RootRequest {
        generation: generation(Level::Root),
        subject: subject("relay root"),
        key_type: KeyType::EcdsaP256,
        validity: validity(24 * 365),
    };
    interceptor.inject(Fault::lose_reply("POST", "/issuers/generate/root", 1));
    let Progress::Done(root) = provider.create_root(&request).await.unwrap() else {
        panic!("a root is made at once");
    };
    interceptor.inject(Fault::lose_reply(
        "POST",
        "/issuers/generate/intermediate",
        1,
    ));
    let csr = prepared(&provider).await;
    assert_eq!(csr.public_key(), prepared(&provider).await.public_key());
    let vault = Vault::shared();
    let listed = |what: &str| {
        let listed = vault.admin("LIST", &format!("{}/{what}", backend.mount), &Value::Null);
        listed["keys"].as_array().unwrap().len()
    };
    assert_eq!((listed("issuers"), listed("keys")), (1, 2));

    // The signer's certificate, too: added, named, found again.
    let anchors = TrustBundle::new([root]).unwrap();
    let root = provider
        .open(&generation(Level::Root), &anchors)
        .await
        .unwrap();
    let mut request = agent();
    request.csr = csr;
    request.profile = Profile::Signer;
    request.subject = subject("relay signer 1");
    request.names = Vec::new();
    let Outcome::Issued(issuance) = root.sign(&request).await.unwrap() else {
        panic!("Vault signs at once");
    };
    let signer = generation(Level::Signer);
    interceptor.inject(Fault::lose_reply("POST", "/set-signed", 1));
    interceptor.inject(Fault::lose_reply("PATCH", "/issuer/", 1));
    provider
        .install_signer(&signer, &issuance.chain, &anchors)
        .await
        .unwrap();
    provider.open(&signer, &anchors).await.unwrap();
    assert_eq!((listed("issuers"), listed("keys")), (2, 2));
}

/// Between any two calls of an installation: repeated, it comes to the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_broke_off_is_finished_by_the_next() {
    let signing = Signing::begin().await;
    let (provider, interceptor) = (&signing.provider, signing.backend.interceptor());
    let csr = prepared(provider).await;
    let signer = generation(Level::Signer);
    for (method, path) in [
        ("POST", "/set-signed"),
        ("PATCH", "/issuer/"),
        ("GET", "/issuer/"),
    ] {
        let params = forge::params(
            Profile::Signer,
            csr.public_key(),
            &subject("relay signer 1"),
            &[],
            validity(24 * 30),
        );
        let certificate = signing.root.certify(&params, csr.public_key());
        let chain = CertificateChain::new(vec![certificate]).unwrap();
        interceptor.inject(Fault::answer(method, path, 400, 1));
        let install = || provider.install_signer(&signer, &chain, &signing.root.anchors);
        install().await.unwrap_err();
        interceptor.relent();
        install().await.unwrap();
        let opened = provider.open(&signer, &signing.root.anchors).await.unwrap();
        assert_eq!(opened.certificate(), chain.leaf());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_or_silent_costs_a_bounded_time() {
    let backend = Backend::start().await;
    let config = VaultConfig {
        address: backend.proxy().url(),
        timeout: Duration::from_secs(2),
        ..backend.config()
    };
    let provider = relay_pki_vault::Vault::new("corp", config);
    provider.check().await.unwrap();
    for mode in [Mode::Refuse, Mode::Hang, Mode::LoseReplies] {
        backend.proxy().set(mode);
        let begun = Instant::now();
        let error = provider.check().await.unwrap_err();
        assert!(error.is_transient(), "{mode:?}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{mode:?}");
        backend.proxy().set(Mode::Pass);
        provider.check().await.unwrap();
    }
    backend.proxy().set(Mode::Slow(Duration::from_millis(100)));
    provider.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_ca_is_not_handed_out() {
    let signing = Signing::begin().await;
    let interceptor = signing.backend.interceptor();
    let request = agent();
    let stranger = ForgedCa::root("relay signer 1", validity(24 * 30));
    let wrong = stranger.certify(&stranger.honest(&request), request.csr.public_key());
    let pretended = json!({ "data": { "certificate": wrong.to_pem() } });
    interceptor.inject(Fault::pretend("POST", SIGN, pretended));
    let error = signing.signer.sign(&request).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
    for garbage in [
        "",
        "{}",
        "[]",
        r#"{"data": {"certificate": "none"}}"#,
        "<html>",
    ] {
        interceptor.inject(Fault::pretend("POST", SIGN, garbage));
        let error = signing.sign().await.unwrap_err();
        assert!(!error.is_transient(), "{garbage}: {error}");
    }
    assert_eq!(signing.issued(), 0);
}

/// Vault lists the signer itself, and whatever else it has that fits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disordered_chain_is_put_in_order() {
    let signing = Signing::begin().await;
    let vault = Vault::shared();
    let path = format!(
        "{}/issuer/relay-pki-conformance-signer-g1",
        signing.backend.mount
    );
    let mut shown = vault.admin("GET", &path, &Value::Null);
    let stranger = ForgedCa::root("relay root", validity(24 * 30));
    let ours = signing.signer.certificate().to_pem();
    shown["ca_chain"] = json!([
        signing.root.certificate.to_pem(),
        stranger.certificate.to_pem(),
        ours,
        ours,
        "garbage",
    ]);
    let pretended = json!({ "data": shown });
    signing
        .backend
        .interceptor()
        .inject(Fault::pretend("GET", "/issuer/", pretended));
    let signer = generation(Level::Signer);
    let opened = signing
        .provider
        .open(&signer, &signing.root.anchors)
        .await
        .unwrap();
    assert_eq!(opened.path(), [signing.signer.certificate().clone()]);
}

/// The token is revoked between two signatures, and a new one is where the old one was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_in_the_middle_of_a_run_is_replaced() {
    let signing = Signing::begin().await;
    signing.sign().await.unwrap();
    let backend = &signing.backend;
    backend
        .inject(relay_pki_authority::conformance::Fault::ExpiredCredential)
        .await;
    backend.token.replace(backend.new_token());
    signing.sign().await.unwrap();
    assert_eq!(signing.issued(), 2);
}

/// What the role does not allow is said with the role's own words and what to change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_role_refuses_is_explained() {
    let signing = Signing::begin().await;
    let role = format!("{}/roles/relay-agent", signing.backend.mount);
    let vault = Vault::shared();
    let mut wrong = vault.admin("GET", &role, &Value::Null);
    wrong["allow_any_name"] = json!(false);
    vault.admin("POST", &role, &wrong);
    let error = signing.sign().await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("not allowed by this role"),
        "{error}"
    );
    vault.admin("DELETE", &role, &Value::Null);
    let error = signing.sign().await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("make the role"), "{error}");
}
