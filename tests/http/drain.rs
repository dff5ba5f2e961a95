//! A stop, seen from outside.

use http::Method;
use tokio::time::timeout;

use crate::server::{PATIENCE, Server};

#[tokio::test]
async fn a_draining_server_lives_is_not_ready_and_changes_nothing() {
    let server = Server::start();
    server.fail("mail").await;
    server.shutdown.drain();
    assert_eq!(server.get("/livez").await.status, 200);
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text()), (503, "draining\n"));
    assert!(server.get("/metrics").await.text().contains("\nfuseboard_draining 1\n"));
    let refused = server.send(Method::POST, "/api/v1/breakers/mail/acquire", "{}").await;
    assert_eq!((refused.status.as_u16(), refused.reason().as_str()), (503, "DRAINING"));
    assert!(refused.headers.contains_key("retry-after"));
    server.stop.drain();
    timeout(PATIENCE, server.serving).await.expect("it ends").unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn whoever_holds_a_connection_does_not_hold_up_the_stop() {
    let server = Server::start();
    let _half_a_request = server.raw("GET /livez HTT").await;
    let _idle = server.raw("").await;
    server.shutdown.drain();
    server.stop.drain();
    timeout(PATIENCE, server.serving).await.expect("it ends").unwrap().unwrap();
}
