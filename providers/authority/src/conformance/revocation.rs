//! Certificates that are revoked: what a backend announces, it does, and no more.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::conformance::forge::ForgedCa;
use crate::conformance::suite::Suite;
use crate::conformance::{Fixture, NotApplicable};
use crate::x509::{Certificate, RevocationList};
use crate::{
    Authority, AuthorityError, IssuanceId, RevocationListRequest, RevocationRequest,
    RevokedCertificate,
};

fn request_for(certificate: &Certificate) -> RevocationRequest {
    RevocationRequest {
        serial: certificate.serial().unwrap(),
        certificate: Some(certificate.clone()),
    }
}

async fn leaf<F: Fixture>(
    suite: &Suite<F>,
    issuer: &Arc<dyn Authority>,
    need: &[u8],
) -> Certificate {
    let mut request = suite.agent("cluster-1");
    request.id = IssuanceId::derive(&[b"revocation", need]);
    let issuance = suite.sign(issuer, &request).await.unwrap();
    issuance.chain.leaf().clone()
}

async fn list<F: Fixture>(
    suite: &Suite<F>,
    issuer: &Arc<dyn Authority>,
    revoked: &[&Certificate],
) -> Result<RevocationList, AuthorityError> {
    let revoked = revoked.iter().map(|certificate| RevokedCertificate {
        serial: certificate.serial().unwrap(),
        at: suite.now() - SignedDuration::from_mins(1),
    });
    let request = RevocationListRequest {
        number: u64::try_from(suite.now().as_second()).unwrap(),
        validity: suite.validity(24),
        revoked: revoked.collect(),
    };
    issuer.revocation_list(&request).await
}

/// As often as it is asked: a reply may have been lost, or a certificate been revoked by hand.
pub async fn revoking_twice_is_success<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let revocation = suite.provider.capabilities().revocation;
    let issuer = suite.some_issuer().await;
    let leaf = leaf(&suite, &issuer, b"revoked").await;
    for _ in 0..2 {
        match issuer.revoke(&request_for(&leaf)).await {
            Ok(()) => assert!(revocation.keeps(), "it can do more than it says"),
            Err(AuthorityError::Unsupported { .. }) if !revocation.keeps() => {
                return Err(NotApplicable("it keeps no account of what is revoked"));
            }
            Err(error) => panic!("{error}"),
        }
    }
    Ok(())
}

/// Of another CA, or under another number: it must not come to the backend.
pub async fn a_certificate_of_another_ca_is_not_revoked<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    if !suite.provider.capabilities().revocation.keeps() {
        return Err(NotApplicable("it keeps no account of what is revoked"));
    }
    let issuer = suite.some_issuer().await;
    let own = leaf(&suite, &issuer, b"own").await;
    // A namesake of the CA.
    let stranger = ForgedCa::root("conformance signer", suite.validity(24));
    let validity = suite.validity(1);
    let foreign = stranger.signer("cluster-1", validity).certificate;
    let mut mistaken = request_for(&own);
    mistaken.serial = foreign.serial().unwrap();
    for request in [request_for(&foreign), mistaken] {
        let revoked = issuer.revoke(&request).await;
        assert!(
            matches!(revoked, Err(AuthorityError::Rejected { .. })),
            "{revoked:?}"
        );
    }
    Ok(())
}

/// What was revoked, and nothing else, under the CA's signature.
pub async fn the_list_has_what_is_revoked<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let revocation = suite.provider.capabilities().revocation;
    let issuer = suite.some_issuer().await;
    let first = leaf(&suite, &issuer, b"first").await;
    let second = leaf(&suite, &issuer, b"second").await;
    let kept = leaf(&suite, &issuer, b"kept").await;
    if !revocation.lists() {
        let refused = list(&suite, &issuer, &[]).await;
        assert!(
            matches!(refused, Err(AuthorityError::Unsupported { .. })),
            "{refused:?}"
        );
        return Err(NotApplicable("it hands out no list of what is revoked"));
    }
    let mut revoked: Vec<&Certificate> = Vec::new();
    for certificate in [&first, &second] {
        if revocation.keeps() {
            issuer.revoke(&request_for(certificate)).await.unwrap();
        }
        revoked.push(certificate);
        revoked.sort_by_key(|certificate| certificate.serial().unwrap());
        let list = list(&suite, &issuer, &revoked).await.unwrap();
        for certificate in [&first, &second, &kept] {
            let wanted = revoked.contains(&certificate);
            let serial = certificate.serial().unwrap();
            assert_eq!(list.serials().contains(&serial), wanted, "{serial}");
        }
        let again = RevocationList::from_der(list.der(), issuer.certificate());
        assert_eq!(again.unwrap(), list);
        assert!(list.this_update() <= suite.now() && list.next_update() > suite.now());
    }
    Ok(())
}
