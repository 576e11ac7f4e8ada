//! From the document as it is written to what it means. A value that cannot be read is reported and
//! left out of all further checks, so that each mistake is reported once.

mod authorities;
mod aws_private_ca;
mod cert_manager;
mod clusters;
mod credential;
mod gcp_cas;
mod leaves;
mod location;
mod objects;
mod rotation;
mod secrets;
mod self_signed;
mod source;
mod vault;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::KeyType;
use serde_saphyr::Location as Place;

pub use self::objects::{Assembled, ClusterObject, RelayObject, assemble};

use self::leaves::AgentDefaults;
use self::source::Source;
use super::document;
use super::error::{ConfigError, Problem, ValueError};
use super::lifetime::Lifetime;
use super::located::Text;
use super::names::{self, SecretNames};
use super::schedule::Schedule;
use super::spec::{
    ClusterSpec, EnrolmentLimits, EnrolmentTokens, ProviderConfig, Relay, RootSpec, RotationSpec,
    ServerSpec, SignerSpec, Tokens,
};
use super::structure::{HEADER, suggestion, wrong_header};
use super::{problem, problem_at};
use crate::renewal::{RenewAt, Renewal};

/// Where the gaps of schedules are measured. They are the same from every start; a fixed one keeps
/// the answer, and with it what is accepted, the same on every day.
const YEAR_2000: i64 = 946_684_800;

pub(super) fn resolve(
    document: document::Relay,
    file: &str,
    base: &Path,
) -> Result<Relay, ConfigError> {
    let mut resolver = Resolver::new(file.to_owned(), Source::Document { base });
    let relay = resolver.relay(&document);
    match relay {
        Some(relay) if resolver.problems.is_empty() => Ok(relay),
        _ => Err(ConfigError::new(resolver.problems)),
    }
}

/// A value and where it is written; nowhere if it is a default.
#[derive(Debug, Clone, Copy)]
struct Setting<T> {
    value: T,
    at: Option<Place>,
}

impl<T: fmt::Display> Setting<T> {
    fn shown(&self) -> String {
        match self.at {
            Some(_) => self.value.to_string(),
            None => format!("{} (the default)", self.value),
        }
    }
}

/// A renewal, and how long its schedule may be silent.
struct RenewalSetting {
    renewal: Renewal,
    gap: SignedDuration,
    at: Option<Place>,
}

/// What a signer allows its leaves.
#[derive(Debug, Clone, Copy)]
struct Above {
    /// How long it lives itself.
    validity: Option<Setting<Lifetime>>,
    /// The longest that its backend issues.
    longest: Option<Lifetime>,
}

type Providers = BTreeMap<String, ProviderConfig>;

/// A relay without its clusters; none what could not be read.
struct Frame {
    name: Option<String>,
    namespace: Option<String>,
    providers: Option<Providers>,
    root: Option<RootSpec>,
    signer: Option<SignerSpec>,
    above: Above,
    server: Option<ServerSpec>,
    agents: AgentDefaults,
    tokens: Tokens,
    enrolment_tokens: Option<EnrolmentTokens>,
    enrolment_limits: Option<EnrolmentLimits>,
    secrets: Option<SecretNames>,
    rotation: Option<RotationSpec>,
    /// Where the client secret is named.
    client_at: Option<Place>,
}

impl Frame {
    /// The whole relay.
    fn relay(self, clusters: Vec<ClusterSpec>, home: ClusterSpec) -> Option<Relay> {
        let mut relay = Relay {
            name: self.name?,
            namespace: self.namespace?,
            providers: self.providers?,
            root: self.root?,
            signer: self.signer?,
            server: self.server?,
            tokens: self.tokens,
            enrolment_tokens: self.enrolment_tokens?,
            enrolment_limits: self.enrolment_limits?,
            secrets: self.secrets?,
            rotation: self.rotation?,
            clusters,
            home,
        };
        // The server is called by the namespace that it is in, wherever that is.
        for name in relay
            .management()
            .flat_map(leaves::server_names_in)
            .collect::<Vec<_>>()
        {
            if !relay.server.names.contains(&name) {
                relay.server.names.push(name);
            }
        }
        Some(relay)
    }
}

struct Resolver<'a> {
    /// What the problems are in: the file as the user named it, or the object.
    subject: String,
    source: Source<'a>,
    problems: Vec<Problem>,
}

impl<'a> Resolver<'a> {
    fn new(subject: String, source: Source<'a>) -> Self {
        Self {
            subject,
            source,
            problems: Vec::new(),
        }
    }

    fn relay(&mut self, document: &document::Relay) -> Option<Relay> {
        for ((field, expected), found) in HEADER
            .into_iter()
            .zip([&document.api_version, &document.kind])
        {
            if found.text != expected {
                let (message, hint) = wrong_header(field, &found.text, expected);
                self.report(Some(found.at), message, hint);
            }
        }
        let label = |text: &str| names::label("name", text).map(str::to_owned);
        let name = self.value("metadata.name", &document.metadata.name, label);
        let spec = &document.spec.value;
        let frame = self.frame(name, spec, document.spec.at);
        let (clusters, home) = self.clusters(&spec.clusters, &frame)?;
        if let Some(providers) = &frame.providers {
            self.check_cert_managers(spec, providers, &home);
        }
        frame.relay(clusters, home)
    }

