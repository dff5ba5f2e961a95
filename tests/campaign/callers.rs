//! Services of every kind: they ask, call and report, and do what services do wrong.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use fuseboard::pb::{
    AcquireRequest, AcquireResponse, Decision, Declaration, DeclareRequest, GetStateRequest, Introduction, Outcome,
    OverrideMode, ReportBatchRequest, ReportRequest, ReportResult, SessionAcquire, SessionReport, SessionRequest,
    SessionResponse, State, Tally, breaker_service_client::BreakerServiceClient,
};
use rand::Rng;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};

use crate::{
    Result,
    world::{BREAKERS, World, any_breaker, bump, key, policy},
};

const UNARY_CALLERS: usize = 8;
const SESSIONS: usize = 4;
const BATCH_CLIENTS: usize = 2;

/// Acquires in a frame of a session.
const FRAME_ACQUIRES: usize = 32;
/// Frames in flight on a session.
const FRAMES_OUT: usize = 4;
/// Breakers in a batch.
const BATCH_TALLIES: usize = 50;

/// Declares what services want.
pub(crate) async fn declare(world: &World) -> Result<()> {
    let wanted = (0..BREAKERS).filter_map(|breaker| policy(breaker).map(|policy| (key(breaker), policy)));
    let declaration = |(breaker, policy)| Declaration { breaker, policy: Some(policy), revision: 1 };
    let declarations: Vec<_> = wanted.map(declaration).collect();
    let count = declarations.len();
    let request = DeclareRequest { declarations, caller: "campaign/0".to_owned() };
    let answer = world.service().await?.declare(request).await?.into_inner();
    if answer.declared.len() == count { Ok(()) } else { Err("not every declaration was answered".into()) }
}

pub(crate) fn start(world: &Arc<World>, tasks: &mut JoinSet<Result<()>>) {
    (0..UNARY_CALLERS).for_each(|number| drop(tasks.spawn(unary(Arc::clone(world), number))));
    (0..SESSIONS).for_each(|number| drop(tasks.spawn(sessions(Arc::clone(world), number))));
    (0..BATCH_CLIENTS).for_each(|number| drop(tasks.spawn(batches(Arc::clone(world), number))));
}

/// True with a chance of so many in a thousand.
fn luck(per_thousand: u32) -> bool {
    rand::rng().random_range(0..1_000) < per_thousand
}

/// A random time, in milliseconds.
fn between(min: u64, max: u64) -> Duration {
    Duration::from_millis(rand::rng().random_range(min..max))
}

/// Whether an answer granted a probe; under an override it is not one.
fn is_probe(state: State, override_mode: OverrideMode) -> bool {
    state == State::HalfOpen && override_mode == OverrideMode::Unspecified
}

// ---- Unary -------------------------------------------------------------------------------------------------------------

