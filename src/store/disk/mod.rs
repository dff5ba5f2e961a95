//! A store in a directory: one file, one writer, no other service.
//!
//! `fuseboard.redb` holds everything, `fuseboard.lock` keeps a second server out. Commits that wait are written together in
//! one transaction ([`writer`]), so one sync of the disk serves all of them.
//!
//! # When something goes wrong
//!
//! - *Killed, or the power fails.* The file is as after some transaction, and every commit that was answered is in it.
//! - *The disk is full or fails.* Nothing is answered. The file is opened again until it can be written, and health says
//!   why that takes so long. A disk that does not answer is told of in the same way.
//! - *The file is damaged.* Every page and every value has a checksum that is verified at the start. A file that fails is
//!   set aside under another name; what can still be read of it goes into a new one with a history of its own
//!   ([`salvage`]); and [`Opened::damage`] says so. Or nothing is touched and there is an error ([`OnDamage::Stop`]).
//! - *The directory is removed or replaced.* The path is compared with the open file before and after each transaction, and four
//!   times a second. Nothing is answered while they differ, and health says so; it goes on where the file comes back.
//! - *A newer server wrote it.* It is left alone, whatever [`OnDamage`] says.
//!
//! What cannot be told: after a kill, a newest transaction whose root is damaged looks like one that was being written, and
//! the file is as before it. Only two syncs for each transaction could tell them apart.

mod backend;
mod clock;
pub mod inspect;
mod lock;
mod open;
mod salvage;
mod tables;
mod watchdog;
mod writer;

use std::{
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use parking_lot::{Condvar, Mutex, RwLock};
use redb::{ReadTransaction, ReadableDatabase as _};
use tokio::sync::{Semaphore, watch};

pub use self::backend::Backends;
use self::{
    lock::Lock,
    open::{Identity, NEW_FILE, Open, Site},
    salvage::Found,
    tables::{Fault, Meta, Retention},
    watchdog::Watchdog,
    writer::{Queue, Shared, What, Writer},
};
use super::{Answer, AuditRetention, Commit, Follower, Health, Merge, Record, Refused, Root, Store, Together};
use crate::{
    breaker::Timestamp,
    engine::{AuditEntry, Event},
};

/// Commits that wait at a time; further ones wait for a place.
const QUEUE_MAX: usize = 65_536;

/// How a directory is used.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Events held; the oldest go first. At least 1. Default 65,536.
    pub events_max: usize,
    /// How long an event is held at most, by the server's time. The newest is held for ever. Default 30 days.
    pub events_age: Duration,
    /// How much of the audit trail is kept.
    pub audit: AuditRetention,
    /// Memory for pages of the file, in bytes. Default 32 MiB.
    pub cache_bytes: usize,
    /// What becomes of a damaged file. Default: it is set aside.
    pub on_damage: OnDamage,
    /// A write that takes longer makes the store [`Health::Failing`] while it lasts. Default 1 s.
    pub patience: Duration,
    /// Time before a write that failed is tried again; it doubles with each failure, up to 1 s. Default 100 ms.
    pub retry: Duration,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            events_max: 65_536,
            events_age: Duration::from_secs(30 * 24 * 3600),
            audit: AuditRetention::default(),
            cache_bytes: 32 << 20,
            on_damage: OnDamage::default(),
            patience: Duration::from_secs(1),
            retry: Duration::from_millis(100),
        }
    }
}

/// What becomes of a damaged file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum OnDamage {
    /// It gets another name and is never deleted. What can be read of it begins a new history.
    #[default]
    SetAside,
    /// It stays where it is, and the store does not open.
    Stop,
}

/// What becomes of a start much later than the last stored time, where something would expire by it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, clap::ValueEnum)]
pub enum OnClockJump {
    /// The server does not start.
    #[default]
    Stop,
    /// It does, and what has expired is gone.
    Accept,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("another server uses {} (pid {}): stop it, or give this one a directory of its own", path.display(), pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Whose it is, where that can be read.
        pid: Option<u32>,
    },
    /// Another version wrote the file. It is as it was.
    #[error("{} cannot be used by this server: {why}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is newer, for people.
        why: String,
    },
    /// The file is damaged. It is as it was.
    #[error("{} is damaged: {why}; to go on without what cannot be read, start with --on-damage set-aside", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and where, for people.
        why: String,
    },
    /// The system refuses.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Disk,
    /// What was found damaged and set aside.
    pub damage: Option<Damage>,
}

