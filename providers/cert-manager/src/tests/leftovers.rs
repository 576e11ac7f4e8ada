//! Requests that are of no more use.

use relay_pki_authority::Level;

use super::existing::{Company, issued};

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_when_their_certificates_have_ended() {
    let company = Company::approving().await;
    let signer = company.signer().await;
    for name in ["cluster-1", "cluster-2", "cluster-3"] {
        issued(&signer, &company.agent(name)).await;
    }
    let requests = company.place.requests();
    let name = |index: usize| {
        let name: &serde_json::Value = &requests[index]["metadata"]["name"];
        name.as_str().unwrap().to_owned()
    };
    let (over, foreign, kept) = (name(0), name(1), name(2));
    let past = "relay-pki.dev/ends=2020-01-01T00:00:00Z";
    for name in [&over, &foreign] {
        let annotate = ["annotate", "--overwrite", "certificaterequest", name, past];
        company.place.kubectl(&annotate, "");
    }
    let other = "relay-pki.dev/relay=other";
    let label = [
        "label",
        "--overwrite",
        "certificaterequest",
        &foreign,
        other,
    ];
    company.place.kubectl(&label, "");

    let provider = company.provider();
    company.open(&provider, Level::Signer).await.unwrap();
    let requests = company.place.requests();
    let names = requests.iter().map(|request| &request["metadata"]["name"]);
    let mut names: Vec<&str> = names.map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    let mut expected = [foreign.as_str(), kept.as_str()];
    expected.sort_unstable();
    assert_eq!(names, expected);
}
