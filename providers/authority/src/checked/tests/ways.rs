//! Lies about what is above the certificate, and about CAs.

use super::lies::without_key_identifier;
use super::*;

#[tokio::test]
async fn a_chain_of_another_ca() {
    let problem = caught_leaf(|forgery| {
        forgery.signed_by = ca().1;
        forgery.path = forgery.signed_by.path.clone();
    })
    .await;
    says(&problem, "which is not the CA that was asked");
}

#[tokio::test]
async fn a_chain_without_the_signer() {
    let problem = caught_leaf(|forgery| forgery.path.clear()).await;
    says(
        &problem,
        "its chain lacks the certificate of the CA CN=signer",
    );
}

#[tokio::test]
async fn a_chain_with_a_stranger_in_it() {
    let problem = caught_leaf(|forgery| {
        forgery.path.push(ca().0.certificate);
    })
    .await;
    says(&problem, "issued none of the certificates before it");
}

/// The same signer key, certified by somebody else's root of the same name.
#[tokio::test]
async fn the_right_chain_to_another_root() {
    let (_, signer) = ca();
    let (other_root, _) = ca();
    let (params, key) = (signer.issuer.clone(), signer.key.public_key().clone());
    let elsewhere = other_root.certify(&params, &key);
    let problem = caught(&signer, Level::Signer, &agent(), move |forgery| {
        forgery.path = vec![elsewhere.clone()];
    })
    .await;
    says(&problem, "neither in the chain nor in the bundle");
}

/// Names and key identifiers fit; only the signature does not.
#[tokio::test]
async fn a_signer_that_the_root_did_not_sign() {
    let (root, signer) = ca();
    let mut impostor = root.clone();
    impostor.key = forge::private_key();
    let forged = impostor.certify(&signer.issuer, signer.key.public_key());
    let problem = caught(&signer, Level::Signer, &agent(), move |forgery| {
        forgery.path = vec![forged.clone()];
    })
    .await;
    says(
        &problem,
        "CN=signer names CN=root as its issuer, but that key did not sign it",
    );
}

#[tokio::test]
async fn an_unknown_critical_extension() {
    let problem = caught_leaf(|forgery| {
        let oid = [1, 3, 6, 1, 4, 1, 99999, 1];
        let mut extension = CustomExtension::from_oid_content(&oid, vec![0x05, 0x00]);
        extension.set_criticality(true);
        forgery.params.custom_extensions.push(extension);
    })
    .await;
    says(&problem, "unknown critical extension 1.3.6.1.4.1.99999.1");
}

#[tokio::test]
async fn a_leaf_that_outlives_the_signer_or_the_root() {
    let mut request = agent();
    request.validity = validity(24 * 40);
    let (_, signer) = ca();
    let brief = |forgery: &mut Forgery| {
        let end = now() + SignedDuration::from_hours(24 * 35);
        forge::set_validity(&mut forgery.params, ago(1), end);
    };
    let lie: Lie = Box::new(brief);
    let authority = open(Liar { ca: signer, lie }, Level::Signer).await;
    let error = authority.sign(&request).await.unwrap_err().to_string();
    says(
        &error,
        "it is valid longer than its issuers are: CN=signer is valid from",
    );

    // The signer outlives its root, the leaf lies between.
    let root = ForgedCa::root("root", validity(24 * 30));
    let signer = root.signer("signer", validity(24 * 60));
    let lie: Lie = Box::new(brief);
    let authority = open(Liar { ca: signer, lie }, Level::Signer).await;
    let error = authority.sign(&request).await.unwrap_err().to_string();
    says(
        &error,
        "valid longer than its issuers are: the root CN=root is valid from",
    );
}