/// A damaged file, and what was saved of it. As text it is a message for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where the damaged file is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
    /// Breakers that were saved.
    pub records: usize,
    /// Operators' policies that were saved.
    pub policies: usize,
    /// Clients' marks that were saved.
    pub marks: usize,
    /// Tokens and other documents that were saved.
    pub documents: usize,
    /// Entries of the audit trail that were saved.
    pub audit: usize,
    /// Events that were saved. They are numbered anew.
    pub events: usize,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, why, records, policies, marks, documents, audit, events } = self;
        let saved = format_args!(
            "{records} breakers, {policies} policies, {marks} clients' marks, {documents} documents, {audit} entries of the \
             audit trail and {events} events"
        );
        let path = path.display();
        write!(f, "the store's file was damaged ({why}) and is set aside as {path}; {saved} could be read and are kept")
    }
}

/// A store on disk. It is closed when it is dropped.
pub struct Disk {
    shared: Arc<Shared>,
    epoch: u64,
    places: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Given back when all is closed.
    lock: Mutex<Option<Lock>>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens the store in a directory, which is made where it is not there.
    ///
    /// # Errors
    /// Another server has it, a newer one wrote it, it is damaged and that is to stop, or the system refuses.
    pub fn open(directory: &Path, options: &DiskOptions) -> Result<Opened, OpenError> {
        Self::open_with(directory, options, backend::files())
    }

    /// As [`Disk::open`], with bytes of the caller's own, so that tests can make the disk fail.
    ///
    /// # Errors
    /// As [`Disk::open`].
    #[doc(hidden)]
    pub fn open_with(directory: &Path, options: &DiskOptions, backends: Backends) -> Result<Opened, OpenError> {
        let lock = Lock::take(directory)?;
        let site = Site {
            directory: directory.to_owned(),
            cache_bytes: options.cache_bytes,
            backends,
            sync_failed: Arc::default(),
        };
        // One that was being made when its server was killed.
        match fs::remove_file(directory.join(NEW_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::Io { path: directory.join(NEW_FILE), source: error });
            }
            _ => {}
        }
        let (open, damage) = open(&site, options.on_damage)?;
        let identity = site.identity().map_err(|source| OpenError::Io { path: site.path(), source })?;
        let store = Self::start(lock, site, identity, open, options);
        if let Some(damage) = &damage {
            tracing::error!("{damage}");
        }
        Ok(Opened { store, damage })
    }

    fn start(lock: Lock, site: Site, identity: Identity, open: Open, options: &DiskOptions) -> Self {
        let Open { database, meta, oldest } = open;
        let now = meta.floors.now.max(meta.newest_at);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            filled: Condvar::new(),
            closing: Condvar::new(),
            followers: Mutex::default(),
            health: watch::Sender::default(),
            database: RwLock::new(Some(database)),
            reopened: watch::Sender::default(),
            now: AtomicU64::new(now.as_nanos()),
            watchdog: Watchdog::default(),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            site,
            identity,
            retention: Retention {
                events_max: options.events_max.max(1) as u64,
                events_age: options.events_age,
                audit: options.audit,
            },
            retry_min: options.retry,
            meta,
            oldest,
            trail: Mutex::default(),
            waiting: Default::default(),
            retry: options.retry,
        };
        let (patience, watched) = (options.patience, Arc::clone(&shared));
        let watchdog = move || {
            let why = format!("the disk has not answered for {}", humantime::format_duration(patience));
            watched.watchdog.run(patience, || watched.failing(why.clone()));
        };
        let threads = vec![thread::spawn(move || writer.run()), thread::spawn(watchdog)];
        let places = Arc::new(Semaphore::new(QUEUE_MAX));
        Self { shared, epoch: meta.epoch, places, threads: Mutex::new(threads), lock: Mutex::new(Some(lock)) }
    }

    /// Writes what waits and closes the file. Where the disk fails then, there is one more attempt; what is still waiting
    /// after it is answered with [`Refused::Closed`], and may be in the file or not.
    pub fn close(&self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.filled.notify_one();
        self.shared.closing.notify_one();
        self.places.close();
        for thread in self.threads.lock().drain(..) {
            // A follower may have had the last handle.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
            // After the writer, which comes first.
            self.shared.watchdog.close();
        }
        self.lock.lock().take();
    }

    /// Reads, on the task that asks. Waits while the file is being opened again.
    async fn read<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, Fault>) -> Result<T, Refused> {
        let mut reopened = self.shared.reopened.subscribe();
        loop {
            match self.try_read(&read) {
                Some(Ok(value)) => return Ok(value),
                Some(Err(fault)) if fault.wants_reopening() => {
                    self.shared.queue.lock().wants_reopening = true;
                    self.shared.filled.notify_one();
                }
                Some(Err(fault)) => return Err(Refused::Unreadable(fault.to_string())),
                None if self.shared.queue.lock().is_closed => return Err(Refused::Closed),
                None => {}
            }
            reopened.changed().await.map_err(|_| Refused::Closed)?;
        }
    }

    /// `None` where there is no database just now.
    fn try_read<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, Fault>) -> Option<Result<T, Fault>> {
        let database = self.shared.database.read();
        let database = database.as_ref()?;
        let read = || read(&database.begin_read()?);
        Some(catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(Fault::panicked(&*panic))))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens the file, or makes it, or sets it aside and makes another.
