//! The data directory, and the lock that keeps a second server out of it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::Path,
};

use super::OpenError;

/// Its name in the data directory.
pub(super) const LOCK: &str = "fuseboard.lock";

/// A directory that is this server's, as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    /// It names who has it.
    file: File,
}

impl Lock {
    /// Takes a directory, which is made where it is not there.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: directory.to_owned(), source };
        create(directory).map_err(failed)?;
        let path = directory.join(LOCK);
        let failed = |source| OpenError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                _ = file.read_to_string(&mut text);
                return Err(OpenError::Locked { path: directory.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For people only: a disk that is full is told when something has to be written.
        _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

impl Drop for Lock {
    /// Not left to the closing of the file: a child that is being started has it open as well for a moment.
    fn drop(&mut self) {
        _ = self.file.unlock();
    }
}

/// For its owner alone: events name callers and operators.
fn create(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

/// Makes the names in a directory durable.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
