//! The engine's errors, as gRPC tells them.
//!
//! Every error carries a `google.rpc.ErrorInfo` with a stable reason, so that programs need not read messages; a
//! `google.rpc.BadRequest` names the field at fault; a `google.rpc.RetryInfo` stands where waiting helps and nowhere
//! else. An item of a session is told the same in a [`pb::SessionError`].

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{convert, pb};
use crate::engine::Error;

/// The domain of every reason.
pub const DOMAIN: &str = "fuseboard";

/// How long to leave a server alone that is stopping: what comes in its place needs a moment.
const DRAINING_RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let mut details = ErrorDetails::with_error_info(reason(&error), DOMAIN, metadata(&error));
        if let Error::Invalid { field, message } = &error {
            details.add_bad_request_violation(field, message);
        }
        if let Some(delay) = retry_after(&error) {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(code(&error), message, details)
    }
}

/// The error of one item of a session.
#[must_use]
pub fn session_error(number: u64, error: &Error) -> pb::SessionError {
    pb::SessionError {
        number,
        code: code(error) as i32,
        message: error.to_string(),
        field: if let Error::Invalid { field, .. } = error { field.clone() } else { String::new() },
        reason: reason(error).to_owned(),
        retry_after: retry_after(error).map(convert::to_duration),
    }
}

const fn code(error: &Error) -> Code {
    match error {
        Error::Invalid { .. } => Code::InvalidArgument,
        Error::Limit { .. } => Code::ResourceExhausted,
        Error::NotFound { .. } => Code::NotFound,
        Error::VersionMoved { .. } => Code::Aborted,
        Error::PolicyOfFile { .. } => Code::FailedPrecondition,
        Error::Draining => Code::Unavailable,
    }
}

const fn reason(error: &Error) -> &'static str {
    match error {
        Error::Invalid { .. } => "INVALID_FIELD",
        Error::Limit { reason, .. } | Error::NotFound { reason, .. } => reason,
        Error::VersionMoved { .. } => "VERSION_MOVED",
        Error::PolicyOfFile { .. } => "POLICY_OF_FILE",
        Error::Draining => "DRAINING",
    }
}

const fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::Limit { retry_after, .. } => Some(*retry_after),
        Error::Draining => Some(DRAINING_RETRY_AFTER),
        // A version that moved is read again first, and that takes no waiting.
        Error::Invalid { .. } | Error::NotFound { .. } | Error::VersionMoved { .. } | Error::PolicyOfFile { .. } => {
            None
        }
    }
}

/// What the message says, for programs.
fn metadata(error: &Error) -> HashMap<String, String> {
    let pairs = match error {
        Error::Invalid { field, .. } => vec![("field", field.clone())],
        Error::Limit { what, max, .. } => vec![("limited", (*what).to_owned()), ("max", max.to_string())],
        Error::NotFound { what, name, .. } => vec![("kind", (*what).to_owned()), ("name", name.clone())],
        Error::VersionMoved { expected, current } => {
            vec![("expected_version", expected.to_string()), ("current_version", current.to_string())]
        }
        Error::PolicyOfFile { pattern } => vec![("pattern", pattern.clone())],
        Error::Draining => vec![],
    };
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> Error {
        Error::Limit {
            reason: "BREAKER_LIMIT",
            what: "breakers",
            max: 100_000,
            advice: "delete some, or raise the limit",
            retry_after: Duration::from_secs(5),
        }
    }

    fn info(status: &Status) -> tonic_types::ErrorInfo {
        status.get_details_error_info().expect("every error has an ErrorInfo")
    }

    #[test]
    fn a_bad_field_is_named_by_its_path() {
        let status = Status::from(Error::invalid("tallies[3].slow", "must be at most the calls"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "tallies[3].slow must be at most the calls");
        assert_eq!((info(&status).reason.as_str(), info(&status).domain.as_str()), ("INVALID_FIELD", "fuseboard"));
        let violations = status.get_details_bad_request().expect("names the field").field_violations;
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].field, "tallies[3].slow");
        assert_eq!(violations[0].description, "must be at most the calls");
        assert!(status.get_details_retry_info().is_none(), "waiting does not help");
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        let status = Status::from(limit());
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(info(&status).reason, "BREAKER_LIMIT");
        assert_eq!(info(&status).metadata["max"], "100000");
        assert_eq!(status.get_details_retry_info().expect("is there").retry_delay, Some(Duration::from_secs(5)));
        assert!(status.get_details_bad_request().is_none());
    }

    #[test]
    fn each_error_has_its_code_and_reason() {
        let not_found = Error::NotFound {
            reason: "BREAKER_NOT_FOUND",
            what: "breaker",
            name: "payments".into(),
            advice: "check the spelling",
        };
        let cases = [
            (not_found, Code::NotFound, "BREAKER_NOT_FOUND", false),
            (Error::VersionMoved { expected: 1, current: 2 }, Code::Aborted, "VERSION_MOVED", false),
            (Error::PolicyOfFile { pattern: "a/*".into() }, Code::FailedPrecondition, "POLICY_OF_FILE", false),
            (Error::Draining, Code::Unavailable, "DRAINING", true),
        ];
        for (error, code, reason, waits) in cases {
            let item = session_error(7, &error);
            let status = Status::from(error);
            assert_eq!((status.code(), info(&status).reason.as_str()), (code, reason));
            assert_eq!(status.get_details_retry_info().is_some(), waits);
            assert_eq!((item.number, item.code, item.reason.as_str()), (7, code as i32, reason));
            assert_eq!(item.retry_after.is_some(), waits);
            assert_eq!(item.message, status.message());
        }
    }

    #[test]
    fn an_item_of_a_session_is_told_the_same() {
        let item = session_error(1, &Error::invalid("breaker", "is required"));
        assert_eq!((item.field.as_str(), item.code), ("breaker", 3));
        let retry_after = session_error(1, &limit()).retry_after;
        assert_eq!(retry_after, Some(prost_types::Duration { seconds: 5, nanos: 0 }));
    }
}
