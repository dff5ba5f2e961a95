//! The event log: what happened to all breakers, in one order.
//!
//! The store numbers events and makes them durable; only then do they come here, where all that is kept is in memory for
//! those who read. Invariant: sequences have no gap, and times never go back; the log holds the newest events, up to its
//! bounds in number and age. Watchers have no queues of their own: each remembers the sequence it has read to and reads on from the log, so a slow one costs nothing and
//! delays nobody. One that the log has gone past is told what it lost.
//!
//! Events that the log's bound in number takes away are kept for the history, at most [`KEPT_EACH`] of each breaker and those
//! of a quarter of the log in all, so that neither a breaker with many events nor an identity with many breakers takes away those of the others. They are not
//! part of the log: watchers resume from the log alone, and they end with the process.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::kept::Kept;
use crate::{
    breaker::{CallerEvidence, CallerId, CallerStatus, Evidence, Kind, Reason, StateName, Status, Timestamp},
    share::Holder,
    store::AuditRetention,
};

/// Events of a breaker that are kept when they have left the log.
pub const KEPT_EACH: usize = 16;
/// Memory of all of them.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// What happened to a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The breaker moved, or was told something.
    Moved(Kind),
    /// It was deleted.
    Deleted,
}

impl EventKind {
    /// The kind as logs, metrics and commands name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Moved(kind) => kind.name(),
            Self::Deleted => "deleted",
        }
    }
}

impl EventReason {
    /// The reason as logs, metrics and commands name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breaker(reason) => reason.name(),
            Self::Declared => "declared",
            Self::PolicyFile => "policy_file",
        }
    }
}

/// Why it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventReason {
    /// The breaker's own reason.
    Breaker(Reason),
    /// A service declared a policy.
    Declared,
    /// The policy file was read.
    PolicyFile,
}

/// An entry of the event log.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Event {
    /// Its place in the log.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
    /// To which breaker.
    pub key: Arc<str>,
    /// The computed state before.
    pub from: StateName,
    /// The computed state after.
    pub to: StateName,
    /// Why.
    pub reason: EventReason,
    /// The numbers behind it.
    pub evidence: Option<Evidence>,
    /// Whose call or report made the move, or whose scope moved, where that is known.
    pub caller: Option<Arc<str>>,
    /// The caller's scope that moved, after it. `None`: the breaker moved.
    pub scope: Option<CallerStatus>,
    /// Names of the callers that it is about.
    pub names: Box<[(CallerId, Arc<str>)]>,
    /// Error class of the report that made it.
    pub error_class: Box<str>,
    /// Who asked for it.
    pub actor: Box<str>,
    /// In which words.
    pub comment: Box<str>,
    /// When; of several moves, the last.
    pub at: Timestamp,
    /// Version of the policy in force.
    pub policy_version: u64,
    /// The breaker after it.
    pub status: Status,
    /// Moves that it stands for: more than one if a burst was folded. The other fields describe the last of them.
    pub moves: u64,
    /// When the first of several moves was made.
    pub first_at: Option<Timestamp>,
}

impl Event {
    /// Memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let callers = self.evidence.as_ref().and_then(|evidence| evidence.callers.as_ref());
        let callers = callers.map_or(0, |callers| callers.with.len() + callers.without.len());
        let texts = [self.key.len(), self.error_class.len(), self.actor.len(), self.comment.len()];
        let names = self.names.iter().map(|(_, name)| size_of::<(CallerId, Arc<str>)>() + name.len());
        size_of::<Self>() + callers * size_of::<CallerEvidence>() + texts.into_iter().chain(names).sum::<usize>()
    }

    /// The name of a caller that it is about.
    #[must_use]
    pub fn name(&self, caller: CallerId) -> Option<&str> {
        self.names.iter().find(|(id, _)| *id == caller).map(|(_, name)| &**name)
    }
}

/// What a reader finds after a sequence.
#[derive(Debug)]
pub(super) enum Read {
    /// The next events; none where the reader has them all.
    Events(Vec<Arc<Event>>),
    /// The log has gone past: this many events are lost to the reader.
    Lost(u64),
    /// The sequence has not been reached yet.
    Future,
}