async fn unary(world: Arc<World>, number: usize) -> Result<()> {
    let mut service = world.service().await?;
    while !world.is_stopped() {
        call(&world, &mut service, any_breaker(), &format!("campaign/{number}")).await;
        time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// One call as an SDK makes it, with what may go wrong on the way.
async fn call(world: &World, service: &mut BreakerServiceClient<Channel>, breaker: usize, caller: &str) {
    let request = AcquireRequest {
        breaker: key(breaker),
        caller: caller.to_owned(),
        request_id: format!("{:032x}", rand::rng().random::<u128>()),
        lease: None,
    };
    let Some(answer) = world.expect("Acquire", service.acquire(request.clone()).await, &[]) else { return };
    if luck(20)
        && let Some(again) = world.expect("Acquire again", service.acquire(request).await, &[])
    {
        check_same_answer(world, breaker, &answer, &again);
    }
    if answer.decision() == Decision::Rejected {
        bump(&world.counters().rejected);
        let wait = answer.retry_after.map_or(0, |wait| wait.seconds * 1_000 + i64::from(wait.nanos) / 1_000_000);
        if wait < 10 {
            world.violation(format!("{} rejected with a retry_after of {wait} ms", key(breaker)));
        }
        return;
    }
    bump(&world.counters().permitted);
    let probe = is_probe(answer.state(), answer.override_mode());
    if probe {
        world.hold_probe(breaker);
    }
    let (outcome, duration) = world.call(breaker);
    time::sleep(between(1, 5)).await;
    if probe {
        world.give_back_probe(breaker);
    }
    if luck(10) {
        return; // The caller died: its permit ends with its lease.
    }
    let report = ReportRequest {
        breaker: key(breaker),
        permit: answer.permit,
        outcome: outcome.into(),
        duration: duration.try_into().ok(),
        error_class: if outcome == Outcome::Failure { "campaign".to_owned() } else { String::new() },
        ..ReportRequest::default()
    };
    let Some(reported) = world.expect("Report", service.report(report.clone()).await, &[]) else { return };
    bump(&world.counters().reports);
    if reported.result() == ReportResult::Duplicate {
        world.violation(format!("the first report for {} was a duplicate", key(breaker)));
    }
    if luck(20)
        && let Some(again) = world.expect("Report again", service.report(report).await, &[])
        && again.result() == ReportResult::Counted
    {
        world.violation(format!("a permit of {} counted twice", key(breaker)));
    }
}

fn check_same_answer(world: &World, breaker: usize, first: &AcquireResponse, again: &AcquireResponse) {
    let both_permitted = [first, again].iter().all(|answer| answer.decision() == Decision::Permitted);
    if both_permitted && first.generation == again.generation && first.permit != again.permit {
        world.violation(format!("the same request to {} got two permits", key(breaker)));
    }
}

// ---- Sessions ----------------------------------------------------------------------------------------------------------

/// A permit that a session brought and no report has used yet.
struct Held {
    breaker: usize,
    permit: Bytes,
    probe: bool,
}

/// One session after the other, each for a few seconds; permits outlive the session that brought them.
async fn sessions(world: Arc<World>, number: usize) -> Result<()> {
    let mut held = VecDeque::new();
    while !world.is_stopped() {
        bump(&world.counters().sessions);
        session(&world, number, &mut held).await?;
    }
    Ok(())
}

async fn session(world: &World, number: usize, held: &mut VecDeque<Held>) -> Result<()> {
    let by_handle = number.is_multiple_of(2);
    let until = Instant::now() + between(1_000, 15_000);
    let (frames, outbound) = mpsc::channel(FRAMES_OUT);
    let introductions = (0..BREAKERS).map(|breaker| Introduction { handle: breaker as u32 + 1, breaker: key(breaker) });
    let hello = SessionRequest {
        caller: format!("campaign/s{number}"),
        introductions: if by_handle { introductions.collect() } else { Vec::new() },
        ..SessionRequest::default()
    };
    frames.send(hello).await?;
    let mut inbound = world.service().await?.session(ReceiverStream::new(outbound)).await?.into_inner();
    inbound.message().await?.ok_or("the session ended at its first frame")?;

    // The items of each frame that is out, by number; for an Acquire its breaker.
    let mut out: VecDeque<HashMap<u64, Option<usize>>> = VecDeque::new();
    let mut last_number = 0;
    while Instant::now() < until && !world.is_stopped() {
        while out.len() < FRAMES_OUT {
            let (frame, items) = frame(world, held, by_handle, &mut last_number);
            frames.send(frame).await?;
            out.push_back(items);
        }
        let Some(answer) = inbound.message().await? else { return Err("the session ended without a goodbye".into()) };
        if answer.goodbye.is_some() {
            return Ok(());
        }
        take_answer(world, &mut out, answer, held);
        time::sleep(Duration::from_millis(2)).await;
    }
    if luck(500) {
        return Ok(()); // Broken off, with frames in flight.
    }
    drop(frames);
    while let Some(answer) = inbound.message().await? {
        take_answer(world, &mut out, answer, held);
    }
    if !out.is_empty() {
        world.violation(format!("{} frames of a session that ended well have no answer", out.len()));
    }
    Ok(())
}

fn frame(
    world: &World,
    held: &mut VecDeque<Held>,
    by_handle: bool,
    last_number: &mut u64,
) -> (SessionRequest, HashMap<u64, Option<usize>>) {
    let name = |breaker: usize| if by_handle { (breaker as u32 + 1, String::new()) } else { (0, key(breaker)) };
    let (mut frame, mut items) = (SessionRequest::default(), HashMap::new());
    let mut next_number = || {
        *last_number += 1;
        *last_number
    };
    for Held { breaker, permit, probe } in held.drain(..) {
        if probe {
            world.give_back_probe(breaker);
        }
        let (number, (handle, breaker_key)) = (next_number(), name(breaker));
        let (outcome, duration) = world.call(breaker);
        frame.reports.push(SessionReport {
            number,
            handle,
            breaker: breaker_key,
            permit,
            outcome: outcome.into(),
            duration: duration.try_into().ok(),
            ..SessionReport::default()
        });
        items.insert(number, None);
    }
    for _ in 0..FRAME_ACQUIRES {
        let breaker = any_breaker();
        let (number, (handle, breaker_key)) = (next_number(), name(breaker));
        frame.acquires.push(SessionAcquire { number, handle, breaker: breaker_key, ..SessionAcquire::default() });
        items.insert(number, Some(breaker));
    }
    (frame, items)
}

/// Each frame is answered by one frame that answers each of its items; frames are answered in any order.
fn take_answer(
    world: &World,
    out: &mut VecDeque<HashMap<u64, Option<usize>>>,
    answer: SessionResponse,
    held: &mut VecDeque<Held>,
) {
    for error in &answer.errors {
        world.violation(format!("an item of a session failed: {error:?}"));
    }
    let reported = answer.reported.iter().map(|item| item.number);
    let numbers: Vec<u64> = answer.acquired.iter().map(|item| item.number).chain(reported).collect();
    let Some(index) = out.iter().position(|items| numbers.iter().all(|number| items.contains_key(number))) else {
        world.violation("a session's answer is to no frame that is out".to_owned());
        return;
    };
    let items = out.remove(index).unwrap_or_default();
    if items.len() != numbers.len() {
        world.violation(format!("{} items of a session got {} answers", items.len(), numbers.len()));
    }
    world.counters().reports.fetch_add(answer.reported.len() as u64, Relaxed);
    for acquired in answer.acquired {
        let Some(Some(breaker)) = items.get(&acquired.number).copied() else { continue };
        if acquired.decision() == Decision::Rejected {
            bump(&world.counters().rejected);
            continue;
        }
        bump(&world.counters().permitted);
        let probe = is_probe(acquired.state(), acquired.override_mode());
        if probe {
            world.hold_probe(breaker);
        }
        held.push_back(Held { breaker, permit: acquired.permit, probe });
    }
}

// ---- Batches -----------------------------------------------------------------------------------------------------------

/// A client that decides by itself and tells in batches.
async fn batches(world: Arc<World>, number: usize) -> Result<()> {
    let mut service = world.service().await?;
    let client_id = format!("campaign-{number}");
    let mut generations = HashMap::new();
    for breaker in 0..BREAKERS {
        let state = service.get_state(GetStateRequest { breaker: key(breaker) }).await;
        if let Some(state) = world.expect("GetState", state, &[Code::NotFound]) {
            generations.insert(key(breaker), state.status.unwrap_or_default().generation);
        }
    }
    for batch_sequence in 1.. {
        if world.is_stopped() {
            break;
        }
        let tallies = (0..BATCH_TALLIES).map(|_| tally(&world, &generations)).collect();
        let request = ReportBatchRequest { client_id: client_id.clone(), batch_sequence, tallies };
        let Some(answer) = world.expect("ReportBatch", service.report_batch(request.clone()).await, &[]) else {
            continue;
        };
        bump(&world.counters().batches);
        if answer.duplicate || answer.counted + answer.stale != BATCH_TALLIES as u32 {
            world.violation(format!("a batch of {BATCH_TALLIES} was answered {answer:?}"));
        }
        for status in answer.changed {
            generations.insert(status.breaker, status.generation);
        }
        if luck(100)
            && let Some(again) = world.expect("ReportBatch again", service.report_batch(request).await, &[])
            && !again.duplicate
        {
            world.violation("a batch counted twice".to_owned());
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn tally(world: &World, generations: &HashMap<String, u64>) -> Tally {
    let breaker = any_breaker();
    let mut tally = Tally {
        breaker: key(breaker),
        generation: generations.get(&key(breaker)).copied().unwrap_or_default(),
        ..Tally::default()
    };
    match world.call(breaker).0 {
        Outcome::Failure => (tally.failures, tally.trailing_failures) = (1, 1),
        Outcome::Timeout => (tally.timeouts, tally.trailing_failures) = (1, 1),
        Outcome::Success => tally.successes = 3,
        _ => tally.ignored = 1,
    }
    tally
}
