//! A disk that fails when it is told to, and remembers what a crash would leave of it.

use std::{collections::BTreeSet, fs::OpenOptions, io, ops::Bound, path::Path, sync::Arc};

use fuseboard::store::Backends;
use parking_lot::{Condvar, Mutex};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redb::{BackendError, StorageBackend, backends::FileBackend};

/// Torn writes are cut here.
const SECTOR: usize = 512;

/// What was done to the file.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Write(usize, Vec<u8>),
    SetLength(usize),
    Sync,
    /// What was not synced stays in the system's cache, and never reaches the disk.
    FailedSync,
}

/// Which operations fail, by their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    None,
    /// The operation of this number.
    Once(usize, io::ErrorKind),
    /// It and all after it.
    From(usize, io::ErrorKind),
}

#[derive(Debug)]
struct State {
    image: Vec<u8>,
    log: Vec<Operation>,
    /// Operations that were asked for, those that failed included.
    count: usize,
    fault: Fault,
    failed: usize,
    is_gate_shut: bool,
}

/// The disk. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Faulty {
    /// A disk on which a file has these bytes.
    pub(crate) fn new(image: Vec<u8>) -> Self {
        let fault = Fault::None;
        let state = State { image, log: Vec::new(), count: 0, fault, failed: 0, is_gate_shut: false };
        Self { state: Arc::new((Mutex::new(state), Condvar::new())) }
    }

    /// What opens files of this disk.
    pub(crate) fn backends(&self) -> Backends {
        let disk = self.clone();
        Arc::new(move |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let inner = FileBackend::new(file).map_err(io::Error::other)?;
            Ok(Box::new(FaultyFile { inner, disk: disk.clone() }))
        })
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.0.lock().fault = fault;
    }

    /// How many operations have failed.
    pub(crate) fn failed(&self) -> usize {
        self.state.0.lock().failed
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> usize {
        self.state.0.lock().count
    }

    pub(crate) fn log(&self) -> Vec<Operation> {
        self.state.0.lock().log.clone()
    }

    /// From now on a sync does not come back, until the gate is open.
    pub(crate) fn shut_gate(&self, is_shut: bool) {
        self.state.0.lock().is_gate_shut = is_shut;
        self.state.1.notify_all();
    }

    /// What is on the disk when the power fails after so many operations of the log: all that was synced; of the rest any
    /// part, in any order, some of it torn.
    pub(crate) fn after_crash(&self, log: &[Operation], seed: u64) -> Vec<u8> {
        self.with_lies(log, &BTreeSet::new(), seed)
    }

    /// The same where the syncs with these places in the log did nothing, and what they should have brought was lost.
    pub(crate) fn with_lies(&self, log: &[Operation], lies: &BTreeSet<usize>, seed: u64) -> Vec<u8> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut image = self.state.0.lock().image.clone();
        let mut pending = Vec::new();
        for (place, operation) in log.iter().enumerate() {
            match operation {
                Operation::Sync if lies.contains(&place) => pending.clear(),
                Operation::Sync => pending.drain(..).for_each(|operation| apply(&mut image, operation)),
                Operation::FailedSync => pending.clear(),
                operation => pending.push(operation),
            }
        }
        for operation in pending {
            match (random.random_range(0..4), operation) {
                (0, _) => {}
                (1, Operation::Write(offset, data)) if data.len() > SECTOR => {
                    // Some sectors of it, not only the first ones.
                    for (number, sector) in data.chunks(SECTOR).enumerate() {
                        if random.random_bool(0.5) {
                            apply(&mut image, &Operation::Write(offset + number * SECTOR, sector.to_vec()));
                        }
                    }
                }
                (_, operation) => apply(&mut image, operation),
            }
        }
        image
    }

    fn perform(&self, operation: Operation, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let (state, gate) = &*self.state;
        let mut state = state.lock();
        let number = state.count;
        state.count += 1;
        let error = match state.fault {
            Fault::Once(at, error) if at == number => Some(error),
            Fault::From(at, error) if at <= number => Some(error),
            _ => None,
        };
        if let Some(error) = error {
            state.failed += 1;
            if matches!(operation, Operation::Sync) {
                state.log.push(Operation::FailedSync);
            }
            return Err(error.into());
        }
        if matches!(operation, Operation::Sync) {
            gate.wait_while(&mut state, |state| state.is_gate_shut);
        }
        act()?;
        state.log.push(operation);
        Ok(())
    }
}

fn apply(image: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write(offset, data) => {
            // A file whose growth was lost has a hole.
            let end = offset + data.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*offset..end].copy_from_slice(data);
        }
        Operation::SetLength(length) => image.resize(*length, 0),
        Operation::Sync | Operation::FailedSync => {}
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: FileBackend,
    disk: Faulty,
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.perform(Operation::SetLength(length as usize), || self.inner.set_len(length))
    }

    /// The file itself is not synced: a crash is played, and tests are many.
    fn sync_data(&self) -> io::Result<()> {
        self.disk.perform(Operation::Sync, || Ok(()))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.perform(Operation::Write(offset as usize, data.to_vec()), || self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}
