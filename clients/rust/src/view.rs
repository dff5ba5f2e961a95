//! What a client knows of a breaker, and what that alone says to a call. Pure: `now` is an argument, in the client's
//! monotonic time.
//!
//! Invariant: neither generation goes down, unless all that is known is forgotten by a resync.

use std::time::{Duration, SystemTime};

use crate::{OverrideMode, Reason, State, local::RETRY_AFTER_MIN, pb, wire};

/// The wait that a rejection names where nobody knows the end of an override.
const STAYING_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Where a breaker, or one caller of it, stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// None where it is not known.
    pub(crate) state: Option<State>,
    pub(crate) generation: u64,
    /// When the state ends by itself. None: it does not, or it is not known.
    pub(crate) until: Option<Duration>,
}

/// What is known of a breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) breaker: Scope,
    pub(crate) caller: Scope,
    pub(crate) override_mode: Option<OverrideMode>,
    /// When the override ends by itself. None: it stays, or its end is not known.
    pub(crate) override_until: Option<Duration>,
    /// That of the last event that the watch told. Answers do not raise it, so that no event is taken for one that was
    /// told.
    pub(crate) sequence: u64,
    /// That of the policy in force; 0 where it is not known.
    pub(crate) policy_version: u64,
}

/// What a view says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Permit,
    Reject { reason: Reason, retry_after: Duration },
    Ask,
}

/// The part of an answer to an acquire or a report that tells where a breaker stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) state: Option<State>,
    pub(crate) generation: u64,
    pub(crate) override_mode: Option<OverrideMode>,
    /// None where the answer does not tell it.
    pub(crate) caller_state: Option<State>,
    pub(crate) caller_generation: u64,
    /// A rejection's.
    pub(crate) rejection: Option<(Reason, Duration)>,
}

impl View {
    /// The breaker's and the caller's.
    pub(crate) const fn generations(&self) -> (u64, u64) {
        (self.breaker.generation, self.caller.generation)
    }

    /// One of these generations is below the view's.
    pub(crate) const fn is_past(&self, (generation, caller_generation): (u64, u64)) -> bool {
        generation < self.breaker.generation || caller_generation < self.caller.generation
    }

    /// What it says to a call at `now`. A refusal is believed until its own deadline, however old; leave is given by a
    /// fresh view only.
    pub(crate) fn decide(&self, is_fresh: bool, now: Duration) -> Verdict {
        let left = |until: Duration| until.saturating_sub(now).max(RETRY_AFTER_MIN);
        let is_closed = is_fresh && self.breaker.state == Some(State::Closed);
        match self.override_mode {
            Some(OverrideMode::ForcedOpen) => {
                let retry_after = self.override_until.map_or(STAYING_RETRY_AFTER, left);
                return Verdict::Reject { reason: Reason::ForcedOpen, retry_after };
            }
            Some(OverrideMode::ForcedClosed | OverrideMode::Shadow) => {
                return if is_closed { Verdict::Permit } else { Verdict::Ask };
            }
            None => {}
        }
        let open = |scope: &Scope| scope.until.filter(|&until| scope.state == Some(State::Open) && now < until);
        if let Some(until) = open(&self.breaker) {
            Verdict::Reject { reason: Reason::Open, retry_after: left(until) }
        } else if let Some(until) = open(&self.caller) {
            Verdict::Reject { reason: Reason::CallerIsolated, retry_after: left(until) }
        } else if is_closed && self.caller.state == Some(State::Closed) {
            Verdict::Permit
        } else {
            Verdict::Ask
        }
    }

