//! Root and signer in a real Vault, or one of them: the program from the first certificate to the
//! audit, with what `docs/providers/vault.md` tells people to write and to allow.

use std::fs;

use relay_pki_testbed::Vault;
use serde_json::{Value, json};

use crate::docs::blocks;
use crate::support::fleet::{CLIENT, Fleet, SERVER, clusters};
use crate::support::verifiers::{Naming, assert_accepted, questions};

const PAGE: &str = "docs/providers/vault.md";
const WORKLOADS: [&str; 2] = ["cluster-1", "cluster-2"];

/// A mount as the page has it made, and a token under the policy of the page.
pub(crate) struct Corp {
    pub(crate) mount: String,
    token: String,
}

impl Corp {
    pub(crate) fn set_up() -> Self {
        let vault = Vault::shared();
        let mount = vault.pki("corp");
        let in_mount = |text: &str| text.replace("pki/", &format!("{mount}/"));
        let page = blocks(PAGE);
        let of = |language: &str| -> Vec<String> {
            let fitting = page.iter().filter(|(found, _)| found == language);
            fitting.map(|(_, body)| in_mount(body)).collect()
        };
        for command in of("sh").concat().split("\n\n") {
            if command.contains("roles/") {
                let output = vault.shell(command);
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{command}: {errors}");
            }
        }
        // Both policies: a rotation ends with something to retire.
        let policy = json!({ "policy": of("hcl").join("\n") });
        vault.admin("PUT", &format!("sys/policies/acl/{mount}"), &policy);
        let token = json!({
            "policies": [mount], "no_default_policy": true, "no_parent": true, "ttl": "1h",
        });
        Self {
            token: vault.token(&token),
            mount,
        }
    }

    /// The provider in one line, with `more` settings (each followed by a comma), for a document
    /// beside the files of [`write`](Self::write).
    pub(crate) fn provider(&self, more: &str) -> String {
        format!(
            "{{ vault: {{ {more} address: '{}', mount: {}, auth: {{ token: {{ file: token }} }}, \
             caBundle: {{ file: vault-ca.pem }} }} }}",
            Vault::shared().url(),
            self.mount,
        )
    }

    /// Writes what the provider reads.
    pub(crate) fn write(&self, fleet: &Fleet) {
        let ca = Vault::shared().certificate_authority();
        fs::write(fleet.path("vault-ca.pem"), ca).unwrap();
        fs::write(fleet.path("token"), &self.token).unwrap();
    }

    /// A fleet with root and signer in Vault.
    fn fleet(&self) -> Fleet {
        let fleet = Fleet::new(&format!(
            "  providers: {{ corp: {} }}\n{}",
            self.provider(""),
            clusters(&WORKLOADS),
        ));
        self.write(&fleet);
        fleet
    }

    /// A fleet exactly as the page has it, but for what names the server and the login.
    fn fleet_of_page(&self) -> Fleet {
        let vault = Vault::shared();
        let method = json!({ "type": "approle" });
        // The page's login is mounted where AppRole always is, so another test may have done this.
        vault.call("POST", "sys/auth/approle", &vault.root_token(), &method);
        let role = format!("auth/approle/role/{}", self.mount);
        let settings = json!({ "token_policies": [self.mount], "token_no_default_policy": true });
        vault.admin("POST", &role, &settings);
        let id = vault.admin("GET", &format!("{role}/role-id"), &Value::Null);
        let secret = vault.admin("POST", &format!("{role}/secret-id"), &json!({}));
        let snippet = snippets().remove(0);
        let spec = snippet
            .replace("https://vault.example.com:8200", &vault.url())
            .replace("mount: pki", &format!("mount: {}", self.mount))
            .replace(
                "3f1c5d1e-0b2a-4a6b-9c0e-2d7f5a8b1c90",
                id["role_id"].as_str().unwrap(),
            );
        let fleet = Fleet::new(&format!("{spec}{}", clusters(&WORKLOADS)));
        self.write(&fleet);
        let secret = secret["secret_id"].as_str().unwrap();
        fs::write(fleet.path("secret-id"), secret).unwrap();
        fleet
    }
}

/// The documents of the page, without their first line.
fn snippets() -> Vec<String> {
    let yaml = blocks(PAGE).into_iter();
    yaml.filter(|(language, _)| language == "yaml")
        .map(|(_, body)| body.strip_prefix("spec:\n").unwrap().to_owned())
        .collect()
}

fn everybody_accepts(fleet: &Fleet) {
    assert_accepted(&questions(fleet, &Naming::default(), &["mgmt"], &WORKLOADS));
}

#[test]
fn root_and_signer_as_the_page_has_them() {
    let corp = Corp::set_up();
    let fleet = corp.fleet_of_page();
    fleet.done(&["bootstrap"]);
    everybody_accepts(&fleet);
    fleet.done(&["audit"]);
    // Nothing is left to do, and nothing more is asked for.
    let before = Vault::shared().issued(&corp.mount).len();
    fleet.done(&["bootstrap"]);
    assert_eq!(Vault::shared().issued(&corp.mount).len(), before);

    let clients = fleet.client_leaves(&WORKLOADS);
    fleet.done(&["rotate", "agents"]);
    for (name, old) in clients {
        assert_ne!(fleet.leaf(&name, CLIENT).serial, old.serial, "{name}");
    }
    let server = fleet.leaf("mgmt", SERVER);
    fleet.done(&["rotate", "server"]);
    assert_ne!(fleet.leaf("mgmt", SERVER).serial, server.serial);
    fleet.done(&["rotate", "signer"]);
    everybody_accepts(&fleet);
    assert_eq!(fleet.generations("signer").len(), 2);
    fleet.done(&["audit"]);
    for run in [fleet.run(&["status"]), fleet.run(&["-vv", "audit"])] {
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(!said.contains(&corp.token), "the token was printed");
    }
}

#[test]
fn the_audit_names_the_role_setting_that_is_wrong() {
    let corp = Corp::set_up();
    let fleet = corp.fleet();
    let role = format!("{}/roles/relay-agent", corp.mount);
    Vault::shared().shell(&format!("vault patch {role} server_flag=true"));
    let run = fleet.run(&["audit"]);
    assert_ne!(run.code, Some(0));
    run.says(&["relay-agent", "server_flag=false"]);
}

#[test]
fn a_token_that_is_refused_ends_a_bootstrap_before_anything_is_made() {
    let corp = Corp::set_up();
    let fleet = corp.fleet();
    fs::write(fleet.path("token"), "hvs.nobody-knows-this").unwrap();
    let run = fleet.run(&["bootstrap"]);
    assert_ne!(run.code, Some(0));
    run.says(&["refuses the token", "file"]);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(!said.contains("nobody-knows-this"), "{said}");
    assert!(Vault::shared().issued(&corp.mount).is_empty());
    // The same command goes on once the token is good.
    fs::write(fleet.path("token"), &corp.token).unwrap();
    fleet.done(&["bootstrap"]);
}

/// The snippets of the page are documents.
#[test]
fn the_page_shows_documents_that_are_read() {
    let snippets = snippets();
    assert_eq!(snippets.len(), 2);
    for spec in snippets {
        let fleet = Fleet::new(&format!("{spec}{}", clusters(&WORKLOADS)));
        // It is read, and then nobody answers.
        let run = fleet.run(&["audit"]);
        assert!(!run.stderr.contains("relay.yaml:"), "{run:#?}");
    }
}
