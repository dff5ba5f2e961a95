//! Scenarios over gRPC, against the built server with a clock that stands still. Acquire, Report and ReportBatch go by
//! their own calls or through a Session; everything else is the same.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use fuseboard::breaker::policy::{TripOn, Voters};
use fuseboard::pb::{
    self, admin_service_client::AdminServiceClient, breaker_service_client::BreakerServiceClient,
    testing::clock_service_client::ClockServiceClient,
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{
    Acquire, Driver, Origin, Outcome, OverrideMode, Report, Tally,
    policy::{Expired, PolicyText, WindowText},
    sorted,
};

const DAY_NANOS: i128 = 24 * 3600 * 1_000_000_000;
/// How long a server may take to answer for the first time.
const START_MAX: Duration = Duration::from_secs(30);

/// A server of our own, which ends with this.
pub(crate) struct Server {
    process: Child,
    address: String,
}

impl Server {
    /// Starts the built binary on a free port.
    pub(crate) fn start() -> Self {
        // One at a time, so that no two are given the same port.
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(env!("CARGO_BIN_EXE_fuseboard"))
            .args(["serve", "--manual-clock", "--address", &address, "--http-address", "off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the built server");
        let mut server = Self { process, address };
        server.wait();
        server
    }

    #[expect(clippy::disallowed_methods, reason = "a server that starts does so in real time")]
    fn wait(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            assert!(started.elapsed() < START_MAX, "the server does not start");
            assert!(matches!(self.process.try_wait(), Ok(None)), "the server has ended");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client of the server, and the scenario that it plays.
pub(crate) struct Wire {
    runtime: Runtime,
    breakers: BreakerServiceClient<Channel>,
    admin: AdminServiceClient<Channel>,
    clock: ClockServiceClient<Channel>,
    session: Option<Session>,
    key: String,
    /// The server's time, and when the scenario started, in nanoseconds since the epoch.
    now: i128,
    start: i128,
    /// The generation that the scenario's breaker had first; 0 until it is known.
    first_generation: u64,
    batch_sequence: u64,
    /// The last event that was read.
    sequence: u64,
}

/// One stream for everything that services do. The breaker of the scenario has a handle on it.
struct Session {
    frames: mpsc::Sender<pb::SessionRequest>,
    answers: Streaming<pb::SessionResponse>,
    number: u64,
}

const HANDLE: u32 = 1;

impl Session {
    async fn open(client: &mut BreakerServiceClient<Channel>) -> Self {
        let (frames, requests) = mpsc::channel(1);
        let answers = client.session(ReceiverStream::new(requests)).await.expect("a session").into_inner();
        Self { frames, answers, number: 0 }
    }

    async fn ask(&mut self, frame: pb::SessionRequest) -> pb::SessionResponse {
        self.frames.send(frame).await.expect("the session goes on");
        let answer = self.answers.message().await.expect("the session goes on").expect("the session goes on");
        assert_eq!(answer.errors, [], "an item at fault");
        answer
    }
}

/// As it came: unary calls carry text, sessions bytes.
#[derive(Clone, PartialEq)]
pub(crate) enum WirePermit {
    Text(String),
    Bytes(prost::bytes::Bytes),
}

impl Wire {
    /// A client that sends each acquire and report as a call of its own.
    pub(crate) fn unary(server: &Server) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let endpoint = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
        let channel = runtime.block_on(endpoint.connect()).expect("a connection");
        Self {
            breakers: BreakerServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel.clone()),
            clock: ClockServiceClient::new(channel),
            runtime,
            session: None,
            key: String::new(),
            now: 0,
            start: 0,
            first_generation: 0,
            batch_sequence: 0,
            sequence: 0,
        }
    }

    /// A client that sends them through a session.
    pub(crate) fn session(server: &Server) -> Self {
        let mut wire = Self::unary(server);
        wire.session = Some(wire.runtime.block_on(Session::open(&mut wire.breakers)));
        wire
    }

    fn advance(&mut self, nanos: i128) {
        let request = pb::testing::AdvanceRequest { duration: proto_nanos(nanos) };
        let answer = self.runtime.block_on(self.clock.advance(request)).expect("time moves").into_inner();
        self.now = nanos_of(answer.now.as_ref()).expect("the server's time");
    }

    /// Counted from the scenario's first.
    fn generation(&mut self, generation: u64) -> u64 {
        if self.first_generation == 0 {
            self.first_generation = generation;
        }
        generation + 1 - self.first_generation
    }

    fn instant(&self, at: Option<&prost_types::Timestamp>) -> Option<f64> {
        nanos_of(at).map(|at| millis(at - self.start))
    }

    fn status(&mut self, status: Option<pb::BreakerStatus>) -> Value {
        let status = status.expect("a status");
        json!({
            "error": null,
            "state": name(status.state().as_str_name(), "STATE_"),
            "override_mode": name(status.override_mode().as_str_name(), "OVERRIDE_MODE_"),
            "generation": self.generation(status.generation),
            "state_since": self.instant(status.state_since.as_ref()),
            "state_until": self.instant(status.state_until.as_ref()),
            "override_expire_time": self.instant(status.override_expire_time.as_ref()),
            "failures": status.failures,
        })
    }

    fn caller(&self, status: &pb::CallerStatus) -> Value {
        json!({
            "caller": status.caller,
            "state": name(status.state().as_str_name(), "STATE_"),
            "generation": status.generation,
            "state_since": self.instant(status.state_since.as_ref()),
            "state_until": self.instant(status.state_until.as_ref()),
            "failures": status.failures,
        })
    }

    fn get_state(&mut self) -> pb::GetStateResponse {
        let request = pb::GetStateRequest { breaker: self.key.clone() };
        self.runtime.block_on(self.breakers.get_state(request)).expect("a state").into_inner()
    }

    fn declare(&mut self, policy: &PolicyText) -> Value {
        let declaration =
            pb::Declaration { breaker: self.key.clone(), policy: Some(proto_policy(policy)), revision: 0 };
        let request = pb::DeclareRequest { declarations: vec![declaration], caller: String::new() };
        let mut answer = self.runtime.block_on(self.breakers.declare(request)).expect("a declaration").into_inner();
        let declared = answer.declared.pop().expect("an answer for the declaration");
        self.status(declared.status)
    }

    fn event(&mut self, event: &pb::Event) -> Value {
        let evidence = event.evidence.as_ref();
        let scope = event.status.as_ref().and_then(|status| status.caller.as_ref());
        let parts = |parts: &[pb::CallerEvidence]| {
            let part = |part: &pb::CallerEvidence| json!({ "caller": part.caller, "calls": part.calls, "failures": part.failures });
            sorted(parts.iter().map(part).collect())
        };
        json!({
            "caller": scope.map(|scope| self.caller(scope)),
            "kind": name(event.kind().as_str_name(), "EVENT_KIND_"),
            "from": name(event.from().as_str_name(), "STATE_"),
            "to": name(event.to().as_str_name(), "STATE_"),
            "reason": name(event.reason().as_str_name(), "EVENT_REASON_"),
            "rule": evidence.and_then(|evidence| name(evidence.rule().as_str_name(), "TRIP_RULE_")),
            "generation": self.generation(event.generation),
            "at": self.instant(event.event_time.as_ref()),
            "evidence": evidence.map(|evidence| json!({
                "consecutive_failures": evidence.consecutive_failures,
                "window": counts(evidence.window.as_ref()),
                "threshold": evidence.threshold,
                "probe_successes": evidence.probe_successes,
                "probe_failures": evidence.probe_failures,
                "open_duration": span(evidence.open_duration.as_ref()),
                "retry_after_applied": evidence.retry_after_applied,
                "failed_recoveries": evidence.failed_recoveries,
                "caller": evidence.caller,
                "error_class": evidence.error_class,
                "quorum": evidence.quorum,
                "known_callers": evidence.known_callers,
                "callers": parts(&evidence.callers),
                "stood_without": parts(&evidence.stood_without),
            })),
        })
    }
}

impl Driver for Wire {
    type Permit = WirePermit;
    const IS_SERVER: bool = true;

    fn begin(&mut self, key: &str, policy: Option<&PolicyText>) {
        // Where it ended the scenario before, a breaker may go on moving by itself, for as long as time is moved.
        if !self.key.is_empty() {
            let request = pb::DeleteBreakerRequest { breaker: self.key.clone(), ..Default::default() };
            self.runtime.block_on(self.admin.delete_breaker(request)).expect("a breaker to delete");
        }
        self.advance(0);
        self.start = (self.now / DAY_NANOS + 1) * DAY_NANOS;
        self.advance(self.start - self.now);
        self.key = key.into();
        (self.first_generation, self.sequence) = (0, 0);
        if let Some(policy) = policy {
            self.declare(policy);
        }
        if let Some(session) = &mut self.session {
            let introductions = vec![pb::Introduction { handle: HANDLE, breaker: key.into() }];
            self.runtime.block_on(session.ask(pb::SessionRequest { introductions, ..Default::default() }));
        }
    }

    fn move_to(&mut self, at: Duration) {
        let at = self.start + i128::try_from(at.as_nanos()).expect("a short timeline");
        if at > self.now {
            self.advance(at - self.now);
        }
    }

    fn acquire(&mut self, acquire: &Acquire) -> (Value, Option<WirePermit>) {
        let (caller, request_id) = (acquire.caller.clone(), acquire.request_id.clone());
        let lease = acquire.lease.and_then(proto_span);
        let (answer, permit) = if let Some(session) = &mut self.session {
            session.number += 1;
            let number = session.number;
            let breaker = String::new();
            let acquires = vec![pb::SessionAcquire { number, handle: HANDLE, breaker, caller, request_id, lease }];
            let frame = pb::SessionRequest { acquires, ..Default::default() };
            let mut answer = self.runtime.block_on(session.ask(frame));
            let answer = answer.acquired.pop().expect("an answer");
            assert_eq!(answer.number, number);
            let permit = WirePermit::Bytes(answer.permit.clone());
            let answer = pb::AcquireResponse {
                decision: answer.decision,
                state: answer.state,
                permit: String::new(),
                lease: answer.lease,
                reason: answer.reason,
                retry_after: answer.retry_after,
                generation: answer.generation,
                override_mode: answer.override_mode,
                caller_generation: answer.caller_generation,
                provisional: answer.provisional,
            };
            (answer, permit)
        } else {
            let request = pb::AcquireRequest { breaker: self.key.clone(), caller, request_id, lease };
            let answer = self.runtime.block_on(self.breakers.acquire(request)).expect("an answer").into_inner();
            let permit = WirePermit::Text(answer.permit.clone());
            (answer, permit)
        };
        let value = json!({
            "decision": name(answer.decision().as_str_name(), "DECISION_"),
            "state": name(answer.state().as_str_name(), "STATE_"),
            "lease": span(answer.lease.as_ref()),
            "reason": name(answer.reason().as_str_name(), "REJECTION_REASON_"),
            "retry_after": span(answer.retry_after.as_ref()),
            "generation": self.generation(answer.generation),
            "caller_generation": answer.caller_generation,
            "override_mode": name(answer.override_mode().as_str_name(), "OVERRIDE_MODE_"),
        });
        (value, (answer.decision() == pb::Decision::Permitted).then_some(permit))
    }

    fn report(&mut self, permit: &WirePermit, report: &Report) -> Value {
        let outcome = match report.outcome {
            Outcome::Success => pb::Outcome::Success,
            Outcome::Failure => pb::Outcome::Failure,
            Outcome::Timeout => pb::Outcome::Timeout,
            Outcome::Ignored => pb::Outcome::Ignored,
            Outcome::Cancelled => pb::Outcome::Cancelled,
        };
        let origin = match report.origin {
            Origin::Dependency => pb::Origin::Unspecified,
            Origin::Local => pb::Origin::Local,
        };
        let (outcome, origin) = (outcome.into(), origin.into());
        let duration = report.duration.and_then(proto_span);
        let retry_after = report.retry_after.and_then(proto_span);
        let error_class = report.error_class.clone();
        let answer = match (permit, &mut self.session) {
            (WirePermit::Text(permit), _) => {
                let (breaker, permit) = (self.key.clone(), permit.clone());
                let request =
                    pb::ReportRequest { breaker, permit, outcome, duration, error_class, retry_after, origin };
                self.runtime.block_on(self.breakers.report(request)).expect("an answer").into_inner()
            }
            (WirePermit::Bytes(permit), Some(session)) => {
                session.number += 1;
                let report = pb::SessionReport {
                    number: session.number,
                    handle: HANDLE,
                    breaker: String::new(),
                    permit: permit.clone(),
                    outcome,
                    duration,
                    error_class,
                    retry_after,
                    origin,
                };
                let frame = pb::SessionRequest { reports: vec![report], ..Default::default() };
                let answer = self.runtime.block_on(session.ask(frame)).reported.pop().expect("an answer");
                pb::ReportResponse {
                    result: answer.result,
                    state: answer.state,
                    generation: answer.generation,
                    override_mode: answer.override_mode,
                    caller_state: answer.caller_state,
                    caller_generation: answer.caller_generation,
                }
            }
            (WirePermit::Bytes(_), None) => unreachable!("a permit of a session without one"),
        };
        json!({
            "result": name(answer.result().as_str_name(), "REPORT_RESULT_"),
            "state": name(answer.state().as_str_name(), "STATE_"),
            "generation": self.generation(answer.generation),
            "override_mode": name(answer.override_mode().as_str_name(), "OVERRIDE_MODE_"),
            "caller_state": name(answer.caller_state().as_str_name(), "STATE_"),
            "caller_generation": answer.caller_generation,
        })
    }

    fn tally(&mut self, tally: &Tally) -> Value {
        let generation = match tally.generation {
            Some(generation) => self.first_generation - 1 + generation,
            None => self.get_state().status.expect("a status").generation,
        };
        let caller_generation = tally.caller_generation.unwrap_or_else(|| {
            let callers = self.get_state().callers.into_iter().filter_map(|caller| caller.status);
            callers.filter(|status| status.caller == tally.caller).map(|status| status.generation).sum()
        });
        let span = |span: Option<crate::support::policy::Span>| span.and_then(|span| proto_span(span.0));
        let counted = tally.counted();
        let tallies = vec![pb::Tally {
            breaker: self.key.clone(),
            caller: tally.caller.clone(),
            generation,
            caller_generation,
            age: span(tally.age),
            successes: counted.successes,
            failures: counted.failures,
            timeouts: tally.timeouts,
            slow: tally.slow,
            ignored: tally.ignored,
            rejections: tally.rejections,
            leading_failures: counted.leading_failures,
            longest_run: counted.longest_run,
            trailing_failures: counted.trailing_failures,
            local_failures: tally.local_failures,
            retry_after: span(tally.retry_after),
        }];
        self.batch_sequence += 1;
        // A batch that the scenario numbers is of a client that only this scenario has.
        let (client_id, batch_sequence) = match tally.batch_sequence {
            Some(sequence) => (self.key.clone(), sequence),
            None => ("scenarios".into(), self.batch_sequence),
        };
        let batch = pb::ReportBatchRequest { client_id, batch_sequence, tallies };
        let answer = if let Some(session) = &mut self.session {
            let batches = vec![pb::SessionBatch { number: 7, batch: Some(batch) }];
            let frame = pb::SessionRequest { batches, ..Default::default() };
            let answer = self.runtime.block_on(session.ask(frame)).batches.pop();
            answer.and_then(|answer| answer.response).expect("an answer")
        } else {
            self.runtime.block_on(self.breakers.report_batch(batch)).expect("an answer").into_inner()
        };
        json!({ "result": match (answer.duplicate, answer.counted, answer.stale) {
            (true, ..) => "duplicate",
            (false, 1, 0) => "counted",
            (false, 0, 1) => "stale",
            _ => panic!("one tally has one result: {answer:?}"),
        } })
    }

    fn watch(&mut self, caller: &str) -> Value {
        let filter = pb::WatchFilter { breakers: vec![self.key.clone()], ..Default::default() };
        let (filter, caller) = (Some(filter), caller.to_owned());
        let request = pb::WatchEventsRequest { filter, caller, ..Default::default() };
        let message = self.runtime.block_on(async {
            let mut stream = self.breakers.watch_events(request).await.expect("a watch").into_inner();
            stream.message().await.expect("a message").expect("a first message")
        });
        let Some(pb::watch_events_response::Message::Snapshot(mut snapshot)) = message.message else {
            panic!("a watch begins with a snapshot");
        };
        let status = snapshot.breakers.pop().expect("the breaker");
        let caller = status.caller.clone();
        let mut answer = self.status(Some(status));
        answer["caller"] = json!(caller.map(|caller| self.caller(&caller)));
        answer
    }

    fn reset(&mut self) -> Value {
        let request = pb::ResetRequest { breaker: self.key.clone(), ..Default::default() };
        let answer = self.runtime.block_on(self.breakers.reset(request)).expect("a reset").into_inner();
        self.status(answer.status)
    }

    fn probe_now(&mut self, caller: &str) -> Value {
        let request =
            pb::ProbeNowRequest { breaker: self.key.clone(), caller: caller.to_owned(), ..Default::default() };
        match self.runtime.block_on(self.admin.probe_now(request)).map(Response::into_inner) {
            Ok(answer) => self.status(answer.status),
            Err(status) => error(&status),
        }
    }

    fn set_override(&mut self, mode: OverrideMode, expire_after: Option<Duration>) -> Value {
        let mode = match mode {
            OverrideMode::ForcedOpen => pb::OverrideMode::ForcedOpen,
            OverrideMode::ForcedClosed => pb::OverrideMode::ForcedClosed,
            OverrideMode::Shadow => pb::OverrideMode::Shadow,
        };
        let request = pb::SetOverrideRequest {
            breaker: self.key.clone(),
            mode: mode.into(),
            actor: "operator".into(),
            reason: "a scenario".into(),
            expire_after: expire_after.and_then(proto_span),
            ..Default::default()
        };
        let answer = self.runtime.block_on(self.admin.set_override(request)).expect("an override").into_inner();
        self.status(answer.status)
    }

    fn clear_override(&mut self) -> Value {
        let request = pb::ClearOverrideRequest { breaker: self.key.clone(), ..Default::default() };
        match self.runtime.block_on(self.admin.clear_override(request)).map(Response::into_inner) {
            Ok(answer) => self.status(answer.status),
            Err(status) => error(&status),
        }
    }

    fn set_policy(&mut self, policy: &PolicyText) -> Value {
        self.declare(policy)
    }

    fn state(&mut self) -> Value {
        let state = self.get_state();
        let totals = state.totals.expect("totals");
        let mut answer = self.status(state.status);
        answer["window"] = counts(state.window.as_ref());
        answer["totals"] = json!({
            "opens": totals.opens,
            "closes": totals.closes,
            "successes": totals.successes,
            "failures": totals.failures,
            "timeouts": totals.timeouts,
            "ignored": totals.ignored,
            "rejected": totals.rejected,
            "stale": totals.stale,
            "expired": totals.expired,
            "bypassed": totals.bypassed,
            "local_failures": totals.local_failures,
            "last_open_time": self.instant(totals.last_open_time.as_ref()),
            "last_close_time": self.instant(totals.last_close_time.as_ref()),
            "last_success_time": self.instant(totals.last_success_time.as_ref()),
            "last_failure_time": self.instant(totals.last_failure_time.as_ref()),
        });
        answer["round"] = json!(state.round.map(|round| json!({
            "probes_out": round.probes_out,
            "successes": round.successes,
            "failures": round.failures,
        })));
        answer["failed_recoveries"] = json!(state.failed_recoveries);
        let callers = state.callers.iter().map(|numbers| {
            let mut caller = self.caller(numbers.status.as_ref().expect("a status"));
            caller["window"] = counts(numbers.window.as_ref());
            caller["totals"] = json!({
                "successes": numbers.successes,
                "failures": numbers.failures,
                "local_failures": numbers.local_failures,
                "rejected": numbers.rejected,
            });
            caller["seen_time"] = json!(self.instant(numbers.seen_time.as_ref()));
            caller
        });
        answer["callers"] = sorted(callers.collect());
        answer["known"] = json!(state.callers.len());
        answer["quorum"] = json!(state.quorum);
        answer
    }

    fn events(&mut self) -> Value {
        let request = pb::ListEventsRequest { breaker: self.key.clone(), page_size: 1000, ..Default::default() };
        let events = self.runtime.block_on(self.admin.list_events(request)).expect("events").into_inner().events;
        let known = self.sequence;
        let new: Vec<_> = events.into_iter().filter(|event| event.sequence > known).collect();
        self.sequence = new.last().map_or(known, |event| event.sequence);
        new.iter().map(|event| self.event(event)).collect()
    }
}

/// An enum's value as scenarios write it; null for the one that says nothing.
fn name(value: &str, prefix: &str) -> Option<String> {
    let name = value.strip_prefix(prefix).expect("the enum's prefix");
    (name != "UNSPECIFIED").then(|| name.to_lowercase())
}

fn error(status: &Status) -> Value {
    let details = status.get_error_details();
    json!({ "error": details.error_info().map(|info| info.reason.clone()) })
}

fn counts(counts: Option<&pb::WindowCounts>) -> Value {
    let counts = counts.expect("counts");
    json!({
        "successes": counts.successes,
        "failures": counts.failures,
        "timeouts": counts.timeouts,
        "slow": counts.slow,
    })
}

#[expect(clippy::cast_precision_loss, reason = "timelines are short")]
fn millis(nanos: i128) -> f64 {
    nanos as f64 / 1e6
}

fn span(span: Option<&prost_types::Duration>) -> Option<f64> {
    span.map(|span| millis(i128::from(span.seconds) * 1_000_000_000 + i128::from(span.nanos)))
}

fn nanos_of(at: Option<&prost_types::Timestamp>) -> Option<i128> {
    at.map(|at| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos))
}

fn proto_span(span: Duration) -> Option<prost_types::Duration> {
    Some(span.try_into().expect("a duration"))
}

fn proto_nanos(nanos: i128) -> Option<prost_types::Duration> {
    proto_span(Duration::from_nanos(nanos.try_into().expect("a short way")))
}

fn proto_policy(policy: &PolicyText) -> pb::Policy {
    let span = |span: Option<crate::support::policy::Span>| span.and_then(|span| proto_span(span.0));
    let expired = |expired: Option<Expired>| {
        let expired = match expired {
            Some(Expired::Failure) => pb::ExpiredPermit::Failure,
            Some(Expired::Timeout) => pb::ExpiredPermit::Timeout,
            Some(Expired::Ignored) => pb::ExpiredPermit::Ignored,
            None => pb::ExpiredPermit::Unspecified,
        };
        expired.into()
    };
    let window = policy.window.map(|window| match window {
        WindowText::Time { duration, slices } => {
            pb::window::Kind::Time(pb::TimeWindow { duration: proto_span(duration.0), slices })
        }
        WindowText::Count { calls } => pb::window::Kind::Count(pb::CountWindow { calls }),
    });
    pb::Policy {
        failure_threshold: policy.failure_threshold,
        monitoring_period: span(policy.monitoring_period),
        failure_count_threshold: policy.failure_count_threshold,
        failure_rate_threshold: policy.failure_rate_threshold,
        slow_call_duration: span(policy.slow_call_duration),
        slow_call_rate_threshold: policy.slow_call_rate_threshold,
        slow_call_minimum_calls: policy.slow_call_minimum_calls,
        window: window.map(|kind| pb::Window { kind: Some(kind) }),
        minimum_calls: policy.minimum_calls,
        open_duration: span(policy.open_duration),
        open_backoff: policy.open_backoff.map(|backoff| pb::OpenBackoff {
            multiplier: backoff.multiplier,
            max_duration: span(backoff.max_duration),
            jitter: backoff.jitter,
        }),
        probes: policy.probes,
        successes_to_close: policy.successes_to_close,
        failures_to_reopen: policy.failures_to_reopen,
        half_open_max_duration: span(policy.half_open_max_duration),
        retry_after_max: span(policy.retry_after_max),
        lease: span(policy.lease),
        expired_probe: expired(policy.expired_probe),
        expired_permit: expired(policy.expired_permit),
        min_callers: policy.min_callers,
        share: policy.share,
        voters: match policy.voters {
            None => pb::Voters::Unspecified,
            Some(Voters::Instance) => pb::Voters::Instance,
            Some(Voters::Service) => pb::Voters::Service,
        } as i32,
        trip_on: match policy.trip_on {
            None => pb::TripOn::Unspecified,
            Some(TripOn::Any) => pb::TripOn::Any,
            Some(TripOn::Failure) => pb::TripOn::Failure,
        } as i32,
        open_duration_min: span(policy.open_duration_min),
    }
}
