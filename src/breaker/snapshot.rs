//! A breaker as plain data, for a store to keep and another server to go on from.
//!
//! The ledger of closed permits is not in it: those of before a restart are stale. Probes are, one by one.

use super::{Override, Totals, permit::Probe, state::State, streak::StreakSnapshot, time::Timestamp, window::Window};

/// Everything about a breaker except its key and its policy.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// Raised by every change that has to be committed before it is told.
    pub version: u64,
    /// Raised by every move.
    pub generation: u64,
    /// The computed state.
    pub state: State,
    /// When it was entered.
    pub since: Timestamp,
    /// Recoveries that have failed in a row.
    pub failed_recoveries: u32,
    /// Failures in a row.
    pub streak: StreakSnapshot,
    /// The recent calls; absent while there are none.
    pub window: Option<Window>,
    /// Probes that are out, also those of earlier rounds.
    pub probes: Vec<Probe>,
    /// The operator's state over the computed one.
    pub forced: Option<Override>,
    /// Counts over its life.
    pub totals: Totals,
}
