//! A watcher as the protocol describes one, with every promise checked on the way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use fuseboard::engine::{
    Engine, Entry, Event, EventKind, Filter, Message, Position, ResyncReason, Watch, WatchOptions,
};

use crate::soon::Soon as _;

/// Where breakers stand, as a client keeps it.
pub(crate) type Board = BTreeMap<Arc<str>, Entry>;

/// What was received without a break: perhaps a snapshot, then events.
struct Stretch {
    /// The last sequence before the first event; known once the snapshot is complete.
    start: Option<u64>,
    snapshot: Option<Board>,
    events: Vec<u64>,
    /// Where the position stood after the last message.
    end: u64,
}

pub(crate) struct Follower {
    engine: Engine,
    filter: Filter,
    latest_only: bool,
    watch: Watch,
    pub(crate) board: Board,
    /// The highest generation that was told of each breaker.
    highest: HashMap<Arc<str>, u64>,
    /// A snapshot is under way.
    in_snapshot: bool,
    /// Where the watch was asked to go on, until its first message.
    asked: Option<u64>,
    stretches: Vec<Stretch>,
    pub(crate) resyncs: Vec<(ResyncReason, u64)>,
}

/// Takes away what may change without an event.
fn lasting(mut entry: Entry) -> Entry {
    entry.status.failures = 0;
    // The callers' events tell it, which a latest-state watch need not carry.
    entry.callers_isolated = 0;
    entry
}

