//! Opens the file, makes it, and installs another in its place.
//!
//! A file is never half there: it is made under another name, synced, and then renamed.

use std::{
    fs::{self, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use redb::{Builder, Database, ReadableDatabase as _, StorageBackend};

use super::{
    backend::{Backends, Watched},
    lock,
    tables::{self, Fault, Meta, Oldest, Retention, Writing},
};
use crate::{
    engine::{AuditEntry, Event, PolicyEntry},
    store::{Document, Mark, Record},
};

/// The file's name in the data directory.
pub(super) const FILE: &str = "fuseboard.redb";
/// A file that is being made.
pub(super) const NEW_FILE: &str = "fuseboard.redb.new";

/// Where the file is and how it is opened.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) directory: PathBuf,
    pub(super) cache_bytes: usize,
    pub(super) backends: Backends,
    /// A sync has failed, and not all bytes were written since.
    pub(super) sync_failed: Arc<AtomicBool>,
}

/// Tells a file from every other one that is there at the same time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Identity {
    #[cfg_attr(
        not(unix),
        expect(clippy::unnecessary_wraps, unused_variables, reason = "what is not known is not compared")
    )]
    fn of(metadata: &fs::Metadata) -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            device: std::os::unix::fs::MetadataExt::dev(metadata),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
        })
    }
}

/// A file that is open, and what was read of it.
pub(super) struct Open {
    pub(super) database: Database,
    pub(super) meta: Meta,
    pub(super) oldest: Oldest,
}

/// What a file holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) records: Vec<Record>,
    pub(super) policies: Vec<PolicyEntry>,
    pub(super) marks: Vec<Mark>,
    pub(super) documents: Vec<Document>,
    /// Oldest first.
    pub(super) audit: Vec<AuditEntry>,
    /// Oldest first.
    pub(super) events: Vec<Event>,
}

impl Contents {
    /// How many values there are of each kind.
    pub(super) fn lengths(&self) -> [usize; 6] {
        let Self { records, policies, marks, documents, audit, events } = self;
        [records.len(), policies.len(), marks.len(), documents.len(), audit.len(), events.len()]
    }
}

/// Values that one transaction of a new file brings.
const BUILD_CHUNK: usize = 10_000;

impl Site {
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Which file is there.
    pub(super) fn identity(&self) -> io::Result<Identity> {
        Identity::of(&fs::metadata(self.path())?)
    }

    /// Whether the file is still the one that is open. Where the directory was removed, or another put in its place, what is
    /// written goes nowhere that a start would look.
    pub(super) fn check_place(&self, opened: &Identity) -> Result<(), Fault> {
        let remedy =
            "put back what was there, or restart the server on what is there now; until then nothing is stored";
        let path = self.path();
        match self.identity() {
            Ok(identity) if identity == *opened => Ok(()),
            Ok(_) => Err(Fault::Gone(format!("another file is in the place of {}: {remedy}", path.display()))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(Fault::Gone(format!("{} was removed: {remedy}", path.display())))
            }
            Err(error) => Err(Fault::Gone(format!("{} cannot be found: {error}", path.display()))),
        }
    }

