//! Three questions with three answers.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use fuseboard::{
    breaker::{PolicySpec, Timestamp},
    engine::{self, Clock, Engine, FilePolicies},
    http::Limits,
    pulse::Pulse,
    store::{Memory, Store},
};

use crate::{home::Gated, server::Server};

#[tokio::test]
async fn an_open_breaker_degrades_and_leaves_the_server_ready() {
    let server = Server::start();
    let calm = server.get("/health/circuit-breakers").await;
    assert_eq!((calm.status.as_u16(), calm.json()["status"].as_str().unwrap()), (200, "healthy"));
    server.fail("a").await;
    server.trip("b%2Fopen").await;
    let answer = server.get("/health/circuit-breakers").await;
    let told = answer.json();
    assert_eq!((answer.status.as_u16(), told["status"].as_str().unwrap()), (503, "degraded"));
    assert_eq!((told["total"].as_u64(), told["open"].as_u64(), told["refusing"].as_u64()), (Some(2), Some(1), Some(1)));
    let expected = serde_json::json!([
        { "name": "b/open", "state": "open", "failures": 5 },
        { "name": "a", "state": "closed", "failures": 1 },
    ]);
    assert_eq!(told["breakers"], expected, "those that refuse calls come first");
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_override_decides_whether_calls_are_refused() {
    let server = Server::start();
    let hold = async |mode: &str| {
        let said = format!(r#"{{"actor":"ana","reason":"drill","mode":"OVERRIDE_MODE_{mode}"}}"#);
        let held = server.send(http::Method::PUT, "/api/v1/breakers/mail/override", &said).await;
        assert_eq!(held.status, 200, "{}", held.text());
        server.get("/health/circuit-breakers").await
    };
    let forced_open = hold("FORCED_OPEN").await;
    assert_eq!(
        (forced_open.status.as_u16(), &forced_open.json()["breakers"][0]["override"]),
        (503, &"forced_open".into())
    );
    assert_eq!(hold("FORCED_CLOSED").await.status, 200);
}

#[tokio::test]
async fn of_very_many_breakers_the_first_are_shown_and_all_counted() {
    let server = Server::start();
    for number in 0..3_000 {
        server.engine.handle(&format!("breaker/{number:05}")).unwrap();
    }
    server.trip("zzz").await;
    let told = server.get("/health/circuit-breakers").await.json();
    assert_eq!((told["total"].as_u64(), told["shown"].as_u64()), (Some(3_001), Some(1_000)));
    assert_eq!(told["breakers"][0]["name"], "zzz");
    assert_eq!(told["breakers"][999]["name"], "breaker/00998");
    assert!(told["note"].as_str().unwrap().contains("/api/v1/breakers"));
}

#[tokio::test]
async fn a_failing_store_shows_and_leaves_the_server_ready() {
    let store = Arc::new(Gated::new(&Memory::new(100)));
    let clock = Clock::manual(Timestamp::from_nanos(1_577_836_800_000_000_000));
    let home = Arc::clone(&store) as Arc<dyn Store>;
    let engine = Engine::open(clock, engine::Limits::default(), FilePolicies::default(), home).await.unwrap();
    let server = Server::of(engine, Limits::default(), "");
    store.fail();
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("the store is failing"), "{}", ready.text());
    assert!(server.get("/metrics").await.text().contains("\nfuseboard_store_healthy{store=\"gated\"} 0\n"));
    assert_eq!(server.get("/api/v1/server").await.json()["storeProblem"], "no space left");
    server.fail("mail").await;
    let held = r#"{"actor":"ana","reason":"drill","mode":"OVERRIDE_MODE_FORCED_OPEN"}"#;
    let refused = server.send(http::Method::PUT, "/api/v1/breakers/mail/override", held).await;
    assert_eq!((refused.status.as_u16(), refused.reason().as_str()), (503, "STORE_UNAVAILABLE"));
    assert_eq!(refused.headers["retry-after"], "1");
    store.recover();
    assert_eq!(server.get("/readyz").await.text(), "ready\n");
}

/// Asks until there is an answer, for at most 20 s.
#[expect(clippy::disallowed_methods, reason = "a thread stands still in real time")]
async fn soon<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("has not come");
}

/// Beats every millisecond, and a thread is stalled after 50.
fn fast_pulse() -> Pulse {
    Pulse::with(1, Duration::from_millis(1), Duration::from_millis(50))
}

#[tokio::test]
async fn liveness_fails_while_a_serving_thread_stands_still() {
    let clock = Clock::manual(Timestamp::from_nanos(1));
    let engine = Engine::new(clock, engine::Limits::default(), PolicySpec::default()).unwrap();
    let pulse = fast_pulse();
    let server = Server::beating(engine.clone(), pulse.clone(), Limits::default(), "");
    let (stand_still, told_to) = mpsc::sync_channel::<mpsc::Receiver<()>>(1);
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(async move { pulse.keep(0, &engine).await });
            loop {
                match told_to.try_recv() {
                    // Blocks the thread, as a lock that is never released does.
                    Ok(until) => _ = until.recv(),
                    Err(mpsc::TryRecvError::Empty) => tokio::task::yield_now().await,
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
        });
    });
    // A busy machine may hold the thread up longer than this pulse permits.
    soon(async || Some(server.get("/livez").await).filter(|answer| answer.text() == "ok\n")).await;
    let (go_on, until) = mpsc::sync_channel(1);
    stand_still.send(until).unwrap();
    let answer = soon(async || Some(server.get("/livez").await).filter(|answer| answer.status == 503)).await;
    assert!(answer.text().starts_with("serving thread 0 has made no progress for "), "{}", answer.text());
    let metrics = server.get("/metrics").await;
    let line = metrics.text().lines().find(|line| line.starts_with("fuseboard_serving_thread_stalled_seconds "));
    let seconds: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 0.0);
    drop(go_on);
    soon(async || Some(server.get("/livez").await).filter(|answer| answer.status == 200)).await;
    drop(stand_still);
    serving.join().unwrap();
    assert_eq!(server.get("/livez").await.status, 200, "a thread that has ended is not stalled");
}
