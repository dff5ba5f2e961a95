//! Answers that never change while the server runs: made once, and not sent to a client that has them.

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use xxhash_rust::xxh3::xxh3_64;

/// A text with its type and a tag of its content.
#[derive(Clone, Debug)]
pub(super) struct Document {
    kind: &'static str,
    text: Bytes,
    tag: HeaderValue,
}

impl Document {
    pub(super) fn new(kind: &'static str, text: impl Into<Bytes>) -> Self {
        let text = text.into();
        let tag = format!("\"{:016x}\"", xxh3_64(&text));
        Self { kind, text, tag: HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    /// The text, or that the client has it. Clients ask again each time: what is shown is what runs.
    pub(super) fn answer(&self, request: &HeaderMap) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::ETAG, self.tag.clone()),
        ];
        if self.is_known(request) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.text.clone()).into_response()
    }

    fn is_known(&self, request: &HeaderMap) -> bool {
        let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
        let mut tags = known.flat_map(|tags| tags.split(',')).map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == self.tag.as_bytes())
    }
}
