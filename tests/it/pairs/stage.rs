//! A fleet whose root and signer are somewhere, and everything that it needs there.

use std::fs;
use std::time::Duration;

use relay_pki_testbed::{AwsAccount, GoogleProject, Vault, eventually};
use serde_json::json;

use super::{Root, Signer};
use crate::support::certificate::{Certificate, leaf};
use crate::support::fleet::{CLIENT, Fleet, Run, clusters};
use crate::support::verifiers::{Naming, assert_accepted, questions};
use crate::{aws, cert_manager, gcp, vault};

/// Agents of a fleet in directories; where cert-manager is, there is one.
const AGENTS: [&str; 2] = ["c1", "c2"];
/// The issuer of a root in Vault that is there before relay-pki.
const ROOT_ISSUER: &str = "example-corp-root";
/// Where the company of cert-manager's tests keeps the certificate of its root.
const COMPANY: &str = "{ secretRef: { name: company, key: root.pem } }";
/// The signer's records and key in the first management cluster.
const FIRST_SIGNER: &str = "relay-pki-gloo-mesh-signer-g1";

/// One pair, and what is set up for it.
pub(super) struct Stage {
    place: Place,
    corp: Option<vault::Corp>,
    account: Option<AwsAccount>,
    project: Option<GoogleProject>,
    offline: bool,
    path_length: bool,
    bought_before: usize,
}

/// Where the clusters are: cert-manager makes Secrets of signers that only an API server has.
enum Place {
    Directories(Fleet),
    Kubernetes(cert_manager::Company),
}

impl Stage {
    pub(super) fn new(root: Root, signer: Signer) -> Self {
        let with_cert_manager = root == Root::CertManager
            || matches!(signer, Signer::CertManager | Signer::CertManagerExisting);
        let with_vault =
            matches!(root, Root::Vault | Root::VaultExisting) || signer == Signer::Vault;
        let with_aws = matches!(root, Root::Aws | Root::AwsExisting)
            || matches!(signer, Signer::Aws | Signer::AwsExisting);
        let with_google = root == Root::Google || signer == Signer::Google;
        let mut stage = Self {
            place: match with_cert_manager {
                true => Place::Kubernetes(cert_manager::Company::new("")),
                false => Place::Directories(Fleet::new("")),
            },
            corp: with_vault.then(vault::Corp::set_up),
            account: with_aws.then(aws::account),
            project: with_google.then(|| gcp::project(json!({}))),
            offline: root == Root::Offline,
            // cert-manager's CAs are made without, and the audit says so.
            path_length: root != Root::CertManager,
            bought_before: 0,
        };
        stage.write_credentials();
        let above = stage.root(root);
        let below = stage.signer(signer, root, &above);
        let spec = spec(&above, &below);
        match &stage.place {
            Place::Directories(fleet) => fleet.write_spec(&format!("{spec}{}", clusters(&AGENTS))),
            Place::Kubernetes(company) => company.write(&spec),
        }
        stage.bought_before = stage.issued();
        stage
    }

    fn fleet(&self) -> &Fleet {
        match &self.place {
            Place::Directories(fleet) => fleet,
            Place::Kubernetes(company) => &company.fleet,
        }
    }

    fn write_credentials(&self) {
        if let Some(corp) = &self.corp {
            corp.write(self.fleet());
        }
        if let Some(project) = &self.project {
            fs::write(self.fleet().path("key.json"), project.key()).unwrap();
        }
        fs::write(self.fleet().path("passphrase"), "a drawer with two locks").unwrap();
    }

    /// The provider of a root.
    fn root(&self, root: Root) -> String {
        match root {
            Root::SelfSigned => here(),
            Root::Offline => "{ offline: {} }".to_owned(),
            Root::Vault => self.vault(""),
            Root::VaultExisting => {
                let mount = &self.corp.as_ref().unwrap().mount;
                let root = json!({
                    "issuer_name": ROOT_ISSUER, "common_name": "example corp root",
                    "key_type": "ec", "key_bits": 256, "ttl": "87600h",
                });
                let generate = format!("{mount}/root/generate/internal");
                Vault::shared().admin("POST", &generate, &root);
                self.vault(&format!("rootIssuer: {ROOT_ISSUER},"))
            }
            Root::Aws => self.aws(None),
            Root::AwsExisting => {
                self.first_fleet(&self.aws(None), &here());
                self.aws(Some("ROOT"))
            }
            Root::Google => self.google(0),
            Root::CertManager => format!("{{ certManager: {{ {} }} }}", cert_manager::ROOT),
        }
    }

