//! `Session`: many calls on one stream.
//!
//! A frame of the client is answered by one frame, in the order they come, when the client has room to take it. What has to
//! wait for the store is answered in later frames, by its number. Nothing else is queued in between: a client that does not
//! read is not read from.
//!
//! A session on which nothing happens gets an empty frame every 7.5 to 15 s, so that nothing on the way takes it for dead.
//! Silence passes in real time, also where the server's clock is a manual one.

#![expect(clippy::disallowed_methods, reason = "the silence of a connection passes in real time")]

use std::{
    iter::Enumerate,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
    vec,
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hashbrown::HashMap;
use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tonic::{Code, Status, Streaming};

use super::{
    convert, pb,
    service::{Context, report_batch, reportable},
    status::{of_transport, session_error},
    token::{decode_permit, encode_permit},
    watch::{Goodbye, goodbye},
};
use crate::{
    access::{Bound, Grant},
    breaker::{CallerId, Decision, Moment, Permit},
    engine::{Acquired, Engine, Error, Handle, ReportAnswer, STORE_PATIENCE, Told},
    limit,
    share::Use,
};

/// Most items of a frame, and most tallies in all its batches.
const ITEMS_MAX: usize = 10_000;
/// Items that are answered before other work of the thread has its turn.
const WORK_AT_ONCE: u32 = 256;
/// Items that a part of a batch counts for.
const WORK_OF_A_BATCH: u32 = 16;
/// Most items that wait for the store before nothing more is read.
const WAITING_MAX: usize = 10_000;
/// Frames answered before it is looked whether the session should end.
const FRAMES_BETWEEN_LOOKS: u32 = 256;
/// Permits are written into blocks of this size.
const PERMIT_BLOCK: usize = 16 * 1024;
/// A session that has sent nothing for one to two of these gets an empty frame: proxies cut a stream that is silent for long
/// (HAProxy after 50 s).
const SILENCE_MAX: Duration = Duration::from_millis(7_500);
/// No permit is longer.
const PERMIT_BYTES_MAX: usize = 64;

/// A session: the stream of its answers.
pub struct Session {
    context: Arc<Context>,
    /// The breakers, on behalf of whoever opened the session.
    engine: Engine,
    /// What the session may do, until it ends.
    grant: Grant,
    frames: Streaming<pb::SessionRequest>,
    caller: CallerId,
    /// The caller that its identity is bound to.
    bound: Option<Bound>,
    /// Breakers by their handle. A client chooses its handles, so memory follows how many there are and not which.
    known: HashMap<u32, Known>,
    /// The places of the handles, of all sessions together.
    handles: Option<Use>,
    permits: BytesMut,
    goodbye: Pin<Box<Goodbye>>,
    silence: Pin<Box<Sleep>>,
    /// Something was sent since `silence` began.
    has_spoken: bool,
    frames_since_look: u32,
    /// The frame that is being answered. No other is read before it is.
    work: Option<Box<Work>>,
    /// Answers that wait for the store.
    waiting: FuturesUnordered<Waiting>,
    /// Nothing is read any more.
    is_over: bool,
    /// Said when nothing waits any more.
    last_word: Option<pb::SessionResponse>,
}

type Waiting = Pin<Box<dyn Future<Output = Late> + Send>>;

/// A frame that is being answered.
struct Work {
    introductions: Enumerate<vec::IntoIter<pb::Introduction>>,
    acquires: vec::IntoIter<pb::SessionAcquire>,
    reports: vec::IntoIter<pb::SessionReport>,
    batches: vec::IntoIter<pb::SessionBatch>,
    counting: Option<Counting>,
    /// What was answered so far.
    response: pb::SessionResponse,
    /// Answers that waited for the store before.
    waited: usize,
}

/// A batch that is being counted.
struct Counting {
    answer: Waiting,
    /// It waits only for the store.
    is_counted: Arc<AtomicBool>,
}

/// An answer that had to wait, by the number of its item.
enum Late {
    Acquired(u64, u64, Result<Acquired, Error>),
    Reported(u64, Result<ReportAnswer, Error>),
    Counted(u64, Result<pb::ReportBatchResponse, Error>),
}

/// A breaker that has been introduced.
struct Known {
    key: Box<str>,
    key_hash: u64,
    handle: Option<Handle>,
}

impl Session {
    pub(super) fn new(
        context: Arc<Context>,
        engine: Engine,
        grant: Grant,
        frames: Streaming<pb::SessionRequest>,
    ) -> Self {
        // Without a bound it is nobody, until it says who it is.
        let caller = grant.caller("").map(|name| context.engine.caller(name)).unwrap_or_default();
        let bound = grant.bound(context.engine.seal());
        Self {
            goodbye: Box::pin(goodbye(&context, &grant)),
            silence: Box::pin(tokio::time::sleep(SILENCE_MAX)),
            has_spoken: false,
            context,
            grant,
            frames,
            caller,
            bound,
            known: HashMap::new(),
            handles: engine.handles(),
            engine,
            permits: BytesMut::new(),
            frames_since_look: 0,
            work: None,
            waiting: FuturesUnordered::new(),
            is_over: false,
            last_word: None,
        }
    }

    /// Begins to answer a frame.
    fn begin(&mut self, frame: pb::SessionRequest) -> Result<Work, Status> {
        let items = frame.introductions.len() + frame.acquires.len() + frame.reports.len() + frame.batches.len();
        let tallies = frame.batches.iter().flat_map(|item| &item.batch).map(|batch| batch.tallies.len());
        // A batch of too many is refused by itself, and takes no work.
        let tallies = tallies.filter(|tallies| *tallies <= convert::TALLIES_MAX).sum();
        for (count, limit) in [(items, limit::FRAME_ITEMS), (tallies, limit::FRAME_TALLIES)] {
            if count > ITEMS_MAX {
                return Err(limit.reached(ITEMS_MAX as u64).into());
            }
        }
        let mut response = pb::SessionResponse::default();
        if !frame.caller.is_empty() {
            match convert::caller("caller", &frame.caller).and_then(|name| self.grant.caller(name)) {
                Ok(name) => self.caller = self.engine.caller(name),
                Err(error) => response.errors.push(session_error(0, &error)),
            }
        }
        response.acquired.reserve_exact(frame.acquires.len());
        response.reported.reserve_exact(frame.reports.len());
        Ok(Work {
            introductions: frame.introductions.into_iter().enumerate(),
            acquires: frame.acquires.into_iter(),
            reports: frame.reports.into_iter(),
            batches: frame.batches.into_iter(),
            counting: None,
            response,
            waited: self.waiting.len(),
        })
    }

    /// Goes on with a frame. Ready when all that can be answered now is in the response; the rest waits, and is answered in later
    /// frames. Pending after some work, so that others have their turn.
    fn poll_work(&mut self, work: &mut Work, cx: &mut TaskContext<'_>) -> Poll<()> {
        let (engine, mut left) = (self.engine.clone(), WORK_AT_ONCE);
        let moment = engine.moment();
        while left != 0 {
            if let Some((index, introduction)) = work.introductions.next() {
                if let Err(error) = self.introduce(&introduction) {
                    let error = error.within(&convert::entry("introductions", index));
                    work.response.errors.push(session_error(0, &error));
                }
                left -= 1;
            } else if let Some(item) = work.acquires.next() {
                match self.acquire(&engine, moment, &item) {
                    Ok(answer) => work.response.acquired.extend(answer),
                    Err(error) => work.response.errors.push(session_error(item.number, &error)),
                }
                left -= 1;
            } else if let Some(item) = work.reports.next() {
                match self.report(&engine, moment, &item) {
                    Ok(answer) => work.response.reported.extend(answer),
                    Err(error) => work.response.errors.push(session_error(item.number, &error)),
                }
                left -= 1;
            } else {
                let next = work.counting.take().or_else(|| Some(self.counting(work.batches.next()?)));
                let Some(mut counting) = next else { return Poll::Ready(()) };
                match counting.answer.as_mut().poll(cx) {
                    Poll::Ready(late) => self.tell(late, &mut work.response),
                    // Batches are counted in their order, and wait for the store side by side.
                    Poll::Pending if counting.is_counted.load(Ordering::Relaxed) => self.waiting.push(counting.answer),
                    Poll::Pending => {
                        work.counting = Some(counting);
                        return Poll::Pending;
                    }
                }
                left = left.saturating_sub(WORK_OF_A_BATCH);
            }
        }
        // Wakes this task when the thread has looked after its sockets.
        _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    fn counting(&self, item: pb::SessionBatch) -> Counting {
        let (number, engine, grant) = (item.number, self.engine.clone(), self.grant.clone());
        let (shutdown, is_counted) = (self.context.shutdown.clone(), Arc::new(AtomicBool::new(false)));
        let sets = Arc::clone(&is_counted);
        let answer: Waiting = Box::pin(async move {
            let answer = match &item.batch {
                Some(batch) => {
                    report_batch(&engine, &grant, &shutdown, batch, &sets).await.map_err(|error| error.within("batch"))
                }
                None => Err(Error::invalid("batch", "is required: a batch of tallies")),
            };
            Late::Counted(number, answer)
        });
        Counting { answer, is_counted }
    }

    /// Adds what has waited to an answer.
    fn tell(&mut self, late: Late, response: &mut pb::SessionResponse) {
        let (number, error) = match late {
            Late::Acquired(number, key_hash, Ok(acquired)) => {
                return response.acquired.push(self.answer_acquire(number, key_hash, &acquired));
            }
            Late::Reported(number, Ok(answer)) => return response.reported.push(to_reported(number, &answer)),
            Late::Counted(number, Ok(answer)) => {
                return response.batches.push(pb::SessionBatchReported { number, response: Some(answer) });
            }
            Late::Acquired(number, _, Err(error))
            | Late::Reported(number, Err(error))
            | Late::Counted(number, Err(error)) => (number, error),
        };
        response.errors.push(session_error(number, &error));
    }

    fn introduce(&mut self, introduction: &pb::Introduction) -> Result<(), Error> {
        let max = self.context.session_handles;
        if !(1..=max).contains(&introduction.handle) {
            return Err(Error::invalid("handle", format!("must be 1 to {max}, not {}", introduction.handle)));
        }
        // Whatever comes next, the handle no longer means the old key: its items would go to the wrong breaker.
        self.known.remove(&introduction.handle);
        let introduced = self.introduce_as(introduction);
        // One more, or one less where it failed.
        let counted = self.handles.as_mut().map_or(Ok(()), |handles| handles.resize(self.known.len() as u64));
        if counted.is_err() {
            self.known.remove(&introduction.handle);
        }
        introduced.and_then(|()| Ok(counted?))
    }

    fn introduce_as(&mut self, introduction: &pb::Introduction) -> Result<(), Error> {
        let key = convert::key("breaker", &introduction.breaker)?;
        self.grant.check(key)?;
        let handle = self.engine.see(key, self.caller);
        self.known
            .insert(introduction.handle, Known { key: key.into(), key_hash: self.engine.seal().key_hash(key), handle });
        Ok(())
    }

    fn acquire(
        &mut self,
        engine: &Engine,
        moment: Moment,
        item: &pb::SessionAcquire,
    ) -> Result<Option<pb::SessionAcquired>, Error> {
        let mut caller = self.caller;
        if !item.caller.is_empty() {
            caller = engine.caller(self.grant.caller(convert::caller("caller", &item.caller)?)?);
        }
        let lease = convert::lease("lease", item.lease.as_ref())?;
        let (key, hash, id, told) = if item.handle == 0 {
            let key = convert::key("breaker", &item.breaker)?;
            self.grant.check(key)?;
            let id = convert::request_id(engine.seal(), "request_id", &item.request_id, key, caller)?;
            (key, engine.seal().key_hash(key), id, engine.acquire_by_key(moment, key, caller, id, lease)?)
        } else {
            let known = known(&mut self.known, item.handle)?;
            let id = convert::request_id(engine.seal(), "request_id", &item.request_id, &known.key, caller)?;
            let told = match known.handle.and_then(|handle| engine.acquire(moment, handle, caller, id, lease)) {
                Some(told) => told,
                None => {
                    let (handle, told) = engine.always(&known.key, |handle| {
                        Some((handle, engine.acquire(moment, handle, caller, id, lease)?))
                    })?;
                    known.handle = Some(handle);
                    told
                }
            };
            (&*known.key, known.key_hash, id, told)
        };
        match told {
            Told::Now(acquired) => Ok(Some(self.answer_acquire(item.number, hash, &acquired))),
            told => {
                let (engine, key, number): (_, Box<str>, _) = (engine.clone(), key.into(), item.number);
                self.waiting.push(Box::pin(async move {
                    let acquired = engine.acquired(told, &key, caller, id, lease, STORE_PATIENCE).await;
                    Late::Acquired(number, hash, acquired)
                }));
                Ok(None)
            }
        }
    }

    fn answer_acquire(&mut self, number: u64, key_hash: u64, acquired: &Acquired) -> pb::SessionAcquired {
        let mut answer = pb::SessionAcquired {
            number,
            state: convert::to_state(acquired.state) as i32,
            generation: acquired.generation,
            caller_generation: acquired.caller_generation,
            override_mode: convert::to_override_mode(acquired.forced) as i32,
            ..pb::SessionAcquired::default()
        };
        match acquired.decision {
            Decision::Permitted(permit) => {
                answer.decision = pb::Decision::Permitted as i32;
                let sealed = encode_permit(self.context.engine.seal(), key_hash, &permit, self.bound);
                answer.permit = self.permit_bytes(sealed.as_slice());
                answer.lease = Some(convert::to_duration(permit.expire.since(acquired.at)));
            }
            Decision::Rejected { reason, retry_after } => {
                answer.decision = pb::Decision::Rejected as i32;
                answer.reason = convert::to_rejection_reason(reason) as i32;
                answer.retry_after = Some(convert::to_duration(retry_after));
                answer.provisional = acquired.is_provisional;
            }
        }
        answer
    }

    /// Many permits share one block of memory.
    fn permit_bytes(&mut self, permit: &[u8]) -> Bytes {
        if self.permits.capacity() < PERMIT_BYTES_MAX {
            self.permits = BytesMut::with_capacity(PERMIT_BLOCK);
        }
        self.permits.extend_from_slice(permit);
        self.permits.split().freeze()
    }

    /// The permit in `bytes`, if the session may report it.
    fn open(&self, engine: &Engine, key_hash: u64, bytes: &[u8]) -> Result<Permit, Error> {
        let opened = decode_permit(engine.seal(), key_hash, bytes)?;
        // The session's own caller was checked when it was named. Without a name it is anybody's.
        let is_own = opened.permit.caller == self.caller && self.caller != CallerId::default();
        if is_own { Ok(opened.permit) } else { reportable(engine, &self.grant, &opened) }
    }

    fn report(
        &mut self,
        engine: &Engine,
        moment: Moment,
        item: &pb::SessionReport,
    ) -> Result<Option<pb::SessionReported>, Error> {
        let report = convert::session_report(item)?;
        let error_class = item.error_class.as_str();
        let (key, permit, told) = if item.handle == 0 {
            let key = convert::key("breaker", &item.breaker)?;
            self.grant.check(key)?;
            let permit = self.open(engine, engine.seal().key_hash(key), &item.permit)?;
            (key, permit, engine.report_by_key(moment, key, &permit, &report, error_class))
        } else {
            let key_hash = known(&mut self.known, item.handle)?.key_hash;
            let permit = self.open(engine, key_hash, &item.permit)?;
            let known = known(&mut self.known, item.handle)?;
            let reported = known.handle.and_then(|handle| engine.report(moment, handle, &permit, &report, error_class));
            let found_anew = || {
                known.handle = engine.find(&known.key);
                engine.report(moment, known.handle?, &permit, &report, error_class)
            };
            let told = reported.or_else(found_anew).unwrap_or(Told::Now(ReportAnswer::GONE));
            (&*known.key, permit, told)
        };
        match told {
            Told::Now(answer) => Ok(Some(to_reported(item.number, &answer))),
            told => {
                let (engine, key, number): (_, Box<str>, _) = (engine.clone(), key.into(), item.number);
                let error_class: Box<str> = error_class.into();
                let mut first = Some(told);
                self.waiting.push(Box::pin(async move {
                    let again = || engine.report_by_key(engine.moment(), &key, &permit, &report, &error_class);
                    let answer = engine.told(|| Ok(first.take().unwrap_or_else(again))).await;
                    Late::Reported(number, answer)
                }));
                Ok(None)
            }
        }
    }
}

fn to_reported(number: u64, answer: &ReportAnswer) -> pb::SessionReported {
    pb::SessionReported {
        number,
        result: convert::to_report_result(answer.reported) as i32,
        state: convert::to_state(answer.state) as i32,
        generation: answer.generation,
        override_mode: convert::to_override_mode(answer.forced) as i32,
        caller_state: convert::to_state(answer.caller_state) as i32,
        caller_generation: answer.caller_generation,
    }
}

fn known(known: &mut HashMap<u32, Known>, handle: u32) -> Result<&mut Known, Error> {
    known.get_mut(&handle).ok_or_else(|| {
        Error::invalid("handle", format!("{handle} was not introduced in this session: send an introduction first"))
    })
}

impl Stream for Session {
    type Item = Result<pb::SessionResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = this.poll_answer(cx);
        if next.is_ready() {
            this.has_spoken = true;
            return next;
        }
        while this.silence.as_mut().poll(cx).is_ready() {
            this.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            if !std::mem::take(&mut this.has_spoken) {
                return Poll::Ready(Some(Ok(pb::SessionResponse::default())));
            }
        }
        Poll::Pending
    }
}

impl Session {
    fn poll_answer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<pb::SessionResponse, Status>>> {
        let this = self;
        loop {
            // Nearly always there is nothing that waits.
            if !this.waiting.is_empty()
                && let Some(response) = this.come(cx)
            {
                return Poll::Ready(Some(Ok(response)));
            }
            if let Some(mut work) = this.work.take() {
                if this.poll_work(&mut work, cx).is_pending() {
                    this.work = Some(work);
                    return Poll::Pending;
                }
                // A frame of which all has to wait is answered later.
                if this.waiting.len() <= work.waited || work.response != Default::default() {
                    return Poll::Ready(Some(Ok(work.response)));
                }
                continue;
            }
            if this.is_over && this.waiting.is_empty() {
                return Poll::Ready(this.last_word.take().map(Ok));
            }
            if this.is_over || this.waiting.len() >= WAITING_MAX {
                return Poll::Pending;
            }
            let frame = Pin::new(&mut this.frames).poll_next(cx);
            this.frames_since_look += 1;
            // The goodbye has to be polled before a wait, so that it can end it; while frames keep coming, now and then.
            if frame.is_pending() || this.frames_since_look >= FRAMES_BETWEEN_LOOKS {
                this.frames_since_look = 0;
                if let (Poll::Pending, Poll::Ready(goodbye)) = (&frame, this.goodbye.as_mut().poll(cx)) {
                    this.is_over = true;
                    this.last_word = Some(pb::SessionResponse { goodbye: Some(goodbye), ..Default::default() });
                    continue;
                }
            }
            let frame = match ready!(frame) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => {
                    this.is_over = true;
                    this.waiting.clear();
                    // The client went away; there is nobody to tell.
                    let is_gone = status.code() == Code::Cancelled;
                    return Poll::Ready((!is_gone).then(|| Err(of_transport(status))));
                }
                None => {
                    this.is_over = true;
                    continue;
                }
            };
            match this.begin(frame) {
                Ok(work) => this.work = Some(Box::new(work)),
                Err(status) => {
                    this.is_over = true;
                    this.waiting.clear();
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }
}

impl Session {
    /// The answers that have waited and have come.
    fn come(&mut self, cx: &mut TaskContext<'_>) -> Option<pb::SessionResponse> {
        let mut response = None;
        while let Poll::Ready(Some(late)) = self.waiting.poll_next_unpin(cx) {
            self.tell(late, response.get_or_insert_default());
        }
        response
    }
}
