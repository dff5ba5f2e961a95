//! Turns: how much of a serving thread a connection gets before the others come.
//!
//! A serving thread polls its tasks in the order in which they were woken. A peer that floods one connection, or opens a
//! thousand calls at once, would otherwise put milliseconds of work in front of everybody else's calls. So a connection and all
//! calls on it are one task, not one for each call, and a poll of that task is a *turn*: it ends when so many bytes were read
//! or so many calls polled. A connection whose turn ended with work left is *greedy*. It waits in the [`Backlog`] of its thread,
//! from which one connection at a time goes on, after the sockets were looked at. So whoever has little to do waits for one
//! turn of one greedy connection, however many there are, and greedy ones take turns.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes that a turn has; the reading that takes the last is whole.
const BYTES: usize = 4 << 10;
/// Polls of calls that a turn has: about as much work as so many bytes of small frames.
const CALLS: usize = 16;
/// Nanoseconds that calls have of a turn: the poll that takes the last is whole. One may bring a thousand declarations.
const CALLS_NANOS: usize = 100_000;
/// What is read at a time on a greedy connection: all frames of one reading are worked through at once.
pub(super) const GREEDY_READ: usize = 2 << 10;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

// ---- One connection ------------------------------------------------------------------------------------------------

/// What is left of a connection's turn. One task uses it, so there are no races.
#[derive(Default, Debug)]
pub(super) struct Turn {
    bytes: AtomicUsize,
    calls: AtomicUsize,
    /// What is left of the time for calls.
    nanos: AtomicUsize,
    is_greedy: AtomicBool,
}

impl Turn {
    fn begin(&self) {
        self.bytes.store(BYTES, Ordering::Relaxed);
        self.calls.store(CALLS, Ordering::Relaxed);
        self.nanos.store(CALLS_NANOS, Ordering::Relaxed);
    }

    /// Whether the turn before ended with work left.
    pub(super) fn is_greedy(&self) -> bool {
        self.is_greedy.load(Ordering::Relaxed)
    }

    /// Whether nothing more is read in it.
    pub(super) fn has_read(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }

    /// So many bytes were read.
    pub(super) fn read(&self, bytes: usize) {
        self.bytes.store(self.bytes.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
    }

    fn calls_left(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether another call may be polled.
    fn takes_call(&self) -> bool {
        let left = self.calls_left();
        self.calls.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    /// A poll of a call took so long. At the bound no more are polled.
    fn called(&self, time: Duration) {
        let left = self.nanos.load(Ordering::Relaxed).saturating_sub(time.as_nanos() as usize);
        self.nanos.store(left, Ordering::Relaxed);
        if left == 0 {
            self.calls.store(0, Ordering::Relaxed);
        }
    }

    /// Ends it. True where there may be work left.
    fn end(&self) -> bool {
        let is_greedy = self.has_read() || self.calls_left() == 0;
        self.is_greedy.store(is_greedy, Ordering::Relaxed);
        is_greedy
    }
}

/// Takes the calls that hyper begins on a connection, so that they become part of its task.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Begun {
    fn execute(&self, call: F) {
        self.0.lock().push(Box::pin(call));
    }
}

/// A call on a connection. What is left of the turn decides whether it is polled.
struct Call {
    task: Task,
    turn: Arc<Turn>,
}

impl Future for Call {
    type Output = ();

    #[expect(clippy::disallowed_methods, reason = "a thread is used in real time, whatever clock the breakers have")]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.turn.takes_call() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let began = Instant::now();
        let task = self.task.as_mut();
        // One that panics ends alone, as a task of its own would.
        let polled = catch_unwind(AssertUnwindSafe(|| task.poll(context))).unwrap_or_else(|_| {
            tracing::error!("a call has panicked");
            Poll::Ready(())
        });
        self.turn.called(began.elapsed());
        polled
    }
}

/// Drives a connection and its calls, turn by turn.
pub(super) struct Turns {
    turn: Arc<Turn>,
    begun: Begun,
    calls: FuturesUnordered<Call>,
    backlog: Backlog,
    /// Where it waits for its next turn, if it was greedy.
    waits: Option<Arc<AtomicBool>>,
}

impl Turns {
    /// For a connection whose socket takes from `turn`, and whose calls come into `begun`.
    pub(super) fn new(turn: Arc<Turn>, begun: Begun, backlog: Backlog) -> Self {
        Self { turn, begun, calls: FuturesUnordered::new(), backlog, waits: None }
    }

    /// The connection's end.
    pub(super) async fn drive<C: Future>(&mut self, mut connection: Pin<&mut C>) -> C::Output {
        poll_fn(|context| self.poll(connection.as_mut(), context)).await
    }

    fn poll<C: Future>(&mut self, mut connection: Pin<&mut C>, context: &mut Context<'_>) -> Poll<C::Output> {
        // Woken for another reason before its turn.
        if self.waits.as_ref().is_some_and(|waits| waits.load(Ordering::Acquire)) {
            return Poll::Pending;
        }
        self.waits = None;
        self.turn.begin();
        loop {
            // What the calls have answered is sent here, so it comes after them, too.
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let turn = &self.turn;
            self.calls.extend(self.begun.0.lock().drain(..).map(|task| Call { task, turn: Arc::clone(turn) }));
            if !poll_calls(&mut self.calls, turn, context) {
                break;
            }
        }
        if self.turn.end() {
            self.waits = Some(self.backlog.wait(context.waker()));
        }
        Poll::Pending
    }
}

/// Polls what calls there are to be polled, as far as the turn goes. False where there was none.
fn poll_calls(calls: &mut FuturesUnordered<Call>, turn: &Turn, context: &mut Context<'_>) -> bool {
    let left = turn.calls_left();
    while let Poll::Ready(Some(())) = calls.poll_next_unpin(context) {}
    turn.calls_left() < left
}

// ---- All of a thread -----------------------------------------------------------------------------------------------

/// The greedy connections of one serving thread, each once. Clones share one.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    queue: Mutex<VecDeque<(Arc<AtomicBool>, Waker)>>,
    came: Notify,
}

impl Backlog {
    /// Queues a connection. What is returned turns false when its turn has come.
    fn wait(&self, waker: &Waker) -> Arc<AtomicBool> {
        let waits = Arc::new(AtomicBool::new(true));
        self.0.queue.lock().push_back((Arc::clone(&waits), waker.clone()));
        self.0.came.notify_one();
        waits
    }

    /// Lets one after the other go on, and looks at the sockets in between.
    pub(super) async fn run(&self) -> Infallible {
        loop {
            let next = self.0.queue.lock().pop_front();
            match next {
                Some((waits, waker)) => {
                    waits.store(false, Ordering::Release);
                    waker.wake();
                    // The runtime wakes us only after it has looked at the sockets and woken whoever they are ready for.
                    tokio::task::yield_now().await;
                }
                None => self.0.came.notified().await,
            }
        }
    }
}
