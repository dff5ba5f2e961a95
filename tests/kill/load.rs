//! Services and operators that use the server until it is gone.

use std::time::{Duration, Instant};

use fuseboard::pb::{
    AcquireRequest, AcquireResponse, ClearOverrideRequest, Decision, Declaration, DeclareRequest, DeleteBreakerRequest,
    DeletePolicyRequest, Outcome, OverrideMode, Policy, ReportBatchRequest, ReportRequest, ReportResponse,
    ReportResult, ResetRequest, SetOverrideRequest, SetPolicyRequest, State, Tally,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time};

use crate::{
    ledger::Probe,
    world::{self, BARE, COUNTED, DECLARED, GONE, HELD, Heard, LEASE, Life, MOVING},
};

const CALLERS: u64 = 4;
const OPERATORS: usize = 2;
/// Closed permits that are kept for a later life.
const PERMITS_MAX: usize = 8;

/// Everybody who uses the server, until the life is over.
pub(crate) fn start(life: &Life, seed: u64) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut seeds = (seed..).map(StdRng::seed_from_u64);
    let mut rng = || seeds.next().expect("there is always another");
    for number in 0..CALLERS {
        tasks.spawn(call(life.clone(), rng(), number));
    }
    for number in 0..OPERATORS {
        tasks.spawn(operate(life.clone(), rng(), number));
    }
    for number in 0..COUNTED {
        tasks.spawn(count(life.clone(), rng(), number));
    }
    tasks
}

// ---- Callers -----------------------------------------------------------------------------------------------------------

async fn call(life: Life, mut rng: StdRng, number: u64) {
    while !life.is_over() {
        let breaker = rng.random_range(0..MOVING + BARE);
        match rng.random_range(0..100) {
            0..4 if breaker < MOVING => reset(&life, breaker).await,
            4..8 if breaker < MOVING => trip_by_batch(&life, breaker, number, rng.random()).await,
            8..20 => report_held(&life, &mut rng).await,
            _ if breaker < MOVING => one_call(&life, &mut rng, breaker).await,
            _ => bare_call(&life, &mut rng, breaker - MOVING).await,
        }
        time::sleep(Duration::from_micros(rng.random_range(0..2_000))).await;
    }
}

fn acquire_request(breaker: String, rng: &mut StdRng) -> AcquireRequest {
    AcquireRequest { breaker, request_id: format!("{:032x}", rng.random::<u128>()), ..AcquireRequest::default() }
}

/// A call to a breaker that trips.
async fn one_call(life: &Life, rng: &mut StdRng, number: usize) {
    let request = acquire_request(world::moving(number), rng);
    let Some(answer) = acquire(life, number, &request).await else { return };
    if answer.decision() == Decision::Rejected {
        return;
    }
    if answer.state() == State::Closed && life.ledger().permits.len() < PERMITS_MAX && rng.random_range(0..10) == 0 {
        return life.ledger().permits.push((request.breaker, answer.permit));
    }
    let is_probe = answer.state() == State::HalfOpen;
    if is_probe && rng.random_range(0..3) == 0 {
        return; // Somebody reports it later, maybe in another life.
    }
    let fails = rng.random_range(0..100) < if is_probe { 30 } else { 60 };
    let outcome = if fails { Outcome::Failure } else { Outcome::Success };
    if is_probe {
        report_probe(life, &answer.permit, outcome).await;
    } else {
        report(life, &request.breaker, answer.permit, outcome).await;
    }
}

/// Asks, and tells the ledger what was answered.
pub(crate) async fn acquire(life: &Life, number: usize, request: &AcquireRequest) -> Option<AcquireResponse> {
    let asked = Instant::now();
    let answer = life.ask("Acquire", &[], life.service.clone().acquire(request.clone())).await.answer()?;
    let mut ledger = life.ledger();
    ledger.figures.calls += 1;
    if answer.provisional {
        ledger.figures.provisional += 1;
        if answer.decision() != Decision::Rejected || answer.retry_after.is_none() {
            ledger.violation(format!("a provisional answer is no rejection with a retry_after: {answer:?}"));
        }
        return None;
    }
    ledger.tell_state(&request.breaker, answer.generation, answer.state());
    if answer.decision() == Decision::Permitted && answer.state() == State::HalfOpen {
        let probe = Probe {
            breaker: request.breaker.clone(),
            generation: answer.generation,
            permit: answer.permit.clone(),
            request_id: request.request_id.clone(),
            leased_until: asked + LEASE,
            reporting: false,
            life: ledger.life,
        };
        ledger.grant(probe, world::probes(number));
    }
    Some(answer)
}

