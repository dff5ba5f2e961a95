//! Every limit that a client can reach, in one table.
//!
//! A refusal is made of an entry here and nowhere else, so what it says holds for all of them: it names the settings that
//! raise the limit, and none where the limit is fixed. A test compares those names with the configuration.

use std::{fmt, time::Duration};

use crate::{
    engine::Error,
    share::{Holder, Pool},
};

/// What is bounded, for those who are refused and for operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::manual_non_exhaustive, reason = "the attribute would let other modules of this crate make one")]
pub struct Limit {
    /// Its name in errors, metrics and server info: that of its setting where it has exactly one of its own.
    pub name: &'static str,
    /// The stable name of its error: `CALL_LIMIT`.
    pub reason: &'static str,
    /// What is bounded, in the plural: `calls at a time`.
    pub what: &'static str,
    /// What to do at the bound, beside raising it.
    pub advice: &'static str,
    /// The settings under `limits` that raise it. None: it is fixed.
    pub settings: &'static [&'static str],
    /// When it may be worth another try. Zero: waiting does not help.
    pub retry_after: Duration,
    /// Limits are made in this module only.
    listed: (),
}

impl Limit {
    /// The refusal of whatever would exceed it.
    #[must_use]
    pub const fn reached(&self, max: u64) -> Error {
        let Self { name, reason, what, advice, settings, retry_after, listed: () } = *self;
        Error::Limit { name, reason, what, max, advice, settings, retry_after }
    }
}

/// How much of a limit is used, and which holders use the most of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level {
    /// The limit's name.
    pub name: &'static str,
    /// The bound.
    pub max: u64,
    /// What is used. `None`: it bounds each request, stream or breaker by itself.
    pub used: Option<u64>,
    /// How often a holder was refused. `None`: it is not shared.
    pub refused: Option<u64>,
    /// The holders that use the most, the biggest first.
    pub biggest: Vec<(Holder, u64)>,
}

impl Level {
    /// A limit that is shared, with the `biggest` holders that use the most.
    #[must_use]
    pub fn of(pool: &Pool, biggest: usize) -> Self {
        Self {
            name: pool.limit().name,
            max: pool.max(),
            used: Some(pool.used()),
            refused: Some(pool.refused()),
            biggest: if biggest == 0 { Vec::new() } else { pool.biggest(biggest) },
        }
    }

    /// A limit of all holders together that no holder has a share of.
    #[must_use]
    pub const fn unshared(name: &'static str, max: u64, used: u64) -> Self {
        Self { name, max, used: Some(used), refused: None, biggest: Vec::new() }
    }

    /// A limit of each request, stream or breaker.
    #[must_use]
    pub const fn of_each(name: &'static str, max: u64) -> Self {
        Self { name, max, used: None, refused: None, biggest: Vec::new() }
    }
}

/// What to do at a limit: the advice, and the settings that raise it.
pub(crate) struct Remedy(pub(crate) &'static str, pub(crate) &'static [&'static str]);

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        for (index, setting) in self.1.iter().enumerate() {
            let before = if index == 0 { ", or raise" } else { " or" };
            write!(f, "{before} limits.{setting}")?;
        }
        Ok(())
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $reason:literal, $what:literal, $advice:literal, $settings:expr, $millis:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $id: Limit = Limit {
                name: $name,
                reason: $reason,
                what: $what,
                advice: $advice,
                settings: &$settings,
                retry_after: Duration::from_millis($millis),
                listed: (),
            };
        )*

        /// All of them.
        pub const ALL: &[Limit] = &[$($id),*];
    };
}