    /// Opens the file and verifies every page; at a start also every value and the log.
    pub(super) fn open(&self, is_start: bool) -> Result<Open, Fault> {
        let backend = (self.backends)(&self.path())?;
        check_version(&*backend)?;
        let backend = Watched::new(backend, Arc::clone(&self.sync_failed));
        backend.settle()?;
        let open = || {
            let database = self.builder().create_with_backend(backend)?;
            let transaction = database.begin_read()?;
            let meta = tables::meta(&transaction)?;
            if is_start {
                tables::verify(&transaction, &meta)?;
            }
            let oldest = tables::oldest_of(&transaction.open_table(tables::EVENTS)?)?;
            drop(transaction);
            Ok(Open { database, meta, oldest })
        };
        catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| Err(Fault::panicked(&*panic)))
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes).set_check_integrity_on_open(true);
        builder
    }

    /// Makes a file of these contents, which takes the place of the one that is there. The events are numbered from 1.
    pub(super) fn install(&self, meta: Meta, contents: &Contents) -> Result<(), Fault> {
        let path = self.directory.join(NEW_FILE);
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.write(true).create(true).truncate(true).open(&path)?;
        let backend = Watched::new((self.backends)(&path)?, Arc::default());
        let database = self.builder().create_with_backend(backend)?;
        let transaction = database.begin_write()?;
        tables::create(&transaction)?;
        transaction.commit()?;
        let mut meta = meta;
        let (mut oldest, mut trail) = (None, None);
        let most = contents.lengths();
        let most = most.into_iter().max().unwrap_or(0).max(1);
        for start in (0..most).step_by(BUILD_CHUNK) {
            let transaction = database.begin_write()?;
            let mut writing = Writing::begin(&transaction, meta, oldest, Retention::NONE, &mut trail)?;
            chunk(&contents.records, start).iter().try_for_each(|record| writing.put_record(record))?;
            chunk(&contents.policies, start).iter().try_for_each(|entry| writing.put_policy(entry))?;
            writing.put_marks(chunk(&contents.marks, start))?;
            chunk(&contents.documents, start).iter().try_for_each(|document| writing.put_document(document))?;
            writing.put_audit(chunk(&contents.audit, start))?;
            for event in chunk(&contents.events, start) {
                writing.append(event.clone())?;
            }
            (meta, oldest) = writing.finish()?;
            transaction.commit()?;
        }
        database.close()?;
        // Closing writes once more.
        (self.backends)(&path)?.sync_data()?;
        fs::rename(&path, self.path())?;
        lock::sync(&self.directory)?;
        Ok(())
    }

    /// Gives the file a second name that nothing has, and keeps it when another is installed in its place.
    pub(super) fn set_aside(&self, seconds: u64) -> io::Result<PathBuf> {
        let mut aside = self.directory.join(format!("{FILE}.damaged-{seconds}"));
        let mut number = 1;
        loop {
            match link(&self.path(), &aside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    aside = self.directory.join(format!("{FILE}.damaged-{seconds}-{number}"));
                    number += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        lock::sync(&self.directory)?;
        Ok(aside)
    }
}

fn chunk<T>(values: &[T], start: usize) -> &[T] {
    &values[start.min(values.len())..(start + BUILD_CHUNK).min(values.len())]
}

/// A second name, or a copy where the file system knows no second names.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut copy = OpenOptions::new().write(true).create_new(true).open(to)?;
            io::copy(&mut fs::File::open(from)?, &mut copy)?;
            copy.sync_all()
        }
        linked => linked,
    }
}

/// The version of redb's own format, in both of its commit slots.
const VERSIONS: [u64; 2] = [64, 192];
const VERSION: u8 = 3;

/// Versions above ours that there may be one day. A head that is overwritten has any number there.
const VERSIONS_LATER: u8 = 16;
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Refuses a file of another version of redb. A flipped bit is in one slot, a version in both.
pub(super) fn check_version(backend: &dyn StorageBackend) -> Result<(), Fault> {
    let mut versions = [0; 2];
    if backend.len()? == 0 {
        return Err(Fault::Damaged("it is empty".to_owned()));
    }
    let mut magic = MAGIC;
    if backend.len()? >= magic.len() as u64 {
        backend.read(0, &mut magic)?;
    }
    for (version, place) in versions.iter_mut().zip(VERSIONS) {
        backend.read(place, std::slice::from_mut(version))?;
    }
    match versions {
        [first, second]
            if magic == MAGIC
                && first == second
                && first != VERSION
                && (1..=VERSION + VERSIONS_LATER).contains(&first) =>
        {
            let known = format!("this server knows {VERSION}: another one wrote it");
            Err(Fault::Newer(format!("its file format is {first}, and {known}")))
        }
        _ => Ok(()),
    }
}
