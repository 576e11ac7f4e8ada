//! A root that a person keeps: the request goes out, the certificate comes in.

use std::fs;
use std::path::PathBuf;

use crate::support::fleet::{CLIENT, Fleet, ROOT, Run, clusters};
use crate::support::tools::openssl;
use crate::support::verifiers::{Naming, assert_accepted, questions};

const PASSPHRASE: &str = "a drawer with two locks";
const EXTENSIONS: &str = "basicConstraints=critical,CA:TRUE,pathlen:0\n\
                          keyUsage=critical,keyCertSign,cRLSign\n\
                          subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";

fn fleet() -> Fleet {
    Fleet::new(&format!(
        "  providers:\n    drawer: {{ offline: {{}} }}\n    local: {{ selfSigned: {{}} }}\n  \
         root: {{ provider: drawer }}\n  signer: {{ provider: local, validity: 1y }}\n{}",
        clusters(&["c1", "c2"])
    ))
}

fn assert_verifies(fleet: &Fleet) {
    assert_accepted(&questions(
        fleet,
        &Naming::default(),
        &["mgmt"],
        &["c1", "c2"],
    ));
}

/// Writes the request that waits to `signer.csr`.
fn csr(fleet: &Fleet) -> PathBuf {
    let run = fleet.done(&["signer", "csr"]);
    run.says(&["openssl x509 -req", "relay-pki root sign", "signer install"]);
    let path = fleet.path("signer.csr");
    fs::write(&path, run.stdout).unwrap();
    path
}

/// A root of OpenSSL's in `NAME.key` and `NAME.crt`.
fn openssl_root(fleet: &Fleet, name: &str, curve: &str) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let curve = format!("ec_paramgen_curve:{curve}");
    openssl(
        fleet.dir(),
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            &curve,
            "-aes256",
            "-pass",
            &format!("pass:{PASSPHRASE}"),
            "-out",
            &key,
        ],
    );
    openssl(
        fleet.dir(),
        &[
            "req",
            "-x509",
            "-new",
            "-key",
            &key,
            "-passin",
            &format!("pass:{PASSPHRASE}"),
            "-subj",
            "/O=Example/CN=Example Root",
            "-days",
            "3650",
            "-sha256",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-addext",
            "subjectKeyIdentifier=hash",
            "-out",
            &certificate,
        ],
    );
}

/// Signs `signer.csr` with a root of OpenSSL's.
fn openssl_sign(fleet: &Fleet, root: &str, extensions: &str, days: &str, out: &str) {
    fs::write(fleet.path("signer.ext"), extensions).unwrap();
    openssl(
        fleet.dir(),
        &[
            "x509",
            "-req",
            "-in",
            "signer.csr",
            "-CA",
            &format!("{root}.crt"),
            "-CAkey",
            &format!("{root}.key"),
            "-passin",
            &format!("pass:{PASSPHRASE}"),
            "-sha256",
            "-days",
            days,
            "-extfile",
            "signer.ext",
            "-out",
            out,
        ],
    );
}

/// Nothing but the records and the signer's own key is there.
fn assert_nothing_begun(fleet: &Fleet) {
    assert!(!fleet.has_secret("mgmt", ROOT) && !fleet.path("clusters/c1").exists());
}

#[test]
fn a_ceremony_with_our_own_tool() {
    let fleet = fleet();
    fleet
        .ends(&["bootstrap"], 6)
        .says(&["waits", "root g1", "signer g1", "signer csr"]);
    assert_nothing_begun(&fleet);
    let before = fleet.tree();
    fleet.ends(&["bootstrap"], 6);
    assert_eq!(
        before.difference(&fleet.tree()).changed,
        Vec::<String>::new()
    );
    csr(&fleet);
    fs::write(fleet.path("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
    let create = |out: &str| {
        let arguments = ["root", "create", "--relay", "gloo-mesh", "--out", out];
        fleet.run(&[&arguments[..], &["--passphrase-file", "passphrase"]].concat())
    };
    assert_eq!(create("drawer").code, Some(0));
    // It is never made twice over.
    let key = fs::read(fleet.path("drawer/root.key")).unwrap();
    assert_eq!(create("drawer").code, Some(2));
    assert_eq!(fs::read(fleet.path("drawer/root.key")).unwrap(), key);
    // The key is OpenSSL's to read too, with the passphrase only.
    let read = ["pkey", "-in", "drawer/root.key", "-passin"];
    openssl(
        fleet.dir(),
        &[&read[..], &["file:passphrase", "-noout"]].concat(),
    );
    let sign = |passphrase: &str| -> Run {
        fs::write(fleet.path("typed"), passphrase).unwrap();
        fleet.run(&[
            "root",
            "sign",
            "--root",
            "drawer",
            "--csr",
            "signer.csr",
            "--passphrase-file",
            "typed",
        ])
    };
    let wrong = sign("another passphrase");
    assert_eq!(wrong.code, Some(8), "{wrong:#?}");
    wrong.says(&["passphrase", "root.key"]);
    let signed = sign(PASSPHRASE);
    assert_eq!(signed.code, Some(0), "{signed:#?}");
    fs::write(fleet.path("signer.crt"), signed.stdout).unwrap();
    fleet
        .ends(&["signer", "install", "signer.crt"], 8)
        .says(&["root is missing"]);
    assert_nothing_begun(&fleet);
    fleet.done(&["signer", "install", "signer.crt", "drawer/root.crt"]);
    fleet.done(&["signer", "install", "drawer/root.crt", "signer.crt"]);
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet);
    fleet.done(&["audit"]);
    fleet.ends(&["signer", "csr"], 8).says(&["no signer"]);
    let again = fleet.done(&["bootstrap"]);
    again.says(&["Nothing to do"]);
}

#[test]
fn a_ceremony_with_openssl_and_a_rotation_under_the_same_root() {
    let fleet = fleet();
    fleet.ends(&["bootstrap"], 6);
    csr(&fleet);
    openssl_root(&fleet, "root", "P-256");
    openssl_sign(&fleet, "root", EXTENSIONS, "365", "signer.crt");
    // Both in one file will do.
    let mut both = fs::read(fleet.path("root.crt")).unwrap();
    both.extend(fs::read(fleet.path("signer.crt")).unwrap());
    fs::write(fleet.path("both.pem"), both).unwrap();
    fleet.done(&["signer", "install", "both.pem"]);
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet);

    // A new signer: the old one goes on meanwhile.
    fleet
        .ends(&["rotate", "signer"], 6)
        .says(&["waits", "signer g2"]);
    fleet.ends(&["rotate", "due"], 6);
    fleet.done(&["bootstrap"]);
    let old = fleet.client_leaves(&["c1", "c2"]);
    fleet.done(&["rotate", "agents"]);
    assert_ne!(fleet.client_leaves(&["c1", "c2"]), old);
    assert_verifies(&fleet);
    csr(&fleet);
    fleet
        .ends(&["signer", "install", "signer.crt"], 8)
        .says(&["no certificate is for the key"]);
    openssl_sign(&fleet, "root", EXTENSIONS, "365", "signer2.crt");
    fleet.done(&["signer", "install", "signer2.crt"]);
    fleet.done(&["rotate", "signer"]);
    let signers = [(1, "retired".to_owned()), (2, "active".to_owned())];
    assert_eq!(fleet.generations("signer"), signers);
    assert_eq!(fleet.generations("root"), [(1, "active".to_owned())]);
    fleet.done(&["rotate", "agents"]);
    assert_verifies(&fleet);
    assert_eq!(
        fleet.leaf("c1", CLIENT).issuer,
        "O=gloo-mesh, CN=relay signer 2"
    );
}

