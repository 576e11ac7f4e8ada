use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    SerialNumber, SubjectPublicKeyInfo,
};

use super::fixture::{Ca, client_params, file, sound};
use super::world::{CLIENT, SERVER, World};

/// A leaf of cluster-1 that is what `tweak` makes of it is refused with `code`, and nothing else.
async fn client(code: &str, tweak: fn(&mut CertificateParams)) {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, tweak);
    world.assert(code, &["cluster-1"]).await;
}

#[tokio::test]
async fn r0701_a_weak_key() {
    let mut world = World::sound();
    let public = String::from_utf8(file("rsa-1024-public.pem")).unwrap();
    let public = SubjectPublicKeyInfo::from_pem(&public).unwrap();
    let mut params = client_params("cluster-1");
    params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    let chain = world.signer.sign(&params, &public) + &world.signer.pem;
    let key = String::from_utf8(file("rsa-1024-key.pem")).unwrap();
    world.put_leaf("cluster-1", CLIENT, &chain, &key);
    world.assert("R0701", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0702_a_key_of_another_type() {
    let mut world = World::sound();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let chain = world.signer.sign(&client_params("cluster-1"), &key) + &world.signer.pem;
    world.put_leaf("cluster-1", CLIENT, &chain, &key.serialize_pem());
    world.assert("R0702", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0705_a_serial_number_of_zero() {
    client("R0705", |params| {
        params.serial_number = Some(SerialNumber::from(vec![0]))
    })
    .await;
}

#[tokio::test]
async fn r0706_a_short_serial_number() {
    client("R0706", |params| {
        params.serial_number = Some(SerialNumber::from(4711u64))
    })
    .await;
    let mut world = World::sound();
    let serial = |params: &mut CertificateParams| {
        params.serial_number = Some(SerialNumber::from(vec![1, 2, 3, 4, 5, 6, 7, 8]));
    };
    world.issue("cluster-1", CLIENT, serial);
    assert_eq!(
        world.audit().await.findings,
        [],
        "57 bits can be 64 random ones"
    );
}

#[tokio::test]
async fn r0707_one_serial_number_twice() {
    let mut world = World::sound();
    for cluster in ["cluster-1", "cluster-2"] {
        world.issue(cluster, CLIENT, |params| {
            params.serial_number = Some(vec![5; 20].into())
        });
    }
    world.assert("R0707", &["cluster-2"]).await;
}

#[tokio::test]
async fn r0708_the_subject_of_the_issuer() {
    let mut world = World::sound();
    let name = world.signer.params.distinguished_name.clone();
    world.issue("mgmt", SERVER, |params| params.distinguished_name = name);
    world.assert("R0708", &["mgmt"]).await;
}

#[tokio::test]
async fn r0709_the_subject_of_somebody_else() {
    let mut world = World::sound();
    let name = world.root.params.distinguished_name.clone();
    world.issue("mgmt", SERVER, |params| params.distinguished_name = name);
    world.assert("R0709", &["mgmt"]).await;
    let mut world = World::sound();
    world.issue("mgmt", SERVER, |params| {
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "cluster-1");
    });
    world.assert("R0709", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0710_the_wrong_usage() {
    client("R0710", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    })
    .await;
    let mut world = World::sound();
    world.issue("mgmt", SERVER, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    world.assert("R0710", &["mgmt"]).await;
}

#[tokio::test]
async fn both_usages_are_fine() {
    let mut world = World::sound();
    world.issue("cluster-1", CLIENT, |params| {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    });
    assert_eq!(world.audit().await.findings, []);
}

#[tokio::test]
async fn r0711_no_usage() {
    client("R0711", |params| params.extended_key_usages.clear()).await;
}

#[tokio::test]
async fn r0712_a_usage_without_signatures() {
    client("R0712", |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]
    })
    .await;
}

#[tokio::test]
async fn r0713_a_signer_that_may_not_sign() {
    let mut world = World::sound();
    // Not in the signing Secret, where R0205 would say so.
    let weak = world.root.signer(|params| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "another signer");
    });
    let key = KeyPair::generate().unwrap();
    let chain = weak.sign(&client_params("cluster-3"), &key) + &weak.pem;
    world.put_leaf("cluster-3", CLIENT, &chain, &key.serialize_pem());
    world.assert("R0713", &["cluster-3"]).await;
}

#[tokio::test]
async fn r0714_a_ca_without_key_usage() {
    let world = World::of(|params| params.key_usages.clear(), sound);
    world.assert("R0714", &["mgmt"]).await;
}

#[tokio::test]
async fn r0715_a_root_with_a_path_length() {
    let constrained = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    };
    World::of(constrained, sound)
        .assert("R0715", &["mgmt"])
        .await;
}

#[tokio::test]
async fn r0716_a_signer_without_a_path_length() {
    for tweak in [
        (|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
            as super::fixture::Tweak,
        |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)),
    ] {
        World::of(sound, tweak).assert("R0716", &["mgmt"]).await;
    }
}

#[tokio::test]
async fn r0717_a_leaf_that_is_a_ca() {
    client("R0717", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
    })
    .await;
}

#[tokio::test]
async fn r0718_no_authority_key_identifier() {
    client("R0718", |params| {
        params.use_authority_key_identifier_extension = false
    })
    .await;
}

#[tokio::test]
async fn r0719_a_wrong_authority_key_identifier() {
    let mut world = World::sound();
    let mut params = world.signer.params.clone();
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![1; 20]);
    let renamed = Ca {
        key: KeyPair::from_pem(&world.signer.key.serialize_pem()).unwrap(),
        params,
        pem: world.signer.pem.clone(),
    };
    let key = KeyPair::generate().unwrap();
    let chain = renamed.sign(&client_params("cluster-1"), &key) + &world.signer.pem;
    world.put_leaf("cluster-1", CLIENT, &chain, &key.serialize_pem());
    world.assert("R0719", &["cluster-1"]).await;
}

#[tokio::test]
async fn r0720_an_unknown_critical_extension() {
    client("R0720", |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    })
    .await;
}

fn constrained(subtree: GeneralSubtree) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: vec![subtree],
    }
}

#[tokio::test]
async fn r0722_constraints_on_directory_names() {
    fn excluded(params: &mut CertificateParams) {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "nobody");
        params.name_constraints = Some(constrained(GeneralSubtree::DirectoryName(name)));
    }
    World::of(sound, excluded).assert("R0722", &["mgmt"]).await;
}

/// webpki takes no wildcard below a constraint on DNS names; names without are fine.
#[tokio::test]
async fn constraints_on_dns_names_refuse_wildcards_only() {
    fn excluded(params: &mut CertificateParams) {
        let name = GeneralSubtree::DnsName("example.com".to_owned());
        params.name_constraints = Some(constrained(name));
    }
    let mut world = World::of(sound, excluded);
    world
        .assert("R0201", &["cluster-1", "cluster-2", "cluster-3"])
        .await;
    let evidence = &world.audit().await.findings[0].evidence;
    assert!(evidence.ends_with("(webpki)"), "{evidence}");
    let sound_names = |params: &mut CertificateParams| {
        params.subject_alt_names.truncate(1);
    };
    for cluster in ["mgmt", "mgmt-2"] {
        world.issue(cluster, SERVER, sound_names);
    }
    world.assert("R0504", &["mgmt", "mgmt-2"]).await;
}
