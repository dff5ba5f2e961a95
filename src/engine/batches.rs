//! The last batch that each client has sent, so that a batch counts once.
//!
//! Bounded in clients, and shared fairly; one that has been silent for the retention is forgotten when its place is wanted. One
//! that has not is never forgotten, also where its holder has its share: its last batch could count twice.
//!
//! A batch is counted in parts, so that other work of the thread has its turn. A mark therefore tells how many tallies of the batch
//! were counted. A batch that is interrupted, by a client that leaves, a server that drains or a crash, is continued at that
//! tally when it is sent again, and each tally counts once.
//!
//! Invariant: a client's mark is stored in the same write as what its batches counted since the mark before. A part of a
//! batch is counted under the gate for reading, and so is a record without counts of batches sent to the store; the marks, with every record that
//! batches have counted in, are gathered and sent under it for writing ([`Engine::write_batches`]). Whoever finds that a breaker
//! has to be written in the generation that such counts are of sends all of that with it.
//!
//! [`Engine::write_batches`]: super::Engine::write_batches

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::OwnedMutexGuard;

use super::{error::Error, registry::Handle, shares::add_one};
use crate::{
    breaker::Timestamp,
    share::{Holder, Pool},
    store::Mark,
};

/// How often silent clients are looked for while the table is full: it is read from end to end.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who sends batches. Each has a sequence of its own: a client id is good under the identity that it is used with, so that
/// nobody can make the batches of another identity duplicates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchClient<'a> {
    /// The identity; `None` where there is none.
    pub identity: Option<&'a str>,
    /// The client id, of printable ASCII.
    pub id: &'a str,
}

impl<'a> From<&'a str> for BatchClient<'a> {
    fn from(id: &'a str) -> Self {
        Self { identity: None, id }
    }
}

impl<'a> From<&'a String> for BatchClient<'a> {
    fn from(id: &'a String) -> Self {
        id.as_str().into()
    }
}

impl<'a> BatchClient<'a> {
    /// Its name in the table and in the store. A client id has no line break, so no two have one name; one without an identity is
    /// named as it was before there were identities in it.
    fn name(self) -> Cow<'a, str> {
        match self.identity {
            Some(identity) => format!("{identity}\n{}", self.id).into(),
            None => self.id.into(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Batches {
    clients: Mutex<Clients>,
    /// See the invariant above.
    gate: RwLock<()>,
    /// `None`: the store keeps nothing, and has nothing to learn.
    unwritten: Option<Mutex<Unwritten>>,
    /// Marks and counts are on their way to the store.
    is_writing: AtomicBool,
    /// They have to be written as soon as that is possible.
    is_wanted: AtomicBool,
    pool: Arc<Pool>,
    retention: Duration,
}

/// What the store has to learn yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    marks: HashMap<Box<str>, Mark>,
    pub(super) forgotten: Vec<Box<str>>,
    /// Breakers that batches have counted in.
    pub(super) counted: Vec<Handle>,
}

impl Unwritten {
    pub(super) fn take_marks(&mut self) -> Vec<Mark> {
        if self.marks.is_empty() { Vec::new() } else { self.marks.drain().map(|(_, mark)| mark).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.forgotten.is_empty() && self.counted.is_empty()
    }
}

#[derive(Debug, Default)]
struct Clients {
    by_id: HashMap<Box<str>, Client>,
    /// When silent ones were last looked for.
    swept: Option<Timestamp>,
}

#[derive(Debug)]
struct Client {
    /// When it last sent a batch.
    at: Timestamp,
    holder: Holder,
    /// Its last batch. Locked while the batch is counted, over all parts: batches of one client wait for each other.
    last: Arc<tokio::sync::Mutex<Last>>,
}

/// How far the batches of a client were counted.
#[derive(Clone, Copy, Default, Debug)]
struct Last {
    sequence: u64,
    /// Tallies of it that were counted; `None`: all.
    counted: Option<u32>,
}

/// A batch that is being counted.
#[derive(Debug)]
pub(super) struct Counting {
    /// The name of its client.
    client: Box<str>,
    sequence: u64,
    last: OwnedMutexGuard<Last>,
}

impl Batches {
    pub(super) fn new(pool: &Arc<Pool>, retention: Duration, is_lasting: bool) -> Self {
        let unwritten = is_lasting.then(Mutex::default);
        Self {
            clients: Mutex::default(),
            gate: RwLock::default(),
            unwritten,
            is_writing: AtomicBool::default(),
            is_wanted: AtomicBool::default(),
            pool: Arc::clone(pool),
            retention,
        }
    }

    /// Takes what an earlier server has stored.
    pub(super) fn restore(&self, marks: Vec<Mark>) {
        let mut clients = self.clients.lock();
        for mark in marks {
            let last = Last { sequence: mark.sequence, counted: mark.counted };
            let (holder, last) = (Holder::server(), Arc::new(tokio::sync::Mutex::new(last)));
            self.pool.add_anyway(&holder, 1);
            clients.by_id.insert(mark.client, Client { at: mark.at, holder, last });
        }
    }

    /// What the store has to learn.
    pub(super) fn unwritten(&self) -> Option<MutexGuard<'_, Unwritten>> {
        self.unwritten.as_ref().map(|unwritten| unwritten.lock())
    }

    /// While this is held, no marks are gathered. Not while a batch is counted, which holds it already.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read()
    }

    /// While this is held, no batch is counted, and nothing of a breaker is sent to the store by others.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write()
    }

