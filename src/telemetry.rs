//! The log: one subscriber for the process, on stderr, so that stdout is free for data.
//!
//! Writing a line never blocks the thread that logs it. Lines go to a bounded queue that a thread of its own writes to stderr; when
//! the reader of stderr stalls and the queue is full, further lines are dropped and counted ([`dropped_lines`]). A full pipe
//! would otherwise stop every serving thread at its next line.

use std::{
    env,
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use parking_lot::Mutex;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{Config, LogFormat};

/// Lines that wait for stderr. A line is at most a few KiB, because every text in it has a bound of its own.
pub const QUEUED_LINES_MAX: usize = 8_192;

/// Lines that were dropped, once the log has started.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
/// Writes what is queued when it is dropped.
static WRITER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Starts the log as configured. A process has one: if a log has started already, it stays as it is.
pub fn init(config: &Config) {
    // The filter was checked when the configuration was read.
    let filter = EnvFilter::builder().parse_lossy(&config.log);
    let (writer, guard) = writer(io::stderr());
    let dropped = writer.error_counter();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.log_format {
        LogFormat::Text => registry.with(lines.with_ansi(is_coloured())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_current_span(false)).try_init(),
    };
    match started {
        Ok(()) => {
            _ = DROPPED.set(dropped);
            *WRITER.lock() = Some(guard);
        }
        Err(_) => tracing::warn!("log already started; ignoring log and log_format of this configuration"),
    }
}

/// Log lines dropped since the process started because stderr was not read.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Writes the queued lines, for at most a second, and stops the log. Call it last: later lines are lost.
pub fn flush() {
    drop(WRITER.lock().take());
}

fn writer(stderr: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUED_LINES_MAX).thread_name("log").finish(stderr)
}

/// Colours are for people: on a terminal, unless they asked for none (<https://no-color.org>).
fn is_coloured() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::mpsc};

    use super::*;

    /// A reader that takes nothing until it is told to.
    struct Stalled(mpsc::Receiver<()>);

    impl io::Write for Stalled {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            _ = self.0.recv();
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_never_time() {
        let (go_on, stalled) = mpsc::sync_channel(0);
        let (mut writer, guard) = writer(Stalled(stalled));
        let dropped = writer.error_counter();
        let more = 1_000;
        for _ in 0..QUEUED_LINES_MAX + more {
            // Would never return if it waited for the reader.
            writer.write_all(b"a line\n").unwrap();
        }
        // The writing thread holds at most a few lines besides the queue.
        assert!((more - 10..=more).contains(&dropped.dropped_lines()), "{}", dropped.dropped_lines());
        drop(go_on);
        drop(guard);
    }
}
