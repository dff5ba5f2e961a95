//! The engine alone, without gRPC: what a decision costs, and what a breaker weighs.
//!
//! A pair is an Acquire and the Report of its success. Breakers are asked in an order that no cache can guess, 64 at a
//! time as a session's frame brings them: first their Acquires, then their Reports. By key each call finds its breaker
//! and reads the clock, as a unary call does; by handle the clock is read once for the 64.

#![expect(clippy::disallowed_methods, reason = "measures real time")]

use std::{
    env,
    error::Error,
    fs,
    hint::black_box,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use fuseboard::{
    breaker::{CallerId, Decision, Moment, Outcome, Permit, PolicySpec, Report, Reported, RequestId, Timestamp},
    engine::{Acquired, Clock, Engine, Handle, Limits, ReportAnswer, Told},
    grpc::token::{decode_permit, encode_permit},
};
use serde::Serialize;

/// An answer that may be told: the store is memory.
fn now<T>(told: Told<T>) -> T {
    told.now().expect("memory answers at once")
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BREAKERS: u32 = 100_000;
/// Breakers whose memory is weighed: enough that what an engine without breakers needs is lost in it.
const BREAKERS_WEIGHED: u32 = 1_000_000;
/// Coprime to [`BREAKERS`]: the step from one breaker to the next.
const STRIDE: u32 = 61_803;
const BATCH: usize = 64;
/// As many as a breaker knows.
const CALLERS: u64 = 256;
/// Breakers whose callers are weighed.
const BREAKERS_CALLED: u32 = 1_000;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(500);
/// Where the JSON goes.
const FOLDER: &str = "target/bench";

#[derive(Serialize)]
struct Figures {
    pair_by_key_ns: f64,
    pair_by_handle_ns: f64,
    hot_breaker_one_thread_pairs_per_second: f64,
    hot_breaker_two_threads_pairs_per_second: f64,
    /// The median of the rounds' ratios, two threads to one.
    hot_breaker_ratio: f64,
    one_caller_pair_ns: f64,
    many_callers_pair_ns: f64,
    /// The median of the rounds' ratios, many callers to one.
    callers_ratio: f64,
    /// Pairs by handle whose permits are sealed and opened in between, as a session does.
    sealed_pair_by_handle_ns: f64,
    /// The median of the rounds' ratios, sealed to not.
    sealed_ratio: f64,
    bytes_per_new_breaker: f64,
    bytes_per_used_breaker: f64,
    bytes_per_silent_caller: f64,
    bytes_per_active_caller: f64,
}

fn main() -> Result<()> {
    if env::args().any(|argument| argument == "weigh") {
        return weigh();
    }
    if env::args().any(|argument| argument == "weigh-callers") {
        return weigh_callers();
    }
    let engine = engine(BREAKERS)?;
    let handles =
        (0..BREAKERS).map(|number| engine.handle(&key(number))).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut walk = Walk(0);

    let (mut by_key, mut by_handle, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut one_caller, mut many_callers, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    let mut callers = (1..=CALLERS).map(CallerId).cycle();
    for _ in 0..ROUNDS {
        by_key.push(nanoseconds_a_pair(|| batch_by_key(&engine, &mut walk)));
        by_handle.push(nanoseconds_a_pair(|| batch_by_handle(&engine, &handles, &mut walk)));
        sealed.push(nanoseconds_a_pair(|| batch_sealed(&engine, &handles, &mut walk)));
        one.push(pairs_per_second(|| batch_on_one(&engine, handles[0])));
        two.push(thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| pairs_per_second(|| batch_on_one(&engine, handles[0]))));
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
        }));
        one_caller.push(nanoseconds_a_pair(|| batch_of_callers(&engine, handles[1], || CallerId(1))));
        let mut next = || callers.next().unwrap_or_default();
        many_callers.push(nanoseconds_a_pair(|| batch_of_callers(&engine, handles[2], &mut next)));
    }
    let callers_ratios = one_caller.iter().zip(&many_callers).map(|(one, many)| many / one).collect();
    let sealed_ratios = by_handle.iter().zip(&sealed).map(|(plain, sealed)| sealed / plain).collect();
    let ratios = one.iter().zip(&two).map(|(one, two): (&f64, &f64)| two / one).collect();
    let [new, used] = weigh_apart("weigh")?;
    let [silent, active] = weigh_apart("weigh-callers")?;
    let figures = Figures {
        pair_by_key_ns: median(by_key),
        pair_by_handle_ns: median(by_handle),
        hot_breaker_one_thread_pairs_per_second: median(one),
        hot_breaker_two_threads_pairs_per_second: median(two),
        hot_breaker_ratio: median(ratios),
        one_caller_pair_ns: median(one_caller),
        many_callers_pair_ns: median(many_callers),
        callers_ratio: median(callers_ratios),
        sealed_pair_by_handle_ns: median(sealed),
        sealed_ratio: median(sealed_ratios),
        bytes_per_new_breaker: new,
        bytes_per_used_breaker: used,
        bytes_per_silent_caller: silent,
        bytes_per_active_caller: active,
    };
    print_table(&figures);
    fs::create_dir_all(FOLDER)?;
    Ok(fs::write(Path::new(FOLDER).join("engine.json"), serde_json::to_string_pretty(&figures)? + "\n")?)
}

