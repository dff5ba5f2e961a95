//! How the server stops: on the first SIGTERM or SIGINT it drains, on the second it is gone.
//!
//! Draining is a moment that everybody can wait for and nobody can undo. Health turns, listeners take no more
//! connections, and streams say goodbye; each looks after its own part when [`Shutdown::drained`] comes.

use std::{convert::Infallible, io, process};

use tokio::sync::watch;

use crate::telemetry;

/// The exit code of a server that was told twice: as a shell has it for a program stopped by SIGINT.
const EXIT_AT_ONCE: i32 = 130;

/// A handle to the one moment when the server begins to drain. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    draining: watch::Sender<bool>,
}

impl Shutdown {
    /// Of a server that runs.
    #[must_use]
    pub fn new() -> Self {
        Self { draining: watch::Sender::new(false) }
    }

    /// Begins to drain. Does nothing the second time.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the server drains.
    #[must_use]
    pub fn draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until the server begins to drain; comes at once where it already has.
    pub async fn drained(&self) {
        // The sender is held by `self`, so the channel cannot close.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Follows the signals of the machine, those from before it is polled included: drains on the first, ends the process
    /// on the second.
    ///
    /// # Errors
    /// The signals cannot be had.
    pub fn on_signals(&self) -> io::Result<impl Future<Output = Infallible>> {
        let mut signals = Signals::new()?;
        Ok(async move {
            let signal = signals.next().await;
            tracing::info!(signal, "draining; a second signal ends the server at once");
            self.drain();
            let signal = signals.next().await;
            tracing::warn!(signal, "ended at once, by a second signal");
            telemetry::flush();
            process::exit(EXIT_AT_ONCE)
        })
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        // Without a console there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "ctrl-c"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_learns_of_the_drain_whenever_they_ask() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.draining());
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.drained().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        shutdown.clone().drain();
        waiting.await.unwrap();
        shutdown.drain();
        shutdown.drained().await;
        assert!(shutdown.draining());
    }
}
