//! What the API server checks with CEL: where a schema cannot say it, and where it cannot say it in
//! words. Everything here is checked again when objects are assembled; here it is refused before it
//! is stored.

use serde_json::{Value, json};

use crate::config::{Lifetime, lifetimes};

/// A rule and what the API server answers where it is broken.
pub(super) type Rule = (String, String);

/// The keyword of rules in a schema.
pub(super) const KEYWORD: &str = "x-kubernetes-validations";

/// What to write where a pattern does not match: `must match ^[a-z…` helps nobody.
const PATTERNS: [(&str, &str); 21] = [
    (
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "use lower-case letters, digits and '-', with a letter or digit at both ends",
    ),
    (
        "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
    ),
    (
        "^([a-z0-9]|<cluster>)(([-.a-z0-9]|<cluster>)*([a-z0-9]|<cluster>))?$",
        "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends; \
         <cluster> stands for the cluster's name",
    ),
    (
        r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "write a DNS name in lower case, for example relay.example.com or *.example.com",
    ),
    (
        r"^[^\s/?#@]+:[0-9]{1,5}$",
        "write host and port, for example gloo-mesh-mgmt-server.gloo-mesh:9900",
    ),
    (
        r"^http://[^\s/?#@]+(/[-._~/a-zA-Z0-9]*)?$",
        "write a URL, for example http://gloo-mesh-mgmt-server.gloo-mesh:9091/metrics",
    ),
    (
        "^[A-Z][A-Za-z0-9]*$",
        "write the kind of an object, for example Issuer or ClusterIssuer",
    ),
    (
        "-----BEGIN CERTIFICATE-----",
        "write certificates as PEM, from the CA up to its root",
    ),
    (
        "^[-._a-zA-Z0-9]+$",
        "use letters, digits, '-', '.' and '_' in a key of a Secret",
    ),
    (
        "^([0-9]+y)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
        "write a lifetime with its unit, for example 1y, 90d, 12h or 1d12h",
    ),
    (
        r"^\s*(@[a-z]+|\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s*$",
        "write five fields, minute hour day-of-month month day-of-week, for example 0 3 * * SUN",
    ),
    (
        "^projects/[-a-zA-Z0-9.:]{1,63}/locations/[-a-zA-Z0-9]{1,63}/caPools/[-_a-zA-Z0-9]{1,63}$",
        "write projects/PROJECT/locations/LOCATION/caPools/NAME",
    ),
    (
        "^https?://[^/?#@]+/?$",
        "write https:// and a host, for example https://privateca-corp.p.googleapis.com",
    ),
    (
        "^[a-z0-9]+(-[a-z0-9]+)+$",
        "write a region, for example eu-central-1",
    ),
    (
        "^arn:[-a-z0-9]+:acm-pca:[-a-z0-9]+:[0-9]{12}:certificate-authority/[-a-z0-9]+$",
        "write arn:aws:acm-pca:REGION:ACCOUNT:certificate-authority/ID",
    ),
    (
        "^[-A-Za-z0-9_+=,.@:/]+$",
        "use letters, digits and any of '-', '_', '+', '=', ',', '.', '@', ':' and '/'",
    ),
    (
        "^arn:[-a-z0-9]+:iam::[0-9]{12}:role/[-A-Za-z0-9_+=,.@:/]+$",
        "write arn:aws:iam::ACCOUNT:role/NAME",
    ),
    ("^https?://[^?#]+$", "write a URL that starts with https://"),
    (
        r"^https?://[^\s/?#@]+(/[-._~/a-zA-Z0-9]*)?$",
        "write an address, for example https://vault.example.com:8200",
    ),
    (
        "^[a-zA-Z0-9_]([-._a-zA-Z0-9]*[a-zA-Z0-9_])?(/[a-zA-Z0-9_]([-._a-zA-Z0-9]*[a-zA-Z0-9_])?)*$",
        "use letters, digits, '-', '_' and '.' in a path in Vault, for example team/pki",
    ),
    (
        "^[a-zA-Z0-9_]([-._a-zA-Z0-9]*[a-zA-Z0-9_])?$",
        "use letters, digits, '-', '_' and '.' in a name in Vault",
    ),
];

/// The rule that says what `pattern` says.
pub(super) fn of_pattern(pattern: &str) -> Option<Rule> {
    let (_, message) = PATTERNS.iter().find(|(known, _)| *known == pattern)?;
    Some((format!("self.matches(r'{pattern}')"), (*message).to_owned()))
}

/// As the API server takes them.
pub(super) fn json(rules: &[Rule]) -> Vec<Value> {
    rules
        .iter()
        .map(|(rule, message)| json!({ "rule": rule, "message": message }))
        .collect()
}

/// A lifetime of at least `shortest`.
pub(super) fn lifetime(shortest: Lifetime) -> Rule {
    let longest = Lifetime::MAX;
    (
        format!(
            "[{}].all(length, length >= {} && length <= {})",
            seconds("self"),
            shortest.as_secs(),
            longest.as_secs()
        ),
        format!("write a lifetime from {shortest} to {longest}"),
    )
}

