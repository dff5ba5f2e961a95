//! What can go wrong, and what a rejection says.

use std::{fmt, time::Duration};

use crate::{Reason, Source, State};

/// A call was not permitted: why, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The breaker's key.
    pub breaker: String,
    /// Why.
    pub reason: Reason,
    /// How long to wait before asking again: at least 10 ms.
    pub retry_after: Duration,
    /// The breaker's state, as far as it is known.
    pub state: Option<State>,
    /// Who rejected it.
    pub source: Source,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { breaker, reason, retry_after, .. } = self;
        write!(f, "breaker \"{breaker}\" rejected the call: ")?;
        match reason {
            Reason::Unavailable => write!(f, "the server could not be asked"),
            reason => write!(f, "{reason}; retry after {retry_after:?}"),
        }
    }
}

// Written by hand: `source` is who rejected it, and no error.
impl std::error::Error for Rejection {}

/// Why [`Breaker::execute`](crate::Breaker::execute) has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// The call was not made.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The call took longer than the breaker's `call_timeout`, and was dropped.
    #[error("the call took longer than {0:?}")]
    TimedOut(Duration),
    /// The call's own error, untouched.
    #[error(transparent)]
    Failed(E),
}

impl<E> CallError<E> {
    /// The rejection, where it is one.
    #[must_use]
    pub const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::TimedOut(_) | Self::Failed(_) => None,
        }
    }
}

/// What is wrong with an option, or with a request to the server. Calls through a breaker never give it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of range, or contradicts another.
    #[error("{option}: {problem}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong, and what is right.
        problem: String,
    },
    /// A client has at most 1,000 breakers.
    #[error("a client has at most 1,000 breakers")]
    TooManyBreakers,
    /// There is no tokio runtime here that the client's tasks could run on.
    #[error("a client is made inside a tokio runtime")]
    NoRuntime,
    /// The server has never seen this breaker.
    #[error("breaker \"{0}\" is not known to the server")]
    NotFound(String),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// The wait was over before what was waited for.
    #[error("not ready within {0:?}")]
    NotReady(Duration),
    /// The server's answer, or why there was none.
    #[error("{}: {}", .0.code(), .0.message())]
    Server(#[from] Box<tonic::Status>),
}
