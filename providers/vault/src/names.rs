use relay_pki_authority::Generation;
use relay_pki_authority::x509::Certificate;

/// What the issuer and the key of a generation are called in Vault.
pub(crate) fn of(generation: &Generation) -> String {
    format!(
        "relay-pki-{}-{}-g{}",
        generation.relay, generation.level, generation.number
    )
}

/// What an issuer is called after another certificate of the same key took its name.
pub(crate) fn replaced(name: &str, certificate: &Certificate) -> String {
    format!("{}{}", before(name), certificate.fingerprint().short())
}

/// Whether `found` is the issuer `name`, or was before it was replaced.
pub(crate) fn belongs(found: &str, name: &str) -> bool {
    found == name || found.starts_with(&before(name))
}

fn before(name: &str) -> String {
    format!("{name}-was-")
}

#[cfg(test)]
mod tests {
    use relay_pki_authority::Level;

    use super::*;

    #[test]
    fn a_name_tells_relay_level_and_number() {
        let generation = Generation {
            relay: "prod".to_owned(),
            level: Level::Signer,
            number: 1,
        };
        let name = of(&generation);
        assert_eq!(name, "relay-pki-prod-signer-g1");
        assert!(belongs(&name, &name));
        assert!(belongs("relay-pki-prod-signer-g1-was-0a1b", &name));
        // Another generation, and another relay.
        assert!(!belongs("relay-pki-prod-signer-g10", &name));
        assert!(!belongs("relay-pki-prod-signer-g1-signer-g1", &name));
    }
}
