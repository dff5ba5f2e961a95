//! What would expire if a server started at a time that is much later than the last one stored.

use std::{fmt, sync::Arc, time::Duration};

use super::tokens;
use crate::{
    breaker::Timestamp,
    store::{Refused, Store},
};

/// A start that is later than the last stored time by more than this has to be accepted, where something would expire.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_secs(24 * 3600);

/// Records and events that are read at once.
const PAGE: usize = 1_000;

/// What would expire. As text it is a part of a message for people.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Expiring {
    /// Tokens.
    pub tokens: u64,
    /// Overrides.
    pub overrides: u64,
    /// Events that would leave the log by their age.
    pub events: u64,
}

impl Expiring {
    /// Whether nothing would.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Expiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, overrides, events } = self;
        let all = [(tokens, "token"), (overrides, "override"), (events, "event")];
        let parts = all.into_iter().filter(|(count, _)| **count > 0);
        let parts = parts.map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// What expires between two instants of a store, by their retention for events. Nothing is changed.
///
/// # Errors
/// It cannot be read.
pub async fn expiring(
    store: &dyn Store,
    from: Timestamp,
    to: Timestamp,
    events_age: Duration,
) -> Result<Expiring, Refused> {
    let is_between = |at: Timestamp| at > from && at <= to;
    let root = store.root().await?;
    let ends = root.documents.iter().filter_map(tokens::end);
    let mut expiring = Expiring { tokens: ends.filter(|end| is_between(*end)).count() as u64, ..Expiring::default() };
    let mut after: Arc<str> = "".into();
    loop {
        let page = store.scan(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Arc::clone(&last.key);
        let ends = page.iter().flat_map(|record| record.snapshot.overrides.iter()).map(|forced| forced.expire);
        expiring.overrides += ends.filter(|end| is_between(*end)).count() as u64;
    }
    let mut after = 0;
    'events: loop {
        let page = store.events(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        for event in page {
            // The newest stays whatever its age.
            let is_due = is_between(event.at.after(events_age)) && event.sequence < root.newest;
            if !is_due && event.at.after(events_age) > to {
                break 'events;
            }
            expiring.events += u64::from(is_due);
        }
    }
    Ok(expiring)
}
