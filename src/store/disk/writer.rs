//! The one thread that writes.
//!
//! It takes all that waits, applies it in order in one transaction, and when that is durable tells followers and answers.
//! When a transaction fails it opens the file again and looks whether the transaction is in it: if so, what it brought is
//! told now; if not, it is applied again. Nothing is told twice and nothing out of order, as everything else waits meanwhile.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use redb::Database;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::{
    open::{Identity, Site},
    tables::{Fault, Meta, Oldest, Retention, Writing},
    watchdog::Watchdog,
};
use crate::store::{Answer, Commit, Committed, Follower, Health, Merge, Refused, trail::Trail};

/// Most commits and merges of a transaction.
const COMMITS_MAX: usize = 4_096;
/// Bytes after which a transaction takes no more commits.
const BYTES_MAX: usize = 4 << 20;
/// How often a store with nothing to write looks whether its file is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest time between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What the writer shares with who asks it.
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    pub(super) filled: Condvar,
    /// Told when the store is being closed.
    pub(super) closing: Condvar,
    pub(super) followers: Mutex<Vec<Arc<dyn Follower>>>,
    pub(super) health: watch::Sender<Health>,
    /// `None` while it is opened again, and in the end. Held for reading by each read.
    pub(super) database: RwLock<Option<Database>>,
    /// Changes when there may be a database again, or never will be.
    pub(super) reopened: watch::Sender<()>,
    pub(super) now: AtomicU64,
    pub(super) watchdog: Watchdog,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    /// A reader found that the file has to be opened again.
    pub(super) wants_reopening: bool,
    pub(super) is_closed: bool,
}

/// What waits to be written.
pub(super) struct Waiting {
    pub(super) what: What,
    pub(super) answer: oneshot::Sender<Result<(), Refused>>,
    /// It is written in the same transaction as the next one in the queue.
    pub(super) is_joined: bool,
    /// Its place in the queue, which is free when it was answered. A merge takes none: few of them wait at a time.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

pub(super) enum What {
    Commit(Box<Commit>),
    Merge(Box<Merge>),
}

impl Shared {
    /// Puts what belongs together into the queue. An answer for each.
    pub(super) fn put(
        &self,
        together: impl IntoIterator<Item = What>,
        mut place: Option<OwnedSemaphorePermit>,
    ) -> Vec<Answer<'static, ()>> {
        let mut queue = self.queue.lock();
        let is_closed = queue.is_closed;
        let mut answers: Vec<Answer<'static, ()>> = Vec::new();
        for what in together {
            let (answer, answered) = oneshot::channel();
            if !is_closed {
                queue.waiting.push_back(Waiting { what, answer, is_joined: true, _place: place.take() });
            }
            answers.push(Box::pin(async move { answered.await.unwrap_or(Err(Refused::Closed)) }));
        }
        if let Some(last) = queue.waiting.back_mut() {
            last.is_joined = false;
        }
        drop(queue);
        self.filled.notify_one();
        answers
    }

    pub(super) fn failing(&self, why: String) {
        let failing = Health::Failing { why };
        self.health.send_if_modified(|health| {
            let is_other = *health != failing;
            if let Health::Failing { why } = &failing
                && is_other
            {
                tracing::error!("the store cannot write: {why}");
            }
            *health = failing;
            is_other
        });
    }

    fn well(&self) {
        self.health.send_if_modified(|health| {
            let was_failing = std::mem::take(health) != Health::Well;
            if was_failing {
                tracing::info!("the store writes again");
            }
            was_failing
        });
    }
}

/// What a transaction does, before it is known whether it is durable.
struct Attempt {
    meta: Meta,
    oldest: Oldest,
    /// What comes of each of those in front; of a merge there is nothing to tell.
    outcomes: Vec<Result<Option<Committed>, Refused>>,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) site: Site,
    /// Which file is open.
    pub(super) identity: Identity,
    pub(super) retention: Retention,
    /// Shortest time between two attempts.
    pub(super) retry_min: Duration,
    pub(super) meta: Meta,
    pub(super) oldest: Oldest,
    /// Who holds which entries of the audit trail, once it is known.
    pub(super) trail: Mutex<Option<Trail>>,
    /// Taken from the queue and not answered.
    pub(super) waiting: VecDeque<Waiting>,
    /// How long to wait before the next attempt.
    pub(super) retry: Duration,
}

impl Writer {
    /// Writes until the store is closed and nothing waits.
    pub(super) fn run(mut self) {
        while self.take() {
            if !self.write() {
                break;
            }
        }
        let Self { shared, waiting, .. } = self;
        let mut queue = shared.queue.lock();
        queue.is_closed = true;
        let waiting = waiting.into_iter().chain(std::mem::take(&mut queue.waiting));
        waiting.for_each(|waiting| _ = waiting.answer.send(Err(Refused::Closed)));
        drop(queue);
        close(&shared);
        shared.reopened.send_replace(());
    }

    /// Waits until there is something to write, or the file is not where it was. False when the store is closed.
    fn take(&mut self) -> bool {
        let mut queue = self.shared.queue.lock();
        loop {
            self.waiting.append(&mut queue.waiting);
            let wants_reopening = std::mem::take(&mut queue.wants_reopening);
            if wants_reopening || !self.waiting.is_empty() {
                return true;
            }
            if queue.is_closed {
                return false;
            }
            let is_idle = self.shared.filled.wait_for(&mut queue, LOOK_EVERY).timed_out();
            if is_idle && MutexGuard::unlocked(&mut queue, || self.site.check_place(&self.identity).is_err()) {
                return true;
            }
        }
    }

