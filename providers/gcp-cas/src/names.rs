//! What our objects in the service are called. Names are derived, so that whoever asks again, after a
//! crash or a lost reply, asks for the same object.

use std::collections::HashMap;

use relay_pki_authority::{Generation, IssuanceId};

/// Longest name of an object (`[a-zA-Z0-9_-]{1,63}`).
const LIMIT: usize = 63;
/// The label that marks CAs as ours, and its value.
const OWNER: (&str, &str) = ("managed-by", "relay-pki");
const RELAY: &str = "relay-pki-relay";

/// The name of a generation's CA: `relay-pki-RELAY-LEVEL-gN`. A relay's name that leaves no room is cut,
/// and a digest keeps it apart from others that start alike.
pub(crate) fn authority_id(generation: &Generation) -> String {
    let Generation {
        relay,
        level,
        number,
    } = generation;
    let whole = format!("relay-pki-{relay}-{level}-g{number}");
    if whole.len() <= LIMIT {
        return whole;
    }
    let digest = IssuanceId::derive(&[relay.as_bytes()]);
    let digest: String = digest.as_str().chars().take(8).collect();
    let tail = format!("-{digest}-{level}-g{number}");
    let room = LIMIT.saturating_sub("relay-pki-".len() + tail.len());
    let start: String = relay.chars().take(room).collect();
    format!("relay-pki-{start}{tail}")
}

/// The labels of a generation's CA.
pub(crate) fn labels(generation: &Generation) -> [(String, String); 4] {
    [
        (OWNER.0.to_owned(), OWNER.1.to_owned()),
        (RELAY.to_owned(), generation.relay.clone()),
        ("relay-pki-level".to_owned(), generation.level.to_string()),
        (
            "relay-pki-generation".to_owned(),
            generation.number.to_string(),
        ),
    ]
}

/// Whether labels are those that we gave to a generation's CA.
pub(crate) fn is_ours(found: &HashMap<String, String>, generation: &Generation) -> bool {
    let ours = labels(generation);
    ours.iter()
        .all(|(key, value)| found.get(key) == Some(value))
}

/// An issuance from one CA. The CA is part of it: during a rotation one need is met by two roots, and
/// names of certificates are unique in a whole location.
pub(crate) struct IssuanceName(IssuanceId);

impl IssuanceName {
    pub(crate) fn new(id: &IssuanceId, authority: &str) -> Self {
        Self(IssuanceId::derive(&[
            id.as_str().as_bytes(),
            authority.as_bytes(),
        ]))
    }

    /// The certificate's name.
    pub(crate) fn certificate_id(&self) -> String {
        format!("relay-pki-{}", self.0)
    }

    /// The request's UUID, of version 8 (RFC 9562 section 5.8): its bits are ours to choose.
    pub(crate) fn request_id(&self) -> String {
        let mut digits: Vec<char> = self.0.as_str().chars().collect();
        for (at, digit) in [(12, '8'), (16, 'a')] {
            if let Some(place) = digits.get_mut(at) {
                *place = digit;
            }
        }
        let mut text = String::with_capacity(36);
        for (at, digit) in digits.into_iter().enumerate() {
            if [8, 12, 16, 20].contains(&at) {
                text.push('-');
            }
            text.push(digit);
        }
        text
    }
}