    /// Notes a breaker that a batch has counted in.
    pub(super) fn counted(&self, handle: Handle) {
        if let Some(mut unwritten) = self.unwritten() {
            unwritten.counted.push(handle);
        }
    }

    /// Says whether marks and counts are on their way. Asked and said under the gate for writing, but for the end.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Release);
    }

    pub(super) fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Acquire)
    }

    /// They could not be gathered now, and somebody waits for them.
    pub(super) fn want(&self) {
        self.is_wanted.store(true, Ordering::Release);
    }

    pub(super) fn take_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::AcqRel)
    }

    /// Whether the store has all of it.
    pub(super) fn is_written(&self) -> bool {
        !self.is_writing() && self.unwritten().is_none_or(|unwritten| unwritten.is_empty())
    }

    /// Begins to count a client's batch, or continues one that was interrupted. `None`: it was counted before.
    pub(super) async fn begin(
        &self,
        holder: &Holder,
        client: BatchClient<'_>,
        sequence: u64,
        now: Timestamp,
    ) -> Result<Option<Counting>, Error> {
        let name = client.name();
        let last = self.last(holder, client, &name, sequence, now)?.lock_owned().await;
        let is_new = sequence > last.sequence || (sequence == last.sequence && last.counted.is_some());
        Ok(is_new.then(|| Counting { client: name.into(), sequence, last }))
    }

    /// Runs `count`, after which the first `counted` tallies of a batch are counted, and notes that. `is_whole`: these are all.
    pub(super) fn count<T>(
        &self,
        counting: &mut Counting,
        counted: usize,
        is_whole: bool,
        now: Timestamp,
        count: impl FnOnce() -> T,
    ) -> T {
        let Counting { client, sequence, last } = counting;
        let counted = if is_whole { None } else { u32::try_from(counted).ok() };
        // The marks that are gathered are of whole parts.
        let _counting = self.gate.read();
        **last = Last { sequence: *sequence, counted };
        if let Some(mut unwritten) = self.unwritten() {
            if let Some(mark) = unwritten.marks.get_mut(client) {
                (mark.sequence, mark.at, mark.counted) = (*sequence, now, counted);
            } else {
                // It is back.
                unwritten.forgotten.retain(|forgotten| forgotten != client);
                let mark = Mark { client: client.clone(), sequence: *sequence, at: now, counted };
                unwritten.marks.insert(client.clone(), mark);
            }
        }
        count()
    }

    fn last(
        &self,
        holder: &Holder,
        client: BatchClient<'_>,
        name: &str,
        sequence: u64,
        now: Timestamp,
    ) -> Result<Arc<tokio::sync::Mutex<Last>>, Error> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.by_id.get_mut(name) {
            client.at = client.at.max(now);
            return Ok(Arc::clone(&client.last));
        }
        if add_one(&self.pool, holder).is_err() {
            let forgotten = clients.sweep(now, self.retention, &self.pool);
            if let Some(mut unwritten) = self.unwritten() {
                forgotten.iter().for_each(|name| _ = unwritten.marks.remove(name));
                unwritten.forgotten.extend(forgotten);
            }
            add_one(&self.pool, holder)?;
        }
        // A version before this one kept the marks of all identities by client id alone. The batch that was under way when it
        // ended counts once as well; no other one is judged by such a mark.
        let before = client.identity.and_then(|_| clients.by_id.get(client.id));
        let before = before
            .and_then(|before| before.last.try_lock().ok().map(|last| *last))
            .filter(|last| last.sequence == sequence);
        let last = Arc::new(tokio::sync::Mutex::new(before.unwrap_or_default()));
        clients.by_id.insert(name.into(), Client { at: now, holder: holder.clone(), last: Arc::clone(&last) });
        Ok(last)
    }

    pub(super) fn len(&self) -> usize {
        self.clients.lock().by_id.len()
    }
}

