//! The engine's errors, as gRPC tells them.
//!
//! Every error carries a `google.rpc.ErrorInfo` with a stable reason, so that programs need not read messages; a
//! `google.rpc.BadRequest` names the field at fault; a `google.rpc.RetryInfo` stands where waiting helps and nowhere
//! else. An item of a session is told the same in a [`pb::SessionError`].

use std::{collections::HashMap, time::Duration};

use http::Response;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{convert, pb};
use crate::{
    engine::{Error, STORE_PATIENCE},
    share::Refused,
};

/// The domain of every reason.
pub const DOMAIN: &str = "fuseboard";

/// How long to leave a server alone that is stopping: what comes in its place needs a moment.
const DRAINING_RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let mut details = ErrorDetails::with_error_info(reason(&error), DOMAIN, metadata(&error));
        match &error {
            Error::Invalid { field, message } => _ = details.add_bad_request_violation(field, message),
            Error::PermitForged => {
                _ = details.add_bad_request_violation("permit", message.trim_start_matches("permit "))
            }
            _ => {}
        }
        if let Some(delay) = retry_after(&error) {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(code(&error), message, details)
    }
}

/// An answer as it should be: one that tonic has refused by itself is told as our own errors are. Those have details;
/// all errors that stand in an answer's headers were known before the answer began.
pub(super) fn explained(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if !headers.contains_key(Status::GRPC_STATUS) || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return response;
    }
    Status::from_header_map(headers).map_or(response, |status| of_transport(status).into_http())
}

/// What tonic refuses by itself, told as our own errors are.
///
/// It calls a request that it cannot read INTERNAL and one that is too large OUT_OF_RANGE, as clients do with answers;
/// from a server the one reads as its own fault and the other as a value of a field.
pub(super) fn of_transport(status: Status) -> Status {
    let message = status.message().trim_end_matches('.');
    match status.code() {
        Code::Internal => malformed(message.strip_prefix("failed to decode Protobuf message: ").unwrap_or(message)),
        Code::OutOfRange => {
            let sizes = message.strip_prefix("Error, decoded message length too large: ").unwrap_or(message);
            let details = ErrorDetails::with_error_info("MESSAGE_LIMIT", DOMAIN, HashMap::new());
            Status::with_error_details(Code::ResourceExhausted, format!("the message is too large: {sizes}"), details)
        }
        Code::Unimplemented => {
            let (reason, message) = match message {
                "" => ("METHOD_NOT_FOUND", "there is no such method: reflection lists those there are".to_owned()),
                _ => ("UNSUPPORTED_ENCODING", format!("{message}: send it uncompressed")),
            };
            let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
            let metadata = status.metadata().clone();
            Status::with_error_details_and_metadata(Code::Unimplemented, message, details, metadata)
        }
        _ => status,
    }
}

/// A message that cannot be read. `why` is prost's: `Type.field: Type.field: what`, from the inside out.
fn malformed(why: &str) -> Status {
    let mut path = Vec::new();
    let mut why = why;
    while let Some((place, rest)) = why.split_once(": ") {
        match place.split_once('.') {
            Some((_, field)) if !place.contains(' ') => path.push(field),
            _ => break,
        }
        why = rest;
    }
    path.reverse();
    let field = path.join(".");
    let mut details = ErrorDetails::with_error_info("MALFORMED_MESSAGE", DOMAIN, HashMap::new());
    if field.is_empty() {
        let message = format!("the message cannot be read: {why}; is it of this method's type?");
        return Status::with_error_details(Code::InvalidArgument, message, details);
    }
    let message = format!("cannot be read: {why}");
    details.add_bad_request_violation(&field, &message);
    Status::with_error_details(Code::InvalidArgument, format!("{field} {message}"), details)
}

/// The error of one item of a session.
#[must_use]
pub fn session_error(number: u64, error: &Error) -> pb::SessionError {
    pb::SessionError {
        number,
        code: code(error) as i32,
        message: error.to_string(),
        field: match error {
            Error::Invalid { field, .. } => field.clone(),
            Error::PermitForged => "permit".to_owned(),
            _ => String::new(),
        },
        reason: reason(error).to_owned(),
        retry_after: retry_after(error).map(convert::to_duration),
    }
}

const fn code(error: &Error) -> Code {
    match error {
        Error::Invalid { .. } | Error::PermitForged => Code::InvalidArgument,
        Error::Limit { .. } | Error::Share(_) => Code::ResourceExhausted,
        Error::NotFound { .. } => Code::NotFound,
        Error::VersionMoved { .. } => Code::Aborted,
        Error::NotOpen { .. } | Error::PolicyOfFile { .. } | Error::AuthenticationOff => Code::FailedPrecondition,
        Error::TokenExists { .. } => Code::AlreadyExists,
        Error::Unauthenticated { .. } => Code::Unauthenticated,
        Error::Denied { .. } => Code::PermissionDenied,
        Error::Store { .. } | Error::Draining => Code::Unavailable,
    }
}

const fn reason(error: &Error) -> &'static str {
    match error {
        Error::Invalid { .. } => "INVALID_FIELD",
        Error::PermitForged => "PERMIT_FORGED",
        Error::Limit { reason, .. } | Error::NotFound { reason, .. } | Error::Denied { reason, .. } => reason,
        Error::Share(refused) => refused.limit.reason,
        Error::VersionMoved { .. } => "VERSION_MOVED",
        Error::NotOpen { .. } => "NOT_OPEN",
        Error::PolicyOfFile { .. } => "POLICY_OF_FILE",
        Error::TokenExists { .. } => "TOKEN_EXISTS",
        Error::AuthenticationOff => "AUTHENTICATION_OFF",
        Error::Unauthenticated { .. } => "UNAUTHENTICATED",
        Error::Store { .. } => "STORE_UNAVAILABLE",
        Error::Draining => "DRAINING",
    }
}

const fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        // Some limits are of what comes at once: the same will be too much tomorrow.
        Error::Limit { retry_after: Duration::ZERO, .. } => None,
        Error::Limit { retry_after, .. } => Some(*retry_after),
        Error::Share(refused) if refused.limit.retry_after.is_zero() => None,
        Error::Share(refused) => Some(refused.limit.retry_after),
        Error::Store { .. } => Some(STORE_PATIENCE),
        Error::Draining => Some(DRAINING_RETRY_AFTER),
        // A version that moved is read again first, and that takes no waiting.
        Error::Invalid { .. }
        | Error::PermitForged
        | Error::NotFound { .. }
        | Error::NotOpen { .. }
        | Error::VersionMoved { .. }
        | Error::PolicyOfFile { .. }
        | Error::TokenExists { .. }
        | Error::AuthenticationOff
        | Error::Unauthenticated { .. }
        | Error::Denied { .. } => None,
    }
}

/// What the message says, for programs.
fn metadata(error: &Error) -> HashMap<String, String> {
    let pairs = match error {
        Error::Invalid { field, .. } => vec![("field", field.clone())],
        Error::Limit { name, what, max, .. } => {
            vec![("limited", (*what).to_owned()), ("max", max.to_string()), ("limit", (*name).to_owned())]
        }
        Error::Share(refused) => shares(refused),
        Error::NotFound { what, name, .. } => vec![("kind", (*what).to_owned()), ("name", name.clone())],
        Error::NotOpen { what, name, state } => {
            vec![("kind", (*what).to_owned()), ("name", name.clone()), ("state", (*state).to_owned())]
        }
        Error::VersionMoved { expected, current } => {
            vec![("expected_version", expected.to_string()), ("current_version", current.to_string())]
        }
        Error::PolicyOfFile { pattern } => vec![("pattern", pattern.clone())],
        Error::TokenExists { name } => vec![("name", name.clone())],
        Error::Denied { name, .. } => vec![("identity", name.clone())],
        Error::PermitForged => vec![("field", "permit".to_owned())],
        Error::AuthenticationOff | Error::Unauthenticated { .. } => vec![],
        Error::Store { why } => vec![("why", why.clone())],
        Error::Draining => vec![],
    };
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn shares(refused: &Refused) -> Vec<(&'static str, String)> {
    let Refused { limit, max, holder, used, share, biggest } = refused;
    let mut pairs = vec![
        ("limited", limit.what.to_owned()),
        ("max", max.to_string()),
        ("limit", limit.name.to_owned()),
        ("holder", holder.to_string()),
        ("used", used.to_string()),
        ("share", share.to_string()),
    ];
    if let Some((biggest, used)) = biggest {
        pairs.extend([("biggest", biggest.to_string()), ("biggest_used", used.to_string())]);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limit,
        share::{FairShare, Holder, Pool},
    };

    fn limit() -> Error {
        limit::BATCH_CLIENTS.reached(100_000)
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
        assert_eq!(info(&status).reason, "CLIENT_LIMIT");
        assert_eq!(info(&status).metadata["max"], "100000");
        assert_eq!(status.get_details_retry_info().expect("is there").retry_delay, Some(Duration::from_secs(10)));
        assert!(status.get_details_bad_request().is_none());
    }

    #[test]
    fn a_share_that_is_used_up_says_whose_and_how_much() {
        let pool = Pool::new(limit::CALLS, 4, FairShare::default());
        let holder = Holder::identity("shop".into());
        pool.add(&holder, 3).expect("its share");
        let refused = pool.add(&holder, 1).expect_err("there is no more");
        let status = Status::from(Error::from(refused.clone()));
        assert_eq!((status.code(), info(&status).reason.as_str()), (Code::ResourceExhausted, "CALL_LIMIT"));
        let told = info(&status).metadata;
        let of = |name: &str| told.get(name).map(String::as_str);
        assert_eq!([of("limit"), of("holder")], [Some("max_in_flight"), Some("identity:shop")]);
        assert_eq!([of("used"), of("share"), of("max")], [Some("3"), Some("3"), Some("4")]);
        assert_eq!(of("biggest"), None, "others are not named");
        assert!(status.get_details_retry_info().is_some());
        let told = info(&Status::from(Error::from(refused.telling(&pool)))).metadata;
        assert_eq!(told["biggest"], "identity:shop", "an operator may know");
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
    fn a_field_that_cannot_be_read_is_named() {
        let of = |message: &str| of_transport(Status::internal(message));
        let deep =
            of("failed to decode Protobuf message: Policy.window: A.policy: invalid wire type: Varint (expected B)");
        assert_eq!(deep.code(), Code::InvalidArgument);
        assert_eq!(deep.message(), "policy.window cannot be read: invalid wire type: Varint (expected B)");
        assert_eq!(info(&deep).reason, "MALFORMED_MESSAGE");
        let fields = deep.get_details_bad_request().expect("names the field").field_violations;
        assert_eq!((fields.len(), fields[0].field.as_str()), (1, "policy.window"));
        let whole = of("failed to decode Protobuf message: invalid varint");
        assert_eq!(whole.message(), "the message cannot be read: invalid varint; is it of this method's type?");
        assert!(whole.get_details_bad_request().is_none());
    }

    #[test]
    fn an_item_of_a_session_is_told_the_same() {
        let item = session_error(1, &Error::invalid("breaker", "is required"));
        assert_eq!((item.field.as_str(), item.code), ("breaker", 3));
        let retry_after = session_error(1, &limit()).retry_after;
        assert_eq!(retry_after, Some(prost_types::Duration { seconds: 10, nanos: 0 }));
    }
}
