//! What is looked at when a server has started, before it is used again.

use std::time::Instant;

use fuseboard::pb::{
    AcquireRequest, Decision, GetPolicyRequest, GetServerInfoRequest, GetStateRequest, GetStateResponse,
    ListEventsRequest, Outcome, ReportResult, State,
};

use crate::{
    load,
    world::{self, BARE, COUNTED, DECLARED, GONE, HELD, Heard, Life, MOVING},
};

/// Events of a page.
const PAGE: u32 = 500;
/// Events that are read once more though they were checked before.
const OVERLAP: u64 = 100;

/// Looks at everything, and changes nothing: the newest event. `None`: the server was gone before the end.
///
/// Nobody follows the server yet: what it does by itself meanwhile is told to nobody before it is looked at.
pub(crate) async fn look(life: &Life, checked: u64, killed: Option<Instant>) -> Option<u64> {
    let info = life.ask("GetServerInfo", &[], life.operator.clone().get_server_info(GetServerInfoRequest {})).await;
    let info = info.answer()?;
    life.ledger().check_now(info.now);
    life.ledger().check_log(&info.history, info.newest_sequence);
    if !info.store_healthy || !info.store_problem.is_empty() || !info.store_damage.is_empty() {
        let store = (info.store_healthy, info.store_problem, info.store_damage);
        life.ledger().violation(format!("the store is not well: {store:?}"));
    }
    breakers(life, killed).await?;
    registers(life).await?;
    events(life, checked, info.newest_sequence).await?;
    Some(info.newest_sequence)
}

/// Goes on with what was begun in another life. `None`: the server was gone before the end.
pub(crate) async fn go_on(life: &Life) -> Option<()> {
    permits(life).await?;
    probes(life).await?;
    batches(life).await
}

/// Reads the newest events backwards, to below what was checked.
async fn events(life: &Life, checked: u64, newest: u64) -> Option<()> {
    let stop = checked.saturating_sub(OVERLAP);
    let mut request = ListEventsRequest { newest_first: true, page_size: PAGE, ..ListEventsRequest::default() };
    let mut above = None;
    loop {
        let page = life.ask("ListEvents", &[], life.operator.clone().list_events(request.clone())).await.answer()?;
        let mut ledger = life.ledger();
        for event in &page.events {
            if above.is_some_and(|above| event.sequence + 1 != above) {
                ledger.violation(format!("the log has {} below {above:?}", event.sequence));
            }
            above = Some(event.sequence);
            ledger.observe(event);
        }
        if page.next_page_token.is_empty() || above.is_some_and(|above| above <= stop) {
            break;
        }
        request.page_token = page.next_page_token;
    }
    life.ledger().check_complete(newest);
    Some(())
}

async fn state(life: &Life, breaker: String) -> Heard<GetStateResponse> {
    let request = GetStateRequest { breaker };
    life.ask("GetState", &["BREAKER_NOT_FOUND"], life.service.clone().get_state(request)).await
}

/// Breakers are where they were told to be.
async fn breakers(life: &Life, killed: Option<Instant>) -> Option<()> {
    let moving = (0..MOVING).map(|number| (world::moving(number), world::probes(number)));
    let held = (0..HELD).map(|number| (world::held(number), 1));
    let declared = (0..DECLARED).map(|number| (world::declared(number), 1));
    for (breaker, probes) in moving.chain(held).chain(declared) {
        match state(life, breaker.clone()).await {
            Heard::Answer(answer) => life.ledger().check_state(&breaker, &answer, probes),
            Heard::Refused if life.ledger().generation(&breaker) > 0 => {
                life.ledger().violation(format!("{breaker} was there, and is not known"));
            }
            Heard::Refused => {}
            Heard::Unknown => return None,
        }
    }
    for number in 0..BARE {
        let breaker = world::bare(number);
        let request = AcquireRequest { breaker: breaker.clone(), ..AcquireRequest::default() };
        let answer = life.ask("Acquire", &[], life.service.clone().acquire(request)).await.answer()?;
        let mut ledger = life.ledger();
        let told = ledger.generation(&breaker);
        if answer.generation < told {
            ledger.violation(format!("{breaker} was told in generation {told}, and is in {}", answer.generation));
        }
        ledger.tell_state(&breaker, answer.generation, answer.state());
    }
    for number in 0..COUNTED {
        let breaker = world::counted(number);
        match state(life, breaker.clone()).await {
            Heard::Answer(answer) => {
                let totals = answer.totals.unwrap_or_default();
                let mut ledger = life.ledger();
                ledger.check_state(&breaker, &answer, 1);
                ledger.check_count(&breaker, totals.successes, killed);
            }
            Heard::Refused if life.ledger().generation(&breaker) > 0 => {
                life.ledger().violation(format!("{breaker} was there, and is not known"));
            }
            Heard::Refused => {}
            Heard::Unknown => return None,
        }
    }
    Some(())
}

