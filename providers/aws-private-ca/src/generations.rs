//! The CAs of generations: found by their tags, made where there is none.

use std::collections::BTreeMap;
use std::sync::Mutex;

use aws_sdk_acmpca::types::CertificateAuthorityType;
use relay_pki_authority::x509::{KeyType, Subject};
use relay_pki_authority::{AuthorityError, Generation, IssuanceId, Level};

use crate::AuthorityArn;
use crate::api::Api;

/// The tag with the relay's name, which policies are written with.
pub(crate) const RELAY_TAG: &str = "relay-pki-relay";
/// The tag with level and number.
const GENERATION_TAG: &str = "relay-pki-generation";
/// The tag of a root with the ARN of the certificate that was issued for it.
pub(crate) const CERTIFICATE_TAG: &str = "relay-pki-certificate";

/// The ARNs that are known so far.
#[derive(Default)]
pub(crate) struct Generations(Mutex<BTreeMap<Generation, AuthorityArn>>);

impl Generations {
    /// The CA of a generation, if there is one.
    pub(crate) async fn find(
        &self,
        api: &Api,
        generation: &Generation,
    ) -> Result<Option<AuthorityArn>, AuthorityError> {
        if let Some(known) = self.lock().get(generation) {
            return Ok(Some(known.clone()));
        }
        let (kind, label) = (kind(generation.level), label(generation));
        let mut found = Vec::new();
        for candidate in api.list().await? {
            if candidate.r#type() != Some(&kind) {
                continue;
            }
            let arn = candidate.arn().unwrap_or_default();
            let tags = api.tags(arn).await?;
            let has = |key: &str, value: &str| {
                tags.iter()
                    .any(|tag| tag.key() == key && tag.value() == Some(value))
            };
            if has(RELAY_TAG, &generation.relay) && has(GENERATION_TAG, &label) {
                found.push(api.arn(arn)?);
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [one] => {
                self.remember(generation, one);
                Ok(Some(one.clone()))
            }
            [one, other, ..] => Err(AuthorityError::Misconfigured {
                authority: api.provider().to_owned(),
                reason: format!("{one} and {other} both have the tags of {generation}"),
                remedy: format!(
                    "take the tag {GENERATION_TAG} from the one whose certificate is not in use"
                ),
            }),
        }
    }

    /// The CA of a generation, made if there is none. Two who make it at the same time get the same:
    /// both say the same token.
    pub(crate) async fn find_or_make(
        &self,
        api: &Api,
        generation: &Generation,
        subject: &Subject,
        key_type: KeyType,
    ) -> Result<AuthorityArn, AuthorityError> {
        if let Some(found) = self.find(api, generation).await? {
            return Ok(found);
        }
        let label = label(generation);
        let name = format!("relay-pki {generation}");
        let tags = [
            ("Name", name.as_str()),
            (RELAY_TAG, generation.relay.as_str()),
            (GENERATION_TAG, label.as_str()),
        ];
        let token = IssuanceId::derive(&[b"create", generation.relay.as_bytes(), label.as_bytes()]);
        let kind = kind(generation.level);
        let made = api.create(kind, subject, key_type, &tags, &token).await?;
        self.remember(generation, &made);
        Ok(made)
    }

    /// Forgets a CA that is being deleted.
    pub(crate) fn forget(&self, generation: &Generation) {
        self.lock().remove(generation);
    }

    fn remember(&self, generation: &Generation, arn: &AuthorityArn) {
        self.lock().insert(generation.clone(), arn.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Generation, AuthorityArn>> {
        // A panic elsewhere while the lock was held cannot have left a half-made entry.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What a CA of this level is in AWS.
pub(crate) fn kind(level: Level) -> CertificateAuthorityType {
    match level {
        Level::Root => CertificateAuthorityType::Root,
        Level::Signer => CertificateAuthorityType::Subordinate,
    }
}

fn label(generation: &Generation) -> String {
    format!("{}-g{}", generation.level, generation.number)
}
