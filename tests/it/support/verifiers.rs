//! Three verifiers that did not make the certificates: OpenSSL, Go's crypto/x509 and webpki.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustls::pki_types::{ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::certificate::certificates;
use super::fleet::{CLIENT, Fleet, ROOT, SERVER};
use super::manifest::Manifest;
use super::tools::{go_verifier, openssl_output, required};

/// The name that agents dial the relay server by.
pub(crate) const AUTHORITY: &str = "gloo-mesh-mgmt-server.gloo-mesh";

/// Which side of the handshake presents the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// "Does somebody who knows `roots` accept `chain` from `name`?"
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) label: String,
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) chain: Vec<u8>,
    pub(crate) roots: Vec<u8>,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

impl Question {
    /// A client certificate before a relay server.
    pub(crate) fn client(name: &str, client: &Manifest, server: &Manifest) -> Self {
        Self {
            label: format!("the agent {name} before the server"),
            role: Role::Client,
            name: name.to_owned(),
            chain: client.entry("tls.crt").to_vec(),
            roots: server.entry("ca.crt").to_vec(),
        }
    }

    /// A server certificate before somebody who holds `trusting`.
    pub(crate) fn server(authority: &str, server: &Manifest, trusting: &Manifest) -> Self {
        Self {
            label: format!("the server before the holder of {}", trusting.name),
            role: Role::Server,
            name: authority.to_owned(),
            chain: server.entry("tls.crt").to_vec(),
            roots: trusting.entry("ca.crt").to_vec(),
        }
    }
}

/// How a fleet names things, where not as by default.
pub(crate) struct Naming<'a> {
    pub(crate) authority: &'a str,
    pub(crate) root: &'a str,
    pub(crate) server: &'a str,
    pub(crate) client: &'a dyn Fn(&str) -> String,
}

impl Default for Naming<'_> {
    fn default() -> Self {
        Self {
            authority: AUTHORITY,
            root: ROOT,
            server: SERVER,
            client: &|_| CLIENT.to_owned(),
        }
    }
}

/// Every leaf of a fleet in front of everybody who meets it, both directions.
pub(crate) fn questions(
    fleet: &Fleet,
    naming: &Naming<'_>,
    management: &[&str],
    agents: &[&str],
) -> Vec<Question> {
    let mut questions = Vec::new();
    for server_in in management {
        let server = fleet.secret(server_in, naming.server);
        for agent in agents {
            let client_name = (naming.client)(agent);
            let mut trusting = vec![fleet.secret(agent, naming.root)];
            if fleet.has_secret(agent, &client_name) {
                let client = fleet.secret(agent, &client_name);
                questions.push(Question::client(agent, &client, &server));
                trusting.push(client);
            }
            for holder in &trusting {
                let mut question = Question::server(naming.authority, &server, holder);
                question.label = format!("{server_in}: {} in {agent}", question.label);
                questions.push(question);
            }
        }
    }
    questions
}

/// Fails unless all three verifiers accept everything.
pub(crate) fn assert_accepted(questions: &[Question]) {
    assert!(!questions.is_empty(), "nothing to verify");
    for (verifier, answers) in answers(questions) {
        for (question, answer) in questions.iter().zip(answers) {
            let Question { label, role, .. } = question;
            assert_eq!(answer, Ok(()), "{verifier} refuses {label} ({role})");
        }
    }
}

/// Fails unless all three verifiers refuse everything.
pub(crate) fn assert_refused(questions: &[Question]) {
    assert!(!questions.is_empty(), "nothing to verify");
    for (verifier, answers) in answers(questions) {
        for (question, answer) in questions.iter().zip(answers) {
            assert!(answer.is_err(), "{verifier} accepts {}", question.label);
        }
    }
}

type Answers = Vec<Result<(), String>>;

fn answers(questions: &[Question]) -> [(&'static str, Answers); 3] {
    let dir = tempfile::tempdir().unwrap();
    for (number, question) in questions.iter().enumerate() {
        fs::write(dir.path().join(format!("{number}.chain")), &question.chain).unwrap();
        fs::write(dir.path().join(format!("{number}.roots")), &question.roots).unwrap();
    }
    let by = |verifier: fn(&Question, usize, &Path) -> Result<(), String>| {
        let numbered = questions.iter().enumerate();
        let answer = |(number, question)| verifier(question, number, dir.path());
        numbered.map(answer).collect()
    };
    [
        ("OpenSSL", by(openssl_answer)),
        ("Go", go_answers(questions, dir.path())),
        ("webpki", by(|question, _, _| webpki_answer(question))),
    ]
}

fn openssl_answer(question: &Question, number: usize, dir: &Path) -> Result<(), String> {
    let (chain, roots) = (format!("{number}.chain"), format!("{number}.roots"));
    let purpose = format!("ssl{}", question.role);
    let mut arguments = vec!["verify", "-purpose", &purpose];
    arguments.extend(["-verify_hostname", &question.name]);
    // Nothing but what the peer would have.
    arguments.extend(["-no-CApath", "-no-CAstore", "-CAfile", &roots]);
    arguments.extend(["-untrusted", &chain, &chain]);
    let output = openssl_output(dir, &arguments);
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn go_answers(questions: &[Question], dir: &Path) -> Answers {
    let mut command = Command::new(go_verifier());
    command.current_dir(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = required(
        command.spawn(),
        "the Go verifier",
        "apt-get install golang-go",
    );
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = questions
        .iter()
        .enumerate()
        .map(|(n, Question { role, name, .. })| {
            format!("{n}\t{role}\t{name}\t{n}.chain\t{n}.roots\n")
        })
        .collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "the Go verifier failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Answers = text
        .lines()
        .map(|line| match line.split_once('\t').unwrap().1 {
            "ok" => Ok(()),
            reason => Err(reason.to_owned()),
        })
        .collect();
    assert_eq!(answers.len(), questions.len(), "one answer a question");
    answers
}

/// What webpki, and so rustls, says.
pub(crate) fn webpki_answer(question: &Question) -> Result<(), String> {
    let said = |error: webpki::Error| error.to_string();
    let chain: Vec<_> = certificates(&question.chain)
        .into_iter()
        .map(|c| c.der)
        .collect();
    let roots: Vec<_> = certificates(&question.roots)
        .into_iter()
        .map(|c| c.der)
        .collect();
    let anchors: Vec<_> = roots
        .iter()
        .map(|root| anchor_from_trusted_cert(root).unwrap())
        .collect();
    let leaf = EndEntityCert::try_from(&chain[0]).map_err(said)?;
    let usage = match question.role {
        Role::Server => KeyUsage::server_auth(),
        Role::Client => KeyUsage::client_auth(),
    };
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    leaf.verify_for_usage(
        algorithms,
        &anchors,
        &chain[1..],
        UnixTime::now(),
        usage,
        None,
        None,
    )
    .map_err(said)?;
    let name = ServerName::try_from(question.name.as_str()).unwrap();
    leaf.verify_is_valid_for_subject_name(&name).map_err(said)
}
