//! Signing in to the dashboard: the token in a cookie that scripts cannot read and other sites cannot send.
//!
//! The cookie is the token itself, so a token that is revoked is out at once, and the server keeps nothing for it. It goes
//! with requests of our own pages only (`SameSite=Strict`), and what changes something is checked for its origin besides.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, error::Error, json};
use crate::{engine, grpc::Peer};

/// Where one signs in, and out.
pub(super) const LOGIN: &str = "/api/v1/login";
pub(super) const LOGOUT: &str = "/api/v1/logout";

const COOKIE: &str = "fuseboard";
/// How long somebody stays signed in, in seconds: a working day.
const MAX_AGE: u32 = 12 * 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

/// Takes a token that is good, and has the browser keep it.
pub(super) async fn login(State(app): State<Arc<App>>, request: Request) -> Result<Response, Error> {
    let body = json::body(request.into_body(), &app.limits).await?;
    let login: Login = serde_json::from_slice(&body)
        .map_err(|_| engine::Error::invalid("token", "is required: {\"token\": \"fuseboard_…\"}"))?;
    let token = login.token.trim();
    app.context.gate.identify(Some(token), &Peer::default())?;
    Ok(answer(&app, &BASE64_URL_SAFE_NO_PAD.encode(token), MAX_AGE))
}

/// Has the browser forget it.
pub(super) async fn logout(State(app): State<Arc<App>>) -> Response {
    answer(&app, "", 0)
}

fn answer(app: &App, value: &str, max_age: u32) -> Response {
    let secure = if app.tls.is_some() { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}");
    let mut response = axum::Json::<Value>(json!({})).into_response();
    // It is of the alphabet of base64.
    response.headers_mut().extend(HeaderValue::try_from(cookie).map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// The token in a request's cookie, if there is one.
pub(super) fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(value).ok()?).ok()
}
