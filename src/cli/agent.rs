//! `relay-pki agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relay_pki_authority::x509::KeyType;

use super::error::CliError;
use super::exit::Exit;
use super::interrupt::interruptible;
use super::logging::LogFormat;
use crate::agent::{
    self, Files, Options, Pin, Secrets, Server, Status, Store, Tokens, Workload, Workloads,
};
use crate::clock::SystemClock;
use crate::cluster::{Access, Cluster, KubernetesCluster, LockName};
use crate::config::{ClusterName, CredentialSource, Lifetime, ValueError};
use crate::credential;
use crate::relay::TOKEN;
use crate::renewal::RenewAt;

/// Shortest pause between two questions for the roots.
const SHORTEST_POLL: u64 = 5;

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The cluster that this is the agent of, as it was registered: the name in its certificate
    #[arg(long, value_name = "NAME")]
    cluster: ClusterName,
    /// The EST server: https://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    server: String,
    /// The name in the server's certificate, if it is not the host of the URL
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// A root to trust the server by if there is none yet, or none that fits any more: sha256:HEX. May
    /// be repeated
    #[arg(long, value_name = "FINGERPRINT")]
    trust_fingerprint: Vec<Pin>,
    /// A file with the token to enrol with, outside Kubernetes or mounted
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Secrets of the namespace that may have the token, under the key `token`; the first one that has goes
    #[arg(long, value_name = "NAME", conflicts_with = "directory", default_values = [
        "relay-pki-enrolment-token", "relay-identity-token-secret",
    ])]
    token_secret: Vec<String>,
    /// The type of its keys: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072, rsa-4096 or ed25519; what the
    /// server asks for if nothing is said
    #[arg(long, value_name = "TYPE")]
    key_type: Option<KeyType>,
    /// The share of a certificate's lifetime after which it is renewed
    #[arg(long, value_name = "SHARE", default_value = "0.66")]
    renew_at: RenewAt,
    /// How often the server is asked whether the roots have changed
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    poll: Lifetime,
    /// Keep tls.crt, tls.key and ca.crt in this directory instead of Secrets
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "namespace", "kubeconfig", "context", "restart", "relay", "root_secret", "client_secret",
    ])]
    directory: Option<PathBuf>,
    /// The namespace of the Secrets
    #[arg(long, env = "POD_NAMESPACE", default_value = "gloo-mesh")]
    namespace: String,
    /// The relay that the Secrets are labelled with
    #[arg(long, value_name = "NAME", default_value = "gloo-mesh")]
    relay: String,
    /// The Secret with the roots
    #[arg(long, value_name = "NAME", default_value = "relay-root-tls-secret")]
    root_secret: String,
    /// The Secret with the certificate and its key
    #[arg(long, value_name = "NAME", default_value = "relay-client-tls-secret")]
    client_secret: String,
    /// Take over what is there and was not made by relay-pki
    #[arg(long)]
    adopt: bool,
    /// A workload to restart when the roots change: deployment/NAME, statefulset/NAME or daemonset/NAME.
    /// May be repeated; they are restarted in this order
    #[arg(long, value_name = "WORKLOAD")]
    restart: Vec<Workload>,
    /// Where metrics (/metrics) and health (/healthz, /readyz) are served; nowhere if nothing is said
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The form of the logs
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Json)]
    pub(super) log_format: LogFormat,
    /// A kubeconfig, where this does not run in a Pod
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

pub(super) async fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    let server = Server::new(&arguments.server, arguments.server_name.as_deref());
    let server = server.map_err(|error: ValueError| CliError::usage(error.message, error.hint))?;
    if arguments.poll.as_secs() < SHORTEST_POLL {
        return Err(CliError::usage(
            format!("--poll is shorter than {SHORTEST_POLL}s"),
            "write for example 60s",
        ));
    }
    let (store, tokens, workloads) = open(arguments);
    let (cancel, signalled) = interruptible()?;
    let options = Options {
        cluster: arguments.cluster.clone(),
        server,
        store,
        tokens,
        pins: arguments.trust_fingerprint.clone(),
        renew_at: arguments.renew_at,
        poll: Duration::from_secs(arguments.poll.as_secs()),
        key_type: arguments.key_type,
        workloads,
        listen: arguments.listen,
        clock: Arc::new(SystemClock),
        status: Status::default(),
    };
    match agent::run(options, cancel).await {
        // To be told to end is no failure of a service.
        Ok(()) => match signalled() {
            Exit::Terminated => Ok(Exit::Done),
            exit => Ok(exit),
        },
        Err(error) => Err(CliError::failed(error.to_string())),
    }
}

/// Where everything is kept, and what is there besides.
fn open(arguments: &Arguments) -> (Arc<dyn Store>, Tokens, Option<Workloads>) {
    let access = super::controller::access(&arguments.kubeconfig, &arguments.context);
    let kubernetes = Arc::new(kubernetes(arguments, access));
    let cluster: Arc<dyn Cluster> = kubernetes.clone();
    let file = arguments.token_file.iter();
    let mut tokens: Vec<CredentialSource> = file
        .map(|file| CredentialSource::File(file.clone()))
        .collect();
    let (store, workloads): (Arc<dyn Store>, _) = match &arguments.directory {
        Some(directory) => {
            let files = Files::new(directory.clone(), arguments.adopt);
            (Arc::new(files), None)
        }
        None => {
            tokens.extend(
                arguments
                    .token_secret
                    .iter()
                    .map(|name| CredentialSource::Secret {
                        name: name.clone(),
                        key: TOKEN.to_owned(),
                    }),
            );
            let names = (
                arguments.root_secret.as_str(),
                arguments.client_secret.as_str(),
            );
            let secrets = Secrets::new(cluster.clone(), &arguments.relay, names, arguments.adopt);
            let workloads = Workloads::new(kubernetes, arguments.restart.clone());
            (Arc::new(secrets), Some(workloads))
        }
    };
    let tokens = tokens
        .iter()
        .map(|source| credential::open(source, &cluster));
    (store, Tokens::new(tokens.collect()), workloads)
}

/// The namespace; nothing is connected yet.
fn kubernetes(arguments: &Arguments, access: Access) -> KubernetesCluster {
    let identity = super::identity();
    let lock = LockName {
        // Two agents of one cluster do no harm: each write is a compare-and-swap.
        lease: "relay-pki-agent".to_owned(),
        identity,
    };
    let name = arguments.cluster.as_str();
    KubernetesCluster::new(name, &arguments.namespace, access, lock).without_records()
}
