//! What a client does, as values: for metrics.

use crate::{Event, Reason, Report, Source};

/// Hears what a client does. Its methods are called where it happens, from many tasks at a time, so they should be quick.
/// A panic in one is logged and does no harm.
pub trait Observer: Send + Sync {
    /// A call was permitted (`rejected` is none) or rejected.
    fn decided(&self, breaker: &str, source: Source, rejected: Option<Reason>) {
        let _ = (breaker, source, rejected);
    }

    /// A permitted call was reported.
    fn finished(&self, breaker: &str, report: &Report) {
        let _ = (breaker, report);
    }

    /// The watch told an event, once for each that is told to subscriptions.
    fn happened(&self, event: &Event) {
        let _ = event;
    }

    /// The server can be asked from now on, or no longer.
    fn link_changed(&self, is_usable: bool) {
        let _ = is_usable;
    }
}
