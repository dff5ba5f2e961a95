//! `WatchEvents` as a stream, without a network: what it says while nothing happens, and how it ends. Time is paused and
//! goes on by itself when all wait.

#![expect(clippy::disallowed_methods, reason = "a stream's age and silence pass in real time, which is paused here")]

use std::{sync::Arc, time::Duration};

use fuseboard::{
    engine::{Engine, Limits},
    grpc::{BreakerService, Context, EventStream, Gate},
    notify::Notifier,
    pb::{self, breaker_service_server::BreakerService as _, watch_events_response::Message as Sent},
    shutdown::Shutdown,
};
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Bytes;
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status, Streaming};

use super::{engine, fail, reset};

const SECOND: Duration = Duration::from_secs(1);

struct Service {
    engine: Engine,
    shutdown: Shutdown,
    context: Arc<Context>,
}

impl Service {
    fn new(limits: Limits) -> Self {
        let (engine, shutdown) = (engine(limits), Shutdown::new());
        let context = Context {
            engine: engine.clone(),
            shutdown: shutdown.clone(),
            stream_max_age: Duration::from_secs(1_800),
            session_handles: 10,
            gate: Gate::default(),
            notifier: Notifier::default(),
            pulse: fuseboard::pulse::Pulse::default(),
            store_damage: String::new(),
        };
        Self { engine, shutdown, context: Arc::new(context) }
    }

    async fn watch(&self, request: pb::WatchEventsRequest) -> Result<EventStream, Status> {
        let service = BreakerService::new(Arc::clone(&self.context));
        service.watch_events(Request::new(request)).await.map(tonic::Response::into_inner)
    }

    async fn begin(&self) -> EventStream {
        let mut stream =
            self.watch(pb::WatchEventsRequest { skip_snapshot: true, ..Default::default() }).await.unwrap();
        assert!(matches!(next(&mut stream).await, (Sent::Progress(_), _)));
        stream
    }
}

/// The next message and its token.
async fn next(stream: &mut EventStream) -> (Sent, String) {
    let response = stream.next().await.expect("the stream goes on").unwrap();
    (response.message.expect("a message"), response.resume_token)
}

