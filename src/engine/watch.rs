//! One watcher's way through the event log.
//!
//! It starts with a snapshot, or where a resume position says. A snapshot is sent in parts while breakers go on moving:
//! the breakers are walked once, then what happened since the walk began is read from the log and the breakers it names
//! are sent again, until the log has nothing more; there the snapshot is complete and events go on from that very
//! sequence. So nothing is copied beforehand, and a watcher's memory is one part.
//!
//! Invariant: no message tells less of a breaker than one before it, unless a resync came in between.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    Engine,
    events::{Event, EventKind, Read},
};
use crate::{
    breaker::{CallerId, CallerStatus, KNOWN_FOR, Status, Timestamp},
    share::Use,
};

/// Most entries of a part of a snapshot: at most 64 KiB, as an entry is at most 1,000 bytes. What encodes a part keeps a buffer of
/// its size for as long as the watch lasts.
const PART_ENTRIES: usize = 64;
/// Most slots walked before another task may run.
const WALK_SLOTS: u32 = 4_096;
/// Most events taken from the log at once.
const READ_EVENTS: usize = 512;

/// What is watched. Empty parts do not narrow.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    /// These breakers, or those of `prefixes`.
    pub keys: HashSet<Box<str>>,
    /// Breakers whose key starts with one of these, or those of `keys`.
    pub prefixes: Vec<Box<str>>,
    /// Events of these kinds. Does not narrow snapshots.
    pub kinds: Vec<EventKind>,
    /// Events that this caller made. Does not narrow snapshots.
    pub caller: Option<Box<str>>,
}

impl Filter {
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    /// Whether a breaker is watched.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        (self.keys.is_empty() && self.prefixes.is_empty())
            || self.keys.contains(key)
            || self.prefixes.iter().any(|prefix| key.starts_with(&**prefix))
    }

    /// Whether an event is watched.
    #[must_use]
    pub fn has_event(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.caller.as_ref().is_none_or(|caller| event.caller.as_deref() == Some(caller))
            && self.has_key(&event.key)
    }
}

/// Where a watcher stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Which event log.
    pub history: u64,
    /// The last sequence that was read.
    pub sequence: u64,
    /// A snapshot was under way: it has to be sent again.
    pub in_snapshot: bool,
}

/// Where one breaker stands, as part of a snapshot.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its key.
    pub key: Arc<str>,
    /// Sequence of its last event.
    pub sequence: u64,
    /// Version of its policy.
    pub policy_version: u64,
    /// Where it stands.
    pub status: Status,
    /// Where the caller who asks stands with it, if it is known there.
    pub caller: Option<CallerStatus>,
    /// Callers that are isolated.
    pub callers_isolated: usize,
}

/// Why a watch could not simply go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResyncReason {
    /// The position is older than the log.
    TooOld,
    /// The position is of another log.
    OtherHistory,
    /// The position is ahead of the log.
    FromFuture,
    /// The log went past while the watcher was reading.
    SlowReader,
}

impl ResyncReason {
    /// The reason as metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooOld => "token_too_old",
            Self::OtherHistory => "other_history",
            Self::FromFuture => "token_from_future",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// What a watcher is sent.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// Part of a snapshot.
    Snapshot {
        /// Where breakers stand; a later part corrects an earlier one.
        entries: Vec<Entry>,
        /// Breakers of earlier parts that are no more.
        deleted: Vec<Arc<str>>,
        /// Whether this is the last part.
        complete: bool,
    },
    /// Something happened.
    Event(Arc<Event>),
    /// Nothing has happened.
    Progress,
    /// Events were lost; a snapshot follows.
    Resync {
        /// Why.
        reason: ResyncReason,
        /// How many, where that is known.
        lost: u64,
    },
}

/// How a watch starts and what it sends.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// What is watched.
    pub filter: Filter,
    /// Where to go on.
    pub position: Option<Position>,
    /// Only the latest event of each breaker, of those that wait.
    pub latest_only: bool,
    /// No snapshot at the start.
    pub skip_snapshot: bool,
    /// Who watches: snapshots tell where it stands.
    pub caller: Option<CallerId>,
    /// Whether the caller is there, so that the breakers that are watched by key know it. False for who may not report.
    pub is_present: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            position: None,
            latest_only: false,
            skip_snapshot: false,
            caller: None,
            is_present: true,
        }
    }
}

