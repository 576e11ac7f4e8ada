use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cluster::{Object, ObjectKey, ObjectKind, SecretBytes};

const NAMESPACE: &str = "gloo-mesh";

fn object(key: ObjectKey, data: &[(&str, &[u8])]) -> Object {
    let secret_type = (key.kind == ObjectKind::Secret).then(|| "Opaque".to_owned());
    Object {
        key,
        secret_type,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: data
            .iter()
            .map(|(k, v)| ((*k).to_owned(), SecretBytes::new(*v)))
            .collect(),
    }
}

fn read(text: &str) -> Manifest {
    parse(text.as_bytes(), NAMESPACE).unwrap()
}

fn read_one(text: &str) -> Object {
    let manifest = read(text);
    assert_eq!(manifest.objects.len(), 1);
    manifest.objects[0].object.clone()
}

fn values(object: &Object) -> Vec<(&str, &[u8])> {
    object
        .data
        .iter()
        .map(|(k, v)| (k.as_str(), v.expose()))
        .collect()
}

fn refused(text: &str) -> String {
    parse(text.as_bytes(), NAMESPACE).unwrap_err().to_string()
}

#[test]
fn a_secret_is_written_for_grep_and_awk() {
    let mut secret = object(
        ObjectKey::secret("relay-server-tls-secret"),
        &[
            ("tls.key", &[0xff; 3]),
            ("tls.crt", &[b'a'; 300]),
            ("ca.crt", b""),
        ],
    );
    secret.secret_type = Some("kubernetes.io/tls".to_owned());
    secret.labels.insert("on".to_owned(), "0123".to_owned());
    secret
        .annotations
        .insert("note".to_owned(), "a: b".to_owned());
    let text = render(&secret, NAMESPACE, false, Notation::Yaml).unwrap();
    let expected = format!(
        "apiVersion: v1
kind: Secret
metadata:
  name: relay-server-tls-secret
  namespace: gloo-mesh
  labels:
    \"on\": \"0123\"
  annotations:
    note: \"a: b\"
type: kubernetes.io/tls
data:
  ca.crt: \"\"
  tls.crt: {}
  tls.key: ////
",
        "YWFh".repeat(100)
    );
    assert_eq!(text.as_str(), expected);
    assert_eq!(read_one(&text), secret);
}

#[test]
fn base64_that_yaml_would_take_for_something_else_is_quoted() {
    for encoded in [
        "null", "true", "1e10", "+123", "1234", "0x12", "0b11", "1111", "y+++",
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\ndata: {{k: '{encoded}'}}"
        );
        let written = render(&read_one(&text), NAMESPACE, false, Notation::Yaml).unwrap();
        assert_eq!(read_one(&written), read_one(&text), "{encoded}");
    }
}

