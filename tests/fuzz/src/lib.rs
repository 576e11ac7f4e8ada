//! What reads the requests of strangers, compiled alone: the same files as in the product, whose hundreds of
//! dependencies would take an hour to build with the fuzzer's instruments.

#[path = "../../../src/enrolment/body.rs"]
mod body;
#[path = "../../../src/enrolment/policy.rs"]
mod policy;
#[path = "../../../src/enrolment/refusal.rs"]
mod refusal;

pub mod properties;

pub use body::{BODY_LIMIT, Layout, decode_body, encode_body};
pub use policy::{BINDING_LENGTH, Binding, accept, read_request, requested_name};
pub use refusal::Refusal;
