//! The emulator of AWS Private CA before the vendor's own client for Python.

use std::path::Path;
use std::process::Command;

use relay_pki_testbed::{AwsServer, program};

#[test]
fn the_emulator_is_what_boto3_expects() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("aws/prove.py");
    let run = Command::new(program("python"))
        .arg(script)
        .arg(AwsServer::emulator().endpoint())
        .output()
        .unwrap();
    let (said, errors) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{said}{errors}");
    assert_eq!(said.matches(": ok").count(), 5, "{said}");
}
