//! Structural OpenAPI schemas from the document's types.

use kube::core::schema::StructuralSchemaRewriter;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::rules::{self, Rule};
use super::{
    NEVER_OBSERVED, RelayClusterSpec, RelayClusterStatus, RelayRotationSpec, RelayRotationStatus,
    RelaySpec, RelayStatus,
};
use crate::config::{Role, lifetimes, object_schemas};

/// Bounds where the document has none: the API server refuses rules that could become expensive.
const MAX_LENGTH: u64 = 256;
const MAX_ITEMS: u64 = 64;
const MAX_PROPERTIES: u64 = 16;

/// A lifetime is at most twenty digits and five units.
const MAX_LIFETIME: u64 = 32;

/// The schema of a whole Relay.
pub(super) fn relay() -> Value {
    let mut spec = spec::<RelaySpec>(object_schemas(settings()).relay);
    describe(
        &mut spec,
        "/properties/namespace",
        "Namespace of the relay secrets in the clusters, if not that of this object.",
    );
    for (part, shortest) in [
        ("root", lifetimes::MIN_ROOT),
        ("signer", lifetimes::MIN_SIGNER),
        ("server", lifetimes::MIN_LEAF),
        ("agents", lifetimes::MIN_LEAF),
    ] {
        let validity = format!("/properties/{part}/properties/validity");
        lifetime(&mut spec, &validity, shortest);
    }
    let provider = "/properties/providers/additionalProperties";
    let kinds = keys(&spec, &format!("{provider}/properties"));
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let one_kind = rules::exactly_one(&kinds, "name the backend");
    add_rules(&mut spec, provider, &[one_kind]);
    add_rules(
        &mut spec,
        "/properties/providers",
        &[rules::labels_as_keys()],
    );
    add_rules(&mut spec, "", &rules::relay());
    whole::<RelayStatus>(spec, "The certificates of one relay.", rules::relay_name())
}

/// The schema of a whole RelayCluster.
pub(super) fn cluster() -> Value {
    let mut spec = spec::<RelayClusterSpec>(object_schemas(settings()).cluster);
    for (field, description) in [
        (
            "/properties/kubeconfig",
            "The kubeconfig of the cluster, in a Secret beside this object.",
        ),
        (
            "/properties/kubeconfig/properties/secretRef",
            "A Secret in the namespace of this object.",
        ),
        (
            "/properties/validity",
            "How long this agent's certificate is valid, if not as the Relay's `agents.validity` says.",
        ),
        (
            "/properties/delivery",
            "How this cluster's agent gets its certificate, if not as the Relay's `agents.delivery` \
             says.",
        ),
        (
            "/properties/clientSecret",
            "Name of this agent's secret, if not as the Relay's `secrets.client` says.",
        ),
    ] {
        describe(&mut spec, field, description);
    }
    lifetime(&mut spec, "/properties/validity", lifetimes::MIN_LEAF);
    if let Some(role) = spec.pointer_mut("/properties/role") {
        set(role, "default", Role::Workload.as_str());
    }
    if let Some(kubeconfig) = spec.pointer_mut("/properties/kubeconfig") {
        set(kubeconfig, "required", json!(["secretRef"]));
    }
    let immutable = "make a new RelayCluster instead: a cluster keeps its relay and its role";
    for field in ["/properties/role", "/properties/relayRef"] {
        add_rules(&mut spec, field, &[rules::immutable(immutable)]);
    }
    add_rules(&mut spec, "", &rules::cluster());
    whole::<RelayClusterStatus>(spec, "A cluster of a relay.", rules::cluster_name())
}

/// The schema of a whole RelayRotation.
pub(super) fn rotation() -> Value {
    let mut spec = schema_of::<RelayRotationSpec>();
    rewrite(&mut spec, Defaults::Stored);
    bound(&mut spec);
    if let Some(reason) = spec.pointer_mut("/properties/waive/items/properties/reason") {
        set(reason, "maxLength", 500);
    }
    if let Some(until) = spec.pointer_mut("/properties/waive/items/properties/until") {
        set(until, "maxLength", 64);
    }
    add_rules(&mut spec, "", &rules::rotation());
    whole::<RelayRotationStatus>(
        spec,
        "A rotation of the root or of the signer of a relay.",
        rules::rotation_name(),
    )
}

fn settings() -> SchemaSettings {
    SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(StructuralSchemaRewriter)
        .with_transform(optional)
}