    /// The provider of a signer under a root whose provider is `above`.
    fn signer(&self, signer: Signer, root: Root, above: &str) -> String {
        // Directories have neither controllers nor the company's Secret.
        let above = match root {
            Root::CertManager => above
                .replace("root:", "kubeconfig: { file: mgmt }, root:")
                .replace(COMPANY, "{ file: root.pem }"),
            _ => above.to_owned(),
        };
        match signer {
            Signer::SelfSigned => here(),
            Signer::Vault => self.vault(""),
            Signer::Aws => self.aws(None),
            Signer::AwsExisting => {
                self.first_fleet(&above, &self.aws(None));
                self.aws(Some("SUBORDINATE"))
            }
            Signer::Google => self.google(1),
            Signer::CertManager => "{ certManager: {} }".to_owned(),
            Signer::CertManagerExisting => {
                self.issuer_of(&self.first_fleet(&above, &here()));
                "{ certManager: { signer: { issuerRef: { name: below }, \
                 certificates: { file: below.pem } } } }"
                    .to_owned()
            }
        }
    }

    fn vault(&self, more: &str) -> String {
        self.corp.as_ref().unwrap().provider(more)
    }

    /// AWS, with the last CA of this type if one is asked for.
    fn aws(&self, existing: Option<&str>) -> String {
        let Some(kind) = existing else {
            return "{ awsPrivateCa: { region: eu-central-1 } }".to_owned();
        };
        let state = self.account.as_ref().unwrap().state();
        let mut all = state["authorities"].as_array().unwrap().iter();
        let found = all.rfind(|authority| authority["Type"] == kind);
        let arn = found.unwrap()["Arn"].as_str().unwrap();
        format!("{{ awsPrivateCa: {{ certificateAuthority: '{arn}' }} }}")
    }

    fn google(&self, pool: usize) -> String {
        let project = self.project.as_ref().unwrap();
        gcp::provider(project, &project.pools()[pool])
    }

    /// Another relay, with whose CAs this one begins.
    fn first_fleet(&self, above: &str, below: &str) -> Fleet {
        let namespace = match &self.place {
            Place::Directories(_) => String::new(),
            Place::Kubernetes(company) => format!("  namespace: {}\n", company.real.namespace()),
        };
        let first = Fleet::new(&format!(
            "{namespace}{}{}",
            spec(above, below),
            clusters(&[])
        ));
        for entry in fs::read_dir(self.fleet().dir()).unwrap() {
            let file = entry.unwrap();
            if file.file_name() != "relay.yaml" {
                fs::copy(file.path(), first.path(file.file_name().to_str().unwrap())).unwrap();
            }
        }
        let run = self.run_in(&first, &["bootstrap"]);
        assert_eq!(run.code, Some(0), "{run:#?}");
        first
    }

