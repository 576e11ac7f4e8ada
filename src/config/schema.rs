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
            set(&["name", "role", "directory"])
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
