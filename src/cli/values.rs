//! Gloo Helm values that fit the Secrets we write (Gloo Platform chart, 2.3 and later).

use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, Output};
use crate::config::{ClusterSpec, Delivery, Relay, Role};
use crate::relay::{SecretRole, TOKEN, secret_name};

/// Arguments of `values`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The cluster: a management cluster gets the values of the management plane
    cluster: String,
    /// The relay server's address as agents reach it, HOST:PORT
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    server_address: Option<String>,
    /// The form of the result; `table` is YAML, as Helm reads it
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

/// Whether `text` is a host and a port, as a gRPC client takes it.
fn host_and_port(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("there is no :PORT")?;
    let port_fits = port.parse::<u16>().is_ok_and(|port| port > 0);
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            !host.is_empty() && host.chars().all(allowed)
        }
    };
    match (host_fits, port_fits) {
        (true, true) => Ok(text.to_owned()),
        (false, _) => Err(format!("{host:?} is no host name or address")),
        (true, false) => Err(format!("{port:?} is no port")),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Values {
    common: CommonValues,
    #[serde(skip_serializing_if = "Option::is_none")]
    gloo_mgmt_server: Option<ServerValues>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gloo_agent: Option<AgentValues>,
}

#[derive(Debug, Serialize)]
struct CommonValues {
    cluster: String,
    insecure: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerValues {
    enabled: bool,
    insecure: bool,
    register_cluster: bool,
    relay: ServerRelay,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerRelay {
    disable_ca: bool,
    disable_ca_cert_generation: bool,
    disable_token_generation: bool,
    tls_secret: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_tls_secret: Option<Reference>,
    token_secret: TokenReference,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentValues {
    enabled: bool,
    insecure: bool,
    relay: AgentRelay,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentRelay {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_address: Option<String>,
    authority: String,
    client_tls_secret: Reference,
    root_tls_secret: Reference,
    token_secret: TokenReference,
}

#[derive(Debug, Serialize)]
struct Reference {
    name: String,
    namespace: String,
}

/// With certificates that are pushed, the chart's default token has to be taken away with nulls, or
/// the agent insists on it.
#[derive(Debug, Serialize)]
struct TokenReference {
    name: Option<String>,
    namespace: Option<String>,
    key: Option<&'static str>,
}

pub(super) fn run(arguments: &Arguments, relay: &Relay, output: &Output) -> Result<Exit, CliError> {
    let wanted = arguments.cluster.as_str();
    let mut specs = relay.clusters.iter();
    let Some(spec) = specs.find(|spec| spec.name.as_str() == wanted) else {
        return Err(CliError::usage(
            format!("there is no cluster {wanted} in the document"),
            "`relay-pki status` lists the clusters",
        ));
    };
    let values = values(relay, spec, arguments.server_address.clone());
    let format = match arguments.output {
        Format::Json => Format::Json,
        Format::Table | Format::Yaml => Format::Yaml,
    };
    output.data(format, &values, |_| String::new())?;
    Ok(Exit::Done)
}

fn values(relay: &Relay, spec: &ClusterSpec, server_address: Option<String>) -> Values {
    let reference = |role| Reference {
        name: secret_name(relay, spec, role),
        namespace: spec.namespace.clone(),
    };
    let token = |wanted: bool| TokenReference {
        name: wanted.then(|| secret_name(relay, spec, SecretRole::IdentityToken)),
        namespace: wanted.then(|| spec.namespace.clone()),
        key: wanted.then_some(TOKEN),
    };
    let server_signs = relay
        .agents()
        .any(|(_, agent)| agent.delivery == Delivery::ServerSigned);
    Values {
        common: CommonValues {
            cluster: spec.name.to_string(),
            insecure: false,
        },
        gloo_mgmt_server: (spec.role == Role::Management).then(|| ServerValues {
            enabled: true,
            insecure: false,
            register_cluster: spec.agent.is_some(),
            relay: ServerRelay {
                disable_ca: !server_signs,
                disable_ca_cert_generation: true,
                disable_token_generation: true,
                tls_secret: reference(SecretRole::Server),
                signing_tls_secret: server_signs.then(|| reference(SecretRole::Signing)),
                token_secret: token(true),
            },
        }),
        gloo_agent: spec.agent.as_ref().map(|agent| AgentValues {
            enabled: true,
            insecure: false,
            relay: AgentRelay {
                server_address,
                authority: relay
                    .server
                    .names
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                client_tls_secret: reference(SecretRole::Client),
                root_tls_secret: reference(SecretRole::Trust),
                token_secret: token(agent.delivery == Delivery::ServerSigned),
            },
        }),
    }
}