/// A watcher.
#[derive(Debug)]
pub struct Watch {
    engine: Engine,
    changes: watch::Receiver<u64>,
    filter: Filter,
    latest_only: bool,
    phase: Phase,
    /// The last sequence that was read from the log.
    sequence: u64,
    /// Events read and not sent, the next one last.
    waiting: Vec<Arc<Event>>,
    /// Sent before anything else.
    resync: Option<Message>,
    /// Nothing was sent yet.
    silent: bool,
    caller: Option<CallerId>,
    is_present: bool,
    /// When the breakers are told next that the caller is there.
    see_at: Timestamp,
    /// Its place, and those of its keys.
    _taken: [Use; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Walking the slots, or the keys, from here on.
    Walk(u32),
    /// Correcting what was sent.
    Correct,
    /// Following the log.
    Follow,
}

impl Watch {
    pub(super) fn new(engine: Engine, options: WatchOptions, taken: [Use; 2]) -> Self {
        let mut watch = Self {
            changes: engine.shared.events.changes(),
            sequence: engine.shared.events.newest(),
            engine,
            filter: options.filter,
            latest_only: options.latest_only,
            phase: if options.skip_snapshot { Phase::Follow } else { Phase::Walk(0) },
            waiting: Vec::new(),
            resync: None,
            silent: true,
            caller: options.caller,
            is_present: options.is_present,
            see_at: Timestamp::default(),
            _taken: taken,
        };
        if let Some(caller) = watch.caller {
            watch.engine.shared.expected.add(watch.filter.keys(), caller);
        }
        if let Some(position) = options.position {
            watch.resume(position);
        }
        watch
    }

    fn resume(&mut self, position: Position) {
        let events = &self.engine.shared.events;
        if position.history != self.engine.history() {
            return self.start_over(ResyncReason::OtherHistory, 0, events.newest());
        }
        match events.read(position.sequence, 0) {
            Read::Lost(lost) => self.start_over(ResyncReason::TooOld, lost, position.sequence + lost),
            Read::Future => self.start_over(ResyncReason::FromFuture, 0, events.newest()),
            Read::Events(_) if position.in_snapshot => self.phase = Phase::Walk(0),
            Read::Events(_) => {
                self.phase = Phase::Follow;
                self.sequence = position.sequence;
            }
        }
    }

    /// Begins a snapshot that holds what has happened up to a sequence.
    fn start_over(&mut self, reason: ResyncReason, lost: u64, sequence: u64) {
        self.engine.shared.measures.resynced(reason);
        self.sequence = sequence;
        self.phase = Phase::Walk(0);
        self.waiting.clear();
        self.resync = Some(Message::Resync { reason, lost });
    }

    /// The engine that is watched.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The server's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Where the watch stands after the last message.
    #[must_use]
    pub fn position(&self) -> Position {
        // Events that were read and wait have not been sent.
        let sequence = self.waiting.last().map_or(self.sequence, |event| event.sequence - 1);
        Position { history: self.engine.history(), sequence, in_snapshot: self.phase != Phase::Follow }
    }

    /// The next message that is there already; `None` where there is none, and [`Watch::changed`] tells when to look again.
    /// The first one is always there.
    pub async fn next(&mut self) -> Option<Message> {
        self.be_seen();
        let message = match (self.resync.take(), self.phase) {
            (Some(resync), _) => Some(resync),
            (None, Phase::Walk(from)) => Some(self.walk(from).await),
            (None, Phase::Correct) => Some(self.correct()),
            (None, Phase::Follow) => self.follow(),
        };
        let silent = std::mem::take(&mut self.silent);
        message.or_else(|| silent.then_some(Message::Progress))
    }

    /// Lets the breakers that are watched by key know that the caller is there, often enough that they go on knowing. Those that
    /// are made later know it from the start.
    fn be_seen(&mut self) {
        let Some(caller) = self.caller.filter(|_| self.is_present) else { return };
        let now = self.now();
        if now >= self.see_at {
            self.see_at = now.after(KNOWN_FOR / 4);
            self.filter.keys().for_each(|key| _ = self.engine.see(key, caller));
        }
    }

    /// Waits until something may have happened. Safe to drop at any time.
    pub async fn changed(&mut self) {
        // The sender lives as long as the engine, which this watch keeps.
        let _ = self.changes.changed().await;
    }

    pub(super) fn forget_expected(&self) {
        if let Some(caller) = self.caller {
            self.engine.shared.expected.remove(self.filter.keys(), caller);
        }
    }

