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

/// rcgen writes the identifier with its own basicConstraints; these are written by hand.
pub(super) fn without_key_identifier(params: &mut CertificateParams, constraints: Vec<u8>) {
    params.is_ca = IsCa::NoCa;
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 19], constraints);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}
