//! The relay's own vocabulary: which Secrets there are, what is in them, and whose they are.

mod ca_tag;
mod names;
mod ownership;
mod secret;

pub use ca_tag::{CaTag, NoCaTag};
pub use names::{secret_name, secret_names};
pub use ownership::{
    Owner, REQUEST_ANNOTATION, ROTATED_ANNOTATION, enrolment_labels, enrolment_selector,
    is_managed, labels, owner_of, selector,
};
pub use secret::{
    CA_CERT, SecretRole, TLS_CERT, TLS_KEY, TLS_TYPE, TOKEN, TlsContent, TokenDigest, TrustContent,
    decode_tls, decode_token, decode_trust, new_secret,
};
