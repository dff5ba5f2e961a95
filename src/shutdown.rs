//! The word that the server is stopping, for everybody who has to know.

use tokio::sync::watch;

/// Knows whether the server is stopping. Clones share one.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A handle, and what to set when the server stops.
    #[must_use]
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (stop, stopped) = watch::channel(false);
        (stop, Self(stopped))
    }

    /// Whether the server is stopping.
    #[must_use]
    pub fn draining(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the server is stopping.
    pub async fn drained(&self) {
        // A sender that is gone has stopped, too.
        let _ = self.0.clone().wait_for(|stopping| *stopping).await;
    }
}
