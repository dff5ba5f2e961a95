//! Where breakers outlive the server: what a store has to do, and what passes between it and the engine.
//!
//! # The contract
//!
//! A store keeps one [`Record`] for each breaker, operators' policies, the last batch of each client, one log of events,
//! [`Document`]s for whatever else has to outlive the server, and the audit trail. Every home passes one suite of tests (`tests/store`), which is this text as code.
//!
//! - **Durable before told.** [`Store::commit`] answers after what it brought would be there again after a crash at any later
//!   instant. A record and its events are there together or not at all.
//! - **At a version.** A commit names the [`Version`] it was made from. Where the store has another one, nothing is written and
//!   the answer is [`Refused::Moved`]: load, step again, commit again. A record at number 0 is as good as none.
//! - **One log.** Each event gets the next sequence, without a gap and without a repeat, for as long as [`Store::epoch`] stays the
//!   same; an event is never older than the one before it. Retention takes the oldest away, and nothing else.
//! - **Followers hear all.** Every commit, of this server or of another, is told to every [`Follower`] once, in the order of the
//!   log, after it is durable and before [`Store::commit`] answers to who made it.
//! - **Counts are behind.** [`Store::merge`] brings statistics that nobody waits for. They may be lost in a crash, but never
//!   undo a commit: those of another version than the stored one are dropped.
//! - **A mark comes with its counts.** A merge is one write, so the mark of a client's batch and everything the batch counted
//!   are durable together or not at all. Where commits have to be in that write as well, [`Store::write_together`] puts them there.
//! - **One order.** Commits and merges are written in the order in which they were given.
//! - **It waits rather than fails.** While nothing can be written, commits wait in their order and [`Store::health`] says why.
//!   They go on by themselves, so a commit is in doubt for nobody but who stops waiting.
//!
//! Nothing here says that there is one server: versions move because another one moved them, events come from others, and
//! the time may be the store's own.

mod disk;
pub mod encoding;
mod format_1;
mod memory;
mod trail;

use std::{fmt::Debug, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

#[doc(hidden)]
pub use self::disk::Backends;
pub(crate) use self::trail::Trail;
pub use self::{
    disk::{Damage, Disk, DiskOptions, OnClockJump, OnDamage, OpenError, Opened, inspect},
    memory::Memory,
    trail::AuditRetention,
};
use crate::{
    breaker::{Snapshot, Timestamp},
    engine::{AuditEntry, Declaration, Event, PolicyEntry, Provenance},
};

/// A store. See the [contract](self).
pub trait Store: Debug + Send + Sync {
    /// Its name, as server info has it: `memory`, `disk`.
    fn name(&self) -> &'static str;

    /// Whether what it keeps outlives the process. Where not, nobody needs to merge counts.
    fn is_lasting(&self) -> bool;

    /// Names this log of events. Another epoch is another history: positions in the old one mean nothing.
    fn epoch(&self) -> u64;

    /// The store's time: no earlier than any instant in it.
    fn now(&self) -> Timestamp;

    /// How it is, and when that changes.
    fn health(&self) -> watch::Receiver<Health>;

    /// From now on `follower` is told of every commit.
    fn follow(&self, follower: Arc<dyn Follower>);

    /// What is not about a single breaker.
    fn root(&self) -> Answer<'_, Root>;

    /// The record of a breaker.
    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Record>>;

    /// At most `max` records after a key, in the order of keys; of the first ones where `after` is empty.
    fn scan<'a>(&'a self, after: &'a str, max: usize) -> Answer<'a, Vec<Record>>;

    /// At most `max` events after a sequence, of those that are held.
    fn events(&self, after: u64, max: usize) -> Answer<'_, Vec<Arc<Event>>>;

    /// At most `max` entries of the audit trail before a sequence, the newest first.
    fn audit(&self, before: u64, max: usize) -> Answer<'_, Vec<AuditEntry>>;

    /// Writes a change if the stored version is the one it was made from. It takes its place among the others when this is
    /// called, not when the answer is first awaited.
    fn commit(&self, commit: Commit) -> Answer<'static, ()>;

    /// Grants a probe: a commit of the record with the probe in it. Apart, because a home may have a way in which many
    /// servers that want one at a time do not make each other start over.
    fn grant(&self, commit: Commit) -> Answer<'static, ()> {
        self.commit(commit)
    }

    /// Writes statistics behind, as one write; answers when they are durable. It takes its place when this is called.
    fn merge(&self, merge: Merge) -> Answer<'static, ()>;

    /// Writes commits and then a merge, all of it as one write. Each commit is refused on its own, and the rest is written
    /// without it. It takes its place when this is called.
    fn write_together(&self, commits: Vec<Commit>, merge: Merge) -> Together;
}

