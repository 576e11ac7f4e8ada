use async_trait::async_trait;

use crate::x509::{Certificate, RevocationList, TrustBundle};
use crate::{
    AuthorityError, Outcome, RevocationListRequest, RevocationRequest, SigningRequest, Ticket,
};

/// One CA, opened, that can be asked for signatures.
#[async_trait]
pub trait Authority: Send + Sync {
    /// `provider/level/number`, for messages and records.
    fn id(&self) -> &str;

    /// The CA's own certificate.
    fn certificate(&self) -> &Certificate;

    /// What a leaf's chain needs after the leaf: this CA and whatever is above it, without the
    /// root. Empty for a root.
    fn path(&self) -> &[Certificate];

    /// Roots in which chains of this CA end.
    fn anchors(&self) -> &TrustBundle;

    /// Signs. Idempotent in `request.id` where the backend counts or costs.
    async fn sign(&self, request: &SigningRequest) -> Result<Outcome, AuthorityError>;

    /// Goes on with an issuance that was pending. `request` is the one that `ticket` answered.
    async fn collect(
        &self,
        request: &SigningRequest,
        ticket: &Ticket,
    ) -> Result<Outcome, AuthorityError> {
        let _ = (request, ticket);
        Err(AuthorityError::Unsupported {
            authority: self.id().to_owned(),
            what: "pending issuances".to_owned(),
        })
    }

    /// Revokes a certificate of this CA in the backend. Revoked before is success. Only where the backend
    /// [keeps](crate::Revocation::Keeps) what is revoked.
    async fn revoke(&self, request: &RevocationRequest) -> Result<(), AuthorityError> {
        let _ = request;
        Err(AuthorityError::Unsupported {
            authority: self.id().to_owned(),
            what: "revoking certificates".to_owned(),
        })
    }

    /// The list of the certificates of this CA that are revoked. A CA that
    /// [signs](crate::Revocation::Signs) what we say is revoked makes it of the request; a backend that
    /// [keeps](crate::Revocation::Keeps) it hands out its own, where it does.
    async fn revocation_list(
        &self,
        request: &RevocationListRequest,
    ) -> Result<RevocationList, AuthorityError> {
        let _ = request;
        Err(AuthorityError::Unsupported {
            authority: self.id().to_owned(),
            what: "certificate revocation lists".to_owned(),
        })
    }
}