fn progress_every(seconds: i64) -> pb::WatchEventsRequest {
    let progress_interval = Some(prost_types::Duration { seconds, nanos: 0 });
    pb::WatchEventsRequest { progress_interval, skip_snapshot: true, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_that_it_is_there_every_15_seconds_or_as_often_as_asked() {
    let service = Service::new(Limits::default());
    for (request, interval) in [(progress_every(0), 15), (progress_every(1), 1), (progress_every(60), 60)] {
        let mut stream = service.watch(request).await.unwrap();
        next(&mut stream).await;
        for _ in 0..3 {
            let before = Instant::now();
            assert!(matches!(next(&mut stream).await, (Sent::Progress(pb::Progress { now: Some(_) }), _)));
            let passed = before.elapsed();
            assert!(passed >= SECOND * interval && passed < SECOND * (interval + 1), "{passed:?}");
        }
    }
    for bad in [-1, 61] {
        assert_eq!(
            service.watch(progress_every(bad)).await.err().map(|status| status.code()),
            Some(Code::InvalidArgument)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn only_silence_is_broken_by_progress() {
    let service = Service::new(Limits::default());
    let mut stream = service.watch(progress_every(2)).await.unwrap();
    next(&mut stream).await;
    for _ in 0..5 {
        sleep(SECOND).await;
        reset(&service.engine, "a");
        assert!(matches!(next(&mut stream).await, (Sent::Event(_), _)));
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_has_a_token_that_goes_on_after_it_also_past_events_of_others() {
    let service = Service::new(Limits { events: 20, ..Limits::default() });
    let filter = Some(pb::WatchFilter { breakers: vec!["mine".to_owned()], ..Default::default() });
    let request = pb::WatchEventsRequest { filter, ..progress_every(1) };
    let mut stream = service.watch(request.clone()).await.unwrap();
    next(&mut stream).await;
    for _ in 0..10 {
        reset(&service.engine, "other");
    }
    let (message, token) = next(&mut stream).await;
    assert!(matches!(message, Sent::Progress(_)));
    reset(&service.engine, "mine");
    for _ in 0..15 {
        reset(&service.engine, "other");
    }
    // With the token of before the log would have been left behind.
    let mut stream = service.watch(pb::WatchEventsRequest { resume_token: token, ..request }).await.unwrap();
    let (message, _) = next(&mut stream).await;
    assert!(matches!(message, Sent::Event(event) if event.sequence == 11 && event.breaker == "mine"));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_stream_politely_and_its_token_goes_on_elsewhere() {
    let service = Service::new(Limits::default());
    let mut stream = service.begin().await;
    service.shutdown.drain();
    let (message, token) = next(&mut stream).await;
    let Sent::Goodbye(goodbye) = message else { panic!("{message:?}") };
    assert_eq!(goodbye.reason(), pb::GoodbyeReason::Draining);
    assert!(goodbye.retry_after.is_some());
    assert!(stream.next().await.is_none());
    drop(stream);
    assert_eq!(service.engine.usage().watchers, 0);

    reset(&service.engine, "a");
    let elsewhere = Context { shutdown: Shutdown::new(), ..(*service.context).clone() };
    let elsewhere = Service { context: Arc::new(elsewhere), ..service };
    let mut stream =
        elsewhere.watch(pb::WatchEventsRequest { resume_token: token, ..Default::default() }).await.unwrap();
    assert!(matches!(next(&mut stream).await, (Sent::Event(event), _) if event.sequence == 1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_reaches_also_a_reader_for_whom_there_is_always_something_and_loses_it_nothing() {
    let service = Service::new(Limits::default());
    let mut stream = service.begin().await;
    for _ in 0..100 {
        reset(&service.engine, "a");
    }
    let (_, first) = next(&mut stream).await;
    service.shutdown.drain();
    let (message, token) = next(&mut stream).await;
    assert!(matches!(message, Sent::Goodbye(_)), "{message:?}");
    assert_eq!(token, first, "what was not sent comes after it");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_politely_at_its_age_each_at_another_moment() {
    let service = Service::new(Limits::default());
    let mut ages = Vec::new();
    for _ in 0..5 {
        let mut stream = service.watch(progress_every(60)).await.unwrap();
        let before = Instant::now();
        let goodbye = loop {
            if let (Sent::Goodbye(goodbye), token) = next(&mut stream).await {
                assert!(!token.is_empty());
                break goodbye;
            }
        };
        ages.push(before.elapsed());
        assert_eq!(goodbye.reason(), pb::GoodbyeReason::MaxAge);
        let retry_after = goodbye.retry_after.unwrap();
        assert!((retry_after.seconds, retry_after.nanos) >= (0, 10_000_000));
        assert!(stream.next().await.is_none());
    }
    let range = Duration::from_secs(1_620)..=Duration::from_secs(1_801);
    assert!(ages.iter().all(|age| range.contains(age)), "{ages:?}");
    ages.sort();
    ages.dedup();
    assert!(ages.len() > 1, "{ages:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_while_the_stream_waits_is_sent_at_once() {
    let service = Service::new(Limits::default());
    let mut stream = service.begin().await;
    let engine = service.engine.clone();
    let failing = tokio::spawn(async move {
        sleep(SECOND).await;
        fail(&engine, "a");
    });
    let before = Instant::now();
    let (message, _) = next(&mut stream).await;
    assert!(matches!(message, Sent::Event(event) if event.kind() == pb::EventKind::Opened));
    assert!(before.elapsed() < SECOND * 2);
    failing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bad_filter_or_token_is_refused_and_takes_no_place() {
    let service = Service::new(Limits::default());
    let filter = |filter| pb::WatchEventsRequest { filter: Some(filter), ..Default::default() };
    let token = |token: &str| pb::WatchEventsRequest { resume_token: token.to_owned(), ..Default::default() };
    let bad = [
        token("hello"),
        token(&"A".repeat(300)),
        filter(pb::WatchFilter { breakers: vec![String::new()], ..Default::default() }),
        filter(pb::WatchFilter { prefixes: vec!["not a key".to_owned()], ..Default::default() }),
        filter(pb::WatchFilter { kinds: vec![99], ..Default::default() }),
        filter(pb::WatchFilter { kinds: vec![0], ..Default::default() }),
        pb::WatchEventsRequest { delivery: 7, ..Default::default() },
        pb::WatchEventsRequest { caller: "not a caller".to_owned(), ..Default::default() },
    ];
    for request in bad {
        let status = service.watch(request.clone()).await.err().expect("it is refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{request:?}");
    }
    assert_eq!(service.engine.usage().watchers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_gets_an_empty_frame_before_a_proxy_cuts_it() {
    let service = Service::new(Limits::default());
    let session = BreakerService::new(Arc::clone(&service.context));
    // A client that has opened the stream and sends nothing.
    let silence = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>());
    let frames = Streaming::new_request(tonic_prost::ProstDecoder::default(), silence, None, None);
    let mut answers = session.session(Request::new(frames)).await.unwrap().into_inner();
    let began = Instant::now();
    for _ in 0..10 {
        let before = Instant::now();
        assert_eq!(answers.next().await.unwrap().unwrap(), pb::SessionResponse::default());
        assert!(before.elapsed() <= 15 * SECOND, "{:?}", before.elapsed());
    }
    assert!(began.elapsed() >= 70 * SECOND, "too often: {:?}", began.elapsed());
}
