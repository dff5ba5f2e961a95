//! An Acquire that leaves no trace, for those who want to know whether the engine gets through one.

use std::sync::Arc;

use super::Engine;
use crate::breaker::{
    Acquire, Breaker, CALLERS_MAX, CallerId, Decision, LEDGER_BYTES_MAX, Outcome, Report, RequestId, ServiceId,
};

/// Key of a breaker that is in no table.
const KEY: &str = "fuseboard:progress";

impl Engine {
    /// Acquires and gives back a permit of a private breaker, under the policy that fits its key, and takes in passing the locks
    /// that calls take: the policies', one breaker's (`turn` by `turn` another one), the timers' and the event log's. Returns only
    /// if none of them is held for good. No breaker is made and nothing is counted.
    pub fn check_progress(&self, turn: u32) {
        let shared = &self.shared;
        let moment = self.moment();
        if self.find(KEY).is_none() {
            let policy = shared.policies.resolve(KEY, None);
            let mut breaker = Breaker::new(Arc::clone(&policy.policy), 1, moment.now);
            let acquire = Acquire {
                caller: CallerId::default(),
                service: ServiceId::default(),
                request: RequestId::default(),
                lease: None,
                ledger_bytes_max: LEDGER_BYTES_MAX,
                callers_max: CALLERS_MAX,
            };
            if let Decision::Permitted(permit) = breaker.acquire(moment, &acquire).answer {
                breaker.report(moment, &permit, &Report::of(Outcome::Cancelled));
            }
        }
        let places = shared.registry.end().max(1);
        self.survey(turn % places, 1, |_| {});
        shared.timers.next();
        shared.events.oldest();
    }
}
