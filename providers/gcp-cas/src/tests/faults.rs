//! What goes wrong between us and the service, and what it costs: never a second certificate.

use std::time::{Duration, Instant};

use relay_pki_authority::conformance::forge;
use relay_pki_authority::x509::{Certificate, SerialNumber};
use relay_pki_authority::{AuthorityError, Level, Profile, Provider, RevocationRequest};
use serde_json::{Value, json};

use super::setup::{Setup, agent, generation, issue, validity};
use super::{Key, provider_with};

const CREATE: &str = "certificates.create";

fn create(fault: Value) -> Value {
    let mut whole = json!({ "method": CREATE });
    let fields = fault.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(fields);
    whole
}

#[track_caller]
fn says(error: &AuthorityError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("PRIVATE KEY"), "{text}");
}

fn assert_misconfigured(error: &AuthorityError, parts: &[&str]) {
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    says(error, parts);
}

fn assert_misissued(error: &AuthorityError, parts: &[&str]) {
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
    says(error, parts);
}

/// The connection is cut before the service acts, or after; the client asks again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_costs_one_certificate() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    for when in ["before", "after"] {
        let before = setup.project.issued();
        let seen = setup.project.requests().len();
        setup.project.disturb(&create(
            json!({ "effect": "cut", "when": when, "times": 2 }),
        ));
        let request = agent("cluster-1");
        let first = issue(&root, &request).await.unwrap();
        let again = issue(&root, &request).await.unwrap();
        assert_eq!(first.chain, again.chain, "{when}");
        assert_eq!(setup.project.issued(), before + 1, "{when}");

        let requests = setup.project.requests().split_off(seen);
        let creations = requests.iter().filter(|one| one["method"] == CREATE);
        let queries: Vec<&Value> = creations.map(|one| &one["query"]).collect();
        assert_eq!(queries.len(), 4, "{when}");
        assert!(
            queries.iter().all(|query| *query == queries[0]),
            "{queries:?}"
        );
        let pinned = &queries[0]["issuingCertificateAuthorityId"];
        assert_eq!(pinned, "relay-pki-gloo-mesh-root-g1");
    }
}

/// The service remembers requests for an hour; names of certificates it remembers for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_found_again_after_an_hour() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let request = agent("cluster-1");
    let first = issue(&root, &request).await.unwrap();
    setup.project.forget_requests();
    let before = setup.project.issued();
    let again = issue(&root, &request).await.unwrap();
    assert_eq!(
        (first.chain, first.reference),
        (again.chain, again.reference)
    );
    assert_eq!(setup.project.issued(), before);
    assert_eq!(setup.project.calls("certificates.get"), 1);
}

/// The DevOps tier ignores names, and remembers requests.
#[tokio::test(flavor = "multi_thread")]
async fn the_devops_tier_issues_once_too() {
    let policy = json!({ "allowRequesterSpecifiedNotBeforeTime": true });
    let pools = json!([{ "tier": "DEVOPS", "issuancePolicy": policy }]);
    let setup = Setup::with(json!({ "pools": pools }));
    let root = setup.open_root(1).await;
    let signer = setup.signer(&root).await;
    let before = setup.project.issued();
    setup.project.disturb(&create(
        json!({ "effect": "cut", "when": "after", "times": 1 }),
    ));
    let request = agent("cluster-1");
    let first = issue(&signer, &request).await.unwrap();
    assert_eq!(issue(&signer, &request).await.unwrap().chain, first.chain);
    assert_eq!(setup.project.issued(), before + 1);
}

