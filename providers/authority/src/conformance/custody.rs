//! Keys: taken over, handed out, destroyed.

use crate::conformance::forge::{ForgedCa, private_key};
use crate::conformance::suite::{Suite, generation, is_refusal};
use crate::conformance::{Fixture, NotApplicable};
use crate::x509::{Certificate, CertificateChain, PrivateKey};
use crate::{AuthorityError, Custody, Level, Outcome};

const KEEPS_NOTHING_DISABLED: NotApplicable =
    NotApplicable("its CAs can be destroyed, but not disabled, and it says so");
const REMOTE: NotApplicable = NotApplicable("keys of its CAs do not move, and it says so");

fn outside<F: Fixture>(suite: &Suite<F>) -> (ForgedCa, ForgedCa, CertificateChain) {
    let root = ForgedCa::root("outside root", suite.validity(24 * 365));
    let signer = root.signer("outside signer", suite.validity(24 * 30));
    let chain = CertificateChain::new(vec![signer.certificate.clone()]).unwrap();
    (root, signer, chain)
}

fn is_local<F: Fixture>(suite: &Suite<F>) -> bool {
    suite.provider.capabilities().custody == Custody::Local
}

fn assert_unsupported<T>(result: Result<T, AuthorityError>) {
    match result {
        Err(AuthorityError::Unsupported { .. }) => {}
        Err(other) => panic!("not \"unsupported\" but: {other}"),
        Ok(_) => panic!("not \"unsupported\" but done"),
    }
}

/// A key that is not the certificate's is refused, and nothing stays behind.
pub async fn only_a_matching_key_is_taken_over<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let (root, signer, chain) = outside(&suite);
    let generation = generation(Level::Signer, 1);
    let foreign = private_key();
    let error = suite
        .provider
        .import(&generation, &foreign, &chain)
        .await
        .unwrap_err();
    assert!(is_refusal(&error), "{error}");
    assert!(
        suite
            .provider
            .open(&generation, &root.anchors)
            .await
            .is_err()
    );
    let result = suite
        .provider
        .import(&generation, &signer.key, &chain)
        .await;
    match is_local(&suite) {
        true => result.unwrap(),
        false => {
            assert_unsupported(result);
            return Err(REMOTE);
        }
    }
    Ok(())
}

/// Signer and root from outside sign as if they had been made here.
pub async fn a_taken_over_ca_works<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Root, Level::Signer]).await?;
    let (root, signer, chain) = outside(&suite);
    let (first, second) = (generation(Level::Signer, 1), generation(Level::Root, 1));
    if !is_local(&suite) {
        assert_unsupported(suite.provider.import(&first, &signer.key, &chain).await);
        return Err(REMOTE);
    }
    suite
        .provider
        .import(&first, &signer.key, &chain)
        .await
        .unwrap();
    let restarted = suite.restarted().await;
    let opened = restarted.open(&first, &root.anchors).await.unwrap();
    suite
        .sign_and_inspect(&opened, &suite.agent("cluster-1"))
        .await;

    let chain = CertificateChain::new(vec![root.certificate.clone()]).unwrap();
    suite
        .provider
        .import(&second, &root.key, &chain)
        .await
        .unwrap();
    let opened = suite.provider.open(&second, &root.anchors).await.unwrap();
    assert_eq!(opened.certificate(), &root.certificate);
    let below = suite.signer(2, &opened).await;
    suite
        .sign_and_inspect(&below, &suite.agent("cluster-2"))
        .await;
    Ok(())
}

/// Taking over the same again is success; another CA for the same generation is not.
pub async fn a_taken_over_ca_is_not_replaced<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let (root, signer, chain) = outside(&suite);
    let generation = generation(Level::Signer, 1);
    if !is_local(&suite) {
        assert_unsupported(
            suite
                .provider
                .import(&generation, &signer.key, &chain)
                .await,
        );
        return Err(REMOTE);
    }
    for _ in 0..2 {
        suite
            .provider
            .import(&generation, &signer.key, &chain)
            .await
            .unwrap();
    }
    let other = root.signer("outside signer", suite.validity(24));
    let other_chain = CertificateChain::new(vec![other.certificate]).unwrap();
    let error = suite
        .provider
        .import(&generation, &other.key, &other_chain)
        .await
        .unwrap_err();
    assert!(is_refusal(&error), "{error}");
    let opened = suite
        .provider
        .open(&generation, &root.anchors)
        .await
        .unwrap();
    assert_eq!(opened.certificate(), &signer.certificate);
    Ok(())
}

