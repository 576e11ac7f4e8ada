//! Approval: requests that wait, and what becomes of them.

use std::time::Duration;

use relay_pki_authority::{AuthorityError, Outcome, Ticket};
use serde_json::json;

use super::existing::Company;

/// A condition as cert-manager writes it.
fn condition(kind: &str, status: &str, reason: &str) -> serde_json::Value {
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "says the test",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn pending(outcome: Outcome) -> Ticket {
    match outcome {
        Outcome::Pending { ticket, .. } => ticket,
        Outcome::Issued(_) => panic!("issued without approval"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_until_it_is_approved() {
    let company = Company::unapproving().await;
    let (signer, request) = (company.signer().await, company.agent("cluster-1"));
    let ticket = pending(signer.sign(&request).await.unwrap());
    // Another process asks again, with and without the ticket.
    let restarted = company.signer().await;
    assert_eq!(pending(restarted.sign(&request).await.unwrap()), ticket);
    assert_eq!(company.place.requests().len(), 1);
    let other = Ticket("relay-pki-other".to_owned());
    let refused = restarted.collect(&request, &other).await.unwrap_err();
    assert!(refused.to_string().contains("another request"), "{refused}");

    let approved = condition("Approved", "True", "Checked");
    company
        .place
        .say(&ticket.0, &json!({ "conditions": [approved] }));
    let outcome = restarted.collect(&request, &ticket).await.unwrap();
    let Outcome::Issued(issuance) = outcome else {
        panic!("still pending");
    };
    assert_eq!(issuance.reference, Some(ticket.0));
    assert_eq!(company.place.issued(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_and_invalid_are_final() {
    let company = Company::unapproving().await;
    let signer = company.signer().await;
    for (name, kind) in [("cluster-1", "Denied"), ("cluster-2", "InvalidRequest")] {
        let request = company.agent(name);
        let ticket = pending(signer.sign(&request).await.unwrap());
        let said = condition(kind, "True", "Policy");
        company
            .place
            .say(&ticket.0, &json!({ "conditions": [said] }));
        for _ in 0..2 {
            let error = signer.collect(&request, &ticket).await.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, AuthorityError::Rejected { .. }), "{text}");
            assert!(text.contains("Policy: says the test"), "{text}");
            assert!(text.contains(&ticket.0), "{text}");
        }
    }
    assert_eq!(company.place.requests().len(), 2);
    assert_eq!(company.place.issued(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_answers_is_withdrawn() {
    let company = Company::unapproving().await;
    let signer = company.signer().await;
    let mut request = company.agent("cluster-1");
    let ticket = pending(signer.sign(&request).await.unwrap());
    assert_eq!(company.place.requests().len(), 1);
    request.now += jiff::SignedDuration::from_mins(61);
    let error = signer.collect(&request, &ticket).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{text}");
    assert!(text.contains("nobody has approved it yet"), "{text}");
    assert!(company.place.requests().is_empty());
}

/// What an issuer that is not in the cluster does for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_never_answers_keeps_nobody_waiting() {
    let mut company = Company::approving().await;
    company.issuer.group = "issuers.example.org".to_owned();
    company.issuer.kind = "StepIssuer".to_owned();
    let signer = company.signer().await;
    let begun = std::time::Instant::now();
    let request = company.agent("cluster-1");
    pending(signer.sign(&request).await.unwrap());
    assert!(begun.elapsed() < Duration::from_secs(25));
}