/// What operators and services wrote is in force.
async fn registers(life: &Life) -> Option<()> {
    for number in 0..HELD {
        let forced = match state(life, world::held(number)).await {
            Heard::Answer(answer) => {
                let threshold =
                    answer.policy.and_then(|policy| policy.policy).and_then(|policy| policy.failure_threshold);
                let request = GetPolicyRequest { pattern: format!("{}*", world::held(number)) };
                let policy = policy(life, request).await?;
                if policy
                    .as_ref()
                    .is_some_and(|set| threshold.map(|threshold| threshold.to_string()).as_ref() != Some(set))
                {
                    life.ledger().violation(format!(
                        "the policy set for {} has {policy:?}, and in force is {threshold:?}",
                        world::held(number)
                    ));
                }
                life.ledger().check_value(&format!("policy {number}"), &policy.unwrap_or_default());
                answer.r#override.map_or_else(String::new, |forced| forced.reason)
            }
            Heard::Refused => String::new(),
            Heard::Unknown => return None,
        };
        life.ledger().check_value(&format!("override {number}"), &forced);
    }
    for number in 0..DECLARED {
        let revision = match state(life, world::declared(number)).await {
            Heard::Answer(answer) => answer.policy.unwrap_or_default().declared_revision.to_string(),
            Heard::Refused => String::new(),
            Heard::Unknown => return None,
        };
        life.ledger().check_value(&format!("declaration {number}"), &revision);
    }
    for number in 0..GONE {
        let existence = match state(life, world::gone(number)).await {
            Heard::Answer(answer) => {
                life.ledger().check_state(&world::gone(number), &answer, 1);
                "exists"
            }
            Heard::Refused => "",
            Heard::Unknown => return None,
        };
        life.ledger().check_value(&format!("existence {number}"), existence);
    }
    Some(())
}

/// The threshold of a policy that was set, if one is.
async fn policy(life: &Life, request: GetPolicyRequest) -> Option<Option<String>> {
    match life.ask("GetPolicy", &["POLICY_NOT_FOUND"], life.operator.clone().get_policy(request)).await {
        Heard::Answer(answer) => {
            let policy = answer.entry.and_then(|entry| entry.policy).unwrap_or_default();
            Some(policy.failure_threshold.map(|threshold| threshold.to_string()))
        }
        Heard::Refused => Some(None),
        Heard::Unknown => None,
    }
}

/// Permits of closed breakers do not outlive the server.
async fn permits(life: &Life) -> Option<()> {
    let permits = std::mem::take(&mut life.ledger().permits);
    for (breaker, permit) in permits {
        let answer = load::report(life, &breaker, permit, Outcome::Failure).await?;
        let mut ledger = life.ledger();
        ledger.figures.closed_permits_over_restart += 1;
        if answer.result() != ReportResult::Stale {
            ledger.violation(format!("a permit of {breaker} from before the restart is {:?}", answer.result()));
        }
    }
    Some(())
}

/// Probes that were out get the same answer, and are good for one report.
async fn probes(life: &Life) -> Option<()> {
    let probes = life.ledger().probes.clone();
    // The others stay out for whoever comes next.
    for (index, probe) in probes.into_iter().enumerate().filter(|(_, probe)| !probe.reporting) {
        let Some(number) = (0..MOVING).find(|number| world::moving(*number) == probe.breaker) else { continue };
        let Heard::Answer(now) = state(life, probe.breaker.clone()).await else { return None };
        let status = now.status.unwrap_or_default();
        life.ledger().tell_status(&status);
        if status.generation != probe.generation || probe.leased_until < Instant::now() {
            continue;
        }
        if status.state() != State::HalfOpen {
            life.ledger().violation(format!(
                "{} is {:?} in the generation of {probe:?}",
                probe.breaker,
                status.state()
            ));
        }
        let request = AcquireRequest {
            breaker: probe.breaker.clone(),
            request_id: probe.request_id.clone(),
            ..AcquireRequest::default()
        };
        let answer = load::acquire(life, number, &request).await?;
        life.ledger().asked_again(answer.decision() == Decision::Permitted && answer.permit == probe.permit);
        if index % 2 == 0 {
            report_twice(life, &probe.permit, &probe.breaker).await?;
        }
    }
    Some(())
}

async fn report_twice(life: &Life, permit: &str, breaker: &str) -> Option<()> {
    load::report_probe(life, permit, Outcome::Success).await;
    if life.is_over() {
        return None;
    }
    let again = load::report(life, breaker, permit.to_owned(), Outcome::Success).await?;
    if again.result() == ReportResult::Counted {
        life.ledger().violation(format!("a probe of {breaker} counted twice"));
    }
    Some(())
}

/// Batches of the life before, sent again, count once.
async fn batches(life: &Life) -> Option<()> {
    for number in 0..COUNTED {
        let breaker = world::counted(number);
        let before = match state(life, breaker.clone()).await {
            Heard::Answer(before) => before,
            Heard::Refused => continue,
            Heard::Unknown => return None,
        };
        let before_count = before.totals.unwrap_or_default().successes;
        let generation = before.status.unwrap_or_default().generation;
        let sent = life.ledger().batches_before(&breaker);
        let was_sent = !sent.is_empty();
        // Up to here they were duplicates.
        let mut marked = 0;
        for (sequence, calls) in sent {
            match load::send_batch(life, number, sequence, calls, generation).await? {
                Some(true) => {}
                Some(false) => marked = sequence,
                None => {
                    life.ledger().violation(format!("the batch {sequence} for {breaker} is stale in its generation"))
                }
            }
        }
        let Heard::Answer(after) = state(life, breaker.clone()).await else { return None };
        let after_count = after.totals.unwrap_or_default().successes;
        let too = match state(life, world::counted_too(number)).await {
            Heard::Answer(too) => too,
            Heard::Refused => {
                // A server that dies while it declares them leaves the one without the other, and then no batch was sent.
                if was_sent {
                    life.ledger().violation(format!("batches told of {breaker} and its double, which is not known"));
                }
                continue;
            }
            Heard::Unknown => return None,
        };
        let too_count = too.totals.unwrap_or_default().successes;
        let mut ledger = life.ledger();
        if too_count != after_count {
            ledger.violation(format!("each batch tells the same of two breakers: {after_count} and {too_count}"));
        }
        ledger.check_resent(&breaker, before_count, marked, after_count);
        ledger.begin_batches(&breaker, generation);
    }
    Some(())
}