/// The way up is known from a leaf that ends in time; this one does not.
#[tokio::test]
async fn a_known_way_up_is_looked_at_again_for_a_later_end() {
    let root = ForgedCa::root("root", validity(24 * 30));
    let signer = root.signer("signer", validity(24 * 60));
    let lie: Lie = Box::new(|_| {});
    let authority = open(Liar { ca: signer, lie }, Level::Signer).await;
    authority.sign(&agent()).await.unwrap();
    let mut request = agent();
    request.validity = validity(24 * 35);
    let error = authority.sign(&request).await.unwrap_err().to_string();
    says(&error, "valid longer than its issuers are");
    // Nor does a known way up outlive its root.
    let mut request = agent();
    request.now = now() + SignedDuration::from_hours(24 * 31);
    request.validity = forge::hours(request.now, 1);
    let error = authority.sign(&request).await.unwrap_err().to_string();
    says(&error, "the root CN=root is valid from");
    // Nor is it known for the time before the signer.
    let mut request = agent();
    request.now = ago(60);
    request.validity = forge::hours(request.now, 2);
    let error = authority.sign(&request).await.unwrap_err().to_string();
    says(&error, "CN=signer is valid from");
}

/// A signer for servers only: that servers lead up says nothing about agents.
#[tokio::test]
async fn a_known_way_up_is_known_for_one_profile() {
    let root = ForgedCa::root("root", validity(24 * 30));
    let signer = root.signer_with("signer", validity(24 * 30), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let lie: Lie = Box::new(|_| {});
    let authority = open(Liar { ca: signer, lie }, Level::Signer).await;
    let mut server = agent();
    server.profile = Profile::RelayServer;
    authority.sign(&server).await.unwrap();
    let error = authority.sign(&agent()).await.unwrap_err().to_string();
    says(&error, "RequiredEkuNotFound");
}

#[tokio::test]
async fn a_signer_without_key_identifier() {
    let problem = caught(&ca().0, Level::Root, &signer_request(), |forgery| {
        let constraints = vec![0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00];
        without_key_identifier(&mut forgery.params, constraints);
    })
    .await;
    says(&problem, "it has no subject key identifier");
}

#[tokio::test]
async fn signers_that_are_not_what_a_signer_is() {
    let (root, _) = ca();
    let request = signer_request();
    let unlimited = caught(&root, Level::Root, &request, |forgery| {
        forgery.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    })
    .await;
    says(&unlimited, "its path length is unlimited, not 0");
    let no_ca = caught(&root, Level::Root, &request, |forgery| {
        forgery.params.is_ca = IsCa::ExplicitNoCa;
    })
    .await;
    says(&no_ca, "it is not a CA's");
    let usage = caught(&root, Level::Root, &request, |forgery| {
        forgery.params.key_usages = vec![KeyUsagePurpose::CrlSign];
    })
    .await;
    says(&usage, "its key usage is cRLSign");
    let limited = caught(&root, Level::Root, &request, |forgery| {
        forgery.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    })
    .await;
    says(&limited, "extended key usage");
}

#[tokio::test]
async fn a_signer_that_issues_a_signer() {
    let (_, signer) = ca();
    let lie: Lie = Box::new(|_| {});
    let authority = open(Liar { ca: signer, lie }, Level::Signer).await;
    let error = authority.sign(&signer_request()).await.unwrap_err();
    says(
        &error.to_string(),
        "may not issue CA certificates (path length 0)",
    );
}

/// Constraints above the signer bind every leaf, not only the first one.
#[tokio::test]
async fn name_constraints_of_the_root_bind_every_leaf() {
    let root = ForgedCa::root_with("root", forge::hours(ago(24 * 60), 24 * 365), |params| {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("cluster-1".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let signer = root.signer("signer", forge::hours(ago(24 * 60), 24 * 30));
    let lie: Lie = Box::new(|_| {});
    let authority = open(Liar { ca: signer, lie }, Level::Signer).await;
    authority.sign(&agent()).await.unwrap();
    let csr = forge::csr(&forge::private_key(), "cluster-2");
    let request = forge::leaf_request(csr, Profile::AgentClient, "cluster-2", validity(24), now());
    let error = authority.sign(&request).await.unwrap_err();
    says(&error.to_string(), "NameConstraintViolation");
}

#[tokio::test]
async fn a_leaf_for_somebody_who_asks_to_be_a_ca() {
    let lie: Lie = Box::new(|_| panic!("the backend was asked"));
    let authority = open(Liar { ca: ca().1, lie }, Level::Signer).await;
    let mut request = agent();
    request.csr = forge::csr_with(&forge::private_key(), "cluster-1", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let error = authority.sign(&request).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
    says(&error.to_string(), "asks for a CA certificate");
}