fn print_table(figures: &Figures) {
    println!("| engine alone | measured |\n|---|--:|");
    println!("| a pair by key, {BREAKERS} breakers | {:.0} ns |", figures.pair_by_key_ns);
    println!("| a pair by handle, {BREAKERS} breakers | {:.0} ns |", figures.pair_by_handle_ns);
    println!("| the same, with permits sealed and opened | {:.0} ns |", figures.sealed_pair_by_handle_ns);
    println!("| sealed to not | {:.2} |", figures.sealed_ratio);
    println!("| one thread on one hot breaker | {:.0} pairs/s |", figures.hot_breaker_one_thread_pairs_per_second);
    println!("| two threads on one hot breaker | {:.0} pairs/s |", figures.hot_breaker_two_threads_pairs_per_second);
    println!("| two threads to one | {:.2} |", figures.hot_breaker_ratio);
    println!("| memory of a new breaker | {:.0} bytes |", figures.bytes_per_new_breaker);
    println!("| a pair on one breaker, one caller | {:.0} ns |", figures.one_caller_pair_ns);
    println!("| a pair on one breaker, {CALLERS} callers | {:.0} ns |", figures.many_callers_pair_ns);
    println!("| {CALLERS} callers to one | {:.2} |", figures.callers_ratio);
    println!("| memory of a breaker that was used and is idle again | {:.0} bytes |", figures.bytes_per_used_breaker);
    println!("| memory of a caller that is known and silent | {:.0} bytes |", figures.bytes_per_silent_caller);
    println!("| memory of a caller with calls in the window | {:.0} bytes |", figures.bytes_per_active_caller);
}

fn engine(breakers: u32) -> Result<Engine> {
    let limits = Limits { breakers, ..Limits::default() };
    Ok(Engine::new(Clock::system(Timestamp::default()), limits, PolicySpec::default())?)
}

/// 24 bytes.
fn key(number: u32) -> Key {
    let mut key = *b"bench/service-0000000/op";
    let mut rest = number;
    for digit in key[14..21].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    Key(key)
}

/// A key that lives on the stack.
struct Key([u8; 24]);

impl std::ops::Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it is ASCII")
    }
}

/// Breakers by turns, in an order that looks like none.
struct Walk(u32);

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.0 = (self.0 + STRIDE) % BREAKERS;
        Some(self.0 as usize)
    }
}

/// The keys are written here, because a call brings its key along: none waits in memory far away.
fn batch_by_key(engine: &Engine, walk: &mut Walk) {
    let asked: [_; BATCH] = std::array::from_fn(|_| key(walk.next().unwrap_or_default() as u32));
    let permits = asked.each_ref().map(|key| {
        let acquired =
            engine.acquire_by_key(engine.moment(), key, CallerId::default(), RequestId::default(), None).map(now);
        permit(&acquired.expect("there is room"))
    });
    for (key, permit) in asked.iter().zip(permits) {
        let success = Report::of(Outcome::Success);
        check(black_box(&engine.report_by_key(engine.moment(), key, &permit, &success, "").now().unwrap()));
    }
}

fn batch_by_handle(engine: &Engine, handles: &[Handle], walk: &mut Walk) {
    batch(engine, &std::array::from_fn(|_| handles[walk.next().unwrap_or_default()]));
}

fn batch_on_one(engine: &Engine, handle: Handle) {
    batch(engine, &[handle; BATCH]);
}

fn batch(engine: &Engine, handles: &[Handle; BATCH]) {
    let moment = engine.moment();
    let permits = handles.map(|handle| acquire(engine, moment, handle));
    for (handle, permit) in handles.iter().zip(permits) {
        report(engine, moment, *handle, &permit);
    }
}

/// As [`batch_by_handle`], with each permit as bytes on its way to the caller and back.
fn batch_sealed(engine: &Engine, handles: &[Handle], walk: &mut Walk) {
    let (moment, seal) = (engine.moment(), engine.seal());
    let asked: [_; BATCH] = std::array::from_fn(|_| walk.next().unwrap_or_default());
    // A session knows the hash since the breaker was introduced.
    let key_hash = |number: usize| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let permits =
        asked.map(|number| encode_permit(seal, key_hash(number), &acquire(engine, moment, handles[number]), None));
    for (number, permit) in asked.into_iter().zip(permits) {
        let opened = decode_permit(seal, key_hash(number), black_box(permit.as_slice()));
        report(engine, moment, handles[number], &opened.expect("it is as it was issued").permit);
    }
}

