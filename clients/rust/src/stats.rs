//! What a client has done since it was made.

use std::{ops::AddAssign, time::Duration};

use crate::{Source, tally::Lost};

/// Numbers of decisions by their source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By this process's memory.
    pub cached: u64,
    /// By the server.
    pub server: u64,
    /// By the local breaker.
    pub local: u64,
    /// By `when_unavailable`.
    pub unavailable: u64,
}

impl Counts {
    pub(crate) const fn add(&mut self, source: Source) {
        let count = match source {
            Source::Cached => &mut self.cached,
            Source::Server => &mut self.server,
            Source::Local => &mut self.local,
            Source::Unavailable => &mut self.unavailable,
        };
        *count += 1;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.cached += other.cached;
        self.server += other.server;
        self.local += other.local;
        self.unavailable += other.unavailable;
    }
}

/// What became of the calls to one breaker, or to all of a client's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) permits: Counts,
    pub(crate) rejections: Counts,
    pub(crate) reported: u64,
    pub(crate) lost: Lost,
    pub(crate) unreported: u64,
    pub(crate) stale_reports: u64,
}

/// What a client has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were permitted, by who decided.
    pub permits: Counts,
    /// Calls that were rejected, by who decided.
    pub rejections: Counts,
    /// Outcomes that the server has acknowledged.
    pub reported: u64,
    /// Outcomes that could not be told.
    pub dropped_reports: u64,
    /// Rejections of this process that the server was not told of.
    pub dropped_rejections: u64,
    /// Outcomes of calls that the server did not know of.
    pub unreported: u64,
    /// Those of the reported that the server counted apart, because the breaker had moved on.
    pub stale_reports: u64,
    /// Of the session and of the watch.
    pub reconnects: u64,
    /// Of the watch.
    pub resyncs: u64,
    /// How long ago the watch said something; since the client was made where it never did.
    pub staleness: Duration,
    /// The server can be asked.
    pub usable: bool,
}

impl Stats {
    pub(crate) fn add(&mut self, account: &Account) {
        self.permits += account.permits;
        self.rejections += account.rejections;
        self.reported += account.reported;
        self.dropped_reports += account.lost.calls;
        self.dropped_rejections += account.lost.rejections;
        self.unreported += account.unreported;
        self.stale_reports += account.stale_reports;
    }
}
