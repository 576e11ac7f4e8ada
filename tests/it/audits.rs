//! What the audit says. Apart from everything else while `audit` is a placeholder, which finds
//! nothing, prints nothing and would pass half of these.

use serde_json::Value;

use crate::defective_families::{ec, spoiled};
use crate::support::fleet::{CLIENT, Fleet, IDENTITY, ROOT, SERVER, SIGNING, clusters};
use crate::support::handmade::{Recipe, TOKEN};

/// The report, which has to end with `code` in every format.
fn report(fleet: &Fleet, code: i32) -> Value {
    let before = fleet.tree();
    for format in ["table", "yaml"] {
        fleet.ends(&["audit", "--output", format], code);
    }
    let report = fleet.ends(&["audit", "--output", "json"], code).json();
    assert_eq!(before, fleet.tree(), "an audit writes nothing");
    assert_eq!(report["incomplete"], code == 7, "{report}");
    report
}

fn assert_clean(fleet: &Fleet) {
    let report = report(fleet, 0);
    for finding in report["findings"].as_array().unwrap() {
        // The relay server has not made a certificate for its agent yet: that is worth a word.
        assert_eq!(finding["code"], "R0804", "{finding}");
        assert_eq!(finding["severity"], "info", "{finding}");
        assert_eq!(finding["cluster"], "signed", "{finding}");
    }
}

/// Fails unless a finding with this code names this object of this cluster, and can be
/// explained.
fn assert_found(fleet: &Fleet, report: &Value, code: &str, cluster: &str, object: &str) {
    let findings = report["findings"].as_array().unwrap();
    let fits = |finding: &&Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        text("code") == code && text("cluster") == cluster && text("object").contains(object)
    };
    let found = findings.iter().find(fits);
    let found = found.unwrap_or_else(|| panic!("no {code} for {cluster}/{object}: {report:#}"));
    let run = fleet.done(&["explain", code]);
    assert_ne!(run.stdout, "", "{found}");
}

#[test]
fn a_fleet_is_clean_through_its_life() {
    let signed = "    - { name: signed, role: workload, directory: clusters/signed, delivery: server-signed }\n";
    let fleet = Fleet::bootstrapped(&format!("{}{signed}", clusters(&["c1", "c2"])));
    assert_clean(&fleet);
    for verb in ["agents", "server", "signer", "agents", "server", "tokens"] {
        fleet.done(&["rotate", verb]);
        assert_clean(&fleet);
    }
}

#[test]
fn what_could_not_be_read_is_never_clean() {
    let fleet = Fleet::bootstrapped(&clusters(&["c1"]));
    std::fs::write(fleet.path("clusters/c1/broken.yaml"), "a: [").unwrap();
    report(&fleet, 7);
}

#[test]
fn serial_zero_is_found() {
    let recipe = Recipe {
        serial_zero: true,
        ..ec()
    };
    let (fleet, _) = spoiled(recipe, |_, _| {});
    let report = report(&fleet, 3);
    for (cluster, secret) in [("mgmt", SERVER), ("mgmt", SIGNING), ("c1", CLIENT)] {
        assert_found(&fleet, &report, "R0705", cluster, secret);
    }
}

#[test]
fn one_subject_for_all_is_found() {
    let recipe = Recipe {
        one_subject: true,
        ..ec()
    };
    let (fleet, _) = spoiled(recipe, |_, _| {});
    let report = report(&fleet, 3);
    assert_found(&fleet, &report, "R0708", "mgmt", SERVER);
    assert_found(&fleet, &report, "R0708", "c1", CLIENT);
}

#[test]
fn a_server_leaf_as_signer_is_found() {
    let (fleet, _) = spoiled(ec(), |fleet, family| {
        fleet.edit("mgmt", SIGNING, |secret| {
            secret
                .data
                .insert("tls.crt".to_owned(), family.pem("server.crt"));
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("server.key"));
        });
    });
    let report = report(&fleet, 3);
    assert_found(&fleet, &report, "R0205", "mgmt", SIGNING);
}

#[test]
fn the_key_of_the_root_in_a_workload_cluster_is_found() {
    let (fleet, _) = spoiled(ec(), |fleet, family| {
        fleet.edit("c1", ROOT, |secret| {
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("root.key"));
        });
    });
    assert_found(&fleet, &report(&fleet, 3), "R0103", "c1", ROOT);
}

#[test]
fn a_copied_client_certificate_is_found() {
    let (fleet, _) = spoiled(ec(), |fleet, _| {
        let copied = fleet.secret("c1", CLIENT);
        fleet.edit("c2", CLIENT, |secret| secret.data = copied.data);
    });
    assert_found(&fleet, &report(&fleet, 3), "R0503", "c2", CLIENT);
}

#[test]
fn a_client_certificate_with_another_name_besides_is_found() {
    let (fleet, _) = spoiled(ec(), |fleet, family| {
        family.make_client("c2,DNS:c1");
        let crt = [
            family.pem("client-c2,DNS:c1.crt"),
            family.pem("signing.crt"),
        ]
        .concat();
        fleet.edit("c2", CLIENT, |secret| {
            secret.data.insert("tls.crt".to_owned(), crt);
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("client-c2,DNS:c1.key"));
        });
    });
    assert_found(&fleet, &report(&fleet, 3), "R0507", "c2", CLIENT);
}

#[test]
fn tokens_that_do_not_compare_equal_are_found() {
    let (fleet, _) = spoiled(ec(), |fleet, _| {
        fleet.edit("mgmt", IDENTITY, |secret| {
            secret
                .data
                .insert("token".to_owned(), [TOKEN, b"\n"].concat());
        });
        fleet.edit("c1", IDENTITY, |secret| {
            secret
                .data
                .insert("token".to_owned(), b"another-token".to_vec());
        });
    });
    let report = report(&fleet, 3);
    assert_found(&fleet, &report, "R0604", "mgmt", IDENTITY);
    assert_found(&fleet, &report, "R0602", "c1", IDENTITY);
}

#[test]
fn a_family_with_every_defect_at_once_is_named_defect_by_defect() {
    let recipe = Recipe {
        serial_zero: true,
        one_subject: true,
        ..ec()
    };
    let (fleet, _) = spoiled(recipe, |fleet, family| {
        fleet.edit("mgmt", SIGNING, |secret| {
            let mut put = |key: &str, file| secret.data.insert(key.to_owned(), family.pem(file));
            put("tls.crt", "server.crt");
            put("tls.key", "server.key");
        });
        fleet.edit("c1", ROOT, |secret| {
            secret
                .data
                .insert("tls.key".to_owned(), family.pem("root.key"));
        });
    });
    let report = report(&fleet, 3);
    for (code, cluster, secret) in [
        ("R0705", "mgmt", SERVER),
        ("R0705", "c1", CLIENT),
        ("R0708", "mgmt", SERVER),
        ("R0708", "c1", CLIENT),
        ("R0205", "mgmt", SIGNING),
        ("R0103", "c1", ROOT),
        ("R0801", "c1", ROOT),
    ] {
        assert_found(&fleet, &report, code, cluster, secret);
    }
}
