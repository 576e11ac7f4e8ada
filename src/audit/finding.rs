//! What a check found, and where findings are collected.

use serde::Serialize;

use super::code::{self, Code, Severity};

/// One thing that is wrong, in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check that found it.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The cluster; empty for bare PEM files.
    pub cluster: String,
    /// Where exactly: a file, or kind and name.
    pub object: String,
    /// What is wrong, in one line that names the object. Equal for the same fault in other clusters.
    pub what: String,
    /// What was seen, where it says more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What to do.
    pub remedy: String,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotChecked {
    /// Why, as a code of the family R04.
    pub code: Code,
    /// The cluster; empty for bare PEM files.
    pub cluster: String,
    /// What, and why not.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl NotChecked {
    pub(super) fn new(code: Code, cluster: &str, what: String) -> Self {
        Self {
            code,
            cluster: cluster.to_owned(),
            what,
            remedy: remedy(code, cluster, Renewal::Unknown),
        }
    }
}

/// Where something is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The cluster.
    pub(super) cluster: &'a str,
    /// The object.
    pub(super) object: &'a str,
    /// How what is there is replaced.
    pub(super) renewal: Renewal,
}

/// How a certificate is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// It depends.
    Unknown,
    /// As the server's.
    Server,
    /// As an agent's.
    Agent,
    /// By the agent itself.
    ServerSigned,
    /// With the signer.
    Signer,
}

impl<'a> Place<'a> {
    pub(super) fn new(cluster: &'a str, object: &'a str) -> Self {
        Self {
            cluster,
            object,
            renewal: Renewal::Unknown,
        }
    }
}

/// Collects findings, and counts what was looked at.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) findings: Vec<Finding>,
    pub(super) not_checked: Vec<NotChecked>,
    pub(super) checks: usize,
}

impl Sink {
    /// One check: `broken` is what is wrong with the evidence for it, `None` if all is well. Returns
    /// whether it is.
    pub(super) fn check(
        &mut self,
        code: Code,
        place: Place<'_>,
        broken: Option<(String, String)>,
    ) -> bool {
        self.checks += 1;
        match broken {
            None => true,
            Some((what, evidence)) => {
                self.findings.push(Finding {
                    code,
                    severity: code.check().severity,
                    cluster: place.cluster.to_owned(),
                    object: place.object.to_owned(),
                    what,
                    evidence,
                    remedy: remedy(code, place.cluster, place.renewal),
                });
                false
            }
        }
    }

    /// One check without evidence beyond its message.
    pub(super) fn ensure(
        &mut self,
        code: Code,
        place: Place<'_>,
        sound: bool,
        what: impl FnOnce() -> String,
    ) -> bool {
        self.check(code, place, (!sound).then(|| (what(), String::new())))
    }
}

fn remedy(code: Code, cluster: &str, renewal: Renewal) -> String {
    let cluster = if cluster.is_empty() {
        "CLUSTER"
    } else {
        cluster
    };
    let rotate = match renewal {
        Renewal::Unknown => code::ROTATE,
        Renewal::Server => "relay-pki rotate server",
        Renewal::Agent => "relay-pki rotate agent {cluster}",
        Renewal::Signer => "relay-pki rotate signer",
        Renewal::ServerSigned => "delete the Secret in {cluster} and restart the agent there",
    };
    let remedy = code.check().remedy.replace("{rotate}", rotate);
    remedy.replace("{cluster}", cluster)
}
