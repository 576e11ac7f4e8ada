use async_trait::async_trait;
use kube::Client;

/// The way to the API server of the cluster that cert-manager runs in.
#[async_trait]
pub trait Access: Send + Sync {
    /// A client. Its requests need no time limit and no retries of their own.
    async fn client(&self) -> Result<Client, AccessError>;

    /// The credentials were refused: the next client reads them anew.
    fn forget(&self);
}

/// Why there is no way to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessError {
    /// It may be there later.
    Unavailable(String),
    /// Somebody has to act.
    Unusable(String),
}