#[test]
fn a_config_map_is_written_for_reading() {
    let map = object(
        ObjectKey::config_map("record"),
        &[
            ("bundle", b"-----BEGIN\nabc\n-----END\n"),
            ("state", br#"{"phase":"publishing","long":"words that would be folded when a writer thinks that eighty characters are enough"}"#),
            ("raw", &[0xff, 0xfe]),
            ("trailing", b"a \nb\n"),
        ],
    );
    let text = render(&map, NAMESPACE, true, Notation::Yaml).unwrap();
    let expected = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: record
  namespace: gloo-mesh
immutable: true
data:
  bundle: |
    -----BEGIN
    abc
    -----END
  state: "{\"phase\":\"publishing\",\"long\":\"words that would be folded when a writer thinks that eighty characters are enough\"}"
  trailing: "a \nb\n"
binaryData:
  raw: //4=
"#;
    assert_eq!(text.as_str(), expected);
    assert_eq!(read_one(&text), map);
    assert!(read(&text).objects[0].immutable);
}

#[test]
fn reads_what_people_write() {
    let manifest = read(
        "\u{feff}# a comment
---
apiVersion: v1
kind: Secret
metadata:
  name: one
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{\"data\":{\"token\":\"c2VjcmV0\"}}'
data:
  wrapped: |
    aGVs
    bG8=
  folded: aGVs
    bG8=
  token: b2xk
  empty:
stringData:
  token: new
---
# nothing
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, namespace: gloo-mesh}
data: {a: b}
binaryData: {c: /w==}
---
apiVersion: v1
kind: Secret
metadata: {name: elsewhere, namespace: other}
data: [not, ours]
---
apiVersion: example.com/v1
kind: Secret
metadata: {name: foreign}
data: {x: .nan}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: gloo-mesh}}
- {apiVersion: v1, kind: Secret, metadata: {name: three}, type: kubernetes.io/tls}
",
    );
    assert_eq!(manifest.documents, 6);
    assert!(manifest.has_list && !manifest.is_single());
    assert_eq!(manifest.namespaces, ["gloo-mesh"]);
    let names: Vec<_> = manifest
        .objects
        .iter()
        .map(|d| d.object.key.name.as_str())
        .collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert_eq!(manifest.objects[1].line, 22);
    let one = &manifest.objects[0].object;
    assert_eq!(
        values(one),
        [
            ("empty", &b""[..]),
            ("folded", b"hello"),
            ("token", b"new"),
            ("wrapped", b"hello")
        ]
    );
    assert!(one.annotations.is_empty(), "a copy of the secret");
    assert_eq!(
        values(&manifest.objects[1].object),
        [("a", &b"b"[..]), ("c", &[0xff])]
    );
    assert_eq!(
        manifest.objects[2].object.secret_type.as_deref(),
        Some("kubernetes.io/tls")
    );
}

#[test]
fn reads_json() {
    let long = "A".repeat(8000);
    let json = format!(
        "{{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"SecretList\",\n\t\"items\": [{{\"metadata\": \
         {{\"name\": \"a\", \"annotations\": {{\"x\": \"\\u00e9\\/\"}}}}, \"data\": {{\"k\": \"{long}\"}}}}]\n}}\n"
    );
    let secret = read_one(&json);
    assert_eq!(secret.data["k"].expose(), [0; 6000]);
    assert_eq!(secret.annotations["x"], "é/");
    let written = render(&secret, NAMESPACE, false, Notation::Json).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok());
    assert_eq!(read_one(&written), secret);
}

#[test]
fn errors_have_a_place_and_no_values() {
    let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";
    let cases = [
        (format!("{head}data:\n  token: hunter2!\n"), "5:10: data.token is not base64"),
        (format!("{head}data:\n  token: 1234\n"), "5:10: data.token must be a string, not a number; quote it"),
        (format!("{head}data: hunter2\n"), "4:7: data must be a mapping, not a string"),
        (format!("{head}data:\n  a: hunter2\n  a: hunter2\n"), "6:3: a key that is there already"),
        (format!("{head}stringData:\n  token: [hunter2]\n"), "5:10: stringData.token must be a string, not a list; quote it"),
        ("apiVersion: v1\nkind: Secret\nstringData: {token: hunter2}\n".to_owned(), "1:1: a Secret without metadata.name"),
        ("token: hunter2\n".to_owned(), "1:1: not a manifest: it has no `apiVersion`"),
        ("hunter2\n".to_owned(), "1:1: expected a mapping"),
        (format!("{head}immutable: hunter2\n"), "4:12: immutable must be true or false"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: hunter2}\nbinaryData: {k: aGVs}\n".to_owned(),
         "5:17: k is in data and in binaryData"),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(&text), expected);
    }
    let syntax = [
        format!("{head}stringData:\n  token: \"hunter2\n"),
        format!("{head}stringData:\n  token: hunter2: hunter2\n"),
        format!("{head}stringData:\n  token: \"hunter2\\q\"\n"),
        format!("{head}stringData: {{token: hunter2]\n"),
        format!("{head}stringData:\n  token: *hunter2\n"),
        format!("{head}stringData:\n  token: !hunter2!x hunter2\n"),
        format!("{head}stringData:\n  token: @hunter2\n"),
        format!("{head}stringData:\n\ttoken: hunter2\n"),
        format!("{head}stringData:\n  [hunter2]: hunter2\n"),
        format!("{head}data:\n  token: !!binary hunter2\n"),
        format!("{head}<<: hunter2\n"),
    ];
    for text in syntax {
        let error = refused(&text);
        assert!(
            !error.contains("unter") && !error.contains(['`', '"']),
            "{error}"
        );
        assert!(error.starts_with(|c| ('1'..='9').contains(&c)), "{error}");
    }
    let error = parse(b"a: b\nc: h\xc3\xa9\xff", NAMESPACE).unwrap_err();
    assert_eq!(error.to_string(), "2:6: it is not UTF-8");
}

