//! HTTP Basic authentication (RFC 7617), which a first enrolment is authenticated with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

/// Longest user name and password: a cluster's name and a token have less.
const LIMIT: usize = 1024;

/// A user name, which is a cluster's name or empty, and a password, which is a token.
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) token: Zeroizing<Vec<u8>>,
}

impl Credentials {
    /// What a request carries, if it can be read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(AUTHORIZATION)?.as_bytes();
        let (scheme, rest) = value.split_at_checked(b"Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") || rest.len() > LIMIT {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(rest.trim_ascii()).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, token) = decoded.split_at_checked(colon)?;
        let token = token.get(1..).filter(|token| !token.is_empty())?;
        Some(Self {
            user: std::str::from_utf8(user).ok()?.to_owned(),
            token: Zeroizing::new(token.to_vec()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn credentials(value: &str) -> Option<(String, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        Credentials::of(&headers).map(|found| (found.user, found.token.to_vec()))
    }

    #[test]
    fn user_and_password() {
        let basic = |text: &str| credentials(&format!("Basic {}", STANDARD.encode(text)));
        let pair = |user: &str, token: &str| Some((user.to_owned(), token.as_bytes().to_vec()));
        assert_eq!(basic("cluster-1:secret"), pair("cluster-1", "secret"));
        assert_eq!(basic(":secret"), pair("", "secret"));
        assert_eq!(basic("a:b:c"), pair("a", "b:c"));
        assert_eq!(credentials("basic YTpi"), pair("a", "b"));
        for broken in ["Basic", "Basic ", "Bearer YTpi", "Basic ****", "Basic YQ=="] {
            assert_eq!(credentials(broken), None, "{broken}");
        }
        assert_eq!(basic("cluster-1:"), None);
        assert_eq!(basic(&"a:b".repeat(1000)), None);
    }
}
