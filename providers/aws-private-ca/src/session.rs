//! The connection to AWS: credentials, region, time limits.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_acmpca::Client;
use aws_sdk_acmpca::config::IdentityCache;

use crate::Settings;
use crate::keys::Keys;

/// How the sessions of an assumed role are called in AWS's logs.
const SESSION: &str = "relay-pki";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// One call with all its attempts. The engine allows a provider half a minute for what it asks.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Attempts of a call. All of them carry the same idempotency token.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A client as the settings and the environment say, with the keys that were given; without a region
/// there is none.
pub(crate) async fn connect(settings: &Settings, keys: Option<&Keys>) -> Option<Client> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE);
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(region) = settings.region() {
        loader = loader.region(Region::new(region.to_owned()));
    }
    match (keys, &settings.profile) {
        // They know by themselves for how long they are good.
        (Some(keys), _) => {
            loader = loader
                .credentials_provider(keys.clone())
                .identity_cache(IdentityCache::no_cache());
        }
        (None, Some(profile)) => loader = loader.profile_name(profile),
        (None, None) => {}
    }
    let shared = loader.load().await;
    shared.region()?;
    let mut config = aws_sdk_acmpca::config::Builder::from(&shared);
    if let Some(role) = &settings.role {
        let mut assumed = AssumeRoleProvider::builder(role)
            .session_name(SESSION)
            .configure(&shared);
        if let Some(id) = &settings.external_id {
            assumed = assumed.external_id(id);
        }
        config = config
            .credentials_provider(assumed.build().await)
            .identity_cache(IdentityCache::lazy().build());
    }
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Some(Client::from_conf(config.build()))
}
