//! Registers a cluster whose agent enrols: nothing is made in it, and nothing of it is known here but its
//! name.

use kube::ResourceExt as _;
use relay_pki_authority::x509::Fingerprint;

use super::error::{RegistrationError, refused};
use super::steps::{Step, Steps};
use super::{Request, administered, guards};
use crate::cluster::{Cluster as _, ClusterError};
use crate::clusters::Opener;
use crate::config::{Assembled, Relay};
use crate::crd::Stored;
use crate::journal::Journal;
use crate::relay;

/// What came of it.
#[derive(Debug, Clone)]
pub struct Enrolling {
    /// The Relay that the cluster belongs to.
    pub relay: String,
    /// The namespace of the relay Secrets in the cluster.
    pub namespace: String,
    /// The name that agents call the server by, if they are not told another one.
    pub server: String,
    /// What was made, or would be.
    pub steps: Vec<Step>,
    /// The roots that the agent is to trust the server by; never none.
    pub roots: Vec<Fingerprint>,
    /// What a person should know besides.
    pub notes: Vec<String>,
}

/// Makes the RelayCluster of a cluster whose agent enrols.
///
/// # Errors
///
/// What stands in the way, and what to do about it.
pub async fn register_enrolling(request: &Request) -> Result<Enrolling, RegistrationError> {
    let name = request.name.as_str();
    let (access, namespace) = (&request.management, &request.namespace);
    let management = administered("management", access, namespace, &request.identity);
    let stored = Stored::read(&management, namespace, request.relay.as_deref()).await?;
    guards::known_to_gloo(&management, name).await?;
    let wanted = guards::relay_cluster(&stored, request, true)?;
    let Assembled {
        relay,
        mut rejected,
    } = wanted.assembled(&stored)?;
    let spec = guards::spec(&relay, &mut rejected, name)?;
    guards::namespace(spec, request.workload_namespace.as_deref())?;
    if relay.enrolling(name).is_none() {
        return Err(refused(
            format!(
                "RelayCluster {name} is {}: its agent does not enrol",
                spec.location
            ),
            format!(
                "take it out first (`relay-pki cluster unregister {name}`), or register it without \
                 --delivery enroll"
            ),
        ));
    }
    let opener = Opener {
        identity: request.identity.clone(),
        in_cluster: access.clone(),
    };
    let roots = roots(&opener, &relay).await?;
    let mut steps = Steps::new(request.dry_run);
    wanted.write(&management, &mut steps).await?;
    let server = relay.server.names.first().map(ToString::to_string);
    Ok(Enrolling {
        relay: stored.relay.name_any(),
        namespace: spec.namespace.clone(),
        server: server.unwrap_or_default(),
        steps: steps.done,
        roots,
        notes: guards::other_rejections(&rejected, name)
            .into_iter()
            .collect(),
    })
}

/// The roots of the relay, which the agent is told before it knows anything else.
async fn roots(opener: &Opener, relay: &Relay) -> Result<Vec<Fingerprint>, RegistrationError> {
    let home = opener.kubernetes(relay, relay.home(), None);
    let objects = home.list(relay::selector(&relay.name), &[]).await?;
    let journal = Journal::from_objects(&relay.name, &objects).map_err(|reason| {
        RegistrationError::Cluster(ClusterError::Malformed {
            cluster: relay.home().name.to_string(),
            place: "a record of relay-pki".to_owned(),
            reason: format!("{reason}; restore it from a backup"),
        })
    })?;
    let roots = journal.published_roots().map_err(|_| {
        refused(
            format!(
                "relay {} has no root yet that an agent could trust",
                relay.name
            ),
            "wait until the controller has made it (`kubectl get relays`), or run `relay-pki \
             bootstrap`, then run this command again",
        )
    })?;
    let anchors = roots.anchors().iter();
    Ok(anchors.map(|root| root.fingerprint()).collect())
}
