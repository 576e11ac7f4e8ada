//! Relays whose CAs are in cert-manager: the built program, the real controllers, real API servers.

use std::fs;
use std::time::Duration;

use relay_pki_testbed::{Testbed, Vault, eventually};
use serde_json::json;

use crate::docs::blocks;
use crate::support::fleet::{CLIENT, Fleet, Run, SERVER};
use crate::support::kube::Clusters;
use crate::support::verifiers::{AUTHORITY, Question, assert_accepted};

/// What a company with cert-manager has: a root, and an intermediate below it.
const COMPANY: &str = "
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: company-root }
spec:
  isCA: true
  commonName: company root
  duration: 87600h
  secretName: company-root
  privateKey: { algorithm: ECDSA, size: 256, rotationPolicy: Always }
  issuerRef: { name: testbed-probe, kind: ClusterIssuer }
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: { name: company-root }
spec: { ca: { secretName: company-root } }
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: company-signer }
spec:
  isCA: true
  commonName: company signer
  duration: 8760h
  secretName: company-signer
  privateKey: { algorithm: ECDSA, size: 256, rotationPolicy: Always }
  issuerRef: { name: company-root }
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: { name: company-signer }
spec: { ca: { secretName: company-signer } }
";

/// A company, and a relay of it.
pub(crate) struct Company {
    pub(crate) real: Clusters,
    pub(crate) fleet: Fleet,
}

impl Company {
    /// A management and a workload cluster whose CAs are where `spec` says.
    pub(crate) fn new(spec: &str) -> Self {
        let server = Testbed::shared().with_cert_manager();
        let real = Clusters::new("cert-manager");
        let fleet = Fleet::new("");
        let company = Self { real, fleet };
        company.kubectl(&["apply", "-f", "-"], COMPANY);
        let root = company.certificates("company-root", "tls.crt");
        let signer = company.certificates("company-signer", "tls.crt");
        let chain = format!("{signer}{root}");
        // Where a person would put them.
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "company" },
            "stringData": { "root.pem": root, "chain.pem": chain },
        });
        company.kubectl(&["apply", "-f", "-"], &secret.to_string());
        let fleet = &company.fleet;
        fs::write(fleet.path("root.pem"), &root).unwrap();
        fs::write(fleet.path("chain.pem"), &chain).unwrap();
        let workload = &company.real.workloads()[0];
        for (file, server) in [("mgmt", server), ("c1", workload)] {
            fs::write(fleet.path(file), server.admin_kubeconfig()).unwrap();
        }
        company.write(spec);
        company
    }

    pub(crate) fn write(&self, spec: &str) {
        let namespace = self.real.namespace();
        self.fleet.write_spec(&format!(
            "  namespace: {namespace}\n  server: {{ extraDnsNames: [{AUTHORITY}] }}\n{spec}  \
             clusters:\n    - {{ name: mgmt, role: management, kubeconfig: {{ file: mgmt }} }}\n    \
             - {{ name: c1, role: workload, kubeconfig: {{ file: c1 }} }}\n"
        ));
    }

    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let arguments = [arguments, &["-n", self.real.namespace()]].concat();
        self.real.management().must(&arguments, input)
    }

    /// Certificates in a Secret, once they are there.
    fn certificates(&self, secret: &str, key: &str) -> String {
        let ready = "--for=condition=Ready";
        self.kubectl(&["wait", ready, "--timeout=90s", "certificate", secret], "");
        let secret = self.real.secret(self.real.management(), secret);
        String::from_utf8(secret.data[key].clone()).unwrap()
    }

    /// Runs it until nothing is pending any more.
    fn done(&self, arguments: &[&str]) -> Run {
        let what = format!("relay-pki {arguments:?}");
        eventually(&what, Duration::from_secs(180), || {
            let run = self.fleet.run(arguments);
            match run.code {
                Some(0) => Some(run),
                Some(6) => None,
                _ => panic!("{what}: {run:#?}"),
            }
        })
    }

    /// The names of the requests that were made.
    pub(crate) fn requests(&self) -> Vec<String> {
        let names = ["get", "certificaterequests", "-o", "name"];
        let ours = ["-l", "app.kubernetes.io/managed-by=relay-pki"];
        let names = self.kubectl(&[&names[..], &ours].concat(), "");
        names.lines().map(str::to_owned).collect()
    }

    /// Server and agent accept each other, says everybody.
    pub(crate) fn assert_works(&self) {
        let server = self.real.secret(self.real.management(), SERVER);
        let client = self.real.secret(&self.real.workloads()[0], CLIENT);
        assert_accepted(&[
            Question::client("c1", &client, &server),
            Question::server(AUTHORITY, &server, &client),
        ]);
    }
}