/// A call to a breaker that nobody has declared, and that never fails.
async fn bare_call(life: &Life, rng: &mut StdRng, number: usize) {
    let request = acquire_request(world::bare(number), rng);
    let Some(answer) = life.ask("Acquire", &[], life.service.clone().acquire(request.clone())).await.answer() else {
        return;
    };
    life.ledger().tell_state(&request.breaker, answer.generation, answer.state());
    if answer.decision() == Decision::Rejected {
        return life.ledger().violation(format!("{} has never failed, and is {answer:?}", request.breaker));
    }
    if rng.random_range(0..4) == 0 && life.ledger().permits.len() < PERMITS_MAX {
        return life.ledger().permits.push((request.breaker, answer.permit));
    }
    report(life, &request.breaker, answer.permit, Outcome::Success).await;
}

/// Reports a permit, and tells the ledger what was answered.
pub(crate) async fn report(life: &Life, breaker: &str, permit: String, outcome: Outcome) -> Option<ReportResponse> {
    let request =
        ReportRequest { breaker: breaker.to_owned(), permit, outcome: outcome.into(), ..ReportRequest::default() };
    let answer = life.ask("Report", &[], life.service.clone().report(request)).await.answer()?;
    life.ledger().tell_state(breaker, answer.generation, answer.state());
    Some(answer)
}

/// Reports a probe of this life or another.
pub(crate) async fn report_probe(life: &Life, permit: &str, outcome: Outcome) {
    let Some(probe) = life.ledger().report(permit) else { return };
    let Some(answer) = report(life, &probe.breaker, probe.permit.clone(), outcome).await else { return };
    let mut ledger = life.ledger();
    ledger.probes.retain(|known| known.permit != permit);
    if probe.life != ledger.life {
        ledger.figures.probes_over_restart += 1;
    }
    match answer.result() {
        ReportResult::Counted if answer.generation == probe.generation && outcome == Outcome::Success => {
            ledger.count_success(&probe.breaker, probe.generation);
        }
        ReportResult::Counted => {}
        // It is of an older generation, or its lease may have ended.
        ReportResult::Stale if answer.generation != probe.generation || probe.leased_until < Instant::now() => {}
        _ => ledger.violation(format!("the first report of a leased probe is {answer:?}: {probe:?}")),
    }
}

/// Reports a probe that somebody has left.
async fn report_held(life: &Life, rng: &mut StdRng) {
    let permit = {
        let ledger = life.ledger();
        let held: Vec<&Probe> = ledger.probes.iter().filter(|probe| !probe.reporting).collect();
        if held.is_empty() {
            return;
        }
        held[rng.random_range(0..held.len())].permit.clone()
    };
    let outcome = if rng.random_range(0..3) == 0 { Outcome::Failure } else { Outcome::Success };
    report_probe(life, &permit, outcome).await;
}

async fn reset(life: &Life, number: usize) {
    let breaker = world::moving(number);
    let request = ResetRequest { breaker, reason: "kill".to_owned(), actor: "kill".to_owned() };
    let allowed = ["BREAKER_NOT_FOUND"];
    life.ledger().figures.writes += 1;
    if let Some(answer) = life.ask("Reset", &allowed, life.service.clone().reset(request)).await.answer() {
        life.ledger().tell_status(&answer.status.unwrap_or_default());
    }
}

/// Calls that a client decided on by itself, and that all failed.
async fn trip_by_batch(life: &Life, number: usize, client: u64, nonce: u64) {
    let breaker = world::moving(number);
    let generation = life.ledger().generation(&breaker);
    let tally = Tally { breaker, generation, failures: 3, trailing_failures: 3, ..Tally::default() };
    let request =
        ReportBatchRequest { client_id: format!("kill-{client}-{nonce:x}"), batch_sequence: 1, tallies: vec![tally] };
    if let Some(answer) = life.ask("ReportBatch", &[], life.service.clone().report_batch(request)).await.answer() {
        let mut ledger = life.ledger();
        answer.changed.iter().for_each(|status| ledger.tell_status(status));
    }
}

// ---- Batches -----------------------------------------------------------------------------------------------------------

