use super::super::document;
use super::super::spec::ProviderConfig;
use super::Resolver;

impl Resolver<'_> {
    pub(super) fn self_signed(
        &mut self,
        path: &str,
        written: &document::SelfSigned,
    ) -> Option<ProviderConfig> {
        let mut read = |field: &str, key: Option<&_>| match key {
            Some(key) => self
                .credential(&format!("{path}.selfSigned.{field}"), key)
                .map(Some),
            None => Some(None),
        };
        let encryption_key = read("encryptionKey", written.encryption_key.as_ref());
        let previous = read(
            "previousEncryptionKey",
            written.previous_encryption_key.as_ref(),
        );
        if let (None, Some(previous)) = (&written.encryption_key, &written.previous_encryption_key)
        {
            self.report(
                Some(previous.at),
                format!("{path}.selfSigned has a previousEncryptionKey but no encryptionKey"),
                "name the key that CA keys are to be encrypted with; encryption is not turned off \
                 by leaving it out",
            );
            return None;
        }
        Some(ProviderConfig::SelfSigned {
            encryption_key: encryption_key?,
            previous_encryption_key: previous?,
        })
    }
}
