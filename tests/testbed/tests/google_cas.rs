//! The emulator of Google Certificate Authority Service, and Google's own client.

use std::path::Path;
use std::process::Command;

use relay_pki_testbed::{GoogleCas, program};
use serde_json::json;

#[test]
fn googles_own_client_finds_the_service_in_it() {
    let policy = json!({ "allowRequesterSpecifiedNotBeforeTime": true });
    let pools = json!([{ "issuancePolicy": policy }, { "tier": "DEVOPS" }]);
    let project = GoogleCas::shared().project_with(&json!({ "pools": pools }));
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.json");
    std::fs::write(&key, project.key()).unwrap();
    let proof = Path::new(env!("CARGO_MANIFEST_DIR")).join("gcp/prove.py");
    let output = Command::new(program("python"))
        .arg("-B")
        .arg(proof)
        .arg(project.metadata_host())
        .args(project.pools())
        .arg(key)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    assert_eq!(said.trim(), "proved");
}