/// `DC=com, DC=example`: certificates issued by such a CA would name another issuer.
pub async fn a_ca_with_a_repeated_attribute_is_not_taken_over<F: Fixture>()
-> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Root]).await?;
    let certificate = Certificate::from_pem(include_bytes!("fixtures/repeated.pem")).unwrap();
    let key = PrivateKey::from_pem(include_bytes!("fixtures/repeated.key.pem")).unwrap();
    let chain = CertificateChain::new(vec![certificate]).unwrap();
    let generation = generation(Level::Root, 1);
    let error = suite
        .provider
        .import(&generation, &key, &chain)
        .await
        .unwrap_err();
    assert!(is_refusal(&error), "{error}");
    assert!(error.to_string().contains("DC more than once"), "{error}");
    Ok(())
}

/// What a relay server that signs by itself is given must be the signer's key.
pub async fn the_exported_key_is_the_cas<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let signer = suite.signer(1, &suite.foreign_root()).await;
    let result = suite
        .provider
        .export_key(&generation(Level::Signer, 1))
        .await;
    match is_local(&suite) {
        true => {
            let key = result.unwrap();
            assert_eq!(key.public_key(), signer.certificate().public_key());
            let missing = suite
                .provider
                .export_key(&generation(Level::Signer, 9))
                .await;
            assert!(is_refusal(&missing.unwrap_err()));
        }
        false => {
            assert_unsupported(result);
            return Err(REMOTE);
        }
    }
    Ok(())
}

/// A disabled CA signs no more, however often it is disabled and whoever had it open; other generations are
/// left alone, and it can still be destroyed.
pub async fn a_disabled_ca_signs_no_more<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let root = suite.foreign_root();
    let disabled = suite.signer(1, &root).await;
    let kept = suite.signer(2, &root).await;
    let generation_1 = generation(Level::Signer, 1);
    if !suite.provider.capabilities().disables {
        assert_unsupported(suite.provider.disable(&generation_1).await);
        suite
            .sign_and_inspect(&disabled, &suite.agent("cluster-1"))
            .await;
        return Err(KEEPS_NOTHING_DISABLED);
    }
    for _ in 0..2 {
        suite.provider.disable(&generation_1).await.unwrap();
    }
    let absent = generation(Level::Signer, 9);
    suite.provider.disable(&absent).await.unwrap();
    for provider in [suite.provider.clone(), suite.restarted().await] {
        let opened = provider.open(&generation_1, root.anchors()).await;
        let error = opened.err().expect("a disabled CA was opened");
        assert!(is_refusal(&error), "{error}");
    }
    let signed = disabled.sign(&suite.agent("cluster-1")).await;
    assert!(!matches!(signed, Ok(Outcome::Issued(_))), "{signed:?}");
    suite
        .sign_and_inspect(&kept, &suite.agent("cluster-2"))
        .await;
    suite.provider.destroy(&generation_1).await.unwrap();
    Ok(())
}

/// Destroyed is destroyed, however often; other generations are left alone.
pub async fn destroying_twice_is_success<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let root = suite.foreign_root();
    suite.signer(1, &root).await;
    let kept = suite.signer(2, &root).await;
    let generation_1 = generation(Level::Signer, 1);
    for _ in 0..2 {
        suite.provider.destroy(&generation_1).await.unwrap();
    }
    suite
        .provider
        .destroy(&generation(Level::Signer, 9))
        .await
        .unwrap();
    for provider in [suite.provider.clone(), suite.restarted().await] {
        let opened = provider.open(&generation_1, root.anchors()).await;
        let error = opened.err().expect("a destroyed CA was opened");
        assert!(is_refusal(&error), "{error}");
    }
    suite
        .sign_and_inspect(&kept, &suite.agent("cluster-1"))
        .await;
    Ok(())
}