// Each: name, reason, what, advice, settings, milliseconds after which another try may be worth it.
limits! {
    /// Connections of the gRPC port.
    CONNECTIONS = "max_connections", "CONNECTION_LIMIT", "connections", "close some", ["max_connections"], 5_000;
    /// Calls under way.
    CALLS = "max_in_flight", "CALL_LIMIT", "calls at a time", "send fewer at a time, or use a session", ["max_in_flight"], 100;
    /// Places of operators' calls.
    OPERATOR_CALLS = "operator_calls", "CALL_LIMIT", "operators' calls at a time", "send fewer at a time", [], 100;
    /// Sessions and watches.
    STREAMS = "max_streams", "STREAM_LIMIT", "streams at a time", "end some", ["max_connections", "max_watchers"], 5_000;
    /// Watches of the health service.
    HEALTH_WATCHES = "health_watches", "STREAM_LIMIT", "health watches at a time", "end some", ["max_connections"], 5_000;
    /// Streams of the reflection service.
    REFLECTION_STREAMS = "reflection_streams", "STREAM_LIMIT", "reflection streams at a time", "end some", [], 5_000;
    /// Bytes of unfinished messages.
    UNREAD_BYTES = "unread_bytes", "UNREAD_LIMIT", "bytes of unfinished messages", "send each message at once and whole", ["unread_bytes"], 100;
    /// Bytes of large answers that their clients have not taken yet.
    UNSENT_BYTES = "unsent_bytes", "UNSENT_LIMIT", "bytes of answers that are not read", "read each answer as it comes, or ask for smaller pages", [], 100;
    /// Items of one frame of a session.
    FRAME_ITEMS = "frame_items", "FRAME_LIMIT", "items in a frame", "send them in several frames", [], 0;
    /// Tallies in all batches of one frame of a session.
    FRAME_TALLIES = "frame_tallies", "FRAME_LIMIT", "tallies in a frame", "send them in several frames", [], 0;
    /// Connections of the HTTP port.
    HTTP_CONNECTIONS = "max_http_connections", "CONNECTION_LIMIT", "HTTP connections", "close some", ["max_http_connections"], 1_000;
    /// Requests of the HTTP port.
    HTTP_REQUESTS = "max_http_in_flight", "REQUEST_LIMIT", "HTTP requests at a time", "send fewer at a time", ["max_http_in_flight"], 1_000;
    /// Places of operators' requests of the HTTP port.
    HTTP_OPERATOR_REQUESTS = "http_operator_requests", "REQUEST_LIMIT", "operators' HTTP requests at a time", "send fewer at a time", [], 1_000;
    /// Event streams of the HTTP port.
    HTTP_STREAMS = "max_http_streams", "STREAM_LIMIT", "event streams at a time", "close some", ["max_http_streams"], 1_000;
    /// Sessions of the dashboard. At the bound the oldest of the identity that has the most ends.
    DASHBOARD_SESSIONS = "dashboard_sessions", "SESSION_LIMIT", "dashboard sessions", "sign out of some", [], 0;
    /// Watches.
    WATCHERS = "max_watchers", "WATCHER_LIMIT", "watchers", "watch with one stream a process and filter there", ["max_watchers"], 5_000;
    /// Keys and prefixes that watches name.
    WATCH_KEYS = "max_watch_keys", "WATCH_KEY_LIMIT", "keys and prefixes of watches", "watch a prefix in place of many keys", ["max_watch_keys"], 5_000;
    /// Handles of all sessions.
    HANDLES = "max_handles", "HANDLE_LIMIT", "handles of sessions", "name breakers by key where a session uses them once, or end unused sessions", ["max_handles"], 5_000;
    /// Breakers.
    BREAKERS = "max_breakers", "BREAKER_LIMIT", "breakers", "use one key for each dependency, not for each request", ["max_breakers"], 1_000;
    /// Listings of breakers, those that wait included.
    LISTINGS = "listings", "LISTING_LIMIT", "listings of breakers at a time", "wait for one before the next, or follow the breakers with a watch", [], 100;
    /// Request ids remembered.
    REQUEST_IDS = "max_request_ids", "REQUEST_ID_LIMIT", "request ids", "ask for shorter leases", ["max_request_ids"], 1_000;
    /// Clients whose last batch is remembered.
    BATCH_CLIENTS = "max_batch_clients", "CLIENT_LIMIT", "clients that send batches", "give each process one client_id for its life", ["max_batch_clients"], 10_000;
    /// Operators' policies.
    POLICIES = "max_policies", "POLICY_LIMIT", "policies", "use a pattern for several breakers, or delete unused policies", ["max_policies"], 60_000;
    /// Tokens.
    TOKENS = "max_tokens", "TOKEN_LIMIT", "tokens", "revoke those that are not used", ["max_tokens"], 60_000;
    /// Overrides of one breaker.
    OVERRIDES = "overrides", "OVERRIDE_LIMIT", "overrides of a breaker", "clear one that is no longer needed: GetState lists them", [], 0;
    /// Tests of webhooks.
    WEBHOOK_TESTS = "webhook_tests", "TEST_LIMIT", "tests at a time", "wait until one has ended", [], 5_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_settings_that_raise_the_limit_and_none_of_a_fixed_one() {
        let said = |limit: Limit| limit.reached(7).to_string();
        assert_eq!(said(FRAME_ITEMS), "the limit of 7 items in a frame is reached: send them in several frames");
        assert!(said(POLICIES).ends_with("or delete unused policies, or raise limits.max_policies"));
        assert!(said(STREAMS).ends_with(": end some, or raise limits.max_connections or limits.max_watchers"));
    }

    #[test]
    fn each_limit_has_a_name_of_its_own() {
        let mut names: Vec<_> = ALL.iter().map(|limit| limit.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
