//! Answers that are not what was asked for. The test is cert-manager here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_authority::conformance::forge::{ForgedCa, hours};
use relay_pki_authority::x509::Certificate;
use relay_pki_authority::{AuthorityError, Outcome};
use serde_json::json;

use super::existing::Company;

struct Answer<'a> {
    certificates: &'a [Certificate],
    ca: &'a [Certificate],
    ready: &'static str,
}

/// Asks, answers, and asks again.
async fn answered(
    company: &Company,
    answer: impl Fn(&relay_pki_authority::SigningRequest) -> (Vec<Certificate>, Vec<Certificate>),
    ready: &'static str,
) -> Result<Outcome, AuthorityError> {
    let signer = company.signer().await;
    let request = company.agent("cluster-1");
    let Outcome::Pending { ticket, .. } = signer.sign(&request).await.unwrap() else {
        panic!("issued without approval");
    };
    let (certificates, ca) = answer(&request);
    let answer = Answer {
        certificates: &certificates,
        ca: &ca,
        ready,
    };
    company.place.say(&ticket.0, &status(&answer));
    signer.collect(&request, &ticket).await
}

fn status(answer: &Answer<'_>) -> serde_json::Value {
    let pem = |certificates: &[Certificate]| {
        let pem: String = certificates.iter().map(Certificate::to_pem).collect();
        STANDARD.encode(pem)
    };
    let mut status = json!({
        "certificate": pem(answer.certificates),
        "conditions": [{
            "type": "Ready",
            "status": answer.ready,
            "reason": if answer.ready == "True" { "Issued" } else { "Pending" },
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    // An empty one is not there at all.
    if !answer.ca.is_empty() {
        status["ca"] = pem(answer.ca).into();
    }
    status
}

fn leaf(ca: &ForgedCa, request: &relay_pki_authority::SigningRequest) -> Certificate {
    ca.certify(&ca.honest(request), request.csr.public_key())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_certificate_is_not_accepted() {
    let company = Company::unapproving().await;
    // As cert-manager puts them into Secrets until there is a better one: self-signed, of the right
    // name and, to be nasty, of the CA's name.
    let temporary = ForgedCa::root("company intermediate", hours(jiff::Timestamp::now(), 24));
    let answer = |request: &_| (vec![leaf(&temporary, request)], vec![]);
    let error = answered(&company, answer, "True").await.unwrap_err();
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_only_when_it_is_ready() {
    let company = Company::unapproving().await;
    let answer = |request: &_| (vec![leaf(&company.intermediate, request)], vec![]);
    let outcome = answered(&company, answer, "False").await.unwrap();
    assert!(matches!(outcome, Outcome::Pending { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_chain_and_what_is_called_ca_do_not_matter() {
    let stranger = ForgedCa::root("stranger", hours(jiff::Timestamp::now(), 24)).certificate;
    for ca in [vec![], vec![stranger]] {
        let company = Company::unapproving().await;
        let above = [&company.root, &company.intermediate].map(|ca| ca.certificate.clone());
        // Upside down, with the root and with something twice in it.
        let answer = |request: &_| {
            let leaf = leaf(&company.intermediate, request);
            let chain = above.iter().cloned().chain(above.clone()).chain([leaf]);
            (chain.collect(), ca.clone())
        };
        let outcome = answered(&company, answer, "True").await.unwrap();
        let Outcome::Issued(issuance) = outcome else {
            panic!("pending");
        };
        assert_eq!(
            issuance.chain.intermediates(),
            std::slice::from_ref(&company.intermediate.certificate)
        );
        assert_eq!(issuance.anchors, company.root.anchors);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_key_is_not_accepted() {
    let company = Company::unapproving().await;
    let answer = |_: &_| {
        let other = company.agent("cluster-1");
        (vec![leaf(&company.intermediate, &other)], vec![])
    };
    let error = answered(&company, answer, "True").await.unwrap_err();
    assert!(error.to_string().contains("for another key"), "{error}");
}
