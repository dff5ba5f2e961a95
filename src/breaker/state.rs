//! The three states, each with what it needs and nothing else.

use super::time::Timestamp;

/// A state by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StateName {
    /// Calls are permitted and judged.
    Closed,
    /// Calls are rejected.
    Open,
    /// Probes decide.
    HalfOpen,
}

impl StateName {
    /// The state as logs, metrics and commands name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A state with its data. Few breakers are half-open at a time, so a round is kept elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Calls are permitted and judged.
    Closed,
    /// Calls are rejected until the open period has passed.
    Open {
        /// When it has.
        until: Timestamp,
    },
    /// Probes decide.
    HalfOpen(Box<Round>),
}

/// A half-open round: what its probes have said so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Round {
    /// When it began. An override makes a round start over, so this may be later than the move to half-open.
    pub began: Timestamp,
    /// When the round ends without a verdict. [`Timestamp::NEVER`] where there is no limit, or while it rests under
    /// `forced_open`.
    pub until: Timestamp,
    /// Probes that succeeded.
    pub successes: u32,
    /// Probes that failed.
    pub failures: u32,
    /// Until when the dependency asked to be left alone, with one of the failures.
    pub asked_until: Timestamp,
}

impl State {
    /// The state's name.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::Closed => StateName::Closed,
            Self::Open { .. } => StateName::Open,
            Self::HalfOpen(_) => StateName::HalfOpen,
        }
    }

    /// When the state ends by itself.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        match self {
            Self::Closed => Timestamp::NEVER,
            Self::Open { until } => *until,
            Self::HalfOpen(round) => round.until,
        }
    }
}
