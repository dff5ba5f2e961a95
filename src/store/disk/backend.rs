//! Where the bytes of the file are: what redb is given to read and write.

use std::{
    fs::OpenOptions,
    io,
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::RwLock;
use redb::{BackendError, StorageBackend, backends::FileBackend};

/// Opens the bytes of a file that is there. Tests bring one that fails when it should.
pub type Backends = Arc<dyn Fn(&Path) -> io::Result<Box<dyn StorageBackend>> + Send + Sync>;

/// Files of the system.
pub(super) fn files() -> Backends {
    Arc::new(|path| {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    })
}

/// A backend that notes a sync that failed.
///
/// What a failed sync did not bring to the disk may be gone from the system's cache as well, or be taken by it for written:
/// another sync says nothing about it. So the bytes are written once more before the file is trusted again.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Box<dyn StorageBackend>,
    sync_failed: Arc<AtomicBool>,
}

impl Watched {
    const CHUNK: usize = 1 << 20;

    pub(super) fn new(inner: Box<dyn StorageBackend>, sync_failed: Arc<AtomicBool>) -> Self {
        Self { inner, sync_failed }
    }

    /// Makes what can be read durable: a server that was killed may have written it and not synced.
    pub(super) fn settle(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            let length = self.inner.len()?;
            let mut chunk = vec![0; Self::CHUNK];
            let mut offset = 0;
            while offset < length {
                let size = usize::try_from(length - offset).unwrap_or(usize::MAX).min(Self::CHUNK);
                self.inner.read(offset, &mut chunk[..size])?;
                self.inner.write(offset, &chunk[..size])?;
                offset += size as u64;
            }
        }
        self.inner.sync_data()?;
        self.sync_failed.store(false, Ordering::Release);
        Ok(())
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.inner.sync_data();
        if synced.is_err() {
            self.sync_failed.store(true, Ordering::Release);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

/// A copy of a file in memory: it can be repaired and searched while the file stays as it is. Clones are one copy.
#[derive(Clone, Debug)]
pub(super) struct Image(Arc<RwLock<Vec<u8>>>);

impl Image {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(RwLock::new(bytes)))
    }

    /// The first bytes of it.
    pub(super) fn first<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.read().first_chunk().copied()
    }

    /// Puts other bytes in the place of the first ones.
    pub(super) fn set_first(&self, first: &[u8]) {
        let mut bytes = self.0.write();
        let length = first.len().min(bytes.len());
        bytes[..length].copy_from_slice(&first[..length]);
    }
}

/// Nobody else has it, so every lock is granted.
impl StorageBackend for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.read();
        let place = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(out.len())?));
        out.copy_from_slice(place.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.0.write().resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.write();
        let place = usize::try_from(offset).ok().and_then(|start| bytes.get_mut(start..start.checked_add(data.len())?));
        place.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}
