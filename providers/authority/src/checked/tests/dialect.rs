//! Backends that are told less than a request says, and roots that they were not told about.

use super::*;

/// An agent's request that asks for what it is to get.
fn asking(names: &[&str]) -> SigningRequest {
    let mut request = agent();
    request.csr = forge::csr_with(&forge::private_key(), "cluster-1", |params| {
        params.subject_alt_names = forge::dns_names(names);
    });
    request
}

async fn told_a_csr(
    ca: ForgedCa,
    level: Level,
    lie: impl Fn(&mut Forgery) + Send + Sync + 'static,
) -> Arc<dyn Authority> {
    let anchors = ca.anchors.clone();
    let lie: Lie = Box::new(lie);
    let liar = Arc::new(Liar { ca, lie });
    let provider = provider_with(liar, Dialect::Csr, Roots::Made);
    provider.open(&generation(level), &anchors).await.unwrap()
}

/// Signed this much after the request was made, for so long.
fn late(forgery: &mut Forgery, delay: SignedDuration, lifetime: SignedDuration) {
    let start = now() + delay;
    forge::set_validity(&mut forgery.params, start, start + lifetime);
}

#[tokio::test]
async fn a_request_has_to_ask_for_what_it_is_to_get() {
    let authority = told_a_csr(ca().1, Level::Signer, |_| {}).await;
    authority.sign(&asking(&["cluster-1"])).await.unwrap();
    let mut organization = asking(&["cluster-1"]);
    organization.subject.organization = Some("gloo-mesh".parse().unwrap());
    let requests = [
        asking(&[]),
        asking(&["cluster-2"]),
        asking(&["cluster-1", "cluster-2"]),
        organization,
    ];
    for request in requests {
        let error = authority.sign(&request).await.unwrap_err();
        assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
        says(&error.to_string(), "but policy says");
    }
}

#[tokio::test]
async fn a_lifetime_may_begin_late_but_not_be_longer() {
    let asked = asking(&["cluster-1"]);
    let lifetime = asked.validity.lifetime();
    let (seconds, second) = (SignedDuration::from_secs(40), SignedDuration::from_secs(1));
    let honest = move |forgery: &mut Forgery| late(forgery, seconds, lifetime);
    let authority = told_a_csr(ca().1, Level::Signer, honest).await;
    authority.sign(&asked).await.unwrap();

    let longer = move |forgery: &mut Forgery| late(forgery, seconds, lifetime + second);
    let authority = told_a_csr(ca().1, Level::Signer, longer).await;
    let error = authority.sign(&asked).await.unwrap_err();
    says(&error.to_string(), "that was asked for");

    let tomorrow = SignedDuration::from_hours(24);
    let authority = told_a_csr(ca().1, Level::Signer, move |forgery| {
        late(forgery, tomorrow, SignedDuration::from_hours(1));
    })
    .await;
    let error = authority.sign(&asked).await.unwrap_err();
    says(&error.to_string(), "it is valid only from");
}

#[tokio::test]
async fn the_path_length_of_a_signer_may_be_left_open() {
    let open = |forgery: &mut Forgery| {
        forgery.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let problem = caught(&ca().0, Level::Root, &signer_request(), open).await;
    says(&problem, "its path length is unlimited, not 0");
    let authority = told_a_csr(ca().0, Level::Root, open).await;
    authority.sign(&signer_request()).await.unwrap();
    // Another one than was asked for is still another one.
    let other = |forgery: &mut Forgery| {
        forgery.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
    };
    let authority = told_a_csr(ca().0, Level::Root, other).await;
    let error = authority.sign(&signer_request()).await.unwrap_err();
    says(&error.to_string(), "its path length is 3, not 0");
}

#[tokio::test]
async fn an_existing_root_has_its_own_name_and_end() {
    let root = ForgedCa::root("corporate root", validity(24 * 365 * 20));
    let request = RootRequest {
        generation: generation(Level::Root),
        subject: forge::subject("relay root"),
        key_type: crate::x509::KeyType::Ed25519,
        validity: validity(24 * 365),
    };
    let made = |roots| provider_with(Arc::new(root.clone()), Dialect::Full, roots);
    let refused = made(Roots::Made).create_root(&request).await.unwrap_err();
    says(&refused.to_string(), "has a key of type");
    made(Roots::Existing).create_root(&request).await.unwrap();

    // A signer is not a root, whoever says so.
    let signer = ca().1;
    let provider = provider_with(Arc::new(signer), Dialect::Full, Roots::Existing);
    let refused = provider.create_root(&request).await.unwrap_err();
    says(&refused.to_string(), "is not self-signed");
}
