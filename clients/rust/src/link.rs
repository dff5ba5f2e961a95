//! The session, opened again and again; whether it is usable; and what has no answer yet and is kept for the next one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info, warn};

use crate::{
    batches::Batches,
    channel::{Retry, evenly},
    core::Core,
    pb,
    reports::Reporting,
    shared::Shared,
    wire,
};

/// Something that happens once and that many may wait for.
pub(crate) type Latch = CancellationToken;

/// Acquires that may be without an answer in a session. Beyond, the server counts as unavailable.
const ASKING_MAX: usize = 10_000;
/// Items in a frame, which keep it below the protocol's 1 MiB.
const FRAME_ITEMS: usize = 1_000;
const FIRST_HELLO: Duration = Duration::from_millis(100);
const LAST_HELLO: Duration = Duration::from_secs(1);

/// The session and what goes over it.
#[derive(Default)]
pub(crate) struct Link {
    /// The server can be asked. Written with `state` locked.
    pub(crate) usable: AtomicBool,
    /// It is known whether the first session works. Until then callers wait.
    pub(crate) settled: Latch,
    /// Tallies wait for their interval.
    pub(crate) gathering: AtomicBool,
    pub(crate) gather: Notify,
    pub(crate) retry: Notify,
    pub(crate) state: Mutex<LinkState>,
}

#[derive(Default)]
pub(crate) struct LinkState {
    pub(crate) session: Option<Session>,
    /// Of the last item. It goes on over sessions.
    number: u64,
    pub(crate) batches: Batches,
    /// Outcomes of the server's permits that have no answer, in the order they came.
    pub(crate) reports: BTreeMap<u64, Reporting>,
    pub(crate) reports_seen: u64,
    /// When the server wants to be told again what it could not record.
    pub(crate) retry_after: Duration,
    /// Log lines that wait until nothing is locked: who reads a log may call this client.
    pub(crate) notes: Vec<String>,
}

/// One stream of acquires, reports and batches.
#[derive(Default)]
pub(crate) struct Session {
    /// Wakes the writer.
    wake: Arc<Notify>,
    /// Wakes the one who says hello.
    trouble: Arc<Notify>,
    greeted: bool,
    introduced: HashSet<u32>,
    introductions: Vec<pb::Introduction>,
    acquires: Vec<pb::SessionAcquire>,
    /// Keys of reports that wait for a frame.
    pub(crate) reports: Vec<u64>,
    pub(crate) batch: Option<pb::SessionBatch>,
    asking: HashMap<u64, Asking>,
    /// Keys of reports by their number in this session.
    pub(crate) reporting: HashMap<u64, u64>,
    /// Sequences of batches by their number in this session.
    pub(crate) batches: HashMap<u64, u64>,
    hello: Option<(u64, Latch)>,
}

/// An acquire under way.
struct Asking {
    core: Arc<Core>,
    /// None is sent for an error.
    reply: oneshot::Sender<Option<pb::SessionAcquired>>,
}

/// Waits for the answer to an acquire. Dropped before that, a permit that comes is given back, so that no probe's place is
/// lost.
pub(crate) struct Waiting<'a> {
    shared: &'a Shared,
    core: &'a Arc<Core>,
    reply: oneshot::Receiver<Option<pb::SessionAcquired>>,
}

impl Waiting<'_> {
    /// The answer; none where the session ended or the item was refused.
    pub(crate) async fn answer(&mut self) -> Option<pb::SessionAcquired> {
        (&mut self.reply).await.ok().flatten()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.reply.close();
        if let Ok(Some(acquired)) = self.reply.try_recv() {
            self.shared.give_back(&mut self.shared.link.state.lock(), self.core, acquired);
        }
    }
}

impl LinkState {
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}

impl Session {
    /// Gives a breaker its handle, once a session.
    pub(crate) fn introduce(&mut self, core: &Core) {
        if self.introduced.insert(core.handle) {
            self.introductions.push(pb::Introduction { handle: core.handle, breaker: core.key.clone() });
        }
    }

    pub(crate) fn wake_up(&self) {
        self.wake.notify_one();
    }

    /// Looks whether an answered batch was the hello.
    fn hello_answered(&mut self, number: u64) {
        if let Some((_, latch)) = self.hello.take_if(|hello| hello.0 == number) {
            latch.cancel();
        }
    }
}

impl Shared {
    pub(crate) fn is_usable(&self) -> bool {
        self.link.usable.load(Relaxed)
    }

    /// Keeps a session open.
    pub(crate) async fn run_link(&self) {
        let mut retry = Retry::default();
        let mut has_worked = false;
        loop {
            let goodbye = self.run_session(&mut retry, &mut has_worked).await;
            self.link.settled.cancel();
            sleep(goodbye.unwrap_or_else(|| retry.next_delay())).await;
            if std::mem::take(&mut has_worked) {
                self.reconnects.fetch_add(1, Relaxed);
            }
        }
    }