    /// Waits until the file is where it was opened. False when the store is closed before.
    fn come_back(&mut self) -> bool {
        while let Err(fault) = self.site.check_place(&self.identity) {
            self.shared.failing(fault.to_string());
            if self.pause() {
                return false;
            }
        }
        true
    }

    /// Writes one transaction. False when the store was closed before it could.
    fn write(&mut self) -> bool {
        let mut is_last = false;
        loop {
            if !self.come_back() {
                return false;
            }
            let mut attempt = None;
            self.shared.watchdog.begin();
            let written = catch_unwind(AssertUnwindSafe(|| self.transact(&mut attempt)));
            let written = written.unwrap_or_else(|panic| Err(Fault::panicked(&*panic)));
            self.shared.watchdog.end();
            let durable = match written {
                Ok(()) => None,
                Err(fault) => {
                    *self.trail.get_mut() = None;
                    self.shared.failing(fault.to_string());
                    let Some(durable) = self.reopen() else { return false };
                    Some(durable)
                }
            };
            match (attempt, durable) {
                (attempt, None) => return self.succeed(attempt),
                (Some(attempt), Some((meta, _))) if attempt.meta.transaction == meta.transaction => {
                    return self.succeed(Some(attempt));
                }
                (_, Some(durable)) => (self.meta, self.oldest) = durable,
            }
            // One more attempt where it is being closed, and no more.
            if std::mem::replace(&mut is_last, self.shared.queue.lock().is_closed) {
                return false;
            }
        }
    }

    fn succeed(&mut self, attempt: Option<Attempt>) -> bool {
        // It may have been taken away before it was written.
        if !self.come_back() {
            return false;
        }
        self.retry = self.retry_min;
        // Before anything is answered: who was answered finds it well.
        self.shared.well();
        if let Some(attempt) = attempt {
            self.settle(attempt);
        }
        true
    }

    /// One transaction of what waits. `attempt` is set when only the commit is left to do.
    fn transact(&self, attempt: &mut Option<Attempt>) -> Result<(), Fault> {
        let database = self.shared.database.read();
        let Some(database) = &*database else { return Err(redb::StorageError::DatabaseClosed.into()) };
        let transaction = database.begin_write()?;
        let mut trail = self.trail.lock();
        let mut writing = Writing::begin(&transaction, self.meta, self.oldest, self.retention, &mut trail)?;
        let mut outcomes = Vec::new();
        for waiting in &self.waiting {
            outcomes.push(match &waiting.what {
                What::Commit(commit) => writing.commit(commit)?.map(Some),
                What::Merge(merge) => {
                    writing.merge(merge)?;
                    Ok(None)
                }
            });
            let is_full = outcomes.len() >= COMMITS_MAX || writing.bytes > BYTES_MAX;
            if is_full && !waiting.is_joined {
                break;
            }
        }
        if !writing.is_changed && !self.waiting.is_empty() {
            *attempt = Some(Attempt { meta: self.meta, oldest: self.oldest, outcomes });
            drop(writing);
            transaction.abort()?;
            return Ok(());
        }
        let (meta, oldest) = writing.finish()?;
        *attempt = Some(Attempt { meta, oldest, outcomes });
        transaction.commit()?;
        Ok(())
    }

    /// A transaction is durable: tells and answers what it brought.
    fn settle(&mut self, attempt: Attempt) {
        (self.meta, self.oldest) = (attempt.meta, attempt.oldest);
        self.shared.now.fetch_max(self.meta.floors.now.as_nanos(), Ordering::AcqRel);
        let followers = self.shared.followers.lock().clone();
        for outcome in &attempt.outcomes {
            let Ok(Some(committed)) = outcome else { continue };
            for follower in &followers {
                if catch_unwind(AssertUnwindSafe(|| follower.committed(committed))).is_err() {
                    tracing::error!("a follower of the store has panicked");
                }
            }
        }
        for outcome in attempt.outcomes {
            if let Some(waiting) = self.waiting.pop_front() {
                // Nobody may wait any more.
                _ = waiting.answer.send(outcome.map(|_| ()));
            }
        }
    }

    /// Opens the file again, as often as it takes. `None` when the store is closed and it could not.
    fn reopen(&mut self) -> Option<(Meta, Oldest)> {
        close(&self.shared);
        loop {
            let is_closed = self.pause();
            let opened = self.site.check_place(&self.identity).and_then(|()| self.site.open(false));
            let fault = match opened {
                // What was durable and told cannot be taken back, and its sequences cannot be given again.
                Ok(open) if open.meta.transaction < self.meta.transaction || open.meta.epoch != self.meta.epoch => {
                    Fault::Damaged("it lacks what was written before: the disk has lost it".to_owned())
                }
                Ok(open) => {
                    *self.shared.database.write() = Some(open.database);
                    self.shared.reopened.send_replace(());
                    return Some((open.meta, open.oldest));
                }
                Err(fault) => fault,
            };
            self.shared.failing(fault.to_string());
            if is_closed {
                return None;
            }
        }
    }

    /// Waits before another attempt, longer each time. True at once when the store is being closed.
    fn pause(&mut self) -> bool {
        let mut queue = self.shared.queue.lock();
        if !queue.is_closed {
            self.shared.closing.wait_for(&mut queue, self.retry);
        }
        self.retry = (self.retry * 2).min(RETRY_MAX);
        queue.is_closed
    }
}

/// Closes the database. Where that fails it is repaired when it is opened again, and nothing is lost that was answered.
fn close(shared: &Shared) {
    let Some(database) = shared.database.write().take() else { return };
    match catch_unwind(AssertUnwindSafe(|| database.close())) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the store's file was not closed properly: {error}"),
        Err(_) => tracing::error!("the store's file was not closed properly"),
    }
}
