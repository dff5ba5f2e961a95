//! What the engine has done since it started, for whoever watches over it.
//!
//! Calls cost nothing here: breakers keep their own totals, which are read when somebody asks ([`Engine::survey`]). What
//! is counted beside them is rare (moves, commits, resyncs) or kept apart by thread (rejections).

use std::{
    array,
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{Engine, Event, registry::Tenant, told_entry, watch::ResyncReason};
use crate::breaker::{Rejection, StateName, Status, Timestamp, Totals};

/// Upper bounds of the histogram of commits, in seconds: from memory over a fast disk to one that hardly answers.
pub const COMMIT_BOUNDS: [f64; 12] = [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Reasons of rejections, in the order in which they are counted.
pub const REJECTIONS: [Rejection; 4] =
    [Rejection::Open, Rejection::HalfOpenFull, Rejection::CallerIsolated, Rejection::ForcedOpen];
/// Reasons of resyncs, in the order in which they are counted.
pub const RESYNCS: [ResyncReason; 4] =
    [ResyncReason::TooOld, ResyncReason::OtherHistory, ResyncReason::FromFuture, ResyncReason::SlowReader];

/// Cells that threads count rejections in, so that they do not fight for one line of memory.
const STRIPES: usize = 16;

/// Counters that only rise.
#[derive(Debug, Default)]
pub(super) struct Measures {
    rejections: [Stripe; STRIPES],
    resyncs: [AtomicU64; RESYNCS.len()],
    /// By the name of their kind.
    events: Mutex<BTreeMap<&'static str, u64>>,
    commits: Commits,
    timers_stuck: AtomicU64,
    /// What breakers had counted that are no more.
    gone: Mutex<Totals>,
}

/// A line of memory of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe([AtomicU64; REJECTIONS.len()]);

#[derive(Debug, Default)]
struct Commits {
    /// One for each bound, and one above them.
    buckets: [AtomicU64; COMMIT_BOUNDS.len() + 1],
    nanos: AtomicU64,
    refused: AtomicU64,
}

impl Measures {
    pub(super) fn rejected(&self, reason: Rejection) {
        self.rejections[stripe()].0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn timer_stuck(&self) {
        self.timers_stuck.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resynced(&self, reason: ResyncReason) {
        self.resyncs[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn happened(&self, events: &[Arc<Event>]) {
        let mut counts = self.events.lock();
        for event in events {
            *counts.entry(event.kind.name()).or_default() += event.moves;
        }
    }

    pub(super) fn committed(&self, took: Duration, is_refused: bool) {
        let bucket = COMMIT_BOUNDS.partition_point(|bound| took.as_secs_f64() > *bound);
        self.commits.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.commits.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.commits.refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
    }

    /// Keeps what a breaker has counted, as it goes.
    pub(super) fn leave(&self, totals: &Totals) {
        *self.gone.lock() += totals;
    }
}

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
    }
    OWN.get()
}

/// What the engine has done since it started.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Calls refused, by [`REJECTIONS`].
    pub rejections: [u64; REJECTIONS.len()],
    /// Watches that could not simply go on, by [`RESYNCS`].
    pub resyncs: [u64; RESYNCS.len()],
    /// Moves by the name of their events' kind, each move of a folded event.
    pub events: BTreeMap<&'static str, u64>,
    /// Commits by how long they took: one for each of [`COMMIT_BOUNDS`], and one for longer ones.
    pub commits: [u64; COMMIT_BOUNDS.len() + 1],
    /// How long all commits took together.
    pub commits_took: Duration,
    /// Commits that the store refused.
    pub commits_refused: u64,
    /// Timers that were served and made no progress: faults of this server.
    pub timers_stuck: u64,
    /// What breakers had counted that are no more.
    pub gone: Totals,
}

/// One breaker of a survey.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Its place, which it keeps as long as it lives and which nobody else has meanwhile.
    pub place: u32,
    /// Its key.
    pub key: Arc<str>,
    /// When it was made, to the second.
    pub created: Timestamp,
    /// Where it stands, as far as it was told.
    pub status: Status,
    /// Counts over its life.
    pub totals: Totals,
    /// Probes that are out.
    pub probes_out: usize,
    /// Callers that are isolated.
    pub callers_isolated: usize,
}

impl Surveyed {
    /// Whether calls are refused, by its own state or by an operator.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.status.effective_state() == StateName::Open
    }
}

impl Engine {
    /// What was done since the start.
    #[must_use]
    pub fn measured(&self) -> Measured {
        let measures = &self.shared.measures;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let commits = &measures.commits;
        Measured {
            rejections: array::from_fn(|reason| measures.rejections.iter().map(|stripe| read(&stripe.0[reason])).sum()),
            resyncs: array::from_fn(|reason| read(&measures.resyncs[reason])),
            events: measures.events.lock().clone(),
            commits: array::from_fn(|bucket| read(&commits.buckets[bucket])),
            commits_took: Duration::from_nanos(read(&commits.nanos)),
            commits_refused: read(&commits.refused),
            timers_stuck: read(&measures.timers_stuck),
            gone: *measures.gone.lock(),
        }
    }

    /// Looks at the breakers of the next places from `from` on, each under its own lock for a moment. Returns where to go on;
    /// `None` after the last one. Whoever has a long way lets others work between its steps.
    pub fn survey(&self, from: u32, places: u32, mut each: impl FnMut(Surveyed)) -> Option<u32> {
        let end = self.end();
        let until = from.saturating_add(places).min(end);
        for place in from..until {
            let Some(mut slot) = self.shared.registry.lock_index(place) else { continue };
            let created = slot.made();
            let surveyed = self.surveyed(place, created, slot.tenant());
            drop(slot);
            each(surveyed);
        }
        (until < end).then_some(until)
    }

    fn surveyed(&self, place: u32, created: Timestamp, tenant: &mut Tenant) -> Surveyed {
        let entry = told_entry(tenant, self.now(), None);
        Surveyed {
            place,
            key: entry.key,
            created,
            status: entry.status,
            totals: tenant.breaker.totals(),
            probes_out: tenant.breaker.probes().len(),
            callers_isolated: tenant.breaker.callers_isolated(),
        }
    }
}
