//! Programs that the tests cannot do without.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Runs `openssl` in `dir`; its standard output. It has to succeed.
pub(crate) fn openssl(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = openssl_output(dir, arguments);
    assert!(
        output.status.success(),
        "openssl {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs `openssl` in `dir`, whatever comes of it.
pub(crate) fn openssl_output(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = openssl_command();
    command.current_dir(dir).args(arguments);
    required(command.output(), "openssl", "apt-get install openssl")
}

/// `openssl` without the system's configuration, which differs from machine to machine.
pub(crate) fn openssl_command() -> Command {
    let mut command = Command::new("openssl");
    command.env("OPENSSL_CONF", "/dev/null");
    command
}

/// The verifier in `tests/testbed/verify`, built once by each test process.
pub(crate) fn go_verifier() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| go_program("verify"))
}

/// Builds a program of the testbed that needs nothing but Go.
pub(crate) fn go_program(name: &str) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = Path::new(env!("CARGO_BIN_EXE_relay-pki"));
    // target/<profile>/relay-pki
    let target = binary.ancestors().nth(2).unwrap();
    let built = target.join("testbed/bin").join(name);
    let mut command = Command::new("go");
    command
        .current_dir(project.join("tests/testbed").join(name))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .args(["build", "-o"])
        .args([&built, Path::new(".")]);
    let output = required(command.output(), "go", "apt-get install golang-go");
    assert!(
        output.status.success(),
        "go build: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    built
}

/// The result of starting a program that has to be there.
pub(crate) fn required<T>(started: io::Result<T>, program: &str, install: &str) -> T {
    started.unwrap_or_else(|error| {
        panic!("{program} does not start ({error}). The tests need it: {install}")
    })
}