/// A client that decides by itself and tells in batches, all of them good.
async fn count(life: Life, mut rng: StdRng, number: usize) {
    let breaker = world::counted(number);
    while !life.is_over() {
        let calls = rng.random_range(1..100);
        let (sequence, generation) = life.ledger().send_batch(&breaker, calls);
        let Some(answer) = send_batch(&life, number, sequence, calls, generation).await else { continue };
        life.ledger().batch_answered(&breaker, sequence);
        if answer != Some(true) {
            life.ledger().violation(format!("the new batch {sequence} for {breaker} was not counted: {answer:?}"));
        }
        if rng.random_range(0..8) == 0 {
            let breaker = if rng.random() { breaker.clone() } else { world::counted_too(number) };
            declare_counted(&life, &mut rng, breaker).await;
        }
        time::sleep(Duration::from_micros(rng.random_range(500..6_000))).await;
    }
}

/// Declares a breaker that batches count in, which is a commit in the generation that they count in.
async fn declare_counted(life: &Life, rng: &mut StdRng, breaker: String) {
    // The highest revision stands, and it has to be news.
    let revision = life.ledger().next_revision();
    let policy = Policy { failure_threshold: Some(rng.random_range(100..10_000)), ..Policy::default() };
    let mut service = life.service.clone();
    life.ask("Declare", &[], service.declare(declare_request(breaker, policy, revision))).await.answer();
}

/// Sends a batch. True: it was counted; false: it was a duplicate; nothing in it: it was stale.
pub(crate) async fn send_batch(
    life: &Life,
    number: usize,
    sequence: u64,
    calls: u64,
    generation: u64,
) -> Option<Option<bool>> {
    let tally = Tally { breaker: world::counted(number), generation, successes: calls as u32, ..Tally::default() };
    let generation = life.ledger().generation(&world::counted_too(number));
    let too = Tally { breaker: world::counted_too(number), generation, ..tally.clone() };
    let tallies = vec![tally, too];
    let request = ReportBatchRequest { client_id: format!("kill-{number}"), batch_sequence: sequence, tallies };
    let answer = life.ask("ReportBatch", &[], life.service.clone().report_batch(request)).await.answer()?;
    Some(match (answer.duplicate, answer.counted) {
        (true, _) => Some(false),
        (false, 2) => Some(true),
        (false, _) => None,
    })
}

// ---- Operators ---------------------------------------------------------------------------------------------------------

/// Each operator has things of its own, so that of each it knows what it wrote last.
async fn operate(life: Life, mut rng: StdRng, operator: usize) {
    let mine = |rng: &mut StdRng, count: usize| {
        let number = rng.random_range(0..count);
        (number % OPERATORS == operator).then_some(number)
    };
    while !life.is_over() {
        match rng.random_range(0..5) {
            0 | 1 => {
                let Some(number) = mine(&mut rng, HELD) else { continue };
                hold(&life, &mut rng, number).await;
            }
            2 => {
                let Some(number) = mine(&mut rng, HELD) else { continue };
                set_policy(&life, &mut rng, number).await;
            }
            3 => {
                let Some(number) = mine(&mut rng, DECLARED) else { continue };
                declare_again(&life, number).await;
            }
            _ => {
                let Some(number) = mine(&mut rng, GONE) else { continue };
                make_or_delete(&life, number).await;
            }
        }
        time::sleep(Duration::from_micros(rng.random_range(0..4_000))).await;
    }
}

/// Writes to a register: the value stands if it is answered, and the one before if it is refused.
async fn write<T>(life: &Life, name: &str, value: &str, request: impl Future<Output = Heard<T>>) -> Option<T> {
    let before = life.ledger().value(name);
    life.ledger().write(name, value);
    match request.await {
        Heard::Answer(answer) => {
            life.ledger().written(name, value);
            Some(answer)
        }
        Heard::Refused => {
            life.ledger().written(name, &before.unwrap_or_default());
            None
        }
        Heard::Unknown => None,
    }
}

/// Sets or clears an override; its reason tells it from all others.
async fn hold(life: &Life, rng: &mut StdRng, number: usize) {
    let (breaker, name) = (world::held(number), format!("override {number}"));
    let actor = || "kill".to_owned();
    let is_set = life.ledger().value(&name).is_some_and(|value| !value.is_empty());
    let status = if is_set && rng.random() {
        let request = ClearOverrideRequest { breaker, actor: actor(), reason: String::new(), ..Default::default() };
        let mut operator = life.operator.clone();
        let answer = write(life, &name, "", life.ask("ClearOverride", &[], operator.clear_override(request))).await;
        answer.map(|answer| answer.status)
    } else {
        let modes = [OverrideMode::ForcedOpen, OverrideMode::ForcedClosed, OverrideMode::Shadow];
        let reason = format!("{:016x}", rng.random::<u64>());
        let request = SetOverrideRequest {
            breaker,
            mode: modes[rng.random_range(0..3)].into(),
            actor: actor(),
            reason: reason.clone(),
            expire_after: None,
            ..Default::default()
        };
        let mut operator = life.operator.clone();
        let answer = write(life, &name, &reason, life.ask("SetOverride", &[], operator.set_override(request))).await;
        answer.map(|answer| answer.status)
    };
    if let Some(status) = status {
        life.ledger().tell_status(&status.unwrap_or_default());
    }
}