/// Calls of one breaker, each of the next caller.
fn batch_of_callers(engine: &Engine, handle: Handle, mut next: impl FnMut() -> CallerId) {
    let moment = engine.moment();
    let permits = [(); BATCH].map(|()| {
        let acquired = engine.acquire(moment, handle, next(), RequestId::default(), None).map(now);
        permit(&acquired.expect("breakers stay"))
    });
    for permit in permits {
        report(engine, moment, handle, &permit);
    }
}

fn acquire(engine: &Engine, moment: Moment, handle: Handle) -> Permit {
    let acquired = engine.acquire(moment, handle, CallerId::default(), RequestId::default(), None).map(now);
    permit(&acquired.expect("breakers stay"))
}

fn permit(acquired: &Acquired) -> Permit {
    match acquired.decision {
        Decision::Permitted(permit) => permit,
        Decision::Rejected { reason, .. } => panic!("rejected: {reason:?}"),
    }
}

fn report(engine: &Engine, moment: Moment, handle: Handle, permit: &Permit) {
    let answer = engine.report(moment, handle, permit, &Report::of(Outcome::Success), "").map(now);
    check(&black_box(answer).expect("breakers stay"));
}

fn check(answer: &ReportAnswer) {
    assert_eq!(answer.reported, Reported::Counted, "each permit is reported once");
}

/// Runs batches for a round, on the wall's time.
fn pairs_per_second(batch: impl FnMut()) -> f64 {
    let (pairs, time) = round(batch);
    pairs as f64 / time.as_secs_f64()
}

/// Runs batches for a round, on this thread's own time: other work on the machine is not counted in.
fn nanoseconds_a_pair(batch: impl FnMut()) -> f64 {
    let before = cpu_nanoseconds();
    let (pairs, _) = round(batch);
    (cpu_nanoseconds() - before) / pairs as f64
}

fn round(mut batch: impl FnMut()) -> (usize, Duration) {
    let (started, mut pairs) = (Instant::now(), 0);
    while started.elapsed() < ROUND {
        batch();
        pairs += BATCH;
    }
    (pairs, started.elapsed())
}

/// CPU time that this thread has used.
fn cpu_nanoseconds() -> f64 {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's time");
    statistics.split(' ').next().and_then(|first| first.parse().ok()).expect("it comes first")
}

/// Weighs breakers in a process of their own, where nothing else has left memory behind.
fn weigh_apart(what: &str) -> Result<[f64; 2]> {
    let output = Command::new(env::current_exe()?).arg(what).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Prints the bytes that a new breaker takes, and one that was used and whose window has aged out.
fn weigh() -> Result<()> {
    let limits = Limits { breakers: BREAKERS_WEIGHED, ..Limits::default() };
    let engine = Engine::new(Clock::manual(Timestamp::default()), limits, PolicySpec::default())?;
    let before = resident_bytes()?;
    let each = |bytes: u64| (bytes - before) as f64 / f64::from(BREAKERS_WEIGHED);
    for number in 0..BREAKERS_WEIGHED {
        engine.handle(&key(number))?;
    }
    let new = each(resident_bytes()?);
    for number in 0..BREAKERS_WEIGHED {
        let (handle, moment) = (engine.handle(&key(number))?, engine.moment());
        let permit = acquire(&engine, moment, handle);
        report(&engine, moment, handle, &permit);
    }
    // Past the window and the lease, before breakers are evicted.
    let _ = engine.advance(Duration::from_secs(1_800));
    // An allocator gives back what is free when it is asked some time later, as in a server that lives on.
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(100));
        drop(black_box(vec![0_u8; 1 << 20]));
    }
    println!("{}", serde_json::to_string(&[new, each(resident_bytes()?)])?);
    Ok(())
}

/// Prints the bytes that a caller takes which was seen, and one whose calls are in the window.
fn weigh_callers() -> Result<()> {
    let engine = engine(BREAKERS_CALLED)?;
    let handles =
        (0..BREAKERS_CALLED).map(|number| engine.handle(&key(number))).collect::<std::result::Result<Vec<_>, _>>()?;
    let before = resident_bytes()?;
    let each = |bytes: u64| (bytes - before) as f64 / (f64::from(BREAKERS_CALLED) * CALLERS as f64);
    let all = |act: fn(&Engine, Handle, CallerId)| {
        handles.iter().for_each(|handle| (1..=CALLERS).for_each(|caller| act(&engine, *handle, CallerId(caller))));
    };
    all(|engine, handle, caller| {
        let _ = engine.acquire(engine.moment(), handle, caller, RequestId::default(), None).map(now);
    });
    let silent = each(resident_bytes()?);
    all(batch_of_one);
    println!("{}", serde_json::to_string(&[silent, each(resident_bytes()?)])?);
    Ok(())
}

fn batch_of_one(engine: &Engine, handle: Handle, caller: CallerId) {
    let moment = engine.moment();
    let acquired = engine.acquire(moment, handle, caller, RequestId::default(), None).map(now);
    report(engine, moment, handle, &permit(&acquired.expect("breakers stay")));
}

/// Memory of this process that is in RAM.
fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no memory is told")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
