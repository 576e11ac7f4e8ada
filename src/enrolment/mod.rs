//! Enrolment over Secure Transport (EST, RFC 7030 and RFC 8951): agents keep their own keys and get
//! certificates for them.
//!
//! What is decided is pure: `body`, `policy`, `certs_only`, `csr_attributes`, `refusal`.

mod body;
mod certs_only;
mod csr_attributes;
mod der;
mod policy;
mod refusal;

pub use self::body::{BODY_LIMIT, BodyError, Layout, decode_body, encode_body};
pub use self::certs_only::certs_only;
pub use self::csr_attributes::csr_attributes;
pub use self::policy::{BINDING_LENGTH, Binding, accept, read_request, requested_name};
pub use self::refusal::Refusal;
