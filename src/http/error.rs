//! What went wrong, as JSON: the same reason, field and retry as gRPC tells, under the HTTP status that fits.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::engine;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    /// Seconds after which the same may succeed.
    retry_after: Option<f64>,
    told: Map<String, Value>,
}

impl Error {
    /// One that gRPC does not know.
    pub(super) fn new(status: StatusCode, reason: &str, message: impl Into<String>) -> Self {
        let mut told = Map::new();
        told.insert("code".into(), status.as_u16().into());
        told.insert("reason".into(), reason.into());
        told.insert("message".into(), Value::String(message.into()));
        Self { status, retry_after: None, told }
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        Status::from(error).into()
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info.map_or("UNKNOWN", |info| info.reason.as_str());
        let mut error = Self::new(http_status(status.code()), reason, status.message());
        if let Some(violation) = details.bad_request().and_then(|request| request.field_violations.first()) {
            error.told.insert("field".into(), violation.field.clone().into());
        }
        if let Some(info) = info.filter(|info| !info.metadata.is_empty()) {
            error.told.insert("metadata".into(), json!(info.metadata));
        }
        error.retry_after = details.retry_info().and_then(|retry| retry.retry_delay).map(|delay| delay.as_secs_f64());
        error
    }
}

impl IntoResponse for Error {
    fn into_response(mut self) -> Response {
        if let Some(seconds) = self.retry_after {
            self.told.insert("retryAfter".into(), format!("{seconds}s").into());
        }
        let mut response = (self.status, Json(json!({ "error": self.told }))).into_response();
        if let Some(seconds) = self.retry_after {
            // The header knows whole seconds only.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.ceil() as u64));
        }
        response
    }
}

const fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
