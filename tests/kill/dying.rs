//! A server that dies by itself, at one operation of its store.

use std::{
    fs::OpenOptions,
    io,
    net::Ipv4Addr,
    path::Path,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use fuseboard::{
    config::{Config, Listen},
    server,
    store::{Backends, Disk, DiskOptions},
    telemetry,
};
use redb::{StorageBackend, backends::FileBackend};

use crate::Result;

/// No event leaves the log.
pub(crate) const EVENTS_MAX: usize = 1_000_000;

/// Where a process dies: its operations on the file are counted from 1.
#[derive(Debug)]
pub(crate) struct Fate {
    done: AtomicU64,
    last: u64,
    /// Whether the last operation is done before.
    is_done: bool,
}

impl Fate {
    pub(crate) fn new(last: u64, is_done: bool) -> Arc<Self> {
        Arc::new(Self { done: AtomicU64::new(0), last, is_done })
    }

    /// Does an operation that changes the file or makes it durable.
    fn operation<T>(&self, operation: impl FnOnce() -> T) -> T {
        let is_last = self.done.fetch_add(1, SeqCst) + 1 == self.last;
        if is_last && !self.is_done {
            process::abort();
        }
        let result = operation();
        if is_last {
            process::abort();
        }
        result
    }
}

/// Files whose process dies at an operation.
#[derive(Debug)]
struct Dying {
    inner: FileBackend,
    fate: Arc<Fate>,
}

impl StorageBackend for Dying {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fate.operation(|| self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fate.operation(|| self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.fate.operation(|| self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

/// Serves from a directory until fate has it.
pub(crate) fn serve(home: &Path, fate: Arc<Fate>) -> Result<()> {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let config = Config { address, http_address: Listen::Off, data_dir: home.to_owned(), ..Config::default() };
    telemetry::init(&config);
    let backends: Backends = Arc::new(move |path| {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let inner = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(Dying { inner, fate: Arc::clone(&fate) }))
    });
    let options = DiskOptions { events_max: EVENTS_MAX, ..DiskOptions::default() };
    let opened = Disk::open_with(home, &options, backends)?;
    let damage = opened.damage.map_or_else(String::new, |damage| damage.to_string());
    Ok(server::run_with(&config, Arc::new(opened.store), damage)?)
}