/// Says that a field may be left out as the API does, by not requiring it: `Option` makes it one of
/// a type and null.
fn optional(schema: &mut Schema) {
    transform_subschemas(&mut optional, schema);
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    let Some(Value::Array(alternatives)) = schema.get("anyOf").cloned() else {
        return;
    };
    let null = |schema: &Value| schema.get("nullable") == Some(&Value::Bool(true));
    if let [Value::Object(one), other] = alternatives.as_slice()
        && null(other)
    {
        schema.remove("anyOf");
        for (keyword, value) in one {
            // What is said about the field says more than what is said about its type.
            schema.entry(keyword).or_insert_with(|| value.clone());
        }
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    settings()
        .into_generator()
        .into_root_schema_for::<T>()
        .into()
}

/// A spec: what it shares with the document, and what only objects have.
fn spec<T: JsonSchema>(document: Value) -> Value {
    let mut shared = document;
    // A default that is stored would stay what it was when the object was made. Only the fields that
    // rules and people look at in the object have stored ones.
    rewrite(&mut shared, Defaults::Told);
    bound(&mut shared);
    let mut own = schema_of::<T>();
    rewrite(&mut own, Defaults::Stored);
    bound(&mut own);
    for member in ["properties", "required"] {
        match (own.get_mut(member), shared.get_mut(member).map(Value::take)) {
            (Some(Value::Object(own)), Some(Value::Object(shared))) => own.extend(shared),
            (Some(Value::Array(own)), Some(Value::Array(shared))) => own.extend(shared),
            (None, Some(shared)) => set(&mut own, member, shared),
            _ => {}
        }
    }
    own
}

/// A whole object around a spec.
fn whole<Status: JsonSchema>(spec: Value, description: &str, name_rule: Rule) -> Value {
    let mut status = schema_of::<Status>();
    rewrite(&mut status, Defaults::Stored);
    // The default of a map has to hold those of its fields.
    set(
        &mut status,
        "default",
        json!({ "observedGeneration": NEVER_OBSERVED }),
    );
    json!({
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": {
                "type": "object",
                "properties": { "name": { "type": "string", "maxLength": 63 } },
            },
            "spec": spec,
            "status": status,
        },
        rules::KEYWORD: rules::json(&[name_rule]),
    })
}

/// What becomes of defaults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Defaults {
    /// The description tells them.
    Told,
    /// The API server fills them in.
    Stored,
}

/// Leaves out, or says otherwise, what a structural schema must not have.
fn rewrite(schema: &mut Value, defaults: Defaults) {
    each(schema, &mut |schema| {
        for keyword in ["nullable", "title", "$schema"] {
            schema.remove(keyword);
        }
        let empty = |required: &Value| required.as_array().is_some_and(Vec::is_empty);
        if schema.get("required").is_some_and(empty) {
            schema.remove("required");
        }
        if let Some(Value::String(description)) = schema.get_mut("description") {
            *description = description.replace('\n', " ");
        }
        if schema
            .get("additionalProperties")
            .is_some_and(Value::is_boolean)
        {
            schema.remove("additionalProperties");
        }
        let known =
            |format: &Value| matches!(format.as_str(), Some("date-time" | "int32" | "int64"));
        if schema.get("format").is_some_and(|format| !known(format)) {
            schema.remove("format");
        }
        if let Some(bound) = schema
            .get("exclusiveMinimum")
            .filter(|bound| bound.is_number())
        {
            let bound = bound.clone();
            schema.insert("minimum".to_owned(), bound);
            schema.insert("exclusiveMinimum".to_owned(), true.into());
        }
        let pattern = schema.get("pattern").and_then(Value::as_str);
        if let Some(rule) = pattern.and_then(rules::of_pattern) {
            schema.remove("pattern");
            schema.insert(rules::KEYWORD.to_owned(), rules::json(&[rule]).into());
        }
        if defaults == Defaults::Told
            && let Some(default) = schema.remove("default")
        {
            let shown = default
                .as_str()
                .map_or_else(|| default.to_string(), str::to_owned);
            if let Some(Value::String(description)) = schema.get_mut("description") {
                description.push_str(&format!(" Default: `{shown}`."));
            }
        }
    });
}

/// Gives every text, list and map a greatest size.
fn bound(schema: &mut Value) {
    each(schema, &mut |schema| {
        let has = |keyword: &str| schema.contains_key(keyword);
        let (keyword, limit) = match schema.get("type").and_then(Value::as_str) {
            Some("string") if !has("enum") && !has("format") => ("maxLength", MAX_LENGTH),
            Some("array") => ("maxItems", MAX_ITEMS),
            Some("object") if has("additionalProperties") => ("maxProperties", MAX_PROPERTIES),
            _ => return,
        };
        if !has(keyword) {
            schema.insert(keyword.to_owned(), limit.into());
        }
    });
}

/// Calls `change` with a schema and everything below it.
fn each(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(schema) = schema else {
        return;
    };
    change(schema);
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            each(below, change);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut() {
            each(property, change);
        }
    }
}

fn lifetime(schema: &mut Value, pointer: &str, shortest: crate::config::Lifetime) {
    if let Some(lifetime) = schema.pointer_mut(pointer) {
        set(lifetime, "maxLength", MAX_LIFETIME);
    }
    add_rules(schema, pointer, &[rules::lifetime(shortest)]);
}

fn describe(schema: &mut Value, pointer: &str, description: &str) {
    if let Some(schema) = schema.pointer_mut(pointer) {
        set(schema, "description", description);
    }
}

fn add_rules(schema: &mut Value, pointer: &str, added: &[Rule]) {
    let Some(Value::Object(schema)) = schema.pointer_mut(pointer) else {
        return;
    };
    let rules = schema
        .entry(rules::KEYWORD)
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(rules) = rules {
        rules.extend(rules::json(added));
    }
}

fn set(schema: &mut Value, keyword: &str, value: impl Into<Value>) {
    if let Value::Object(schema) = schema {
        schema.insert(keyword.to_owned(), value.into());
    }
}

fn keys(schema: &Value, pointer: &str) -> Vec<String> {
    let map = schema.pointer(pointer).and_then(Value::as_object);
    map.map(|map| map.keys().cloned().collect())
        .unwrap_or_default()
}
