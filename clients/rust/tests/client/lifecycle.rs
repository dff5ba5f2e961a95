//! Servers that go away and come back, and clients that end.

use std::time::Duration;

use fuseboard_client::{BreakerOptions, EventKind, Mode, Reason, Source, WhenUnavailable};

use crate::server::{PATIENCE, Server, eventually};

/// An address where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test]
async fn without_a_server_calls_are_decided_as_each_breaker_says() {
    let server = Server::start(&[]);
    let client = server.client_with(|options| options.address = NOBODY.into());
    for (when_unavailable, expected) in [
        (WhenUnavailable::Local, Ok(Source::Local)),
        (WhenUnavailable::Permit, Ok(Source::Unavailable)),
        (WhenUnavailable::Reject, Err(Reason::Unavailable)),
    ] {
        let options = BreakerOptions { when_unavailable: Some(when_unavailable), ..BreakerOptions::default() };
        let breaker = client.breaker(&format!("{when_unavailable:?}"), options).expect("a breaker");
        let decision = breaker.acquire().await;
        assert_eq!(decision.map(|permit| permit.source()).map_err(|rejection| rejection.reason), expected);
    }
}

#[tokio::test]
async fn a_returned_server_is_asked_again_and_tells_what_happens() {
    let server = Server::start(&[]);
    let address = server.address.clone();
    let client = server.client();
    let options = BreakerOptions { mode: Some(Mode::Strict), ..BreakerOptions::default() };
    let db = client.breaker("db", options).expect("a breaker");
    let mut events = client.subscribe();
    client.ready(PATIENCE).await.expect("ready");
    db.acquire().await.expect("closed").success();
    drop(server);
    eventually("it is away", || !client.stats().usable).await;
    assert_eq!(db.acquire().await.expect("the local breaker").source(), Source::Local);
    let server = Server::start_at(&address, &[]);
    eventually("it is back", || client.stats().usable).await;
    assert_eq!(db.acquire().await.expect("closed").source(), Source::Server);
    let other = server.client_with(|options| options.caller = "test/2".into());
    let same = other.breaker("db", BreakerOptions::default()).expect("a breaker");
    other.ready(PATIENCE).await.expect("ready");
    eventually("the watch is back", || client.stats().reconnects >= 2).await;
    same.reset("to be heard").await.expect("known");
    let heard = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = events.recv().await.expect("the client is open");
            if event.kind == EventKind::Reset {
                return event;
            }
        }
    });
    let event = heard.await.expect("the reset was told");
    assert_eq!((event.breaker.as_str(), event.actor.as_str(), event.comment.as_str()), ("db", "test/2", "to be heard"));
}

#[tokio::test]
async fn close_tells_what_waits_and_calls_go_on_without_the_server() {
    let server = Server::start(&[]);
    let client = server.client_with(|options| options.report_interval = Duration::from_secs(3_600));
    let db = client.breaker("db", BreakerOptions::default()).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    for _ in 0..10 {
        assert_eq!(db.execute(async { Ok::<_, ()>(1) }).await, Ok(1));
    }
    let late = db.acquire().await.expect("closed");
    client.close().await;
    let stats = client.stats();
    assert_eq!((stats.reported, stats.dropped_reports), (10, 0));
    late.success();
    assert_eq!(client.stats().dropped_reports, 1, "a permit that is reported after it is lost, and counted");
    assert_eq!(db.acquire().await.expect("the local breaker").source(), Source::Local);
    assert!(client.subscribe().recv().await.is_none());
}

#[tokio::test]
async fn the_last_handle_ends_the_tasks() {
    let server = Server::start(&[]);
    let client = server.client();
    let db = client.breaker("db", BreakerOptions::default()).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    let metrics = tokio::runtime::Handle::current().metrics();
    let mut events = db.subscribe();
    drop(client);
    assert!(metrics.num_alive_tasks() > 0, "the breaker keeps them");
    drop(db);
    assert!(tokio::time::timeout(PATIENCE, events.recv()).await.expect("it ends").is_none());
    eventually("no task is left", || metrics.num_alive_tasks() == 0).await;
}

#[tokio::test]
async fn an_abandoned_acquire_holds_no_probe() {
    // Nobody answers at this address, so the wait goes on until the caller has had enough.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("is bound").to_string();
    let server = Server::start(&[]);
    let client = server.client_with(|options| options.address = address);
    let db = client.breaker("db", BreakerOptions::default()).expect("a breaker");
    let waited = tokio::time::timeout(Duration::from_millis(20), db.acquire()).await;
    assert!(waited.is_err(), "it was still waiting");
    assert_eq!(client.stats().permits, fuseboard_client::Counts::default());
}
