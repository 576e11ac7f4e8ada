use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use relay_pki_authority::Credential;
use rustify::Endpoint;
use serde::Deserialize;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use vaultrs::api::token::requests::LookupTokenSelfRequest;
use zeroize::Zeroizing;

use crate::config::{Auth, VaultConfig};
use crate::endpoints::{RenewSelf, TokenReply};
use crate::failure::Failure;
use crate::transport::{Answer, Call, Transport};

/// A token, and connections to use it on.
pub(crate) struct Session {
    transport: Arc<Transport>,
    token: HeaderValue,
    lease: Option<Lease>,
}

/// How long a token lives.
#[derive(Clone, Copy)]
struct Lease {
    /// From when on it has to be renewed or replaced: well before its end, so that a failure leaves
    /// time for more attempts.
    due: Instant,
    until: Instant,
    renewable: bool,
}

/// What a login and a renewal answer.
#[derive(Deserialize)]
struct Granted {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl Session {
    /// Logs in, with credentials as they are now.
    pub(crate) async fn begin(config: &VaultConfig) -> Result<Self, Failure> {
        let transport = Arc::new(Transport::new(config).await?);
        match &config.auth {
            Auth::Token(kept) => {
                let token = header(&text(kept.as_ref()).await?, kept.as_ref())?;
                let lookup = call(&LookupTokenSelfRequest {})?;
                let answer = transport.send(&lookup, Some(&token)).await?;
                let known: TokenReply = answer
                    .data()
                    .map_err(|failure| refused(failure, "the token", kept.as_ref()))?;
                Ok(Self {
                    transport,
                    token,
                    lease: Lease::new(known.ttl, known.renewable),
                })
            }
            Auth::AppRole {
                mount,
                role_id,
                secret_id,
            } => {
                let login = call(&LoginWithApproleRequest {
                    mount: mount.clone(),
                    role_id: role_id.clone(),
                    secret_id: text(secret_id.as_ref()).await?.to_string(),
                })?;
                Self::login(transport, &login, "the secret id", secret_id.as_ref()).await
            }
            Auth::Kubernetes { mount, role, token } => {
                let login = call(&LoginWithKubernetesRequest {
                    mount: mount.clone(),
                    role: role.clone(),
                    jwt: text(token.as_ref()).await?.to_string(),
                })?;
                let what = "the service account's token";
                Self::login(transport, &login, what, token.as_ref()).await
            }
        }
    }

    async fn login(
        transport: Arc<Transport>,
        login: &Call,
        what: &str,
        kept: &dyn Credential,
    ) -> Result<Self, Failure> {
        let answer = transport.send(login, None).await?;
        let granted = answer.auth();
        let granted = granted.map_err(|failure| refused(failure, what, kept))?;
        Ok(Self {
            transport,
            token: header(&granted.client_token, kept)?,
            lease: Lease::new(granted.lease_duration, granted.renewable),
        })
    }

    /// The same token for longer.
    pub(crate) async fn renewed(&self) -> Result<Self, Failure> {
        let renewed = self.send(&call(&RenewSelf {})?).await?.auth()?;
        Ok(Self {
            transport: Arc::clone(&self.transport),
            token: self.token.clone(),
            lease: Lease::new(renewed.lease_duration, renewed.renewable),
        })
    }

    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        self.transport.send(call, Some(&self.token)).await
    }

    /// Whether the server still knows the token.
    pub(crate) async fn is_known(&self) -> Result<bool, Failure> {
        let lookup = call(&LookupTokenSelfRequest {})?;
        match self.send(&lookup).await?.data::<TokenReply>() {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_forbidden() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// How long until the token has to be renewed or replaced; none if it lives for ever.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let lease = self.lease?;
        Some(lease.due.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn is_renewable(&self) -> bool {
        self.lease.is_some_and(|lease| lease.renewable)
    }

    /// Whether the token has run out.
    pub(crate) fn is_over(&self) -> bool {
        self.lease
            .is_some_and(|lease| lease.until <= Instant::now())
    }
}

impl Lease {
    fn new(seconds: u64, renewable: bool) -> Option<Self> {
        let lifetime = Duration::from_secs(seconds);
        let now = Instant::now();
        Some(Self {
            due: now.checked_add(lifetime * 2 / 3)?,
            until: now.checked_add(lifetime)?,
            renewable,
        })
        .filter(|_| seconds > 0)
    }
}

/// How Vault wraps what it says.
#[derive(Deserialize)]
struct Envelope<T> {
    data: Option<T>,
}

#[derive(Deserialize)]
struct AuthEnvelope {
    auth: Option<Granted>,
}

impl Answer {
    /// What was asked for.
    pub(crate) fn data<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        self.success()?;
        let envelope: Envelope<T> = self.json()?;
        envelope.data.ok_or_else(|| self.unreadable())
    }

    /// A token.
    fn auth(&self) -> Result<Granted, Failure> {
        self.success()?;
        let envelope: AuthEnvelope = self.json()?;
        envelope.auth.ok_or_else(|| self.unreadable())
    }

    /// That it was done.
    pub(crate) fn success(&self) -> Result<(), Failure> {
        match self.status {
            200..=299 => Ok(()),
            _ => Err(Failure::of_answer(self)),
        }
    }

    fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| self.unreadable())
    }

    /// Not a word of the answer: nobody knows what is in it.
    fn unreadable(&self) -> Failure {
        Failure::Unreadable(format!(
            "HTTP status {} with something that is no answer of Vault's",
            self.status
        ))
    }
}

/// What `endpoint` asks for.
pub(crate) fn call(endpoint: &impl Endpoint) -> Result<Call, Failure> {
    // The address is the transport's business: what stands here is cut off again.
    let request = endpoint.request("http://vault");
    let request = request.map_err(|error| Failure::Unusable {
        reason: format!("there is no request to {}: {error}", endpoint.path()),
        remedy: "check mount, roles and issuers in the document".to_owned(),
    })?;
    Ok(Call {
        method: request.method().clone(),
        path: request.uri().path().trim_start_matches('/').to_owned(),
        body: Zeroizing::new(request.into_body()),
    })
}

async fn text(kept: &dyn Credential) -> Result<Zeroizing<String>, Failure> {
    let bytes = kept.read().await.map_err(Failure::Credential)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.trim().to_owned())),
        Err(_) => Err(no_token(kept)),
    }
}

fn header(token: &str, kept: &dyn Credential) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(token).map_err(|_| no_token(kept))?;
    value.set_sensitive(true);
    Ok(value)
}

fn no_token(kept: &dyn Credential) -> Failure {
    Failure::Unusable {
        reason: format!("{} has characters that no token has", kept.place()),
        remedy: "put the token there, and nothing else".to_owned(),
    }
}

/// A login that was refused will be refused again, until somebody replaces what it was made with.
fn refused(failure: Failure, what: &str, kept: &dyn Credential) -> Failure {
    match failure {
        Failure::Refused {
            status: 400..=404,
            words,
            ..
        } => Failure::Unusable {
            reason: format!("Vault refuses {what} from {}: {words}", kept.place()),
            remedy: "put a valid one there, and check role, mount and namespace of the login \
                         in the document"
                .to_owned(),
        },
        other => other,
    }
}