/// The rules of a Relay's spec: every certificate ends before its issuer does.
pub(super) fn relay() -> Vec<Rule> {
    let length = |part: &str, default: Lifetime| {
        format!(
            "(has(self.{part}) && has(self.{part}.validity) ? {} : {})",
            seconds(&format!("self.{part}.validity")),
            default.as_secs()
        )
    };
    let inside = |(part, default): (&str, Lifetime), (issuer, issued_for): (&str, Lifetime)| {
        (
            format!("{} < {}", length(part, default), length(issuer, issued_for)),
            format!(
                "{part}.validity ({default} by default) has to be shorter than {issuer}.validity \
                 ({issued_for} by default)"
            ),
        )
    };
    let root = ("root", lifetimes::ROOT);
    let signer = ("signer", lifetimes::SIGNER);
    vec![
        inside(signer, root),
        inside(("server", lifetimes::SERVER), signer),
        inside(("agents", lifetimes::AGENT), signer),
    ]
}

/// Exactly one of the fields of a map.
pub(super) fn exactly_one(fields: &[&str], purpose: &str) -> Rule {
    let present: Vec<String> = fields
        .iter()
        .map(|field| format!("has(self.{field})"))
        .collect();
    (
        format!("[{}].filter(x, x).size() == 1", present.join(", ")),
        format!("{purpose} with exactly one of: {}", fields.join(", ")),
    )
}

/// A cluster is somewhere, unless its agent enrols: then relay-pki does not reach for it.
fn where_it_is() -> Rule {
    let (rule, message) = exactly_one(&["kubeconfig", "inCluster"], "say where the cluster is");
    let enrolls = "(has(self.delivery) && self.delivery == 'enroll')";
    (
        format!("{enrolls} ? !has(self.kubeconfig) && !has(self.inCluster) : {rule}"),
        format!("{message}; with none of them where delivery is enroll"),
    )
}

/// Names in a map that others refer to.
pub(super) fn labels_as_keys() -> Rule {
    (
        "self.all(name, size(name) <= 63 && name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))"
            .to_owned(),
        "use up to 63 lower-case letters, digits and '-' in a name, with a letter or digit at both \
         ends"
            .to_owned(),
    )
}

/// A field that stays as it was made.
pub(super) fn immutable(why: &str) -> Rule {
    ("self == oldSelf".to_owned(), why.to_owned())
}

/// The rules of a RelayCluster's spec.
pub(super) fn cluster() -> Vec<Rule> {
    let rule = |rule: &str, message: &str| (rule.to_owned(), message.to_owned());
    let mut rules = vec![
        where_it_is(),
        rule(
            "!has(self.agent) || self.role == 'management'",
            "a workload cluster always has an agent: remove agent, which is for management clusters",
        ),
        rule(
            "!has(self.relayServer) || self.role == 'management'",
            "no relay server runs in a workload cluster: remove relayServer, which is for management \
             clusters",
        ),
        rule(
            "!has(self.validity) || !has(self.delivery) || self.delivery != 'server-signed'",
            "validity has no effect on an agent that the relay server signs: remove it, or write \
             delivery: push",
        ),
    ];
    for field in ["delivery", "validity", "clientSecret"] {
        rules.push((
            format!("!has(self.{field}) || self.role == 'workload' || (has(self.agent) && self.agent)"),
            format!(
                "{field} has no effect: no agent runs in this cluster; remove it, or write agent: true"
            ),
        ));
    }
    rules
}

/// What was asked for when it was begun stays; how it is led may change.
pub(super) fn rotation() -> Vec<Rule> {
    let kept = ["relayRef", "level", "emergency", "acceptOutage"];
    let mut rules: Vec<Rule> = kept
        .iter()
        .map(|field| {
            let rule = format!("self.{field} == oldSelf.{field}");
            (
                rule,
                format!("{field} cannot be changed: make a new RelayRotation"),
            )
        })
        .collect();
    for field in ["number", "canary"] {
        let rule = format!(
            "has(self.{field}) == has(oldSelf.{field}) && \
             (!has(self.{field}) || self.{field} == oldSelf.{field})"
        );
        rules.push((
            rule,
            format!("{field} cannot be changed: make a new RelayRotation"),
        ));
    }
    rules.push((
        "!self.emergency || (self.acceptOutage && self.level == 'root')".to_owned(),
        "an emergency gives up the root and locks agents out that do not follow at once: write \
         level: root and acceptOutage: true"
            .to_owned(),
    ));
    rules.push((
        "self.rollback || !oldSelf.rollback".to_owned(),
        "a rollback cannot be taken back: let it end, then make a new RelayRotation".to_owned(),
    ));
    rules
}

pub(super) fn rotation_name() -> Rule {
    (
        "self.metadata.name.size() <= 63".to_owned(),
        "write a name of at most 63 characters".to_owned(),
    )
}

/// The rules of a Relay's name, on the whole object.
pub(super) fn relay_name() -> Rule {
    (
        "!self.metadata.name.contains('.')".to_owned(),
        "the name of a Relay has no dots: use lower-case letters, digits and '-'".to_owned(),
    )
}

/// The rules of a RelayCluster's name, on the whole object.
pub(super) fn cluster_name() -> Rule {
    (
        "!self.metadata.name.matches('(^|[.])[0-9]+$')".to_owned(),
        "the name ends like an IP address and would never match in TLS: write one with a letter in \
         its last part, for example cluster-1"
            .to_owned(),
    )
}

/// CEL for the length of a lifetime in seconds, which is 0 where there is none in the text.
fn seconds(text: &str) -> String {
    let parts: Vec<String> = lifetimes::UNITS
        .iter()
        .map(|(unit, length)| {
            format!("int('0' + {text}.find('[0-9]+{unit}').replace('{unit}', '')) * {length}")
        })
        .collect();
    format!("({})", parts.join(" + "))
}
