use relay_pki_authority::x509::{DnsName, KeyType, X509Error};
use serde_saphyr::Location as Place;

use super::super::document;
use super::super::error::ValueError;
use super::super::lifetime::Lifetime;
use super::super::lifetimes::{self, MIN_LEAF};
use super::super::located::Located;
use super::super::spec::{ClusterSpec, Delivery, ServerSpec};
use super::{Above, RenewalSetting, Resolver, Setting};

/// What holds for every agent whose cluster says nothing else; none what could not be read.
pub(super) struct AgentDefaults {
    pub(super) delivery: Option<Delivery>,
    pub(super) validity: Option<Setting<Lifetime>>,
    pub(super) key_type: Option<KeyType>,
    pub(super) renewal: Option<RenewalSetting>,
}

impl Resolver<'_> {
    pub(super) fn server(
        &mut self,
        written: Option<&Located<document::Server>>,
        spec_at: Place,
        namespace: Option<&str>,
        above: Above,
    ) -> Option<ServerSpec> {
        const PATH: &str = "spec.server";
        let empty = document::Server::default();
        let server = written.map_or(&empty, |server| &server.value);
        let written = server.validity.as_ref();
        let validity = self.lifetime(PATH, written, lifetimes::SERVER, MIN_LEAF);
        let key_type = self.key_type(PATH, server.key_type.as_ref());
        let renewal = self.renewal(PATH, server.renew_at.as_ref(), server.schedule.as_ref());
        self.check_leaf(PATH, validity, above, spec_at);
        self.check_schedule(PATH, validity, renewal.as_ref(), None);
        let names = self.server_names(namespace, server);
        Some(ServerSpec {
            validity: validity?.value,
            key_type: key_type?,
            names: names?,
            renewal: renewal?.renewal,
        })
    }

    fn server_names(
        &mut self,
        namespace: Option<&str>,
        server: &document::Server,
    ) -> Option<Vec<DnsName>> {
        let mut names: Vec<DnsName> = Vec::new();
        let mut complete = true;
        if let Some(namespace) = namespace {
            names.extend(server_names(namespace));
        }
        for text in server.extra_dns_names.iter().flatten() {
            let read = |name: &str| name.parse::<DnsName>().map_err(dns_error);
            match self.value("spec.server.extraDnsNames", text, read) {
                Some(name) if !names.contains(&name) => names.push(name),
                Some(_) => {}
                None => complete = false,
            }
        }
        complete.then_some(names)
    }

    pub(super) fn agents(
        &mut self,
        written: Option<&Located<document::Agents>>,
        spec_at: Place,
        above: Above,
    ) -> AgentDefaults {
        const PATH: &str = "spec.agents";
        let empty = document::Agents::default();
        let agents = written.map_or(&empty, |agents| &agents.value);
        let written = agents.validity.as_ref();
        let validity = self.lifetime(PATH, written, lifetimes::AGENT, MIN_LEAF);
        let renewal = self.renewal(PATH, agents.renew_at.as_ref(), agents.schedule.as_ref());
        self.check_leaf(PATH, validity, above, spec_at);
        self.check_schedule(PATH, validity, renewal.as_ref(), None);
        AgentDefaults {
            delivery: match &agents.delivery {
                Some(text) => self.value("spec.agents.delivery", text, str::parse),
                None => Some(Delivery::Push),
            },
            validity,
            key_type: self.key_type(PATH, agents.key_type.as_ref()),
            renewal,
        }
    }
}

/// The names of a relay server in the namespace of this cluster.
pub(super) fn server_names_in(cluster: &ClusterSpec) -> Vec<DnsName> {
    server_names(&cluster.namespace)
}

fn server_names(namespace: &str) -> Vec<DnsName> {
    [
        format!("gloo-mesh-mgmt-server.{namespace}"),
        format!("*.{namespace}"),
    ]
    .into_iter()
    // A namespace is a label, so this always is a name.
    .filter_map(|name| name.parse().ok())
    .collect()
}

fn dns_error(error: X509Error) -> ValueError {
    match error {
        X509Error::InvalidName { value, reason, .. } => {
            ValueError::new(format!("{value:?} is no valid DNS name"), reason)
        }
        error => ValueError::new(error.to_string(), "write a DNS name"),
    }
}
