//! What lies in a cluster, and whose key is where.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_testbed::ApiServer;

use crate::support::certificate::private_key;
use crate::support::manifest::Manifest;

/// Everything that is in Secrets and ConfigMaps of the namespace.
pub(super) fn everything(server: &ApiServer, namespace: &str) -> Vec<Vec<u8>> {
    let found = server.json(&["get", "secrets,configmaps", "-n", namespace]);
    let mut values = Vec::new();
    for item in found["items"].as_array().unwrap() {
        let encoded = item["kind"] == "Secret";
        for value in item["data"]
            .as_object()
            .into_iter()
            .flat_map(|it| it.values())
        {
            let text = value.as_str().unwrap();
            values.push(match encoded {
                true => STANDARD.decode(text).unwrap(),
                false => text.as_bytes().to_vec(),
            });
        }
    }
    values
}

/// Whether a private key is somewhere in there, as PEM or as DER.
pub(super) fn holds(values: &[Vec<u8>], key: &[u8]) -> bool {
    let der = private_key(key);
    let parts = [key.trim_ascii(), der.secret_der()];
    values.iter().any(|value| {
        let mut parts = parts.iter();
        parts.any(|part| value.windows(part.len()).any(|window| window == *part))
    })
}

pub(super) fn data_keys(secret: &Manifest) -> String {
    secret.data.keys().cloned().collect::<Vec<_>>().join(" ")
}
