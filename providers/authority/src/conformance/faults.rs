//! Retries, lost answers, dropped calls: one need, one certificate.

use std::time::Duration;

use crate::conformance::suite::Suite;
use crate::conformance::{Fault, Fixture, NotApplicable};
use crate::{AuthorityError, Metering};

/// What can be said of the backend was looked at all the same.
const FREE: NotApplicable =
    NotApplicable("it does not count: asked again it answers, with another certificate");
const CANNOT_FAIL: NotApplicable = NotApplicable("it has no server that could fail in this way");

/// Asked twice with one id, a backend that counts issues once.
pub async fn one_need_costs_one_certificate<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let request = suite.agent("cluster-1");
    let before = suite.fixture.issued().await;
    let first = suite.sign_and_inspect(&issuer, &request).await;
    let second = suite.sign_and_inspect(&issuer, &request).await;
    if suite.provider.capabilities().metering == Metering::Free {
        return Err(FREE);
    }
    assert_eq!(first.chain.leaf(), second.chain.leaf());
    if let (Some(before), Some(after)) = (before, suite.fixture.issued().await) {
        assert_eq!(after, before + 1);
    }
    Ok(())
}

/// The caller goes away in the middle of a call (a time limit, a lost lease) and asks again.
pub async fn a_dropped_call_can_be_made_again<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let request = suite.agent("cluster-1");
    let before = suite.fixture.issued().await;
    for limit in [0, 1, 2, 5, 10] {
        let limit = Duration::from_millis(limit);
        let _ = tokio::time::timeout(limit, issuer.sign(&request)).await;
    }
    suite.sign_and_inspect(&issuer, &request).await;
    let counted = suite.provider.capabilities().metering == Metering::Counted;
    if let (true, Some(before), Some(after)) = (counted, before, suite.fixture.issued().await) {
        assert_eq!(after, before + 1);
    }
    Ok(())
}

/// "It may work later", and then it does.
pub async fn an_unreachable_backend_is_unavailable<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    if !suite.fixture.inject(Fault::Unreachable).await {
        return Err(CANNOT_FAIL);
    }
    let request = suite.agent("cluster-1");
    let error = suite.sign(&issuer, &request).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let error = suite.provider.check().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    suite.fixture.heal().await;
    suite.provider.check().await.unwrap();
    suite.sign_and_inspect(&issuer, &request).await;
    Ok(())
}

/// Somebody has to act; retrying does not help and may lock the account.
pub async fn an_expired_credential_is_not_retried<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    if !suite.fixture.inject(Fault::ExpiredCredential).await {
        return Err(CANNOT_FAIL);
    }
    let error = suite
        .sign(&issuer, &suite.agent("cluster-1"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    suite.fixture.heal().await;
    suite
        .sign_and_inspect(&issuer, &suite.agent("cluster-2"))
        .await;
    Ok(())
}

/// The certificate was made but its answer got lost: asked again, a backend that counts finds it.
pub async fn a_lost_reply_costs_nothing<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let before = suite.fixture.issued().await;
    if !suite.fixture.inject(Fault::LostReply).await {
        return Err(CANNOT_FAIL);
    }
    let request = suite.agent("cluster-1");
    // A provider may ask again by itself; then the first answer is already the right one.
    if let Err(error) = suite.sign(&issuer, &request).await {
        assert!(error.is_transient(), "{error}");
    }
    suite.fixture.heal().await;
    suite.sign_and_inspect(&issuer, &request).await;
    if suite.provider.capabilities().metering == Metering::Free {
        return Err(FREE);
    }
    if let (Some(before), Some(after)) = (before, suite.fixture.issued().await) {
        assert_eq!(after, before + 1);
    }
    Ok(())
}
