//! What the engine cannot do, and what to do about it.

use std::time::Duration;

use crate::{breaker::PolicyError, limit::Remedy, share::Refused};

/// Why a request could not be carried out. A rejected call is not an error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// A field of the request is at fault.
    #[error("{field} {message}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The permit does not have this server's seal for this breaker.
    #[error(
        "permit was not issued by this server for this breaker, or was altered since: report with the permit exactly as the \
         acquire was answered with it"
    )]
    PermitForged,
    /// A bound is reached. What is there goes on working.
    #[error("the limit of {max} {what} is reached: {}", Remedy(advice, settings))]
    Limit {
        /// Its name, as `max_breakers`.
        name: &'static str,
        /// Stable name of the limit, as `BREAKER_LIMIT`.
        reason: &'static str,
        /// What is limited, in the plural.
        what: &'static str,
        /// The bound.
        max: u64,
        /// What to do.
        advice: &'static str,
        /// The settings that raise it; none where it is fixed.
        settings: &'static [&'static str],
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// Whoever asks has its fair share of a bound, or the bound is reached. What is there goes on working.
    #[error("{0}")]
    Share(Box<Refused>),
    /// The thing named does not exist.
    #[error("there is no {what} {name:?}: {advice}")]
    NotFound {
        /// Stable name, as `BREAKER_NOT_FOUND`.
        reason: &'static str,
        /// What was looked for: `breaker`.
        what: &'static str,
        /// By which name.
        name: String,
        /// What to do.
        advice: &'static str,
    },
    /// A probe was asked for, but the scope is not open.
    #[error("{what} {name:?} cannot be probed: it is {state}, not open; GetState shows where it stands")]
    NotOpen {
        /// `breaker` or `caller`.
        what: &'static str,
        /// By which name.
        name: String,
        /// The state of its scope.
        state: &'static str,
    },
    /// A write demanded a version that is not the current one.
    #[error("version {expected} was expected, but it is at {current}: read it, decide and write again")]
    VersionMoved {
        /// The version demanded.
        expected: u64,
        /// The version that stands; 0 where there is none.
        current: u64,
    },
    /// The policy named is one of the server's file.
    #[error("policy {pattern:?} is set in the server's file: change it there and reload")]
    PolicyOfFile {
        /// Its key or pattern.
        pattern: String,
    },
    /// There is a token of that name.
    #[error("there is a token {name:?} already: choose another name, or revoke that one first")]
    TokenExists {
        /// Its name.
        name: String,
    },
    /// The server asks nobody who they are, so nobody could be kept out by a token.
    #[error("the server asks nobody who they are: start it with admin_token_file, and create tokens then")]
    AuthenticationOff,
    /// Nobody is known behind the request.
    #[error("who are you? {why}")]
    Unauthenticated {
        /// What is missing.
        why: &'static str,
    },
    /// Whoever asks may not.
    #[error("{name} may not {what}: {advice}")]
    Denied {
        /// Stable name, as `ROLE_MISSING`.
        reason: &'static str,
        /// Who asks.
        name: String,
        /// What was asked for.
        what: String,
        /// What would be needed.
        advice: String,
    },
    /// What was asked for could not be made durable in time. It is not told, and in doubt: it may come into force later.
    #[error("the store cannot record it: {why}; calls go on, ask again when it has recovered")]
    Store {
        /// Why.
        why: String,
    },
    /// The server is stopping.
    #[error("the server is stopping: try another, or this one again in a moment")]
    Draining,
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// The same error about a field inside `parent`.
    #[must_use]
    pub(crate) fn within(self, parent: &str) -> Self {
        match self {
            Self::Invalid { field, message } => Self::Invalid { field: format!("{parent}.{field}"), message },
            other => other,
        }
    }
}

impl From<Box<Refused>> for Error {
    fn from(refused: Box<Refused>) -> Self {
        Self::Share(refused)
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::invalid(error.field, error.message)
    }
}
