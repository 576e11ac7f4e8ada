use super::*;

async fn honest(ca: ForgedCa, level: Level, request: &SigningRequest) -> Issuance {
    let anchors = ca.anchors.clone();
    let lie: Lie = Box::new(|_| {});
    let authority = open(Liar { ca, lie }, level).await;
    for _ in 0..2 {
        match authority.sign(request).await.unwrap() {
            // Ours, and not the ones that the backend named.
            Outcome::Issued(issuance) => assert_eq!(issuance.anchors, anchors),
            Outcome::Pending { .. } => panic!("pending"),
        }
    }
    match authority.sign(request).await.unwrap() {
        Outcome::Issued(issuance) => issuance,
        Outcome::Pending { .. } => panic!("pending"),
    }
}

#[tokio::test]
async fn the_truth_passes() {
    let (root, signer) = ca();
    honest(signer.clone(), Level::Signer, &agent()).await;
    let mut server = agent();
    server.profile = Profile::RelayServer;
    server.names.push("*.gloo-mesh".parse().unwrap());
    honest(signer, Level::Signer, &server).await;
    honest(root.clone(), Level::Root, &signer_request()).await;
    // A root may sign leaves itself.
    honest(root, Level::Root, &agent()).await;
}

#[tokio::test]
async fn a_leaf_backdated_before_its_new_signer_passes() {
    // Vault dates back by half a minute; the signer above may be younger than that.
    let root = ForgedCa::root("root", validity(24 * 365));
    let signer = root.signer("signer", validity(24 * 30));
    let lie: Lie = Box::new(|forgery| {
        let end = now() + SignedDuration::from_hours(1);
        forge::set_validity(&mut forgery.params, ago(50), end);
    });
    let authority = open(Liar { ca: signer, lie }, Level::Signer).await;
    authority.sign(&agent()).await.unwrap();
}

#[tokio::test]
async fn another_key() {
    let problem = caught_leaf(|forgery| {
        forgery.key = forge::private_key().public_key().clone();
    })
    .await;
    says(&problem, "public key is not the one in the request");
}

#[tokio::test]
async fn another_subject() {
    let problem = caught_leaf(|forgery| {
        let name = &mut forgery.params.distinguished_name;
        name.push(rcgen::DnType::CommonName, "cluster-2");
    })
    .await;
    says(&problem, "its subject is CN=cluster-2, not CN=cluster-1");
}

