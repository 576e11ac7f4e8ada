//! What a person is told.

use super::super::decision::Trouble;
use super::Worker;

impl Worker {
    /// What is wrong, and what to do.
    pub(super) fn explain(&self, trouble: &Trouble) -> String {
        let cluster = &self.policy.cluster;
        let token = self.tokens.place();
        let fingerprint = format!(
            "start the agent with --trust-fingerprint sha256:… (in the chart agent.trustFingerprints), \
             which `relay-pki cluster register {cluster} --delivery enroll` shows as root, or put the \
             root into ca.crt in {}",
            self.store.place()
        );
        match trouble {
            Trouble::Obstacle(obstacle) => obstacle.clone(),
            Trouble::NoTrust => format!("there is nothing to trust the server by; {fingerprint}"),
            Trouble::Distrusted(reason) => {
                let again = reason.as_ref().map(|reason| {
                    format!(
                        "; {reason}, so run `relay-pki token create {cluster}`, too, and put what it prints \
                         into {token}"
                    )
                });
                format!(
                    "the roots that are held do not vouch for the server; if the root was rotated \
                     while this agent was away, {fingerprint}{}",
                    again.unwrap_or_default()
                )
            }
            Trouble::NoToken(reason) => format!(
                "{reason}, and there is no token; run `relay-pki token create {cluster}` and put what it \
                 prints into {token}"
            ),
            Trouble::TokenRefused(reason) => format!(
                "{reason}, and the server does not take the token; run `relay-pki token create {cluster}` \
                 and put what it prints into {token}"
            ),
        }
    }
}
