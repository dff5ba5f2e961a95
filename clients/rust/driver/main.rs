//! The conformance driver: reads commands from standard input, one JSON object a line, and answers on standard output.
//! `clients/conformance/README.md` describes them.

mod command;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use fuseboard_client::{
    Breaker, CallError, Client, Error, Event, Outcome, Permit, Rejection, Report, internal::local_breaker,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    sync::{Mutex, mpsc},
    time::Instant,
};

use command::{Command, ms};

type Answer = Result<Value, Box<dyn std::error::Error + Send + Sync>>;

/// A client with what is remembered of it.
struct Driven {
    client: Client,
    /// Its time in nanoseconds, where that moves by command only.
    manual: Arc<AtomicU64>,
    events: Arc<Mutex<Vec<Event>>>,
}

#[derive(Default)]
struct Driver {
    clients: Mutex<HashMap<String, Arc<Driven>>>,
    permits: Mutex<HashMap<String, Permit>>,
}

#[tokio::main]
async fn main() {
    let driver = Arc::new(Driver::default());
    let (answers, mut answered) = mpsc::channel::<Value>(1_000);
    let printer = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(answer) = answered.recv().await {
            out.write_all(format!("{answer}\n").as_bytes()).await.expect("standard output takes it");
            out.flush().await.expect("standard output takes it");
        }
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (driver, answers) = (Arc::clone(&driver), answers.clone());
        tokio::spawn(async move {
            let answer = match serde_json::from_str::<Command>(&line) {
                Err(error) => json!({"id": null, "error": error.to_string()}),
                Ok(command) => match driver.run(&command).await {
                    Ok(ok) => json!({"id": command.id, "ok": ok}),
                    Err(error) => json!({"id": command.id, "error": error.to_string()}),
                },
            };
            let _ = answers.send(answer).await;
        });
    }
    for driven in driver.clients.lock().await.values() {
        driven.client.close().await;
    }
    drop(answers);
    let _ = tokio::time::timeout(Duration::from_secs(1), printer).await;
}

impl Driver {
    async fn run(&self, command: &Command) -> Answer {
        match command.what.as_str() {
            "client" => return self.make_client(command).await,
            "local" => return play_local(command),
            "report" | "forget" => return self.report(command).await,
            _ => {}
        }
        let driven = self.clients.lock().await.get(&command.client).cloned();
        let driven = driven.ok_or_else(|| format!("there is no client {:?}", command.client))?;
        match command.what.as_str() {
            "ready" => {
                let is_ready = driven.client.ready(ms(command.timeout_ms)).await.is_ok();
                return Ok(json!({"ready": is_ready}));
            }
            "advance" => {
                let nanos = u64::try_from(ms(command.ms).as_nanos())?;
                driven.manual.fetch_add(nanos, SeqCst);
                return Ok(json!({}));
            }
            "events" => return Ok(events_of(&driven.events.lock().await)),
            "stats" => return Ok(stats_of(&driven.client)),
            "close" => {
                let start = Instant::now();
                driven.client.close().await;
                return Ok(json!({"elapsed_ms": in_ms(start.elapsed())}));
            }
            _ => {}
        }
        let breaker = driven.client.breaker(&command.breaker, command.options.breaker()?)?;
        match command.what.as_str() {
            "breaker" => Ok(json!({})),
            "acquire" => self.acquire(command, &breaker).await,
            "execute" => Ok(execute(command, &breaker).await),
            "view" => Ok(view_of(&breaker)),
            "state" => state_of(&breaker).await,
            "reset" => not_found(breaker.reset(&command.reason).await.map(|()| json!({}))),
            other => Err(format!("there is no command {other:?}").into()),
        }
    }

    async fn make_client(&self, command: &Command) -> Answer {
        let mut options = command.options.client()?;
        let manual = Arc::new(AtomicU64::new(1_000_000_000));
        if command.manual_time {
            let manual = Arc::clone(&manual);
            options.clock = Some(Arc::new(move || Duration::from_nanos(manual.load(SeqCst))));
        }
        let client = Client::new(options)?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let (heard, mut subscription) = (Arc::clone(&events), client.subscribe());
        tokio::spawn(async move {
            while let Some(event) = subscription.recv().await {
                heard.lock().await.push(event);
            }
        });
        self.clients.lock().await.insert(command.client.clone(), Arc::new(Driven { client, manual, events }));
        Ok(json!({}))
    }

    async fn acquire(&self, command: &Command, breaker: &Breaker) -> Answer {
        let start = Instant::now();
        let decision = breaker.acquire().await;
        let elapsed_ms = in_ms(start.elapsed());
        Ok(match decision {
            Ok(permit) => {
                let source = permit.source().as_str();
                self.permits.lock().await.insert(command.permit.clone(), permit);
                json!({"decision": "permitted", "source": source, "elapsed_ms": elapsed_ms})
            }
            Err(rejection) => {
                let mut answer = rejected(&rejection);
                answer["elapsed_ms"] = elapsed_ms.into();
                answer
            }
        })
    }

    async fn report(&self, command: &Command) -> Answer {
        // A permit that was reported is gone: reporting it twice does nothing.
        let Some(permit) = self.permits.lock().await.remove(&command.permit) else { return Ok(json!({})) };
        if command.what == "forget" {
            drop(permit);
        } else if command.wait {
            permit.report_and_wait(command.report()?).await;
        } else {
            permit.report(command.report()?);
        }
        Ok(json!({}))
    }
}

fn in_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn events_of(events: &[Event]) -> Value {
    let told = events.iter().map(|event| {
        json!({
            "kind": event.kind.as_str(), "breaker": event.breaker, "generation": event.generation,
            "sequence": event.sequence, "caller": event.caller, "lost": event.lost,
        })
    });
    json!({"events": told.collect::<Vec<_>>()})
}

