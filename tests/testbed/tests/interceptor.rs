//! Requests that are counted and disturbed.

use std::process::Output;
use std::time::{Duration, Instant};

use relay_pki_testbed::{
    ApiServer, Fault, Interceptor, Testbed, eventually, kubectl, kubectl_must,
};

fn before() -> (&'static ApiServer, Interceptor, String) {
    let server = Testbed::shared().management();
    let interceptor = Interceptor::before(server);
    let kubeconfig = interceptor.kubeconfig(&server.admin_kubeconfig());
    (server, interceptor, kubeconfig)
}

fn create(kubeconfig: &str, namespace: &str, name: &str) -> Output {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let object =
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}"#);
    let arguments = [
        "create",
        "--raw",
        &path,
        "--filename=-",
        "--request-timeout=10s",
    ];
    kubectl(kubeconfig, &arguments, &object)
}

#[test]
fn requests_are_counted_by_method_and_path() {
    let (server, interceptor, kubeconfig) = before();
    let namespace = server.namespace("counted");
    for name in ["a", "b", "c"] {
        assert!(create(&kubeconfig, &namespace, name).status.success());
    }
    kubectl_must(&kubeconfig, &["get", "configmaps", "-n", &namespace], "");
    let path = format!("/namespaces/{namespace}/configmaps");
    assert_eq!(interceptor.count("POST", &path), 3);
    assert_eq!(interceptor.count("GET", &path), 1);
    assert_eq!(interceptor.writes(), 3);
    interceptor.forget();
    assert!(interceptor.requests().is_empty());
}

#[test]
fn a_fault_hits_what_it_names_as_often_as_it_says() {
    let (server, interceptor, kubeconfig) = before();
    let namespace = server.namespace("conflicts");
    interceptor.inject(Fault::answer("POST", "/configmaps", 409, 2));
    for _ in 0..2 {
        let refused = create(&kubeconfig, &namespace, "c");
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert!(errors.contains("injected by the testbed"), "{errors}");
        // Another method is not meant.
        kubectl_must(&kubeconfig, &["get", "configmaps", "-n", &namespace], "");
    }
    assert!(create(&kubeconfig, &namespace, "c").status.success());
}

#[test]
fn a_fault_can_be_called_off() {
    let (_, interceptor, kubeconfig) = before();
    interceptor.inject(Fault::answer("", "", 401, usize::MAX));
    let refused = kubectl(&kubeconfig, &["get", "namespaces"], "");
    assert!(!refused.status.success());
    interceptor.relent();
    kubectl_must(&kubeconfig, &["get", "namespaces"], "");
}

#[test]
fn a_lost_reply_leaves_the_write_done() {
    let (server, interceptor, kubeconfig) = before();
    let namespace = server.namespace("lost");
    interceptor.inject(Fault::lose_reply("POST", "/configmaps", 1));
    let lost = create(&kubeconfig, &namespace, "written");
    assert!(!lost.status.success());
    assert_eq!(interceptor.writes(), 1);
    server.must(&["get", "configmap", "written", "-n", &namespace], "");
}

#[test]
fn a_delayed_write_is_done_late() {
    let (server, interceptor, kubeconfig) = before();
    let namespace = server.namespace("late");
    let delay = Duration::from_secs(3);
    interceptor.inject(Fault::delay("POST", "/configmaps", delay, 1));
    let begun = Instant::now();
    assert!(create(&kubeconfig, &namespace, "c").status.success());
    assert!(begun.elapsed() >= delay);
}

#[test]
fn watches_stream_through() {
    let (server, _interceptor, kubeconfig) = before();
    let namespace = server.namespace("streams");
    let watched = namespace.clone();
    let watch = std::thread::spawn(move || {
        let wait = [
            "wait",
            "configmap/signal",
            "--for=jsonpath={.data.go}=yes",
            "--timeout=30s",
        ];
        kubectl(&kubeconfig, &[&wait[..], &["-n", &watched]].concat(), "")
    });
    server.must(&["create", "configmap", "signal", "-n", &namespace], "");
    std::thread::sleep(Duration::from_secs(2));
    let patch = r#"{"data":{"go":"yes"}}"#;
    let arguments = ["patch", "configmap", "signal", "--patch", patch];
    server.must(&[&arguments[..], &["-n", &namespace]].concat(), "");
    eventually("the watch sees it", Duration::from_secs(10), || {
        watch.is_finished().then_some(())
    });
    let output = watch.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
