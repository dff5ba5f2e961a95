//! Tallies on their way: at most one batch is in flight, and what comes meanwhile waits for its answer. So no older
//! success overtakes a failure, and nothing is counted twice.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    Report,
    core::{Core, LocalLeave},
    link::{Latch, LinkState},
    pb,
    reports::is_later,
    shared::Shared,
    tally::Tally,
};

/// Keeps a batch of the longest keys far below a frame's 1 MiB.
const BATCH_TALLIES: usize = 1_000;
/// How old a tally gets, beyond the report interval, that could not be sent.
const TALLY_AGE_MAX: Duration = Duration::from_secs(10);
/// Unanswered batches of a session that are remembered: hellos repeat them.
const UNANSWERED_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Batches {
    sequence: u64,
    pub(crate) in_flight: Option<Batch>,
    /// The next batch, which is not made yet, was answered.
    next: Latch,
    /// A failure waits.
    is_urgent: bool,
    /// The report interval has passed.
    pub(crate) is_due: bool,
}

/// Tallies under a number, which they keep until they are answered.
pub(crate) struct Batch {
    request: pb::ReportBatchRequest,
    told: Vec<(Arc<Core>, Tally)>,
    made_at: Duration,
    answered: Latch,
    /// The server asked to send it again later.
    pub(crate) is_paused: bool,
}

impl Shared {
    fn tally_age_max(&self) -> Duration {
        self.options.report_interval + TALLY_AGE_MAX
    }

    /// Counts a failure and sends it at once, behind what is pending. The latch is for those who wait for the answer.
    pub(crate) fn tell_failure(
        &self,
        core: &Arc<Core>,
        generations: (u64, u64),
        local: Option<LocalLeave>,
        report: &Report,
        now: Duration,
    ) -> Option<Latch> {
        let state = &mut *self.link.state.lock();
        let answered = state.batches.next.clone();
        if core.count(generations, local, report, self.is_usable(), now).is_decisive {
            core.await_answer(&answered);
        }
        state.batches.is_urgent = true;
        self.send_batch(state);
        if state.session.is_none() {
            self.gather();
        }
        self.is_usable().then_some(answered)
    }

    /// Sends what has gathered, if it is time and no batch is in flight.
    pub(crate) fn send_batch(&self, state: &mut LinkState) {
        let batches = &mut state.batches;
        if state.session.is_none() || batches.in_flight.is_some() || !(batches.is_urgent || batches.is_due) {
            return;
        }
        (batches.is_urgent, batches.is_due) = (false, false);
        let now = self.now();
        let mut told = Vec::new();
        for core in &*self.cores() {
            let (taken, is_more) = core.take_tallies(BATCH_TALLIES - told.len(), now, self.tally_age_max());
            told.extend(taken.into_iter().map(|tally| (Arc::clone(core), tally)));
            batches.is_due |= is_more;
        }
        let answered = std::mem::take(&mut batches.next);
        if told.is_empty() {
            // What was waited for has expired.
            answered.cancel();
        } else {
            self.make_batch(state, told, answered, now);
            Self::send_batch_in_flight(state);
        }
    }

    /// Makes the next acquires wait for the failures that have gathered while the server could not be asked.
    pub(crate) fn await_pending(&self, state: &LinkState) {
        if let Some(batch) = &state.batches.in_flight {
            for (core, _) in batch.told.iter().filter(|(_, tally)| tally.has_failures()) {
                core.await_answer(&batch.answered);
            }
        }
        for core in &*self.cores() {
            core.await_pending(&state.batches.next);
        }
    }

    fn make_batch(&self, state: &mut LinkState, told: Vec<(Arc<Core>, Tally)>, answered: Latch, now: Duration) {
        let batches = &mut state.batches;
        batches.sequence += 1;
        let caller = &self.options.caller;
        let request = pb::ReportBatchRequest {
            client_id: self.id.clone(),
            batch_sequence: batches.sequence,
            tallies: told.iter().map(|(core, tally)| tally.message(&core.key, caller, now)).collect(),
        };
        batches.in_flight = Some(Batch { request, told, made_at: now, answered, is_paused: false });
    }