    /// Puts the signer of a fleet behind an issuer of cert-manager, as a company would have it.
    fn issuer_of(&self, first: &Fleet) {
        let Place::Kubernetes(company) = &self.place else {
            panic!("cert-manager is in no directory");
        };
        let signer = first.secret("mgmt", FIRST_SIGNER);
        let text = |key: &str| String::from_utf8(signer.entry(key).to_vec()).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "below" },
            "stringData": { "tls.crt": text("tls.crt"), "tls.key": text("tls.key") },
        });
        let issuer = json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": { "name": "below" },
            "spec": { "ca": { "secretName": "below" } },
        });
        company.kubectl(&["apply", "-f", "-"], &format!("{secret}\n---\n{issuer}\n"));
        let root = first.secret("mgmt", crate::support::fleet::ROOT);
        let root = String::from_utf8(root.entry("ca.crt").to_vec()).unwrap();
        let chain = format!("{}{root}", text("tls.crt"));
        fs::write(self.fleet().path("below.pem"), chain).unwrap();
    }

    pub(super) fn agents(&self) -> &'static [&'static str] {
        match &self.place {
            Place::Directories(_) => &AGENTS,
            Place::Kubernetes(_) => &AGENTS[..1],
        }
    }

    fn run_in(&self, fleet: &Fleet, arguments: &[&str]) -> Run {
        let mut command = fleet.command(arguments);
        if let Some(account) = &self.account {
            command.envs(account.environment()).env("HOME", fleet.dir());
        }
        Run::of(command.output().unwrap())
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        self.run_in(self.fleet(), arguments)
    }

    /// Runs it until nothing is pending any more; where a person is waited for, that person comes.
    pub(super) fn done(&self, arguments: &[&str]) -> Run {
        let what = format!("relay-pki {arguments:?}");
        eventually(&what, Duration::from_secs(180), || {
            let run = self.run(arguments);
            match run.code {
                Some(0) => return Some(run),
                Some(6) if self.offline => self.ceremony(),
                Some(6) => {}
                _ => panic!("{what}: {run:#?}"),
            }
            None
        })
    }

    /// What somebody does with an offline root.
    fn ceremony(&self) {
        let fleet = self.fleet();
        let done = |arguments: &[&str]| {
            let run = self.run(arguments);
            assert_eq!(run.code, Some(0), "relay-pki {arguments:?}: {run:#?}");
            run.stdout
        };
        let with = ["--passphrase-file", "passphrase"];
        if !fleet.path("drawer").exists() {
            let create = ["root", "create", "--relay", "gloo-mesh", "--out", "drawer"];
            done(&[&create[..], &with].concat());
        }
        fs::write(fleet.path("signer.csr"), done(&["signer", "csr"])).unwrap();
        let sign = ["root", "sign", "--root", "drawer", "--csr", "signer.csr"];
        let signed = done(&[&sign[..], &with].concat());
        fs::write(fleet.path("signer.crt"), signed).unwrap();
        done(&["signer", "install", "signer.crt", "drawer/root.crt"]);
    }

    /// The agents' certificates.
    fn leaves(&self) -> Vec<Certificate> {
        let agents = self.agents().iter();
        let leaf_of = |agent: &&str| match &self.place {
            Place::Directories(fleet) => fleet.leaf(agent, CLIENT),
            Place::Kubernetes(company) => {
                let secret = company.real.secret(&company.real.workloads()[0], CLIENT);
                leaf(secret.entry("tls.crt"))
            }
        };
        agents.map(leaf_of).collect()
    }

    /// Every agent gets another certificate, that everybody accepts.
    pub(super) fn rotate_agents(&self) {
        let old = self.leaves();
        self.done(&["rotate", "agents"]);
        for (old, new) in old.iter().zip(self.leaves()) {
            assert_ne!(old.serial, new.serial);
        }
        self.assert_accepted();
    }

    pub(super) fn assert_accepted(&self) {
        match &self.place {
            Place::Directories(fleet) => {
                assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &AGENTS));
            }
            Place::Kubernetes(company) => company.assert_works(),
        }
    }

    /// The audit finds nothing but what the page of a backend says.
    pub(super) fn assert_clean(&self) {
        let report = self.run(&["audit", "--output", "json"]).json();
        assert_eq!(report["incomplete"], false, "{report:#}");
        for finding in report["findings"].as_array().unwrap() {
            assert!(
                finding["code"] == "R0716" && !self.path_length,
                "{finding:#}"
            );
        }
    }

    fn issued(&self) -> usize {
        let aws = self.account.as_ref().map_or(0, AwsAccount::issued);
        let google = self.project.as_ref().map_or(0, GoogleProject::issued);
        let cert_manager = match &self.place {
            Place::Directories(_) => 0,
            Place::Kubernetes(company) => company.requests().len(),
        };
        aws + google + cert_manager
    }

    /// Certificates that this relay was issued by backends that count.
    pub(super) fn bought(&self) -> usize {
        self.issued() - self.bought_before
    }
}

/// The provider that keeps its key beside the relay.
fn here() -> String {
    "{ selfSigned: {} }".to_owned()
}

fn spec(above: &str, below: &str) -> String {
    format!(
        "  providers:\n    above: {above}\n    below: {below}\n  \
         root: {{ provider: above, keyType: ecdsa-p256 }}\n  signer: {{ provider: below, keyType: ecdsa-p256 }}\n"
    )
}