impl Follower {
    pub(crate) fn new(engine: &Engine, options: WatchOptions) -> Self {
        let asked = options.position;
        let in_snapshot = asked.map_or(!options.skip_snapshot, |position| position.in_snapshot);
        let (filter, latest_only) = (options.filter.clone(), options.latest_only);
        let watch = engine.watch(options).unwrap();
        let end = asked.unwrap_or_else(|| watch.position()).sequence;
        let stretch = Stretch { start: (!in_snapshot).then_some(end), snapshot: None, events: Vec::new(), end };
        Self {
            engine: engine.clone(),
            filter,
            latest_only,
            watch,
            board: Board::new(),
            highest: HashMap::new(),
            in_snapshot,
            asked: asked.map(|position| position.sequence),
            stretches: vec![stretch],
            resyncs: Vec::new(),
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.watch.position()
    }

    pub(crate) async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// Takes the next message that is there. `None` where there is none.
    pub(crate) async fn step(&mut self) -> Option<Message> {
        let before = self.position().sequence;
        let before = self.asked.take().unwrap_or(before);
        let message = self.watch.next().await;
        let position = self.watch.position();
        let Some(message) = message else {
            // What others did is passed over without a message.
            self.stretch().end = position.sequence;
            return None;
        };
        match &message {
            Message::Snapshot { entries, deleted, complete } => self.take_snapshot(entries, deleted, *complete),
            Message::Event(event) => self.take_event(event, before),
            Message::Progress => assert!(!self.in_snapshot),
            Message::Resync { reason, lost } => self.take_resync(*reason, *lost, before),
        }
        assert_eq!(position.in_snapshot, self.in_snapshot);
        let end = &mut self.stretch().end;
        assert!(position.sequence >= *end || matches!(message, Message::Resync { .. }), "a position goes back");
        *end = position.sequence;
        Some(message)
    }

    /// Takes all that is there.
    pub(crate) async fn catch_up(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.step().await {
            messages.push(message);
        }
        messages
    }

    fn stretch(&mut self) -> &mut Stretch {
        self.stretches.last_mut().unwrap()
    }

    fn take_snapshot(&mut self, entries: &[Entry], deleted: &[Arc<str>], complete: bool) {
        if !self.in_snapshot || self.stretch().snapshot.is_none() {
            self.in_snapshot = true;
            self.board.clear();
            self.stretch().snapshot = Some(Board::new());
        }
        for entry in entries {
            assert!(self.filter.has_key(&entry.key), "{} is not watched", entry.key);
            assert!(!deleted.contains(&entry.key), "{} is told and taken back in one message", entry.key);
            self.tell(lasting(entry.clone()));
        }
        for key in deleted {
            assert!(self.filter.has_key(key));
            self.board.remove(key);
        }
        if complete {
            let (board, end) = (self.board.clone(), self.watch.position().sequence);
            self.in_snapshot = false;
            let stretch = self.stretch();
            (stretch.snapshot, stretch.start) = (Some(board), Some(end));
        }
    }

    fn take_event(&mut self, event: &Arc<Event>, before: u64) {
        assert!(!self.in_snapshot, "an event within a snapshot");
        assert!(event.sequence > before, "event {} after position {before}", event.sequence);
        assert!(self.filter.has_event(event));
        self.stretch().events.push(event.sequence);
        self.tell(lasting(Entry::from(&**event)));
        if event.kind == EventKind::Deleted {
            self.board.remove(&event.key);
        }
    }

    /// Never back in time.
    fn tell(&mut self, entry: Entry) {
        let highest = self.highest.entry(Arc::clone(&entry.key)).or_default();
        let generation = entry.status.generation;
        assert!(generation >= *highest, "{}: {generation} after {highest}", entry.key);
        *highest = generation;
        self.board.insert(Arc::clone(&entry.key), entry);
    }

    fn take_resync(&mut self, reason: ResyncReason, lost: u64, before: u64) {
        let position = self.watch.position();
        match reason {
            ResyncReason::TooOld => assert_eq!(position.sequence, before + lost),
            // What the filter leaves out may have been read on the way.
            ResyncReason::SlowReader => assert!(position.sequence >= before + lost),
            ResyncReason::OtherHistory | ResyncReason::FromFuture => assert_eq!(lost, 0),
        }
        self.resyncs.push((reason, lost));
        self.in_snapshot = true;
        let end = position.sequence;
        self.stretches.push(Stretch { start: None, snapshot: None, events: Vec::new(), end });
    }

    /// Hangs up and comes back with a position. With the last one nothing is missed and nothing seen twice; an older
    /// one tells again what came after it.
    pub(crate) fn reconnect(&mut self, position: Position) {
        let last = self.position();
        if position != last {
            self.highest.clear();
        }
        let options = WatchOptions {
            filter: self.filter.clone(),
            latest_only: self.latest_only,
            position: Some(position),
            ..WatchOptions::default()
        };
        self.watch = self.engine.watch(options).unwrap();
        self.asked = Some(position.sequence);
        if position != last || position.in_snapshot {
            self.in_snapshot = position.in_snapshot;
            let start = (!position.in_snapshot).then_some(position.sequence);
            self.stretches.push(Stretch { start, snapshot: None, events: Vec::new(), end: position.sequence });
        }
    }

    /// Compares all that was received with the whole log.
    pub(crate) fn check(&self) {
        let log = self.engine.events(0, false, usize::MAX);
        assert!(log.first().is_none_or(|event| event.sequence == 1), "the log does not hold all");
        for stretch in &self.stretches {
            // One that was broken off before its snapshot was complete.
            let Some(start) = stretch.start else { continue };
            // One that was answered by a resync may have been asked to begin in the future.
            let end = (stretch.end as usize).min(log.len());
            let between = &log[(start as usize).min(end)..end];
            let expected = between.iter().filter(|event| self.filter.has_event(event));
            if self.latest_only {
                let known =
                    |sequence: &u64| log.get(*sequence as usize - 1).is_some_and(|event| self.filter.has_event(event));
                assert!(stretch.events.iter().all(known));
                assert!(stretch.events.is_sorted());
            } else {
                assert_eq!(stretch.events, expected.map(|event| event.sequence).collect::<Vec<_>>());
            }
            if let Some(snapshot) = &stretch.snapshot {
                let told = snapshot.iter().filter(|(_, entry)| entry.sequence > 0);
                let told: Board = told.map(|(key, entry)| (Arc::clone(key), entry.clone())).collect();
                assert_eq!(told, replay(&log[..start as usize], &self.filter), "a snapshot is the history up to it");
            }
        }
    }

    /// Compares the board with the breakers themselves, when nothing moves any more and all was read.
    pub(crate) fn check_board(&self) {
        let mut board = self.board.clone();
        for entry in self.engine.list("", usize::MAX - 1, |entry| self.filter.has_key(&entry.key)) {
            let told = board.remove(&entry.key);
            let view = self.engine.view(&entry.key).soon().unwrap();
            // That one comes into being is no event: it may be unknown until it moves.
            if entry.sequence > 0 || told.is_some() {
                assert_eq!(told, Some(lasting(view.entry)), "{}", entry.key);
            }
        }
        assert_eq!(board, Board::new(), "breakers that are no more");
    }
}

/// Where breakers stand after these events, as far as they had any.
fn replay(log: &[Arc<Event>], filter: &Filter) -> Board {
    let mut board = Board::new();
    for event in log.iter().filter(|event| filter.has_key(&event.key)) {
        board.insert(Arc::clone(&event.key), lasting(Entry::from(&**event)));
        if event.kind == EventKind::Deleted {
            board.remove(&event.key);
        }
    }
    board
}
