//! The README's snippets, word by word: run here, and compared with it.

use std::{sync::Arc, time::Duration};

use fuseboard_client::{
    Breaker, BreakerLayer, BreakerOptions, CallError, Client, EventKind, Options, Outcome, Policy, Rejection, Report,
    testing::Fake,
};
use parking_lot::Mutex;
use tower::{Service as _, ServiceBuilder, ServiceExt as _};

use crate::server::{PATIENCE, Server};

type Outage = std::io::Error;

async fn charge() -> Result<String, Outage> {
    Ok("charged".into())
}

async fn protect_a_call() -> Result<String, Box<dyn std::error::Error>> {
    let client = Client::new(Options { caller: "web/1".into(), ..Options::default() })?;
    let payments = client.breaker(
        "payments",
        BreakerOptions {
            policy: Some(Policy {
                failure_threshold: Some(5),
                open_duration: Some(Duration::from_secs(30)),
                ..Policy::default()
            }),
            call_timeout: Some(Duration::from_secs(2)),
            ..BreakerOptions::default()
        },
    )?;

    let receipt = payments.execute_or(charge(), async |_| Ok::<_, Outage>("queued".into())).await?;
    Ok(receipt)
}

async fn without_a_fallback(payments: &Breaker) -> Option<Duration> {
    match payments.execute(charge()).await {
        Ok(receipt) => println!("{receipt}"),
        Err(CallError::Rejected(rejection)) => return Some(rejection.retry_after),
        Err(CallError::TimedOut(limit)) => println!("no answer within {limit:?}"),
        Err(CallError::Failed(error)) => println!("{error}"),
    }
    None
}

async fn two_steps(breaker: &Breaker) -> Result<(), Rejection> {
    let permit = breaker.acquire().await?;
    match charge().await {
        Ok(_) => permit.success(),
        Err(error) => permit.report(Report::new(Outcome::Failure).with_error_class(error.kind().to_string())),
    }
    Ok(())
}

async fn hear(client: &Client, alert: impl Fn(String)) {
    let mut events = client.subscribe();
    while let Some(event) = events.recv().await {
        match event.kind {
            EventKind::Opened => alert(format!("{} is open", event.breaker)),
            EventKind::Lost => alert("events were lost: look at the state".into()),
            _ => {}
        }
    }
}

async fn in_tower(breaker: Breaker) -> Result<u16, CallError<Outage>> {
    let layer = BreakerLayer::new(breaker).with_classifier(|status: &Result<u16, Outage>| {
        Report::new(if matches!(status, Ok(..500)) { Outcome::Success } else { Outcome::Failure })
    });
    let mut service = ServiceBuilder::new().layer(layer).service_fn(async |_: &str| Ok::<u16, Outage>(200));
    service.ready().await?.call("/").await
}

async fn pay(client: &Client) -> String {
    let payments = client.breaker("payments", BreakerOptions::default()).expect("a key");
    payments.execute_or(charge(), async |_| Ok::<_, Outage>("queued".into())).await.expect("a fallback")
}

#[tokio::test]
async fn an_open_breaker_queues_the_payment() {
    let fake = Fake::new();
    fake.open("payments", Duration::from_secs(30));
    let client = fake.client().expect("inside a runtime");
    assert_eq!(pay(&client).await, "queued");
}

#[tokio::test]
async fn the_snippets_do_what_the_readme_says() {
    // Nobody has to listen at the default address.
    assert!(["charged", "queued"].contains(&protect_a_call().await.expect("an answer").as_str()));
    let fake = Fake::new();
    let client = fake.client().expect("inside a runtime");
    let payments = client.breaker("payments", BreakerOptions::default()).expect("a key");
    assert_eq!(without_a_fallback(&payments).await, None);
    two_steps(&payments).await.expect("permitted");
    assert_eq!(in_tower(payments.clone()).await.expect("an answer"), 200);
    fake.open("payments", Duration::from_secs(30));
    assert_eq!(without_a_fallback(&payments).await, Some(Duration::from_secs(30)));
    assert_eq!(fake.count("payments", Outcome::Success), 3);
}

#[tokio::test]
async fn listeners_hear_of_an_opened_breaker() {
    let server = Server::start(&[]);
    let client = server.client();
    let policy = Policy { failure_threshold: Some(1), min_callers: Some(1), ..Policy::default() };
    let options = BreakerOptions { policy: Some(policy), ..BreakerOptions::default() };
    let payments = client.breaker("payments", options).expect("a key");
    let alerts = Arc::new(Mutex::new(Vec::new()));
    let (heard, listener) = (Arc::clone(&alerts), client.clone());
    let listening = tokio::spawn(async move { hear(&listener, |alert| heard.lock().push(alert)).await });
    client.ready(PATIENCE).await.expect("ready");
    payments.acquire().await.expect("closed").report_and_wait(Report::new(Outcome::Failure)).await;
    crate::server::eventually("an alert", || *alerts.lock() == ["payments is open"]).await;
    client.close().await;
    listening.await.expect("it ends with the client");
}

#[test]
fn the_readme_shows_what_is_run_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(format!("{folder}/{file}")).expect("is there");
    let unindented = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let (readme, here) = (read("README.md"), unindented(&read("tests/client/readme.rs")));
    let snippets: Vec<_> = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(snippets.len() >= 6, "the README has {} snippets", snippets.len());
    for snippet in snippets {
        assert!(here.contains(&unindented(snippet.trim())), "this is not run by tests/client/readme.rs:\n{snippet}");
    }
}
