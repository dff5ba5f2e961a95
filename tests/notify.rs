//! Webhooks: the built server and a receiver that takes what it is sent, or does not.

mod support {
    pub(crate) mod process;
}

use std::{
    collections::VecDeque,
    convert::Infallible,
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use fuseboard::pb::{
    AcquireRequest, DeclareRequest, ListWebhooksRequest, OverrideMode, ResetRequest, SetOverrideRequest,
    admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient,
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ring::hmac;
use serde_json::Value;
use support::process::Server;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret that is long enough";

/// What was received.
struct Received {
    headers: HeaderMap,
    body: String,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }
}

/// Who is sent events. It answers with these statuses first, and then takes everything.
struct Receiver {
    address: SocketAddr,
    received: UnboundedReceiver<Received>,
}

impl Receiver {
    fn start(statuses: &[u16]) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), statuses)
    }

    fn start_at(socket: TcpListener, statuses: &[u16]) -> Self {
        let address = socket.local_addr().unwrap();
        socket.set_nonblocking(true).unwrap();
        let statuses = Arc::new(Mutex::new(statuses.iter().copied().collect::<VecDeque<_>>()));
        #[expect(clippy::disallowed_methods, reason = "a test sends a few")]
        let (sender, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            while let Ok((stream, _)) = socket.accept().await {
                let (sender, statuses) = (sender.clone(), Arc::clone(&statuses));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (sender, statuses) = (sender.clone(), Arc::clone(&statuses));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let body = String::from_utf8(body.to_vec()).unwrap();
                        let _ = sender.send(Received { headers: parts.headers, body });
                        let status = statuses.lock().unwrap().pop_front().unwrap_or(204);
                        Ok::<_, Infallible>(Response::builder().status(status).body(Full::<Bytes>::default()).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, received }
    }

    async fn next(&mut self) -> Received {
        timeout(PATIENCE, self.received.recv()).await.expect("something is sent").unwrap()
    }
}

/// A file of this test alone.
fn file(text: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("notify-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A configuration with one webhook, of these further lines.
fn config(address: SocketAddr, lines: &str) -> String {
    file(&format!("[[webhook]]\nname = 'oncall'\nurl = 'http://{address}/hook?key=secret'\n{lines}\n"))
}

async fn hold(server: &Server, breaker: &str, mode: OverrideMode) {
    let mut admin = AdminServiceClient::connect(server.url()).await.unwrap();
    let request = SetOverrideRequest {
        breaker: breaker.to_owned(),
        mode: mode as i32,
        actor: "ana".to_owned(),
        reason: "a drill".to_owned(),
        ..SetOverrideRequest::default()
    };
    admin.set_override(request).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_fails_three_times_gets_every_event_in_order_signed_under_one_id() {
    let mut receiver = Receiver::start(&[500, 503, 429]);
    let secret = file(SECRET);
    let server = Server::start(&["--config", &config(receiver.address, &format!("secret_file = '{secret}'"))]);
    hold(&server, "payments/charge", OverrideMode::Shadow).await;
    hold(&server, "payments/charge", OverrideMode::ForcedOpen).await;
    let mut attempts = Vec::new();
    for _ in 0..4 {
        attempts.push(receiver.next().await);
    }
    let first = &attempts[0];
    for attempt in &attempts {
        assert_eq!((attempt.id(), &attempt.body), (first.id(), &first.body), "every attempt is of the same event");
        assert_eq!(attempt.headers["content-type"], "application/cloudevents+json");
        let signed =
            format!("{}.{}.{}", attempt.id(), attempt.headers["webhook-timestamp"].to_str().unwrap(), attempt.body);
        let (version, tag) = attempt.headers["webhook-signature"].to_str().unwrap().split_once(',').unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        assert_eq!(version, "v1");
        hmac::verify(&key, signed.as_bytes(), &BASE64_STANDARD.decode(tag).unwrap()).unwrap();
    }
    let event = first.json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "fuseboard.override_set");
    assert_eq!(event["subject"], "payments/charge");
    assert_eq!(event["time"], "2020-01-01T00:00:00Z");
    assert_eq!(event["id"], first.id());
    assert_eq!(event["data"]["status"]["overrideMode"], "OVERRIDE_MODE_SHADOW");
    assert_eq!(event["data"]["comment"], "a drill");
    let second = receiver.next().await;
    assert_eq!(second.json()["data"]["status"]["overrideMode"], "OVERRIDE_MODE_FORCED_OPEN");
    assert_ne!(second.id(), first.id());
}

#[tokio::test]
async fn only_what_is_wanted_is_sent() {
    let mut receiver = Receiver::start(&[]);
    let lines = "patterns = ['payments/*', 'db']\nkinds = ['reset']";
    let server = Server::start(&["--config", &config(receiver.address, lines)]);
    let mut breakers = BreakerServiceClient::connect(server.url()).await.unwrap();
    for breaker in ["cache", "payments/charge", "db"] {
        hold(&server, breaker, OverrideMode::Shadow).await;
        breakers.reset(ResetRequest { breaker: breaker.to_owned(), ..Default::default() }).await.unwrap();
    }
    for breaker in ["payments/charge", "db"] {
        let event = receiver.next().await.json();
        assert_eq!((&event["subject"], &event["type"]), (&breaker.into(), &"fuseboard.reset".into()));
    }
}

#[tokio::test]
async fn a_new_webhook_is_sent_what_happens_right_after_it_was_started() {
    use fuseboard::{
        breaker::{PolicySpec, Timestamp},
        engine::{Actor, Clock, Engine, Limits},
        notify::{Notifier, Shape, Webhook},
        shutdown::Shutdown,
    };
    let mut receiver = Receiver::start(&[]);
    let webhook = Webhook {
        name: "oncall".to_owned(),
        url: format!("http://{}/", receiver.address),
        shape: Shape::CloudEvents,
        patterns: Vec::new(),
        kinds: Vec::new(),
        secret_file: None,
        retry_for: Duration::from_secs(60),
    };
    // Its thread may come first by chance, but not every time.
    for _ in 0..20 {
        let clock = Clock::manual(Timestamp::from_nanos(1));
        let engine = Engine::new(clock, Limits::default(), PolicySpec::default()).unwrap();
        engine.handle("db").unwrap();
        let shutdown = Shutdown::new();
        let _notifier = Notifier::start(std::slice::from_ref(&webhook), &engine, &shutdown).unwrap();
        engine.reset("db", Actor { name: "ana", comment: "at once" }).await.unwrap();
        assert_eq!(receiver.next().await.json()["subject"], "db");
        shutdown.drain();
    }
}

#[tokio::test]
async fn slack_gets_a_line_in_which_nobody_is_called() {
    let mut receiver = Receiver::start(&[]);
    let server = Server::start(&["--config", &config(receiver.address, "format = 'slack'")]);
    let mut admin = AdminServiceClient::connect(server.url()).await.unwrap();
    let request = SetOverrideRequest {
        breaker: "db".to_owned(),
        mode: OverrideMode::ForcedOpen as i32,
        actor: "<!channel>".to_owned(),
        reason: "a & b".to_owned(),
        ..SetOverrideRequest::default()
    };
    admin.set_override(request).await.unwrap();
    let line = receiver.next().await.json();
    assert_eq!(line["text"], ":information_source: *db* override set, by &lt;!channel&gt;: a &amp; b");
}

#[tokio::test]
async fn what_happens_while_the_receiver_or_the_server_is_down_is_sent_afterwards() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("notify-home-{}", std::process::id()));
    let flags = [format!("--data-dir={}", home.display()), format!("--config={}", config(address, ""))];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_lasting(&flags);
    let mut receiver = Receiver::start_at(socket, &[]);
    hold(&server, "db", OverrideMode::Shadow).await;
    let first = receiver.next().await;
    // Its place is stored within a second or so; until then it would be sent again, which nothing here forbids.
    let mut admin = AdminServiceClient::connect(server.url()).await.unwrap();
    while webhook(&mut admin).await.delivered == 0 {
        tokio::task::yield_now().await;
    }
    // Nobody listens any more.
    drop(receiver);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = socket.local_addr().unwrap();
    drop((socket, server));
    let flags = [format!("--data-dir={}", home.display()), format!("--config={}", config(nobody, ""))];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_lasting(&flags);
    hold(&server, "db", OverrideMode::ForcedOpen).await;
    let mut admin = AdminServiceClient::connect(server.url()).await.unwrap();
    while webhook(&mut admin).await.failed == 0 {
        tokio::task::yield_now().await;
    }
    // Killed with the event on its way.
    drop(server);
    let mut receiver = Receiver::start_at(TcpListener::bind(nobody).unwrap(), &[]);
    let _server = Server::start_lasting(&flags);
    loop {
        let event = receiver.next().await;
        if event.id() != first.id() {
            assert_eq!(event.json()["data"]["status"]["overrideMode"], "OVERRIDE_MODE_FORCED_OPEN");
            return;
        }
    }
}

async fn webhook(admin: &mut AdminServiceClient<tonic::transport::Channel>) -> fuseboard::pb::WebhookStatus {
    admin.list_webhooks(ListWebhooksRequest {}).await.unwrap().into_inner().webhooks.remove(0)
}

#[tokio::test]
async fn what_is_not_taken_in_time_is_dead_and_seen_and_the_next_goes_on() {
    let mut receiver = Receiver::start(&[500]);
    let server = Server::start(&["--config", &config(receiver.address, "retry_for = '0s'")]);
    hold(&server, "db", OverrideMode::Shadow).await;
    hold(&server, "db", OverrideMode::ForcedOpen).await;
    receiver.next().await;
    assert_eq!(receiver.next().await.json()["data"]["status"]["overrideMode"], "OVERRIDE_MODE_FORCED_OPEN");
    let mut admin = AdminServiceClient::connect(server.url()).await.unwrap();
    let mut status = webhook(&mut admin).await;
    while status.delivered == 0 {
        status = webhook(&mut admin).await;
    }
    assert_eq!((status.failed, status.dead, status.problem.as_str()), (1, 1, ""));
    assert_eq!(status.receiver, format!("http://{}", receiver.address), "the rest of the URL is a secret");
    let dead = &status.dead_letters[0];
    assert_eq!((dead.breaker.as_str(), dead.kind.as_str()), ("db", "override_set"));
    assert_eq!(dead.problem, "it answered 500 Internal Server Error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_tells_what_the_receiver_makes_of_it() {
    let mut receiver = Receiver::start(&[204, 404]);
    let server = Server::start(&["--config", &config(receiver.address, "")]);
    let verb = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard"));
        let output = command.args(arguments).env("FUSEBOARD_ADDRESS", server.address().to_string()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code().unwrap())
    };
    let taken = tokio::task::block_in_place(|| verb(&["webhook", "test", "oncall"]));
    assert_eq!(taken, ("oncall has taken it\n".to_owned(), String::new(), 0));
    assert_eq!(receiver.next().await.json()["type"], "fuseboard.test");
    let refused = tokio::task::block_in_place(|| verb(&["webhook", "test", "oncall"]));
    assert_eq!(refused, (String::new(), "error: oncall has not taken it: it answered 404 Not Found\n".to_owned(), 1));
    let unknown = tokio::task::block_in_place(|| verb(&["webhook", "test", "nobody"]));
    assert_eq!(unknown.2, 5);
    let listed = tokio::task::block_in_place(|| verb(&["webhook", "list"]));
    assert!(listed.0.contains(&format!("oncall   http://{}", receiver.address)), "{}", listed.0);
}

#[tokio::test]
async fn a_receiver_that_is_down_holds_up_no_call() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    // It accepts nothing and answers nothing.
    let server = Server::start(&["--config", &config(socket.local_addr().unwrap(), "")]);
    for _ in 0..20 {
        hold(&server, "db", OverrideMode::Shadow).await;
    }
    let mut breakers = BreakerServiceClient::connect(server.url()).await.unwrap();
    breakers.acquire(AcquireRequest { breaker: "db".to_owned(), ..Default::default() }).await.unwrap();
    assert!(breakers.declare(DeclareRequest::default()).await.is_err(), "and errors are errors");
}

#[test]
fn a_webhook_that_cannot_be_is_refused_at_the_start() {
    let address = ([127, 0, 0, 1], 1).into();
    for (lines, told) in [
        ("format = 'xml'", "format must be \"cloudevents\" or \"slack\""),
        ("kinds = ['ajar']", "kinds: \"ajar\" is none of opened, half_opened"),
        ("patterns = ['a b']", "patterns: \"a b\" must be made of"),
        ("retry_for = '8days'", "retry_for must be 0 to 7 days"),
        ("colour = 'red'", "colour is not a field of [[webhook]]"),
        ("[[webhook]]\nname = 'oncall'\nurl = 'http://a'", "\"oncall\" is there twice"),
        ("[[webhook]]\nname = 'b'\nurl = 'ftp://a'", "b: url must begin with http:// or https:// and name a host"),
    ] {
        let told_by_it = Server::refused(&["--config", &config(address, lines)]);
        assert!(told_by_it.contains(told), "{told_by_it}");
    }
    let short = file("short");
    let told = Server::refused(&["--config", &config(address, &format!("secret_file = '{short}'"))]);
    assert!(told.contains("of webhook \"oncall\": must hold 24 bytes or more"), "{told}");
}
