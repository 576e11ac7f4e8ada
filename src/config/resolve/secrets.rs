use serde_saphyr::Location as Place;

use super::super::document;
use super::super::names::{self, SecretNames};
use super::super::spec::Tokens;
use super::Resolver;

impl Resolver<'_> {
    pub(super) fn secrets(
        &mut self,
        written: Option<&document::Secrets>,
        tokens: Tokens,
    ) -> Option<SecretNames> {
        let mut resolved = SecretNames::default();
        let empty = document::Secrets::default();
        let written = written.unwrap_or(&empty);
        let mut complete = true;
        let mut places = Vec::new();
        for (field, text, name) in [
            ("root", &written.root, &mut resolved.root),
            ("signing", &written.signing, &mut resolved.signing),
            ("server", &written.server, &mut resolved.server),
            (
                "identityToken",
                &written.identity_token,
                &mut resolved.identity_token,
            ),
            (
                "forwardingToken",
                &written.forwarding_token,
                &mut resolved.forwarding_token,
            ),
        ] {
            if let Some(text) = text {
                match self.value(format_args!("spec.secrets.{field}"), text, names::secret) {
                    Some(read) => *name = read,
                    None => complete = false,
                }
            }
            places.push((field, name.clone(), text.as_ref().map(|text| text.at)));
        }
        if let (Some(text), false) = (&written.forwarding_token, tokens.forwarding) {
            self.report(
                Some(text.at),
                "spec.secrets.forwardingToken has no effect: spec.tokens has no forwarding token",
                "remove it, or write forwarding: {} in spec.tokens",
            );
        }
        if let Some(text) = &written.client {
            let read = names::client_secret_template;
            match self.value("spec.secrets.client", text, read) {
                Some(read) => resolved.client = read,
                None => complete = false,
            }
        }
        for (field, name, at) in &places {
            self.reserved(*at, &format!("spec.secrets.{field}"), name);
        }
        let client = written.client.as_ref().map(|text| text.at);
        self.reserved(client, "spec.secrets.client", &resolved.client);
        // All of these are in every management cluster.
        if !tokens.forwarding {
            places.pop();
        }
        for (index, (field, name, at)) in places.iter().enumerate() {
            let earlier = places
                .iter()
                .take(index)
                .find(|(_, other, _)| other == name);
            if let Some((other, _, other_at)) = earlier.filter(|_| complete) {
                self.same_secret(at.or(*other_at), field, other, name);
            }
        }
        complete.then_some(resolved)
    }

    /// Names that would be those of our own records and CA keys.
    pub(super) fn reserved(&mut self, at: Option<Place>, field: &str, name: &str) {
        if name.starts_with("relay-pki-") {
            self.report(
                at,
                format!(
                    "{field}: names that start with relay-pki- are those of CA keys and records"
                ),
                "choose a name that starts otherwise",
            );
        }
    }

    pub(super) fn same_secret(&mut self, at: Option<Place>, one: &str, other: &str, name: &str) {
        self.report(
            at,
            format!("the secrets {other:?} and {one:?} would both be {name:?} in one cluster"),
            "give each its own name",
        );
    }
}
