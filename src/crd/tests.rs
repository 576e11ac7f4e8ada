#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use super::*;

/// Makes the manifests with `RELAY_PKI_WRITE_DOCS=1`.
#[test]
fn the_manifests_are_up_to_date() {
    for definition in definitions().unwrap() {
        let file = format!(
            "{}/manifests/crds/{}.yaml",
            env!("CARGO_MANIFEST_DIR"),
            definition.plural
        );
        let wanted = definition.yaml().unwrap();
        if std::env::var_os("RELAY_PKI_WRITE_DOCS").is_some() {
            std::fs::write(&file, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == wanted,
            "manifests/crds/{}.yaml is out of date; run \
             `RELAY_PKI_WRITE_DOCS=1 cargo test -p relay-pki --lib crd::`",
            definition.plural
        );
    }
}
