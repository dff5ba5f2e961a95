//! The engine on a store that outlives it, and two engines on one store.
//!
//! Each test is a claim: what is told is durable first, what cannot be recorded is refused and never told, and a server
//! that comes after a crash goes on from what was told. The store is memory behind a gate, so a test decides what is
//! durable and when; the runtime's time stands still, so patience costs none.

#![expect(clippy::disallowed_methods, reason = "the runtime's time, which stands still")]

mod batches;
mod bursts;
mod chaos;
mod home;
mod restarts;
mod silence;
mod trips;
mod two;

#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/flapping.rs"]
mod flapping;

use std::{sync::Arc, time::Duration};

use fuseboard::{
    breaker::{
        CallerId, Decision, Outcome, Permit, PolicySpec, Rejection, Report, Reported, RequestId, StateName, Timestamp,
    },
    engine::{
        Acquired, Actor, Clock, Declaration, Engine, Error, Event, FilePolicies, Limits, Message, ReportAnswer, Told,
        Watch, WatchOptions,
    },
    store::{Memory, Store},
};
use futures_util::FutureExt as _;
use tokio::task::{JoinHandle, yield_now};

use self::home::Gated;

/// Where the clock stands at first.
const START: Timestamp = Timestamp::from_nanos(1_577_836_800_000_000_000);
const OPERATOR: Actor<'static> = Actor { name: "ada", comment: "a test" };
const NOBODY: CallerId = CallerId(0);
const NO_NAME: RequestId = RequestId(0);

/// A server: an engine that runs, and its way to the store where that has a gate.
struct Server {
    engine: Engine,
    gate: Arc<Gated>,
    run: JoinHandle<()>,
}

/// What a server starts with.
#[derive(Clone)]
struct Setup {
    at: Timestamp,
    limits: Limits,
    file: FilePolicies,
}

impl Default for Setup {
    fn default() -> Self {
        Self { at: START, limits: Limits::default(), file: FilePolicies::default() }
    }
}

async fn open(store: Arc<dyn Store>, setup: Setup) -> (Engine, JoinHandle<()>) {
    let engine = Engine::open(Clock::manual(setup.at), setup.limits, setup.file, store).await.unwrap();
    let runs = engine.clone();
    let run = tokio::spawn(async move { runs.run().await });
    quiet().await;
    (engine, run)
}

impl Server {
    async fn new() -> Self {
        Self::on(&Memory::new(10_000), Setup::default()).await
    }

    async fn on(memory: &Memory, setup: Setup) -> Self {
        let gate = Arc::new(Gated::new(memory));
        let (engine, run) = open(Arc::clone(&gate) as Arc<dyn Store>, setup).await;
        Self { engine, gate, run }
    }

    /// Under a policy for every breaker.
    async fn under(default: PolicySpec) -> (Memory, Setup, Self) {
        let memory = Memory::new(10_000);
        let file = FilePolicies { default, by_pattern: Vec::new() };
        let setup = Setup { file, ..Setup::default() };
        let server = Self::on(&memory, setup.clone()).await;
        (memory, setup, server)
    }

    /// Kills it; the next one starts at once, with these settings. That takes time, or two permits could be one.
    async fn crash(self, memory: &Memory, setup: &Setup) -> Self {
        let at = self.engine.now().after(Duration::from_nanos(1));
        self.gate.kill();
        drop(self);
        Self::on(memory, Setup { at, ..setup.clone() }).await
    }

    async fn advance(&self, by: Duration) {
        self.engine.advance(by).unwrap();
        quiet().await;
    }

    /// Lets one commit through and the server hear of it.
    async fn let_one(&self) {
        assert!(self.gate.let_one(), "nothing waits at the gate");
        quiet().await;
    }

