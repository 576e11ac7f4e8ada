use std::time::Duration;

use super::client::{key, post, request, send};
use super::world::{Replica, World};

/// Whether the metrics have this line, soon: a connection that is closed is counted out a little later.
async fn tells(replica: &Replica, line: &str) {
    let mut text = String::new();
    for _ in 0..100 {
        text = replica.metrics.text().unwrap();
        if text.lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no {line} in {text}");
}

#[tokio::test]
async fn everything_that_is_asked_is_counted() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let own = key();
    let body = request(&own, "cluster-1");
    let token = world.token("cluster-1").await;
    assert_eq!(client.enroll("cluster-1", "wrong", &body).await.status, 401);
    let granted = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let count = |operation: &str, outcome: &str| {
        format!(
            "relay_pki_enrolment_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\"}} 1"
        )
    };
    tells(&replica, &count("simpleenroll", "unauthenticated")).await;
    tells(&replica, &count("simpleenroll", "success")).await;
    assert_eq!(client.get_path("/etc/passwd").await.unwrap().status, 404);
    tells(&replica, &count("other", "not_found")).await;

    let agent = client.with(&own, &granted);
    let mut connection = agent.open().await.unwrap();
    let renewal = post("simplereenroll").body(http_body_util::Full::from(body.clone()));
    let answer = send(&mut connection, renewal.unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    tells(&replica, &count("simplereenroll", "success")).await;
    let took = "relay_pki_enrolment_request_duration_seconds_count{operation=\"simplereenroll\"} 1";
    tells(&replica, took).await;
    tells(
        &replica,
        "relay_pki_enrolment_connections{peer=\"agent\"} 1",
    )
    .await;
    drop(connection);
    tells(
        &replica,
        "relay_pki_enrolment_connections{peer=\"agent\"} 0",
    )
    .await;

    let stranger = tokio::net::TcpStream::connect(replica.address)
        .await
        .unwrap();
    stranger.writable().await.unwrap();
    stranger.try_write(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    tells(
        &replica,
        "relay_pki_enrolment_handshakes_total{outcome=\"failed\"} 1",
    )
    .await;
}
