//! Enrolment over Secure Transport (EST, RFC 7030 and RFC 8951): agents keep their own keys and get
//! certificates for them.
//!
//! What is decided is pure: `body`, `policy`, `certs_only`, `csr_attributes`, `refusal`, `route`. Around
//! it are the `server` (TLS, HTTP and their bounds), the `service` (who gets what), the `snapshot` that it
//! decides on, and the `registry` of tokens and revocations, which is changed by compare-and-swap. So
//! every replica serves, and none has to lead.

mod backend;
mod body;
mod certs_only;
mod connection;
mod credentials;
mod csr_attributes;
mod der;
mod limits;
mod policy;
mod recorder;
mod refusal;
mod registry;
mod revocation_list;
mod revoker;
mod route;
mod server;
mod service;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub(crate) use self::backend::revocation;
pub use self::backend::{Told, Unable, tell_backends};
pub use self::body::{BODY_LIMIT, BodyError, Layout, decode_body, encode_body};
pub use self::certs_only::certs_only;
pub use self::csr_attributes::csr_attributes;
pub use self::limits::{Rate, Rates};
pub use self::policy::{BINDING_LENGTH, Binding, accept, read_request, requested_name};
pub use self::refusal::Refusal;
pub use self::registry::{Redemption, Registry, Revoked};
pub use self::revocation_list::{Publication, publish_revocations};
pub(crate) use self::revoker::Revoker;
pub use self::server::{Bounds, serve};
pub(crate) use self::service::RENEW;
