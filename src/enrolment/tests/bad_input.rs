use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::{BODY_LIMIT, Bounds, Rate, Rates};
use super::client::{key, post, request, send};
use super::world::{SERVER, World};

#[tokio::test]
async fn what_is_no_request_is_refused_and_uses_no_token_up() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    let good = request(&own, "cluster-1");
    let mut forged = good.clone();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    for (body, status) in [
        (Vec::new(), 400),
        (b"hello".to_vec(), 400),
        (b"****".to_vec(), 400),
        (forged, 400),
        (good[..good.len() / 2].to_vec(), 400),
        (vec![b'A'; BODY_LIMIT + 1], 413),
    ] {
        let answer = client.enroll("cluster-1", &token, &body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().len() > 20);
    }
    let answer = client.enroll("cluster-1", &token, &good).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn every_layout_of_base64_is_read_and_each_client_gets_its_own() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    let line = String::from_utf8(request(&own, "cluster-1")).unwrap();
    let wrapped: Vec<&str> = line
        .as_bytes()
        .chunks(64)
        .map(|chunk| std::str::from_utf8(chunk).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        wrapped.join("\n")
    );
    for body in [line.clone(), wrapped.join("\r\n"), pem] {
        let answer = client.enroll("cluster-1", &token, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains('\n'));
    }
    let answer = client.get("wrapped/cacerts").await.unwrap();
    assert!(answer.text().lines().all(|line| line.len() <= 64));
    assert_eq!(client.get("relay/cacerts").await.unwrap().status, 200);
    assert_eq!(client.get("other/cacerts").await.unwrap().status, 404);
}

#[tokio::test]
async fn wrong_paths_methods_and_types() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    assert_eq!(client.get("simpleenroll").await.unwrap().status, 405);
    assert_eq!(client.get("fullcmc").await.unwrap().status, 501);
    assert_eq!(client.get("nothing").await.unwrap().status, 404);
    let token = world.token("cluster-1").await;
    let mut typed = post("simpleenroll")
        .header("authorization", basic("cluster-1", &token))
        .body(Full::new(Bytes::from(request(&key(), "cluster-1"))))
        .unwrap();
    typed
        .headers_mut()
        .insert(CONTENT_TYPE, "text/plain".parse().unwrap());
    assert_eq!(client.send(typed).await.unwrap().status, 415);
    let anonymous = post("simpleenroll").body(Full::new(Bytes::from_static(b"x")));
    let answer = client.send(anonymous.unwrap()).await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.headers.contains_key("www-authenticate"));
}

fn basic(user: &str, token: &str) -> String {
    let engine = base64::engine::general_purpose::STANDARD;
    let text = base64::Engine::encode(&engine, format!("{user}:{token}"));
    format!("Basic {text}")
}

/// Reads until the other side closes.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<String> {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text).await {
        Ok(_) => {}
        // A peer need not say goodbye.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error),
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn rude_clients_get_an_answer_or_nothing() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    // No TLS at all.
    let mut plain = TcpStream::connect(replica.address).await.unwrap();
    plain
        .write_all(b"GET /.well-known/est/cacerts HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    assert!(
        !rest(&mut plain)
            .await
            .unwrap_or_default()
            .contains("HTTP/1.1 200")
    );
    // A head that never ends.
    let mut endless = client.connect().await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {SERVER}\r\nX: ");
    endless.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..20 {
        if endless.write_all(&[b'x'; 4096]).await.is_err() {
            break;
        }
    }
    let answer = rest(&mut endless).await.unwrap_or_default();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    // A body that is said to be huge is not waited for.
    let mut huge = client.connect().await.unwrap();
    let head = format!(
        "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: {SERVER}\r\nContent-Length: 99999999\r\n\r\n"
    );
    huge.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut huge).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // Chunks without end.
    let mut chunks = client.connect().await.unwrap();
    let head = format!(
        "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: {SERVER}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    chunks.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "A".repeat(4096));
    for _ in 0..40 {
        if chunks.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let answer = rest(&mut chunks).await.unwrap_or_default();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    // Half of a request, and then no more.
    let mut half = client.connect().await.unwrap();
    let head = format!(
        "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: {SERVER}\r\nContent-Length: 500\r\n\r\nMIIB"
    );
    half.write_all(head.as_bytes()).await.unwrap();
    half.shutdown().await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(15), rest(&mut half)).await;
    assert!(answer.is_ok(), "the connection stays open");
    assert_eq!(client.get("cacerts").await.unwrap().status, 200);
}

