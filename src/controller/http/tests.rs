#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Health,
    cancel: Cancel,
    running: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::stalling_after(Duration::from_secs(600)).await
    }

    async fn stalling_after(limit: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new(true));
        let health = Health::new(limit);
        let cancel = Cancel::default();
        let (shared, clone, switch) = (metrics.clone(), health.clone(), cancel.clone());
        let running = tokio::spawn(serve(listener, shared, clone, switch));
        Self {
            address,
            metrics,
            health,
            cancel,
            running,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Status line, headers and body of an answer.
    async fn ask(&self, method: &str, path: &str) -> (String, String, String) {
        let mut stream = self.connect().await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let (status, headers) = head.split_once("\r\n").unwrap();
        let status = status.strip_prefix("HTTP/1.1 ").unwrap();
        (status.to_owned(), headers.to_lowercase(), body.to_owned())
    }

    async fn status(&self, method: &str, path: &str) -> String {
        self.ask(method, path).await.0
    }
}

#[tokio::test]
async fn metrics_are_served_with_their_type() {
    let server = Server::start().await;
    server.metrics.leader(true);
    let (status, headers, body) = server.ask("GET", "/metrics").await;
    assert_eq!(status, "200 OK");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(headers.contains(kind), "{headers}");
    assert!(body.contains("\nrelay_pki_leader 1\n"), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn it_is_ready_when_everything_is_there_leader_or_not() {
    let server = Server::start().await;
    let (status, _, body) = server.ask("GET", "/readyz").await;
    assert_eq!(status, "503 Service Unavailable");
    assert_eq!(body, "the API server of this cluster does not answer\n");
    server.health.set_api_reachable(true);
    let (status, _, body) = server.ask("GET", "/readyz").await;
    assert_eq!(status, "503 Service Unavailable");
    assert_eq!(body, "not everything in this cluster was read yet\n");
    server.health.set_watches_synced(true);
    assert_eq!(server.status("GET", "/readyz").await, "200 OK");
    server.metrics.leader(false);
    assert_eq!(server.status("GET", "/readyz").await, "200 OK");
    server.health.set_api_reachable(false);
    assert!(server.status("GET", "/readyz").await.starts_with("503"));
    // That an API server is away is nothing that a restart helps against.
    assert_eq!(server.status("GET", "/healthz").await, "200 OK");
}

#[tokio::test]
async fn a_loop_that_stands_still_is_reported() {
    let server = Server::stalling_after(Duration::from_secs(1)).await;
    assert_eq!(server.status("GET", "/healthz").await, "200 OK");
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    let (status, _, body) = server.ask("GET", "/healthz").await;
    assert_eq!(status, "503 Service Unavailable");
    assert_eq!(body, "the loop has made no progress for 1 s\n");
    server.health.progress();
    assert_eq!(server.status("GET", "/healthz").await, "200 OK");
}

#[tokio::test]
async fn there_is_nothing_else_to_see() {
    let server = Server::start().await;
    for path in [
        "/",
        "/metrics/",
        "/metrics/x",
        "/healthz/..",
        "/debug",
        "//metrics",
    ] {
        assert_eq!(server.status("GET", path).await, "404 Not Found", "{path}");
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        for method in ["POST", "PUT", "DELETE"] {
            let (status, headers, _) = server.ask(method, path).await;
            assert_eq!(status, "405 Method Not Allowed", "{method} {path}");
            assert!(headers.contains("allow: get"), "{headers}");
        }
    }
    let long = format!("/{}", "x".repeat(2 * REQUEST_SIZE));
    let status = server.status("GET", &long).await;
    assert!(
        status.starts_with("414") || status.starts_with("431"),
        "{status}"
    );
}

/// Whoever says nothing, or never comes to an end, is shown the door.
#[tokio::test]
async fn a_slow_client_is_cut_off() {
    let server = Server::start().await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    let mut idle = server.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    idle.write_all(request).await.unwrap();
    // Others are served meanwhile.
    assert_eq!(server.status("GET", "/healthz").await, "200 OK");
    let limit = HEADER_TIMEOUT + Duration::from_secs(5);
    for stream in [&mut silent, &mut slow, &mut idle] {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(limit, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "still open after {limit:?}");
        assert!(!String::from_utf8_lossy(&rest).contains("relay_pki"));
    }
}

#[tokio::test]
async fn too_many_connections_wait_for_their_turn() {
    let server = Server::start().await;
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        all.push(server.connect().await);
    }
    let short = Duration::from_millis(300);
    let ask = server.status("GET", "/healthz");
    assert!(tokio::time::timeout(short, ask).await.is_err());
    all.clear();
    let long = Duration::from_secs(5);
    let ask = tokio::time::timeout(long, server.status("GET", "/healthz"));
    assert_eq!(ask.await.unwrap(), "200 OK");
}

#[tokio::test]
async fn it_ends_in_good_order() {
    let server = Server::start().await;
    let mut idle = server.connect().await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    idle.write_all(request).await.unwrap();
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    server.cancel.cancel();
    // A connection that only waits for more holds nothing up.
    let ended = tokio::time::timeout(Duration::from_secs(3), server.running).await;
    ended.expect("it goes on").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
