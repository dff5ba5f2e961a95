//! Folds bursts of moves into events with a count, so that a breaker that flaps does not push the events of others out of the log.
//!
//! A breaker may record [`EVENT_BURST`] events at once, and one more every [`EVENT_EVERY`]. Moves beyond that wait: those of the same kind
//! and scope become one event that describes the last of them, with their number and the time of the first. What waits is
//! recorded [`FOLDED_FOR`] after the first of it began to wait.
//!
//! # Invariants
//!
//! - **Only the log waits.** Every move is committed with the breaker's record, and what waits is part of that record
//!   ([`Record::folded`](crate::store::Record::folded)). So a crash at any point loses neither the state nor a move: the next
//!   server records what waited when it starts.
//! - **What somebody asked for never waits** and is never folded. What waits is recorded before it.
//! - **The order stays.** While an event waits, later moves of the breaker wait as well, so the log has a breaker's events in
//!   the order of the moves that they describe, and the last of them has the final state.
//! - **Counts add up.** The sum over a breaker's events is the number of its moves.
//! - **The rate is bounded.** In `t` seconds a breaker records at most `EVENT_BURST + 2 t` events of moves that did not wait, and for
//!   each kind and scope at most one a second of those that did, apart from what is recorded early because of a requested
//!   change or because [`FOLDED_MAX`] events of different kinds and scopes wait.

use std::time::Duration;

use super::{
    events::{Event, EventKind, EventReason},
    registry::Tenant,
};
use crate::breaker::{CallerId, Reason, Status, Timestamp};

/// Events that a breaker may record at once.
pub const EVENT_BURST: u32 = 16;
/// Time after which a breaker may record one more event.
pub const EVENT_EVERY: Duration = Duration::from_millis(500);
/// Longest time that an event waits.
pub const FOLDED_FOR: Duration = Duration::from_secs(1);
/// Events of a breaker that may wait; past it all are recorded early.
pub const FOLDED_MAX: usize = 32;

/// What of a breaker's moves waits for its place in the log, and how much it may record.
#[derive(Debug)]
pub(super) struct Folding {
    /// When the whole burst may be recorded again.
    full: Timestamp,
    /// When the waiting events are recorded.
    due: Timestamp,
    /// In the order of the moves that they describe.
    waiting: Vec<Event>,
    /// Status and policy version after the breaker's last event that is durable, while the breaker is ahead of the log.
    logged: Option<(Status, u64)>,
}

impl Folding {
    const fn new(full: Timestamp) -> Self {
        Self { full, due: Timestamp::NEVER, waiting: Vec::new(), logged: None }
    }

    /// What a record has of it. It is due at once.
    pub(super) fn restore(waiting: Vec<Event>, logged: Option<(Status, u64)>, now: Timestamp) -> Option<Box<Self>> {
        let full = now.after(EVENT_EVERY * EVENT_BURST);
        (!waiting.is_empty()).then(|| Box::new(Self { full, due: now, waiting, logged }))
    }

    /// Passes on an event that may be recorded now, after what waited for it, or keeps it.
    fn add(&mut self, mut event: Event, now: Timestamp, recorded: &mut Vec<Event>) {
        if !may_wait(&event) {
            recorded.append(&mut self.take(now));
            recorded.push(event);
            return;
        }
        if self.waiting.is_empty() && self.full.since(now) <= EVENT_EVERY * (EVENT_BURST - 1) {
            self.full = self.full.max(now).after(EVENT_EVERY);
            recorded.push(event);
            return;
        }
        let scope = |event: &Event| (event.kind, event.scope.map(|scope| scope.caller));
        if let Some(same) = self.waiting.iter().position(|waiting| scope(waiting) == scope(&event)) {
            let earlier = self.waiting.remove(same);
            event.first_at = Some(earlier.first_at.unwrap_or(earlier.at));
            event.moves = event.moves.saturating_add(earlier.moves);
        } else if self.waiting.len() >= FOLDED_MAX {
            recorded.append(&mut self.take(now));
        }
        self.due = self.due.min(now.after(FOLDED_FOR));
        self.waiting.push(event);
    }

    /// All that waits. It uses up what the breaker may record.
    fn take(&mut self, now: Timestamp) -> Vec<Event> {
        self.due = Timestamp::NEVER;
        let used = EVENT_EVERY.saturating_mul(u32::try_from(self.waiting.len()).unwrap_or(EVENT_BURST));
        self.full = self.full.max(now).after(used).min(now.after(EVENT_EVERY * EVENT_BURST));
        std::mem::take(&mut self.waiting)
    }
}

/// Whether a move may wait. Requested moves may not.
const fn may_wait(event: &Event) -> bool {
    let is_own = match event.reason {
        EventReason::Breaker(reason) => !matches!(reason, Reason::Requested | Reason::OverrideExpired),
        EventReason::Declared | EventReason::PolicyFile => false,
    };
    is_own && matches!(event.kind, EventKind::Moved(_))
}

