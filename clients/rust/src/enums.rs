//! The field's words, as values. The numbers are the protocol's.

use std::fmt;

/// An enum whose values have the protocol's numbers, and the names that all clients use.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $number:literal $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $value,)+ }

        impl $name {
            /// The name that logs, metrics and all other clients use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }

            /// The value of a number on the wire; none for one that this client does not know.
            #[allow(dead_code, reason = "some are only sent, others only read")]
            pub(crate) const fn from_wire(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$value),)+ _ => None }
            }

            /// Its number on the wire.
            #[allow(dead_code, reason = "some are only sent, others only read")]
            pub(crate) const fn wire(self) -> i32 {
                match self { $(Self::$value => $number,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a breaker has computed from the calls reported to it.
    State {
        /// Calls are permitted.
        Closed = 1 "closed",
        /// Calls are rejected until the open period has passed.
        Open = 2 "open",
        /// A few calls are permitted, as probes.
        HalfOpen = 3 "half_open",
    }
}

words! {
    /// A state that an operator holds a breaker in, over the computed one.
    OverrideMode {
        /// Every call is rejected.
        ForcedOpen = 1 "forced_open",
        /// Every call is permitted.
        ForcedClosed = 2 "forced_closed",
        /// Every call is permitted, and events say what would have happened.
        Shadow = 3 "shadow",
    }
}

words! {
    /// How a permitted call went.
    Outcome {
        /// The dependency answered as it should.
        Success = 1 "success",
        /// The dependency failed.
        Failure = 2 "failure",
        /// The dependency did not answer in time: a failure, told apart in the numbers.
        Timeout = 3 "timeout",
        /// The call says nothing about the dependency (a 404, a validation error).
        Ignored = 4 "ignored",
        /// The call never finished (the user went away).
        Cancelled = 5 "cancelled",
    }
}

words! {
    /// On whose side a failure arose.
    Origin {
        /// The dependency, or the way to it.
        Dependency = 1 "dependency",
        /// The caller itself (out of file descriptors, could not resolve). It counts for nobody.
        Local = 2 "local",
    }
}

words! {
    /// Whose evidence the quorum counts.
    Voters {
        /// Each caller by its full name is one voter.
        Instance = 1 "instance",
        /// All callers of a service, the part of the name before the first `/`, are one voter.
        Service = 2 "service",
    }
}

words! {
    /// Which reports may trip a breaker.
    TripOn {
        /// Any counted report, including a success that completes a minimum.
        Any = 1 "any",
        /// Failures only; for the slow-call rule, slow calls only.
        Failure = 2 "failure",
    }
}

words! {
    /// Why a call was rejected.
    Reason {
        /// The breaker is open.
        Open = 1 "open",
        /// All probes are out, or the next one is another caller's.
        HalfOpenFull = 2 "half_open_full",
        /// This caller's own calls keep failing; it alone is refused.
        CallerIsolated = 3 "caller_isolated",
        /// An operator holds the breaker open.
        ForcedOpen = 4 "forced_open",
        /// The server could not be asked, and [`WhenUnavailable::Reject`](crate::WhenUnavailable::Reject) holds. It is
        /// never on the wire.
        Unavailable = 100 "unavailable",
    }
}

words! {
    /// Where a decision came from.
    Source {
        /// This process's memory.
        Cached = 0 "cached",
        /// The server was asked.
        Server = 1 "server",
        /// The local breaker stood in.
        Local = 2 "local",
        /// The server could not be asked, and `when_unavailable` is permit or reject.
        Unavailable = 3 "unavailable",
    }
}

words! {
    /// What happened to a breaker.
    EventKind {
        /// It tripped, or a recovery failed.
        Opened = 1 "opened",
        /// The open period has passed: probes are permitted.
        HalfOpened = 2 "half_opened",
        /// Enough probes succeeded.
        Closed = 3 "closed",
        /// It was reset.
        Reset = 4 "reset",
        /// The policy in force changed.
        PolicyChanged = 5 "policy_changed",
        /// An operator set an override.
        OverrideSet = 6 "override_set",
        /// An override was cleared, or has ended.
        OverrideCleared = 7 "override_cleared",
        /// It would have opened, had it not been in shadow.
        WouldHaveOpened = 8 "would_have_opened",
        /// It was deleted.
        Deleted = 9 "deleted",
        /// One caller is refused, and nobody else.
        CallerIsolated = 10 "caller_isolated",
        /// An isolated caller is permitted probes.
        CallerHalfOpened = 11 "caller_half_opened",
        /// A caller is no longer isolated.
        CallerRestored = 12 "caller_restored",
        /// Events were lost: the server no longer had them, or this subscription was read too slowly. Never on the wire.
        Lost = 100 "resync",
    }
}
