//! How an API server is reached, and with which credentials.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::{Client, Config};
use tokio::time::Instant;

use super::super::{Cluster, ClusterError, ObjectKey, Version};
use super::{kubeconfig, kubeconfig_file};

/// How long a connection to an API server may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the login program of a kubeconfig file may take: it may ask a person.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long credentials from a Secret are used before the Secret is looked at again.
const CREDENTIALS_LIFE: Duration = Duration::from_secs(300);

/// Where the address of an API server and the credentials for it come from.
#[derive(Clone)]
pub enum Access {
    /// The service account of the Pod that we run in.
    InCluster,
    /// A kubeconfig of the person who runs us. It is theirs, so it may run programs and read files.
    File {
        /// The file; what `KUBECONFIG` says, or `~/.kube/config`, if there is none.
        file: Option<PathBuf>,
        /// The context in it; the current one if there is none.
        context: Option<String>,
    },
    /// A kubeconfig in a Secret of the first management cluster. Whoever may write the Secret may not
    /// make us run programs or read files: such a kubeconfig is refused.
    Secret {
        /// The first management cluster.
        home: Arc<dyn Cluster>,
        /// The Secret.
        secret: ObjectKey,
        /// The key of its data.
        data_key: String,
    },
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InCluster => f.write_str("this Kubernetes cluster"),
            Self::File { file, context } => {
                match context {
                    Some(context) => write!(f, "context {context}")?,
                    None => f.write_str("the current context")?,
                }
                match file {
                    Some(file) => write!(f, " of {}", file.display()),
                    None => Ok(()),
                }
            }
            Self::Secret { secret, .. } => write!(f, "kubeconfig in {secret}"),
        }
    }
}

/// Where an API server is, and how its certificate is checked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its URL.
    pub server: http::Uri,
    /// The CA certificates, DER; those of the system if there are none.
    pub roots: Vec<Vec<u8>>,
    /// The name in its certificate, if it is not that of the URL.
    pub server_name: Option<String>,
    /// Whether its certificate is checked at all.
    pub is_checked: bool,
}

impl Access {
    /// Where a kubeconfig file leads to. Nobody is asked, and nobody logs in.
    ///
    /// # Errors
    ///
    /// Why the file is of no use; also if this is no file.
    pub async fn endpoint(&self) -> Result<Endpoint, String> {
        let Self::File { file, context } = self else {
            return Err(format!("{self} is no kubeconfig file"));
        };
        let config = kubeconfig_file::config(file.as_deref(), context.as_deref()).await?;
        Ok(Endpoint {
            server: config.cluster_url,
            roots: config.root_cert.unwrap_or_default(),
            server_name: config.tls_server_name,
            is_checked: !config.accept_invalid_certs,
        })
    }
}

/// A connection that is made when it is first needed, and anew when its credentials fail.
pub(super) struct Connection {
    cluster: String,
    access: Access,
    cached: Mutex<Option<Cached>>,
}

#[derive(Clone)]
struct Cached {
    client: Client,
    /// Of the Secret with the kubeconfig.
    version: Option<Version>,
    /// When the Secret is looked at again.
    until: Option<Instant>,
}

impl Connection {
    pub(super) fn new(cluster: &str, access: Access) -> Self {
        Self {
            cluster: cluster.to_owned(),
            access,
            cached: Mutex::default(),
        }
    }

    pub(super) fn place(&self) -> String {
        self.access.to_string()
    }

    /// A client; its requests have no time limit of their own.
    pub(super) async fn client(&self) -> Result<Client, ClusterError> {
        let cached = self.cached().clone();
        if let Some(cached) = &cached
            && cached.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(cached.client.clone());
        }
        let fresh = match &self.access {
            Access::InCluster => {
                let config = Config::incluster();
                let config = config.map_err(|error| {
                    self.no_access(format!("this process is in no Pod of it: {error}"))
                })?;
                self.connect(config, None).await?
            }
            Access::File { file, context } => {
                let config = kubeconfig_file::config(file.as_deref(), context.as_deref()).await;
                let config = config.map_err(|error| self.no_access(error))?;
                self.connect(config, None).await?
            }
            Access::Secret {
                home,
                secret,
                data_key,
            } => {
                let stored = home.read(secret).await?;
                let stored = stored.ok_or_else(|| {
                    self.no_access(format!(
                        "{secret} with its kubeconfig does not exist in cluster {}; \
                         create it with `relay-pki cluster register {}`",
                        home.name(),
                        self.cluster
                    ))
                })?;
                match cached {
                    Some(cached) if cached.version.as_ref() == Some(&stored.version) => Cached {
                        until: Some(Instant::now() + CREDENTIALS_LIFE),
                        ..cached
                    },
                    _ => {
                        let text = stored.object.data.get(data_key);
                        let text = text.ok_or_else(|| {
                            self.no_access(format!("{secret} has no key {data_key}"))
                        })?;
                        let refused = |error: String| {
                            self.no_access(format!("{secret}, {data_key}: {error}"))
                        };
                        let config = kubeconfig::config(text).await.map_err(refused)?;
                        self.connect(config, Some(stored.version)).await?
                    }
                }
            }
        };
        *self.cached() = Some(fresh.clone());
        Ok(fresh.client)
    }

    /// The next client reads the credentials anew.
    pub(super) fn forget(&self) {
        match self.access {
            // Tokens from files are read again by the client itself.
            Access::InCluster | Access::File { .. } => {}
            Access::Secret { .. } => {
                if let Some(cached) = self.cached().as_mut() {
                    cached.until = Some(Instant::now());
                }
            }
        }
    }

    async fn connect(
        &self,
        mut config: Config,
        version: Option<Version>,
    ) -> Result<Cached, ClusterError> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Ours obey a deadline; kube's go on for minutes if the server asks for it.
        config.default_retry = false;
        // A kubeconfig file can name a program that logs in, and it is waited for.
        let client = tokio::task::spawn_blocking(move || Client::try_from(config));
        let client = match tokio::time::timeout(LOGIN_TIMEOUT, client).await {
            Ok(Ok(Ok(client))) => client,
            // What the program wrote is in the error, and may be a token.
            Ok(Ok(Err(kube::Error::Auth(_)))) => {
                return Err(self.denied("its login program failed; see what kubectl says"));
            }
            Ok(Ok(Err(error))) => {
                return Err(self.no_access(format!("{}: {error}", self.access)));
            }
            Ok(Err(error)) => return Err(self.denied(error)),
            Err(_) => {
                let seconds = LOGIN_TIMEOUT.as_secs();
                return Err(self.denied(format!("no login within {seconds} s")));
            }
        };
        let until = version.as_ref().map(|_| Instant::now() + CREDENTIALS_LIFE);
        Ok(Cached {
            client,
            version,
            until,
        })
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_access(&self, reason: impl fmt::Display) -> ClusterError {
        ClusterError::NoAccess {
            cluster: self.cluster.clone(),
            reason: reason.to_string(),
        }
    }

    fn denied(&self, reason: impl fmt::Display) -> ClusterError {
        ClusterError::Denied {
            cluster: self.cluster.clone(),
            operation: "connect".to_owned(),
            reason: format!("{reason} ({})", self.access),
        }
    }
}
