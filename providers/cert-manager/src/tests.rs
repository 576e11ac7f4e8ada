//! Against the real controllers of cert-manager, under the role that the documentation says.

mod answers;
mod backend;
mod existing;
mod faults;
mod keys;
mod leftovers;
mod place;
mod waiting;

use self::backend::{Backend, RootOnly, SignerOnly};

relay_pki_authority::authority_conformance!(Backend);

mod as_root {
    use super::RootOnly;

    relay_pki_authority::authority_conformance!(RootOnly);
}

mod as_signer {
    use super::SignerOnly;

    relay_pki_authority::authority_conformance!(SignerOnly);
}
