//! `WatchEvents` over the network, with the server's own listener: readers that hang up, and readers that do not read.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use fuseboard::{
    engine::{Actor, Engine, Event, Limits},
    grpc::{self, BreakerService, Context, Gate, Services, bind, serve},
    notify::Notifier,
    pb::{self, breaker_service_client::BreakerServiceClient, watch_events_response::Message as Sent},
    shutdown::Shutdown,
};
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{Dice, PATIENCE, disturb, engine, long_log, reset};
use crate::soon::Soon as _;

struct Server {
    engine: Engine,
    address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    fn start(limits: Limits) -> Self {
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
        let services = Services::new(grpc::Limits { drain_grace: Duration::from_secs(5), ..grpc::Limits::default() });
        let dispatch = services.breaker_service(BreakerService::new(Arc::new(context))).dispatch(shutdown.clone());
        let socket = bind(([127, 0, 0, 1], 0).into(), 1).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        Self { engine, address, shutdown, serving: tokio::spawn(serve(socket, dispatch, None)) }
    }

    /// A watcher on a connection of its own.
    async fn watch(&self, request: pb::WatchEventsRequest) -> Result<Watcher, Status> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        let stream = BreakerServiceClient::new(channel).watch_events(request).await?.into_inner();
        Ok(Watcher { stream, token: String::new(), board: BTreeMap::new() })
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("takes too long")
}

/// A client as the protocol describes it.
struct Watcher {
    stream: Streaming<pb::WatchEventsResponse>,
    token: String,
    board: BTreeMap<String, pb::BreakerStatus>,
}

impl Watcher {
    /// The next message, taken into the board. `None` at the end of the stream.
    async fn next(&mut self) -> Option<Sent> {
        let response = within(self.stream.message()).await.unwrap()?;
        self.token = response.resume_token;
        let message = response.message.expect("a message");
        match &message {
            Sent::Snapshot(snapshot) => {
                for status in &snapshot.breakers {
                    self.tell(status);
                }
                for key in &snapshot.deleted {
                    self.board.remove(key);
                }
            }
            Sent::Event(event) => {
                self.tell(event.status.as_ref().expect("the breaker after it"));
                if event.kind() == pb::EventKind::Deleted {
                    self.board.remove(&event.breaker);
                }
            }
            Sent::Resync(_) => self.board.clear(),
            Sent::Progress(_) | Sent::Goodbye(_) => {}
        }
        Some(message)
    }

    async fn next_event(&mut self) -> pb::Event {
        match self.next().await {
            Some(Sent::Event(event)) => event,
            other => panic!("{other:?} in place of an event"),
        }
    }

    /// Without what changes without an event, and what events do not carry.
    fn tell(&mut self, status: &pb::BreakerStatus) {
        let lasting = pb::BreakerStatus { failures: 0, state_remaining: None, callers_isolated: 0, ..status.clone() };
        self.board.insert(status.breaker.clone(), lasting);
    }

    /// Reads until an event of this sequence, or a snapshot that holds it.
    async fn read_to(&mut self, engine: &Engine, sequence: u64) {
        let position = |token: &str| grpc::token::ResumeToken::decode(token).unwrap();
        while self.token.is_empty() || position(&self.token).snapshotting || position(&self.token).sequence < sequence {
            self.next().await.expect("the stream goes on");
        }
        assert_eq!(position(&self.token).history, engine.history());
    }
}

fn resume(token: &str) -> pb::WatchEventsRequest {
    pb::WatchEventsRequest { resume_token: token.to_owned(), ..Default::default() }
}

fn from_now() -> pb::WatchEventsRequest {
    pb::WatchEventsRequest { skip_snapshot: true, ..Default::default() }
}

/// What the service itself says of every breaker that had an event, by GetState.
async fn board_of(server: &Server) -> BTreeMap<String, pb::BreakerStatus> {
    let mut client = BreakerServiceClient::connect(format!("http://{}", server.address)).await.unwrap();
    let mut board = BTreeMap::new();
    for entry in server.engine.list("", usize::MAX - 1, |entry| entry.sequence > 0) {
        let breaker = entry.key.to_string();
        let state = client.get_state(pb::GetStateRequest { breaker: breaker.clone() }).await.unwrap().into_inner();
        let status = state.status.unwrap();
        let status = pb::BreakerStatus { failures: 0, state_remaining: None, callers_isolated: 0, ..status };
        board.insert(breaker, status);
    }
    board
}

#[tokio::test]
async fn a_watcher_that_hangs_up_and_comes_back_misses_nothing_and_sees_nothing_twice() {
    for seed in 0..3 {
        println!("seed {seed}");
        let server = Server::start(long_log());
        let mut dice = Dice(seed);
        let mut watcher = server.watch(pb::WatchEventsRequest::default()).await.unwrap();
        assert!(matches!(watcher.next().await, Some(Sent::Snapshot(snapshot)) if snapshot.complete));
        let mut seen = 0;
        for _ in 0..60 {
            for _ in 0..dice.below(20) {
                disturb(&server.engine, &format!("b{}", dice.below(9)), &mut dice);
            }
            let unread = (server.engine.usage().newest_sequence - seen) as usize;
            for _ in 0..dice.below(unread + 1) {
                seen += 1;
                assert_eq!(watcher.next_event().await.sequence, seen);
            }
            if dice.below(4) == 0 {
                let (token, board) = (watcher.token, watcher.board);
                drop(watcher.stream);
                let comes_back = server.watch(resume(&token)).await.unwrap();
                watcher = Watcher { board, ..comes_back };
                // There may be nothing new, which is told; then there was nothing to miss.
                if seen == server.engine.usage().newest_sequence {
                    assert!(matches!(watcher.next().await, Some(Sent::Progress(_))));
                } else {
                    watcher.token = token;
                }
            }
        }
        watcher.read_to(&server.engine, server.engine.usage().newest_sequence).await;
        let mut board = watcher.board;
        board.retain(|_, status| status.sequence > 0);
        assert_eq!(board, board_of(&server).await);
    }
}

