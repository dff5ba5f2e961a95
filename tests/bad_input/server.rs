//! The built server, and calls to it whose every byte the test chooses.

use std::{
    fmt::Debug,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// No answer takes as long as this.
const PATIENCE: Duration = Duration::from_secs(20);

/// `fuseboard serve`, with its time standing still. Ends with the test, which fails where anything has panicked.
pub struct Server {
    process: Child,
    address: SocketAddr,
    /// Reads what it logs, and keeps what is about panics.
    log: Option<JoinHandle<Vec<String>>>,
}

impl Server {
    pub fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fuseboard"))
            .args(["serve", "--manual-clock", "--address", "127.0.0.1:0", "--http-address", "off"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built server");
        let lines = BufReader::new(process.stderr.take().expect("is piped")).lines().map_while(Result::ok);
        let (sender, addresses) = mpsc::sync_channel(1);
        let log = thread::spawn(move || {
            let panics = lines.filter(|line| {
                // It says which port it was given.
                address_in(line).map(|address| sender.try_send(address));
                line.contains("panic")
            });
            panics.collect()
        });
        let address = addresses.recv_timeout(PATIENCE).expect("the server says where it listens");
        Self { process, address, log: Some(log) }
    }

    pub async fn connect(&self) -> Connection {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Connection { requests }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.process.try_wait();
        let _ = self.process.kill();
        let _ = self.process.wait();
        let panics = self.log.take().and_then(|log| log.join().ok());
        if !thread::panicking() {
            assert!(matches!(ended, Ok(None)), "the server ended by itself: {ended:?}");
            assert_eq!(panics, Some(Vec::new()), "the server panicked");
        }
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, port) = line.split_once("127.0.0.1:")?;
    let port = port.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A connection of HTTP/2.
pub struct Connection {
    requests: SendRequest<Bytes>,
}

impl Connection {
    /// What a method answers to one message, and then the end of the stream.
    pub async fn call(&self, method: &str, message: &[u8]) -> Answer {
        self.send(request(method), framed(message)).await
    }

    /// What is answered to these headers and this body. Of a stream that goes on, the first message.
    pub async fn send(&self, request: Request<()>, body: Bytes) -> Answer {
        let asked = format!("{} {body:?}", request.uri());
        let answer = tokio::time::timeout(PATIENCE, self.exchange(request, body)).await;
        answer.unwrap_or_else(|_| panic!("no answer in time to {asked:.2000}"))
    }

    async fn exchange(&self, request: Request<()>, body: Bytes) -> Answer {
        let watches = request.uri().path().ends_with("/WatchEvents");
        let mut requests = self.requests.clone().ready().await.expect("the connection stands");
        let (response, mut stream) = requests.send_request(request, false).unwrap();
        // A server that refuses by the headers alone does not wait for the body.
        let _ = stream.send_data(body, true);
        let response = match response.await {
            Ok(response) => response,
            Err(error) => return Answer::Broken(Box::new(error)),
        };
        let (head, mut body) = Response::into_parts(response);
        if let Some(status) = Status::from_header_map(&head.headers) {
            // grpc-go and gRPC Core take a status in headers that do not end the stream for a broken answer.
            assert!(body.is_end_stream(), "{status:?} is in headers that do not end the stream");
            return Answer::of(status);
        }
        if head.status != http::StatusCode::OK {
            return Answer::Broken(Box::new(head.status));
        }
        let mut received = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = match data {
                Ok(data) => data,
                Err(error) => return Answer::Broken(Box::new(error)),
            };
            let _ = body.flow_control().release_capacity(data.len());
            received.extend_from_slice(&data);
            if watches && message_of(&received).is_some() {
                return Answer::Message(message_of(&received).unwrap());
            }
        }
        let trailers: HeaderMap = body.trailers().await.unwrap().unwrap_or_default();
        match Status::from_header_map(&trailers) {
            Some(status) if status.code() != Code::Ok => Answer::of(status),
            _ => Answer::Message(message_of(&received).unwrap_or_default()),
        }
    }
}

/// A gRPC call's headers.
pub fn request(method: &str) -> Request<()> {
    Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// A message as gRPC sends it: not compressed, its length before it.
pub fn framed(message: &[u8]) -> Bytes {
    framed_as(0, u32::try_from(message.len()).unwrap(), message)
}

/// A message with whatever is said about its compression and length.
pub fn framed_as(flag: u8, length: u32, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(flag);
    frame.put_u32(length);
    frame.extend_from_slice(message);
    frame.freeze()
}

fn message_of(received: &BytesMut) -> Option<Bytes> {
    let (head, rest) = received.split_first_chunk::<5>()?;
    let [_, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    (rest.len() >= length).then(|| Bytes::copy_from_slice(&rest[..length]))
}

/// What came back.
#[derive(Debug)]
pub enum Answer {
    Message(Bytes),
    Error(Refusal),
    /// Something other than gRPC: a status of HTTP, or an error of HTTP/2.
    Broken(Box<dyn Debug>),
}

/// An error, as a program reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: Code,
    pub reason: String,
    pub field: String,
    pub message: String,
}

impl Answer {
    fn of(status: Status) -> Self {
        let info = status.get_details_error_info();
        let info = info.unwrap_or_else(|| panic!("an error without an ErrorInfo: {status:?}"));
        assert_eq!(info.domain, fuseboard::grpc::status::DOMAIN, "{status:?}");
        let violations = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
        assert!(violations.len() <= 1, "{status:?}");
        if let Some(violation) = violations.first() {
            assert_eq!(status.message(), format!("{} {}", violation.field, violation.description));
        }
        Self::Error(Refusal {
            code: status.code(),
            reason: info.reason,
            field: violations.first().map(|violation| violation.field.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
        })
    }

    /// The answer as a message. Panics where there is none.
    pub fn message<M: Message + Default>(&self) -> M {
        match self {
            Self::Message(bytes) => M::decode(bytes.as_ref()).expect("the server's messages are readable"),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The answer as an error. Panics where it is none.
    pub fn refusal(&self) -> &Refusal {
        match self {
            Self::Error(refusal) => refusal,
            other => panic!("expected an error, got {other:?}"),
        }
    }
}