/// Sets or deletes the policy of a held breaker's pattern; its threshold tells it from others.
async fn set_policy(life: &Life, rng: &mut StdRng, number: usize) {
    let (pattern, name) = (format!("{}*", world::held(number)), format!("policy {number}"));
    let (actor, reason) = ("kill".to_owned(), "kill".to_owned());
    let mut operator = life.operator.clone();
    let is_set = life.ledger().value(&name).is_some_and(|value| !value.is_empty());
    if is_set && rng.random_range(0..3) == 0 {
        let request = DeletePolicyRequest { pattern, expected_version: None, actor, reason };
        write(life, &name, "", life.ask("DeletePolicy", &[], operator.delete_policy(request))).await;
    } else {
        let threshold = rng.random_range(10..10_000);
        let policy = Policy { failure_threshold: Some(threshold), ..Policy::default() };
        let request = SetPolicyRequest { pattern, policy: Some(policy), expected_version: None, actor, reason };
        let asked = life.ask("SetPolicy", &[], operator.set_policy(request));
        write(life, &name, &threshold.to_string(), asked).await;
    }
}

/// Declares the next revision, which its threshold tells.
async fn declare_again(life: &Life, number: usize) {
    let name = format!("declaration {number}");
    let revision = life.ledger().highest(&name) + 1;
    let policy = Policy { failure_threshold: Some(100 + revision as u32 % 9_000), ..Policy::default() };
    let request = declare_request(world::declared(number), policy, revision);
    let mut service = life.service.clone();
    let asked = life.ask("Declare", &[], service.declare(request));
    write(life, &name, &revision.to_string(), asked).await;
}

fn declare_request(breaker: String, policy: Policy, revision: u64) -> DeclareRequest {
    let declarations = vec![Declaration { breaker, policy: Some(policy), revision }];
    DeclareRequest { declarations, caller: String::new() }
}

/// Makes a breaker, or deletes it.
async fn make_or_delete(life: &Life, number: usize) {
    let (breaker, name) = (world::gone(number), format!("existence {number}"));
    let exists = life.ledger().value(&name).is_some_and(|value| !value.is_empty());
    if exists {
        let request = DeleteBreakerRequest { breaker, actor: "kill".to_owned(), reason: String::new() };
        let mut operator = life.operator.clone();
        write(life, &name, "", life.ask("DeleteBreaker", &[], operator.delete_breaker(request))).await;
        return;
    }
    let before = life.ledger().generation(&breaker);
    let request = declare_request(breaker.clone(), Policy::default(), 0);
    let mut service = life.service.clone();
    let asked = life.ask("Declare", &[], service.declare(request));
    let Some(answer) = write(life, &name, "exists", asked).await else { return };
    let status = answer.declared.into_iter().next().and_then(|declared| declared.status).unwrap_or_default();
    let mut ledger = life.ledger();
    if status.generation < before {
        ledger.violation(format!("{breaker} came anew in generation {}, after {before}", status.generation));
    }
    ledger.tell_status(&status);
}

/// Declares what the load is made for, where it is not known to be there. False: the life is over.
pub(crate) async fn prepare(life: &Life) -> bool {
    let moving = (0..MOVING).map(|number| (world::moving(number), world::moving_policy(number)));
    let counted = (0..COUNTED).map(|number| (world::counted(number), Policy::default()));
    let too = (0..COUNTED).map(|number| (world::counted_too(number), Policy::default()));
    let all = moving.chain(counted).chain(too).map(|(breaker, policy)| Declaration {
        breaker,
        policy: Some(policy),
        revision: 1,
    });
    let request = DeclareRequest { declarations: all.collect(), caller: String::new() };
    let Some(answer) = life.ask("Declare", &[], life.service.clone().declare(request)).await.answer() else {
        return false;
    };
    let mut ledger = life.ledger();
    for status in answer.declared.into_iter().filter_map(|declared| declared.status) {
        ledger.tell_status(&status);
        if status.breaker.starts_with("kill/counted/") && !status.breaker.ends_with("/too") {
            ledger.begin_batches(&status.breaker, status.generation);
        }
    }
    true
}
