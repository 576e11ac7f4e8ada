//! What a backend is asked for, counted where the requests arrive.

use crate::Level;
use crate::conformance::suite::{Suite, signer_request};
use crate::conformance::{Fixture, NotApplicable};

/// A plan says in advance what it costs.
pub async fn calls_are_as_announced<F: Fixture>() -> Result<(), NotApplicable> {
    let suite = Suite::<F>::start(&[]).await?;
    let announced = suite.provider.capabilities().calls;
    let holds = |level| F::LEVELS.contains(&level);
    // Whoever has not logged in yet does it now.
    suite.provider.check().await.unwrap();
    if holds(Level::Root) && suite.makes_roots() {
        let count = Count::begin(&suite).await;
        suite.root(1).await;
        count.assert(&suite, announced.root, "a root").await;
    }
    let issuer = match holds(Level::Signer) {
        true => {
            let root = suite.foreign_root();
            let wanted = signer_request(1, suite.ca_key_type());
            let count = Count::begin(&suite).await;
            let prepared = suite.prepare_signer(&suite.provider, &wanted).await;
            let chain = suite
                .certify_signer(&root, &wanted, prepared.unwrap())
                .await;
            let generation = &wanted.generation;
            let installed = suite
                .provider
                .install_signer(generation, &chain, root.anchors());
            installed.await.unwrap();
            count.assert(&suite, announced.signer, "a signer").await;
            suite
                .provider
                .open(generation, root.anchors())
                .await
                .unwrap()
        }
        false => suite.some_root(1).await,
    };
    let wanted = suite.agent("cluster-1");
    let count = Count::begin(&suite).await;
    suite.sign(&issuer, &wanted).await.unwrap();
    count
        .assert(&suite, announced.certificate, "a certificate")
        .await;
    Ok(())
}

/// How often the backend was called, and how often it said that it was too early, at some time.
struct Count {
    calls: usize,
    polls: usize,
}

impl Count {
    async fn begin<F: Fixture>(suite: &Suite<F>) -> Self {
        Self {
            calls: suite.fixture.calls().await,
            polls: suite.polls(),
        }
    }

    /// Exactly what was announced, but for what asking too early costs.
    async fn assert<F: Fixture>(&self, suite: &Suite<F>, announced: usize, what: &str) {
        /// Most calls that find out that it is too early, for one that says so.
        const EARLY: usize = 4;
        let calls = suite.fixture.calls().await - self.calls;
        let polls = suite.polls() - self.polls;
        let most = match suite.provider.capabilities().asynchronous {
            // Some wait a moment themselves before they say that it is too early.
            true => 2 * announced + EARLY * polls,
            false => announced,
        };
        assert!(
            announced <= calls && calls <= most,
            "{what} cost {calls} calls with {polls} polls; announced are {announced}"
        );
    }
}
