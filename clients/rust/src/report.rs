//! How a call went.

use std::time::Duration;

use crate::{Origin, Outcome};

/// The longest class of an error that is told.
const ERROR_CLASS_BYTES: usize = 64;
/// The longest duration that is told.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How a call went, with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it went.
    pub outcome: Outcome,
    /// How long the call took, at most 24 h. None: since the permit was given.
    pub duration: Option<Duration>,
    /// A short class of the error, for people: `connection_refused`. At most 64 bytes of printable ASCII are kept; others
    /// become `?`. Empty: none.
    pub error_class: String,
    /// What the dependency asked for by a retry-after of its own, at most 24 h. Counts for failures only.
    pub retry_after: Option<Duration>,
    /// On whose side a failure arose. None: the dependency's.
    pub origin: Option<Origin>,
}

impl Report {
    /// An outcome of which nothing else is known.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self { outcome, duration: None, error_class: String::new(), retry_after: None, origin: None }
    }

    /// What holds where there is no classifier: `Ok` is a success, and any error a failure.
    #[must_use]
    pub fn of<T, E>(result: &Result<T, E>) -> Self {
        Self::new(if result.is_ok() { Outcome::Success } else { Outcome::Failure })
    }

    /// The same with a class of the error.
    #[must_use]
    pub fn with_error_class(mut self, class: impl Into<String>) -> Self {
        self.error_class = class.into();
        self
    }

    /// A failure or timeout of the caller's own making.
    pub(crate) fn is_local_failure(&self) -> bool {
        self.is_failure() && self.origin == Some(Origin::Local)
    }

    /// It can move a breaker towards open.
    pub(crate) fn moves(&self) -> bool {
        self.is_failure() && self.origin != Some(Origin::Local)
    }

    fn is_failure(&self) -> bool {
        matches!(self.outcome, Outcome::Failure | Outcome::Timeout)
    }

    /// What it means to the local breaker.
    pub(crate) fn local_outcome(&self) -> Outcome {
        if self.is_local_failure() { Outcome::Ignored } else { self.outcome }
    }

    /// Within the protocol's bounds. `took` is how long ago the permit was given.
    pub(crate) fn bounded(mut self, took: Duration) -> Self {
        self.duration = Some(self.duration.unwrap_or(took).min(DURATION_MAX));
        self.retry_after = self.retry_after.map(|wait| wait.min(DURATION_MAX));
        if !self.error_class.is_empty() {
            let printable = |byte: u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' };
            self.error_class = self.error_class.bytes().take(ERROR_CLASS_BYTES).map(printable).collect();
        }
        self
    }
}
