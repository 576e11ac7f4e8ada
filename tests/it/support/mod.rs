//! What the tests share.

pub(crate) mod agents;
pub(crate) mod certificate;
pub(crate) mod dice;
pub(crate) mod enrolment;
pub(crate) mod fleet;
pub(crate) mod handmade;
pub(crate) mod handshake;
pub(crate) mod helm;
pub(crate) mod history;
pub(crate) mod kube;
pub(crate) mod manifest;
pub(crate) mod pages;
pub(crate) mod rbac;
pub(crate) mod replica;
pub(crate) mod stage;
pub(crate) mod tools;
pub(crate) mod tree;
pub(crate) mod verifiers;
pub(crate) mod workloads;
