//! A CA that somebody else made: it is used, and never certified, disabled or deleted.

use aws_sdk_acmpca::types::CertificateAuthorityStatus;
use relay_pki_authority::AuthorityError;
use relay_pki_authority::Generation;

use crate::AuthorityArn;
use crate::api::Api;

/// The refusal to make or to certify a signer where one was given.
pub(crate) fn not_certified_here(api: &Api, arn: &AuthorityArn) -> AuthorityError {
    AuthorityError::Misconfigured {
        authority: api.provider().to_owned(),
        reason: format!(
            "the CA {arn} was not made by relay-pki, which does not certify it anew, and it cannot be \
             used as it is: its certificate has to lead to the relay's root"
        ),
        remedy:
            "take the CA that certified it as the root, or leave certificateAuthority out so that \
                 relay-pki makes a signer"
                .to_owned(),
    }
}

/// Retiring such a CA is its owner's business; here it is only seen that it happened.
pub(crate) async fn is_retired(
    api: &Api,
    arn: &AuthorityArn,
    generation: &Generation,
) -> Result<(), AuthorityError> {
    let found = match api.describe(arn).await {
        Ok(found) => found,
        Err(failed) if failed.is("ResourceNotFoundException") => return Ok(()),
        Err(failed) => return Err(failed.into()),
    };
    match found.status() {
        Some(CertificateAuthorityStatus::Disabled | CertificateAuthorityStatus::Deleted) => Ok(()),
        _ => Err(AuthorityError::Misconfigured {
            authority: format!("{}: {generation}", api.provider()),
            reason: format!("{arn} was not made by relay-pki, which does not destroy it"),
            remedy: format!(
                "disable it yourself: aws acm-pca update-certificate-authority \
                 --certificate-authority-arn {arn} --status DISABLED"
            ),
        }),
    }
}