#[tokio::test]
async fn slow_clients_are_left() {
    let world = World::new().await;
    let replica = world.replica().await;
    let client = world.client(&replica).await;
    let mut mute = TcpStream::connect(replica.address).await.unwrap();
    let mut silent = client.connect().await.unwrap();
    let mut slow = client.connect().await.unwrap();
    let mut body = client.connect().await.unwrap();
    slow.write_all(b"GET /.well-known").await.unwrap();
    let head = format!(
        "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: {SERVER}\r\nContent-Length: 500\r\n\r\nMI"
    );
    body.write_all(head.as_bytes()).await.unwrap();
    let all = async {
        let _ = tokio::join!(rest(&mut mute), rest(&mut silent), rest(&mut slow));
        rest(&mut body).await.unwrap()
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), all).await;
    let answer = answer.expect("somebody is still waited for");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn connections_that_never_finish_do_not_keep_agents_out() {
    let limits = "  enrolment: { limits: { connectionsPerAddress: 20 } }\n";
    let world = World::with(limits).await;
    let bounds = Bounds {
        strangers: 40,
        ..Bounds::default()
    };
    let replica = world.replica_with(bounds).await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    let body = request(&own, "cluster-1");
    let certificate = client
        .enroll("cluster-1", &token, &body)
        .await
        .certificate();
    let agent = client.with(&own, &certificate);
    // Agents that stay connected take none of the few places.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(agent.open().await.unwrap());
    }
    let mut hanging = Vec::new();
    for _ in 0..500 {
        hanging.push(TcpStream::connect(replica.address).await.unwrap());
    }
    // Each of them is still served.
    for sender in &mut idle {
        let asked = post("simplereenroll").body(Full::new(Bytes::from(b"x".to_vec())));
        let answer = send(sender, asked.unwrap()).await.unwrap();
        assert!(
            matches!(answer.status.as_u16(), 400 | 429),
            "{}",
            answer.status
        );
    }
    // From here nobody new is let in until those who hang are left.
    drop(hanging);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(client.get("cacerts").await.is_ok());
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let limits = "  enrolment: { limits: { refusalsPerMinute: 5 } }\n";
    let world = World::with(limits).await;
    let bounds = Bounds {
        rates: Rates {
            certificates: Rate {
                burst: 3,
                every: Duration::from_secs(60),
            },
        },
        ..Bounds::default()
    };
    let replica = world.replica_with(bounds).await;
    let client = world.client(&replica).await;
    let (own, token) = (key(), world.token("cluster-1").await);
    let body = request(&own, "cluster-1");
    for index in 0..4 {
        let answer = client.enroll("cluster-1", &token, &body).await;
        assert_eq!(answer.status.as_u16(), if index < 3 { 200 } else { 429 });
    }
    let other = world.token("cluster-2").await;
    for index in 0..7 {
        let answer = client
            .enroll("cluster-2", "guess", &request(&own, "cluster-2"))
            .await;
        assert_eq!(answer.status.as_u16(), if index < 5 { 401 } else { 429 });
        if index >= 5 {
            let wait: u64 = answer.headers["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!((1..=60).contains(&wait));
        }
    }
    let answer = client
        .enroll("cluster-2", &other, &request(&own, "cluster-2"))
        .await;
    assert_eq!(answer.status, 429);
}
