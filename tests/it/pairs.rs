//! Every root with every signer: the built program from the first certificate to the audit, with real
//! backends or what stands for them. The pairs are in `docs/providers/pairs.md`, made from here.

use std::fs;
use std::path::Path;

use self::stage::Stage;

mod stage;

const DOCUMENT: &str = "docs/providers/pairs.md";
const HINT: &str = "RELAY_PKI_WRITE_DOCS=1 cargo test --test it pairs::";

/// Where a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    SelfSigned,
    Offline,
    Vault,
    VaultExisting,
    Aws,
    AwsExisting,
    Google,
    CertManager,
}

/// Where a signer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    SelfSigned,
    Vault,
    Aws,
    AwsExisting,
    Google,
    CertManager,
    CertManagerExisting,
}

impl Root {
    const ALL: [Self; 8] = [
        Self::SelfSigned,
        Self::Offline,
        Self::Vault,
        Self::VaultExisting,
        Self::Aws,
        Self::AwsExisting,
        Self::Google,
        Self::CertManager,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::SelfSigned => "`selfSigned`",
            Self::Offline => "`offline`",
            Self::Vault => "`vault`",
            Self::VaultExisting => "`vault` with `rootIssuer`",
            Self::Aws => "`awsPrivateCa`",
            Self::AwsExisting => "`awsPrivateCa` with `certificateAuthority`",
            Self::Google => "`gcpCas`",
            Self::CertManager => "`certManager` with `root`",
        }
    }

    /// Whether it was there before the relay.
    fn exists(self) -> bool {
        matches!(
            self,
            Self::VaultExisting | Self::AwsExisting | Self::CertManager
        )
    }

    /// Whether its backend counts what it issues.
    fn counts(self) -> bool {
        matches!(
            self,
            Self::Aws | Self::AwsExisting | Self::Google | Self::CertManager
        )
    }
}

impl Signer {
    const ALL: [Self; 7] = [
        Self::SelfSigned,
        Self::Vault,
        Self::Aws,
        Self::AwsExisting,
        Self::Google,
        Self::CertManager,
        Self::CertManagerExisting,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::SelfSigned => "`selfSigned`",
            Self::Vault => "`vault`",
            Self::Aws => "`awsPrivateCa`",
            Self::AwsExisting => "`awsPrivateCa` with `certificateAuthority`",
            Self::Google => "`gcpCas`",
            Self::CertManager => "`certManager`",
            Self::CertManagerExisting => "`certManager` with `signer`",
        }
    }

    fn exists(self) -> bool {
        matches!(self, Self::AwsExisting | Self::CertManagerExisting)
    }

    fn counts(self) -> bool {
        !matches!(self, Self::SelfSigned | Self::Vault)
    }
}

/// Why there is no such pair, if there is none.
fn nonsense(root: Root, signer: Signer) -> Option<&'static str> {
    let impossible = signer.exists() && !root.exists();
    impossible.then_some("no: the root would be made after the signer")
}

/// The tests, one for each pair, and the list of the pairs.
macro_rules! pairs {
    ($($root:ident, $under:ident: [$($signer:ident, $test:ident;)*])*) => {
        const TESTED: &[(Root, Signer)] = &[$($((Root::$root, Signer::$signer)),*),*];

        $(mod $under {
            use super::{Root, Signer};

            $(#[test]
            fn $test() {
                super::live_through(Root::$root, Signer::$signer);
            })*
        })*
    };
    (made: [$($root:ident, $under:ident;)*] existing: [$($existing:ident, $below:ident;)*]) => {
        pairs! {
            $($root, $under: [
                SelfSigned, self_signed;
                Vault, vault;
                Aws, aws;
                Google, google;
                CertManager, cert_manager;
            ])*
            $($existing, $below: [
                SelfSigned, self_signed;
                Vault, vault;
                Aws, aws;
                AwsExisting, aws_existing;
                Google, google;
                CertManager, cert_manager;
                CertManagerExisting, cert_manager_existing;
            ])*
        }
    };
}

pairs! {
    made: [
        SelfSigned, under_self_signed;
        Offline, under_offline;
        Vault, under_vault;
        Aws, under_aws;
        Google, under_google;
    ]
    existing: [
        VaultExisting, under_vault_existing;
        AwsExisting, under_aws_existing;
        CertManager, under_cert_manager;
    ]
}

/// Bootstrap, once more, rotate the agents, the signer and the agents under it, audit. Three verifiers
/// look at every chain, and what was bought is counted.
fn live_through(root: Root, signer: Signer) {
    let stage = Stage::new(root, signer);
    let agents = stage.agents().len();
    let by_root = usize::from(root.counts());
    let by_signer = usize::from(signer.counts());

    stage.done(&["bootstrap"]);
    stage.assert_accepted();
    let made = usize::from(!root.exists()) + usize::from(!signer.exists());
    let mut bought = by_root * made + by_signer * (1 + agents);
    assert_eq!(stage.bought(), bought, "bootstrap");
    stage.done(&["bootstrap"]).says(&["Nothing to do"]);

    stage.rotate_agents();
    bought += by_signer * agents;
    assert_eq!(stage.bought(), bought, "rotate agents");

    if signer.exists() {
        let refused = stage.run(&["rotate", "signer"]);
        assert_ne!(refused.code, Some(0), "{refused:#?}");
        refused.says(&["that of g1", "replace it there first"]);
        stage.assert_clean();
    } else {
        stage.done(&["rotate", "signer"]);
        stage.assert_accepted();
        let status = stage.done(&["status", "--output", "json"]);
        let generations = status.generations("signer");
        assert_eq!(generations[1..], [(2, "active".to_owned())]);
        bought += by_root + by_signer * (1 + agents);
        assert_eq!(stage.bought(), bought, "rotate signer, with what it signed");
        stage.rotate_agents();
        bought += by_signer * agents;
        stage.assert_clean();
    }
    assert_eq!(stage.bought(), bought, "in the end");
}

/// The document as it has to be.
fn document() -> String {
    let mut text = format!(
        "# Roots and signers\n\nWhich root goes with which signer. Every pair that says \"yes\" is bootstrapped, has its agents and \
         its signer rotated, and is audited\nby a test, and webpki, OpenSSL and Go accept its chains.\n\n\
         Made from `tests/it/pairs.rs`; change it there, then run\n`{HINT}`.\n\n"
    );
    let line = |first: &str, cells: Vec<&str>| format!("| {first} | {} |\n", cells.join(" | "));
    text += &line("root ↓ signer →", Signer::ALL.map(Signer::words).to_vec());
    text += &line("---", vec!["---"; Signer::ALL.len()]);
    for root in Root::ALL {
        let cell = |signer| nonsense(root, signer).unwrap_or("yes");
        text += &line(root.words(), Signer::ALL.map(cell).to_vec());
    }
    text += "\nA signer that exists is under a root that exists: name both. `offline` holds roots only, and Vault and Google \
             have no field for a\nsigner that exists. `delivery: server-signed` needs a signer whose key relay-pki has: \
             `selfSigned`, or `certManager` without `signer`.\n";
    text
}

#[test]
fn every_pair_is_run_or_makes_no_sense_and_is_documented() {
    for root in Root::ALL {
        for signer in Signer::ALL {
            let tested = TESTED.contains(&(root, signer));
            let sensible = nonsense(root, signer).is_none();
            assert_eq!(tested, sensible, "{root:?} and {signer:?}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let wanted = document();
    if std::env::var_os("RELAY_PKI_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{DOCUMENT} is out of date; run `{HINT}`");
}