fn stats_of(client: &Client) -> Value {
    let stats = client.stats();
    let by_source = |counts: fuseboard_client::Counts| {
        json!({
            "cached": counts.cached, "server": counts.server, "local": counts.local, "unavailable": counts.unavailable,
        })
    };
    json!({
        "permits": by_source(stats.permits), "rejections": by_source(stats.rejections), "reported": stats.reported,
        "dropped_reports": stats.dropped_reports, "dropped_rejections": stats.dropped_rejections,
        "unreported": stats.unreported, "stale_reports": stats.stale_reports,
        "reconnects": stats.reconnects, "resyncs": stats.resyncs, "staleness_ms": in_ms(stats.staleness),
        "usable": stats.usable,
    })
}

fn rejected(rejection: &Rejection) -> Value {
    json!({
        "decision": "rejected", "source": rejection.source.as_str(), "reason": rejection.reason.as_str(),
        "retry_after_ms": in_ms(rejection.retry_after), "state": rejection.state.map(|state| state.as_str()),
    })
}

fn view_of(breaker: &Breaker) -> Value {
    let view = breaker.view();
    json!({
        "state": view.state.map(|state| state.as_str()), "generation": view.generation, "fresh": view.is_fresh,
        "caller_state": view.caller_state.map(|state| state.as_str()),
        "override_mode": view.override_mode.map(|mode| mode.as_str()),
    })
}

async fn state_of(breaker: &Breaker) -> Answer {
    not_found(breaker.state().await.map(|status| {
        let totals = status.message.totals.unwrap_or_default();
        json!({
            "state": status.state.map(|state| state.as_str()), "generation": status.generation,
            "failures": status.failures, "successes": totals.successes, "total_failures": totals.failures,
            "rejected": totals.rejected, "stale": totals.stale,
        })
    }))
}

fn not_found(answer: Result<Value, Error>) -> Answer {
    match answer {
        Err(Error::NotFound(_)) => Ok(json!({"not_found": true})),
        other => Ok(other?),
    }
}

/// Plays the local breaker alone.
fn play_local(command: &Command) -> Answer {
    let policy = command.policy.as_ref().map(command::policy).transpose()?.unwrap_or_default();
    let mut local = local_breaker(&policy);
    let mut grants = HashMap::new();
    let mut results = Vec::new();
    for step in &command.steps {
        let now = ms(step.at_ms);
        if step.what == "acquire" {
            results.push(match local.acquire(now) {
                Ok(grant) => {
                    grants.insert(&step.permit, grant);
                    json!({"decision": "permitted"})
                }
                Err(no) => {
                    json!({"decision": "rejected", "reason": no.reason.as_str(), "retry_after_ms": in_ms(no.retry_after)})
                }
            });
        } else if let Some(grant) = grants.remove(&step.permit) {
            let outcome = command::outcome(&step.outcome)?;
            local.report(grant, if step.origin == "local" { Outcome::Ignored } else { outcome }, now);
        }
    }
    Ok(json!({"results": results}))
}

/// What a call came to, by its own means.
#[derive(Debug, PartialEq, Eq)]
struct Thrown(Arc<str>);

/// Calls as often as it is told, and tells of the last.
async fn execute(command: &Command, breaker: &Breaker) -> Value {
    let (mut last, mut longest, mut permitted, mut rejections) = (Value::Null, Duration::ZERO, 0, 0);
    for _ in 0..command.times.max(1) {
        let start = Instant::now();
        let (answer, was_permitted, was_rejected) = execute_once(command, breaker).await;
        longest = longest.max(start.elapsed());
        last = answer;
        permitted += u64::from(was_permitted);
        rejections += u64::from(was_rejected);
    }
    last["elapsed_ms"] = in_ms(longest).into();
    last["permitted"] = permitted.into();
    last["rejections"] = rejections.into();
    last
}

async fn execute_once(command: &Command, breaker: &Breaker) -> (Value, bool, bool) {
    let thrown = command.call.throws.as_deref().map(Arc::from);
    let (mut was_permitted, mut was_rejected) = (false, false);
    let call = async {
        was_permitted = true;
        if command.call.hangs_ms > 0.0 {
            tokio::time::sleep(ms(command.call.hangs_ms)).await;
        }
        match &thrown {
            Some(text) => Err(Thrown(Arc::clone(text))),
            None => Ok(command.call.returns.clone()),
        }
    };
    let classify = |result: &Result<Value, Thrown>| {
        let mut report = Report::of(result);
        if result.as_ref().is_err_and(|error| command.ignore.as_deref() == Some(&error.0)) {
            report.outcome = Outcome::Ignored;
        }
        if command.retry_after_ms > 0.0 {
            report.retry_after = Some(ms(command.retry_after_ms));
        }
        report
    };
    let result = match &command.fallback {
        // What has a classifier in the scenarios has no fallback.
        Some(answer) => {
            let fallback = |error: CallError<Thrown>| {
                was_rejected = error.rejection().is_some();
                std::future::ready(Ok(answer.clone()))
            };
            breaker.execute_or(call, fallback).await
        }
        None => breaker.execute_with(classify, call).await,
    };
    let answer = match result {
        Ok(value) => json!({"value": value}),
        Err(CallError::Rejected(rejection)) => {
            was_rejected = true;
            json!({"rejected": rejected(&rejection)})
        }
        Err(CallError::TimedOut(_)) => json!({"timed_out": true}),
        Err(CallError::Failed(error)) => {
            // The very one: it holds the same text in the same place.
            let is_same = thrown.as_ref().is_some_and(|text| Arc::ptr_eq(text, &error.0));
            json!({"threw": &*error.0, "is_same_error": is_same})
        }
    };
    (answer, was_permitted, was_rejected)
}