impl Counting {
    /// Tallies that were counted before.
    pub(super) fn counted(&self) -> usize {
        let counted = self.last.counted.filter(|_| self.last.sequence == self.sequence);
        counted.map_or(0, |counted| counted as usize)
    }
}

impl Clients {
    /// Makes silent clients go, and says which.
    fn sweep(&mut self, now: Timestamp, retention: Duration, pool: &Pool) -> Vec<Box<str>> {
        if self.swept.is_some_and(|swept| now.since(swept) < SWEEP_EVERY) {
            return Vec::new();
        }
        self.swept = Some(now);
        let silent = self.by_id.extract_if(|_, client| now.since(client.at) >= retention);
        let forget = |(id, client): (_, Client)| {
            pool.remove(&client.holder, 1);
            id
        };
        silent.map(forget).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::{limit::BATCH_CLIENTS, share::FairShare};

    const RETENTION: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Timestamp {
        Timestamp::default().after(Duration::from_millis(millis))
    }

    fn of_clients(max: u64) -> Batches {
        Batches::new(&Arc::new(Pool::new(BATCH_CLIENTS, max, FairShare::OFF)), RETENTION, true)
    }

    fn mark(client: &str, sequence: u64, at: Timestamp) -> Mark {
        Mark { client: client.into(), sequence, at, counted: None }
    }

    /// What comes of something that waits for nothing here.
    fn at_once<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn begin<'a>(
        batches: &Batches,
        client: impl Into<BatchClient<'a>>,
        sequence: u64,
        now: Timestamp,
    ) -> Result<Option<Counting>, Error> {
        at_once(batches.begin(&Holder::identity("shop".into()), client.into(), sequence, now))
    }