    /// Everything but the clusters.
    fn frame(&mut self, name: Option<String>, spec: &document::Spec, at: Place) -> Frame {
        let label = |text: &str| names::label("name", text).map(str::to_owned);
        let namespace = match &spec.namespace {
            Some(text) => self.value("spec.namespace", text, label),
            None => Some(self.source.namespace().to_owned()),
        };
        let providers = self.providers(spec.providers.as_ref());
        let (root, root_validity) = self.root(spec.root.as_ref(), at, providers.as_ref());
        let (signer, signer_validity) =
            self.signer(spec.signer.as_ref(), at, providers.as_ref(), root_validity);
        let holder = signer.as_ref().zip(providers.as_ref());
        let holder = holder.and_then(|(signer, providers)| providers.get(&signer.provider));
        let above = Above {
            validity: signer_validity,
            longest: holder.and_then(ProviderConfig::longest_leaf),
        };
        let server = self.server(spec.server.as_ref(), at, namespace.as_deref(), above);
        let tokens = Tokens {
            forwarding: match &spec.tokens {
                Some(tokens) => tokens.forwarding.is_some(),
                None => true,
            },
        };
        let enrolment = spec.enrolment.as_ref();
        let enrolment_tokens = match enrolment.and_then(|part| part.tokens.as_ref()) {
            Some(text) => self.value("spec.enrolment.tokens", text, str::parse),
            None => Some(EnrolmentTokens::default()),
        };
        let enrolment_limits = match enrolment.and_then(|part| part.limits.as_ref()) {
            Some(written) => self.enrolment_limits(written),
            None => Some(EnrolmentLimits::default()),
        };
        let client_at = |secrets: &document::Secrets| Some(secrets.client.as_ref()?.at);
        Frame {
            name,
            namespace,
            providers,
            root,
            signer,
            above,
            server,
            agents: self.agents(spec.agents.as_ref(), at, above),
            tokens,
            enrolment_tokens,
            enrolment_limits,
            secrets: self.secrets(spec.secrets.as_ref(), tokens),
            rotation: self.rotation(spec.rotation.as_ref()),
            client_at: spec.secrets.as_ref().and_then(client_at),
        }
    }

    fn report(&mut self, at: Option<Place>, message: impl Into<String>, hint: impl Into<String>) {
        let (message, hint) = (message.into(), Some(hint.into()));
        self.problems.push(match at {
            Some(at) if self.source.has_places() => problem_at(&self.subject, at, message, hint),
            _ => problem(&self.subject, message, hint),
        });
    }

