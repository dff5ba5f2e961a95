//! What is too much, too large or too slow.

use std::time::Duration;

use fuseboard::http::Limits;
use http::Method;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::server::{PATIENCE, Server, read_all, read_until};

const ACQUIRE: &str = "/api/v1/breakers/mail/acquire";

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_are_served() {
    let server = Server::with(Limits { connections: 2, ..Limits::default() }, "");
    let mut held = [server.raw("").await, server.raw("").await];
    // Both are accepted before the third asks.
    for stream in &mut held {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        read_until(stream, "ok\n").await;
    }
    let mut refused = server.raw("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(read_all(&mut refused).await, "");
    held[0].write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut held[0], "ok\n").await;
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
async fn one_request_too_many_is_refused_at_once() {
    let server = Server::with(Limits { requests: 1, ..Limits::default() }, "");
    let head = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{";
    let mut held = server.raw(&format!("POST {ACQUIRE} HTTP/1.1\r\n{head}")).await;
    let refused = async {
        loop {
            let answer = server.get("/livez").await;
            if answer.status != 200 {
                break answer;
            }
        }
    };
    let refused = timeout(PATIENCE, refused).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.reason().as_str()), (429, "REQUEST_LIMIT"));
    assert_eq!(refused.headers["retry-after"], "1");
    held.write_all(b"}").await.unwrap();
    read_until(&mut held, "DECISION_PERMITTED").await;
    assert_eq!(server.get("/livez").await.status, 200);
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
    let server =
        Server::with(Limits { write_timeout: Duration::from_millis(200), requests: 1, ..Limits::default() }, "");
    for number in 0..20_000 {
        server.engine.handle(&format!("breaker/with-a-long-name/{number:05}")).unwrap();
    }
    // Pages of a list, one after the other on one connection, more than the socket's buffers hold.
    let page = "GET /api/v1/breakers?pageSize=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    let stream = server.raw(&page).await;
    let served = async {
        // The one place for a request is free again when the reader is cut.
        while server.get("/livez").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, served).await.expect("the place of a reader that does not read");
    drop(stream);
}