#[tokio::test]
async fn tokens_of_the_past_of_the_future_and_of_another_server_are_answered_in_the_stream() {
    let server = Server::start(Limits { events: 10, ..Limits::default() });
    for _ in 0..30 {
        reset(&server.engine, "a");
    }
    let history = server.engine.history();
    let cases = [
        (history, 3, pb::ResyncReason::TokenTooOld, 27),
        (history, 99, pb::ResyncReason::TokenFromFuture, 0),
        (history + 1, 25, pb::ResyncReason::OtherHistory, 0),
    ];
    for (history, sequence, reason, lost_events) in cases {
        let token = grpc::token::ResumeToken { history, sequence, snapshotting: false }.encode();
        let mut watcher = server.watch(resume(&token)).await.unwrap();
        assert_eq!(watcher.next().await, Some(Sent::Resync(pb::Resync { reason: reason.into(), lost_events })));
        watcher.read_to(&server.engine, 30).await;
        assert_eq!(watcher.board, board_of(&server).await);
    }
}

#[tokio::test]
async fn a_large_snapshot_arrives_in_messages_within_their_bound() {
    let server = Server::start(Limits::default());
    // The longest keys there are.
    for number in 0..4_500 {
        reset(&server.engine, &format!("{number:0200}"));
    }
    let mut watcher = server.watch(pb::WatchEventsRequest::default()).await.unwrap();
    loop {
        let Some(Sent::Snapshot(snapshot)) = watcher.next().await else { panic!("not a snapshot") };
        assert!(prost::Message::encoded_len(&snapshot) <= 64 << 10);
        if snapshot.complete {
            break;
        }
    }
    assert_eq!(watcher.board.len(), 4_500);
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_the_server_a_bounded_memory_and_nobody_else_a_message() {
    const LOG: usize = 200;
    const EVENTS: u64 = 20_000;
    /// What a watcher may have taken from the log and not sent.
    const TAKEN: usize = 512;
    let server = Server::start(Limits { events: LOG, ..Limits::default() });
    let engine = &server.engine;
    let mut slow = server.watch(from_now()).await.unwrap();
    let mut fast = server.watch(from_now()).await.unwrap();
    for watcher in [&mut slow, &mut fast] {
        assert!(matches!(watcher.next().await, Some(Sent::Progress(_))));
    }
    let comment = "x".repeat(1_000);
    engine.handle("a").unwrap();
    let mut told: Vec<Weak<Event>> = Vec::new();
    for sequence in 1..=EVENTS {
        engine.reset("a", Actor { name: "ada", comment: &comment }).soon().unwrap();
        told.extend(engine.events(sequence - 1, false, 1).iter().map(Arc::downgrade));
        // The one who reads has every event, however far behind the other one is.
        if sequence % 50 == 0 {
            for expected in sequence - 49..=sequence {
                assert_eq!(fast.next_event().await.sequence, expected);
            }
        }
    }
    let alive = told.iter().filter(|event| event.strong_count() > 0).count();
    assert!(alive <= LOG + 2 * TAKEN, "{alive} events");

    let mut received = 0;
    let lost = loop {
        match slow.next().await {
            Some(Sent::Event(event)) => {
                received += 1;
                assert_eq!(event.sequence, received, "what arrives arrives in order");
            }
            Some(Sent::Resync(resync)) if resync.reason() == pb::ResyncReason::SlowReader => break resync.lost_events,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(received + lost, EVENTS, "what does not is told");
    assert!(received < EVENTS / 4, "{received} events were kept for it");
    slow.read_to(engine, EVENTS).await;
    assert_eq!(slow.board, board_of(&server).await);
    reset(engine, "a");
    assert_eq!(slow.next_event().await.sequence, EVENTS + 1);
}

#[tokio::test]
async fn one_watcher_too_many_is_refused_and_one_that_hangs_up_makes_room() {
    let server = Server::start(Limits { watchers: 2, ..Limits::default() });
    let watch = async || server.watch(pb::WatchEventsRequest::default()).await;
    let (one, _other) = (watch().await.unwrap(), watch().await.unwrap());
    let refused = watch().await.err().expect("a third is refused");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(tonic_types::StatusExt::get_details_error_info(&refused).unwrap().reason, "WATCHER_LIMIT");
    drop(one);
    within(async {
        while server.engine.usage().watchers == 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    watch().await.unwrap();
}

#[tokio::test]
async fn a_drain_says_goodbye_to_every_watcher_ends_their_streams_well_and_the_server_stops() {
    let server = Server::start(Limits::default());
    let mut watchers = Vec::new();
    for _ in 0..5 {
        watchers.push(server.watch(pb::WatchEventsRequest::default()).await.unwrap());
    }
    for watcher in &mut watchers {
        watcher.next().await;
    }
    reset(&server.engine, "a");
    server.shutdown.drain();
    for mut watcher in watchers {
        let mut last = None;
        while let Some(message) = watcher.next().await {
            last = Some(message);
        }
        assert!(matches!(last, Some(Sent::Goodbye(goodbye)) if goodbye.reason() == pb::GoodbyeReason::Draining));
    }
    within(server.serving).await.unwrap().unwrap();
    assert_eq!(server.engine.usage().watchers, 0);
}