    /// Sends the batch in flight, the same under the same sequence, as a new item.
    pub(crate) fn send_batch_in_flight(state: &mut LinkState) -> u64 {
        let number = state.next_number();
        let (Some(session), Some(batch)) = (&mut state.session, &mut state.batches.in_flight) else { return number };
        batch.is_paused = false;
        if session.batches.len() >= UNANSWERED_MAX {
            session.batches.clear();
        }
        session.batches.insert(number, batch.request.batch_sequence);
        session.batch = Some(pb::SessionBatch { number, batch: Some(batch.request.clone()) });
        session.wake_up();
        number
    }

    /// Sends the batch in flight again, or one without tallies. The answer tells that the session works.
    pub(crate) fn send_hello_batch(&self, state: &mut LinkState) -> u64 {
        if state.batches.in_flight.is_none() {
            // Failures that are pending wait for the next one's answer.
            self.make_batch(state, Vec::new(), Latch::new(), self.now());
        }
        Self::send_batch_in_flight(state)
    }

    /// Takes the answer to a batch.
    pub(crate) fn batch_answered(
        &self,
        state: &mut LinkState,
        sequence: u64,
        response: Option<&pb::ReportBatchResponse>,
    ) {
        let Some(batch) = state.batches.take(sequence) else { return };
        let own = &self.options.caller;
        let mut changed = HashMap::new();
        for status in response.iter().flat_map(|response| &response.changed) {
            if let Some(core) = self.find(&status.breaker) {
                self.apply(&core, |view, now| view.apply_status(status, own, None, now));
                changed.insert(status.breaker.as_str(), status);
            }
        }
        let has_stale = response.is_some_and(|response| response.stale > 0);
        for (core, tally) in &batch.told {
            let is_stale =
                has_stale && changed.get(core.key.as_str()).is_some_and(|status| tally.is_older_than(status, own));
            core.acknowledge(tally.calls(), is_stale);
        }
        batch.answered.cancel();
        self.send_batch(state);
    }

    /// Takes an error in the place of an answer.
    pub(crate) fn batch_failed(&self, state: &mut LinkState, sequence: u64, error: &pb::SessionError) {
        let now = self.now();
        let age_max = self.tally_age_max();
        let batch = state.batches.in_flight.as_mut().filter(|batch| batch.request.batch_sequence == sequence);
        let Some(batch) = batch else { return };
        if is_later(error) && now.saturating_sub(batch.made_at) <= age_max {
            batch.is_paused = true;
            return self.retry_later(state, error);
        }
        state.notes.push(format!("a batch was refused: {}", error.message));
        self.refuse_batch(state);
        self.send_batch(state);
    }

    /// Drops the batch in flight.
    pub(crate) fn refuse_batch(&self, state: &mut LinkState) {
        let Some(batch) = state.batches.in_flight.take() else { return };
        for (core, tally) in &batch.told {
            core.lose(tally.lost());
        }
        batch.answered.cancel();
    }

    /// Drops tallies that have grown too old while they could not be sent. True: others wait.
    pub(crate) fn keep_house(&self) -> bool {
        let now = self.now();
        let age_max = self.tally_age_max();
        let state = &mut *self.link.state.lock();
        if state.session.is_some() {
            return false;
        }
        let mut is_waiting = false;
        if let Some(batch) = &state.batches.in_flight {
            if now.saturating_sub(batch.made_at) > age_max {
                self.refuse_batch(state);
            } else {
                is_waiting = !batch.told.is_empty();
            }
        }
        for core in &*self.cores() {
            is_waiting |= core.expire_tallies(now, age_max);
        }
        is_waiting
    }
}

impl Batches {
    /// The batch in flight, if it has this sequence.
    fn take(&mut self, sequence: u64) -> Option<Batch> {
        self.in_flight.take_if(|batch| batch.request.batch_sequence == sequence)
    }
}