    async fn open_gate(&self) {
        self.gate.open();
        quiet().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// Lets everything happen that needs no time.
async fn quiet() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Lets so much of the runtime's time pass, in which the server waits and writes behind.
async fn pass(time: Duration) {
    let steps = time.as_millis().div_ceil(50);
    for _ in 0..steps {
        tokio::time::advance(Duration::from_millis(50)).await;
        quiet().await;
    }
}

async fn acquire_as(engine: &Engine, key: &str, caller: CallerId, request: RequestId) -> Acquired {
    let told = engine.acquire_by_key(engine.moment(), key, caller, request, None).unwrap();
    engine.acquired(told, key, caller, request, None, Duration::from_secs(60)).await.unwrap()
}

async fn acquire(engine: &Engine, key: &str) -> Acquired {
    acquire_as(engine, key, NOBODY, NO_NAME).await
}

/// An Acquire that goes on by itself.
fn ask(engine: &Engine, key: &'static str) -> JoinHandle<Acquired> {
    let engine = engine.clone();
    tokio::spawn(async move { acquire(&engine, key).await })
}

async fn permit(engine: &Engine, key: &str) -> Permit {
    permitted(acquire(engine, key).await)
}

fn permitted(acquired: Acquired) -> Permit {
    match acquired.decision {
        Decision::Permitted(permit) => permit,
        Decision::Rejected { reason, .. } => panic!("rejected: {reason:?}"),
    }
}

fn rejected(acquired: Acquired) -> Rejection {
    match acquired.decision {
        Decision::Permitted(_) => panic!("permitted"),
        Decision::Rejected { reason, .. } => reason,
    }
}

async fn report(engine: &Engine, key: &str, permit: &Permit, outcome: Outcome) -> Result<ReportAnswer, Error> {
    engine.told(|| Ok(engine.report_by_key(engine.moment(), key, permit, &Report::of(outcome), ""))).await
}

/// A Report that goes on by itself.
fn tell(
    engine: &Engine,
    key: &'static str,
    permit: Permit,
    outcome: Outcome,
) -> JoinHandle<Result<ReportAnswer, Error>> {
    let engine = engine.clone();
    tokio::spawn(async move { report(&engine, key, &permit, outcome).await })
}

/// One call, from the question to its report.
async fn call(engine: &Engine, key: &str, outcome: Outcome) {
    let permit = permit(engine, key).await;
    assert_eq!(report(engine, key, &permit, outcome).await.unwrap().reported, Reported::Counted);
}

async fn fail(engine: &Engine, key: &str, times: u32) {
    for _ in 0..times {
        call(engine, key, Outcome::Failure).await;
    }
}

/// The report that trips a breaker of the built-in policy, on its way.
async fn trip_late(engine: &Engine, key: &'static str) -> JoinHandle<Result<ReportAnswer, Error>> {
    fail(engine, key, 4).await;
    let last = permit(engine, key).await;
    let told = tell(engine, key, last, Outcome::Failure);
    quiet().await;
    told
}

async fn trip(engine: &Engine, key: &str) {
    fail(engine, key, 5).await;
    assert_eq!(state(engine, key).0, StateName::Open);
}

/// State and generation, as lists and snapshots tell them.
fn state(engine: &Engine, key: &str) -> (StateName, u64) {
    let entry = engine.entry(key, None).expect("a breaker");
    (entry.status.state, entry.status.generation)
}

/// The log, in words.
fn told(engine: &Engine) -> Vec<(u64, &'static str, String)> {
    let word = |event: &Arc<Event>| (event.sequence, event.kind.name(), event.key.to_string());
    engine.events(0, false, usize::MAX).iter().map(word).collect()
}

fn kinds(engine: &Engine) -> Vec<&'static str> {
    told(engine).into_iter().map(|(_, kind, _)| kind).collect()
}

fn watch(engine: &Engine) -> Watch {
    engine.watch(WatchOptions { skip_snapshot: true, ..WatchOptions::default() }).unwrap()
}

/// Sequences of the events that a watcher has now.
async fn heard(watch: &mut Watch) -> Vec<(u64, &'static str)> {
    let mut heard = Vec::new();
    while let Some(message) = watch.next().await {
        match message {
            Message::Event(event) => heard.push((event.sequence, event.kind.name())),
            Message::Progress => {}
            other => panic!("{other:?} in place of an event"),
        }
    }
    heard
}

fn is_unrecorded<T: std::fmt::Debug>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Store { .. }))
}

/// An answer that is there at once.
fn at_once<T>(answer: impl Future<Output = T>) -> T {
    tokio::task::unconstrained(answer).now_or_never().expect("an answer at once")
}

fn is_now<T>(told: &Told<T>) -> bool {
    matches!(told, Told::Now(_))
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn declared(spec: PolicySpec) -> Declaration {
    Declaration { spec, revision: 0 }
}

/// One failure opens it, for 30 s; then so many probes at a time, and as many successes close it.
fn probing(probes: u32) -> PolicySpec {
    PolicySpec {
        failure_threshold: Some(1),
        probes: Some(probes),
        successes_to_close: Some(probes),
        ..PolicySpec::default()
    }
}
