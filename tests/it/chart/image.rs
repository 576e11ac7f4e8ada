//! The Dockerfile, as far as it can be checked without a container engine.

use std::fs;

use crate::support::helm::root;

fn dockerfile() -> Vec<String> {
    let text = fs::read_to_string(root().join("manifests/image/Dockerfile")).unwrap();
    let lines = text.lines().map(str::trim).map(str::to_owned);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[test]
fn what_is_copied_exists_and_reaches_the_builder() {
    let ignore =
        fs::read_to_string(root().join("manifests/image/Dockerfile.dockerignore")).unwrap();
    let mut copied = Vec::new();
    for line in dockerfile() {
        let Some(arguments) = line.strip_prefix("COPY ") else {
            continue;
        };
        if arguments.starts_with("--from=") {
            continue;
        }
        let mut words: Vec<&str> = arguments.split_whitespace().collect();
        words.pop();
        copied.extend(words.into_iter().map(str::to_owned));
    }
    assert!(copied.contains(&"src".to_owned()), "{copied:?}");
    for source in copied {
        assert!(root().join(&source).exists(), "{source}");
        let let_in = ignore.lines().any(|line| line == format!("!{source}"));
        assert!(let_in, "{source} is ignored");
    }
}

#[test]
fn the_compiler_is_the_projects() {
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .unwrap()
        .trim_matches('"');
    let wanted = format!("FROM rust:{channel}-");
    assert!(
        dockerfile().iter().any(|line| line.starts_with(&wanted)),
        "rust-toolchain.toml says {channel}"
    );
}

#[test]
fn the_image_runs_the_program_as_nobody_in_particular() {
    let lines = dockerfile();
    let stage = lines
        .iter()
        .rposition(|line| line.starts_with("FROM "))
        .unwrap();
    let last = &lines[stage..];
    assert!(last.contains(&"USER 65532:65532".to_owned()), "{last:?}");
    assert!(
        last.contains(&"ENTRYPOINT [\"/relay-pki\"]".to_owned()),
        "{last:?}"
    );
    let binary = "COPY --from=build /src/target/release/relay-pki /relay-pki";
    assert!(last.contains(&binary.to_owned()), "{last:?}");
}
