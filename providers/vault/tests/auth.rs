//! Logging in, staying logged in, and being shut out.

use std::time::Duration;

use relay_pki_authority::conformance::Fixture as _;
use relay_pki_authority::{AuthorityError, Provider as _};
use relay_pki_testbed::{Testbed, Vault, eventually};
use relay_pki_vault::{Auth, ClientCertificate, VaultConfig};
use serde_json::{Value, json};

use crate::backend::{Backend, Kept, config};
use crate::page;

fn provider(config: VaultConfig) -> relay_pki_vault::Vault {
    relay_pki_vault::Vault::new("corp", config)
}

async fn refusal(config: VaultConfig) -> String {
    let error = provider(config).check().await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Misconfigured { .. }),
        "{error}"
    );
    error.to_string()
}

/// An AppRole whose tokens live for `ttl`: mount, role id, secret id.
fn app_role(vault: &Vault, policy: &str, ttl: &str) -> (String, String, String) {
    let mount = format!("approle-{policy}");
    let method = json!({ "type": "approle" });
    vault.admin("POST", &format!("sys/auth/{mount}"), &method);
    let role = format!("auth/{mount}/role/relay");
    let settings = json!({ "token_policies": [policy], "token_ttl": ttl, "token_max_ttl": ttl });
    vault.admin("POST", &role, &settings);
    let id = vault.admin("GET", &format!("{role}/role-id"), &Value::Null);
    let secret = vault.admin("POST", &format!("{role}/secret-id"), &json!({}));
    (
        mount,
        id["role_id"].as_str().unwrap().to_owned(),
        secret["secret_id"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_role_logs_in_anew_before_its_token_ends() {
    let vault = Vault::shared();
    let (mount, policy) = page::set_up(vault, false);
    let (method, role_id, secret) = app_role(vault, &policy, "3s");
    let kept = Kept::new(secret);
    let auth = Auth::AppRole {
        mount: method,
        role_id,
        secret_id: kept.credential(),
    };
    let provider = provider(config(vault, &mount, auth));
    for _ in 0..3 {
        provider.check().await.unwrap();
        tokio::time::sleep(Duration::from_millis(2200)).await;
    }
    // From now on nobody can log in.
    kept.replace("no secret id");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let error = provider.check().await.unwrap_err().to_string();
    assert!(error.contains("the test's drawer"), "{error}");
    assert!(!error.contains("no secret id"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_also_while_nobody_asks_for_anything() {
    let vault = Vault::shared();
    let (mount, policy) = page::set_up(vault, false);
    let token = vault.token(&json!({
        "policies": [policy], "no_default_policy": true, "period": "4s", "no_parent": true,
    }));
    let kept = Kept::new(token);
    let provider = provider(config(vault, &mount, Auth::Token(kept.credential())));
    provider.check().await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    provider.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_token_is_found_when_the_old_one_is_refused() {
    let backend = Backend::start().await;
    let provider = backend.provider().await;
    provider.check().await.unwrap();
    backend
        .inject(relay_pki_authority::conformance::Fault::ExpiredCredential)
        .await;
    let error = provider.check().await.unwrap_err();
    assert!(
        error.to_string().contains("the test's drawer"),
        "it does not say which token: {error}"
    );
    backend.token.replace(backend.new_token());
    provider.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_logs_in() {
    let vault = Vault::shared();
    let (mount, policy) = page::set_up(vault, false);
    let cluster = Testbed::shared().management();
    let namespace = cluster.namespace("vault");
    for account in ["relay-pki", "reviewer", "stranger"] {
        cluster.must(&["create", "serviceaccount", account, "-n", &namespace], "");
    }
    let reviewer = format!("--serviceaccount={namespace}:reviewer");
    let delegator = "--clusterrole=system:auth-delegator";
    let binding = [
        "create",
        "clusterrolebinding",
        &namespace,
        delegator,
        &reviewer,
    ];
    cluster.must(&binding, "");
    let method = format!("kubernetes-{mount}");
    vault.admin(
        "POST",
        &format!("sys/auth/{method}"),
        &json!({ "type": "kubernetes" }),
    );
    let connection = json!({
        "kubernetes_host": cluster.url(),
        "kubernetes_ca_cert": cluster.certificate_authority(),
        "token_reviewer_jwt": cluster.token(&namespace, "reviewer"),
        "disable_local_ca_jwt": true,
    });
    vault.admin("POST", &format!("auth/{method}/config"), &connection);
    let role = json!({
        "bound_service_account_names": ["relay-pki"],
        "bound_service_account_namespaces": [namespace],
        "token_policies": [policy],
    });
    vault.admin("POST", &format!("auth/{method}/role/relay"), &role);
    let auth = |account: &str| Auth::Kubernetes {
        mount: method.clone(),
        role: "relay".to_owned(),
        token: Kept::new(cluster.token(&namespace, account)).credential(),
    };
    let ours = provider(config(vault, &mount, auth("relay-pki")));
    ours.check().await.unwrap();
    let refused = refusal(config(vault, &mount, auth("stranger"))).await;
    assert!(refused.contains("service account"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_in_an_error() {
    let vault = Vault::shared();
    let mount = vault.pki("pki");
    for token in ["hvs.secret-that-nobody-knows", "two\nlines", "ümlaut"] {
        let kept = Kept::new(token);
        let said = refusal(config(vault, &mount, Auth::Token(kept.credential()))).await;
        assert!(!said.contains("secret-that"), "{said}");
        assert!(!said.contains("lines"), "{said}");
        assert!(said.contains("the test's drawer"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_certificates_gets_ours() {
    let vault = Vault::shared();
    let (mount, policy) = page::set_up(vault, false);
    let token = vault.token(&json!({ "policies": [policy] }));
    let auth = || Auth::Token(Kept::new(token.clone()).credential());
    let (certificate, key) = vault.client();
    let with = VaultConfig {
        address: vault.mutual_url(),
        client_certificate: Some(ClientCertificate {
            certificate: Kept::new(certificate).credential(),
            key: Kept::new(key).credential(),
        }),
        ..config(vault, &mount, auth())
    };
    provider(with).check().await.unwrap();
    let without = VaultConfig {
        address: vault.mutual_url(),
        ..config(vault, &mount, auth())
    };
    let said = refusal(without).await;
    assert!(said.contains("clientCertificate"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_ca_is_not_talked_to() {
    let vault = Vault::shared();
    let mount = vault.pki("pki");
    let auth = || Auth::Token(Kept::new(vault.root_token()).credential());
    let stranger = Testbed::shared().management().certificate_authority();
    let other = VaultConfig {
        ca_bundle: Some(Kept::new(stranger).credential()),
        ..config(vault, &mount, auth())
    };
    let said = refusal(other).await;
    assert!(said.contains("caBundle"), "{said}");
    let system = VaultConfig {
        ca_bundle: None,
        ..config(vault, &mount, auth())
    };
    let said = refusal(system).await;
    assert!(said.contains("caBundle"), "{said}");
    let garbage = VaultConfig {
        ca_bundle: Some(Kept::new("no PEM").credential()),
        ..config(vault, &mount, auth())
    };
    let said = refusal(garbage).await;
    assert!(said.contains("no certificate in PEM"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_talked_to() {
    let vault = Vault::shared();
    let (mount, policy) = page::set_up(vault, false);
    let token = vault.token(&json!({ "policies": [policy] }));
    let plain = VaultConfig {
        address: vault.plain_url(),
        ..config(vault, &mount, Auth::Token(Kept::new(token).credential()))
    };
    provider(plain).check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_server_is_unavailable_until_it_is_unsealed() {
    let vault = Vault::start().unwrap();
    let (mount, policy) = page::set_up(&vault, false);
    let token = vault.token(&json!({ "policies": [policy] }));
    let auth = Auth::Token(Kept::new(token).credential());
    let provider = provider(config(&vault, &mount, auth));
    provider.check().await.unwrap();
    vault.seal();
    let error = provider.check().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("unseal"), "{error}");
    vault.unseal();
    let limit = Duration::from_secs(60);
    eventually("it answers again", limit, || {
        let call = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(provider.check())
        });
        call.ok()
    });
}
