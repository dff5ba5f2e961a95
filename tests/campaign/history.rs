//! The history as anybody has seen it. Who sees an event first sets it down; everybody else must see the same.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
};

use fuseboard::pb::Event;

/// All events, by sequence.
#[derive(Default)]
pub(crate) struct History {
    events: Mutex<Vec<Option<Seen>>>,
}

/// What is kept of an event.
#[derive(Clone)]
struct Seen {
    breaker: String,
    digest: u64,
}

impl History {
    /// Takes an event in. False where another of the same sequence was seen before.
    pub(crate) fn observe(&self, event: &Event) -> bool {
        let Some(index) = event.sequence.checked_sub(1) else { return false };
        let mut events = self.events.lock().expect("nobody panics inside");
        if events.len() <= index as usize {
            events.resize(index as usize + 1, None);
        }
        let digest = digest(event);
        let seen = events[index as usize].get_or_insert_with(|| Seen { breaker: event.breaker.clone(), digest });
        seen.digest == digest
    }

    /// The newest sequence seen.
    pub(crate) fn len(&self) -> u64 {
        self.events.lock().expect("nobody panics inside").len() as u64
    }

    /// Sequences of the breakers that a filter matches, up to one.
    pub(crate) fn matching(&self, upto: u64, matches: impl Fn(&str) -> bool) -> Vec<u64> {
        let events = self.events.lock().expect("nobody panics inside");
        let numbered = (1..=upto).zip(events.iter());
        numbered.filter(|(_, seen)| seen.as_ref().is_some_and(|seen| matches(&seen.breaker))).map(|(n, _)| n).collect()
    }

    /// The newest sequence of a breaker.
    pub(crate) fn newest_of(&self, breaker: &str) -> u64 {
        let events = self.events.lock().expect("nobody panics inside");
        let last = events.iter().rposition(|seen| seen.as_ref().is_some_and(|seen| seen.breaker == breaker));
        last.map_or(0, |index| index as u64 + 1)
    }
}

/// What must be the same for everybody. `status` tells times as of the answer and is left out.
fn digest(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.kind, &event.breaker, event.generation, event.from, event.to, event.reason).hash(&mut hasher);
    (&event.actor, &event.comment, event.policy_version).hash(&mut hasher);
    event.event_time.as_ref().map(|time| (time.seconds, time.nanos)).hash(&mut hasher);
    hasher.finish()
}