#[derive(Default, Debug)]
struct Held {
    log: VecDeque<Arc<Event>>,
    /// Whose each of them is, in the same order.
    holders: VecDeque<Holder>,
    kept: Kept,
}

#[derive(Debug)]
pub(super) struct EventLog {
    events: Mutex<Held>,
    max: usize,
    max_age: Duration,
    /// The newest sequence; watchers wait for it to change.
    newest: watch::Sender<u64>,
}

impl EventLog {
    /// A log whose newest event has this sequence, and of which none is held yet.
    pub(super) fn new(max: usize, max_age: Duration, newest: u64) -> Self {
        Self { events: Mutex::default(), max: max.max(1), max_age, newest: watch::Sender::new(newest) }
    }

    /// Takes what is durable, in the order of the store's log, and tells the watchers. `holder` says whose an event is.
    pub(super) fn append(&self, events: &[Arc<Event>], holder: impl Fn(&Event) -> Holder) {
        let Some(last) = events.last() else { return };
        let mut held = self.events.lock();
        let Held { log, holders, kept } = &mut *held;
        let retention = self.kept();
        for event in events {
            if log.len() >= self.max
                && let Some(oldest) = log.pop_front()
            {
                kept.add(oldest, holders.pop_front().unwrap_or_else(Holder::server), &retention);
            }
            log.push_back(Arc::clone(event));
            holders.push_back(holder(event));
        }
        while log.front().is_some_and(|oldest| last.at.since(oldest.at) > self.max_age) {
            log.pop_front();
            holders.pop_front();
        }
        kept.trim(&retention, last.at);
        self.newest.send_replace(last.sequence);
    }

    const fn kept(&self) -> AuditRetention {
        AuditRetention { entries: (self.max / 4) as u64, bytes: KEPT_BYTES_MAX, age: self.max_age }
    }

    pub(super) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// The oldest sequence held; 0 where none is.
    pub(super) fn oldest(&self) -> u64 {
        self.events.lock().log.front().map_or(0, |event| event.sequence)
    }

    pub(super) fn len(&self) -> usize {
        self.events.lock().log.len()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// At most `max` events after a sequence.
    pub(super) fn read(&self, after: u64, max: usize) -> Read {
        let log = &self.events.lock().log;
        let newest = self.newest();
        if after >= newest {
            return if after == newest { Read::Events(Vec::new()) } else { Read::Future };
        }
        if log.front().is_none_or(|oldest| after + 1 < oldest.sequence) {
            return Read::Lost(newest - after);
        }
        Read::Events(log.range(place(log, after + 1)..).take(max).map(Arc::clone).collect())
    }

    /// The event of a sequence, while the log holds it.
    pub(super) fn get(&self, sequence: u64) -> Option<Arc<Event>> {
        match self.read(sequence.checked_sub(1)?, 1) {
            Read::Events(events) => events.into_iter().next(),
            Read::Lost(_) => self.events.lock().kept.get(sequence),
            Read::Future => None,
        }
    }

    /// The oldest events after a sequence of those that are held, oldest first.
    pub(super) fn read_on(&self, after: u64, max: usize) -> Vec<Arc<Event>> {
        let held = self.events.lock();
        let after = after.saturating_add(1);
        let events = held.kept.range(after..);
        events.chain(held.log.range(place(&held.log, after)..)).take(max).map(Arc::clone).collect()
    }

    /// The newest events before a sequence, newest first.
    pub(super) fn read_back(&self, before: u64, max: usize) -> Vec<Arc<Event>> {
        let held = self.events.lock();
        let kept = held.kept.range(..before).rev();
        held.log.range(..place(&held.log, before)).rev().chain(kept).take(max).map(Arc::clone).collect()
    }
}

/// Where in the log the first event is that has this sequence or a higher one.
fn place(log: &VecDeque<Arc<Event>>, sequence: u64) -> usize {
    let oldest = log.front().map_or(0, |event| event.sequence);
    usize::try_from(sequence.saturating_sub(oldest)).unwrap_or(usize::MAX).min(log.len())
}