impl Tenant {
    /// Those of the events that are recorded now. `told` is where the breaker stands as far as anybody knows.
    pub(super) fn fold(&mut self, events: Vec<Event>, told: (Status, u64), now: Timestamp) -> Vec<Event> {
        if events.is_empty() && self.folding.is_none() {
            return events;
        }
        let folding = self.folding.get_or_insert_with(|| Box::new(Folding::new(now)));
        let mut recorded = Vec::new();
        events.into_iter().for_each(|event| folding.add(event, now, &mut recorded));
        if folding.due <= now {
            recorded.append(&mut folding.take(now));
        }
        if !folding.waiting.is_empty() {
            folding.logged.get_or_insert(told);
        }
        recorded
    }

    /// All that waits, to be recorded with the next commit.
    pub(super) fn take_folded(&mut self, now: Timestamp) -> Vec<Event> {
        self.folding.as_mut().map_or_else(Vec::new, |folding| folding.take(now))
    }

    /// When waiting events have to be recorded.
    pub(super) fn folding_due(&self) -> Timestamp {
        self.folding.as_ref().map_or(Timestamp::NEVER, |folding| folding.due)
    }

    /// The events that wait for their place in the log.
    pub(super) fn folded(&self) -> &[Event] {
        self.folding.as_ref().map_or(&[], |folding| &folding.waiting)
    }

    /// Whether a move of a caller's scope waits.
    pub(super) fn has_caller_folded(&self, caller: CallerId) -> bool {
        self.folded().iter().any(|event| event.scope.is_some_and(|scope| scope.caller == caller))
    }

    /// Where the breaker stands as the log has it; `None` if the log has all that is told.
    pub(super) fn logged(&self) -> Option<(Status, u64)> {
        self.folding.as_ref().and_then(|folding| folding.logged)
    }

    /// The last event of a commit that is durable now.
    pub(super) fn has_logged(&mut self, last: &Event) {
        if let Some(logged) = self.folding.as_mut().and_then(|folding| folding.logged.as_mut()) {
            *logged = (last.status, last.policy_version);
        }
    }

    /// Nothing of it waits for the store.
    pub(super) fn is_all_durable(&mut self) {
        if let Some(folding) = &mut self.folding
            && folding.waiting.is_empty()
        {
            folding.logged = None;
        }
    }

    /// Takes what another server has folded. What both count down to is due at the earlier instant.
    pub(super) fn adopt_folded(&mut self, waiting: Vec<Event>, logged: Option<(Status, u64)>, now: Timestamp) {
        if waiting.is_empty() && self.folding.is_none() {
            return;
        }
        let folding = self.folding.get_or_insert_with(|| Box::new(Folding::new(now)));
        let is_any = !waiting.is_empty();
        folding.due = if is_any { folding.due.min(now.after(FOLDED_FOR)) } else { Timestamp::NEVER };
        folding.logged = logged.filter(|_| is_any);
        folding.waiting = waiting;
    }