    async fn walk(&mut self, from: u32) -> Message {
        let mut entries = Vec::new();
        if !self.filter.keys.is_empty() && self.filter.prefixes.is_empty() {
            let keys = self.filter.keys().skip(from as usize).take(PART_ENTRIES);
            entries.extend(keys.filter_map(|key| self.engine.logged_entry(key, self.caller)));
            let next = from + PART_ENTRIES as u32;
            if (next as usize) < self.filter.keys.len() {
                self.phase = Phase::Walk(next);
                return Message::Snapshot { entries, deleted: Vec::new(), complete: false };
            }
            return self.end_walk(entries);
        }
        let end = self.engine.end();
        for index in from..end {
            entries.extend(self.engine.logged_entry_at(index, self.caller, |key| self.filter.has_key(key)));
            self.phase = Phase::Walk(index + 1);
            if entries.len() >= PART_ENTRIES {
                return Message::Snapshot { entries, deleted: Vec::new(), complete: false };
            }
            if index % WALK_SLOTS == WALK_SLOTS - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.end_walk(entries)
    }

    /// The last part of a walk, with the first corrections.
    fn end_walk(&mut self, mut entries: Vec<Entry>) -> Message {
        self.phase = Phase::Correct;
        match self.correct() {
            Message::Snapshot { entries: later, deleted, complete } => {
                let corrected: HashSet<&str> =
                    later.iter().map(|entry| &*entry.key).chain(deleted.iter().map(|key| &**key)).collect();
                entries.retain(|entry| !corrected.contains(&*entry.key));
                entries.extend(later);
                Message::Snapshot { entries, deleted, complete }
            }
            other => other,
        }
    }

    /// The breakers of what has happened since the walk began, as far as one part holds them.
    ///
    /// The last part tells how each stood after its last event, as the next one may be on its way as an event. Any other
    /// part tells how it stands now: what was told of it may be newer than the event.
    fn correct(&mut self) -> Message {
        let events = match self.engine.shared.events.read(self.sequence, PART_ENTRIES) {
            Read::Events(events) => events,
            Read::Lost(lost) => {
                self.start_over(ResyncReason::SlowReader, lost, self.sequence + lost);
                return self.resync.take().unwrap_or(Message::Progress);
            }
            Read::Future => Vec::new(),
        };
        let mut complete = events.len() < PART_ENTRIES;
        self.sequence = events.last().map_or(self.sequence, |event| event.sequence);
        let mut latest: HashMap<&str, &Arc<Event>> = HashMap::new();
        for event in events.iter().filter(|event| self.filter.has_key(&event.key)) {
            latest.insert(&event.key, event);
        }
        let (mut entries, mut deleted) = (Vec::new(), Vec::new());
        for event in latest.into_values() {
            // An event does not tell where the caller stands who watches.
            if complete && event.kind != EventKind::Deleted && self.caller.is_none() {
                let callers_isolated = self.engine.entry(&event.key, None).map_or(0, |entry| entry.callers_isolated);
                entries.push(Entry { callers_isolated, ..Entry::from(&**event) });
                continue;
            }
            // After a deletion, too: a call may have made the breaker anew, which is no event.
            match self.engine.logged_entry(&event.key, self.caller) {
                Some(entry) => entries.push(entry),
                None => deleted.push(Arc::clone(&event.key)),
            }
            // Where more has happened since, what was just read may be newer than the part's end: it is not the last.
            complete = complete && self.sequence == self.engine.shared.events.newest();
        }
        if complete {
            self.phase = Phase::Follow;
        }
        Message::Snapshot { entries, deleted, complete }
    }

    fn follow(&mut self) -> Option<Message> {
        while self.waiting.is_empty() {
            // Marked before reading: what comes after is then seen by `changed`.
            self.changes.borrow_and_update();
            match self.engine.shared.events.read(self.sequence, READ_EVENTS) {
                Read::Events(events) => {
                    self.sequence = events.last()?.sequence;
                    self.waiting = events.into_iter().filter(|event| self.filter.has_event(event)).collect();
                    if self.latest_only {
                        keep_latest(&mut self.waiting);
                    }
                    self.waiting.reverse();
                }
                Read::Lost(lost) => {
                    self.start_over(ResyncReason::SlowReader, lost, self.sequence + lost);
                    return self.resync.take();
                }
                Read::Future => return None,
            }
        }
        self.waiting.pop().map(Message::Event)
    }
}

/// Leaves the last event of each breaker, and of each caller's scope, in order.
fn keep_latest(events: &mut Vec<Arc<Event>>) {
    let scope = |event: &Event| (Arc::clone(&event.key), event.scope.map(|scope| scope.caller));
    let last: HashMap<_, u64> = events.iter().map(|event| (scope(event), event.sequence)).collect();
    events.retain(|event| last.get(&scope(event)) == Some(&event.sequence));
}

impl From<&Event> for Entry {
    fn from(event: &Event) -> Self {
        Self {
            key: Arc::clone(&event.key),
            sequence: event.sequence,
            policy_version: event.policy_version,
            status: event.status,
            caller: None,
            callers_isolated: 0,
        }
    }
}
