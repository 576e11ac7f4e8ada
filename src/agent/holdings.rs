//! What an agent holds.

use relay_pki_authority::x509::TrustBundle;

use crate::relay::TlsContent;

/// What lies in a store, read afresh.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// The roots that the relay's components trust. None if there are none, or none that can be read.
    pub trust: Option<TrustBundle>,
    /// The certificate with its key, or why what lies there is none.
    pub identity: Option<Result<TlsContent, String>>,
    /// Why nothing can be written: something lies there that is not ours.
    pub obstacle: Option<String>,
}

impl Holdings {
    /// The certificate with its key, if it can be used.
    pub fn usable(&self) -> Option<&TlsContent> {
        self.identity.as_ref()?.as_ref().ok()
    }

    /// The roots to go by: those beside the certificate where the others are gone.
    pub fn anchors(&self) -> Option<&TrustBundle> {
        let beside = || self.usable().map(|identity| &identity.bundle);
        self.trust.as_ref().or_else(beside)
    }

    /// Whether everything that is held says the same about trust.
    pub fn agrees(&self) -> bool {
        let beside = self.usable().map(|identity| identity.bundle.digest());
        match &self.trust {
            Some(trust) => beside.is_none_or(|beside| beside == trust.digest()),
            None => beside.is_none(),
        }
    }
}
