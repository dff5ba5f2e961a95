//! What is too much, too large or too slow.

use std::time::Duration;

use fuseboard::http::Limits;
use http::Method;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::server::{PATIENCE, Server, read_all, read_until};

const ACQUIRE: &str = "/api/v1/breakers/mail/acquire";

#[tokio::test]
async fn one_connection_too_many_takes_the_place_of_the_one_that_was_idle_the_longest() {
    let server = Server::with(Limits { connections: 4, ..Limits::default() }, "");
    let request = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut stream = server.raw(request).await;
        read_until(&mut stream, "ok\n").await;
        idle.push(stream);
    }
    // The first is used again.
    idle[0].write_all(request.as_bytes()).await.unwrap();
    read_until(&mut idle[0], "ok\n").await;
    for _ in 0..2 {
        read_until(&mut server.raw(request).await, "ok\n").await;
    }
    timeout(PATIENCE, read_all(&mut idle[1])).await.expect("it gave way");
    idle[0].write_all(request.as_bytes()).await.unwrap();
    read_until(&mut idle[0], "ok\n").await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_where_all_are_used() {
    let server = Server::with(Limits { connections: 2, ..Limits::default() }, "");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.raw("GET /api/v1/events/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        read_until(&mut stream, "event: snapshot").await;
        held.push(stream);
    }
    let mut refused = server.raw("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(read_all(&mut refused).await, "");
    drop(held.pop());
    let served = async {
        loop {
            let mut stream = server.raw("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            if read_until(&mut stream, "ok\n").await.contains("ok") {
                break;
            }
        }
    };
    timeout(PATIENCE, served).await.expect("a place that is free again");
}

#[tokio::test]
async fn a_body_too_large_and_headers_too_many_are_refused() {
    let server = Server::start();
    let large = format!(r#"{{"caller":"{}"}}"#, "x".repeat(65_536));
    let answer = server.send(Method::POST, ACQUIRE, &large).await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (413, "MESSAGE_LIMIT"));
    let long = "x".repeat(32 << 10);
    let mut stream = server.raw(&format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n")).await;
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 431"));
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let mut stream = server.raw(&format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{many}\r\n")).await;
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn slow_headers_and_idle_connections_are_cut() {
    let server = Server::with(Limits { header_timeout: Duration::from_millis(200), ..Limits::default() }, "");
    for begun in ["", "GET /livez HTTP/1.1\r\nhost: lo"] {
        let mut stream = server.raw(begun).await;
        timeout(PATIENCE, read_all(&mut stream)).await.expect("it is closed");
    }
    let mut idle = server.raw("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    timeout(PATIENCE, read_all(&mut idle)).await.expect("it is closed");
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let server = Server::with(Limits { body_timeout: Duration::from_millis(100), ..Limits::default() }, "");
    let head = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    let mut stream = server.raw(&format!("POST {ACQUIRE} HTTP/1.1\r\n{head}")).await;
    let answer = read_until(&mut stream, "BODY_TIMEOUT").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn slow_bodies_take_no_places_and_probes_need_none() {
    let server = Server::with(Limits { requests: 1, operator_requests: 1, ..Limits::default() }, "");
    let head = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{";
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(server.raw(&format!("POST {ACQUIRE} HTTP/1.1\r\n{head}")).await);
    }
    for path in ["/livez", "/readyz", "/metrics", "/api/v1/breakers"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    assert_eq!(server.send(Method::POST, ACQUIRE, "{}").await.status, 200);
    held[7].write_all(b"}").await.unwrap();
    read_until(&mut held[7], "DECISION_PERMITTED").await;
}

#[tokio::test]
async fn one_request_too_many_is_refused_at_once_and_operators_have_places_of_their_own() {
    let server = Server::with(Limits { requests: 0, ..Limits::default() }, "");
    let refused = server.send(Method::POST, ACQUIRE, "{}").await;
    assert_eq!((refused.status.as_u16(), refused.reason().as_str()), (429, "REQUEST_LIMIT"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json()["error"]["metadata"]["limit"], "max_http_in_flight");
    for path in ["/livez", "/metrics", "/api/v1/server"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn one_stream_too_many_is_refused_and_a_place_comes_back() {
    let server = Server::with(Limits { streams: 1, ..Limits::default() }, "");
    let stream = "GET /api/v1/events/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut held = server.raw(stream).await;
    read_until(&mut held, "event: snapshot").await;
    assert_eq!(server.get("/api/v1/events/stream").await.reason(), "STREAM_LIMIT");
    drop(held);
    let free = async {
        while read_until(&mut server.raw(stream).await, "\n\n").await.contains("STREAM_LIMIT") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free).await.expect("the place of a stream that is gone");
}

#[tokio::test]
async fn who_does_not_read_is_cut() {
    let server = Server::with(
        Limits { write_timeout: Duration::from_millis(200), requests: 0, operator_requests: 1, ..Limits::default() },
        "",
    );
    for number in 0..20_000 {
        server.engine.handle(&format!("breaker/with-a-long-name/{number:05}")).unwrap();
    }
    // Pages of a list, one after the other on one connection, more than the socket's buffers hold.
    let page = "GET /api/v1/breakers?pageSize=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    let stream = server.raw(&page).await;
    let served = async {
        // The one place for a request is free again when the reader is cut.
        while server.get("/api/v1/breakers?pageSize=1").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, served).await.expect("the place of a reader that does not read");
    drop(stream);
}
