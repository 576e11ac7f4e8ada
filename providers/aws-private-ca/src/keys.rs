//! Access keys that relay-pki is given, where the standard credential chain is not to be asked.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use relay_pki_authority::Credential;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long access keys are used before they are read again.
const FRESH: Duration = Duration::from_secs(60);
const PROFILE: &str = "default";

/// Access keys in a credentials file, as the AWS command line has it in `~/.aws/credentials`. They are
/// read again after a minute, and at once after AWS refused them: they may have been replaced.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Inner>);

struct Inner {
    credential: Arc<dyn Credential>,
    profile: String,
    read: Mutex<Option<(Instant, Credentials)>>,
}

impl Keys {
    pub(crate) fn new(credential: Arc<dyn Credential>, profile: Option<&str>) -> Self {
        Self(Arc::new(Inner {
            credential,
            profile: profile.unwrap_or(PROFILE).to_owned(),
            read: Mutex::new(None),
        }))
    }

    /// They were refused.
    pub(crate) fn forget(&self) {
        *self.read() = None;
    }

    async fn load(&self) -> Result {
        let known = self.read().clone();
        if let Some((at, credentials)) = known
            && at.elapsed() < FRESH
        {
            return Ok(credentials);
        }
        let content = self.0.credential.read().await;
        let content = content.map_err(|error| CredentialsError::not_loaded(error.to_string()))?;
        let credentials = parse(&content, &self.0.profile).map_err(|reason| {
            let place = self.0.credential.place();
            CredentialsError::invalid_configuration(format!("{place}: {reason}"))
        })?;
        *self.read() = Some((Instant::now(), credentials.clone()));
        Ok(credentials)
    }

    fn read(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Credentials)>> {
        // A panic elsewhere while the lock was held cannot have left half a key.
        self.0
            .read
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.credential.place())
    }
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

/// The keys of a profile. What is wrong is said without what is written there.
fn parse(content: &[u8], profile: &str) -> std::result::Result<Credentials, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is no text".to_owned())?;
    let mut section = "";
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').trim();
        } else if let Some((key, value)) = line.split_once('=')
            && section == profile
        {
            let value = Zeroizing::new(value.trim().to_owned());
            match key.trim() {
                "aws_access_key_id" => id = Some(value),
                "aws_secret_access_key" => secret = Some(value),
                "aws_session_token" => token = Some(value),
                _ => {}
            }
        }
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Credentials::new(
            id.as_str(),
            secret.as_str(),
            token.map(|token| token.as_str().to_owned()),
            None,
            "relay-pki",
        )),
        _ => Err(format!(
            "it has no aws_access_key_id and aws_secret_access_key under [{profile}]"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &[u8] =
        b"# ours\n[default]\naws_access_key_id = AKIA1\r\naws_secret_access_key=s3cret==\n\n\
        [other]\naws_access_key_id=AKIA2\naws_secret_access_key = x\naws_session_token=tok\n";

    #[test]
    fn the_keys_of_the_profile_are_taken() {
        let default = parse(FILE, "default").unwrap();
        assert_eq!(default.access_key_id(), "AKIA1");
        assert_eq!(default.secret_access_key(), "s3cret==");
        assert_eq!(default.session_token(), None);
        let other = parse(FILE, "other").unwrap();
        assert_eq!(other.access_key_id(), "AKIA2");
        assert_eq!(other.session_token(), Some("tok"));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_is_there() {
        for content in [
            &b"[default]\naws_secret_access_key=s3cret"[..],
            b"s3cret",
            b"\xff",
        ] {
            let refused = parse(content, "default").unwrap_err();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
