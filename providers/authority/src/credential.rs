use async_trait::async_trait;
use zeroize::Zeroizing;

/// A token, a password or a key that a backend asks for. It is read each time it is needed: it may
/// have been replaced since.
#[async_trait]
pub trait Credential: Send + Sync {
    /// Where it is kept, for messages: `Secret vault-token, key token`.
    fn place(&self) -> String;

    /// Its bytes, without the line break that editors leave at the end of a file.
    async fn read(&self) -> Result<Zeroizing<Vec<u8>>, CredentialError>;
}

/// Why a credential cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {place}: {reason}")]
pub struct CredentialError {
    /// Where it should be.
    pub place: String,
    /// What is wrong; never what is in it.
    pub reason: String,
}
