//! The rules of the layout, as far as a machine can check them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The packages of the workspace.
fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.filter(move |package| members.contains(package["id"].as_str().unwrap()))
}

/// Normal (not development, not optional) dependencies of each workspace package.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    members(metadata)
        .map(|package| {
            let normal = package["dependencies"].as_array().unwrap().iter();
            let normal = normal
                .filter(|d| d["kind"].is_null() && d["optional"] == Value::Bool(false))
                .map(|d| d["name"].as_str().unwrap().to_owned());
            (
                package["name"].as_str().unwrap().to_owned(),
                normal.collect(),
            )
        })
        .collect()
}

/// The packages of the backends.
fn providers(metadata: &Value) -> BTreeSet<&str> {
    let folder = root().join("providers");
    members(metadata)
        .filter(|package| {
            Path::new(package["manifest_path"].as_str().unwrap()).starts_with(&folder)
        })
        .map(|package| package["name"].as_str().unwrap())
        .filter(|name| *name != "relay-pki-authority")
        .collect()
}

#[test]
fn the_contract_knows_no_kubernetes_no_http_and_no_runtime() {
    let dependencies = dependencies(&metadata());
    let contract = &dependencies["relay-pki-authority"];
    for banned in ["tokio", "kube", "k8s-openapi", "reqwest", "hyper", "rcgen"] {
        assert!(
            !contract.contains(banned),
            "the contract depends on {banned}"
        );
    }
}

#[test]
fn a_provider_knows_the_contract_and_no_other_provider() {
    let metadata = metadata();
    let dependencies = dependencies(&metadata);
    let providers = providers(&metadata);
    assert!(!providers.is_empty());
    for provider in providers {
        let ours: Vec<&String> = dependencies[provider]
            .iter()
            .filter(|name| name.starts_with("relay-pki"))
            .collect();
        assert_eq!(ours, ["relay-pki-authority"], "{provider}");
    }
}

#[test]
fn the_testbed_is_for_tests_and_does_not_know_the_product() {
    let dependencies = dependencies(&metadata());
    for (package, needed) in &dependencies {
        assert!(!needed.contains("relay-pki-testbed"), "{package}");
    }
    for banned in ["relay-pki", "relay-pki-authority", "kube", "k8s-openapi"] {
        let testbed = &dependencies["relay-pki-testbed"];
        assert!(!testbed.contains(banned), "the testbed depends on {banned}");
    }
}

#[test]
fn concrete_providers_are_named_by_the_composition_root() {
    let metadata = metadata();
    let crates: Vec<String> = providers(&metadata)
        .into_iter()
        .map(|package| package.replace('-', "_"))
        .collect();
    let composition = root().join("src/authorities");
    let mut named = BTreeSet::new();
    for file in rust_files(&root().join("src")) {
        // Unit tests may build one.
        if file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let here = crates.iter().filter(|name| text.contains(name.as_str()));
        let composes = file == composition.with_extension("rs") || file.starts_with(&composition);
        for name in here {
            assert!(composes, "{} names {name}", file.display());
            named.insert(name);
        }
    }
    assert!(
        named.iter().copied().eq(&crates),
        "only {named:?} are built in"
    );
}

#[test]
fn there_is_one_crypto_and_tls_stack() {
    let users = |package: &str| {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--workspace",
                "--offline",
                "--locked",
                "-i",
                package,
            ])
            .current_dir(root())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        users("aws-lc-rs").contains("relay-pki"),
        "the check looks at nothing"
    );
    for banned in ["ring", "openssl-sys", "native-tls"] {
        let users = users(banned);
        assert!(users.trim().is_empty(), "{banned} is linked:\n{users}");
    }
}

/// Whoever builds with one backend compiles the SDK of no other.
#[test]
fn each_backend_can_be_left_out_with_its_sdk() {
    let packages = |features: &[&str]| -> BTreeSet<String> {
        let tree = ["tree", "--package", "relay-pki", "--edges", "normal"];
        let output = Command::new(env!("CARGO"))
            .args(tree)
            .args(["--prefix", "none", "--offline", "--locked"])
            .args(features)
            .current_dir(root())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines();
        lines
            .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
            .collect()
    };
    let sdks = [
        (
            "aws-private-ca",
            [
                "relay-pki-aws-private-ca",
                "aws-config",
                "aws-sdk-",
                "aws-smithy-",
            ]
            .as_slice(),
        ),
        ("cert-manager", &["relay-pki-cert-manager"]),
        ("gcp-cas", &["relay-pki-gcp-cas", "google-cloud-"]),
        ("vault", &["relay-pki-vault", "vaultrs", "rustify"]),
    ];
    let with_all = packages(&[]);
    let with = |feature: &str| packages(&["--no-default-features", "--features", feature]);
    let alone = sdks.map(|(feature, _)| (feature, with(feature)));
    let without = packages(&["--no-default-features"]);
    for (feature, names) in sdks {
        for name in names {
            let has = |found: &BTreeSet<String>| found.iter().any(|one| one.starts_with(name));
            assert!(has(&with_all), "{name} is looked for in vain");
            assert!(
                !has(&without),
                "{name} is built without the feature {feature}"
            );
            for (other, found) in &alone {
                assert_eq!(
                    has(found),
                    *other == feature,
                    "{name} with the feature {other}"
                );
            }
        }
    }
}

#[test]
fn every_test_file_is_part_of_the_test_crate() {
    let directory = root().join("tests/it");
    let main = fs::read_to_string(directory.join("main.rs")).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        if module != "main" && module != "fixtures" {
            assert!(
                main.contains(&format!("mod {module};")),
                "{name} is never run"
            );
        }
    }
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
