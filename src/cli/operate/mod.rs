//! What operators type: each verb is one call of the API, through the Rust client.

mod apply;
mod paint;
mod reach;
mod tables;
mod verbs;

use std::{io::Write as _, process::ExitCode};

use clap::{ArgMatches, FromArgMatches as _};
use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

pub(super) use self::verbs::Verb;
use self::{
    paint::{Output, Screen},
    reach::Reach,
};
use super::{FAILED, MISUSED};
use crate::grpc::reflect;

/// The breaker rejected the call that was asked for.
const REJECTED: u8 = 3;
/// The server was not reached.
const UNREACHABLE: u8 = 4;
/// There is nothing of that name.
const NOT_FOUND: u8 = 5;
/// Whoever asks may not.
const DENIED: u8 = 6;

/// Why a verb did not do what it should.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The server said no, or nothing.
    #[error("{}", told(.0))]
    Refused(Box<Status>),
    /// What was typed cannot be used.
    #[error("{0}")]
    Misused(String),
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(status) => match status.code() {
                Code::NotFound => NOT_FOUND,
                Code::Unauthenticated | Code::PermissionDenied => DENIED,
                _ if is_unreached(status) => UNREACHABLE,
                _ => FAILED,
            },
            Self::Misused(_) => MISUSED,
            Self::Failed(_) => FAILED,
        }
    }
}

/// Whether the server has said nothing at all.
fn is_unreached(status: &Status) -> bool {
    let is_silent = status.get_details_error_info().is_none();
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => is_silent,
        // Only an error of the connection has a source: what a server answers has none.
        Code::Internal => is_silent && std::error::Error::source(status).is_some(),
        _ => false,
    }
}

fn told(status: &Status) -> String {
    if is_unreached(status) {
        let why = std::error::Error::source(status).map_or_else(|| status.message().to_owned(), innermost);
        let remedy = remedy(status, &why);
        return format!("the server cannot be reached: {why}; {remedy}");
    }
    match status.get_details_error_info() {
        Some(info) => format!("{} ({})", status.message(), info.reason),
        None => status.message().to_owned(),
    }
}

/// What to do about a server that was not reached. One side with TLS and the other without is recognized by what each makes of the
/// other's first bytes.
fn remedy(status: &Status, why: &str) -> &'static str {
    if why.contains("corrupt message") || why.contains("InvalidContentType") {
        return "the port does not speak TLS: give --address as HOST:PORT, without https:// and --ca";
    }
    if why.contains("invalid peer certificate") {
        return "give the server's authority, or its own certificate, with --ca, and the name in the certificate with --server-name if \
                it is not the address's";
    }
    // A port with TLS sends an alert and closes the connection; which of them is seen first is chance.
    let is_cut = ["broken pipe", "reset", "closed"].iter().any(|word| why.to_lowercase().contains(word));
    if status.code() == Code::Internal || is_cut {
        return "it ends plain HTTP/2: if it uses TLS, give --address as https://HOST:PORT, with --ca if its certificate is from an \
                authority of your own; else see its log";
    }
    "is it running, and at this --address?"
}

/// What an error comes down to.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Runs a verb to its end.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let verb = match Verb::from_arg_matches(matches) {
        Ok(verb) => verb,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(|error| Failure::Failed(error.to_string())).and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                ended = verb.run() => ended,
                _ = tokio::signal::ctrl_c() => Ok(130),
            }
        })
    });
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            note(&format!("error: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A message for people, to standard error, which may be closed.
fn note(text: &str) {
    _ = writeln!(std::io::stderr(), "{}", paint::plain(text));
}

/// A message of the protocol as JSON, named by the RPC that answers with it.
fn json(rpc: &str, message: &impl prost::Message) -> Result<Value, Failure> {
    let method = reflect::method(rpc).ok_or_else(|| Failure::Failed(format!("{rpc} is not known")))?;
    let text = reflect::to_json(method.output(), message).map_err(|error| Failure::Failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| Failure::Failed(error.to_string()))
}
