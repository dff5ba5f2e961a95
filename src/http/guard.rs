//! What every request passes before it is answered, and what every answer carries.
//!
//! A route is nobody's before it is known who asks, but for those that tell nothing of breakers ([`OPEN`]); what somebody may
//! is then the RPC's own matter. Where nobody is asked, who can reach the port may do everything.
//!
//! A browser must not do it for somebody else: a page of another origin can make a browser send requests here, and a name
//! that it owns can be made to resolve to loopback. So whatever changes something has to be JSON (which a form cannot send without being asked for leave first) and must not come from another
//! origin, and while the port is on loopback it answers to loopback's names only.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_body::{Frame, SizeHint};

use super::{
    App, dashboard,
    error::Error,
    json,
    listener::{Busy, Standing},
    openapi, session, stream,
};
use crate::{
    access::Grant,
    engine,
    grpc::{Gate, Peer, bearer},
    share::{Holder, Use},
};

const JSON: &str = "application/json";

/// What tells nothing of breakers, beside the dashboard's own files.
const OPEN: [&str; 5] = ["/livez", "/readyz", openapi::PATH, session::LOGIN, session::LOGOUT];

/// What orchestrators ask; it takes no place.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// Nothing but our own files, nothing inline, in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                       connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers of every answer.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Checks a request, has it answered within its time, and holds its place until the answer is sent.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match checked(&app, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.extend(SECURITY_HEADERS);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn checked(app: &App, mut request: Request, next: Next) -> Result<Response, Error> {
    check_repeated(request.headers())?;
    check_host(app.address, request.headers(), request.uri())?;
    if !is_safe(request.method()) {
        check_origin(request.headers())?;
        check_content_type(request.headers())?;
    }
    let grant = identify(app, &request)?;
    if let Some(identity) = grant.identity() {
        request.extensions_mut().insert(Holder::identity(Arc::clone(&identity.name)));
    }
    request.extensions_mut().insert(grant);
    let path = request.uri().path();
    if app.context.shutdown.draining() && path.starts_with("/api/") {
        return Err(engine::Error::Draining.into());
    }
    let (is_probe, is_stream, is_operators) = (PROBES.contains(&path), path == stream::PATH, is_operators(path));
    // The body first: a request counts when it is whole.
    if !is_safe(request.method()) {
        let (parts, body) = request.into_parts();
        request = Request::from_parts(parts, json::body(body, &app.limits).await?.into());
    }
    let busy = request.extensions().get::<Arc<Standing>>().map(Standing::busy);
    // A probe is answered at once and has to be at any time; a stream has a bound of its own, and no end that one could wait for.
    if is_probe || is_stream {
        return Ok(next.run(request).await.map(|body| Body::new(Held { body, _place: None, _busy: busy })));
    }
    let place = place(app, &request, is_operators)?;
    let answered = tokio::time::timeout(app.limits.call_timeout, next.run(request)).await;
    let response =
        answered.map_err(|_| Error::new(StatusCode::GATEWAY_TIMEOUT, "CALL_TIMEOUT", "the answer took too long"))?;
    Ok(response.map(|body| Body::new(Held { body, _place: Some(place), _busy: busy })))
}

/// A place for a request: for an operator's one of those that are theirs, while there are any.
fn place(app: &App, request: &Request, is_operators: bool) -> Result<Use, Error> {
    let holder = Gate::holder(request.extensions());
    if is_operators && let Ok(place) = app.pools.operator_requests.take(&holder, 1) {
        return Ok(place);
    }
    Ok(app.pools.requests.take(&holder, 1).map_err(engine::Error::from)?)
}

/// Whether a route is for people and monitoring. The others are calls as services make them.
fn is_operators(path: &str) -> bool {
    let is_call = path.ends_with("/acquire") || path.ends_with("/report");
    !is_call && !matches!(path, "/api/v1/declare" | "/api/v1/report-batch")
}

/// Who asks: by the header, by the cookie, or by the connection's certificate.
fn identify(app: &App, request: &Request) -> Result<Grant, Error> {
    let path = request.uri().path();
    if OPEN.contains(&path) || dashboard::FILES.iter().any(|(file, ..)| *file == path) {
        return Ok(Grant::Everything);
    }
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    let headers = request.headers();
    if !headers.contains_key(header::AUTHORIZATION)
        && let Some(grant) = app.sessions.of(headers, app.context.engine.now())
    {
        return Ok(grant);
    }
    Ok(app.context.gate.identify(bearer(headers)?, &peer)?)
}

const fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Headers that decide who is let in, or what is done. Twice, the one that is checked need not be the one that counts.
const ONCE: [HeaderName; 5] = [
    header::HOST,
    header::AUTHORIZATION,
    header::ORIGIN,
    header::CONTENT_TYPE,
    HeaderName::from_static("sec-fetch-site"),
];

fn check_repeated(headers: &HeaderMap) -> Result<(), Error> {
    match ONCE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        Some(name) => {
            let message = format!("the header `{name}` must be sent once: which of them counts would be a guess");
            Err(Error::new(StatusCode::BAD_REQUEST, "HEADER_REPEATED", message))
        }
        None => Ok(()),
    }
}

/// While the port is on loopback, only loopback's names lead here.
fn check_host(listens: SocketAddr, headers: &HeaderMap, uri: &Uri) -> Result<(), Error> {
    let said = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if uri.authority().zip(said).is_some_and(|(target, said)| !target.as_str().eq_ignore_ascii_case(said)) {
        let message = "the Host header must be that of the request's target: which of them counts would be a guess";
        return Err(Error::new(StatusCode::BAD_REQUEST, "HOST_AMBIGUOUS", message));
    }
    if !listens.ip().is_loopback() {
        return Ok(());
    }
    let host = authority(headers, uri);
    if host.as_ref().is_some_and(|host| is_loopback(host.host())) {
        return Ok(());
    }
    let message = "the Host header must name loopback, as the port listens there: localhost, 127.0.0.1 or [::1]";
    Err(Error::new(StatusCode::MISDIRECTED_REQUEST, "HOST_NOT_ALLOWED", message))
}

fn authority(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    uri.authority().cloned().or(host)
}

fn is_loopback(host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Refuses what a page of another origin makes a browser send. Programs send neither header.
fn check_origin(headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let is_same_site =
        text(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| matches!(site, "same-origin" | "none"));
    let host = text(header::HOST).unwrap_or_default();
    let is_same_origin = text(header::ORIGIN)
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)));
    if is_same_site && is_same_origin {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::FORBIDDEN,
        "CROSS_SITE",
        "what changes something must not come from another site's page",
    ))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Error> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(JSON) {
        return Ok(());
    }
    let message = "what changes something has to be sent with `content-type: application/json`";
    Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE", message))
}

/// An answer on its way, which keeps its request's place until it is sent or given up.
struct Held {
    body: Body,
    _place: Option<Use>,
    _busy: Option<Busy>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_these_names_and_no_others() {
        for host in ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.8.9.1", "[::1]", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "example.org", "localhost.example.org", "127.0.0.1.nip.io", "0.0.0.0", "10.0.0.1", "[::]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn another_origin_is_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let host = ("host", "localhost:8080");
        for good in [vec![host], vec![host, ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")]] {
            assert!(check_origin(&headers(&good)).is_ok(), "{good:?}");
        }
        for bad in [
            ("origin", "http://localhost:9090"),
            ("origin", "https://example.org"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(check_origin(&headers(&[host, bad])).is_err(), "{bad:?}");
        }
    }
}
