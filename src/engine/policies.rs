//! Which policy a breaker follows.
//!
//! From the weakest to the strongest: the built-in default, the file's changes to it, what a service declares for its
//! breaker, then operators' policies for a key or pattern, laid over each other field by field. Among those an exact key
//! is stronger than a pattern, a longer literal prefix than a shorter one, the API than the file.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, RwLock};

use super::{
    error::Error,
    policy_hash::policy_hash,
    shares::{holder_of, room},
};
use crate::{
    breaker::{Policy, PolicySpec, Timestamp, policy::OPEN_DURATION_MIN},
    share::{Holder, Pool, Use},
};

/// Where an operator's policy was set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyOrigin {
    /// Through the API.
    Api,
    /// In the server's file.
    File,
}

/// An operator's policy for a key or pattern.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct PolicyEntry {
    /// A key, or a key with `*` for any run of characters.
    pub pattern: Arc<str>,
    /// The fields that it sets.
    pub spec: PolicySpec,
    /// The server's policy version when it was written.
    pub version: u64,
    /// Where it was set.
    pub origin: PolicyOrigin,
    /// Who set it; empty for the file.
    pub actor: Arc<str>,
    /// When it was set.
    pub set: Timestamp,
}

/// What a service has declared for a breaker.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Declaration {
    /// The fields that it sets.
    pub spec: PolicySpec,
    /// Of one declarer's declarations the highest stands, the first among equals. 0: none.
    pub revision: u64,
}

/// Declarers of one breaker whose revisions are remembered, beside the one whose declaration stands.
const REPLACED_MAX: usize = 8;

/// Where the declaration of a breaker comes from.
///
/// Revisions order the declarations of one declarer and are not compared with another's, so a revision that one declarer has
/// raised to the highest there is does not keep another out. The revision that each declarer has reached is remembered, so
/// services that declare different policies do not replace each other again whenever they start.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// The identity that declared it, or the caller's service if authentication is off.
    pub by: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// Declarers whose declarations were replaced, with their revisions, the latest last.
    pub replaced: Vec<(Arc<str>, u64)>,
}

impl Provenance {
    /// The provenance of a first declaration.
    #[must_use]
    pub const fn first(by: Arc<str>, at: Timestamp) -> Self {
        Self { by, at, replaced: Vec::new() }
    }

    /// Whether a declaration by `by` replaces the one that stands: its provenance then, else `None`. A standing declaration of
    /// unknown provenance takes that of an equal one.
    #[must_use]
    pub fn of_news(
        standing: &Declaration,
        from: Option<&Self>,
        wanted: &Declaration,
        by: &Arc<str>,
        at: Timestamp,
    ) -> Option<Self> {
        if standing == wanted {
            return from.is_none().then(|| Self::first(Arc::clone(by), at));
        }
        let (stands_by, replaced) = from.map_or(("", [].as_slice()), |from| (&*from.by, &from.replaced));
        let reached = if stands_by == &**by {
            Some(standing.revision)
        } else {
            replaced.iter().find(|(other, _)| other == by).map(|(_, revision)| *revision)
        };
        let is_unnumbered = standing.revision == 0 && wanted.revision == 0;
        let is_news = match reached {
            Some(reached) => wanted.revision > reached || is_unnumbered,
            // A declaration without a revision is below all that have one.
            None => wanted.revision > 0 || is_unnumbered,
        };
        is_news.then(|| {
            let mut replaced: Vec<_> = replaced.iter().filter(|(other, _)| other != by).cloned().collect();
            if stands_by != &**by {
                replaced.push((stands_by.into(), standing.revision));
            }
            replaced.drain(..replaced.len().saturating_sub(REPLACED_MAX));
            Self { by: Arc::clone(by), at, replaced }
        })
    }
}

/// A policy in force, and where it comes from.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The server's policy version when it came into force.
    pub version: u64,
    /// What it is made of, the strongest first. Of long lists the beginning, and how many more there are.
    pub sources: Vec<String>,
    /// What a service has declared, if one has.
    pub declaration: Option<Declaration>,
    /// Whether something stronger changed what was declared.
    pub differs_from_declared: bool,
    /// A hash of the policy, to tell over a restart whether it changed.
    pub hash: u64,
}

impl Resolved {
    /// Whether both say the same, whenever they came into force.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.policy, &self.sources, &self.declaration) == (&other.policy, &other.sources, &other.declaration)
            && self.differs_from_declared == other.differs_from_declared
    }
}

#[derive(Debug)]
pub(super) struct Policies {
    table: RwLock<Table>,
    /// Whose they are: who wrote each, the server for those of the file.
    pool: Arc<Pool>,
    interned: Mutex<Interned>,
}

