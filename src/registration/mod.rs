//! Registers a workload cluster: the least service account in it, and its credentials and its
//! RelayCluster in the management cluster.
//!
//! Everything is read and judged first (`guards`). What is to be made is a list of steps, which a dry
//! run only shows. Before the cluster is part of the relay its credentials are proved (`proof`), over the
//! very connection that the controller will use.

mod account;
mod credentials;
mod endpoint;
mod enrolment;
mod error;
mod guards;
mod marks;
mod proof;
mod removal;
mod steps;

use std::sync::Arc;

use crate::cluster::{Access, Cluster, KubernetesCluster, LockName};
use crate::clusters::Opener;
use crate::config::{Assembled, ClusterName};
use crate::crd::Stored;

pub use self::enrolment::{Enrolling, register_enrolling};
pub use self::error::RegistrationError;
pub use self::proof::Check;
pub use self::removal::{Removal, Removed, unregister};
pub use self::steps::{Change, Step};

use self::account::Account;
use self::endpoint::KubeconfigCluster;
use self::guards::Found;
use self::steps::Steps;

/// A cluster that somebody wants to register.
#[derive(Clone)]
pub struct Request {
    /// Its name: that of its agent, its certificate and its RelayCluster.
    pub name: ClusterName,
    /// The administrator's way to the workload cluster.
    pub workload: Access,
    /// The administrator's way to the management cluster.
    pub management: Access,
    /// The namespace of the Relay in the management cluster.
    pub namespace: String,
    /// The namespace of the relay secrets in the workload cluster, if it is not the relay's.
    pub workload_namespace: Option<String>,
    /// The Relay; the only one of the namespace if none is named.
    pub relay: Option<String>,
    /// The URL of the workload cluster's API server as the management cluster reaches it.
    pub server: Option<String>,
    /// Whether relay-pki may delete Secrets in the workload cluster.
    pub allow_delete: bool,
    /// Whether to show only what would be made.
    pub dry_run: bool,
    /// Who we are.
    pub identity: String,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The Relay that the cluster belongs to.
    pub relay: String,
    /// The namespace in the workload cluster.
    pub namespace: String,
    /// The URL that the management cluster will use.
    pub server: String,
    /// What was made, or would be.
    pub steps: Vec<Step>,
    /// What was proved; nothing in a dry run.
    pub checks: Vec<Check>,
    /// What a person should know besides.
    pub notes: Vec<String>,
}

impl Registration {
    /// Whether every check came out as it should.
    pub fn is_proved(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// Registers a cluster. Nothing is written before everything is found to be as it should, and what is
/// right already stays as it is.
///
/// # Errors
///
/// What stands in the way, and what to do about it.
pub async fn register(request: &Request) -> Result<Registration, RegistrationError> {
    let name = request.name.as_str();
    let (target, mut notes) =
        KubeconfigCluster::of(&request.workload, request.server.as_deref()).await?;
    let management = administer(
        request,
        "management",
        &request.management,
        &request.namespace,
    );
    let stored = Stored::read(&management, &request.namespace, request.relay.as_deref()).await?;
    guards::known_to_gloo(&management, name).await?;
    let wanted = guards::relay_cluster(&stored, request, false)?;
    let Assembled {
        relay,
        mut rejected,
    } = wanted.assembled(&stored)?;
    let spec = guards::spec(&relay, &mut rejected, name)?;
    guards::namespace(spec, request.workload_namespace.as_deref())?;
    let secret = guards::kubeconfig_secret(spec)?;

    let opener = Opener {
        identity: request.identity.clone(),
        in_cluster: request.management.clone(),
    };
    let home: Arc<dyn Cluster> = Arc::new(opener.kubernetes(&relay, relay.home(), None));
    let workload = administer(request, name, &request.workload, &spec.namespace);
    let uid = guards::two_clusters(&management, &workload, &relay, name).await?;
    let kept = guards::kept_kubeconfig(home.as_ref(), &secret, name, &uid).await?;
    let workloads = relay.rotation.restart.iter().cloned();
    let (here, elsewhere): (Vec<_>, Vec<_>) = workloads
        .filter(|workload| workload.role == spec.role)
        .partition(|workload| workload.is_in(&spec.namespace));
    for workload in elsewhere {
        notes.push(format!(
            "to restart {workload}, give ServiceAccount {}/{} get and patch of it by name",
            spec.namespace,
            account::ACCOUNT
        ));
    }
    let account = Account::new(
        name,
        &relay.name,
        &spec.namespace,
        request.allow_delete,
        &here,
    );
    let found = Found::read(&workload, &account).await?;
    guards::client_certificate(&workload, &relay, spec).await?;

    let mut registration = Registration {
        relay: relay.name.clone(),
        namespace: spec.namespace.clone(),
        server: target.server().to_owned(),
        steps: Vec::new(),
        checks: Vec::new(),
        notes: Vec::new(),
    };
    let mut steps = Steps::new(request.dry_run);
    let token = account.establish(&workload, found, &mut steps).await?;
    credentials::keep(
        home.as_ref(),
        &secret,
        kept,
        &credentials::Content {
            cluster: name,
            relay: &relay.name,
            uid: &uid,
            namespace: &spec.namespace,
            target: &target,
            token: token.as_ref(),
        },
        &mut steps,
    )
    .await?;
    if !request.dry_run {
        // As the controller opens it: from the Secret.
        let registered = opener.kubernetes(&relay, spec, Some(&home));
        let expected = proof::Expected {
            relay: &relay.name,
            may_delete: request.allow_delete,
        };
        registration.checks = proof::prove(&registered, &expected).await;
    }
    if registration.is_proved() {
        wanted.write(&management, &mut steps).await?;
    }
    registration.steps = steps.done;
    notes.extend(guards::other_rejections(&rejected, name));
    registration.notes = notes;
    Ok(registration)
}

/// A cluster with the rights of the person who runs us.
fn administer(
    request: &Request,
    name: &str,
    access: &Access,
    namespace: &str,
) -> KubernetesCluster {
    administered(name, access, namespace, &request.identity)
}

fn administered(name: &str, access: &Access, namespace: &str, identity: &str) -> KubernetesCluster {
    let lock = LockName {
        lease: "relay-pki-registration".to_owned(),
        identity: identity.to_owned(),
    };
    KubernetesCluster::new(name, namespace, access.clone(), lock)
}