#[tokio::test]
async fn names_more_and_less_and_of_other_kinds() {
    let more = caught_leaf(|forgery| {
        let extra = SanType::DnsName("cluster-2".try_into().unwrap());
        forgery.params.subject_alt_names.push(extra);
    })
    .await;
    says(
        &more,
        r#"DNS names are ["cluster-1", "cluster-2"], not ["cluster-1"]"#,
    );
    let less = caught_leaf(|forgery| forgery.params.subject_alt_names.clear()).await;
    says(&less, r#"DNS names are [], not ["cluster-1"]"#);
    let address = caught_leaf(|forgery| {
        let extra = SanType::IpAddress([192, 0, 2, 1].into());
        forgery.params.subject_alt_names.push(extra);
    })
    .await;
    says(&address, "a name nobody asked for (IP address)");
    let uri = caught_leaf(|forgery| {
        let extra = SanType::URI("spiffe://x/y".try_into().unwrap());
        forgery.params.subject_alt_names.push(extra);
    })
    .await;
    says(&uri, "a name nobody asked for (URI)");
}

#[tokio::test]
async fn a_leaf_that_is_a_ca() {
    let problem = caught_leaf(|forgery| {
        forgery.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    })
    .await;
    says(&problem, "CA:TRUE");
}

#[tokio::test]
async fn extended_key_usages() {
    let missing = caught_leaf(|forgery| forgery.params.extended_key_usages.clear()).await;
    says(&missing, "extended key usage is []");
    let extra = caught_leaf(|forgery| {
        let usages = &mut forgery.params.extended_key_usages;
        usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    })
    .await;
    says(
        &extra,
        "extended key usage is [1.3.6.1.5.5.7.3.1, 1.3.6.1.5.5.7.3.2]",
    );
    let other = caught_leaf(|forgery| {
        forgery.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    })
    .await;
    says(&other, "extended key usage is [1.3.6.1.5.5.7.3.1]");
}

#[tokio::test]
async fn key_usages() {
    let extra = caught_leaf(|forgery| {
        forgery.params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    })
    .await;
    says(&extra, "its key usage is digitalSignature, keyCertSign");
    let missing = caught_leaf(|forgery| forgery.params.key_usages.clear()).await;
    says(&missing, "its key usage is none");
}

#[tokio::test]
async fn dates() {
    let longer = caught_leaf(|forgery| {
        let end = now() + SignedDuration::from_hours(48);
        forge::set_validity(&mut forgery.params, ago(1), end);
    })
    .await;
    says(&longer, "after the 2030-03-18T17:45:40Z that was asked for");
    let end = now() + SignedDuration::from_hours(1);
    let back_dated = caught_leaf(move |forgery| {
        forge::set_validity(&mut forgery.params, ago(63), end);
    })
    .await;
    says(&back_dated, "dated back to");
    let future = caught_leaf(move |forgery| {
        forge::set_validity(&mut forgery.params, ago(-1), end);
    })
    .await;
    says(&future, "valid only from");
    let past = caught_leaf(|forgery| {
        forge::set_validity(&mut forgery.params, ago(2), ago(1));
    })
    .await;
    says(&past, "it expired at");
    let reversed = caught_leaf(|forgery| {
        forge::set_validity(&mut forgery.params, ago(1), ago(2));
    })
    .await;
    says(&reversed, "before it starts");
}

#[tokio::test]
async fn a_start_at_the_end_of_time_is_no_panic() {
    let problem = caught_leaf(|forgery| {
        let end = Timestamp::MAX;
        let start = end - SignedDuration::from_secs(60);
        forge::set_validity(&mut forgery.params, start, end);
    })
    .await;
    says(&problem, "after the");
}

#[tokio::test]
async fn serial_numbers() {
    for (bytes, words) in [
        (vec![0u8], "malformed serial number: zero"),
        (vec![1; 7], "fewer than 64 bits"),
        (vec![0x7f; 8], "fewer than 64 bits"),
        (vec![0x7f; 21], "longer than 20 octets"),
    ] {
        let problem = caught_leaf(move |forgery| {
            forgery.params.serial_number = Some(SerialNumber::from_slice(&bytes));
        })
        .await;
        says(&problem, words);
    }
}

#[tokio::test]
async fn authority_key_identifiers() {
    let missing = caught_leaf(|forgery| {
        forgery.params.use_authority_key_identifier_extension = false;
    })
    .await;
    says(&missing, "it has no authority key identifier");
    let wrong = caught_leaf(|forgery| {
        forgery.signed_by.issuer.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
    })
    .await;
    says(&wrong, "authority key identifier is not the CA's");
}

/// rcgen drops all but the last of repeated attributes, so that `DC=com, DC=example` comes out as
/// `DC=example`: only the bytes tell.
#[tokio::test]
async fn an_issuer_name_that_is_not_the_cas() {
    let problem = caught_leaf(|forgery| {
        let name = &mut forgery.signed_by.issuer.distinguished_name;
        name.push(rcgen::DnType::OrganizationalUnitName, "two");
    })
    .await;
    says(
        &problem,
        "its issuer name is CN=signer, OU=two, but the CA is named CN=signer",
    );
}

#[tokio::test]
async fn a_signature_of_another_key() {
    let problem = caught_leaf(|forgery| forgery.signed_by.key = forge::private_key()).await;
    says(&problem, "cluster-1");
    says(&problem, "InvalidSignature");
    let problem = caught(&ca().0, Level::Root, &signer_request(), |forgery| {
        forgery.signed_by.key = forge::private_key();
    })
    .await;
    says(&problem, "CN=root did not sign it");
}

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
