//! A service's tie to a Fuseboard server.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Breaker, BreakerOptions, Error, Options, Stats, Subscription, core::Core, options::validate_key, shared::Shared,
    testing::Script, watch,
};

const BREAKERS_MAX: usize = 1_000;

/// A service's tie to a server. One is enough for a process; it is cheap to clone, and shared by its clones. When the last
/// clone and the last breaker of it are dropped, its tasks end; [`close`](Self::close) tells what waits before.
#[derive(Clone)]
pub struct Client {
    owner: Arc<Owner>,
}

/// Keeps the client's tasks alive.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.begin_closing();
        self.shared.ended.cancel();
    }
}

impl Owner {
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.shared.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    pub(crate) fn subscribe(&self, key: Option<String>) -> Subscription {
        Subscription::new(key, self.shared.events.lock().as_ref())
    }

    fn spawn(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        let ended = self.shared.ended.clone();
        let task = runtime.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = work => {}
            }
        });
        self.tasks.lock().push(task);
    }
}

impl Client {
    /// A client. It connects in the background: a server that is away is no error, and calls are decided all the same.
    ///
    /// # Errors
    ///
    /// What is wrong with an option, or [`Error::NoRuntime`] outside a tokio runtime.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::start(options, None)
    }

    pub(crate) fn start(options: Options, script: Option<Arc<Script>>) -> Result<Self, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let shared = Arc::new(Shared::new(options.validated()?, script)?);
        let owner = Owner { shared: Arc::clone(&shared), tasks: Mutex::default() };
        if shared.script.is_none() {
            owner.spawn(&runtime, watch::run(Arc::clone(&shared)));
            let with = || Arc::clone(&shared);
            let (link, gathering, retries, policies) = (with(), with(), with(), with());
            owner.spawn(&runtime, async move { link.run_link().await });
            owner.spawn(&runtime, async move { gathering.run_gathering().await });
            owner.spawn(&runtime, async move { retries.run_retries().await });
            owner.spawn(&runtime, async move { policies.run_policies().await });
        }
        Ok(Self { owner: Arc::new(owner) })
    }

    /// Who asks, as the server is told.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.owner.shared.options.caller
    }

    /// The breaker of a key: 1 to 200 bytes of A-Z a-z 0-9 . _ - : /. The same key gives the same breaker, with the options
    /// of the first time. It makes no request; what it declares is sent in the background.
    ///
    /// # Errors
    ///
    /// A key that is none, or [`Error::TooManyBreakers`].
    pub fn breaker(&self, key: &str, options: BreakerOptions) -> Result<Breaker, Error> {
        validate_key(key)?;
        let shared = &self.owner.shared;
        let mut breakers = shared.breakers.write();
        if let Some(core) = breakers.by_key.get(key) {
            return Ok(Breaker::new(Arc::clone(core), Arc::clone(&self.owner)));
        }
        let count = breakers.listed.len();
        if count == BREAKERS_MAX {
            return Err(Error::TooManyBreakers);
        }
        let handle = u32::try_from(count + 1).map_err(|_| Error::TooManyBreakers)?;
        let core = Arc::new(Core::new(key, handle, options, &shared.options, Arc::clone(&shared.budget)));
        breakers.by_key.insert(key.to_owned(), Arc::clone(&core));
        Arc::make_mut(&mut breakers.listed).push(Arc::clone(&core));
        drop(breakers);
        shared.uncovered.notify_one();
        if core.declared.is_some() {
            shared.policies_due.notify_one();
        }
        Ok(Breaker::new(core, Arc::clone(&self.owner)))
    }

    /// Waits until all breakers are covered by the watch, what they declare is declared and the session is usable. Calls
    /// need not wait for it.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] after `limit`, or [`Error::Closed`].
    pub async fn ready(&self, limit: Duration) -> Result<(), Error> {
        /// How often it looks: for starts and tests, where a few milliseconds are nothing.
        const POLL: Duration = Duration::from_millis(2);
        let ready = async {
            while !self.is_ready() {
                self.owner.check_open()?;
                sleep(POLL).await;
            }
            Ok(())
        };
        timeout(limit, ready).await.unwrap_or(Err(Error::NotReady(limit)))
    }

    fn is_ready(&self) -> bool {
        let shared = &self.owner.shared;
        let is_ready =
            |core: &Arc<Core>| core.is_covered() && (core.declared.is_none() || core.is_declared.load(Relaxed));
        shared.script.is_some() || shared.is_usable() && shared.cores().iter().all(is_ready)
    }

    /// Events of all of the client's breakers from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.owner.subscribe(None)
    }

    /// What the client has done since it was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.owner.shared;
        let mut stats = Stats {
            reconnects: shared.reconnects.load(Relaxed),
            resyncs: shared.resyncs.load(Relaxed),
            staleness: shared.staleness(shared.now()),
            usable: shared.is_usable(),
            ..Stats::default()
        };
        for core in &*shared.cores() {
            stats.add(&core.account());
        }
        stats
    }

    /// Tells what waits, for at most `close_timeout`, and ends everything that the client runs. Calls after it are decided
    /// by `when_unavailable`; permits reported after it are counted as dropped. Closing twice does nothing.
    pub async fn close(&self) {
        let shared = &self.owner.shared;
        if !shared.begin_closing() {
            return;
        }
        shared.drain().await;
        shared.ended.cancel();
        let tasks = std::mem::take(&mut *self.owner.tasks.lock());
        for task in tasks {
            // One that panicked has ended too.
            let _ = task.await;
        }
        shared.give_up();
        shared.events.lock().take();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.owner.shared.options;
        f.debug_struct("Client")
            .field("address", &options.address)
            .field("caller", &options.caller)
            .finish_non_exhaustive()
    }
}
