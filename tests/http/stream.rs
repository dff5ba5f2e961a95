//! The event stream, as a browser reads it.

use http::Method;

use crate::server::{Server, read_until};

const PATH: &str = "/api/v1/events/stream";

async fn open(server: &Server, query: &str, headers: &str) -> tokio::net::TcpStream {
    server.raw(&format!("GET {PATH}{query} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")).await
}

/// The last token that was sent.
fn token(text: &str) -> String {
    let id = text.rsplit_once("id: ").unwrap_or_else(|| panic!("no id in {text}")).1;
    id.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_what_happens() {
    let server = Server::start();
    server.fail("mail").await;
    let mut stream = open(&server, "", "").await;
    let first = read_until(&mut stream, "\n\n").await;
    assert!(first.contains("content-type: text/event-stream"), "{first}");
    assert!(first.contains("event: snapshot\ndata: {\"breakers\":[{\"breaker\":\"mail\""), "{first}");
    server.send(Method::POST, "/api/v1/breakers/mail/reset", r#"{"actor":"ana"}"#).await;
    let event = read_until(&mut stream, "EVENT_KIND_RESET").await;
    assert!(event.contains("event: event\ndata: {\"sequence\":\"1\""), "{event}");
}

#[tokio::test]
async fn the_last_event_id_goes_on_where_it_was() {
    let server = Server::start();
    server.fail("mail").await;
    let first = read_until(&mut open(&server, "", "").await, "\n\n").await;
    for actor in ["ana", "ben"] {
        server.send(Method::POST, "/api/v1/breakers/mail/reset", &format!(r#"{{"actor":"{actor}"}}"#)).await;
    }
    let mut again = open(&server, "", &format!("last-event-id: {}\r\n", token(&first))).await;
    let both = read_until(&mut again, "\"ben\"").await;
    assert!(both.contains("\"ana\"") && !both.contains("event: snapshot"), "nothing is missed or sent again: {both}");
    let mut later = open(&server, &format!("?resumeToken={}", token(&both)), "").await;
    server.send(Method::POST, "/api/v1/breakers/mail/reset", r#"{"actor":"cleo"}"#).await;
    let third = read_until(&mut later, "\"cleo\"").await;
    assert!(!third.contains("\"ben\""), "{third}");
}

#[tokio::test]
async fn filters_narrow_it_and_what_is_wrong_is_refused() {
    let server = Server::start();
    server.fail("a%2F1").await;
    server.fail("b").await;
    let text =
        read_until(&mut open(&server, "?filter.prefixes=a%2F&filter.kinds=EVENT_KIND_RESET", "").await, "\n\n").await;
    assert!(text.contains("a/1") && !text.contains("\"b\""), "{text}");
    for query in ["?resumeToken=forged", "?progressInterval=1h", "?filter.kinds=EVENT_KIND_PARTY"] {
        assert_eq!(server.get(&format!("{PATH}{query}")).await.status, 400, "{query}");
    }
    let answer = server.call(Method::GET, PATH, &[("last-event-id", "forged")], "").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn silence_is_told_as_progress() {
    let server = Server::start();
    let text = read_until(&mut open(&server, "?progressInterval=1s", "").await, "event: progress").await;
    assert!(text.contains("event: snapshot"), "{text}");
}

#[tokio::test]
async fn a_draining_server_says_goodbye_and_ends_the_stream() {
    let server = Server::start();
    let mut stream = open(&server, "", "").await;
    read_until(&mut stream, "event: snapshot").await;
    server.shutdown.drain();
    let text = read_until(&mut stream, "\r\n0\r\n").await;
    assert!(text.contains("retry: ") && text.contains("GOODBYE_REASON_DRAINING"), "{text}");
}
