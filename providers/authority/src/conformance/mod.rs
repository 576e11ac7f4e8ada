//! The suite that every backend runs against itself.
//!
//! A backend crate has `relay-pki-authority` with feature `conformance` and `tokio` among its
//! dev-dependencies, implements [`Fixture`] for something that starts an empty backend, and says
//!
//! ```text
//! relay_pki_authority::authority_conformance!(MyFixture);
//! ```
//!
//! Every case is a test of its own, starts a backend of its own, and sees the backend only through
//! [`checked`](crate::checked), as the product does. What came of it is written to `conformance` beside
//! the built tests, where `tests/conformance-matrix` reads it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Level, Provider};

#[doc(hidden)]
pub mod calls;
#[doc(hidden)]
pub mod custody;
#[doc(hidden)]
pub mod faults;
pub mod forge;
#[doc(hidden)]
pub mod leaves;
mod record;
#[doc(hidden)]
pub mod requests;
#[doc(hidden)]
pub mod revocation;
mod roles;
#[doc(hidden)]
pub mod roots;
#[doc(hidden)]
pub mod signers;
mod suite;

#[doc(hidden)]
pub use record::run;
pub use roles::{RootOnly, SignerOnly};

/// Why a case is not for a backend, or not in this role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotApplicable(pub &'static str);

/// Starts and breaks one backend.
#[async_trait]
pub trait Fixture: Send + Sync + Sized + 'static {
    /// What the backend is called in the matrix of all suites.
    const BACKEND: &'static str;
    /// What the backend holds. Cases for other levels do not apply.
    const LEVELS: &'static [Level] = &[Level::Root, Level::Signer];

    /// A fresh, empty backend.
    async fn start() -> Self;

    /// A new handle on this backend, as after a restart: nothing is shared with earlier handles but
    /// what the backend keeps.
    async fn provider(&self) -> Arc<dyn Provider>;

    /// Certificates that the backend has issued so far, where it counts them.
    async fn issued(&self) -> Option<usize> {
        None
    }

    /// Calls that reached the backend so far; always 0 where there is nobody to call.
    async fn calls(&self) -> usize;

    /// Makes the backend fail from now on; `false` where it cannot be made to.
    async fn inject(&self, fault: Fault) -> bool {
        let _ = fault;
        false
    }

    /// Ends what [`Fixture::inject`] began.
    async fn heal(&self) {}

    /// Longest that a test waits between two polls, whatever the backend says.
    fn longest_pause(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How often a test polls before it gives up.
    fn polls(&self) -> usize {
        120
    }
}

/// How a backend can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers.
    Unreachable,
    /// Our credential is no longer good.
    ExpiredCredential,
    /// The next request to sign is carried out, but its answer never arrives.
    LostReply,
}

/// Expands to the tests, one for every case, in a module `conformance`. The argument is a type that
/// implements [`Fixture`](crate::conformance::Fixture).
#[macro_export]
macro_rules! authority_conformance {
    ($fixture:ty) => {
        mod conformance {
            #[allow(unused_imports)]
            use super::*;

            $crate::authority_conformance!(@cases $fixture, roots: [
                a_root_is_made_once,
                concurrent_creation_makes_one_root,
                every_ca_key_type_carries_a_whole_chain,
                generations_keep_their_name_and_differ_in_their_key,
                roots_certify_each_other,
                the_provider_can_be_probed,
            ]);
            $crate::authority_conformance!(@cases $fixture, signers: [
                a_signer_is_prepared_once,
                a_signer_works_under_the_root_of_another_provider,
                two_signer_generations_work_side_by_side,
                a_signer_can_be_certified_again,
                opening_what_does_not_exist_is_an_error,
                opening_under_the_wrong_roots_is_refused,
                a_certificate_of_somebody_else_is_not_installed,
            ]);
            $crate::authority_conformance!(@cases $fixture, leaves: [
                every_subject_key_type_gets_every_leaf_profile,
                validity_is_honoured,
                validity_ends_with_the_issuer,
                a_renewed_key_gets_a_new_serial,
                several_names_and_wildcards_are_kept,
            ]);
            $crate::authority_conformance!(@cases $fixture, requests: [
                the_key_is_read_from_the_key_not_from_the_signature,
                wishes_are_never_granted,
                a_request_to_be_a_ca_gets_no_leaf,
            ]);
            $crate::authority_conformance!(@cases $fixture, custody: [
                only_a_matching_key_is_taken_over,
                a_taken_over_ca_works,
                a_taken_over_ca_is_not_replaced,
                a_ca_with_a_repeated_attribute_is_not_taken_over,
                the_exported_key_is_the_cas,
                a_disabled_ca_signs_no_more,
                destroying_twice_is_success,
            ]);
            $crate::authority_conformance!(@cases $fixture, revocation: [
                revoking_twice_is_success,
                a_certificate_of_another_ca_is_not_revoked,
                the_list_has_what_is_revoked,
            ]);
            $crate::authority_conformance!(@cases $fixture, calls: [
                calls_are_as_announced,
            ]);
            $crate::authority_conformance!(@cases $fixture, faults: [
                one_need_costs_one_certificate,
                a_dropped_call_can_be_made_again,
                an_unreachable_backend_is_unavailable,
                an_expired_credential_is_not_retried,
                a_lost_reply_costs_nothing,
            ]);
        }
    };
    (@cases $fixture:ty, $topic:ident: [$($case:ident),* $(,)?]) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let case = $crate::conformance::$topic::$case::<$fixture>();
                $crate::conformance::run::<$fixture>(stringify!($topic), stringify!($case), case).await;
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    /// A case that the macro does not name is never run.
    #[test]
    fn every_case_is_in_the_macro() {
        let list = include_str!("mod.rs");
        let topics = [
            include_str!("calls.rs"),
            include_str!("custody.rs"),
            include_str!("faults.rs"),
            include_str!("leaves.rs"),
            include_str!("requests.rs"),
            include_str!("revocation.rs"),
            include_str!("roots.rs"),
            include_str!("signers.rs"),
        ];
        for topic in topics {
            for case in topic.split("pub async fn ").skip(1) {
                let name = case.split('<').next().unwrap();
                assert!(
                    list.contains(&format!("                {name},\n")),
                    "{name}"
                );
            }
        }
    }
}
