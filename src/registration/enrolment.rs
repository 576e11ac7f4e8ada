//! Registers a cluster whose agent enrols: nothing is made in it, and nothing of it is known here but its
//! name.

use kube::ResourceExt as _;
use relay_pki_authority::x509::Fingerprint;

use super::error::{RegistrationError, refused};
use super::steps::{Step, Steps};
use super::{Request, administered, guards};
use crate::cluster::Cluster as _;
use crate::clusters::Opener;
use crate::config::Assembled;
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
    /// The Secret with the trust bundle: its name is the same in every cluster.
    pub root_secret: String,
    /// The namespace of that Secret in the management cluster.
    pub home_namespace: String,
    /// What was made, or would be.
    pub steps: Vec<Step>,
    /// The roots, for whoever compares them over another way. None before the relay has one.
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
    let home = opener.kubernetes(&relay, relay.home(), None);
    let records = home.list(relay::selector(&relay.name), &[]).await?;
    let journal = Journal::from_objects(&relay.name, &records).unwrap_or_default();
    let roots = journal.published_roots().ok();
    let mut steps = Steps::new(request.dry_run);
    wanted.write(&management, &mut steps).await?;
    let server = relay.server.names.first().map(ToString::to_string);
    Ok(Enrolling {
        relay: stored.relay.name_any(),
        namespace: spec.namespace.clone(),
        server: server.unwrap_or_default(),
        root_secret: relay.secrets.root.clone(),
        home_namespace: relay.home().namespace.clone(),
        steps: steps.done,
        roots: roots.map_or_else(Vec::new, |roots| {
            let anchors = roots.anchors().iter();
            anchors.map(|root| root.fingerprint()).collect()
        }),
        notes: guards::other_rejections(&rejected, name)
            .into_iter()
            .collect(),
    })
}