/// The answers to [`Store::write_together`]: of each commit, in their order, and of the merge.
pub struct Together {
    /// Of the commits.
    pub commits: Vec<Answer<'static, ()>>,
    /// Of the merge.
    pub merge: Answer<'static, ()>,
}

/// What a store answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Refused>>;

/// Who wants to know of every commit.
pub trait Follower: Send + Sync {
    /// Something is durable. Called in the order of the log, one call at a time.
    fn committed(&self, committed: &Committed);
}

/// Why a store did not do something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The stored version is another one.
    #[error("the stored version is another one")]
    Moved,
    /// What was asked for cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// How a store is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Health {
    /// It writes.
    #[default]
    Well,
    /// Nothing can be written.
    Failing {
        /// Why, for people.
        why: String,
    },
}

/// Which state of a breaker's record it is. The generation tells a breaker from one that had its key before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Version {
    /// The breaker's generation.
    pub generation: u64,
    /// Raised by every change that has to be committed; 0: there was none yet.
    pub number: u64,
}

/// What is kept of a breaker.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Its key.
    pub key: Arc<str>,
    /// The breaker.
    pub snapshot: Snapshot,
    /// What a service has declared for it, if one has.
    pub declaration: Option<Declaration>,
    /// Where that comes from; `None` where it is not known.
    pub provenance: Option<Box<Provenance>>,
    /// The policy's version when it came into force.
    pub policy_version: u64,
    /// A hash of the policy in force, so that a server that starts under other policies can tell that it changed.
    pub policy_hash: PolicyHash,
    /// Sequence of its last event; 0: none.
    pub sequence: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub used: Timestamp,
    /// The names of its callers, as far as they are known.
    pub callers: Vec<Arc<str>>,
    /// Events of a burst that are not in the log yet, at most [`FOLDED_MAX`](crate::engine::FOLDED_MAX). They have no
    /// sequence.
    pub folded: Vec<Event>,
}

/// A hash of a policy, by how it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyHash {
    /// As format 1 made it: of the `Debug` text of all fields of that time. Read, and written again as it was.
    OfFormat1(u64),
    /// Of the fields that differ from the built-in policy, so that a new field with its default leaves it as it is.
    OfDifferences(u64),
}

impl Record {
    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        Version { generation: self.snapshot.generation, number: self.snapshot.version }
    }
}

/// What is not about a single breaker.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Root {
    /// What operators have set through the API.
    pub policies: Vec<PolicyEntry>,
    /// The last batch of each client.
    pub marks: Vec<Mark>,
    /// Whatever else is kept.
    pub documents: Vec<Document>,
    /// What is kept with every write.
    pub floors: Floors,
    /// Sequence of the newest event; 0: none.
    pub newest: u64,
}

/// The numbers that never go back. The highest ever written stand.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Floors {
    /// A breaker that is made anew starts at this generation or above it.
    pub generation: u64,
    /// Version of the policies.
    pub policies: u64,
    /// The server's time when it wrote.
    pub now: Timestamp,
}

/// The last batch that a client has sent. It is stored in the same write as what the batch counted.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// Who: the client id, and in front of it the identity that it was sent under and a line break, where there is one.
    pub client: Box<str>,
    /// Number of the batch.
    pub sequence: u64,
    /// When it came.
    pub at: Timestamp,
    /// Tallies of the batch that were counted, from its first; the rest counts when the batch is sent again. `None`: all of them.
    pub counted: Option<u32>,
}

/// Something small that a part of the server keeps: a token, where a webhook stands. The store does not look into it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Document {
    /// Its key, with the part that keeps it in front: `token/shop`.
    pub key: Arc<str>,
    /// Raised by every write; the first is 1.
    pub version: u64,
    /// What it says, as JSON, so that it can be read by whatever comes later.
    pub body: Box<str>,
}

/// One change, written as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct Commit {
    /// The server that makes it: a random number of its own.
    pub author: u64,
    /// What changes.
    pub change: Change,
    /// What happened, in order. The store gives each its sequence, and the record the last of them.
    pub events: Vec<Event>,
    /// What the audit trail says of it. The store gives each its sequence, and takes away what is beyond its
    /// [`AuditRetention`].
    pub audit: Vec<AuditEntry>,
    /// The author's floors.
    pub floors: Floors,
}