#[test]
fn hostile_files_cost_little() {
    let large = vec![b'#'; MAX_MANIFEST_BYTES + 1];
    assert!(parse(&large, NAMESPACE).is_err());
    let bomb = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), "*a,".repeat(5000));
    assert!(
        refused(&bomb).contains("repeats itself"),
        "{}",
        refused(&bomb)
    );
    for (open, close) in [
        ("[", "]"),
        ("{a: ", "}"),
        ("&a [", "]"),
        ("- ", ""),
        ("? ", ""),
    ] {
        for depth in [150, 100_000] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for head in [
                "",
                "data: ",
                "items: ",
                "metadata: ",
                "kind: ",
                "data:\n  ",
                "data:\n  a:\n    ",
            ] {
                let text = format!("apiVersion: v1\nkind: Foreign\n{head}{deep}\n");
                let _ = parse(text.as_bytes(), NAMESPACE);
            }
        }
    }
    let nested = format!(
        "apiVersion: v1\nkind: List\n{}",
        "items: [{".repeat(150) + &"}]".repeat(150)
    );
    assert!(parse(nested.as_bytes(), NAMESPACE).is_err());
    let schema = format!(
        "apiVersion: v1\nkind: Foreign\nspec: {}1{}",
        "{a: ".repeat(150),
        "}".repeat(150)
    );
    assert_eq!(read(&schema).documents, 1);
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \\t\\n\\r:#'\"|>%@`!&*?,\\[\\]{}a\\-0]{0,24}",
        "(line [a-z: ]{0,100}\n){0,4}",
        Just("~".to_owned()),
        Just("2026-01-01".to_owned()),
        Just("1:30".to_owned()),
        Just("<<".to_owned()),
        Just("---\n...\n".to_owned()),
    ]
}

fn objects() -> impl Strategy<Value = Object> {
    let meta = || prop::collection::btree_map("[a-zA-Z0-9./_-]{1,40}", texts(), 0..4);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        texts().prop_map(String::into_bytes),
    ];
    let data = prop::collection::btree_map("[a-zA-Z0-9._-]{1,40}", value, 0..5);
    (any::<bool>(), "[a-z0-9]{1,63}", meta(), meta(), data).prop_map(
        |(secret, name, labels, annotations, data)| {
            let key = if secret {
                ObjectKey::secret(name)
            } else {
                ObjectKey::config_map(name)
            };
            Object {
                labels,
                annotations,
                data: data
                    .into_iter()
                    .map(|(k, v)| (k, SecretBytes::new(v)))
                    .collect(),
                ..object(key, &[])
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same(object in objects(), immutable: bool) {
        for notation in [Notation::Yaml, Notation::Json] {
            let text = render(&object, NAMESPACE, immutable, notation).unwrap();
            let manifest = parse(text.as_bytes(), NAMESPACE).unwrap();
            prop_assert!(manifest.is_single());
            prop_assert_eq!(manifest.objects[0].immutable, immutable);
            prop_assert_eq!(&manifest.objects[0].object, &object);
        }
    }

    #[test]
    fn a_secret_takes_a_line_for_each_value(
        data in prop::collection::btree_map("[a-zA-Z0-9._-]{1,40}", prop::collection::vec(any::<u8>(), 0..300), 0..5),
    ) {
        let lines = data.len();
        let object = Object {
            data: data.into_iter().map(|(k, v)| (k, SecretBytes::new(v))).collect(),
            ..object(ObjectKey::secret("a"), &[])
        };
        let text = render(&object, NAMESPACE, false, Notation::Yaml).unwrap();
        let shown = text.lines().skip_while(|line| *line != "data:").skip(1).count();
        prop_assert_eq!(shown, lines);
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, NAMESPACE);
    }
}
