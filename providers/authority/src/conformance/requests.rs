//! What comes from outside: PKCS#10 requests made by the OpenSSL command line.

use crate::conformance::suite::Suite;
use crate::conformance::{Fixture, NotApplicable};
use crate::x509::{KeyType, VerifiedCsr};
use crate::{AuthorityError, Profile};

/// A P-256 key that signs with SHA-384, and the other way round: the certificate's key has to be
/// the request's, byte by byte.
pub async fn the_key_is_read_from_the_key_not_from_the_signature<F: Fixture>()
-> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let requests: [(&[u8], KeyType); 2] = [
        (
            include_bytes!("fixtures/p256-sha384.csr.pem"),
            KeyType::EcdsaP256,
        ),
        (
            include_bytes!("fixtures/p384-sha256.csr.pem"),
            KeyType::EcdsaP384,
        ),
    ];
    let accepted = &suite.provider.capabilities().subject_key_types;
    for (pem, key_type) in requests {
        if !accepted.contains(&key_type) {
            continue;
        }
        let csr = VerifiedCsr::from_pem(pem).unwrap();
        assert_eq!(csr.public_key().key_type(), Ok(key_type));
        let request = suite.leaf(csr, Profile::AgentClient, "cluster-1");
        let issuance = suite.sign_and_inspect(&issuer, &request).await;
        let key = issuance.chain.leaf().public_key().clone();
        assert_eq!(key.spki_der(), request.csr.public_key().spki_der());
    }
    Ok(())
}

/// Another subject, other names, other usages: all of it is policy's. A backend that would grant them
/// is not asked.
pub async fn wishes_are_never_granted<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let pem = include_bytes!("fixtures/wishes.csr.pem");
    let csr = VerifiedCsr::from_pem(pem).unwrap();
    assert_eq!(csr.requested_common_name(), Some("admin"));
    assert_eq!(csr.requested_dns_names(), ["evil.example"]);
    let request = suite.leaf(csr, Profile::AgentClient, "cluster-1");
    if suite.reads_csrs() {
        let before = suite.fixture.issued().await;
        let error = suite.sign(&issuer, &request).await.unwrap_err();
        assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
        assert!(error.to_string().contains("but policy says"), "{error}");
        assert_eq!(suite.fixture.issued().await, before);
        return Ok(());
    }
    let issuance = suite.sign_and_inspect(&issuer, &request).await;
    let subject = issuance.chain.leaf().subject();
    assert!(!subject.contains("system:masters"), "{subject}");
    assert!(!subject.contains("admin"), "{subject}");
    Ok(())
}

/// Refused before any backend sees it.
pub async fn a_request_to_be_a_ca_gets_no_leaf<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let issuer = suite.some_issuer().await;
    let before = suite.fixture.issued().await;
    let csr = VerifiedCsr::from_pem(include_bytes!("fixtures/ca-true.csr.pem")).unwrap();
    let request = suite.leaf(csr, Profile::AgentClient, "cluster-1");
    let error = suite.sign(&issuer, &request).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{error}");
    assert!(error.to_string().contains("a CA certificate"), "{error}");
    assert_eq!(suite.fixture.issued().await, before);
    Ok(())
}
