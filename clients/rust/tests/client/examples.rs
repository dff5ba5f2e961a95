//! The examples, run.

use fuseboard_client::{BreakerOptions, CallError, Outcome, testing::Fake};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

#[path = "../../examples/reqwest.rs"]
mod reqwest_example;

/// Answers each connection with this status, once.
async fn answer(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("is bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nretry-after: 7\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn reqwest_counts_a_500_as_a_failure_and_a_404_as_a_success() {
    let fake = Fake::new();
    let client = fake.client().expect("in a runtime");
    let page = client.breaker("page", BreakerOptions::default()).expect("a breaker");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for status in ["404 Not Found", "503 Service Unavailable"] {
        let url = answer(status).await;
        let got = reqwest_example::get(&page, &http, &url).await.expect("an answer");
        assert!(status.starts_with(got.as_str()));
    }
    let refused = reqwest_example::get(&page, &http, "http://127.0.0.1:1/").await;
    assert!(matches!(refused, Err(CallError::Failed(error)) if error.is_connect()));
    assert_eq!((fake.count("page", Outcome::Success), fake.count("page", Outcome::Failure)), (1, 2));
}
