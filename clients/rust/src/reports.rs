//! Outcomes of permits that the server gave.

use std::{sync::Arc, time::Duration};

use tonic::Code;

use crate::{
    OverrideMode, Report, State,
    core::Core,
    link::{Latch, LinkState},
    pb,
    shared::Shared,
    view::Answer,
    wire,
};

/// Reports that wait for an answer. Beyond, the oldest is dropped.
const REPORTS_MAX: usize = 10_000;

/// An outcome that has no answer yet.
pub(crate) struct Reporting {
    core: Arc<Core>,
    pub(crate) item: pb::SessionReport,
    /// When the permit ends, and with it the sense of telling.
    lease_end: Duration,
    /// The server has answered, or the report was dropped.
    answered: Latch,
    /// Nobody made the call: it is not among the outcomes that are counted.
    is_given_back: bool,
    /// The server asked to send it again later.
    is_paused: bool,
}

/// The server cannot record at present: the item is to be sent again.
pub(crate) fn is_later(error: &pb::SessionError) -> bool {
    error.code == Code::Unavailable as i32
}

impl Shared {
    /// Tells an outcome. The latch is for those who have to wait for the answer.
    pub(crate) fn report(
        &self,
        core: &Arc<Core>,
        generations: (u64, u64),
        permit: Vec<u8>,
        lease_end: Duration,
        is_probe: bool,
        report: &Report,
    ) -> Option<Latch> {
        let item = pb::SessionReport {
            handle: core.handle,
            permit,
            outcome: report.outcome.wire(),
            duration: report.duration.map(wire::message),
            error_class: report.error_class.clone(),
            retry_after: report.retry_after.map(wire::message),
            origin: report.origin.map_or(0, crate::Origin::wire),
            ..pb::SessionReport::default()
        };
        let state = &mut *self.link.state.lock();
        if self.is_closed() {
            core.drop_report();
            return None;
        }
        let is_decisive = core.record(generations, report, self.now()) || is_probe;
        let answered = self.keep_report(state, core, item, lease_end, false);
        if is_decisive {
            core.await_answer(&answered);
        }
        (self.is_usable() && (report.moves() || is_probe)).then_some(answered)
    }

    /// Reports a permit that nobody uses as cancelled, so that no probe's place is lost.
    pub(crate) fn give_back(&self, state: &mut LinkState, core: &Arc<Core>, acquired: pb::SessionAcquired) {
        if acquired.permit.is_empty() || self.is_closed() {
            return;
        }
        let lease_end = self.now() + acquired.lease.map_or(Duration::ZERO, wire::duration);
        let item = pb::SessionReport {
            handle: core.handle,
            permit: acquired.permit,
            outcome: pb::Outcome::Cancelled as i32,
            ..pb::SessionReport::default()
        };
        self.keep_report(state, core, item, lease_end, true);
    }

    /// Keeps a report until it is answered, and sends it.
    fn keep_report(
        &self,
        state: &mut LinkState,
        core: &Arc<Core>,
        item: pb::SessionReport,
        lease_end: Duration,
        is_given_back: bool,
    ) -> Latch {
        if state.reports.len() == REPORTS_MAX
            && let Some((&oldest, _)) = state.reports.first_key_value()
        {
            self.drop_report(state, oldest);
        }
        let answered = Latch::new();
        let key = state.reports_seen;
        state.reports_seen += 1;
        let core = Arc::clone(core);
        let report = Reporting { core, item, lease_end, answered: answered.clone(), is_given_back, is_paused: false };
        state.reports.insert(key, report);
        Self::send_report(state, key);
        answered
    }

    /// Puts a report into the session's next frame, where one stands.
    fn send_report(state: &mut LinkState, key: u64) {
        let number = state.next_number();
        let (Some(session), Some(report)) = (&mut state.session, state.reports.get_mut(&key)) else { return };
        report.is_paused = false;
        report.item.number = number;
        session.introduce(&report.core);
        session.reporting.insert(number, key);
        session.reports.push(key);
        session.wake_up();
    }

    pub(crate) fn send_report_unless_ended(&self, state: &mut LinkState, key: u64, now: Duration) {
        if state.reports.get(&key).is_some_and(|report| now >= report.lease_end) {
            self.drop_report(state, key);
        } else {
            Self::send_report(state, key);
        }
    }

    pub(crate) fn drop_report(&self, state: &mut LinkState, key: u64) {
        let Some(report) = state.reports.remove(&key) else { return };
        if let Some(session) = &mut state.session {
            session.reporting.remove(&report.item.number);
        }
        if !report.is_given_back {
            report.core.drop_report();
        }
        report.answered.cancel();
    }

    /// Takes the answer to a report.
    pub(crate) fn reported(&self, state: &mut LinkState, key: u64, reported: &pb::SessionReported) {
        let Some(report) = state.reports.remove(&key) else { return };
        let is_stale = reported.result() == pb::ReportResult::Stale;
        report.core.acknowledge(u64::from(!report.is_given_back), is_stale);
        let answer = Answer {
            state: State::from_wire(reported.state),
            generation: reported.generation,
            override_mode: OverrideMode::from_wire(reported.override_mode),
            caller_state: State::from_wire(reported.caller_state),
            caller_generation: reported.caller_generation,
            rejection: None,
        };
        self.apply(&report.core, |view, now| view.apply_answer(&answer, now));
        report.answered.cancel();
    }

    /// Takes an error in the place of an answer.
    pub(crate) fn report_failed(&self, state: &mut LinkState, key: u64, error: &pb::SessionError) {
        if !is_later(error) {
            if let Some(report) = state.reports.get(&key) {
                state.notes.push(format!("a report of {} was refused: {}", report.core.key, error.message));
            }
            return self.drop_report(state, key);
        }
        if let Some(report) = state.reports.get_mut(&key) {
            report.is_paused = true;
            self.retry_later(state, error);
        }
    }

    pub(crate) fn retry_later(&self, state: &mut LinkState, error: &pb::SessionError) {
        state.retry_after = error.retry_after.map_or(Duration::from_secs(1), wire::duration);
        self.link.retry.notify_one();
    }

    /// Sends what the server could not record.
    pub(crate) fn send_again(&self) {
        let now = self.now();
        let state = &mut *self.link.state.lock();
        let paused = state.reports.iter().filter(|(_, report)| report.is_paused).map(|(&key, _)| key);
        for key in paused.collect::<Vec<_>>() {
            self.send_report_unless_ended(state, key, now);
        }
        if state.batches.in_flight.as_ref().is_some_and(|batch| batch.is_paused) {
            Self::send_batch_in_flight(state);
        }
    }
}
