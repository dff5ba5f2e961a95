//! What becomes of calls.

use std::{sync::Arc, time::Duration};

use fuseboard_client::{
    Breaker, BreakerOptions, CallError, EventKind, Mode, Observer, Outcome, Policy, Reason, Report, Source, State,
    testing::{Fake, ManualClock},
};
use parking_lot::Mutex;

use crate::server::{PATIENCE, Server, eventually};

fn three_failures() -> BreakerOptions {
    let policy = Policy {
        failure_threshold: Some(3),
        open_duration: Some(Duration::from_secs(30)),
        min_callers: Some(1),
        ..Policy::default()
    };
    BreakerOptions { policy: Some(policy), ..BreakerOptions::default() }
}

async fn fail(breaker: &Breaker) -> Result<(), CallError<&'static str>> {
    breaker.execute(async { Err::<(), _>("refused") }).await
}

#[tokio::test]
async fn a_callers_own_trip_rejects_its_very_next_call() {
    let server = Server::start(&[]);
    let client = server.client();
    let db = client.breaker("db", three_failures()).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    for _ in 0..3 {
        assert_eq!(fail(&db).await, Err(CallError::Failed("refused")));
    }
    let rejection = db.acquire().await.err().expect("open");
    assert_eq!(
        (rejection.reason, rejection.state, rejection.source),
        (Reason::Open, Some(State::Open), Source::Cached)
    );
    assert!(rejection.retry_after > Duration::from_secs(20));
    let status = db.state().await.expect("known");
    assert_eq!((status.state, status.message.totals.expect("totals").failures), (Some(State::Open), 3));
    db.reset("the test says so").await.expect("known");
    assert_eq!(db.execute(async { Ok::<_, ()>(7) }).await, Ok(7));
}

#[tokio::test]
async fn a_fallback_answers_and_a_classifier_decides_what_counts() {
    let server = Server::start(&[]);
    let client = server.client();
    let db = client.breaker("db", three_failures()).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    for _ in 0..9 {
        let ignored = |_: &Result<(), &str>| Report::new(Outcome::Ignored);
        let result = db.execute_with(ignored, async { Err("not found") }).await;
        assert_eq!(result, Err(CallError::Failed("not found")));
    }
    for _ in 0..9 {
        let result = db.execute_or(async { Err("refused") }, async |_| Ok::<_, ()>("from the cache")).await;
        assert_eq!(result, Ok("from the cache"));
    }
    assert_eq!(db.view().state, Some(State::Open), "three of them were failures, and six were rejected");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_dropped_and_counts_as_a_timeout() {
    let server = Server::start(&[]);
    let client = server.client();
    let limit = Duration::from_millis(5);
    let options = BreakerOptions { call_timeout: Some(limit), ..three_failures() };
    let db = client.breaker("db", options).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    let result = db.execute(std::future::pending::<Result<(), ()>>()).await;
    assert_eq!(result, Err(CallError::TimedOut(limit)));
    assert_eq!(db.state().await.expect("known").message.totals.expect("totals").timeouts, 1);
}

#[tokio::test]
async fn a_classifier_or_an_observer_that_panics_harms_no_call() {
    struct Clumsy;
    impl Observer for Clumsy {
        fn decided(&self, _: &str, _: Source, _: Option<Reason>) {
            panic!("clumsy");
        }
    }
    let server = Server::start(&[]);
    let client = server.client_with(|options| options.observer = Some(Arc::new(Clumsy)));
    let db = client.breaker("db", three_failures()).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    let clumsy = |_: &Result<i32, ()>| panic!("clumsy");
    assert_eq!(db.execute_with(clumsy, async { Ok(7) }).await, Ok(7));
    eventually("the call was told", || client.stats().reported == 1).await;
}

#[tokio::test]
async fn a_dropped_permit_gives_a_probes_place_back() {
    let server = Server::start(&["--manual-clock"]);
    let client = server.client();
    let mut clock = ManualClock::new(&server.address).expect("an address");
    let db = client.breaker("db", BreakerOptions { mode: Some(Mode::Strict), ..three_failures() }).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    for _ in 0..3 {
        let _ = fail(&db).await;
    }
    clock.advance(Duration::from_secs(30)).await.expect("a manual clock");
    let probe = db.acquire().await.expect("a probe");
    assert_eq!(db.acquire().await.err().expect("one at a time").reason, Reason::HalfOpenFull);
    drop(probe);
    eventually("its place is free", || client.stats().reported == 4).await;
    db.acquire().await.expect("another probe").success();
}

#[tokio::test]
async fn every_decision_outcome_and_event_is_observed() {
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);
    impl Observer for Notes {
        fn decided(&self, breaker: &str, source: Source, rejected: Option<Reason>) {
            let rejected = rejected.map_or("permitted", Reason::as_str);
            self.0.lock().push(format!("{breaker} {source} {rejected}"));
        }
        fn finished(&self, _: &str, report: &Report) {
            self.0.lock().push(report.outcome.to_string());
        }
        fn happened(&self, event: &fuseboard_client::Event) {
            self.0.lock().push(event.kind.to_string());
        }
    }
    let server = Server::start(&[]);
    let notes = Arc::new(Notes::default());
    let observer = Arc::clone(&notes);
    let client = server.client_with(|options| options.observer = Some(observer));
    let policy = Policy { failure_threshold: Some(1), min_callers: Some(1), ..Policy::default() };
    let db = client.breaker("db", BreakerOptions { policy: Some(policy), ..BreakerOptions::default() }).expect("one");
    let mut events = db.subscribe();
    client.ready(PATIENCE).await.expect("ready");
    let _ = fail(&db).await;
    let _ = fail(&db).await;
    let opened = tokio::time::timeout(PATIENCE, async {
        loop {
            let event = events.recv().await.expect("the client is open");
            if event.kind == EventKind::Opened {
                return event;
            }
        }
    });
    assert_eq!(opened.await.expect("it opened").to, Some(State::Open));
    eventually("all was observed", || {
        let notes = notes.0.lock();
        ["db cached permitted", "failure", "opened", "db cached open"].iter().all(|one| notes.iter().any(|n| n == one))
    })
    .await;
}

#[tokio::test]
async fn a_fake_decides_without_a_server() {
    let fake = Fake::new();
    let client = fake.client().expect("in a runtime");
    let db = client.breaker("db", BreakerOptions::default()).expect("a breaker");
    assert_eq!(db.execute(async { Ok::<_, ()>(1) }).await, Ok(1));
    fake.open("db", Duration::from_secs(9));
    let rejection = db.acquire().await.err().expect("open");
    assert_eq!((rejection.reason, rejection.retry_after), (Reason::Open, Duration::from_secs(9)));
    db.reset("over").await.expect("a fake takes it");
    assert!(db.acquire().await.is_ok());
    assert_eq!((fake.count("db", Outcome::Success), fake.resets("db")), (1, 1));
}