/// What declared breakers follow, each content once: breakers whose declarations and policies are equal share it. It keeps none
/// alive.
#[derive(Debug, Default)]
struct Interned {
    by_hash: HashMap<u64, Vec<Weak<Resolved>>>,
    /// When those that nobody follows any more are looked for: the next number of hashes.
    sweep_at: usize,
}

impl Interned {
    fn share(&mut self, resolved: Resolved) -> Arc<Resolved> {
        if self.by_hash.len() >= self.sweep_at {
            self.by_hash.retain(|_, equal| {
                equal.retain(|resolved| resolved.strong_count() > 0);
                !equal.is_empty()
            });
            self.sweep_at = (self.by_hash.len() * 2).max(SHARED_MAX);
        }
        let revision = resolved.declaration.as_ref().map_or(0, |declared| declared.revision);
        let equal = self.by_hash.entry(resolved.hash ^ revision.rotate_left(17) ^ resolved.version).or_default();
        let known = equal.iter().filter_map(Weak::upgrade);
        if let Some(known) = { known }.find(|known| known.version == resolved.version && known.is_same(&resolved)) {
            return known;
        }
        let resolved = Arc::new(resolved);
        equal.retain(|resolved| resolved.strong_count() > 0);
        equal.push(Arc::downgrade(&resolved));
        resolved
    }
}

#[derive(Debug)]
struct Table {
    default: PolicySpec,
    /// The strongest first.
    entries: Vec<PolicyEntry>,
    version: u64,
    /// Who has written each of the API's entries, by pattern.
    holders: HashMap<Arc<str>, Holder>,
    /// What breakers that nobody declared follow, by the entries that match them. Emptied by every write.
    undeclared: Vec<(Vec<usize>, Arc<Resolved>)>,
}

/// Most bytes of the names that [`Resolved::sources`] lists.
const SOURCES_BYTES_MAX: usize = 1_024;

/// Shared results kept; beyond, each breaker has its own.
const SHARED_MAX: usize = 1024;

