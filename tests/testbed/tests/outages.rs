//! API servers that are restarted, stopped and suspended.

use relay_pki_testbed::{ApiServer, Testbed};

fn answers(server: &ApiServer) -> Result<(), String> {
    let output = server.kubectl(&["get", "namespaces", "--request-timeout=3s"], "");
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn an_extra_server_can_be_stopped_suspended_and_restarted() {
    let testbed = Testbed::shared();
    let server = testbed.extra_server("extra");
    let namespace = server.namespace("kept");
    let url = server.url();

    server.suspend();
    let error = answers(&server).unwrap_err();
    assert!(!error.contains("refused"), "{error}");
    server.resume();
    answers(&server).unwrap();

    server.stop();
    let error = answers(&server).unwrap_err();
    assert!(error.contains("refused"), "{error}");

    server.restart();
    assert_eq!(server.url(), url);
    server.must(&["get", "namespace", &namespace], "");
    for other in testbed.servers() {
        answers(other).unwrap();
    }
}
