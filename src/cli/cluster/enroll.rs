//! `cluster register --delivery enroll`: what is left to do in the workload cluster.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::exit::Exit;
use super::super::output::{Format, Output};
use super::CliError;
use crate::cluster::Access;
use crate::registration::{Change, Enrolling, Request, register_enrolling};

/// The Secret that the agent finds its token in.
const TOKEN_SECRET: &str = "relay-pki-enrolment-token";
/// The port that agents enrol at, where nothing else is said.
const PORT: u16 = 9443;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    api_version: &'static str,
    kind: &'static str,
    cluster: String,
    relay: String,
    dry_run: bool,
    created: bool,
    /// SHA-256 of the roots.
    roots: Vec<String>,
    /// Where its agent enrols, unless the server is reached otherwise.
    server: String,
    /// What to run next, in order.
    commands: Vec<String>,
    /// What to run in place of the last one where the agent is installed already: it gets the roots alone.
    trust_command: String,
}

pub(super) async fn run(
    request: &Request,
    format: Format,
    output: &Output,
) -> Result<Exit, CliError> {
    let done = register_enrolling(request).await?;
    for note in &done.notes {
        output.note(&format!("note: {note}"));
    }
    let view = View::new(request, &done);
    output.data(format, &view, View::table)?;
    Ok(Exit::Done)
}

impl View {
    fn new(request: &Request, done: &Enrolling) -> Self {
        let name = &request.name;
        let roots: Vec<String> = done.roots.iter().map(ToString::to_string).collect();
        // Whoever names contexts otherwise than clusters says so with --context.
        let context = match &request.workload {
            Access::File {
                context: Some(context),
                ..
            } => quoted(context),
            _ => name.to_string(),
        };
        let pins: Vec<String> = roots.iter().map(|root| format!("sha256:{root}")).collect();
        let pins = format!("--set 'agent.trustFingerprints={{{}}}'", pins.join(","));
        let namespace = &done.namespace;
        let helm = format!("helm --kube-context {context} --namespace {namespace} upgrade");
        Self {
            api_version: "relay-pki/v1",
            kind: "Enrolling",
            cluster: name.to_string(),
            relay: done.relay.clone(),
            dry_run: request.dry_run,
            created: done.steps.iter().any(|step| step.change == Change::Create),
            roots,
            server: format!("https://{}:{PORT}", done.server),
            commands: vec![
                // Through pipes: what is in an argument is seen by everybody on the machine. And in place of
                // the token that was there before, if there was one.
                format!(
                    "relay-pki token create {name} --relay {relay} --namespace {home}{management} | kubectl \
                     create secret generic {TOKEN_SECRET} --from-file=token=/dev/stdin --dry-run=client \
                     --output=yaml | kubectl --context {context} --namespace {namespace} apply --server-side \
                     --force-conflicts --filename=-",
                    relay = done.relay,
                    home = request.namespace,
                    management = access(&request.management),
                ),
                format!(
                    "{helm} --install relay-pki-agent relay-pki --set controller.enabled=false --set \
                     agent.enabled=true --set agent.cluster={name} --set \
                     agent.server=https://{server}:{PORT} --set agent.relay={relay} {pins}",
                    server = done.server,
                    relay = done.relay,
                ),
            ],
            trust_command: format!(
                "{helm} relay-pki-agent relay-pki --reset-then-reuse-values {pins}"
            ),
        }
    }

    fn table(&self) -> String {
        let name = &self.cluster;
        let mut text = match (self.dry_run, self.created) {
            (true, _) => format!("Plan: {name} becomes a cluster of {}.\n", self.relay),
            (false, true) => format!("Done: {name} is a cluster of {}.\n", self.relay),
            (false, false) => format!("Nothing to do: {name} is registered.\n"),
        };
        for root in &self.roots {
            let _ = writeln!(text, "root   sha256:{root}");
        }
        let _ = writeln!(text, "\nGive its agent a token, and install it:");
        for command in &self.commands {
            let _ = write!(text, "\n{command}\n");
        }
        if !self.created {
            let command = &self.trust_command;
            let _ = write!(
                text,
                "\nIf it is installed and lacks only the root, run this in place of the second one:\n\n{command}\n"
            );
        }
        let _ = write!(text, "\nIt enrols at {}.\n", self.server);
        text
    }
}

/// The arguments that lead to the management cluster: those that led there now.
fn access(management: &Access) -> String {
    let Access::File { file, context } = management else {
        return String::new();
    };
    let file = file.as_ref().map(|file| file.display().to_string());
    let arguments = [("context", context.as_ref()), ("kubeconfig", file.as_ref())];
    let given = arguments.into_iter().filter_map(|(name, value)| {
        let value = quoted(value?);
        Some(format!(" --{name} {value}"))
    });
    given.collect()
}

/// One word to a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_may_be_there_is_shown_its_way_back() {
        let table = |created| {
            let view = View {
                api_version: "relay-pki/v1",
                kind: "Enrolling",
                cluster: "cluster-1".to_owned(),
                relay: "relay".to_owned(),
                dry_run: false,
                created,
                roots: vec!["ab".to_owned()],
                server: "https://relay:9443".to_owned(),
                commands: vec!["first".to_owned(), "second".to_owned()],
                trust_command: "third".to_owned(),
            };
            view.table()
        };
        assert!(table(false).contains("in place of the second one:\n\nthird\n"));
        assert!(!table(true).contains("third"));
    }

    #[test]
    fn commands_lead_where_the_registration_did() {
        let given = Access::File {
            file: Some("my folder/it's".into()),
            context: Some("arn:aws:eks:a:1:cluster/b".to_owned()),
        };
        assert_eq!(
            access(&given),
            r" --context arn:aws:eks:a:1:cluster/b --kubeconfig 'my folder/it'\''s'"
        );
        let default = Access::File {
            file: None,
            context: None,
        };
        assert_eq!(access(&default), "");
    }
}