/// The DevOps tier keeps no certificates that could be revoked, and is not asked to.
#[tokio::test(flavor = "multi_thread")]
async fn the_devops_tier_revokes_nothing() {
    let policy = json!({ "allowRequesterSpecifiedNotBeforeTime": true });
    let pools = json!([{ "tier": "DEVOPS", "issuancePolicy": policy }]);
    let setup = Setup::with(json!({ "pools": pools }));
    let root = setup.open_root(1).await;
    let issued = issue(&root, &agent("cluster-1")).await.unwrap();
    let calls = setup.project.requests().len();
    let refused = root.revoke(&revocation(issued.chain.leaf())).await;
    let Err(AuthorityError::Unsupported { what, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(what.contains("DevOps"), "{what}");
    assert_eq!(setup.project.requests().len(), calls);
}

/// A reply that was lost: the second attempt finds it done.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_whose_reply_is_lost_is_found_done() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let issued = issue(&root, &agent("cluster-1")).await.unwrap();
    setup.project.disturb(&json!({
        "effect": "cut", "when": "after", "method": "certificates.revoke", "times": 1,
    }));
    let request = revocation(issued.chain.leaf());
    root.revoke(&request).await.unwrap();
    // Nobody else's certificate is taken for it.
    let unknown = RevocationRequest {
        serial: SerialNumber::random().unwrap(),
        certificate: None,
    };
    let refused = root.revoke(&unknown).await.unwrap_err().to_string();
    assert!(refused.contains("it has no certificate"), "{refused}");
}

fn revocation(certificate: &Certificate) -> RevocationRequest {
    RevocationRequest {
        serial: certificate.serial().unwrap(),
        certificate: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_for_a_moment_is_waited_for() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let before = setup.project.issued();
    let down = json!({ "effect": "error", "status": "UNAVAILABLE", "times": 2 });
    setup.project.disturb(&create(down));
    issue(&root, &agent("cluster-1")).await.unwrap();
    assert_eq!(setup.project.issued(), before + 1);

    let down = json!({ "effect": "error", "status": "UNAVAILABLE" });
    setup.project.disturb(&create(down));
    let error = issue(&root, &agent("cluster-2")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    says(
        &error,
        &["google: gloo-mesh root g1", "currently unavailable"],
    );
    setup.project.calm();
    // Something in between that is not the service.
    setup
        .project
        .disturb(&create(json!({ "effect": "raw", "status": "502" })));
    let error = issue(&root, &agent("cluster-3")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(setup.project.issued(), before + 1);
}

/// For as long as the service says, if that is not too long; else the caller is told.
#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_obeyed() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let full = |seconds: u64, times: u64| {
        create(json!({
            "effect": "error", "status": "RESOURCE_EXHAUSTED", "retryAfter": seconds, "times": times,
        }))
    };
    setup.project.disturb(&full(2, 1));
    let (begun, calls) = (Instant::now(), setup.project.calls(CREATE));
    issue(&root, &agent("cluster-1")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(setup.project.calls(CREATE), calls + 2);

    setup.project.disturb(&full(60, 100));
    let calls = setup.project.calls(CREATE);
    let error = issue(&root, &agent("cluster-2")).await.unwrap_err();
    let AuthorityError::Unavailable { retry_after, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*retry_after, Some(Duration::from_secs(60)));
    assert_eq!(setup.project.calls(CREATE), calls + 1, "it was not obeyed");
}

/// Thirty agents at once, under the documented quota of 7 a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_stays_under_the_quota() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..30 {
        let root = root.clone();
        calls.spawn(async move { issue(&root, &agent(&format!("cluster-{number}"))).await });
    }
    while let Some(issued) = calls.join_next().await {
        issued.unwrap().unwrap();
    }
    assert_eq!(setup.project.calls(CREATE), 30, "some were thrown back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reply_is_given_up_and_asked_for_again() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let before = setup.project.issued();
    setup.project.disturb(&create(
        json!({ "effect": "delay", "seconds": 10, "times": 1 }),
    ));
    let begun = Instant::now();
    let request = agent("cluster-1");
    issue(&root, &request).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(setup.project.issued(), before + 1);
}

/// Keys are replaced while we run.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_key_is_read_when_the_old_one_is_refused() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let new = setup.project.replace_key();
    let error = issue(&root, &agent("cluster-1")).await.unwrap_err();
    assert_misconfigured(
        &error,
        &[
            "invalid authentication credentials",
            "renew",
            "Secret google, key key.json",
        ],
    );
    setup.key.replace(new);
    issue(&root, &agent("cluster-1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_than_keys_of_service_accounts_are_refused() {
    let setup = Setup::new();
    let program = json!({ "type": "external_account", "credential_source": { "executable": {} } });
    for (text, part) in [
        (program.to_string(), "not the key of a service account"),
        ("-----BEGIN PRIVATE KEY-----".to_owned(), "not JSON"),
        (
            json!({ "type": "service_account" }).to_string(),
            "not a complete key",
        ),
    ] {
        let key = std::sync::Arc::new(Key::new(&text));
        let provider = provider_with(&setup.project, key);
        assert_misconfigured(&provider.check().await.unwrap_err(), &[part]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_before_and_after() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    setup.provider.check().await.unwrap();
    setup.project.permit(&[
        "privateca.caPools.get",
        "privateca.certificateAuthorities.get",
    ]);
    let error = setup.provider.check().await.unwrap_err();
    assert_misconfigured(&error, &["privateca.certificates.create", "grant the role"]);
    let error = issue(&root, &agent("cluster-1")).await.unwrap_err();
    assert_misconfigured(
        &error,
        &["'privateca.certificates.create' denied", "grant it to"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_of_the_pool_is_not_taken() {
    let setup = Setup::new();
    let first = setup.open_root(1).await;
    setup.open_root(2).await;
    setup
        .project
        .disturb(&create(json!({ "effect": "wrongCa", "times": 1 })));
    let error = issue(&first, &agent("cluster-1")).await.unwrap_err();
    assert_misissued(
        &error,
        &[
            "relay-pki-gloo-mesh-root-g2, not by",
            "relay-pki-gloo-mesh-root-g1",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_cut_short_is_not_taken() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    setup
        .project
        .disturb(&create(json!({ "effect": "truncate", "times": 1 })));
    let error = issue(&root, &agent("cluster-1")).await.unwrap_err();
    assert_misissued(&error, &["the service cut it without saying so"]);
}

/// What the service lists is put in order by its signatures, and nobody needs the root in it.
#[tokio::test(flavor = "multi_thread")]
async fn chains_in_any_order_and_without_a_root_are_understood() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let straight = setup.signer(&root).await;
    let level = generation(Level::Signer, 1);
    for effect in ["reverseChain", "noRoot"] {
        for method in ["certificateAuthorities.get", CREATE] {
            setup
                .project
                .disturb(&json!({ "method": method, "effect": effect }));
        }
        let opened = setup
            .restarted()
            .open(&level, root.anchors())
            .await
            .unwrap();
        assert_eq!(opened.path(), straight.path(), "{effect}");
        let issued = issue(&opened, &agent("cluster-1")).await.unwrap();
        assert_eq!(issued.chain.intermediates(), straight.path(), "{effect}");
        setup.project.calm();
    }
}

/// Every operation's answer is lost once; each thing is made once all the same.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_of_operations_make_nothing_twice() {
    let setup = Setup::new();
    let lose = |method: &str| {
        let fault = json!({ "method": method, "effect": "cut", "when": "after", "times": 1 });
        setup.project.disturb(&fault);
    };
    lose("certificateAuthorities.create");
    assert!(setup.create_root(1).await.unwrap_err().is_transient());
    let root = setup.open_root(1).await;
    lose("certificateAuthorities.create");
    assert!(setup.prepare().await.unwrap_err().is_transient());
    let csr = setup.prepare().await.unwrap();
    let chain = issue(&root, &Setup::signer_request(csr))
        .await
        .unwrap()
        .chain;
    assert_eq!(setup.project.issued(), 2);

    lose("certificateAuthorities.activate");
    assert!(setup.install(&chain, root.anchors()).await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    setup.install(&chain, root.anchors()).await.unwrap();
    assert_eq!(setup.project.calls("certificateAuthorities.activate"), 1);

    let level = generation(Level::Signer, 1);
    lose("certificateAuthorities.disable");
    assert!(setup.provider.destroy(&level).await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    setup.provider.destroy(&level).await.unwrap();
    let opened = setup.provider.open(&level, root.anchors()).await;
    assert_misconfigured(&opened.err().unwrap(), &["was deleted", "undelete"]);
}

/// Its certificate is there to be distributed before it issues, and the rest of the pool never gets
/// certificates from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_stays_staged() {
    let setup = Setup::new();
    let root = setup.open_root(1).await;
    let signer = setup.signer(&root).await;
    issue(&signer, &agent("cluster-1")).await.unwrap();
    assert_eq!(setup.project.calls("certificateAuthorities.enable"), 0);
}

/// The same signer under two roots, and one root under the other, as a rotation wants it.
#[tokio::test(flavor = "multi_thread")]
async fn two_roots_certify_one_key() {
    let setup = Setup::new();
    let (old, new) = (setup.open_root(1).await, setup.open_root(2).await);
    let request = Setup::signer_request(setup.prepare().await.unwrap());
    let under_old = issue(&old, &request).await.unwrap().chain;
    let under_new = issue(&new, &request).await.unwrap().chain;
    assert_eq!(under_old.leaf().public_key(), under_new.leaf().public_key());
    assert!(under_old.leaf().is_issued_by(old.certificate()));
    assert!(under_new.leaf().is_issued_by(new.certificate()));

    let mut cross = Setup::signer_request(forge::csr(&forge::private_key(), "relay root"));
    cross.profile = Profile::Root;
    cross.subject = super::setup::subject("relay root");
    cross.validity = validity(24);
    let cross = issue(&old, &cross).await.unwrap().chain;
    let constraints = cross.leaf().basic_constraints().unwrap();
    assert_eq!((constraints.ca, constraints.path_len), (true, None));
    assert_eq!(cross.leaf().raw_subject(), new.certificate().raw_subject());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_does_not_fit_is_found_before_the_first_certificate() {
    let unset = Setup::with_policy(json!({}));
    let error = unset.provider.check().await.unwrap_err();
    assert_misconfigured(
        &error,
        &[
            "clocks differ",
            "allowRequesterSpecifiedNotBeforeTime: true",
        ],
    );
    let requests_only = json!({
        "allowRequesterSpecifiedNotBeforeTime": true,
        "allowedIssuanceModes": { "allowCsrBasedIssuance": true },
    });
    let requests_only = Setup::with_policy(requests_only);
    let error = requests_only.provider.check().await.unwrap_err();
    assert_misconfigured(&error, &["config-based issuance"]);

    let backdating = Setup::with_policy(json!({ "backdateDuration": "300s" }));
    backdating.provider.check().await.unwrap();
    let root = backdating.open_root(1).await;
    let issued = issue(&root, &agent("cluster-1")).await.unwrap();
    assert!(issued.chain.leaf().not_before() < jiff::Timestamp::now());

    let short = json!({ "allowRequesterSpecifiedNotBeforeTime": true, "maximumLifetime": "3600s" });
    let short = Setup::with_policy(short);
    let root = short.open_root(1).await;
    let error = issue(&root, &agent("cluster-1")).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
    says(
        &error,
        &["exceeds the maximum lifetime of the CaPool, 3600s"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_there_is_named() {
    let setup = Setup::new();
    let mut access = crate::Access {
        pool: super::pool(setup.project.pool()),
        key: Some(setup.key.clone()),
        endpoint: Some(setup.project.endpoint()),
    };
    let parts: Vec<&str> = setup.project.pool().split('/').collect();
    access.pool = crate::Pool::new(parts[1], parts[3], "another");
    let error = crate::GoogleCas::new("google", access)
        .check()
        .await
        .unwrap_err();
    assert_misconfigured(
        &error,
        &["caPools/another' was not found", "spec.providers"],
    );
}
