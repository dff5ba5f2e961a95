//! Events that have left the log and are kept for the history: some of every breaker, whatever others do.
//!
//! Each event is somebody's: of the operator that asked for it, else of whoever made its breaker. At the bound the holder with the
//! most bytes loses an event, and among its own breakers the one with the most. So an identity that declares breakers, or rewrites
//! a pattern, without end pushes out its own events and nobody else's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeBounds,
    sync::Arc,
};

use super::events::{Event, KEPT_EACH};
use crate::{
    breaker::Timestamp,
    share::Holder,
    store::{AuditRetention, Trail},
};

/// Events that age takes away at once, at most.
const AGED_MAX: usize = 64;

/// Events by sequence, and whose they are.
#[derive(Default, Debug)]
pub(super) struct Kept {
    events: BTreeMap<u64, (Arc<Event>, Holder)>,
    /// What each holder has, by breaker.
    trails: HashMap<Holder, Trail>,
    /// The holders by what they have.
    ranks: BTreeSet<(u64, Holder)>,
    bytes: u64,
}

impl Kept {
    pub(super) fn add(&mut self, event: Arc<Event>, holder: Holder, retention: &AuditRetention) {
        let trail = self.trails.get(&holder);
        if trail.is_some_and(|trail| trail.held(&event.key) >= KEPT_EACH) {
            self.change(&holder, |trail| trail.take_oldest(&event.key));
        }
        self.change(&holder, |trail| {
            trail.add(&event.key, event.sequence, event.at, event.bytes());
            None
        });
        self.events.insert(event.sequence, (event, holder));
        self.trim(retention, Timestamp::default());
    }

    pub(super) fn trim(&mut self, retention: &AuditRetention, now: Timestamp) {
        while self.events.len() as u64 > retention.entries || self.bytes > retention.bytes {
            let Some((_, biggest)) = self.ranks.last() else { break };
            let biggest = biggest.clone();
            self.change(&biggest, Trail::take_surplus);
        }
        for _ in 0..AGED_MAX {
            let Some((sequence, (oldest, holder))) = self.events.first_key_value() else { break };
            if now.since(oldest.at) <= retention.age {
                break;
            }
            let (sequence, holder) = (*sequence, holder.clone());
            self.change(&holder, |trail| trail.take(sequence));
        }
    }

    pub(super) fn get(&self, sequence: u64) -> Option<Arc<Event>> {
        self.events.get(&sequence).map(|(event, _)| Arc::clone(event))
    }

    pub(super) fn range(&self, sequences: impl RangeBounds<u64>) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.range(sequences).map(|(_, (event, _))| event)
    }

    /// Changes what a holder has; `change` says which event has gone.
    fn change(&mut self, holder: &Holder, change: impl FnOnce(&mut Trail) -> Option<u64>) {
        let trail = self.trails.entry(holder.clone()).or_default();
        let before = trail.bytes();
        let gone = change(trail);
        let after = trail.bytes();
        if after == 0 {
            self.trails.remove(holder);
        }
        self.ranks.remove(&(before, holder.clone()));
        if after > 0 {
            self.ranks.insert((after, holder.clone()));
        }
        self.bytes = self.bytes + after - before;
        if let Some(gone) = gone {
            self.events.remove(&gone);
        }
    }
}
