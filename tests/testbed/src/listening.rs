//! What faults can be put in front of.

use std::sync::Arc;

use crate::authority::Authority;
use crate::server::ApiServer;
use crate::vault::Vault;

/// A TLS port of a component, and the CA of its certificate.
pub struct Listening {
    pub(crate) port: u16,
    pub(crate) authority: Arc<Authority>,
}

impl Listening {
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

impl From<&ApiServer> for Listening {
    fn from(server: &ApiServer) -> Self {
        Self {
            port: server.port(),
            authority: Arc::clone(server.authority()),
        }
    }
}

impl From<&Vault> for Listening {
    fn from(server: &Vault) -> Self {
        Self {
            port: server.port(),
            authority: Arc::clone(server.authority()),
        }
    }
}
