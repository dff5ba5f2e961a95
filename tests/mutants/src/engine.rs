//! The modules of the engine that need no breakers, and what they name of the rest of it.

#[path = "../../../src/engine/batches.rs"]
mod batches;
#[path = "../../../src/engine/error.rs"]
mod error;
#[path = "../../../src/engine/requests.rs"]
mod requests;
#[path = "../../../src/engine/seal.rs"]
mod seal;
#[path = "../../../src/engine/shares.rs"]
mod shares;

/// As in `src/engine/registry.rs`, without a table that it is of.
mod registry {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Handle {
        pub(super) index: u32,
    }
}

use std::{
    collections::VecDeque,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;

pub use self::error::Error;
use self::{
    batches::Batches,
    events::Event,
    registry::Handle,
    requests::Requests,
    seal::seal_of,
    shares::{Shares, add_one, room},
};
use crate::{
    access::Seal,
    breaker::{CallerId, Permit, PermitKind, RequestId, Timestamp},
    limit::BATCH_CLIENTS,
    share::{FairShare, Holder, Pool},
    store::{Answer, Change, Commit, Document, Refused, Root, Store},
};

/// As in `src/engine/events.rs`, as far as it matters for whose it is.
mod events {
    #[derive(Debug)]
    pub(super) struct Event {
        pub(super) actor: Box<str>,
    }
}

/// Those bounds of `src/engine/mod.rs` that operators are told of.
#[derive(Clone, Copy)]
pub struct Limits {
    breakers: u32,
    request_ids: usize,
    batch_clients: usize,
    callers: usize,
    policies: usize,
    events: usize,
    watchers: u64,
    ledger_bytes: usize,
    statistics_bytes: usize,
    watch_keys: usize,
    handles: usize,
    tokens: usize,
    fair_share: FairShare,
}

struct Usage {
    callers: usize,
    events: usize,
    ledger_bytes: usize,
    statistics_bytes: usize,
}

/// Notes whose each event is.
#[derive(Default)]
struct Log(Mutex<Vec<Holder>>);

impl Log {
    fn append(&self, events: &[Arc<Event>], holder: impl Fn(&Event) -> Holder) {
        self.0.lock().extend(events.iter().map(|event| holder(event)));
    }
}

/// The parts of the engine that these modules use.
pub struct Engine {
    shared: Arc<Shared>,
    holder: Holder,
}

struct Shared {
    shares: Shares,
    requests: Requests,
    events: Log,
    seal: Seal,
}

const LIMITS: Limits = Limits {
    breakers: 10,
    request_ids: 320,
    batch_clients: 12,
    callers: 21,
    policies: 16,
    events: 22,
    watchers: 4,
    ledger_bytes: 23,
    statistics_bytes: 24,
    watch_keys: 14,
    handles: 15,
    tokens: 17,
    fair_share: FairShare::percent(50),
};

impl Engine {
    const fn limits(&self) -> Limits {
        LIMITS
    }

    const fn usage(&self) -> Usage {
        Usage { callers: 1, events: 2, ledger_bytes: 3, statistics_bytes: 4 }
    }
}

fn engine() -> Engine {
    let (shares, requests) = (Shares::new(&LIMITS), Requests::new(&LIMITS));
    let shared = Shared { shares, requests, events: Log::default(), seal: Seal::of(b"of this test....") };
    Engine { shared: Arc::new(shared), holder: Holder::server() }
}

#[test]
fn an_operators_events_are_its_own_once_clients_are_identified() {
    let engine = engine();
    let events = ["", "ada (of shop)", "ada"].map(|actor| Arc::new(Event { actor: actor.into() }));
    let owners = |engine: &Engine, maker: Option<&Holder>| {
        engine.append_events(&events, maker);
        std::mem::take(&mut *engine.shared.events.0.lock())
    };
    let address = Holder::address(std::net::Ipv4Addr::LOCALHOST.into());
    assert_eq!(owners(&engine, None), vec![Holder::server(); 3]);
    let engine = engine.on_behalf_of(address.clone());
    assert_eq!(owners(&engine, Some(&address)), vec![address.clone(); 3], "anybody may call itself ada");
    let engine = engine.on_behalf_of(Holder::identity("shop".into()));
    let ada = Holder::identity("ada".into());
    assert_eq!(owners(&engine, Some(&address)), [address, ada.clone(), ada]);
}

#[test]
fn there_is_room_for_the_server_up_to_the_bound_and_for_others_up_to_their_share() {
    let pool = Arc::new(Pool::new(BATCH_CLIENTS, 4, FairShare::percent(50)));
    let shop = Holder::identity("shop".into());
    let kept: Vec<_> = (0..2).map(|_| room(&pool, &shop).unwrap()).collect();
    assert!(room(&pool, &shop).is_err());
    let servers: Vec<_> = (0..2).map(|_| room(&pool, &Holder::server()).unwrap()).collect();
    assert!(room(&pool, &Holder::server()).is_err());
    assert_eq!(pool.used(), 4);
    drop((kept, servers));
    assert_eq!(pool.used(), 0, "it is given back");
}

#[test]
fn each_bound_has_a_pool_of_its_size_that_its_users_are_counted_in() {
    let engine = engine().on_behalf_of(Holder::identity("shop".into()));
    let levels: Vec<_> = engine.levels(0).iter().map(|level| (level.name, level.max, level.used)).collect();
    let expected = [
        ("max_breakers", 10, Some(0)),
        ("max_policies", 16, Some(0)),
        ("max_tokens", 17, Some(0)),
        ("max_batch_clients", 12, Some(0)),
        ("max_watchers", 4, Some(0)),
        ("max_watch_keys", 14, Some(0)),
        ("max_handles", 15, Some(0)),
        ("max_request_ids", 320, Some(0)),
        ("max_callers", 21, Some(1)),
        ("event_log_events", 22, Some(2)),
        ("permit_ledger_bytes", 23, Some(3)),
        ("statistics_bytes", 24, Some(4)),
        ("callers_per_breaker", 256, None),
    ];
    assert_eq!(levels, expected);
    let shop = || engine.holder.clone();
    let mut handles = engine.handles().unwrap();
    assert_eq!((handles.amount(), engine.biggest("max_handles", 9)), (0, Vec::new()));
    handles.resize(2).unwrap();
    assert_eq!(engine.biggest("max_handles", 9), [(shop(), 2)]);
    let watch = engine.take_watch(3).unwrap();
    assert_eq!(watch.each_ref().map(|used| used.amount()), [1, 3]);
    assert_eq!(
        (engine.biggest("max_watchers", 9), engine.biggest("max_watch_keys", 9)),
        (vec![(shop(), 1)], vec![(shop(), 3)])
    );
    assert!(engine.take_watch(10).is_err(), "its share of the keys is 7");
    assert_eq!(engine.biggest("max_watchers", 9), [(shop(), 1)], "nothing is kept of what is refused");
    drop(watch);
    assert_eq!(engine.biggest("max_watchers", 9), []);
    let other = engine.on_behalf_of(Holder::identity("cart".into()));
    let permit = Permit {
        kind: PermitKind::Call,
        generation: 1,
        caller_generation: 0,
        slice: 0,
        serial: 0,
        expire: Timestamp::NEVER,
        caller: CallerId(0),
    };
    for (holder, requests) in [(&engine.holder, 1..3), (&other.holder, 3..4)] {
        for request in requests.map(RequestId) {
            engine
                .shared
                .requests
                .once(holder, request, Timestamp::default(), || Ok::<_, Error>(Some(permit)))
                .unwrap();
        }
    }
    assert_eq!(engine.biggest("max_request_ids", 9), [(shop(), 2), (other.holder.clone(), 1)]);
    assert_eq!(engine.biggest("max_request_ids", 1), [(shop(), 2)]);
    assert_eq!(engine.biggest("max_callers", 9), [], "not shared");
}

#[test]
fn the_engine_seals_with_the_key_of_its_store() {
    let engine = engine();
    assert_eq!(engine.seal().tag(b"permit"), Seal::of(b"of this test....").tag(b"permit"));
}

#[test]
fn breakers_that_batches_counted_in_are_written() {
    let pool = Arc::new(Pool::new(BATCH_CLIENTS, 9, FairShare::OFF));
    let batches = Batches::new(&pool, Duration::from_secs(10), true);
    batches.counted(Handle { index: 7 });
    let unwritten = batches.unwritten().unwrap();
    assert_eq!((unwritten.is_empty(), &unwritten.counted), (false, &vec![Handle { index: 7 }]));
}

// ---- Seals in a store --------------------------------------------------------------------------------------------------

/// A store of documents that says what it is told to.
#[derive(Debug)]
struct Documents {
    is_lasting: bool,
    /// What it has when it is read again: another server's.
    theirs: Vec<Document>,
    answers: Mutex<VecDeque<Result<(), Refused>>>,
    commits: Mutex<Vec<Commit>>,
}

impl Documents {
    fn new(is_lasting: bool, answers: impl IntoIterator<Item = Result<(), Refused>>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect());
        Self { is_lasting, theirs: Vec::new(), answers, commits: Mutex::default() }
    }

    fn commits(&self) -> Vec<(u64, Document)> {
        let document = |commit: &Commit| {
            let Change::Document { key, from, to } = &commit.change;
            let document = to.as_deref().cloned().expect("a document");
            assert_eq!((key, commit.author), (&document.key, 5));
            (*from, document)
        };
        self.commits.lock().iter().map(document).collect()
    }
}

