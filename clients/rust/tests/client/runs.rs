//! Failures in a row: in whichever order outcomes come, a breaker opens at its threshold, and no call overtakes that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fuseboard_client::{
    Breaker, BreakerOptions, CallError, Client, Mode, Options, Permit, Policy, Reason, Source, WhenUnavailable, pb,
};
use prost::{Message as _, bytes::Bytes};
use tokio::net::TcpListener;

use crate::server::{PATIENCE, Server, eventually};

async fn breaker_of_three(client: &Client, key: &str) -> Breaker {
    let policy = Policy {
        failure_threshold: Some(3),
        open_duration: Some(Duration::from_secs(30)),
        min_callers: Some(1),
        ..Policy::default()
    };
    let options = BreakerOptions { policy: Some(policy), ..BreakerOptions::default() };
    let breaker = client.breaker(key, options).expect("a breaker");
    client.ready(PATIENCE).await.expect("ready");
    breaker
}

async fn permit(breaker: &Breaker) -> Permit {
    breaker.acquire().await.expect("permitted")
}

#[tokio::test]
async fn the_two_steps_stop_at_the_threshold_without_waiting_for_a_report() {
    let server = Server::start(&[]);
    for mode in [Mode::Cached, Mode::Strict] {
        let client = server.client_with(|options| options.mode = mode);
        for round in 0..10 {
            let db = breaker_of_three(&client, &format!("two/{mode:?}/{round}")).await;
            permit(&db).await.success();
            let mut calls = 0;
            for _ in 0..100 {
                if let Ok(permit) = db.acquire().await {
                    calls += 1;
                    permit.failure();
                }
            }
            assert_eq!(calls, 3, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn failures_at_once_and_a_success_before_they_are_sent_open_too() {
    let server = Server::start(&[]);
    let client = server.client();
    for failures in [3, 5, 10, 50] {
        let db = breaker_of_three(&client, &format!("at-once/{failures}")).await;
        let mut permits = Vec::new();
        for _ in 0..=failures {
            permits.push(permit(&db).await);
        }
        let last = permits.pop().expect("one more than failures");
        permits.into_iter().for_each(Permit::failure);
        last.success();
        let rejection = db.acquire().await.err();
        assert_eq!(rejection.map(|rejection| rejection.reason), Some(Reason::Open), "after {failures} failures");
    }
}

#[tokio::test]
async fn outcomes_of_two_generations_that_alternate_are_all_told() {
    let server = Server::start(&[]);
    let client = server.client();
    let db = breaker_of_three(&client, "alternate").await;
    permit(&db).await.success();
    eventually("it is told", || client.stats().reported == 1).await;
    let mut permits = Vec::new();
    for _ in 0..30 {
        permits.push(permit(&db).await);
    }
    db.reset("drill").await.expect("known");
    let mut newer = Vec::new();
    for _ in 0..30 {
        newer.push(permit(&db).await);
    }
    for (older, newer) in permits.into_iter().zip(newer) {
        older.success();
        newer.success();
    }
    eventually("all 60 are told", || client.stats().reported == 61).await;
    let stats = client.stats();
    assert_eq!((stats.dropped_reports, stats.dropped_rejections, stats.stale_reports), (0, 0, 30));
    let totals = db.state().await.expect("known").message.totals.expect("totals");
    assert_eq!(totals.successes, 31, "the old ones are counted apart");
}

#[tokio::test]
async fn the_local_breaker_knows_the_failures_from_before_the_server_was_lost() {
    let server = Server::start(&[]);
    let client = server.client();
    let db = breaker_of_three(&client, "lost").await;
    let fail = || db.execute(async { Err::<(), _>("refused") });
    for _ in 0..2 {
        assert_eq!(fail().await, Err(CallError::Failed("refused")));
    }
    drop(server);
    eventually("the server is away", || !client.stats().usable).await;
    assert_eq!(fail().await, Err(CallError::Failed("refused")));
    let rejection = db.acquire().await.err().expect("the third in a row has opened it");
    assert_eq!((rejection.reason, rejection.source), (Reason::Open, Source::Local));
}

/// A server whose sessions get frames without answers, and answers to batches only once it is told to.
#[derive(Default)]
struct Quiet {
    answers: AtomicBool,
    sessions: AtomicU64,
    frames: AtomicU64,
}

impl Quiet {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let quiet = Arc::clone(&self);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((request, answer))) = connection.accept().await {
                    tokio::spawn(Arc::clone(&quiet).answer(request, answer));
                }
            });
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: http::Request<h2::RecvStream>,
        mut answer: h2::server::SendResponse<Bytes>,
    ) {
        let response = http::Response::builder().header("content-type", "application/grpc");
        if !request.uri().path().ends_with("/Session") {
            let unimplemented = response.header("grpc-status", "12").body(()).expect("is whole");
            let _ = answer.send_response(unimplemented, true);
            return;
        }
        self.sessions.fetch_add(1, Relaxed);
        let mut out = answer.send_response(response.body(()).expect("is whole"), false).expect("is open");
        let mut send = |message: &pb::SessionResponse| out.send_data(framed(message).into(), false);
        send(&pb::SessionResponse::default()).expect("is open");
        let mut body = request.into_body();
        let mut waiting = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            waiting.extend_from_slice(&data);
            while let Some(frame) = next_frame(&mut waiting) {
                self.frames.fetch_add(1, Relaxed);
                let mut response = pb::SessionResponse::default();
                if self.answers.load(Relaxed) {
                    response.batches.extend(frame.batches.iter().map(|batch| pb::SessionBatchReported {
                        number: batch.number,
                        response: Some(pb::ReportBatchResponse::default()),
                    }));
                }
                if send(&response).is_err() {
                    return;
                }
            }
        }
    }
}

/// A message of gRPC: no compression, its length, itself.
fn framed(message: &pb::SessionResponse) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).expect("is short");
    [&[0][..], &length.to_be_bytes(), &message.encode_to_vec()].concat()
}

fn next_frame(waiting: &mut Vec<u8>) -> Option<pb::SessionRequest> {
    let length = u32::from_be_bytes(waiting.get(1..5)?.try_into().ok()?) as usize;
    let frame = pb::SessionRequest::decode(waiting.get(5..5 + length)?).expect("is a frame");
    waiting.drain(..5 + length);
    Some(frame)
}

#[tokio::test]
async fn a_frame_without_answers_means_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let options = Options {
        acquire_timeout: Duration::from_millis(20),
        max_staleness: Some(Duration::from_secs(3600)),
        ..Options::new(listener.local_addr().expect("is bound").to_string())
    };
    let quiet = Arc::new(Quiet::default());
    let serving = tokio::spawn(Arc::clone(&quiet).serve(listener));
    let client = Client::new(options).expect("valid");
    eventually("hellos are sent again", || quiet.frames.load(Relaxed) >= 3).await;
    assert!(!client.stats().usable, "frames without answers made the session usable");
    quiet.answers.store(true, Relaxed);
    eventually("an answer makes it usable", || client.stats().usable).await;
    let options = BreakerOptions { when_unavailable: Some(WhenUnavailable::Permit), ..BreakerOptions::default() };
    permit(&client.breaker("db", options).expect("a breaker")).await.success();
    assert!(!client.stats().usable, "an acquire was answered by such frames alone");
    assert_eq!(quiet.sessions.load(Relaxed), 1, "the session goes on");
    serving.abort();
}
