//! What a run came to.

use std::time::Duration;

/// Counts over all lives.
#[derive(Clone, Default, Debug)]
pub(crate) struct Figures {
    pub(crate) lives: u64,
    /// Lives that ended while the server was starting.
    pub(crate) unborn: u64,
    /// Lives that ended at an operation of the store.
    pub(crate) at_operations: u64,
    pub(crate) events: u64,
    pub(crate) calls: u64,
    pub(crate) probes: u64,
    /// Probes reported in a later life than the one that granted them.
    pub(crate) probes_over_restart: u64,
    pub(crate) closed_permits_over_restart: u64,
    /// Acquires of probes asked again in a later life, and those whose answer was the same.
    pub(crate) asked_again: u64,
    pub(crate) same_answer: u64,
    pub(crate) provisional: u64,
    pub(crate) store_unavailable: u64,
    pub(crate) writes: u64,
    pub(crate) unanswered_kept: u64,
    pub(crate) unanswered_lost: u64,
    pub(crate) batches: u64,
    /// Calls in batches that were answered well before a kill.
    pub(crate) calls_kept: u64,
    /// Calls in batches that were marked as counted, and whose counts were lost.
    pub(crate) calls_lost: u64,
    /// Calls in batches that were sent again, and counted then.
    pub(crate) calls_again: u64,
    pub(crate) resumed: u64,
    /// How far the server's time was ahead of the machine's.
    pub(crate) ahead: Duration,
    /// From the start of the process to its word that it serves.
    pub(crate) serving: Vec<Duration>,
}

impl Figures {
    /// As a table for people.
    pub(crate) fn print(&self) {
        let mut serving = self.serving.clone();
        serving.sort_unstable();
        let quantile = |share: f64| {
            let index = (serving.len() as f64 * share) as usize;
            serving.get(index.min(serving.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        for (name, count) in [
            ("kills", self.lives),
            ("  while starting", self.unborn),
            ("  at an operation of the store", self.at_operations),
            ("events", self.events),
            ("watches resumed", self.resumed),
            ("calls asked for", self.calls),
            ("probes granted", self.probes),
            ("  reported in a later life", self.probes_over_restart),
            ("  asked again in a later life", self.asked_again),
            ("    and answered the same", self.same_answer),
            ("closed permits reported in a later life", self.closed_permits_over_restart),
            ("rejections that were provisional", self.provisional),
            ("answers STORE_UNAVAILABLE", self.store_unavailable),
            ("operators' and services' writes", self.writes),
            ("  unanswered and in force", self.unanswered_kept),
            ("  unanswered and not in force", self.unanswered_lost),
            ("batches", self.batches),
            ("  calls that had to be kept", self.calls_kept),
            ("  calls that were lost", self.calls_lost),
            ("  calls counted when sent again", self.calls_again),
        ] {
            println!("{name:<42} {count:>10}");
        }
        println!("{:<42} {:>7.1} ms", "server's time ahead of the machine's", self.ahead.as_secs_f64() * 1e3);
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            println!("{:<42} {:>7.1} ms", format!("time to serve, {name}"), quantile(share).as_secs_f64() * 1e3);
        }
    }
}