#[test]
fn wrong_certificates_are_refused_with_the_reason() {
    let fleet = fleet();
    fleet.ends(&["bootstrap"], 6);
    csr(&fleet);
    openssl_root(&fleet, "root", "P-256");
    openssl_root(&fleet, "other", "P-256");
    openssl_root(&fleet, "p384", "P-384");
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        (
            "CA:TRUE,pathlen:0",
            "CA:TRUE",
            "root",
            "365",
            "path length is unlimited",
        ),
        ("CA:TRUE,pathlen:0", "CA:FALSE", "root", "365", "CA:TRUE"),
        (
            "keyCertSign,cRLSign",
            "digitalSignature",
            "root",
            "365",
            "key usage",
        ),
        (
            "keyid\n",
            "keyid\nextendedKeyUsage=serverAuth\n",
            "root",
            "365",
            "extended key usage",
        ),
        ("=keyid", "=none", "root", "365", "authority key identifier"),
        ("", "", "root", "400", "after the"),
        ("", "", "root", "4000", "after its root"),
        ("", "", "p384", "365", "root.keyType"),
    ];
    let before = fleet.tree();
    for (from, to, root, days, said) in cases {
        let extensions = match from.is_empty() {
            true => EXTENSIONS.to_owned(),
            false => EXTENSIONS.replace(from, to),
        };
        openssl_sign(&fleet, root, &extensions, days, "wrong.crt");
        let run = fleet.ends(
            &["signer", "install", "wrong.crt", &format!("{root}.crt")],
            8,
        );
        run.says(&[said]);
    }
    openssl_sign(&fleet, "root", EXTENSIONS, "365", "signer.crt");
    let install = |files: &[&str], said: &str| {
        let run = fleet.ends(&[&["signer", "install"], files].concat(), 8);
        run.says(&[said]);
    };
    // The same name, but another key.
    install(&["signer.crt", "other.crt"], "key identifier");
    install(&["root.crt"], "no certificate is for the key");
    install(
        &["signer.crt", "root.crt", "other.crt"],
        "more certificates",
    );
    openssl_sign(&fleet, "root", EXTENSIONS, "365", "twice.crt");
    install(&["signer.crt", "twice.crt", "root.crt"], "two certificates");
    fleet
        .ends(&["signer", "install", "signer.csr"], 2)
        .says(&["signer.csr"]);
    fleet
        .ends(&["signer", "install", "absent.crt"], 2)
        .says(&["absent.crt"]);
    let clusters = |paths: Vec<String>| -> Vec<String> {
        paths
            .into_iter()
            .filter(|path| path.starts_with("clusters/"))
            .collect()
    };
    let difference = before.difference(&fleet.tree());
    assert_eq!(clusters(difference.changed), Vec::<String>::new());
    assert_eq!(clusters(difference.added), Vec::<String>::new());
    // After all of that the right ones are taken.
    fleet.done(&["signer", "install", "signer.crt", "root.crt"]);
    fleet.done(&["bootstrap"]);
    assert_verifies(&fleet);
}

#[test]
fn an_offline_provider_holds_no_signer() {
    let fleet = Fleet::new(&format!(
        "  providers: {{ drawer: {{ offline: {{}} }} }}\n{}",
        clusters(&["c1"])
    ));
    fleet.ends(&["bootstrap"], 2).says(&["holds roots only"]);
}
