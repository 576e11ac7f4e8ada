use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::{Relay, RelayCluster, RelayRotation, schema};

/// A CustomResourceDefinition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The plural of its kind, which also names its file in `manifests/crds`.
    pub plural: &'static str,
    /// The object to apply.
    pub object: Value,
}

impl Definition {
    /// As YAML.
    pub fn yaml(&self) -> Result<String, serde_saphyr::ser_error::Error> {
        serde_saphyr::to_string(&self.object)
    }
}

/// The definitions of `Relay`, `RelayCluster` and `RelayRotation`.
pub fn definitions() -> Result<[Definition; 3], serde_json::Error> {
    Ok([
        Definition {
            plural: "relays",
            object: with_schema(serde_json::to_value(Relay::crd())?, schema::relay()),
        },
        Definition {
            plural: "relayclusters",
            object: with_schema(
                serde_json::to_value(RelayCluster::crd())?,
                schema::cluster(),
            ),
        },
        Definition {
            plural: "relayrotations",
            object: with_schema(
                serde_json::to_value(RelayRotation::crd())?,
                schema::rotation(),
            ),
        },
    ])
}

fn with_schema(mut definition: Value, schema: Value) -> Value {
    if let Some(Value::Object(version)) = definition.pointer_mut("/spec/versions/0") {
        version.insert("schema".to_owned(), json!({ "openAPIV3Schema": schema }));
    }
    definition
}
