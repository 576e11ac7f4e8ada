//! Manifests, read without the product.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A Secret or ConfigMap in a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) secret_type: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Decoded.
    pub(crate) data: BTreeMap<String, Vec<u8>>,
}

impl Manifest {
    /// Reads the only document of a file.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        Self::parse(&text).unwrap_or_else(|reason| panic!("{}: {reason}", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if value["apiVersion"] != "v1" {
            return Err("no apiVersion v1".to_owned());
        }
        let kind = text_of(&value["kind"])?;
        let mut data = BTreeMap::new();
        for (key, encoded) in strings(&value["data"])? {
            let bytes = match kind.as_str() {
                "Secret" => STANDARD
                    .decode(&encoded)
                    .map_err(|e| format!("{key}: {e}"))?,
                _ => encoded.into_bytes(),
            };
            data.insert(key, bytes);
        }
        let metadata = &value["metadata"];
        Ok(Self {
            name: text_of(&metadata["name"])?,
            namespace: metadata["namespace"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            secret_type: value["type"].as_str().unwrap_or_default().to_owned(),
            labels: strings(&metadata["labels"])?,
            annotations: strings(&metadata["annotations"])?,
            kind,
            data,
        })
    }

    /// One value of its data.
    pub(crate) fn entry(&self, key: &str) -> &[u8] {
        let found = self.data.get(key);
        found.unwrap_or_else(|| panic!("{} {} has no {key}", self.kind, self.name))
    }

    /// Writes it in the form of `kubectl create secret --dry-run=client -o yaml`, 0600.
    pub(crate) fn write_as_kubectl(&self, path: &Path) {
        let data: BTreeMap<&String, String> = self
            .data
            .iter()
            .map(|(key, value)| (key, STANDARD.encode(value)))
            .collect();
        let mut value = json!({
            "apiVersion": "v1",
            "data": data,
            "kind": self.kind,
            "metadata": { "creationTimestamp": null, "name": self.name, "namespace": self.namespace },
            "type": self.secret_type,
        });
        if !self.labels.is_empty() {
            value["metadata"]["labels"] = json!(self.labels);
        }
        if !self.annotations.is_empty() {
            value["metadata"]["annotations"] = json!(self.annotations);
        }
        write_private(path, serde_saphyr::to_string(&value).unwrap().as_bytes());
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap().write_all(content).unwrap();
}

fn text_of(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("a string is missing")?;
    Ok(text.to_owned())
}

fn strings(value: &Value) -> Result<BTreeMap<String, String>, String> {
    match value {
        Value::Null => Ok(BTreeMap::new()),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), text_of(value)?)))
            .collect(),
        other => Err(format!("{other} is no map")),
    }
}