    /// Opens a session and serves it until it ends. Some: it ended with a goodbye, after which to come back.
    async fn run_session(&self, retry: &mut Retry, has_worked: &mut bool) -> Option<Duration> {
        let (mut api, replaced) = self.connection.api();
        self.declare_all().await;
        let session = Session::default();
        let (wake, trouble) = (Arc::clone(&session.wake), Arc::clone(&session.trouble));
        self.stand(session);
        let (frames, receiver) = mpsc::channel(1);
        let reading = async {
            let mut stream = api.session(ReceiverStream::new(receiver)).await?.into_inner();
            while let Some(frame) = stream.message().await? {
                let goodbye = frame.goodbye;
                self.take_frame(frame);
                if let Some(goodbye) = goodbye {
                    return Ok(goodbye.retry_after.map(wire::duration));
                }
            }
            Ok::<_, Status>(None)
        };
        let ended = tokio::select! {
            ended = reading => ended,
            () = self.write_frames(&frames, &wake) => Ok(None),
            () = self.keep_usable(&trouble, retry, has_worked) => Ok(None),
            () = replaced.cancelled() => Ok(None),
        };
        self.fall();
        debug!(?ended, "the session ended");
        ended.ok().flatten()
    }

    /// Puts a new session in the place of the one before. What had no answer is sent again.
    fn stand(&self, session: Session) {
        let now = self.now();
        let state = &mut *self.link.state.lock();
        state.session = Some(session);
        for key in state.reports.keys().copied().collect::<Vec<_>>() {
            self.send_report_unless_ended(state, key, now);
        }
    }

    /// Takes an ended session away: nobody waits for it any longer.
    fn fall(&self) {
        self.become_unusable();
        // Dropping its replies tells those who ask.
        drop(self.link.state.lock().session.take());
        self.gather();
    }

    fn become_usable(&self) {
        let state = self.link.state.lock();
        if state.session.is_none() || self.is_usable() {
            return;
        }
        for core in &*self.cores() {
            core.dismiss_stand_in();
        }
        self.await_pending(&state);
        self.link.usable.store(true, Relaxed);
        drop(state);
        self.link.settled.cancel();
        self.policies_due.notify_one();
        info!(address = self.options.address, "the server can be asked");
        self.observe(|observer| observer.link_changed(true));
    }

    /// The session does not answer.
    pub(crate) fn become_unusable(&self) {
        let state = self.link.state.lock();
        let Some(session) = &state.session else { return };
        if !self.link.usable.swap(false, Relaxed) {
            return;
        }
        session.trouble.notify_one();
        drop(state);
        if !self.is_closed() {
            warn!(address = self.options.address, "the server cannot be asked");
        }
        self.observe(|observer| observer.link_changed(false));
    }

    /// Says hello until it is answered in time, and again whenever the session is found not to answer.
    async fn keep_usable(&self, trouble: &Notify, retry: &mut Retry, has_worked: &mut bool) {
        let mut delay = FIRST_HELLO;
        loop {
            let answered = self.say_hello();
            if timeout(self.options.acquire_timeout, answered.cancelled()).await.is_err() {
                sleep(delay / 2 + evenly(delay / 2)).await;
                delay = (delay * 2).min(LAST_HELLO);
                continue;
            }
            retry.worked();
            *has_worked = true;
            self.become_usable();
            delay = FIRST_HELLO;
            trouble.notified().await;
            sleep(delay / 2 + evenly(delay / 2)).await;
        }
    }

    /// Sends a batch whose answer says that the session works: the one in flight again, or one without tallies.
    fn say_hello(&self) -> Latch {
        let answered = Latch::new();
        let state = &mut *self.link.state.lock();
        let number = self.send_hello_batch(state);
        if let Some(session) = &mut state.session {
            session.hello = Some((number, answered.clone()));
        }
        answered
    }

    // Frames.

