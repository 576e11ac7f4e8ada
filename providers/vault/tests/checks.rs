//! What [`Provider::check`] finds before the first certificate is asked for.

use relay_pki_authority::{AuthorityError, Provider as _};
use relay_pki_testbed::Vault;
use relay_pki_vault::{Auth, VaultConfig};
use serde_json::{Value, json};

use crate::backend::{Kept, config};
use crate::page;

fn token_with(policy: &str) -> Auth {
    let token = Vault::shared().token(&json!({
        "policies": [policy], "no_default_policy": true, "no_parent": true,
    }));
    Auth::Token(Kept::new(token).credential())
}

async fn said(config: VaultConfig) -> String {
    let checked = relay_pki_vault::Vault::new("corp", config).check().await;
    let error = checked.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    error.to_string()
}

/// The paths of a policy in HCL.
fn paths(policy: &str) -> Vec<String> {
    let starts = policy.split("path \"").skip(1);
    starts
        .map(|path| path.split('"').next().unwrap().to_owned())
        .collect()
}

/// Each line of the policy is needed: without it the check says so, and names the path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_missing_permission_is_named() {
    let vault = Vault::shared();
    let (mount, policy) = page::set_up(vault, false);
    let written = page::blocks("hcl", &mount).remove(0);
    let all = config(vault, &mount, token_with(&policy));
    relay_pki_vault::Vault::new("corp", all)
        .check()
        .await
        .unwrap();
    let of_mount = |path: &String| path.starts_with(&format!("{mount}/"));
    let all = paths(&written);
    assert!(all.len() >= 10, "{all:?}");
    for path in all.into_iter().filter(of_mount) {
        let name = format!("{mount}-without");
        let body = json!({ "policy": format!("{written}\npath \"{path}\" {{ capabilities = [\"deny\"] }}") });
        vault.admin("PUT", &format!("sys/policies/acl/{name}"), &body);
        let said = said(config(vault, &mount, token_with(&name))).await;
        let named = path.replace("relay-pki-*", "relay-pki-conformance-");
        assert!(said.contains(&named), "{path}: {said}");
        assert!(said.contains("docs/providers/vault.md"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_setting_of_a_role_is_named_with_its_remedy() {
    let vault = Vault::shared();
    let (mount, policy) = page::set_up(vault, false);
    let auth = token_with(&policy);
    let agent = format!("{mount}/roles/relay-agent");
    let right = vault.admin("GET", &agent, &Value::Null);
    for (setting, value, remedy) in [
        ("server_flag", json!(true), "'server_flag=false'"),
        ("max_ttl", json!("24h"), "'max_ttl=2592000s'"),
        ("key_type", json!("rsa"), "'key_type=any'"),
        (
            "use_csr_common_name",
            json!(true),
            "'use_csr_common_name=false'",
        ),
    ] {
        let mut wrong = right.clone();
        wrong[setting] = value;
        if setting == "key_type" {
            wrong["key_bits"] = json!(2048);
        }
        vault.admin("POST", &agent, &wrong);
        let said = said(config(vault, &mount, auth.clone())).await;
        assert!(said.contains("role relay-agent"), "{said}");
        assert!(said.contains(remedy), "{setting}: {said}");
        // The remedy is a command, and it helps.
        let command = said.split('`').nth(1).unwrap();
        page::run(vault, command);
        let healed = config(vault, &mount, auth.clone());
        relay_pki_vault::Vault::new("corp", healed)
            .check()
            .await
            .unwrap();
        vault.admin("POST", &agent, &right);
    }
    vault.admin("DELETE", &agent, &Value::Null);
    let said = said(config(vault, &mount, auth)).await;
    assert!(said.contains("no role relay-agent"), "{said}");
}
