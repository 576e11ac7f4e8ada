//! `kubectl`, the client that is independent of the product.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::programs::program;

/// The most that one call may take, in seconds; only there so that a hanging one fails.
const LIMIT: &str = "120";

/// Runs `kubectl` with a kubeconfig, whatever comes of it.
pub fn kubectl(kubeconfig: &str, arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::Builder::new()
        .prefix("relay-pki-kubectl-")
        .tempdir();
    let folder = folder.expect("a temporary directory");
    let path = folder.path().join("kubeconfig");
    crate::workdir::write_private(&path, kubeconfig);
    run(&path, folder.path(), arguments, input)
}

/// Runs `kubectl` with a kubeconfig; its standard output.
///
/// # Panics
///
/// If it does not succeed.
pub fn kubectl_must(kubeconfig: &str, arguments: &[&str], input: &str) -> String {
    successful(arguments, &kubectl(kubeconfig, arguments, input))
}

/// Runs `kubectl` with the kubeconfig at a path. What it learned about the API server is kept in
/// `cache`: in the usual place it would be mixed up with earlier servers on the same port.
pub(crate) fn run(kubeconfig: &Path, cache: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", LIMIT])
        .arg(program("kubectl"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout, of the coreutils");
    // Not every command reads its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The standard output of a successful call.
pub(crate) fn successful(arguments: &[&str], output: &Output) -> String {
    assert!(
        output.status.success(),
        "kubectl {}: {}: {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}