fn open(site: &Site, on_damage: OnDamage) -> Result<(Open, Option<Damage>), OpenError> {
    let path = site.path();
    let epoch = || rand::random::<u64>().max(1);
    let failed = |fault: Fault| match fault {
        Fault::Storage(redb::Error::Io(source)) => OpenError::Io { path: path.clone(), source },
        fault => OpenError::Io { path: path.clone(), source: io::Error::other(fault.to_string()) },
    };
    let fault = match site.open(true) {
        Ok(open) => return Ok((open, None)),
        Err(Fault::Storage(redb::Error::Io(error))) if error.kind() == io::ErrorKind::NotFound => {
            site.install(Meta { epoch: epoch(), ..Meta::default() }, &open::Contents::default()).map_err(failed)?;
            return Ok((site.open(true).map_err(failed)?, None));
        }
        Err(Fault::Storage(redb::Error::DatabaseAlreadyOpen)) => return Err(OpenError::Locked { path, pid: None }),
        Err(fault) => fault,
    };
    let why = fault.to_string();
    match (fault.is_damage(), on_damage) {
        _ if fault.is_newer() => return Err(OpenError::Newer { path, why }),
        (false, _) => return Err(failed(fault)),
        (true, OnDamage::Stop) => return Err(OpenError::Damaged { path, why }),
        (true, OnDamage::SetAside) => {}
    }
    let refused = |source| OpenError::Io { path: path.clone(), source };
    let found = salvage::search(&fs::read(&path).map_err(refused)?);
    let aside = site.set_aside(seconds()).map_err(refused)?;
    let meta = found.meta(epoch());
    let contents = Found::into_contents(found);
    site.install(meta, &contents).map_err(failed)?;
    let damage = Damage {
        path: aside,
        why,
        records: contents.records.len(),
        policies: contents.policies.len(),
        marks: contents.marks.len(),
        documents: contents.documents.len(),
        audit: contents.audit.len(),
        events: contents.events.len(),
    };
    Ok((site.open(true).map_err(failed)?, Some(damage)))
}

#[expect(clippy::disallowed_methods, reason = "names a file; nothing is decided by it")]
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Store for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn is_lasting(&self) -> bool {
        true
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What was written last, and after a start 1 s more: what a server before this one may have told and not stored.
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.shared.now.load(Ordering::Acquire))
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    fn follow(&self, follower: Arc<dyn Follower>) {
        self.shared.followers.lock().push(follower);
    }

    fn root(&self) -> Answer<'_, Root> {
        Box::pin(self.read(tables::root))
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>> {
        Box::pin(self.read(move |transaction| tables::load(transaction, key)))
    }

    fn scan<'a>(&'a self, after: &'a str, max: usize) -> Answer<'a, Vec<Record>> {
        Box::pin(self.read(move |transaction| tables::scan(transaction, after, max)))
    }

    fn events(&self, after: u64, max: usize) -> Answer<'_, Vec<Arc<Event>>> {
        Box::pin(self.read(move |transaction| tables::events(transaction, after, max)))
    }

    fn audit(&self, before: u64, max: usize) -> Answer<'_, Vec<AuditEntry>> {
        Box::pin(self.read(move |transaction| tables::audit(transaction, before, max)))
    }

    fn commit(&self, commit: Commit) -> Answer<'static, ()> {
        let (shared, places) = (Arc::clone(&self.shared), Arc::clone(&self.places));
        let mut answer: Answer<'static, ()> = Box::pin(async move {
            let place = places.acquire_owned().await.map_err(|_| Refused::Closed)?;
            shared.put([What::Commit(Box::new(commit))], Some(place)).swap_remove(0).await
        });
        // Its place in the queue, or among those who wait for one, is the next one now.
        match tokio::task::unconstrained(&mut answer).now_or_never() {
            Some(answered) => Box::pin(std::future::ready(answered)),
            None => answer,
        }
    }

    fn merge(&self, merge: Merge) -> Answer<'static, ()> {
        self.shared.put([What::Merge(Box::new(merge))], None).swap_remove(0)
    }

    fn write_together(&self, commits: Vec<Commit>, merge: Merge) -> Together {
        let commits = commits.into_iter().map(|commit| What::Commit(Box::new(commit)));
        let mut answers = self.shared.put(commits.chain([What::Merge(Box::new(merge))]), None);
        let merge = answers.pop().unwrap_or_else(|| Box::pin(std::future::ready(Err(Refused::Closed))));
        Together { commits: answers, merge }
    }
}
