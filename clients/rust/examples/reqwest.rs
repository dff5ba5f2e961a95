//! HTTP by reqwest under a breaker: `cargo run --example reqwest -- http://127.0.0.1:8000/`.

use std::time::Duration;

use fuseboard_client::{Breaker, BreakerOptions, CallError, Client, Options, Outcome, Policy, Report};
use reqwest::{Response, StatusCode, header::RETRY_AFTER};

/// A status of 500 and above is a failure, and so is an error of the transport; a `Retry-After` in seconds is passed on.
pub(crate) fn classify(result: &Result<Response, reqwest::Error>) -> Report {
    let response = match result {
        Ok(response) => response,
        Err(error) if error.is_timeout() => return Report::new(Outcome::Timeout),
        Err(error) if error.is_connect() => return Report::new(Outcome::Failure).with_error_class("connect"),
        Err(_) => return Report::new(Outcome::Failure),
    };
    let status = response.status();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let is_failure = status.is_server_error();
    Report {
        error_class: if is_failure { format!("http_{}", status.as_u16()) } else { String::new() },
        retry_after: seconds.map(Duration::from_secs),
        ..Report::new(if is_failure { Outcome::Failure } else { Outcome::Success })
    }
}

/// Gets a page, unless the breaker says that the server behind it is better left alone.
pub(crate) async fn get(
    breaker: &Breaker,
    http: &reqwest::Client,
    url: &str,
) -> Result<StatusCode, CallError<reqwest::Error>> {
    breaker.execute_with(classify, http.get(url).send()).await.map(|response| response.status())
}

#[tokio::main]
#[allow(dead_code, reason = "a test calls what is above")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8000/".into());
    let client = Client::new(Options::default())?;
    let policy = Policy { failure_threshold: Some(3), ..Policy::default() };
    let options = BreakerOptions {
        policy: Some(policy),
        call_timeout: Some(Duration::from_secs(2)),
        ..BreakerOptions::default()
    };
    let breaker = client.breaker("page", options)?;
    let http = reqwest::Client::new();
    for _ in 0..5 {
        match get(&breaker, &http, &url).await {
            Ok(status) => println!("{status}"),
            Err(CallError::Rejected(rejection)) => println!("not asked: {rejection}"),
            Err(error) => println!("{error}"),
        }
    }
    client.close().await;
    Ok(())
}
