use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use relay_pki_authority::x509::{PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};

use super::event::Event;

/// What the line before the first one is said to have as its digest.
pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Ends what is signed, and begins the signature.
const SIGNATURE: &str = ",\"signature\":\"";
/// Ends the signature and the line.
const END: &str = "\"}";

/// One thing that happened to a rotation, without its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Line {
    /// The relay.
    pub relay: String,
    /// The rotation's number.
    pub rotation: u32,
    /// Counted from 1.
    pub sequence: usize,
    /// When it was written.
    pub at: Timestamp,
    /// SHA-256 of the line before this one, without its line break; zeros for the first.
    pub previous: String,
    /// What happened.
    pub event: Event,
    /// SHA-256 of the record, on the last of the lines that were written with it: of a write, no line
    /// can be cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

impl Line {
    /// As text without a line break. The signature is over everything before it, with a brace at the
    /// end: what is signed are the bytes that were written, not what somebody reads out of them.
    pub(super) fn sign(&self, key: &PrivateKey) -> Option<String> {
        let body = serde_json::to_string(self).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.pkcs8_der());
        let signature = pair
            .ok()?
            .sign(&SystemRandom::new(), body.as_bytes())
            .ok()?;
        let open = body.strip_suffix('}')?;
        let signature = STANDARD.encode(signature.as_ref());
        Some(format!("{open}{SIGNATURE}{signature}{END}"))
    }

    /// From text, and the signature that follows it.
    pub(super) fn parse(text: &str) -> Result<(Self, Signed), String> {
        let unsigned = || "it carries no signature".to_owned();
        let whole = text.strip_suffix(END).ok_or_else(unsigned)?;
        let (body, signature) = whole.rsplit_once(SIGNATURE).ok_or_else(unsigned)?;
        let body = format!("{body}}}");
        let line = serde_json::from_str(&body).map_err(|error| format!("it is broken: {error}"))?;
        let signature = STANDARD.decode(signature).map_err(|_| unsigned())?;
        Ok((line, Signed { body, signature }))
    }
}

/// Text and its signature.
pub(super) struct Signed {
    body: String,
    signature: Vec<u8>,
}

impl Signed {
    /// Whether a key has signed it.
    pub(super) fn is_by(&self, key: &PublicKey) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.spki_der())
            .verify(self.body.as_bytes(), &self.signature)
            .is_ok()
    }
}

/// The same lines as somebody with another key would sign them.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) fn sign_anew(text: &str, key: &PrivateKey) -> String {
    let mut previous = NOTHING.to_owned();
    let mut signed = String::new();
    for text in text.lines() {
        let (mut line, _) = Line::parse(text).unwrap();
        if let Event::Begun { public_key, .. } = &mut line.event {
            *public_key = STANDARD.encode(key.public_key().spki_der());
        }
        line.previous = previous;
        let text = line.sign(key).unwrap();
        previous = super::hash(text.as_bytes());
        signed.push_str(&text);
        signed.push('\n');
    }
    signed
}