    /// What `read` makes of the text; reported and none if it makes nothing of it.
    fn value<K, T>(
        &mut self,
        path: impl fmt::Display,
        text: &Text<K>,
        read: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        match read(&text.text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(
                    Some(text.at),
                    format!("{path}: {}", error.message),
                    error.hint,
                );
                None
            }
        }
    }

    /// What a field says, if it is there; `None` if it is there and wrong.
    fn optional<K, T>(
        &mut self,
        path: &str,
        field: &str,
        text: &Option<Text<K>>,
        read: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<Option<T>> {
        match text {
            Some(text) => self
                .value(format_args!("{path}.{field}"), text, read)
                .map(Some),
            None => Some(None),
        }
    }

    fn enrolment_limits(&mut self, written: &document::EnrolmentLimits) -> Option<EnrolmentLimits> {
        let path = "spec.enrolment.limits";
        let default = EnrolmentLimits::default();
        let refusals = &written.refusals_per_minute;
        let refusals = self.optional(path, "refusalsPerMinute", refusals, |text| {
            number_to(6000, text)
        });
        let connections = &written.connections_per_address;
        let connections = self.optional(path, "connectionsPerAddress", connections, |text| {
            number_to(4096, text)
        });
        Some(EnrolmentLimits {
            refusals_per_minute: refusals?.unwrap_or(default.refusals_per_minute),
            connections_per_address: connections?.unwrap_or(default.connections_per_address),
        })
    }

    fn key_type(&mut self, path: &str, text: Option<&Text<KeyType>>) -> Option<KeyType> {
        let Some(text) = text else {
            return Some(KeyType::default());
        };
        self.value(format_args!("{path}.keyType"), text, |word| {
            word.parse().map_err(|_| {
                let shown: String = word.chars().take(40).collect();
                let known = KeyType::ALL.map(KeyType::as_str);
                ValueError::new(
                    format!("{shown:?} is no key type"),
                    suggestion(&shown, &known),
                )
            })
        })
    }

    fn lifetime(
        &mut self,
        path: impl fmt::Display,
        text: Option<&Text<Lifetime>>,
        default: Lifetime,
        shortest: Lifetime,
    ) -> Option<Setting<Lifetime>> {
        let Some(text) = text else {
            return Some(Setting {
                value: default,
                at: None,
            });
        };
        let read = |word: &str| match Lifetime::from_str(word)? {
            lifetime if lifetime < shortest => Err(ValueError::new(
                format!("{lifetime} is too short to renew in time"),
                format!("write {shortest} or more"),
            )),
            lifetime => Ok(lifetime),
        };
        let value = self.value(format_args!("{path}.validity"), text, read)?;
        Some(Setting {
            value,
            at: Some(text.at),
        })
    }

    fn renewal(
        &mut self,
        path: &str,
        at: Option<&Text<RenewAt>>,
        schedule: Option<&Text<Schedule>>,
    ) -> Option<RenewalSetting> {
        let renew_at = match at {
            Some(text) => self.value(format_args!("{path}.renewAt"), text, str::parse),
            None => Some(RenewAt::DEFAULT),
        };
        let place = schedule.map(|text| text.at);
        let schedule: Option<Schedule> = match schedule {
            Some(text) => Some(self.value(format_args!("{path}.schedule"), text, str::parse)?),
            None => None,
        };
        let start = Timestamp::from_second(YEAR_2000).unwrap_or(Timestamp::UNIX_EPOCH);
        let gap = schedule
            .as_ref()
            .map(|schedule| schedule.longest_gap(start));
        Some(RenewalSetting {
            renewal: Renewal {
                at: renew_at?,
                schedule,
            },
            gap: gap.unwrap_or_default(),
            at: place,
        })
    }

    /// A certificate has to end before its issuer does, or it would be cut short.
    fn check_inside(
        &mut self,
        path: impl fmt::Display,
        inner: Option<Setting<Lifetime>>,
        issuer_path: &str,
        issuer: Option<Setting<Lifetime>>,
        otherwise_at: Place,
    ) {
        let (Some(inner), Some(issuer)) = (inner, issuer) else {
            return;
        };
        if inner.value >= issuer.value {
            self.report(
                inner.at.or(issuer.at).or(Some(otherwise_at)),
                format!(
                    "{path}.validity {} is not shorter than {issuer_path}.validity {}",
                    inner.shown(),
                    issuer.shown()
                ),
                format!("shorten {path}.validity or lengthen {issuer_path}.validity"),
            );
        }
    }

    /// A leaf has to end before its signer does, and its signer's backend has to issue such leaves.
    fn check_leaf(
        &mut self,
        path: impl fmt::Display,
        leaf: Option<Setting<Lifetime>>,
        above: Above,
        otherwise_at: Place,
    ) {
        let signer = self.source.signer_path();
        self.check_inside(&path, leaf, signer, above.validity, otherwise_at);
        if let (Some(leaf), Some(longest)) = (leaf, above.longest)
            && leaf.value > longest
        {
            self.report(
                leaf.at.or(Some(otherwise_at)),
                format!(
                    "{path}.validity {} is longer than the backend of {signer} issues: {longest}",
                    leaf.shown()
                ),
                format!("write {path}.validity: {longest} or less"),
            );
        }
    }

    /// A schedule has to fire between the renewal point and the reserve, whenever that is. Reported
    /// at `at`, or else where the schedule is written.
    fn check_schedule(
        &mut self,
        path: impl fmt::Display,
        validity: Option<Setting<Lifetime>>,
        renewal: Option<&RenewalSetting>,
        at: Option<Place>,
    ) {
        let (Some(validity), Some(setting)) = (validity, renewal) else {
            return;
        };
        let Some(schedule) = &setting.renewal.schedule else {
            return;
        };
        let slack = setting.renewal.slack(validity.value);
        if setting.gap > slack {
            let message = format!(
                "{path}: the schedule {:?} leaves up to {} between two firings, but with renewAt \
                 {} a certificate of {} can wait {} only, until the last tenth of its life",
                schedule.as_str(),
                shown_duration(setting.gap),
                setting.renewal.at,
                validity.value,
                shown_duration(slack),
            );
            self.report(
                at.or(setting.at),
                message,
                "write a schedule that fires more often, a smaller renewAt or a longer validity",
            );
        }
    }
}

fn shown_duration(duration: SignedDuration) -> String {
    let seconds = u64::try_from(duration.as_secs()).unwrap_or_default();
    Lifetime::from_secs(seconds).map_or_else(|_| "0s".to_owned(), |shown| shown.to_string())
}

/// A number from 1 to `most`.
fn number_to(most: u32, text: &str) -> Result<u32, ValueError> {
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => {
            let shown: String = text.chars().take(80).collect();
            Err(ValueError::new(
                format!("{shown:?} is no number from 1 to {most}"),
                format!("write a number from 1 to {most}, or leave it out"),
            ))
        }
    }
}