pub(crate) const ROOT: &str = "root: { issuerRef: { name: company-root }, \
                    certificates: { secretRef: { name: company, key: root.pem } } }";

/// The documents of `docs/providers/cert-manager.md`, with issuers of one namespace.
#[test]
fn the_documentation_works_as_it_is_written() {
    let blocks = blocks("docs/providers/cert-manager.md");
    let mut documents = 0;
    for (_, block) in blocks.iter().filter(|(language, _)| language == "yaml") {
        let Some(spec) = block.strip_prefix("spec:\n") else {
            continue;
        };
        documents += 1;
        let company = Company::new(&spec.replace("kind: ClusterIssuer, ", ""));
        company.done(&["bootstrap"]);
        company.assert_works();
    }
    assert_eq!(documents, 2);
}

#[test]
fn root_and_signer_in_cert_manager() {
    let company = Company::new(&format!(
        "  providers: {{ corp: {{ certManager: {{ {ROOT} }} }} }}\n"
    ));
    company.done(&["bootstrap"]);
    company.assert_works();
    // The signer, the server and the agent; nothing is asked for twice.
    assert_eq!(company.requests().len(), 3);
    company.done(&["bootstrap"]);
    assert_eq!(company.requests().len(), 3);
    // The signer's key is ours, and so is the Issuer in front of it.
    let issuer = [
        "get",
        "issuer",
        "relay-pki-gloo-mesh-signer-g1",
        "-o",
        "name",
    ];
    company.kubectl(&issuer, "");
    company.done(&["rotate", "signer"]);
    company.assert_works();
}

#[test]
fn clusters_in_directories_use_a_cert_manager_elsewhere() {
    let company = Company::new(&format!(
        "  providers: {{ corp: {{ certManager: {{ {ROOT} }} }} }}\n"
    ));
    let namespace = company.real.namespace();
    let directories = "  clusters:\n    - { name: mgmt, role: management, directory: mgmt.d }\n    \
                       - { name: c1, role: workload, directory: c1.d }\n";
    let provider = |more: &str| {
        format!(
            "  namespace: {namespace}\n  providers:\n    corp:\n      certManager:\n        root: \
             {{ issuerRef: {{ name: company-root }}, certificates: {{ file: root.pem }} }}\n        \
             signer: {{ issuerRef: {{ name: company-signer }}, certificates: {{ file: chain.pem }} \
             }}\n{more}{directories}"
        )
    };
    company.fleet.write_spec(&provider(""));
    company
        .fleet
        .ends(&["bootstrap"], 2)
        .says(&["mgmt, is a directory", "certManager.kubeconfig"]);
    company
        .fleet
        .write_spec(&provider("        kubeconfig: { file: mgmt }\n"));
    company.done(&["bootstrap"]);
    assert_eq!(company.requests().len(), 2);
}

#[test]
fn cert_manager_keeps_the_leaves_itself() {
    let company = Company::new("");
    for (cluster, issuer) in [
        ("mgmt", ["--ca-secret", "company-signer"]),
        ("c1", ["--issuer", "Issuer/company-signer"]),
    ] {
        let print = ["manifests", "cert-manager", cluster];
        let manifests = company.fleet.done(&[&print[..], &issuer].concat()).stdout;
        company.kubectl(&["apply", "-f", "-"], &manifests);
    }
    for secret in [SERVER, CLIENT] {
        company.certificates(secret, "tls.crt");
    }
    let [server, client] =
        [SERVER, CLIENT].map(|secret| company.real.secret(company.real.management(), secret));
    assert_accepted(&[
        Question::client("c1", &client, &server),
        Question::server(AUTHORITY, &server, &client),
    ]);
    let certificate = [
        "get",
        "certificate",
        SERVER,
        "-o",
        "jsonpath={.spec.renewBefore}",
    ];
    // 34 % of 90 days.
    assert_eq!(company.kubectl(&certificate, ""), "2643840s");
}

/// A company whose CAs are in Vault, behind cert-manager's issuers for it.
struct VaultIssuers {
    company: Company,
    roots: String,
    signers: String,
    token: String,
}