impl Store for Documents {
    fn is_lasting(&self) -> bool {
        self.is_lasting
    }

    fn root(&self) -> Answer<'_, Root> {
        Box::pin(std::future::ready(Ok(Root { documents: self.theirs.clone() })))
    }

    fn commit(&self, commit: Commit) -> Answer<'static, ()> {
        self.commits.lock().push(commit);
        Box::pin(std::future::ready(self.answers.lock().pop_front().expect("no more commits")))
    }
}

fn made(store: &Documents, documents: Vec<Document>) -> Result<Seal, String> {
    let mut made = pin!(seal_of(store, 5, documents));
    match made.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(made) => made.map_err(|error| error.to_string()),
        Poll::Pending => panic!("nothing is waited for"),
    }
}

fn document(version: u64, body: &str) -> Document {
    Document { key: "seal/permits".into(), version, body: body.into() }
}

fn tag(seal: &Seal) -> u64 {
    seal.tag(b"permit")
}

#[test]
fn a_stored_key_is_used_and_nothing_is_written() {
    let store = Documents::new(true, []);
    let other = Document { key: "seal/other".into(), ..document(1, r#"{"key":"ffffffffffffffffffffffffffffffff"}"#) };
    let stored = document(3, r#"{"key":"000102030405060708090a0b0c0d0e0f"}"#);
    let seal = made(&store, vec![other, stored]).unwrap();
    assert_eq!(tag(&seal), tag(&Seal::of(&std::array::from_fn(|index| index as u8))));
    assert_eq!(store.commits(), []);
}

#[test]
fn a_key_that_is_missing_or_cannot_be_read_is_made_and_written() {
    for (stored, from) in [
        (None, 0),
        (Some(document(3, "{}")), 3),
        (Some(document(4, r#"{"key":"0001"}"#)), 4),
        (Some(document(1, r#"{"key":"000102030405060708090a0b0c0d0e0f00"}"#)), 1),
    ] {
        let store = Documents::new(true, [Ok(())]);
        let seal = made(&store, stored.into_iter().collect()).unwrap();
        let commits = store.commits();
        let [(replaced, written)] = &commits[..] else { panic!("one commit") };
        assert_eq!((*replaced, written.version), (from, from + 1));
        let again = made(&Documents::new(true, []), vec![written.clone()]).unwrap();
        assert_eq!(tag(&again), tag(&seal), "it is read as it was written");
    }
    let store = Documents::new(false, []);
    made(&store, Vec::new()).unwrap();
    assert_eq!(store.commits(), [], "a store that does not last keeps none");
}

#[test]
fn another_servers_key_is_used_where_it_was_first_and_a_store_that_fails_says_why() {
    let theirs = document(1, r#"{"key":"000102030405060708090a0b0c0d0e0f"}"#);
    let store = Documents { theirs: vec![theirs], ..Documents::new(true, [Err(Refused::Moved)]) };
    let seal = made(&store, Vec::new()).unwrap();
    assert_eq!(tag(&seal), tag(&Seal::of(&std::array::from_fn(|index| index as u8))));
    let error = made(&Documents::new(true, [Err(Refused::Closed)]), Vec::new()).unwrap_err();
    assert!(error.contains("the store is closed"), "{error}");
    let store = Documents::new(true, vec![Err(Refused::Moved); 8]);
    let error = made(&store, Vec::new()).unwrap_err();
    assert!(error.contains("keep replacing"), "{error}");
    assert_eq!(store.commits().len(), 8);
}

#[test]
fn the_server_has_no_share_and_others_have() {
    let pool = Pool::new(BATCH_CLIENTS, 4, FairShare::percent(50));
    let shop = Holder::identity("shop".into());
    assert_eq!([(); 3].map(|()| add_one(&pool, &shop).is_ok()), [true, true, false]);
    let server = Holder::server();
    assert_eq!([(); 3].map(|()| add_one(&pool, &server).is_ok()), [true, true, false]);
    assert_eq!((pool.used_by(&shop), pool.used_by(&server)), (2, 2));
}
