//! Fuseboard's client: one circuit breaker for a whole fleet, decided in your process's memory.
//!
//! A [`Client`] follows a Fuseboard server. A [`Breaker`] guards one dependency: [`Breaker::execute`] makes a call if the
//! breaker permits it and reports how it went; [`Breaker::acquire`] gives a [`Permit`] for the two steps by hand. While the
//! server is away, a breaker in this process stands in.
//!
//! Inside, from the pure to the wire: `view`, `tally`, `local` and `core` decide and take `now` as an argument; `shared` is
//! what handles and tasks share; `link`, `reports` and `batches` keep the session; `watch` follows events; `policies`
//! declares; `channel` dials.

mod batches;
mod breaker;
mod channel;
mod client;
mod core;
mod enums;
mod errors;
mod events;
mod link;
mod local;
mod observer;
mod operator;
mod options;
mod permit;
mod policies;
mod policy;
mod report;
mod reports;
mod shared;
mod stats;
mod tally;
pub mod testing;
#[cfg(feature = "tower")]
mod tower;
mod view;
mod watch;
mod wire;

/// The protocol's messages, generated: what [`Status::message`] holds.
#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated")]
pub mod pb {
    include!("gen/fuseboard.v1.rs");
}

#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated")]
mod clock_pb {
    include!("gen/fuseboard.testing.v1.rs");
}

#[cfg(feature = "tower")]
pub use crate::tower::{BreakerLayer, BreakerService};
pub use crate::{
    breaker::{Breaker, Override, Status, View},
    client::Client,
    enums::{EventKind, Origin, Outcome, OverrideMode, Reason, Source, State, TripOn, Voters},
    errors::{CallError, Error, Rejection},
    events::{Event, Subscription},
    observer::Observer,
    operator::Operator,
    options::{BreakerOptions, Clock, Mode, Options, Tls, WhenUnavailable},
    permit::Permit,
    policy::{ExpiredPermit, OpenBackoff, Policy, Window},
    report::Report,
    stats::{Counts, Stats},
};

/// The local breaker alone, for the conformance driver.
#[doc(hidden)]
pub mod internal {
    pub use crate::local::{Grant, LocalBreaker, Refusal};
    use crate::{Policy, local::LocalRules};

    /// One that follows a policy, and starts closed.
    #[must_use]
    pub fn local_breaker(policy: &Policy) -> LocalBreaker {
        LocalBreaker::new(LocalRules::of(&policy.message()))
    }
}
