use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::document;

/// The JSON schema (draft 2020-12) of the Relay document, for editors and for whoever checks a
/// document without relay-pki.
pub fn json_schema() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<document::Relay>()
        .into()
}

/// The schemas of what a document and the objects of the API have in common.
pub(crate) struct ObjectSchemas {
    /// The spec of a relay, without its clusters.
    pub(crate) relay: Value,
    /// A cluster, without its name, and without what lies on somebody's disk.
    pub(crate) cluster: Value,
}

/// The schemas of what a document and the objects of the API have in common, without references.
pub(crate) fn object_schemas(settings: SchemaSettings) -> ObjectSchemas {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings.clone().into_generator();
    let mut relay: Value = generator.into_root_schema_for::<document::Spec>().into();
    remove(&mut relay, &["clusters"]);
    let generator = settings.into_generator();
    let mut cluster: Value = generator.into_root_schema_for::<document::Cluster>().into();
    remove(&mut cluster, &["name", "directory"]);
    // Almost every object is a workload cluster, and need not say so.
    if let Some(Value::Array(required)) = cluster.get_mut("required") {
        required.retain(|field| field != "role");
    }
    remove_local_places(&mut relay);
    remove_local_places(&mut cluster);
    ObjectSchemas { relay, cluster }
}

/// What can be kept in a Secret can, in a document, also be kept where relay-pki runs. An object of the
/// API must not reach for that.
fn remove_local_places(schema: &mut Value) {
    if schema.pointer("/properties/secretRef").is_some() {
        remove(schema, &["file", "context", "env"]);
    }
    let parts: Vec<&mut Value> = match schema {
        Value::Object(members) => members.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    for part in parts {
        remove_local_places(part);
    }
}

/// Takes fields out of the schema of a map.
fn remove(schema: &mut Value, fields: &[&str]) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !fields.iter().any(|field| name == field));
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::tests::FULL;

    /// Calls `look` with every schema of an object in the whole document's schema.
    fn objects<'a>(path: &str, schema: &'a Value, look: &mut impl FnMut(&str, &'a Value)) {
        if schema.get("properties").is_some() {
            look(path, schema);
        }
        match schema {
            Value::Object(members) => {
                for (name, member) in members {
                    objects(&format!("{path}/{name}"), member, look);
                }
            }
            Value::Array(items) => {
                for item in items {
                    objects(path, item, look);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_property_is_described_and_no_other_is_allowed() {
        let schema = json_schema();
        let mut seen = 0;
        objects("", &schema, &mut |path, object| {
            assert_eq!(object["additionalProperties"], false, "{path}");
            for (name, property) in object["properties"].as_object().unwrap() {
                seen += 1;
                let described = property["description"].as_str().unwrap_or_default();
                assert!(described.len() > 10, "{path}: {name} has no description");
            }
        });
        assert!(seen > 40, "{seen} properties");
    }

    #[test]
    fn says_what_is_required() {
        let schema = json_schema();
        let required = |schema: &Value| -> BTreeSet<String> {
            let names = schema["required"].as_array().cloned().unwrap_or_default();
            names
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect()
        };
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            required(&schema),
            set(&["apiVersion", "kind", "metadata", "spec"])
        );
        assert_eq!(required(&schema["$defs"]["Spec"]), set(&["clusters"]));
        assert_eq!(
            required(&schema["$defs"]["Cluster"]),
            set(&["name", "role"])
        );
        assert_eq!(required(&schema["$defs"]["Agents"]), set(&[]));
        assert_eq!(
            schema["$defs"]["Agents"]["properties"]["validity"]["default"],
            "30d"
        );
    }

    #[test]
    fn a_valid_document_has_no_structural_problem() {
        // The same walk that explains a broken document compares a whole one with the schema.
        let problems = crate::config::structure::problems(FULL, "relay.yaml").unwrap();
        assert_eq!(problems, []);
    }
}
