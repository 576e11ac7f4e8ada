use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use relay_pki_authority::Provider;
use relay_pki_authority::conformance::{Fault, Fixture};
use relay_pki_testbed::{AwsAccount, AwsServer};
use serde_json::json;

use crate::Settings;

mod chains;
mod clients;
mod existing;
mod faults;
mod limits;
mod moto;

/// An account of the emulator. Making CAs and certificates takes a moment, as with AWS.
struct Backend(AwsAccount);

#[async_trait]
impl Fixture for Backend {
    const BACKEND: &'static str = "AWS Private CA";

    async fn start() -> Self {
        let order = json!({ "issueDelay": 0.02, "createDelay": 0.02 });
        Self(AwsServer::emulator().account(&order))
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(clients::provider(&self.0, |_: &mut Settings| {}))
    }

    async fn issued(&self) -> Option<usize> {
        Some(self.0.issued())
    }

    async fn calls(&self) -> usize {
        self.0.all_calls()
    }

    async fn inject(&self, fault: Fault) -> bool {
        match fault {
            Fault::Unreachable => self.0.fault(json!({ "effect": "before" })),
            Fault::ExpiredCredential => self.0.change(json!({ "expired": true })),
            Fault::LostReply => self.0.fault(json!({
                "operation": "IssueCertificate", "effect": "after", "times": 1,
            })),
        }
        true
    }

    async fn heal(&self) {
        self.0.heal();
    }

    fn longest_pause(&self) -> Duration {
        Duration::from_millis(30)
    }
}

relay_pki_authority::authority_conformance!(Backend);

mod as_root {
    use relay_pki_authority::conformance::RootOnly;

    use super::Backend;

    relay_pki_authority::authority_conformance!(RootOnly<Backend>);
}

mod as_signer {
    use relay_pki_authority::conformance::SignerOnly;

    use super::Backend;

    relay_pki_authority::authority_conformance!(SignerOnly<Backend>);
}