impl Policies {
    pub(super) fn new(default: PolicySpec, pool: &Arc<Pool>) -> Result<Self, Error> {
        check_default(&default)?;
        let table = Table { default, entries: Vec::new(), version: 1, holders: HashMap::new(), undeclared: Vec::new() };
        Ok(Self { table: RwLock::new(table), pool: Arc::clone(pool), interned: Mutex::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.table.read().entries.len()
    }

    pub(super) fn default_policy(&self) -> Policy {
        self.table.read().default.resolve().unwrap_or_default()
    }

    /// The policy in force for a key.
    pub(super) fn resolve(&self, key: &str, declared: Option<&Declaration>) -> Arc<Resolved> {
        let table = self.table.read();
        let matching = table.matching(key);
        if declared.is_some() {
            let resolved = table.resolve(&matching, declared);
            drop(table);
            return self.share(resolved);
        }
        if let Some((_, resolved)) = table.undeclared.iter().find(|(entries, _)| *entries == matching) {
            return Arc::clone(resolved);
        }
        let resolved = Arc::new(table.resolve(&matching, None));
        let version = table.version;
        drop(table);
        let mut table = self.table.write();
        if table.version == version && table.undeclared.len() < SHARED_MAX {
            table.undeclared.push((matching, Arc::clone(&resolved)));
        }
        resolved
    }

    /// One pointer for all that say the same and came into force with one version.
    pub(super) fn share(&self, resolved: Resolved) -> Arc<Resolved> {
        self.interned.lock().share(resolved)
    }

    /// Takes what an earlier server has stored: the API's entries, and the version that was reached.
    pub(super) fn restore(&self, entries: Vec<PolicyEntry>, version: u64) {
        let mut table = self.table.write();
        for entry in entries {
            self.count(&mut table, &entry.pattern, Some(holder_of(&entry.actor)));
            table.place(entry);
        }
        table.version = table.version.max(version);
    }

    pub(super) fn version(&self) -> u64 {
        self.table.read().version
    }

    /// Checks what somebody writes for a key or pattern. An `open_duration` without an `open_duration_min` beside it is held
    /// against the floor in force for the key, or the default's where an operator has raised it: a service must not fail to
    /// start because of that.
    pub(super) fn check(&self, key: &str, spec: &PolicySpec) -> Result<(), Error> {
        spec.check()?;
        let in_force = self.resolve(key, None).policy.open_duration_min;
        Ok(spec.check_open_duration(in_force.min(self.default_policy().open_duration_min))?)
    }

    /// The API's policy for a pattern as it would be stored, if the entry that stands has the version expected; the version of
    /// the one that it replaces, 0 where there is none; and where it is a new one the holder's room for it, until it is put.
    pub(super) fn prepare(
        &self,
        entry: PolicyEntry,
        expected: Option<u64>,
        holder: &Holder,
    ) -> Result<(PolicyEntry, u64, Option<Use>), Error> {
        self.check(&entry.pattern, &entry.spec).map_err(|error| error.within("policy"))?;
        let table = self.table.read();
        table.expect(&entry.pattern, expected)?;
        let standing = table.position(&entry.pattern, PolicyOrigin::Api);
        let room = if standing.is_none() { Some(room(&self.pool, holder)?) } else { None };
        let replaced = standing.map_or(0, |index| table.entries[index].version);
        Ok((PolicyEntry { version: table.version + 1, ..entry }, replaced, room))
    }

    /// The version of the API's policy for a pattern, if it may be removed.
    pub(super) fn prepare_removal(&self, pattern: &str, expected: Option<u64>) -> Result<u64, Error> {
        let table = self.table.read();
        table.expect(pattern, expected)?;
        match table.position(pattern, PolicyOrigin::Api) {
            Some(index) => Ok(table.entries[index].version),
            None => Err(match table.position(pattern, PolicyOrigin::File) {
                Some(_) => Error::PolicyOfFile { pattern: pattern.to_owned() },
                None => policy_not_found(pattern),
            }),
        }
    }

    /// Puts what is stored now in the place of the API's entry for a pattern. `holder` has written it; `None`: its actor.
    pub(super) fn put(&self, pattern: &str, entry: Option<PolicyEntry>, holder: Option<&Holder>) {
        let mut table = self.table.write();
        let holder = entry.as_ref().map(|entry| holder.cloned().unwrap_or_else(|| holder_of(&entry.actor)));
        self.count(&mut table, pattern, holder);
        if let Some(index) = table.position(pattern, PolicyOrigin::Api) {
            table.entries.remove(index);
        }
        table.written();
        if let Some(entry) = entry {
            table.version = table.version.max(entry.version);
            table.place(entry);
        }
    }

    /// Counts the API's entry for a pattern for whoever has written it; `None`: there is none any more.
    fn count(&self, table: &mut Table, pattern: &str, holder: Option<Holder>) {
        if let Some(before) = table.holders.remove(pattern) {
            self.pool.remove(&before, 1);
        }
        if let Some(holder) = holder {
            self.pool.add_anyway(&holder, 1);
            table.holders.insert(pattern.into(), holder);
        }
    }

    /// Takes what the file says now: the default and the file's entries. What the API has set stays, and so do the
    /// versions of entries that the file leaves alone.
    pub(super) fn load_file(
        &self,
        default: PolicySpec,
        file: Vec<(String, PolicySpec)>,
        now: Timestamp,
    ) -> Result<(), Error> {
        check_default(&default)?;
        let min = default.open_duration_min.unwrap_or(OPEN_DURATION_MIN);
        for (pattern, spec) in &file {
            let checked = spec.check().and_then(|()| spec.check_open_duration(min));
            checked.map_err(|error| Error::from(error).within(pattern))?;
        }
        let mut table = self.table.write();
        let is_kept = |entry: &PolicyEntry| {
            entry.origin == PolicyOrigin::Api
                || file.iter().any(|(pattern, spec)| **pattern == *entry.pattern && *spec == entry.spec)
        };
        let of_api = table.entries.iter().filter(|entry| entry.origin == PolicyOrigin::Api).count();
        let of_file = table.entries.len() - of_api;
        if (of_api + file.len()) as u64 > self.pool.max() {
            return Err(self.pool.limit().reached(self.pool.max()));
        }
        self.pool.remove(&Holder::server(), of_file as u64);
        self.pool.add_anyway(&Holder::server(), file.len() as u64);
        let before = table.entries.len();
        table.entries.retain(is_kept);
        if table.entries.len() != before || table.default != default {
            table.default = default;
            table.written();
        }
        for (pattern, spec) in file {
            if table.position(&pattern, PolicyOrigin::File).is_none() {
                let pattern = Arc::from(pattern);
                let origin = PolicyOrigin::File;
                table.insert(PolicyEntry { pattern, spec, version: 0, origin, actor: "".into(), set: now });
            }
        }
        Ok(())
    }

    /// The API's entry for a pattern; where there is none, the file's.
    pub(super) fn get(&self, pattern: &str) -> Result<PolicyEntry, Error> {
        let table = self.table.read();
        table.standing(pattern).map(|index| table.entries[index].clone()).ok_or_else(|| policy_not_found(pattern))
    }

    /// The entries that apply to a key, or all, the strongest first.
    pub(super) fn list(&self, key: Option<&str>) -> Vec<PolicyEntry> {
        let table = self.table.read();
        let applies = |entry: &&PolicyEntry| key.is_none_or(|key| matches(&entry.pattern, key));
        table.entries.iter().filter(applies).cloned().collect()
    }
}

fn check_default(default: &PolicySpec) -> Result<(), Error> {
    default.check()?;
    Ok(default.check_open_duration(OPEN_DURATION_MIN)?)
}

fn policy_not_found(pattern: &str) -> Error {
    Error::NotFound {
        reason: "POLICY_NOT_FOUND",
        what: "policy",
        name: pattern.to_owned(),
        advice: "ListPolicies shows those there are",
    }
}

impl Table {
    fn position(&self, pattern: &str, origin: PolicyOrigin) -> Option<usize> {
        self.entries.iter().position(|entry| *entry.pattern == *pattern && entry.origin == origin)
    }

    /// The API's entry; where there is none, the file's.
    fn standing(&self, pattern: &str) -> Option<usize> {
        self.position(pattern, PolicyOrigin::Api).or_else(|| self.position(pattern, PolicyOrigin::File))
    }

    /// Where the API has no entry it is the file's that was read.
    fn expect(&self, pattern: &str, expected: Option<u64>) -> Result<(), Error> {
        let current = self.standing(pattern).map_or(0, |index| self.entries[index].version);
        match expected {
            Some(expected) if expected != current => Err(Error::VersionMoved { expected, current }),
            _ => Ok(()),
        }
    }

    fn insert(&mut self, entry: PolicyEntry) {
        self.written();
        self.place(PolicyEntry { version: self.version, ..entry });
    }

    fn place(&mut self, entry: PolicyEntry) {
        let place = self.entries.partition_point(|other| strength(other) <= strength(&entry));
        self.entries.insert(place, entry);
    }

    fn written(&mut self) {
        self.version += 1;
        self.undeclared.clear();
    }

    fn matching(&self, key: &str) -> Vec<usize> {
        let applies = |(index, entry): (usize, &PolicyEntry)| matches(&entry.pattern, key).then_some(index);
        self.entries.iter().enumerate().filter_map(applies).collect()
    }

    fn resolve(&self, matching: &[usize], declared: Option<&Declaration>) -> Resolved {
        let base = declared.map_or_else(|| self.default.clone(), |declared| declared.spec.declared_over(&self.default));
        let entries = || matching.iter().map(|index| &self.entries[*index]);
        let spec = entries().fold(PolicySpec::default(), |spec, entry| spec.over(&entry.spec)).over(&base);
        // Every part was checked when it was written, so the whole resolves.
        let resolve = |spec: &PolicySpec| spec.resolve().unwrap_or_default();
        let policy = resolve(&spec);
        let origin = |entry: &PolicyEntry| match entry.origin {
            PolicyOrigin::Api => format!("api:{}", entry.pattern),
            PolicyOrigin::File => format!("file:{}", entry.pattern),
        };
        let own = declared.map(|_| "declared".to_owned()).into_iter().chain(["default".to_owned()]);
        Resolved {
            declaration: declared.cloned(),
            differs_from_declared: declared.is_some() && policy != resolve(&base),
            hash: policy_hash(&policy),
            policy: Arc::new(policy),
            version: self.version,
            sources: listed(entries().map(origin).chain(own).collect()),
        }
    }
}

/// The first sources, as far as they fit. A key may match any number of patterns.
fn listed(mut sources: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fitting = sources.iter().take_while(|source| {
        bytes += source.len();
        bytes <= SOURCES_BYTES_MAX
    });
    let listed = fitting.count();
    let left_out = sources.len() - listed;
    if left_out > 0 {
        sources.truncate(listed);
        sources.push(format!("and {left_out} more"));
    }
    sources
}

/// Orders entries, the strongest first.
fn strength(entry: &PolicyEntry) -> (bool, Reverse<usize>, PolicyOrigin, Reverse<usize>, Arc<str>) {
    let literal = entry.pattern.find('*');
    let prefix = literal.unwrap_or(entry.pattern.len());
    (literal.is_some(), Reverse(prefix), entry.origin, Reverse(entry.pattern.len()), Arc::clone(&entry.pattern))
}

/// Whether a key fits a pattern, in which `*` stands for any run of characters, `/` included.
///
/// Greedy with one point to go back to: linear but for patterns with many stars, and never recursive.
#[must_use]
pub fn matches(pattern: &str, key: &str) -> bool {
    let (pattern, key) = (pattern.as_bytes(), key.as_bytes());
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < key.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(byte) if *byte == key[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    at = after;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
