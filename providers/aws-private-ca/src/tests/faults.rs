//! Lost connections, errors, and answers that are not what was asked for: nothing is bought twice and
//! nothing wrong is used.

use relay_pki_authority::{AuthorityError, Outcome, Progress, Provider, Ticket};
use relay_pki_testbed::AwsServer;
use serde_json::json;

use super::chains::{Relay, collected, generation, leaf, root_request};
use super::clients;
use relay_pki_authority::Level;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_costs_nothing() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let before = relay.account.issued();
    for (number, effect) in ["before", "after"].into_iter().enumerate() {
        // Every attempt of the first call is cut; whoever asks again finds what was made.
        let order = json!({ "operation": "IssueCertificate", "effect": effect, "times": 3 });
        relay.account.fault(order);
        let request = leaf(&format!("c{number}"), 24);
        let error = relay.signer.sign(&request).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        collected(&relay.signer, &request).await.unwrap();
        assert_eq!(relay.account.issued(), before + number + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_sorted_by_who_has_to_act() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    for (status, code, label) in [
        (500, "InternalFailure", "unavailable"),
        (503, "ServiceUnavailableException", "unavailable"),
        (429, "TooManyRequestsException", "unavailable"),
        (400, "LimitExceededException", "misconfigured"),
        (400, "AccessDeniedException", "misconfigured"),
        (400, "InvalidStateException", "misconfigured"),
        (400, "MalformedCSRException", "rejected"),
        (400, "ValidationException", "rejected"),
    ] {
        relay.account.fault(json!({
            "operation": "IssueCertificate", "effect": "error", "status": status, "code": code,
            "message": "the words of AWS", "headers": { "retry-after": "7" },
        }));
        let error = relay.signer.sign(&leaf("c1", 24)).await.unwrap_err();
        relay.account.heal();
        assert_eq!(error.label(), label, "{code}: {error}");
        assert!(error.to_string().contains("the words of AWS"), "{error}");
        if let (429, AuthorityError::Unavailable { retry_after, .. }) = (status, &error) {
            assert_eq!(retry_after.unwrap().as_secs(), 7);
        }
    }
    assert_eq!(relay.account.issued(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_ca_is_refused() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    relay
        .account
        .fault(json!({ "operation": "GetCertificate", "effect": "wrong-ca" }));
    let error = collected(&relay.signer, &leaf("c1", 24)).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_in_any_order_are_put_right() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let right = collected(&relay.signer, &leaf("c1", 24)).await.unwrap();
    for effect in ["shuffled-chain", "rootless-chain"] {
        relay.account.fault(json!({ "effect": effect }));
        let signer = relay
            .provider
            .open(&generation(Level::Signer, 1), relay.root.anchors())
            .await
            .unwrap();
        let issuance = collected(&signer, &leaf("c2", 24)).await.unwrap();
        assert_eq!(
            issuance.chain.intermediates(),
            right.chain.intermediates(),
            "{effect}"
        );
        relay.account.heal();
    }
}

/// Somebody restarts between any two calls on the way to a root: there is one CA and one certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_is_made_once_whatever_is_interrupted() {
    const WAY: [&str; 7] = [
        "ListCertificateAuthorities",
        "CreateCertificateAuthority",
        "DescribeCertificateAuthority",
        "GetCertificateAuthorityCsr",
        "IssueCertificate",
        "GetCertificate",
        "ImportCertificateAuthorityCertificate",
    ];
    for effect in ["before", "after"] {
        let account = AwsServer::emulator().account(&json!({}));
        let request = root_request();
        for operation in WAY {
            account.fault(json!({ "operation": operation, "effect": effect, "times": 3 }));
            let interrupted = clients::provider(&account, |_| {});
            // A call that is not made any more is no interruption.
            if let Err(error) = interrupted.create_root(&request).await {
                assert!(error.is_transient(), "{operation}: {error}");
            }
            account.heal();
        }
        let provider = clients::provider(&account, |_| {});
        let made = provider.create_root(&request).await.unwrap();
        assert!(matches!(made, Progress::Done(_)));
        assert_eq!(account.issued(), 1, "{effect}");
        assert_eq!(account.state()["authorities"].as_array().unwrap().len(), 1);
    }
}

/// AWS forgets tokens after five minutes. By then the ARN is noted, at the CA for a root and in the
/// ticket for everything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_noted_outlives_the_token() {
    let account =
        AwsServer::emulator().account(&json!({ "idempotencyWindow": 0, "issueDelay": 0.5 }));
    let provider = clients::provider(&account, |_| {});
    let request = root_request();
    let begun = provider.create_root(&request).await.unwrap();
    assert!(matches!(begun, Progress::Pending { .. }));
    let restarted = clients::provider(&account, |_| {});
    loop {
        match restarted.create_root(&request).await.unwrap() {
            Progress::Done(_) => break,
            Progress::Pending { .. } => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    assert_eq!(account.issued(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_another_ca_is_refused() {
    let relay = Relay::with(&json!({}), |_| {}).await;
    let request = leaf("c1", 24);
    let Outcome::Pending { ticket, .. } = relay.root.sign(&request).await.unwrap() else {
        panic!("not pending");
    };
    for ticket in [ticket, Ticket("nonsense".to_owned())] {
        let error = relay.signer.collect(&request, &ticket).await.unwrap_err();
        assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
    }
}
