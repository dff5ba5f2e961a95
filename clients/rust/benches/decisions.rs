//! What a decision costs, as JSON lines: an empty call, this client's cached and strict decisions against a server of its
//! own (`FUSEBOARD_BIN`), and an in-process library, side by side.
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../tests/client/server.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod server;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use failsafe::{CircuitBreaker as _, Config, backoff, failure_policy};
use fuseboard_client::{BreakerOptions, Mode};
use serde_json::json;

use server::{PATIENCE, Server};

/// How long each is measured.
const TIME: Duration = Duration::from_millis(700);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Server::start(&[]);
    let client = server.client();
    let cached = client.breaker("cached", BreakerOptions::default()).expect("a breaker");
    let strict = BreakerOptions { mode: Some(Mode::Strict), ..BreakerOptions::default() };
    let strict = client.breaker("strict", strict).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    cached.execute(call()).await.expect("closed");
    let policy = failure_policy::consecutive_failures(5, backoff::constant(Duration::from_secs(30)));
    let peer = Config::new().failure_policy(policy).build();
    for _ in 0..2 {
        // The first round warms up.
        measure("empty", async || call().await).await;
        measure("cached", async || cached.execute(call()).await).await;
        measure("strict", async || strict.execute(call()).await).await;
        measure("failsafe", async || peer.call(|| Ok::<u32, ()>(1))).await;
    }
    let stats = client.stats();
    assert_eq!(
        stats.permits.local + stats.rejections.server + stats.rejections.cached,
        0,
        "not all decided as they should"
    );
    client.close().await;
}

async fn call() -> Result<u32, ()> {
    black_box(Ok(1))
}

async fn measure<T>(what: &str, once: impl AsyncFn() -> T) {
    let (start, mut calls) = (Instant::now(), 0u32);
    while start.elapsed() < TIME {
        for _ in 0..64 {
            black_box(once().await);
        }
        calls += 64;
        // The client's tasks run on this thread too.
        tokio::task::yield_now().await;
    }
    let ns_per_call = start.elapsed().as_nanos() as f64 / f64::from(calls);
    println!("{}", json!({"language": "rust", "what": what, "ns_per_call": ns_per_call.round()}));
}
