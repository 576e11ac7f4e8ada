//! One of the roles of a backend that can play both.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Fault, Fixture};
use crate::{Level, Provider};

/// A backend that is asked for roots only: its root signs the leaves.
pub struct RootOnly<F>(F);

/// A backend that is asked for signers only: the roots are elsewhere.
pub struct SignerOnly<F>(F);

macro_rules! role {
    ($role:ident, $level:expr) => {
        #[async_trait]
        impl<F: Fixture> Fixture for $role<F> {
            const BACKEND: &'static str = F::BACKEND;
            const LEVELS: &'static [Level] = &[$level];

            async fn start() -> Self {
                Self(F::start().await)
            }

            async fn provider(&self) -> Arc<dyn Provider> {
                self.0.provider().await
            }

            async fn issued(&self) -> Option<usize> {
                self.0.issued().await
            }

            async fn calls(&self) -> usize {
                self.0.calls().await
            }

            async fn inject(&self, fault: Fault) -> bool {
                self.0.inject(fault).await
            }

            async fn heal(&self) {
                self.0.heal().await;
            }

            fn longest_pause(&self) -> Duration {
                self.0.longest_pause()
            }

            fn polls(&self) -> usize {
                self.0.polls()
            }
        }
    };
}

role!(RootOnly, Level::Root);
role!(SignerOnly, Level::Signer);
