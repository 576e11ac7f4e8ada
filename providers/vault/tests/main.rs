//! The provider against the real Vault server of the testbed, under the policy that its docs page
//! tells people to paste.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod auth;
mod backend;
mod checks;
mod faults;
mod generations;
mod page;
mod revocation;

use backend::{Backend, RootOnly, SignerOnly};

mod both {
    use super::Backend;
    relay_pki_authority::authority_conformance!(Backend);
}

mod root {
    use super::RootOnly;
    relay_pki_authority::authority_conformance!(RootOnly);
}

mod signer {
    use super::SignerOnly;
    relay_pki_authority::authority_conformance!(SignerOnly);
}
