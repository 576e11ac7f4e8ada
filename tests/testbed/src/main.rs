//! A testbed to look at: runs until its standard input ends.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{self, Read as _};
use std::process::ExitCode;

use relay_pki_testbed::Testbed;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("relay-pki-testbed: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let workloads = std::env::args().nth(1).unwrap_or_else(|| "3".to_owned());
    let workloads = workloads
        .parse()
        .map_err(|error| format!("the number of workload clusters, {workloads}: {error}"))?;
    let testbed = Testbed::start(workloads)?;
    for server in testbed.servers() {
        let kubeconfig = testbed.workdir().join(server.name());
        let kubeconfig = kubeconfig.join("admin.kubeconfig");
        println!("KUBECONFIG={}", kubeconfig.display());
    }
    println!("ready: {}", testbed.workdir().display());
    let ended = io::stdin().read_to_end(&mut Vec::new());
    ended.map(drop).map_err(|error| error.to_string())
}