    /// Sends what waits, as much as a frame holds at a time, until the session ends.
    async fn write_frames(&self, frames: &mpsc::Sender<pb::SessionRequest>, wake: &Notify) {
        loop {
            wake.notified().await;
            while let Some(frame) = self.next_frame() {
                if frames.send(frame).await.is_err() {
                    // Why it ended is told to the reader.
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Takes what waits; none where nothing does.
    fn next_frame(&self) -> Option<pb::SessionRequest> {
        let state = &mut *self.link.state.lock();
        let session = state.session.as_mut()?;
        let acquires = session.acquires.len().min(FRAME_ITEMS);
        let reports = session.reports.len().min(FRAME_ITEMS - acquires);
        let frame = pb::SessionRequest {
            caller: if session.greeted { String::new() } else { self.options.caller.clone() },
            introductions: std::mem::take(&mut session.introductions),
            acquires: session.acquires.drain(..acquires).collect(),
            // One that was answered meanwhile is no longer there.
            reports: session
                .reports
                .drain(..reports)
                .filter_map(|key| Some(state.reports.get(&key)?.item.clone()))
                .collect(),
            batches: session.batch.take().into_iter().collect(),
        };
        let is_empty = frame.introductions.is_empty()
            && frame.acquires.is_empty()
            && frame.reports.is_empty()
            && frame.batches.is_empty();
        session.greeted |= !is_empty;
        (!is_empty).then_some(frame)
    }

    fn take_frame(&self, frame: pb::SessionResponse) {
        let state = &mut *self.link.state.lock();
        for acquired in frame.acquired {
            if let Some(asking) = state.session.as_mut().and_then(|session| session.asking.remove(&acquired.number)) {
                self.acquired(state, asking, acquired);
            }
        }
        for reported in &frame.reported {
            let session = state.session.as_mut();
            if let Some(key) = session.and_then(|session| session.reporting.remove(&reported.number)) {
                self.reported(state, key, reported);
            }
        }
        for answer in frame.batches {
            let session = state.session.as_mut();
            if let Some(sequence) = session.and_then(|session| session.batches.remove(&answer.number)) {
                self.batch_answered(state, sequence, answer.response.as_ref());
            }
            if let Some(session) = &mut state.session {
                session.hello_answered(answer.number);
            }
        }
        for error in frame.errors {
            self.take_error(state, &error);
        }
        let notes = std::mem::take(&mut state.notes);
        for note in notes {
            // Nothing that a subscriber does may find the link locked.
            tokio::spawn(async move { warn!("{note}") });
        }
    }

    fn take_error(&self, state: &mut LinkState, error: &pb::SessionError) {
        let Some(session) = &mut state.session else { return };
        let number = error.number;
        if let Some(asking) = session.asking.remove(&number) {
            state.notes.push(format!("an acquire of {} was refused: {}", asking.core.key, error.message));
            let _ = asking.reply.send(None);
        } else if let Some(key) = session.reporting.remove(&number) {
            self.report_failed(state, key, error);
        } else if let Some(sequence) = session.batches.remove(&number) {
            session.hello_answered(number);
            self.batch_failed(state, sequence, error);
        } else {
            state.notes.push(format!("the session has a fault: {}", error.message));
        }
    }

    // Acquires.

    /// Sends an acquire; none where the server cannot be asked.
    pub(crate) fn ask<'a>(&'a self, core: &'a Arc<Core>) -> Option<Waiting<'a>> {
        let state = &mut *self.link.state.lock();
        let number = state.next_number();
        let session = state.session.as_mut().filter(|session| session.asking.len() < ASKING_MAX && self.is_usable())?;
        let (sender, reply) = oneshot::channel();
        session.introduce(core);
        session.asking.insert(number, Asking { core: Arc::clone(core), reply: sender });
        session.acquires.push(pb::SessionAcquire { number, handle: core.handle, ..pb::SessionAcquire::default() });
        session.wake_up();
        Some(Waiting { shared: self, core, reply })
    }

    fn acquired(&self, state: &mut LinkState, asking: Asking, acquired: pb::SessionAcquired) {
        self.apply_acquired(&asking.core, &acquired);
        if let Err(Some(acquired)) = asking.reply.send(Some(acquired)) {
            // Its caller has gone on.
            self.give_back(state, &asking.core, acquired);
        }
    }

    // The time of tallies, and of what could not be recorded.

    /// Sees to it that tallies are sent when the interval has passed.
    pub(crate) fn gather(&self) {
        if !self.link.gathering.load(Relaxed) && !self.link.gathering.swap(true, Relaxed) {
            self.link.gather.notify_one();
        }
    }

    pub(crate) async fn run_gathering(&self) {
        /// How often old tallies are looked for while they cannot be sent.
        const HOUSEKEEPING: Duration = Duration::from_millis(500);
        loop {
            self.link.gather.notified().await;
            sleep(self.options.report_interval).await;
            self.link.gathering.store(false, Relaxed);
            {
                let state = &mut *self.link.state.lock();
                state.batches.is_due = true;
                self.send_batch(state);
            }
            while self.keep_house() {
                sleep(HOUSEKEEPING).await;
            }
        }
    }

    pub(crate) async fn run_retries(&self) {
        loop {
            self.link.retry.notified().await;
            let delay = self.link.state.lock().retry_after;
            sleep(delay).await;
            self.send_again();
        }
    }

    /// Waits for the answer to a report as `execute` does.
    pub(crate) async fn wait_for(&self, answered: &Latch) {
        tokio::select! {
            () = answered.cancelled() => {}
            () = sleep(self.options.report_timeout) => self.become_unusable(),
            () = self.closing.cancelled() => {}
        }
    }

    /// Tells what waits and waits for the answers, at most `close_timeout`.
    pub(crate) async fn drain(&self) {
        let drained = async {
            loop {
                {
                    let state = &mut *self.link.state.lock();
                    state.batches.is_due = true;
                    self.send_batch(state);
                    let is_idle = state.batches.in_flight.is_none() && state.reports.is_empty();
                    if is_idle || state.session.is_none() {
                        return;
                    }
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = timeout(self.options.close_timeout, drained).await;
    }

    /// Counts everything that is left as dropped.
    pub(crate) fn give_up(&self) {
        self.link.usable.store(false, Relaxed);
        let state = &mut *self.link.state.lock();
        state.session = None;
        self.refuse_batch(state);
        for core in &*self.cores() {
            core.give_up();
        }
        for key in state.reports.keys().copied().collect::<Vec<_>>() {
            self.drop_report(state, key);
        }
    }
}