    /// Whether a batch counted; none where its client finds no place.
    fn send<'a>(batches: &Batches, client: impl Into<BatchClient<'a>>, sequence: u64, now: Timestamp) -> Option<bool> {
        let counting = begin(batches, client, sequence, now).ok()?;
        Some(counting.is_some_and(|mut counting| batches.count(&mut counting, 1, true, now, || true)))
    }

    #[test]
    fn a_batch_that_was_interrupted_goes_on_where_it_was() {
        let batches = of_clients(9);
        let mut first = begin(&batches, "a", 3, at(0)).unwrap().unwrap();
        assert_eq!(first.counted(), 0);
        batches.count(&mut first, 2, false, at(0), || ());
        drop(first);
        let marks = batches.unwritten().unwrap().take_marks();
        assert_eq!(marks, [Mark { counted: Some(2), ..mark("a", 3, at(0)) }]);
        assert!(begin(&batches, "a", 2, at(0)).unwrap().is_none(), "an older one is a duplicate all the same");
        let next = begin(&batches, "a", 4, at(0)).unwrap().unwrap();
        assert_eq!(next.counted(), 0, "nothing of the next one");
        drop(next);
        let mut again = begin(&batches, "a", 3, at(0)).unwrap().unwrap();
        assert_eq!(again.counted(), 2);
        batches.count(&mut again, 5, true, at(0), || ());
        drop(again);
        assert!(begin(&batches, "a", 3, at(0)).unwrap().is_none());
        let restored = of_clients(9);
        restored.restore(marks);
        assert_eq!(begin(&restored, "a", 3, at(0)).unwrap().unwrap().counted(), 2, "also over a restart");
    }

    #[test]
    fn a_batch_counts_once_for_each_client_of_each_identity() {
        let batches = of_clients(9);
        let named = |identity| BatchClient { identity: Some(identity), id: "a" };
        let owned = "a".to_owned();
        assert_eq!(send(&batches, "a", 3, at(0)), Some(true));
        assert_eq!(
            [3, 2, 4, 4].map(|sequence| send(&batches, &owned, sequence, at(0))),
            [false, false, true, false].map(Some)
        );
        assert_eq!(send(&batches, "b", 1, at(0)), Some(true));
        assert_eq!(send(&batches, named("mail"), 1, at(0)), Some(true));
        assert_eq!(send(&batches, named("shop"), 1, at(0)), Some(true));
        assert_eq!(send(&batches, named("shop"), 1, at(0)), Some(false));
        assert_eq!(batches.len(), 4);
        let mut marks = batches.unwritten().unwrap().take_marks();
        marks.sort_unstable_by(|a, b| a.client.cmp(&b.client));
        let expected = [("a", 4), ("b", 1), ("mail\na", 1), ("shop\na", 1)];
        assert_eq!(marks, expected.map(|(client, sequence)| mark(client, sequence, at(0))));
        assert_eq!(batches.unwritten().unwrap().take_marks(), []);
    }

    #[test]
    fn marks_of_an_earlier_server_hold_and_those_without_an_identity_for_the_batch_under_way() {
        let batches = of_clients(9);
        batches.restore(vec![mark("a", 7, at(0)), mark("shop\nb", 7, at(0))]);
        assert_eq!((batches.len(), batches.pool.used()), (2, 2));
        let named = |id| BatchClient { identity: Some("shop"), id };
        assert_eq!([7, 8].map(|sequence| send(&batches, named("b"), sequence, at(1))), [false, true].map(Some));
        let mut other = of_clients(9);
        for (sequence, counts) in [(6, true), (7, false), (8, true)] {
            other.restore(vec![mark("a", 7, at(0))]);
            assert_eq!(send(&other, named("a"), sequence, at(1)), Some(counts), "{sequence}");
            other = of_clients(9);
        }
        assert_eq!([7, 8].map(|sequence| send(&batches, "a", sequence, at(1))), [false, true].map(Some));
    }

    #[test]
    fn silent_clients_make_room_after_the_retention_and_are_looked_for_once_a_second() {
        let batches = of_clients(2);
        assert_eq!(send(&batches, "a", 1, at(0)), Some(true));
        assert_eq!(send(&batches, "b", 1, at(0)), Some(true));
        assert_eq!(send(&batches, "c", 1, at(9_500)), None);
        assert_eq!(send(&batches, "b", 2, at(9_600)), Some(true));
        assert_eq!(send(&batches, "c", 1, at(10_499)), None, "they were looked for less than a second ago");
        assert_eq!(send(&batches, "c", 1, at(10_500)), Some(true), "a is silent for 10 s");
        assert_eq!((batches.len(), batches.pool.used()), (2, 2));
        let unwritten = batches.unwritten().unwrap();
        assert_eq!(unwritten.forgotten, [Box::from("a")]);
        let mut marked: Vec<_> = unwritten.marks.keys().map(|name| &**name).collect();
        marked.sort_unstable();
        assert_eq!(marked, ["b", "c"]);
        drop(unwritten);
        // b is silent for the retention exactly; a is back.
        assert_eq!(send(&batches, "a", 1, at(19_600)), Some(true), "its last batch is forgotten");
        assert_eq!(batches.unwritten().unwrap().forgotten, [Box::from("b")]);
        assert_eq!(send(&batches, "d", 1, at(19_599)), None);
    }

    #[test]
    fn what_the_store_has_to_learn_is_written_or_on_its_way() {
        let batches = of_clients(9);
        assert!(batches.is_written());
        send(&batches, "a", 1, at(0));
        assert!(!batches.is_written());
        batches.unwritten().unwrap().take_marks();
        assert!(batches.is_written());
        batches.unwritten().unwrap().forgotten.push("a".into());
        assert!(!batches.is_written());
        batches.unwritten().unwrap().forgotten.clear();
        batches.set_writing(true);
        assert_eq!((batches.is_writing(), batches.is_written()), (true, false));
        batches.set_writing(false);
        assert_eq!((batches.is_writing(), batches.is_written()), (false, true));
        assert!(!batches.take_wanted());
        batches.want();
        assert_eq!([batches.take_wanted(), batches.take_wanted()], [true, false]);
        let fleeting = Batches::new(&batches.pool, RETENTION, false);
        assert!(fleeting.unwritten().is_none());
        send(&fleeting, "a", 1, at(0));
        assert!(fleeting.is_written(), "a store that keeps nothing has nothing to learn");
    }
}
