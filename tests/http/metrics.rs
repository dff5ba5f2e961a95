//! What a scrape tells, read by a parser of OpenMetrics.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
};

use fuseboard::{
    breaker::{PolicySpec, Timestamp},
    engine::{self, Actor, Clock, Engine},
    http::Limits,
};
use http::Method;
use openmetrics_parser::openmetrics::parse_openmetrics;

use crate::server::{Server, read_until};

/// All samples of a scrape, by name and labels as written.
async fn scrape(server: &Server) -> HashMap<String, f64> {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text; version=1.0.0")
    );
    let text = answer.text();
    parse_openmetrics(text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn calls_rejections_moves_and_states_are_told() {
    let server = Server::start();
    server.trip("payments%2Fcharge").await;
    server.fail("mail").await;
    server.send(Method::POST, "/api/v1/breakers/payments%2Fcharge/acquire", "{}").await;
    let told = scrape(&server).await;
    for (name, value) in [
        ("fuseboard_calls_total{outcome=\"failure\"}", 6.0),
        ("fuseboard_rejections_total{reason=\"open\"}", 1.0),
        ("fuseboard_calls_rejected_total", 1.0),
        ("fuseboard_breaker_trips_total", 1.0),
        ("fuseboard_events_total{kind=\"opened\"}", 1.0),
        ("fuseboard_breakers{state=\"open\"}", 1.0),
        ("fuseboard_breakers{state=\"closed\"}", 1.0),
        ("fuseboard_breakers_refusing", 1.0),
        ("fuseboard_breaker_state{breaker=\"payments/charge\",state=\"open\"}", 1.0),
        ("fuseboard_breaker_calls_total{breaker=\"mail\",outcome=\"failure\"}", 1.0),
        ("fuseboard_event_log_newest_sequence", 1.0),
        ("fuseboard_store_healthy{store=\"memory\"}", 1.0),
        ("fuseboard_store_damaged", 0.0),
        ("fuseboard_store_commit_duration_seconds_count", 1.0),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}");
    }
    assert!(told.contains_key("fuseboard_store_commit_duration_seconds_bucket{le=\"+Inf\"}"));
    assert!(!told.keys().any(|name| name.contains("caller=")), "callers are never labels");
    #[cfg(target_os = "linux")]
    assert!(told["process_resident_memory_bytes"] > 1e6 && told["process_start_time_seconds"] > 1.5e9);
}

#[tokio::test]
async fn counters_do_not_fall_when_breakers_go() {
    let server = Server::start();
    server.fail("mail").await;
    server.fail("payments").await;
    let before = scrape(&server).await["fuseboard_calls_total{outcome=\"failure\"}"];
    server.engine.delete("mail", Actor::default()).await.unwrap();
    let told = scrape(&server).await;
    assert_eq!((before, told["fuseboard_calls_total{outcome=\"failure\"}"]), (2.0, 2.0));
    assert!(!told.keys().any(|name| name.contains("breaker=\"mail\"")));
}

#[tokio::test]
async fn counters_begin_at_zero_with_a_process_whatever_breakers_bring_along() {
    let clock = Clock::manual(Timestamp::from_nanos(1_577_836_800_000_000_000));
    let engine = Engine::new(clock, engine::Limits::default(), PolicySpec::default()).unwrap();
    let first = Server::of(engine.clone(), Limits::default(), "");
    first.fail("mail").await;
    let second = Server::of(engine, Limits::default(), "");
    second.fail("mail").await;
    let told = scrape(&second).await;
    assert_eq!(told["fuseboard_calls_total{outcome=\"failure\"}"], 1.0);
    assert_eq!(told["fuseboard_breaker_calls_total{breaker=\"mail\",outcome=\"failure\"}"], 1.0);
}

#[tokio::test]
async fn breakers_beyond_the_limit_are_in_the_sums_alone() {
    let server = Server::with(Limits { metrics_breakers: 10, ..Limits::default() }, "");
    for number in 0..500 {
        server.engine.handle(&format!("breaker/{number:04}")).unwrap();
    }
    server.fail("last").await;
    let told = scrape(&server).await;
    let named = told.keys().filter(|name| name.starts_with("fuseboard_breaker_calls_rejected_total{"));
    assert_eq!((named.count(), told["fuseboard_breakers_unnamed"]), (10, 491.0));
    assert_eq!(told["fuseboard_calls_total{outcome=\"failure\"}"], 1.0);
}

#[tokio::test]
async fn a_damaged_store_shows() {
    let server = Server::with(Limits::default(), "events.redb: bad checksum");
    assert_eq!(scrape(&server).await["fuseboard_store_damaged"], 1.0);
    assert_eq!(server.get("/api/v1/server").await.json()["storeDamage"], "events.redb: bad checksum");
}

#[tokio::test]
async fn a_watch_and_a_resync_are_counted() {
    let server = Server::start();
    let token = "GET /api/v1/events/stream HTTP/1.1\r\nhost: localhost\r\n";
    let other = Server::start();
    let first = read_until(&mut other.raw(&format!("{token}\r\n")).await, "\n\n").await;
    let of_another = first.split("id: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let mut stream = server.raw(&format!("{token}last-event-id: {of_another}\r\n\r\n")).await;
    read_until(&mut stream, "event: resync").await;
    let told = scrape(&server).await;
    assert_eq!((told["fuseboard_watchers"], told["fuseboard_http_in_use{kind=\"streams\"}"]), (1.0, 1.0));
    assert_eq!(told["fuseboard_watch_resyncs_total{reason=\"other_history\"}"], 1.0);
}

/// Names of ours in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("fuseboard_") || word.starts_with("process_")).collect()
}

#[tokio::test]
async fn alerts_and_graphs_ask_for_what_is_told() {
    let server = Server::start();
    server.trip("mail").await;
    let held = r#"{"actor":"ana","reason":"drill","mode":"OVERRIDE_MODE_SHADOW"}"#;
    server.send(Method::PUT, "/api/v1/breakers/mail/override", held).await;
    let scrape = server.get("/metrics").await;
    let told = names(scrape.text());
    for file in ["deploy/prometheus/fuseboard.rules.yml", "deploy/grafana/fuseboard.json"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let asked = names(&text);
        assert!(asked.len() > 10, "{file}");
        assert_eq!(asked.difference(&told).collect::<Vec<_>>(), Vec::<&&str>::new(), "{file}");
    }
}
