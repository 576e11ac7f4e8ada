//! The threads on which proxies and interceptors run, apart from those of the tests.

use std::sync::OnceLock;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2).enable_all();
        builder.thread_name("testbed").build().expect("threads")
    })
}

/// A listener on a free port. Callers may be on a runtime of their own, so this does not block on ours.
pub(crate) fn listen_on_loopback() -> TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let listener = listener.expect("a port of the loopback interface");
    listener.set_nonblocking(true).unwrap();
    let _entered = runtime().enter();
    TcpListener::from_std(listener).unwrap()
}