    /// Takes what a status says. What it says of another caller than `own` is passed over. `told_at` is the server's
    /// time when it said so, where that is known.
    pub(crate) fn apply_status(
        &mut self,
        status: &pb::BreakerStatus,
        own: &str,
        told_at: Option<SystemTime>,
        now: Duration,
    ) {
        let until = |remaining: Option<prost_types::Duration>| remaining.map(|left| now + wire::duration(left));
        if status.generation >= self.breaker.generation {
            if status.generation > self.breaker.generation {
                self.override_until = None;
            }
            self.breaker = Scope {
                state: State::from_wire(status.state),
                generation: status.generation,
                until: until(status.state_remaining),
            };
            self.override_mode = OverrideMode::from_wire(status.override_mode);
            if let (Some(told_at), Some(expire)) = (told_at, wire::time(status.override_expire_time)) {
                self.override_until = Some(now + expire.duration_since(told_at).unwrap_or_default());
            }
            self.policy_version = self.policy_version.max(status.policy_version);
        }
        if let Some(caller) = &status.caller
            && caller.caller == own
            && caller.generation >= self.caller.generation
        {
            self.caller = Scope {
                state: State::from_wire(caller.state),
                generation: caller.generation,
                until: until(caller.state_remaining),
            };
        }
        self.caller_is_closed_if_it_never_moved();
    }

    /// Takes what an answer says. Answers tell no deadline: one that is known is kept, and a rejection's retry-after is
    /// believed.
    pub(crate) fn apply_answer(&mut self, answer: &Answer, now: Duration) {
        let rejected = |reason| answer.rejection.filter(|rejection| rejection.0 == reason).map(|rejection| rejection.1);
        if answer.generation >= self.breaker.generation {
            if answer.generation > self.breaker.generation || self.breaker.state != answer.state {
                self.breaker = Scope { state: answer.state, generation: answer.generation, until: None };
                self.override_until = None;
            }
            self.override_mode = answer.override_mode;
            if let Some(retry_after) = rejected(Reason::Open)
                && self.breaker.until.is_none_or(|until| until <= now)
            {
                self.breaker.until = Some(now + retry_after);
            }
        }
        let generation = answer.caller_generation;
        if generation < self.caller.generation {
            return;
        }
        let has_moved = generation > self.caller.generation;
        if answer.caller_state.is_some() {
            if has_moved || answer.caller_state != self.caller.state {
                self.caller = Scope { state: answer.caller_state, generation, until: None };
            }
        } else if let Some(retry_after) = rejected(Reason::CallerIsolated) {
            let is_over =
                self.caller.state != Some(State::HalfOpen) && self.caller.until.is_none_or(|until| until <= now);
            if has_moved || is_over {
                self.caller = Scope { state: Some(State::Open), generation, until: Some(now + retry_after) };
            }
        } else if has_moved {
            // Where to is told by an event or the next report.
            self.caller = Scope { state: None, generation, until: None };
        }
        self.caller_is_closed_if_it_never_moved();
    }

    /// Takes an event. False: it was seen before, and changes nothing.
    pub(crate) fn apply_event(&mut self, event: &pb::Event, own: &str, now: Duration) -> bool {
        if event.sequence <= self.sequence {
            return false;
        }
        self.sequence = event.sequence;
        if event.kind() == pb::EventKind::Deleted {
            self.delete();
        } else if let Some(status) = &event.status {
            self.apply_status(status, own, wire::time(event.event_time), now);
        }
        true
    }

    /// Takes a breaker's part of a snapshot.
    pub(crate) fn apply_snapshot(&mut self, status: &pb::BreakerStatus, own: &str, now: Duration) {
        self.apply_status(status, own, None, now);
        self.sequence = self.sequence.max(status.sequence);
    }

    /// The breaker is gone. The generation stays: one that comes anew under its key starts above it.
    pub(crate) fn delete(&mut self) {
        let breaker = Scope { generation: self.breaker.generation, ..Scope::default() };
        *self = Self { breaker, sequence: self.sequence, ..Self::default() };
    }

    /// Forgets what only a watch can keep true. For a watch that went on from a token and begins to cover the breaker:
    /// what happened between an answer and that token was told to nobody here. An open state is believed until its own
    /// deadline anyway.
    pub(crate) fn doubt(&mut self) {
        if self.breaker.state != Some(State::Open) && self.override_mode != Some(OverrideMode::ForcedOpen) {
            self.breaker.state = None;
        }
    }

