//! `Certificate` objects, and an `Issuer` for them.

use relay_pki_authority::x509::{DnsName, KeyType};
use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::config::{AgentSpec, ClusterSpec, Lifetime, Relay, Role};
use crate::relay::{SecretRole, secret_name};
use crate::renewal::Renewal;

const API_VERSION: &str = "cert-manager.io/v1";
/// The shortest lifetime that cert-manager takes, in seconds.
const SHORTEST: u64 = 3600;
/// The longest common name (RFC 5280, ub-common-name).
const COMMON_NAME: usize = 64;

/// Arguments of `manifests cert-manager`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The cluster: a management cluster gets the relay server's certificate
    cluster: String,
    #[command(flatten)]
    issuer: Which,
    /// The API group of the issuer, if not cert-manager's own
    #[arg(
        long,
        value_name = "GROUP",
        requires = "issuer",
        default_value = "cert-manager.io"
    )]
    issuer_group: String,
}

/// Who issues.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// An issuer that there is, KIND/NAME
    #[arg(long, value_name = "KIND/NAME", value_parser = kind_and_name)]
    issuer: Option<(String, String)>,
    /// A Secret with a CA's key, for an Issuer that is printed too
    #[arg(long, value_name = "SECRET")]
    ca_secret: Option<String>,
}

fn kind_and_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
            Ok((kind.to_owned(), name.to_owned()))
        }
        _ => Err("write for example ClusterIssuer/company".to_owned()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<Spec> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Serialize)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Serialize)]
struct IssuerSpec {
    ca: CaSecret,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CaSecret {
    secret_name: String,
}

#[derive(Clone, Serialize)]
struct IssuerRef {
    group: String,
    kind: String,
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateSpec {
    secret_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    common_name: Option<String>,
    dns_names: Vec<String>,
    duration: String,
    renew_before: String,
    private_key: PrivateKeySpec,
    usages: Vec<&'static str>,
    issuer_ref: IssuerRef,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateKeySpec {
    algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u16>,
    encoding: &'static str,
    /// Each certificate its own key: cert-manager kept keys before 1.18.
    rotation_policy: &'static str,
}

/// A leaf, as the document says it.
struct Leaf<'a> {
    secret: String,
    names: Vec<&'a DnsName>,
    lifetime: Lifetime,
    renewal: &'a Renewal,
    key_type: KeyType,
    usage: &'static str,
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
    let agent_name: Option<DnsName> = spec.name.as_str().parse().ok();
    let mut leaves = Vec::new();
    if spec.role == Role::Management {
        leaves.push(server(relay, spec));
    }
    if let (Some(agent), Some(name)) = (&spec.agent, &agent_name) {
        leaves.push(client(agent, name));
    }
    let issuer = issuer(arguments, relay);
    let mut documents = Vec::new();
    if let Some(secret_name) = &arguments.issuer.ca_secret {
        let ca = CaSecret {
            secret_name: secret_name.clone(),
        };
        documents.push(document(
            spec,
            "Issuer",
            issuer.name.clone(),
            IssuerSpec { ca },
        )?);
    }
    for leaf in leaves {
        let (name, certificate) = (leaf.secret.clone(), certificate(leaf, &issuer)?);
        documents.push(document(spec, "Certificate", name, certificate)?);
    }
    output.text(&documents.join("---\n"))?;
    Ok(Exit::Done)
}

fn issuer(arguments: &Arguments, relay: &Relay) -> IssuerRef {
    let (kind, name) = match &arguments.issuer.issuer {
        Some((kind, name)) => (kind.clone(), name.clone()),
        None => ("Issuer".to_owned(), format!("relay-pki-{}", relay.name)),
    };
    IssuerRef {
        group: arguments.issuer_group.clone(),
        kind,
        name,
    }
}

fn server<'a>(relay: &'a Relay, spec: &ClusterSpec) -> Leaf<'a> {
    Leaf {
        secret: secret_name(relay, spec, SecretRole::Server),
        names: relay.server.names.iter().collect(),
        lifetime: relay.server.validity,
        renewal: &relay.server.renewal,
        key_type: relay.server.key_type,
        usage: "server auth",
    }
}

fn client<'a>(agent: &'a AgentSpec, name: &'a DnsName) -> Leaf<'a> {
    Leaf {
        secret: agent.client_secret.clone(),
        names: vec![name],
        lifetime: agent.validity,
        renewal: &agent.renewal,
        key_type: agent.key_type,
        usage: "client auth",
    }
}

fn certificate(leaf: Leaf<'_>, issuer: &IssuerRef) -> Result<CertificateSpec, CliError> {
    let seconds = leaf.lifetime.as_secs();
    if seconds < SHORTEST {
        return Err(CliError::usage(
            format!("{} is to be valid for {}", leaf.secret, leaf.lifetime),
            "write a validity of 1h or more: cert-manager renews nothing shorter",
        ));
    }
    let (algorithm, size) = match leaf.key_type {
        KeyType::EcdsaP256 => ("ECDSA", Some(256)),
        KeyType::EcdsaP384 => ("ECDSA", Some(384)),
        KeyType::Rsa2048 => ("RSA", Some(2048)),
        KeyType::Rsa3072 => ("RSA", Some(3072)),
        KeyType::Rsa4096 => ("RSA", Some(4096)),
        KeyType::Ed25519 => ("Ed25519", None),
    };
    let encipherment = leaf.key_type.is_rsa().then_some("key encipherment");
    let usages = [Some("digital signature"), encipherment, Some(leaf.usage)];
    let names: Vec<String> = leaf.names.iter().map(ToString::to_string).collect();
    let common_name = names.first().filter(|name| name.len() <= COMMON_NAME);
    Ok(CertificateSpec {
        secret_name: leaf.secret,
        common_name: common_name.cloned(),
        duration: format!("{seconds}s"),
        renew_before: format!("{}s", renew_before(seconds, leaf.renewal)),
        private_key: PrivateKeySpec {
            algorithm,
            size,
            encoding: "PKCS8",
            rotation_policy: "Always",
        },
        usages: usages.into_iter().flatten().collect(),
        issuer_ref: issuer.clone(),
        dns_names: names,
    })
}

/// How long before the end to renew: cert-manager wants five minutes at least.
fn renew_before(seconds: u64, renewal: &Renewal) -> u64 {
    // Percents are exact enough, and small enough for every type.
    let percents = (renewal.at.share() * 100.0).clamp(0.0, 100.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 100"
    )]
    let left = 100 - percents.round() as u64;
    (seconds / 100 * left).max(300)
}

fn document<Spec: Serialize>(
    cluster: &ClusterSpec,
    kind: &'static str,
    name: String,
    spec: Spec,
) -> Result<String, CliError> {
    let object = Object {
        api_version: API_VERSION,
        kind,
        metadata: Metadata {
            name,
            namespace: cluster.namespace.clone(),
        },
        spec,
    };
    serde_saphyr::to_string(&object)
        .map_err(|error| CliError::failed(format!("cannot print the {kind}: {error}")))
}
