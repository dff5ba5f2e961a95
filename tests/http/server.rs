//! A port of our own on loopback, and a client for it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fuseboard::{
    breaker::{PolicySpec, Timestamp},
    engine::{self, Clock, Engine},
    grpc::{AdminService, BreakerService, Context, Gate, Services, bind},
    http::{Limits, Port},
    notify::Notifier,
    pulse::Pulse,
    shutdown::Shutdown,
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

/// Every wait of these tests ends by then.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    /// The server's drain, and the end of the port after it.
    pub(crate) shutdown: Shutdown,
    pub(crate) stop: Shutdown,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The reason of an error.
    pub(crate) fn reason(&self) -> String {
        self.json()["error"]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Limits::default(), "")
    }

    pub(crate) fn with(limits: Limits, store_damage: &str) -> Self {
        let clock = Clock::manual(Timestamp::from_nanos(1_577_836_800_000_000_000));
        let engine = Engine::new(clock, engine::Limits::default(), PolicySpec::default()).unwrap();
        Self::of(engine, limits, store_damage)
    }

    pub(crate) fn of(engine: Engine, limits: Limits, store_damage: &str) -> Self {
        Self::beating(engine, Pulse::default(), limits, store_damage)
    }

    /// With serving threads that beat as they like.
    pub(crate) fn beating(engine: Engine, pulse: Pulse, limits: Limits, store_damage: &str) -> Self {
        let (shutdown, stop) = (Shutdown::new(), Shutdown::new());
        let context = Arc::new(Context {
            engine: engine.clone(),
            shutdown: shutdown.clone(),
            stream_max_age: Duration::from_secs(3600),
            session_handles: 10,
            gate: Gate::default(),
            notifier: Notifier::default(),
            pulse,
            store_damage: store_damage.to_owned(),
        });
        let socket = bind(([127, 0, 0, 1], 0).into(), 1).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let breakers = BreakerService::new(Arc::clone(&context));
        let admin = AdminService::new(Arc::clone(&context), Vec::new());
        let dispatch = Services::new(fuseboard::grpc::Limits::default()).dispatch(shutdown.clone());
        let port = Port::new(breakers, admin, context, dispatch, limits, address, None);
        let told = stop.clone();
        let serving = tokio::spawn(async move { port.serve(socket, &told).await });
        Self { address, engine, shutdown, stop, serving }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    /// Sends JSON, as curl does with its header.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &str) -> Answer {
        self.call(method, path, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let call = async {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let mut request = Request::builder().method(method).uri(path);
            if !headers.iter().any(|(name, _)| *name == "host") {
                request = request.header(header::HOST, self.address.to_string());
            }
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
            let answer = requests.send_request(request).await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            Answer { status, headers, body: answer.into_body().collect().await.unwrap().to_bytes() }
        };
        timeout(PATIENCE, call).await.expect("an answer")
    }

    /// A permitted call that fails.
    pub(crate) async fn fail(&self, key: &str) {
        let path = format!("/api/v1/breakers/{key}");
        let acquired = self.send(Method::POST, &format!("{path}/acquire"), "{}").await.json();
        let report = format!(r#"{{"permit":{},"outcome":"OUTCOME_FAILURE"}}"#, acquired["permit"]);
        let reported = self.send(Method::POST, &format!("{path}/report"), &report).await;
        assert_eq!(reported.status, 200, "{}", reported.text());
    }

    /// Opens a breaker by five failures.
    pub(crate) async fn trip(&self, key: &str) {
        for _ in 0..5 {
            self.fail(key).await;
        }
    }

    /// A connection on which bytes are sent as they are.
    pub(crate) async fn raw(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }
}

/// What comes on a connection until it has `part` in it, or ends.
pub(crate) async fn read_until(stream: &mut TcpStream, part: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&read).contains(part) {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => read.extend_from_slice(&buffer[..bytes]),
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {part:?} came"));
    String::from_utf8_lossy(&read).into_owned()
}

/// Everything until the other side closes.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    read_until(stream, "\u{0}never sent\u{0}").await
}
