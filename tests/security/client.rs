//! Clients with a token, of both ports.

use bytes::Bytes;
use fuseboard::pb::{admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{
    Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{authority::Folder, process::Server};

pub(crate) const ADMIN_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The flag that makes a server ask who somebody is.
pub(crate) fn admin_flag(folder: &Folder) -> String {
    format!("--admin-token-file={}", folder.file("admin-token", &format!("{ADMIN_TOKEN}\n")))
}

/// Sends a token with each call, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(pub(crate) Option<String>);

impl Bearer {
    pub(crate) fn of(token: &str) -> Self {
        Self(Some(token.to_owned()))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(request)
    }
}

pub(crate) type Calls = InterceptedService<Channel, Bearer>;

pub(crate) async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap()
}

pub(crate) async fn breakers(server: &Server, token: &str) -> BreakerServiceClient<Calls> {
    BreakerServiceClient::with_interceptor(channel(server).await, Bearer::of(token))
}

pub(crate) async fn admin(server: &Server, token: &str) -> AdminServiceClient<Calls> {
    AdminServiceClient::with_interceptor(channel(server).await, Bearer::of(token))
}

/// An answer of the HTTP port; of a stream, its beginning.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

pub(crate) async fn get(server: &Server, path: &str, token: Option<&str>) -> Answer {
    send(server, Method::GET, path, token, "").await
}

pub(crate) async fn send(server: &Server, method: Method, path: &str, token: Option<&str>, body: &str) -> Answer {
    let bearer = token.map(|token| ("authorization", format!("Bearer {token}")));
    send_with(server, method, path, bearer.as_slice(), body).await
}

pub(crate) async fn send_with(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, String)],
    body: &str,
) -> Answer {
    let stream = TcpStream::connect(server.http_address()).await.unwrap();
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    request = request.header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = requests.send_request(request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()).await;
    let (parts, mut body) = answer.unwrap().into_parts();
    // A stream of events has no end; its first part is enough.
    let is_stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let body = match is_stream {
        true => body.frame().await.unwrap().unwrap().into_data().unwrap(),
        false => body.collect().await.unwrap().to_bytes(),
    };
    Answer { status: parts.status, headers: parts.headers, body }
}
