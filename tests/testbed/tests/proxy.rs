//! Connections that fail.

use std::process::Output;
use std::time::{Duration, Instant};

use relay_pki_testbed::{ApiServer, Mode, Proxy, Testbed, eventually, kubectl, kubectl_must};

const ASK: [&str; 3] = ["get", "namespaces", "--request-timeout=3s"];

fn before() -> (&'static ApiServer, Proxy, String) {
    let server = Testbed::shared().management();
    let proxy = Proxy::before(server);
    let kubeconfig = proxy.kubeconfig(&server.admin_kubeconfig());
    (server, proxy, kubeconfig)
}

fn errors(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn connections_pass_and_are_counted() {
    let (_, proxy, kubeconfig) = before();
    assert_eq!(proxy.connections(), 0);
    kubectl_must(&kubeconfig, &ASK, "");
    assert!(proxy.connections() > 0);
}

#[test]
fn refused_connections_end_at_once() {
    let (_, proxy, kubeconfig) = before();
    proxy.set(Mode::Refuse);
    let begun = Instant::now();
    let errors = errors(&kubectl(&kubeconfig, &["get", "--raw=/readyz"], ""));
    assert!(!errors.contains("deadline"), "{errors}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    proxy.set(Mode::Pass);
    kubectl_must(&kubeconfig, &ASK, "");
}

#[test]
fn hanging_connections_never_answer() {
    let (_, proxy, kubeconfig) = before();
    proxy.set(Mode::Hang);
    let begun = Instant::now();
    let arguments = ["get", "--raw=/readyz", "--request-timeout=2s"];
    errors(&kubectl(&kubeconfig, &arguments, ""));
    assert!(begun.elapsed() >= Duration::from_secs(2));
    proxy.set(Mode::Pass);
    kubectl_must(&kubeconfig, &ASK, "");
}

#[test]
fn slow_connections_take_their_time() {
    let (_, proxy, kubeconfig) = before();
    let delay = Duration::from_millis(700);
    proxy.set(Mode::Slow(delay));
    let begun = Instant::now();
    kubectl_must(&kubeconfig, &["get", "--raw=/readyz"], "");
    // There and back, at least for the handshake and for the request.
    assert!(begun.elapsed() >= 4 * delay, "{:?}", begun.elapsed());
}

#[test]
fn open_connections_end_when_the_mode_says_so() {
    let (server, proxy, kubeconfig) = before();
    let namespace = server.namespace("watched");
    let watch = std::thread::spawn(move || {
        let arguments = ["get", "configmaps", "--watch", "-n", &namespace];
        kubectl(&kubeconfig, &arguments, "")
    });
    eventually("the watch", Duration::from_secs(20), || {
        (proxy.connections() > 0).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    assert!(!watch.is_finished());
    proxy.set(Mode::Refuse);
    eventually("the watch ends", Duration::from_secs(30), || {
        watch.is_finished().then_some(())
    });
}

#[test]
fn a_lost_reply_leaves_the_write_done() {
    let (server, proxy, kubeconfig) = before();
    let namespace = server.namespace("lost");
    proxy.set(Mode::LoseReplies);
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let object = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"written"}}"#;
    let arguments = [
        "create",
        "--raw",
        &path,
        "--filename=-",
        "--request-timeout=10s",
    ];
    let errors = errors(&kubectl(&kubeconfig, &arguments, object));
    assert!(!errors.contains("AlreadyExists"), "{errors}");
    server.must(&["get", "configmap", "written", "-n", &namespace], "");
}

#[test]
#[should_panic(expected = "not a kubeconfig of the API server")]
fn a_kubeconfig_of_another_server_does_not_go_through() {
    let (_, proxy, _) = before();
    proxy.kubeconfig(&Testbed::shared().workloads()[0].admin_kubeconfig());
}
