use std::collections::BTreeSet;

use crate::audit::{Severity, checks, explain, findings_markdown};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings.md");

#[test]
fn every_row_is_complete() {
    let mut codes = BTreeSet::new();
    for check in checks() {
        let name = check.code.to_string();
        assert!(codes.insert(check.code), "{name} twice");
        assert!((1..=10).contains(&check.code.family()), "{name}");
        assert!(name.len() == 5 && name.starts_with('R'), "{name}");
        for text in [
            check.title,
            check.effect,
            check.remedy,
            check.explain,
            check.source,
        ] {
            assert!(!text.trim().is_empty(), "{name}");
            assert!(
                !text.contains('\n') && text.trim() == text,
                "{name}: {text:?}"
            );
        }
        assert!(check.explain.ends_with('.'), "{name}");
        let first = check.title.chars().next().unwrap();
        assert!(first.is_lowercase(), "{name}: {}", check.title);
        assert_eq!(check.code.check(), check);
    }
}

#[test]
fn remedies_are_commands_of_ours() {
    let verbs = [
        "bootstrap",
        "rotate",
        "status",
        "audit",
        "revoke",
        "rotation",
    ];
    for check in checks() {
        for (_, command) in check
            .remedy
            .split("relay-pki ")
            .map(|rest| ((), rest))
            .skip(1)
        {
            let verb = command.split([' ', '`', ',', ';']).next().unwrap();
            let known =
                verbs.contains(&verb) || !check.remedy.contains(&format!("relay-pki {verb}"));
            // Prose: "relay-pki makes roots without", "relay-pki's own".
            let prose = ["makes", "do", "has", "signs", "lets", "then"].contains(&verb);
            assert!(
                known || prose,
                "{}: {verb:?} in {}",
                check.code,
                check.remedy
            );
            if verb == "rotate" {
                let what = command.split([' ', '`', ',', ';']).nth(1).unwrap();
                let scopes = ["agent", "agents", "server", "signer", "tokens", "due"];
                assert!(scopes.contains(&what), "{}: rotate {what}", check.code);
            }
        }
    }
}

#[test]
fn unreachable_is_no_error() {
    for check in checks().iter().filter(|check| check.code.family() == 4) {
        assert_eq!(check.severity, Severity::Warning, "{}", check.code);
    }
}

#[test]
fn codes_are_explained() {
    let text = explain("r0103").unwrap();
    assert!(
        text.starts_with("error R0103: the private key of a relay CA"),
        "{text}"
    );
    assert!(text.contains("--prune-keys"), "{text}");
    assert_eq!(explain("R9999"), None);
    assert_eq!(explain(""), None);
}

#[test]
fn the_reference_is_up_to_date() {
    let wanted = findings_markdown();
    if std::env::var_os("RELAY_PKI_WRITE_DOCS").is_some() {
        std::fs::write(DOCS, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(DOCS).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/findings.md is out of date; see its first lines"
    );
}

/// A code that no test provokes is a code that nobody knows to work.
#[test]
fn every_code_has_a_test() {
    let tests = [
        include_str!("chain.rs"),
        include_str!("identity.rs"),
        include_str!("ownership.rs"),
        include_str!("pem.rs"),
        include_str!("placement.rs"),
        include_str!("profile.rs"),
        include_str!("rotation.rs"),
        include_str!("tokens.rs"),
        include_str!("validity.rs"),
        include_str!("../../engine/tests/transcript.rs"),
    ];
    let missing: Vec<String> = checks()
        .iter()
        .map(|check| check.code.to_string())
        .filter(|code| {
            !tests
                .iter()
                .any(|text| text.contains(&format!("\"{code}\"")))
        })
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
