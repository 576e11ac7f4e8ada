//! Signers: prepared, certified, installed, opened.

use crate::conformance::forge::{self, ForgedCa};
use crate::conformance::suite::{Suite, generation, is_refusal, signer_request};
use crate::conformance::{Fixture, NotApplicable};
use crate::x509::CertificateChain;
use crate::{AuthorityError, Level, Profile};

/// The key of a generation stays, over retries and restarts.
pub async fn a_signer_is_prepared_once<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let request = signer_request(1, suite.ca_key_type());
    let csr = suite
        .prepare_signer(&suite.provider, &request)
        .await
        .unwrap();
    let again = suite
        .prepare_signer(&suite.provider, &request)
        .await
        .unwrap();
    let restarted = suite.restarted().await;
    let by_new_handle = suite.prepare_signer(&restarted, &request).await.unwrap();
    assert_eq!(again.public_key(), csr.public_key());
    assert_eq!(by_new_handle.public_key(), csr.public_key());
    Ok(())
}

/// Root here, signer there: what a move between backends comes down to.
pub async fn a_signer_works_under_the_root_of_another_provider<F: Fixture>()
-> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let root = suite.foreign_root();
    let signer = suite.signer(1, &root).await;
    suite
        .sign_and_inspect(&signer, &suite.agent("cluster-1"))
        .await;

    let restarted = suite.restarted().await;
    let generation = generation(Level::Signer, 1);
    let signer = restarted.open(&generation, root.anchors()).await.unwrap();
    suite
        .sign_and_inspect(&signer, &suite.agent("cluster-1"))
        .await;
    Ok(())
}

/// While signers change, both work, and chains of each lead to the root.
pub async fn two_signer_generations_work_side_by_side<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let root = suite.some_root(1).await;
    let first = suite.signer(1, &root).await;
    let second = suite.signer(2, &root).await;
    assert_ne!(
        first.certificate().public_key(),
        second.certificate().public_key()
    );
    for (signer, name) in [
        (&first, "cluster-1"),
        (&second, "cluster-2"),
        (&first, "cluster-3"),
    ] {
        let issuance = suite.sign_and_inspect(signer, &suite.agent(name)).await;
        assert_eq!(issuance.chain.intermediates(), signer.path());
    }
    Ok(())
}

/// A root rotation gives the signer's key a certificate under the new root; the newest counts.
pub async fn a_signer_can_be_certified_again<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let (old, new) = (suite.foreign_root(), suite.foreign_root());
    if !suite.provider.capabilities().recertifies_signers {
        a_signer_keeps_its_certificate(&suite).await;
        return Err(NotApplicable(
            "its signers keep their first certificate; a second one is refused",
        ));
    }
    let before = suite.signer(1, &old).await;
    let request = signer_request(1, suite.ca_key_type());
    let csr = suite
        .prepare_signer(&suite.provider, &request)
        .await
        .unwrap();
    assert_eq!(csr.public_key(), before.certificate().public_key());
    let chain = suite.certify_signer(&new, &request, csr).await;
    suite
        .provider
        .install_signer(&request.generation, &chain, new.anchors())
        .await
        .unwrap();
    let after = suite
        .provider
        .open(&request.generation, new.anchors())
        .await
        .unwrap();
    assert_eq!(after.certificate(), chain.leaf());
    suite
        .sign_and_inspect(&after, &suite.agent("cluster-1"))
        .await;
    Ok(())
}

/// A backend that cannot do it says so, and goes on with the certificate that it has.
async fn a_signer_keeps_its_certificate<F: Fixture>(suite: &Suite<F>) {
    let (old, new) = (suite.foreign_root(), suite.foreign_root());
    let request = signer_request(1, suite.ca_key_type());
    let csr = suite
        .prepare_signer(&suite.provider, &request)
        .await
        .unwrap();
    let first = suite.certify_signer(&old, &request, csr.clone()).await;
    let second = suite.certify_signer(&new, &request, csr).await;
    let (generation, provider) = (&request.generation, &suite.provider);
    let install = provider.install_signer(generation, &first, old.anchors());
    install.await.unwrap();
    let install = provider.install_signer(generation, &second, new.anchors());
    let error = install.await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Unsupported { .. }),
        "{error}"
    );
    let signer = provider.open(generation, old.anchors()).await.unwrap();
    assert_eq!(signer.certificate(), first.leaf());
    suite
        .sign_and_inspect(&signer, &suite.agent("cluster-1"))
        .await;
}

/// An error that says so, and not a panic, and not something to retry.
pub async fn opening_what_does_not_exist_is_an_error<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let anchors = suite.foreign_root().anchors().clone();
    for level in F::LEVELS {
        let unknown = generation(*level, 7);
        let Err(error) = suite.provider.open(&unknown, &anchors).await else {
            panic!("{unknown} was opened");
        };
        assert!(is_refusal(&error), "{error}");
    }
    if F::LEVELS.contains(&Level::Signer) {
        // A key without a certificate cannot sign either.
        let request = signer_request(1, suite.ca_key_type());
        suite
            .prepare_signer(&suite.provider, &request)
            .await
            .unwrap();
        let opened = suite.provider.open(&request.generation, &anchors).await;
        let error = opened
            .err()
            .expect("a signer without a certificate was opened");
        assert!(is_refusal(&error) || error.is_transient(), "{error}");
    }
    Ok(())
}

/// Our records say which roots are to be trusted; a CA that leads elsewhere is not opened.
pub async fn opening_under_the_wrong_roots_is_refused<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    suite.signer(1, &suite.foreign_root()).await;
    let other = suite.foreign_root();
    let opened = suite
        .provider
        .open(&generation(Level::Signer, 1), other.anchors())
        .await;
    let error = opened.err().expect("it was opened under another root");
    assert!(
        matches!(error, AuthorityError::Misissued { .. }) || is_refusal(&error),
        "{error}"
    );
    Ok(())
}

/// The certificate of another key, or of something that is no CA, is refused and changes nothing.
pub async fn a_certificate_of_somebody_else_is_not_installed<F: Fixture>()
-> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[Level::Signer]).await?;
    let stranger = ForgedCa::root("foreign root", suite.validity(24 * 365));
    let request = signer_request(1, suite.ca_key_type());
    let csr = suite
        .prepare_signer(&suite.provider, &request)
        .await
        .unwrap();

    let somebody = stranger.signer("conformance signer", suite.validity(24));
    let leaf_request = suite.leaf(csr, Profile::AgentClient, "cluster-1");
    let leaf = stranger.certify(
        &stranger.honest(&leaf_request),
        leaf_request.csr.public_key(),
    );
    for wrong in [somebody.certificate, leaf] {
        let chain = CertificateChain::new(vec![wrong]).unwrap();
        let error = suite
            .provider
            .install_signer(&request.generation, &chain, &stranger.anchors)
            .await
            .unwrap_err();
        assert!(is_refusal(&error), "{error}");
    }
    let opened = suite
        .provider
        .open(&request.generation, &stranger.anchors)
        .await;
    assert!(opened.is_err(), "a refused certificate was installed");
    the_right_one_still_is(&suite).await;
    Ok(())
}

async fn the_right_one_still_is<F: Fixture>(suite: &Suite<F>) {
    let signer = suite.signer(1, &suite.foreign_root()).await;
    let csr = suite.csr(&forge::private_key(), "cluster-1", &["cluster-1"]);
    let request = suite.leaf(csr, Profile::RelayServer, "cluster-1");
    suite.sign_and_inspect(&signer, &request).await;
}