    fn caller_is_closed_if_it_never_moved(&mut self) {
        if self.caller.generation == 0 {
            self.caller.state = Some(State::Closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn status(state: State, generation: u64, remaining: Option<Duration>) -> pb::BreakerStatus {
        pb::BreakerStatus {
            state: state.wire(),
            generation,
            state_remaining: remaining.map(wire::message),
            ..pb::BreakerStatus::default()
        }
    }

    fn told(status: &pb::BreakerStatus, now: Duration) -> View {
        let mut view = View::default();
        view.apply_status(status, "web/1", None, now);
        view
    }

    #[test]
    fn a_closed_view_permits_while_it_is_fresh() {
        let view = told(&status(State::Closed, 1, None), SECOND);
        assert_eq!(view.decide(true, SECOND), Verdict::Permit);
        assert_eq!(view.decide(false, SECOND), Verdict::Ask);
        assert_eq!(View::default().decide(true, SECOND), Verdict::Ask, "nothing is known");
    }

    #[test]
    fn an_open_view_is_believed_until_its_own_deadline_however_old() {
        let view = told(&status(State::Open, 2, Some(10 * SECOND)), SECOND);
        let refused = Verdict::Reject { reason: Reason::Open, retry_after: 4 * SECOND };
        assert_eq!(view.decide(false, 7 * SECOND), refused);
        assert_eq!(view.decide(true, 11 * SECOND), Verdict::Ask);
    }

    #[test]
    fn what_is_older_than_what_is_known_changes_nothing() {
        let mut view = told(&status(State::Open, 4, Some(10 * SECOND)), SECOND);
        let known = view;
        view.apply_status(&status(State::Closed, 3, None), "web/1", None, 2 * SECOND);
        assert_eq!(view, known);
    }

    #[test]
    fn an_event_counts_once_and_an_answer_before_it_does_not_hide_it() {
        let mut view = told(&status(State::Closed, 1, None), SECOND);
        let answer = Answer {
            state: Some(State::Open),
            generation: 2,
            override_mode: None,
            caller_state: None,
            caller_generation: 0,
            rejection: Some((Reason::Open, 30 * SECOND)),
        };
        view.apply_answer(&answer, SECOND);
        assert_eq!(view.decide(true, SECOND), Verdict::Reject { reason: Reason::Open, retry_after: 30 * SECOND });
        let event =
            pb::Event { sequence: 7, status: Some(status(State::Open, 2, Some(29 * SECOND))), ..pb::Event::default() };
        assert!(view.apply_event(&event, "web/1", 2 * SECOND));
        assert!(!view.apply_event(&event, "web/1", 3 * SECOND));
    }

    #[test]
    fn another_callers_isolation_is_passed_over_and_the_own_one_refuses() {
        let mut isolated = status(State::Closed, 1, None);
        isolated.caller = Some(pb::CallerStatus {
            caller: "web/2".into(),
            state: State::Open.wire(),
            generation: 1,
            state_remaining: Some(wire::message(5 * SECOND)),
            ..pb::CallerStatus::default()
        });
        assert_eq!(told(&isolated, SECOND).decide(true, SECOND), Verdict::Permit);
        let mut own = View::default();
        own.apply_status(&isolated, "web/2", None, SECOND);
        let refused = Verdict::Reject { reason: Reason::CallerIsolated, retry_after: 5 * SECOND };
        assert_eq!(own.decide(true, SECOND), refused);
    }

    #[test]
    fn doubt_forgets_leave_and_keeps_refusals() {
        let mut closed = told(&status(State::Closed, 1, None), SECOND);
        closed.doubt();
        assert_eq!(closed.decide(true, SECOND), Verdict::Ask);
        let mut open = told(&status(State::Open, 2, Some(SECOND)), SECOND);
        open.doubt();
        assert!(matches!(open.decide(false, SECOND), Verdict::Reject { .. }));
    }
}
