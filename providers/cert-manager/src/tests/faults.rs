//! The way to the API server, disturbed.

use relay_pki_authority::{AuthorityError, Level, Outcome};
use relay_pki_testbed::Fault;

use super::existing::{Company, issued};

const REQUESTS: &str = "/certificaterequests";

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_api_server_is_asked_again_and_issues_once() {
    let company = Company::approving().await;
    let signer = company.signer().await;
    for (name, status) in [("cluster-1", 429), ("cluster-2", 503), ("cluster-3", 500)] {
        let interceptor = &company.place.interceptor;
        interceptor.inject(Fault::answer("POST", REQUESTS, status, 2));
        interceptor.inject(Fault::answer("GET", REQUESTS, status, 2));
        issued(&signer, &company.agent(name)).await;
    }
    assert_eq!(company.place.requests().len(), 3);
    assert_eq!(company.place.issued(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lasting_refusal_ends_with_the_api_servers_words() {
    let company = Company::approving().await;
    let signer = company.signer().await;
    let interceptor = &company.place.interceptor;
    for (status, transient) in [(429, true), (503, true), (401, false), (403, false)] {
        interceptor.inject(Fault::answer("", REQUESTS, status, usize::MAX));
        interceptor.forget();
        let error = signer.sign(&company.agent("cluster-1")).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.is_transient(), transient, "{text}");
        assert!(interceptor.requests().len() <= 4, "{status}");
        match status {
            401 => assert!(text.contains("renew the kubeconfig"), "{text}"),
            403 => assert!(text.contains("bind the role"), "{text}"),
            _ => assert!(text.contains("injected by the testbed"), "{text}"),
        }
        interceptor.relent();
    }
    assert!(company.place.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_races_cost_nothing() {
    let company = Company::approving().await;
    let signer = company.signer().await;
    let interceptor = &company.place.interceptor;
    let request = company.agent("cluster-1");
    // Made, but nobody hears of it; then 409 to the second attempt.
    interceptor.inject(Fault::lose_reply("POST", REQUESTS, 1));
    issued(&signer, &request).await;
    assert_eq!(interceptor.count("POST", REQUESTS), 2);
    // Four at once, of which three are told that somebody was faster.
    let race = company.agent("cluster-2");
    let (a, b, c) = tokio::join!(
        issued(&signer, &race),
        issued(&signer, &race),
        issued(&signer, &race)
    );
    for outcome in [a, b, c] {
        assert!(matches!(outcome, Outcome::Issued(_)));
    }
    assert_eq!(company.place.requests().len(), 2);
    assert_eq!(company.place.issued(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_of_the_same_name_is_not_ours() {
    let company = Company::approving().await;
    let signer = company.signer().await;
    let (first, mut second) = (company.agent("cluster-1"), company.agent("cluster-2"));
    issued(&signer, &first).await;
    second.id = first.id.clone();
    let error = signer.sign(&second).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("for another key"), "{error}");
    assert_eq!(company.place.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_permitted_is_said_before_anything_is_made() {
    let company = Company::approving().await;
    let provider = company.provider();
    provider.check().await.unwrap();
    company
        .place
        .kubectl(&["delete", "rolebinding", "relay-pki-cert-manager"], "");
    let error = loop {
        // Authorisers forget a moment later.
        match provider.check().await {
            Ok(()) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            Err(error) => break error,
        }
    };
    let text = error.to_string();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{text}"
    );
    assert!(
        text.contains("it may not get certificaterequests"),
        "{text}"
    );
    let signer = company.open(&provider, Level::Signer).await.unwrap();
    let error = signer.sign(&company.agent("cluster-1")).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("bind the role"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_cert_manager_is_said_to_be_one() {
    let company = Company::approving().await;
    let signer = company.signer().await;
    company
        .place
        .interceptor
        .inject(Fault::answer("", REQUESTS, 404, usize::MAX));
    let error = signer.sign(&company.agent("cluster-1")).await.unwrap_err();
    assert!(
        error.to_string().contains("install cert-manager"),
        "{error}"
    );
}