    /// Frees what is as good as none.
    pub(super) fn tidy_folding(&mut self, now: Timestamp) {
        let is_idle = |folding: &Folding| folding.waiting.is_empty() && folding.logged.is_none() && folding.full <= now;
        if self.folding.as_ref().is_some_and(|folding| is_idle(folding)) {
            self.folding = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{CallerStatus, Kind, StateName, backoff::mix};

    const START: Timestamp = Timestamp::from_nanos(1_577_836_800_000_000_000);

    fn event(kind: Kind, scope: Option<u64>, is_requested: bool, at: Timestamp, generation: u64) -> Event {
        let status = Status {
            state: StateName::Open,
            forced: None,
            generation,
            since: at,
            until: Timestamp::NEVER,
            override_expire: Timestamp::NEVER,
            failures: 0,
        };
        let scope = scope.map(|caller| CallerStatus {
            caller: CallerId(caller),
            state: StateName::Open,
            generation,
            since: at,
            until: Timestamp::NEVER,
            failures: 0,
        });
        let reason = if is_requested { Reason::Requested } else { Reason::ProbesFailed };
        Event {
            sequence: 0,
            kind: EventKind::Moved(kind),
            key: "a".into(),
            from: StateName::Closed,
            to: StateName::Open,
            reason: EventReason::Breaker(reason),
            evidence: None,
            caller: None,
            scope,
            names: Box::default(),
            error_class: Box::default(),
            actor: Box::default(),
            comment: Box::default(),
            at,
            policy_version: 1,
            status,
            moves: 1,
            first_at: None,
        }
    }

    /// When an event is recorded, the generation of its move, how many moves it stands for, and the instant of the first.
    type Line = (Timestamp, u64, u64, Option<Timestamp>);

    /// The instants and generations of the moves of one kind that wait, of the breaker or of one caller.
    type Group = ((Kind, Option<u64>), Vec<(Timestamp, u64)>);

    /// The rules once more: credit that time gives back, and lists of moves that wait.
    #[derive(Default)]
    struct Naive {
        /// Nanoseconds of credit that are used.
        used: u128,
        last: Timestamp,
        waiting: Vec<Group>,
        since: Option<Timestamp>,
        log: Vec<Line>,
    }

    impl Naive {
        fn pass(&mut self, now: Timestamp) {
            self.used = self.used.saturating_sub(now.since(self.last).as_nanos());
            self.last = now;
        }

        fn flush(&mut self, now: Timestamp) {
            let mut groups = std::mem::take(&mut self.waiting);
            groups.sort_by_key(|(_, moves)| moves.last().map(|(_, generation)| *generation));
            for (_, moves) in &groups {
                let (_, generation) = moves[moves.len() - 1];
                self.log.push((now, generation, moves.len() as u64, (moves.len() > 1).then(|| moves[0].0)));
            }
            let used = self.used + groups.len() as u128 * EVENT_EVERY.as_nanos();
            self.used = used.min(EVENT_EVERY.as_nanos() * u128::from(EVENT_BURST));
            self.since = None;
        }

        fn wait_until(&mut self, now: Timestamp) {
            if let Some(since) = self.since.filter(|since| now >= since.after(FOLDED_FOR)) {
                self.pass(since.after(FOLDED_FOR));
                self.flush(since.after(FOLDED_FOR));
            }
            self.pass(now);
        }

        fn happen(&mut self, kind: Kind, scope: Option<u64>, is_requested: bool, now: Timestamp, generation: u64) {
            let room = EVENT_EVERY.as_nanos() * u128::from(EVENT_BURST) - self.used;
            if is_requested {
                self.flush(now);
                self.log.push((now, generation, 1, None));
            } else if self.waiting.is_empty() && room >= EVENT_EVERY.as_nanos() {
                self.used += EVENT_EVERY.as_nanos();
                self.log.push((now, generation, 1, None));
            } else {
                match self.waiting.iter_mut().find(|(of, _)| *of == (kind, scope)) {
                    Some((_, moves)) => moves.push((now, generation)),
                    None => {
                        if self.waiting.len() == FOLDED_MAX {
                            self.flush(now);
                        }
                        self.waiting.push(((kind, scope), vec![(now, generation)]));
                    }
                }
                self.since.get_or_insert(now);
            }
        }
    }

    #[test]
    fn any_burst_is_folded_as_the_naive_model_folds_it_and_nothing_is_lost() {
        const KINDS: [Kind; 3] = [Kind::Opened, Kind::HalfOpened, Kind::Closed];
        let mut folded = 0;
        for seed in 0..400_u64 {
            let mut dice = (0_u64..).map(|number| mix(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number));
            let mut roll = |below: u64| dice.next().unwrap_or_default() % below;
            let (mut now, mut naive) = (START, Naive { last: START, ..Naive::default() });
            let mut folding = Folding::new(START);
            let mut log: Vec<Line> = Vec::new();
            let line = |at: Timestamp, event: &Event| (at, event.status.generation, event.moves, event.first_at);
            // Callers that flap beside the breaker, up to more than may wait.
            let callers = [0, 3, 40][seed as usize % 3];
            for generation in 1..=600 {
                let passed = [0, 1, 1, 5, 40, 700, 4_000][roll(7) as usize >> u32::from(roll(3) > 0)];
                let next = now.after(Duration::from_millis(passed));
                if folding.due <= next {
                    let due = folding.due;
                    log.extend(folding.take(due).iter().map(|event| line(due, event)));
                }
                now = next;
                naive.wait_until(now);
                let scope = (callers > 0 && roll(2) == 0).then(|| roll(callers));
                let (kind, is_requested) = (KINDS[roll(3) as usize], roll(40) == 0);
                let mut recorded = Vec::new();
                folding.add(event(kind, scope, is_requested, now, generation), now, &mut recorded);
                naive.happen(kind, scope, is_requested, now, generation);
                log.extend(recorded.iter().map(|event| line(now, event)));
                assert!(folding.waiting.len() <= FOLDED_MAX);
                assert_eq!(log, naive.log, "seed {seed}, move {generation}");
                let waiting: u64 = folding.waiting.iter().map(|event| event.moves).sum();
                assert_eq!(log.iter().map(|line| line.2).sum::<u64>() + waiting, generation, "counts add up");
            }
            assert!(log.is_sorted_by_key(|line| line.1), "the order of the moves");
            folded += log.iter().filter(|line| line.2 > 1).count();
        }
        assert!(folded > 1_000, "{folded} events were folded");
    }

    #[test]
    fn what_moves_all_the_time_records_a_burst_and_then_each_kind_once_a_second() {
        let mut folding = Folding::new(START);
        let mut log = Vec::new();
        for millisecond in 0..60_000_u64 {
            let now = START.after(Duration::from_millis(millisecond));
            let kind = if millisecond % 2 == 0 { Kind::Opened } else { Kind::HalfOpened };
            folding.add(event(kind, None, false, now, millisecond), now, &mut log);
            if folding.due <= now {
                log.extend(folding.take(now));
            }
        }
        log.extend(folding.take(START.after(Duration::from_secs(60))));
        assert_eq!(log.iter().map(|event| event.moves).sum::<u64>(), 60_000);
        assert!(log.len() <= EVENT_BURST as usize + 2 * 60, "{} events", log.len());
        assert_eq!(log.last().map(|event| event.status.generation), Some(59_999), "the final state");
    }
}