impl VaultIssuers {
    fn new() -> Self {
        let (vault, company) = (Vault::shared(), Company::new(""));
        let [roots, signers] = ["company-root", "company-signer"].map(|mount| vault.pki(mount));
        let script = VAULT_CAS
            .replace("ROOTS", &roots)
            .replace("SIGNERS", &signers);
        let made = vault.shell(&script);
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{errors}");
        let chain = String::from_utf8(made.stdout).unwrap();
        let root = &chain[chain.rfind("-----BEGIN").unwrap()..];
        fs::write(company.fleet.path("vault-root.pem"), root).unwrap();
        fs::write(company.fleet.path("vault-chain.pem"), &chain).unwrap();
        let allowed = [
            format!("{roots}/root/sign-intermediate"),
            format!("{signers}/sign-verbatim"),
            format!("{signers}/sign/leaf"),
        ];
        let policy =
            allowed.map(|path| format!("path \"{path}\" {{ capabilities = [\"update\"] }}"));
        let policy = json!({ "policy": policy.join("\n") });
        vault.admin("PUT", &format!("sys/policies/acl/{roots}"), &policy);
        let token = vault.token(&json!({ "policies": [roots], "ttl": "1h" }));
        let issuers = Self {
            company,
            roots,
            signers,
            token,
        };
        issuers.issuer(
            "vault-root",
            &format!("{}/root/sign-intermediate", issuers.roots),
        );
        issuers
    }

    /// An issuer that has Vault sign at this path.
    fn issuer(&self, name: &str, path: &str) {
        let vault = Vault::shared();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "vault" },
            "stringData": { "token": self.token, "ca.crt": vault.certificate_authority() },
        });
        let issuer = json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": { "name": name },
            "spec": { "vault": {
                "server": vault.url(), "path": path,
                "caBundleSecretRef": { "name": "vault", "key": "ca.crt" },
                "auth": { "tokenSecretRef": { "name": "vault", "key": "token" } },
            } },
        });
        let manifests = format!("{secret}\n---\n{issuer}\n");
        self.company.kubectl(&["apply", "-f", "-"], &manifests);
        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=90s",
            "issuer",
            name,
        ];
        self.company.kubectl(&ready, "");
    }

    /// A relay under the root in Vault, with `signer` or one of its own.
    fn write(&self, signer: &str) {
        self.company.write(&format!(
            "  providers:\n    corp:\n      certManager:\n        root: {{ issuerRef: {{ name: vault-root }}, \
             certificates: {{ file: vault-root.pem }} }}\n{signer}"
        ));
    }
}

/// A root, and an intermediate below it; prints both.
const VAULT_CAS: &str = r#"
cd "$(mktemp -d)"
vault write -field=certificate ROOTS/root/generate/internal \
    common_name='company root' key_type=ec key_bits=256 ttl=87600h > root.pem
vault write -field=csr SIGNERS/intermediate/generate/internal \
    common_name='company signer' key_type=ec key_bits=256 > signer.csr
vault write -field=certificate ROOTS/root/sign-intermediate \
    csr=@signer.csr use_csr_values=true max_path_length=0 ttl=8760h > signer.pem
for file in signer root; do cat $file.pem; echo; done | tee chain.pem
vault write SIGNERS/intermediate/set-signed certificate=@chain.pem > /dev/null
vault write SIGNERS/roles/leaf allow_any_name=true key_type=any max_ttl=2160h > /dev/null
"#;

const VAULT_SIGNER: &str = "        signer: { issuerRef: { name: vault-signer }, certificates: \
                            { file: vault-chain.pem } }\n";

#[test]
fn a_signer_behind_the_vault_issuer_signs_leaves() {
    let vault = VaultIssuers::new();
    vault.issuer("vault-signer", &format!("{}/sign-verbatim", vault.signers));
    vault.write(VAULT_SIGNER);
    vault.company.done(&["bootstrap"]);
    vault.company.assert_works();
    vault.company.done(&["rotate", "agents"]);
    vault.company.assert_works();
    assert_eq!(vault.company.requests().len(), 3);
}

/// A role of Vault decides about usages, and one role cannot fit server and agents.
#[test]
fn a_role_of_vault_behind_the_issuer_is_refused() {
    let vault = VaultIssuers::new();
    vault.issuer("vault-signer", &format!("{}/sign/leaf", vault.signers));
    vault.write(VAULT_SIGNER);
    let run = vault.company.fleet.run(&["bootstrap"]);
    assert_ne!(run.code, Some(0), "{run:#?}");
    run.says(&["not what was asked for"]);
}

#[test]
fn a_root_behind_the_vault_issuer() {
    let vault = VaultIssuers::new();
    vault.write("");
    vault.company.done(&["bootstrap"]);
    vault.company.assert_works();
}
