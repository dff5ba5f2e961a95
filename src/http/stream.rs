//! `/api/v1/events/stream`: a watch as server-sent events.
//!
//! What is sent, and when, is `WatchEvents` itself: a snapshot, then events, progress while nothing happens, a resync where
//! events were lost, and a goodbye before the end. Each has its resume token as `id`, which browsers send back in
//! `Last-Event-ID` when they connect again.

use std::{convert::Infallible, fmt::Write as _, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use prost_reflect::MessageDescriptor;

use super::{App, api, error::Error, json};
use crate::{
    engine,
    grpc::{
        Gate,
        pb::{self, breaker_service_server::BreakerService as _, watch_events_response::Message},
    },
};

/// Its route.
pub(super) const PATH: &str = "/api/v1/events/stream";
/// The RPC that it is.
pub(super) const RPC: &str = "BreakerService/WatchEvents";

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn watch(State(app): State<Arc<App>>, request: Request) -> Result<Response, Error> {
    let place = app.pools.streams.take(&Gate::holder(request.extensions()), 1).map_err(engine::Error::from)?;
    let rpc = json::method(RPC).ok_or_else(api::not_found)?;
    let asker = api::granted(RPC, &request)?;
    let mut object = json::query(&rpc.input(), &api::pairs(request.uri())?)?;
    if let Some(token) = request.headers().get(LAST_EVENT_ID) {
        let token = token.to_str().map_err(|_| engine::Error::invalid("Last-Event-ID", "is no resume token"))?;
        object.insert("resumeToken".to_owned(), token.into());
    }
    let request: pb::WatchEventsRequest = json::read(rpc.input(), object)?;
    let mut request = tonic::Request::new(request);
    *request.extensions_mut() = asker;
    let events = app.breakers.watch_events(request).await?.into_inner();
    let answer = rpc.output();
    let sent = events.map(move |sent| {
        let _held = &place;
        Ok::<_, Infallible>(Bytes::from(sent.map_or_else(|_| String::new(), |sent| to_text(&answer, &sent))))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Proxies that gather answers would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(sent)).into_response())
}

/// One message in the format of server-sent events.
fn to_text(of: &MessageDescriptor, sent: &pb::WatchEventsResponse) -> String {
    let name = match &sent.message {
        Some(Message::Snapshot(_)) => "snapshot",
        Some(Message::Event(_)) => "event",
        Some(Message::Progress(_)) | None => "progress",
        Some(Message::Resync(_)) => "resync",
        Some(Message::Goodbye(_)) => "goodbye",
    };
    let mut text = String::new();
    if let Some(Message::Goodbye(goodbye)) = &sent.message {
        // When to come back, not all at once.
        let after = goodbye.retry_after.unwrap_or_default();
        let millis = after.seconds.saturating_mul(1_000) + i64::from(after.nanos / 1_000_000);
        let _ = writeln!(text, "retry: {millis}");
    }
    // One line: line feeds in texts are escaped in JSON.
    let data = json::write_field(of, sent, name).unwrap_or_else(|_| "{}".to_owned());
    let _ = write!(text, "id: {}\nevent: {name}\ndata: {data}\n\n", sent.resume_token);
    text
}
