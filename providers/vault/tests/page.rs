//! What `docs/providers/vault.md` tells people to run.

use std::fs;
use std::path::Path;

use relay_pki_testbed::Vault;

/// The fenced blocks of the page in `language`, for the mount `mount` instead of the page's `pki`.
pub(crate) fn blocks(language: &str, mount: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers/vault.md");
    let page = fs::read_to_string(page).unwrap();
    let mut found = Vec::new();
    let mut rest = page.as_str();
    while let Some((_, after)) = rest.split_once("```") {
        let (block, behind) = after.split_once("\n```").unwrap();
        if let Some(body) = block.strip_prefix(&format!("{language}\n")) {
            let body = body.replace("pki/", &format!("{mount}/"));
            let body = body.replace("path=pki pki", &format!("path={mount} pki"));
            found.push(body.replace("relay-pki-retire", &format!("{mount}-retire")));
        }
        rest = behind;
    }
    found
}

/// A mount with the roles of the page, and the name of the page's policy, with or without the part
/// that lets it retire CAs.
pub(crate) fn set_up(vault: &Vault, retiring: bool) -> (String, String) {
    let mount = vault.pki("pki");
    let roles = blocks("sh", &mount)
        .into_iter()
        .find(|script| script.contains("roles/relay-server"))
        .expect("the page makes roles");
    // The mount is there already.
    let roles: Vec<&str> = roles.split("\n\n").collect();
    let roles = roles.into_iter().filter(|part| part.contains("roles/"));
    run(vault, &roles.collect::<Vec<_>>().join("\n"));
    let mut policies = blocks("hcl", &mount);
    assert_eq!(
        policies.len(),
        3,
        "the page has a policy, one to retire and one to revoke"
    );
    if !retiring {
        policies.remove(1);
    }
    let policy = policies.join("\n");
    let name = format!("{mount}-policy");
    let body = serde_json::json!({ "policy": policy });
    vault.admin("PUT", &format!("sys/policies/acl/{name}"), &body);
    (mount, name)
}

/// Runs a block of the page.
pub(crate) fn run(vault: &Vault, script: &str) {
    let output = vault.shell(script);
    assert!(
        output.status.success(),
        "{script}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
