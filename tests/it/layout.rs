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
    let folder = root().join("providers");
    let providers: BTreeSet<&str> = members(&metadata)
        .filter(|package| {
            Path::new(package["manifest_path"].as_str().unwrap()).starts_with(&folder)
        })
        .map(|package| package["name"].as_str().unwrap())
        .filter(|name| *name != "relay-pki-authority")
        .collect();
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
fn concrete_providers_are_named_in_one_file() {
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        // Unit tests may build one.
        let product = !file.components().any(|part| part.as_os_str() == "tests")
            && !file.ends_with("tests.rs");
        let root = root().join("src/authorities");
        let composes = file == root.with_extension("rs") || file.starts_with(root);
        for provider in ["relay_pki_self_signed", "relay_pki_vault"] {
            assert!(
                !product || composes || !text.contains(provider),
                "{}",
                file.display()
            );
        }
    }
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
