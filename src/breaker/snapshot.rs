//! A breaker as plain data, for a store to keep and another server to go on from.
//!
//! The ledger of closed permits is not in it: those of before a restart are stale. Probes are, one by one.

use super::{
    CallerId, CallerTotals, Override, Totals,
    permit::Probe,
    state::State,
    streak::StreakSnapshot,
    time::Timestamp,
    window::{CallerTag, Window},
};

/// Everything about a breaker except its key and its policy.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// Raised by every change that has to be committed before it is told.
    pub version: u64,
    /// Raised by every move.
    pub generation: u64,
    /// The computed state.
    pub state: State,
    /// When it was entered.
    pub since: Timestamp,
    /// Failures in a row.
    pub streak: StreakSnapshot,
    /// The recent calls; absent while there are none.
    pub window: Option<Window>,
    /// Probes that are out, also those of earlier rounds.
    pub probes: Vec<Probe>,
    /// The operators' states over the computed one, the strongest first.
    pub overrides: Vec<Override>,
    /// Counts over its life.
    pub totals: Totals,
    /// Its callers. `None` while nobody gave a name.
    pub callers: Option<CallersSnapshot>,
}

impl Snapshot {
    /// Gives callers other ids.
    pub fn rename_callers(&mut self, new_id: impl Fn(CallerId) -> CallerId) {
        let rename = |id: &mut CallerId| *id = new_id(*id);
        let rename_round = |state: &mut State| {
            if let State::HalfOpen(round) = state {
                round.failed.iter_mut().for_each(rename);
                round.stepped_back.iter_mut().for_each(|(id, _)| rename(id));
            }
        };
        rename_round(&mut self.state);
        self.probes.iter_mut().for_each(|probe| rename(&mut probe.permit.caller));
        for known in self.callers.iter_mut().flat_map(|callers| &mut callers.known) {
            rename(&mut known.caller);
            rename_round(&mut known.state);
        }
    }
}

/// Who calls a breaker, as data.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallersSnapshot {
    /// At least as high as any caller's generation ever was.
    pub generation: u64,
    /// There has been one caller at most, whose streak and window are the breaker's.
    pub is_alone: bool,
    /// Those that are known, by id.
    pub known: Vec<CallerSnapshot>,
}

/// One caller of a breaker, as data.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CallerSnapshot {
    /// Who.
    pub caller: CallerId,
    /// Raised by every move of its scope.
    pub generation: u64,
    /// The state of its scope.
    pub state: State,
    /// When it was entered.
    pub since: Timestamp,
    /// When the caller was last seen.
    pub seen: Timestamp,
    /// Its calls.
    pub totals: CallerTotals,
    /// How its calls are marked in the breaker's window.
    pub tag: CallerTag,
    /// Its failures since anybody's last success.
    pub run_failures: u64,
    /// Its failures in a row.
    pub streak: StreakSnapshot,
    /// Its recent calls; absent while there are none.
    pub window: Option<Window>,
}