/// What changes.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A breaker.
    Breaker {
        /// Its key.
        key: Arc<str>,
        /// What it was made from.
        from: Version,
        /// What it is now; `None`: it is no more.
        to: Option<Box<Record>>,
    },
    /// An operator's policy.
    Policy {
        /// Key or pattern.
        pattern: Arc<str>,
        /// Version of the entry it replaces; 0: none.
        from: u64,
        /// The entry; `None`: it is no more.
        to: Option<Box<PolicyEntry>>,
    },
    /// A document.
    Document {
        /// Its key.
        key: Arc<str>,
        /// Version of the one it replaces; 0: none.
        from: u64,
        /// The document; `None`: it is no more.
        to: Option<Box<Document>>,
    },
}

/// A commit that is durable.
#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    /// Who made it.
    pub author: u64,
    /// What changed.
    pub changed: Changed,
    /// What happened, with sequences.
    pub events: Vec<Arc<Event>>,
    /// What the audit trail says of it, with its sequences.
    pub audit: Vec<AuditEntry>,
}

/// What has changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Changed {
    /// A breaker.
    Breaker {
        /// Its key.
        key: Arc<str>,
        /// Its version now; `None`: it is no more.
        version: Option<Version>,
    },
    /// An operator's policy.
    Policy {
        /// Key or pattern.
        pattern: Arc<str>,
        /// The entry; `None`: it is no more.
        entry: Option<Box<PolicyEntry>>,
    },
    /// A document.
    Document {
        /// Its key.
        key: Arc<str>,
        /// The document; `None`: it is no more.
        document: Option<Box<Document>>,
    },
}

impl From<&Change> for Changed {
    fn from(change: &Change) -> Self {
        match change {
            Change::Breaker { key, to, .. } => {
                Self::Breaker { key: Arc::clone(key), version: to.as_ref().map(|record| record.version()) }
            }
            Change::Policy { pattern, to, .. } => Self::Policy { pattern: Arc::clone(pattern), entry: to.clone() },
            Change::Document { key, to, .. } => Self::Document { key: Arc::clone(key), document: to.clone() },
        }
    }
}

/// Statistics that are written behind.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Merge {
    /// Breakers with what they have counted. One whose version is not the stored one is dropped; so is one with a version
    /// above 0 that is not stored.
    pub records: Vec<Record>,
    /// Batches that are counted in them.
    pub marks: Vec<Mark>,
    /// Clients whose last batch is forgotten.
    pub forgotten: Vec<Box<str>>,
    /// The server's floors.
    pub floors: Floors,
}

impl Commit {
    /// What it is about: the key of a breaker or a document, or a pattern.
    pub(crate) fn key(&self) -> Arc<str> {
        match &self.change {
            Change::Breaker { key, .. } | Change::Policy { pattern: key, .. } | Change::Document { key, .. } => {
                Arc::clone(key)
            }
        }
    }

    /// The latest instant in it that has passed.
    fn now(&self) -> Timestamp {
        let record = match &self.change {
            Change::Breaker { to: Some(record), .. } => record.created.max(record.used),
            Change::Policy { to: Some(entry), .. } => entry.set,
            Change::Breaker { to: None, .. } | Change::Policy { to: None, .. } | Change::Document { .. } => {
                Timestamp::default()
            }
        };
        let instants = self.events.iter().map(|event| event.at).chain(self.audit.iter().map(|entry| entry.at));
        instants.fold(self.floors.now.max(record), Timestamp::max)
    }
}

impl Merge {
    /// The latest instant in it that has passed.
    fn now(&self) -> Timestamp {
        let used = self.records.iter().map(|record| record.created.max(record.used));
        used.chain(self.marks.iter().map(|mark| mark.at)).fold(self.floors.now, Timestamp::max)
    }
}

impl Version {
    /// Whether a change made from this version may replace what is stored.
    #[must_use]
    pub fn replaces(self, stored: Option<Self>) -> bool {
        match stored {
            Some(stored) if stored.number > 0 => stored == self,
            _ => self.number == 0,
        }
    }
}

impl Floors {
    /// The higher of both, each by itself.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            generation: self.generation.max(other.generation),
            policies: self.policies.max(other.policies),
            now: self.now.max(other.now),
        }
    }
}
