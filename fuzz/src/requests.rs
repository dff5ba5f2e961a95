//! Requests: any bytes are read as a run of calls, which the services answer on an engine whose time stands still.
//!
//! A run is calls one after the other: a byte for the method, two for a length (little-endian), and so many bytes of the
//! request. Text `#n` stands for the n-th permit, page token or resume token that was answered before, as nobody makes
//! those by chance. The engine is small, so that its limits are reached.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use fuseboard::{
    breaker::{Permit, PermitKind, PolicySpec, Timestamp},
    engine::{Clock, Engine, Limits},
    grpc::{
        AdminService, BreakerService, ClockService, Context, Gate,
        pb::{
            self, admin_service_server::AdminService as _, breaker_service_server::BreakerService as _,
            testing::clock_service_server::ClockService as _,
        },
        status::DOMAIN,
        token::decode_permit,
    },
    notify::Notifier,
    shutdown::Shutdown,
};
use futures_util::FutureExt as _;
use http_body_util::Full;
use prost::Message;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

const START: Timestamp = Timestamp::from_nanos(1_577_836_800_000_000_000);
/// Calls in a run. More are not looked at.
const CALLS_MAX: usize = 48;
/// Longest move of the clock.
const ADVANCE_SECONDS_MAX: i64 = 60;
/// Messages read of a watch.
const MESSAGES_MAX: usize = 6;

/// Makes the calls, and looks after each whether everything is as it must be.
pub fn run(data: &[u8]) {
    thread_local! {
        /// Streams want a runtime for their timers.
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let mut world = World::new();
            for (method, request) in calls(data).take(CALLS_MAX) {
                if let Err(status) = world.call(method, request).await {
                    assert_is_told(&status);
                }
                world.look();
            }
        });
    });
}

fn calls(mut data: &[u8]) -> impl Iterator<Item = (Method, &[u8])> {
    std::iter::from_fn(move || {
        let ([method, low, high], rest) = data.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (request, rest) = rest.split_at(length);
        data = rest;
        Some((METHODS[usize::from(*method) % METHODS.len()], request))
    })
}

/// An error is one of ours: a code that says whose fault it is, a reason, and the field where one is at fault.
fn assert_is_told(status: &Status) {
    use Code::{Aborted, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted};
    let known = [Aborted, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted];
    assert!(known.contains(&status.code()), "{status:?}");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, DOMAIN, "{status:?}");
    let names_field = status.get_details_bad_request().is_some();
    assert!(names_field == (info.reason == "INVALID_FIELD") || info.reason == "MALFORMED_MESSAGE", "{status:?}");
    assert!(!status.message().is_empty(), "{status:?}");
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Acquire,
    Report,
    ReportBatch,
    Session,
    Declare,
    Reset,
    GetState,
    WatchEvents,
    ListBreakers,
    ListPolicies,
    GetPolicy,
    SetPolicy,
    DeletePolicy,
    SetOverride,
    ClearOverride,
    DeleteBreaker,
    DeleteDeclaration,
    ListEvents,
    GetServerInfo,
    Advance,
}

const METHODS: [Method; 20] = [
    Method::Acquire,
    Method::Report,
    Method::ReportBatch,
    Method::Session,
    Method::Declare,
    Method::Reset,
    Method::GetState,
    Method::WatchEvents,
    Method::ListBreakers,
    Method::ListPolicies,
    Method::GetPolicy,
    Method::SetPolicy,
    Method::DeletePolicy,
    Method::SetOverride,
    Method::ClearOverride,
    Method::DeleteBreaker,
    Method::DeleteDeclaration,
    Method::ListEvents,
    Method::GetServerInfo,
    Method::Advance,
];

/// The services, and what we know of what they have answered.
struct World {
    engine: Engine,
    breakers: BreakerService,
    admin: AdminService,
    clock: ClockService,
    /// Permits as text, page tokens and resume tokens.
    tokens: Vec<String>,
    /// Probes granted and not reported, by breaker.
    probes: HashMap<String, Vec<Permit>>,
    /// Probes reported: the request that was granted one may be sent again and is answered the same.
    spent: Vec<(String, Permit)>,
    /// The most probes that a breaker was ever allowed, and its last generation.
    seen: HashMap<String, (u32, u64)>,
    newest_sequence: u64,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            breakers: 6,
            request_ids: 32,
            batch_clients: 32,
            callers: 32,
            policies: 3,
            events: 64,
            watchers: 2,
            ledger_bytes: 4 << 10,
            breaker_idle: Duration::from_secs(30),
            ..Limits::default()
        };
        let engine = Engine::new(Clock::manual(START), limits, PolicySpec::default()).expect("the default is valid");
        let shutdown = Shutdown::new();
        let stream_max_age = Duration::from_secs(60);
        let context = Arc::new(Context {
            engine: engine.clone(),
            shutdown,
            stream_max_age,
            session_handles: 100,
            gate: Gate::default(),
            notifier: Notifier::default(),
            pulse: fuseboard::pulse::Pulse::default(),
            store_damage: String::new(),
        });
        Self {
            breakers: BreakerService::new(Arc::clone(&context)),
            admin: AdminService::new(context, Vec::new()),
            clock: ClockService::new(engine.clone()),
            engine,
            tokens: Vec::new(),
            probes: HashMap::new(),
            spent: Vec::new(),
            seen: HashMap::new(),
            newest_sequence: 0,
            now: START,
        }
    }

    async fn call(&mut self, method: Method, bytes: &[u8]) -> Result<(), Status> {
        match method {
            Method::Acquire => {
                let request: pb::AcquireRequest = decode(bytes)?;
                let breaker = request.breaker.clone();
                let answer = self.breakers.acquire(Request::new(request)).await?.into_inner();
                let permitted = answer.decision == pb::Decision::Permitted as i32;
                assert_eq!(permitted, answer.retry_after.is_none(), "{answer:?}");
                if permitted {
                    let permit = URL_SAFE_NO_PAD.decode(&answer.permit).expect("a permit is text of bytes");
                    self.granted(&breaker, &permit);
                } else {
                    assert_is_rejection(answer.decision, answer.reason, answer.retry_after, answer.permit.len());
                }
            }
            Method::Report => {
                let mut request: pb::ReportRequest = decode(bytes)?;
                request.permit = self.token(&request.permit);
                let (breaker, permit) = (request.breaker.clone(), URL_SAFE_NO_PAD.decode(&request.permit));
                self.breakers.report(Request::new(request)).await?;
                self.reported(&breaker, &permit.expect("what is reported is a permit"));
            }
            Method::ReportBatch => {
                let request: pb::ReportBatchRequest = decode(bytes)?;
                let tallies = request.tallies.len();
                let answer = self.breakers.report_batch(Request::new(request)).await?.into_inner();
                let counted = answer.counted as usize + answer.stale as usize;
                assert_eq!(counted, if answer.duplicate { 0 } else { tallies }, "{answer:?}");
            }
            Method::Session => self.session(bytes).await?,
            Method::Declare => {
                let request: pb::DeclareRequest = decode(bytes)?;
                let breakers: Vec<_> = request.declarations.iter().map(|wanted| wanted.breaker.clone()).collect();
                let answer = self.breakers.declare(Request::new(request)).await?.into_inner();
                let declared = answer.declared.into_iter().map(|declared| declared.status.unwrap_or_default().breaker);
                assert_eq!(declared.collect::<Vec<_>>(), breakers);
            }
            Method::Reset => drop(self.breakers.reset(Request::new(decode(bytes)?)).await?),
            Method::GetState => drop(self.breakers.get_state(Request::new(decode(bytes)?)).await?),
            Method::WatchEvents => {
                let mut request: pb::WatchEventsRequest = decode(bytes)?;
                request.resume_token = self.token(&request.resume_token);
                let mut watch = self.breakers.watch_events(Request::new(request)).await?.into_inner();
                for index in 0..MESSAGES_MAX {
                    let Some(message) = watch.next().now_or_never() else {
                        assert_ne!(index, 0, "the first message comes at once");
                        break;
                    };
                    self.tokens.push(message.expect("a watch goes on")?.resume_token);
                }
            }
            Method::ListBreakers => {
                let mut request: pb::ListBreakersRequest = decode(bytes)?;
                request.page_token = self.token(&request.page_token);
                let answer = self.admin.list_breakers(Request::new(request)).await?.into_inner();
                assert!(answer.breakers.is_sorted_by(|one, other| one.breaker < other.breaker), "{answer:?}");
                self.tokens.push(answer.next_page_token);
            }
            Method::ListPolicies => {
                let mut request: pb::ListPoliciesRequest = decode(bytes)?;
                request.page_token = self.token(&request.page_token);
                self.tokens.push(self.admin.list_policies(Request::new(request)).await?.into_inner().next_page_token);
            }
            Method::GetPolicy => drop(self.admin.get_policy(Request::new(decode(bytes)?)).await?),
            Method::SetPolicy => drop(self.admin.set_policy(Request::new(decode(bytes)?)).await?),
            Method::DeletePolicy => drop(self.admin.delete_policy(Request::new(decode(bytes)?)).await?),
            Method::SetOverride => drop(self.admin.set_override(Request::new(decode(bytes)?)).await?),
            Method::ClearOverride => drop(self.admin.clear_override(Request::new(decode(bytes)?)).await?),
            Method::DeleteBreaker => {
                let request: pb::DeleteBreakerRequest = decode(bytes)?;
                let breaker = request.breaker.clone();
                self.admin.delete_breaker(Request::new(request)).await?;
                // The next one of this name knows nothing of its probes.
                self.probes.remove(&breaker);
            }
            Method::DeleteDeclaration => {
                let request: pb::DeleteDeclarationRequest = decode(bytes)?;
                let breaker = request.breaker.clone();
                self.admin.delete_declaration(Request::new(request)).await?;
                // The next one of this name knows nothing of its probes.
                self.probes.remove(&breaker);
            }
            Method::ListEvents => {
                let mut request: pb::ListEventsRequest = decode(bytes)?;
                request.page_token = self.token(&request.page_token);
                let newest_first = request.newest_first;
                let answer = self.admin.list_events(Request::new(request)).await?.into_inner();
                let in_order = |one: &pb::Event, other: &pb::Event| (one.sequence < other.sequence) != newest_first;
                assert!(answer.events.is_sorted_by(in_order), "{answer:?}");
                self.tokens.push(answer.next_page_token);
            }
            Method::GetServerInfo => {
                let answer = self.admin.get_server_info(Request::new(decode(bytes)?)).await?.into_inner();
                self.tokens.push(answer.oldest_resume_token);
            }
            Method::Advance => {
                let mut request: pb::testing::AdvanceRequest = decode(bytes)?;
                // A policy of milliseconds can make a breaker move a thousand times a second, and each move is made.
                if let Some(duration) = &mut request.duration {
                    duration.seconds = duration.seconds.min(ADVANCE_SECONDS_MAX);
                }
                self.clock.advance(Request::new(request)).await?;
            }
        }
        Ok(())
    }

    /// One frame on a session of its own.
    async fn session(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let mut frame: pb::SessionRequest = decode(bytes)?;
        for report in &mut frame.reports {
            let text = std::str::from_utf8(&report.permit).unwrap_or_default();
            if text.starts_with('#') {
                report.permit = URL_SAFE_NO_PAD.decode(self.token(text)).unwrap_or_default().into();
            }
        }
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(frame.encoded_len()).expect("a frame is short"));
        frame.encode(&mut body).expect("there is room");
        let decoder = tonic_prost::ProstDecoder::default();
        let frames = Streaming::new_request(decoder, Full::new(body.freeze()), None, None);
        let mut session = self.breakers.session(Request::new(frames)).await?.into_inner();
        let answer = session.next().await.expect("a frame is answered")?;
        let asked = frame.acquires.len() + frame.reports.len() + frame.batches.len();
        let about_frame = answer.errors.iter().filter(|error| error.number == 0).count();
        let answered = answer.acquired.len() + answer.reported.len() + answer.batches.len() + answer.errors.len();
        assert!((asked..=asked + about_frame).contains(&answered), "{frame:?}: {answer:?}");
        for error in &answer.errors {
            assert!(!error.message.is_empty() && !error.reason.is_empty() && error.code != 0, "{error:?}");
        }
        // Numbers may be given twice: then nobody knows which breaker an answer is of.
        let keys: HashMap<u32, &str> =
            frame.introductions.iter().map(|introduction| (introduction.handle, &*introduction.breaker)).collect();
        let breaker = |handle: u32, breaker: &str| match handle {
            0 => breaker.to_owned(),
            _ => keys.get(&handle).copied().unwrap_or_default().to_owned(),
        };
        for acquired in &answer.acquired {
            if acquired.decision != pb::Decision::Permitted as i32 {
                let permit = acquired.permit.len();
                assert_is_rejection(acquired.decision, acquired.reason, acquired.retry_after, permit);
                continue;
            }
            let mut asked = frame.acquires.iter().map(|item| breaker(item.handle, &item.breaker));
            let of = asked.find(|key| {
                decode_permit(self.engine.seal(), self.engine.seal().key_hash(key), &acquired.permit).is_ok()
            });
            self.granted(&of.expect("a permit is of a breaker that was asked for"), &acquired.permit);
        }
        for item in &frame.reports {
            self.reported(&breaker(item.handle, &item.breaker), &item.permit);
        }
        Ok(())
    }

    /// What `#n` stands for, or the text itself.
    fn token(&self, text: &str) -> String {
        let number = text.strip_prefix('#').and_then(|number| number.parse::<usize>().ok());
        match number {
            Some(number) if !self.tokens.is_empty() => self.tokens[number % self.tokens.len()].clone(),
            _ => text.to_owned(),
        }
    }

    fn granted(&mut self, breaker: &str, permit: &[u8]) {
        self.tokens.push(URL_SAFE_NO_PAD.encode(permit));
        let opened = decode_permit(self.engine.seal(), self.engine.seal().key_hash(breaker), permit);
        let permit = opened.expect("a permit is of the breaker that was asked for").permit;
        let probes = self.probes.entry(breaker.to_owned()).or_default();
        let is_new = !probes.contains(&permit) && !self.spent.contains(&(breaker.to_owned(), permit));
        if permit.kind == PermitKind::Probe && is_new {
            probes.push(permit);
        }
    }

    fn reported(&mut self, breaker: &str, permit: &[u8]) {
        let opened =
            decode_permit(self.engine.seal(), self.engine.seal().key_hash(breaker), permit).map(|opened| opened.permit);
        if let (Ok(permit), Some(probes)) = (opened, self.probes.get_mut(breaker)) {
            probes.retain(|probe| *probe != permit);
            self.spent.push((breaker.to_owned(), permit));
        }
    }

    /// Looks at everything that must always hold.
    fn look(&mut self) {
        let now = self.engine.now();
        assert!(now >= self.now, "time goes back");
        self.now = now;
        let usage = self.engine.usage();
        let limits = self.engine.limits();
        assert!(usage.breakers <= limits.breakers && usage.policies <= limits.policies, "{usage:?}");
        assert!(usage.events <= limits.events && usage.watchers == 0, "{usage:?}");
        let newest = usage.newest_sequence;
        assert!(newest >= self.newest_sequence, "sequences go back");
        self.newest_sequence = newest;
        let events = self.engine.events(0, false, usize::MAX);
        let sequences = (1..=newest).skip((newest as usize).saturating_sub(events.len()));
        assert!(events.iter().map(|event| event.sequence).eq(sequences), "sequences have a gap: {events:?}");
        for entry in self.engine.list("", usize::MAX - 1, |_| true) {
            let Ok(view) = self.engine.view(&entry.key).now_or_never().expect("memory answers at once") else {
                continue;
            };
            let (probes_max, generation) = self.seen.entry(entry.key.as_ref().to_owned()).or_default();
            *probes_max = view.policy.policy.probes.max(*probes_max);
            assert!(view.entry.status.generation >= *generation, "a generation goes back: {view:?}");
            *generation = view.entry.status.generation;
            let out = self.probes.entry(entry.key.as_ref().to_owned()).or_default();
            out.retain(|probe| probe.expire > now);
            assert!(view.probes_out <= *probes_max as usize, "too many probes: {view:?}");
            assert!(out.len() <= *probes_max as usize, "too many probes granted: {out:?} {view:?}");
        }
    }
}

fn assert_is_rejection(decision: i32, reason: i32, retry_after: Option<prost_types::Duration>, permit: usize) {
    assert_eq!(decision, pb::Decision::Rejected as i32);
    assert_ne!(reason, pb::RejectionReason::Unspecified as i32);
    let retry_after = retry_after.expect("a rejection says when to come back");
    assert!((retry_after.seconds, retry_after.nanos) >= (0, 10_000_000), "{retry_after:?}");
    assert_eq!(permit, 0);
}

/// Bytes that are no message are the transport's to refuse.
fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    use tonic_types::ErrorDetails;
    M::decode(bytes).map_err(|error| {
        let details = ErrorDetails::with_error_info("MALFORMED_MESSAGE", DOMAIN, HashMap::new());
        Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
    })
}

/// Runs that do something: trip, recover, watch, override, set policies, reach limits.
pub fn seeds() -> Vec<Vec<u8>> {
    use Method::*;
    let breaker = || "a/b".to_owned();
    let (actor, reason) = (|| "ops".to_owned(), || "a seed".to_owned());
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let acquire = |caller: &str, id: &str| {
        let (caller, request_id) = (caller.to_owned(), id.to_owned());
        call(Acquire, &pb::AcquireRequest { breaker: breaker(), caller, request_id, lease: seconds(2) })
    };
    let report = |permit: &str, outcome: pb::Outcome| {
        let permit = permit.to_owned();
        let error_class = "refused".to_owned();
        let report = pb::ReportRequest {
            breaker: breaker(),
            permit,
            outcome: outcome as i32,
            error_class,
            retry_after: seconds(3),
            duration: seconds(1),
            origin: 0,
        };
        call(Report, &report)
    };
    let advance = |by| call(Advance, &pb::testing::AdvanceRequest { duration: seconds(by) });
    let policy = pb::Policy {
        failure_threshold: Some(1),
        failure_rate_threshold: Some(0.5),
        slow_call_duration: seconds(1),
        window: Some(pb::Window { kind: Some(pb::window::Kind::Count(pb::CountWindow { calls: 4 })) }),
        minimum_calls: Some(2),
        open_duration: seconds(1),
        open_backoff: Some(pb::OpenBackoff { multiplier: 3.0, max_duration: seconds(9), jitter: 0.5 }),
        probes: Some(2),
        successes_to_close: Some(2),
        half_open_max_duration: seconds(5),
        expired_permit: pb::ExpiredPermit::Timeout as i32,
        ..Default::default()
    };
    let declaration = pb::Declaration { breaker: breaker(), policy: Some(policy), revision: 1 };
    let declare = call(Declare, &pb::DeclareRequest { declarations: vec![declaration], caller: "web/1".to_owned() });
    let filter = pb::WatchFilter { prefixes: vec!["a".to_owned()], kinds: vec![1, 2, 3], ..Default::default() };
    let watch = pb::WatchEventsRequest { filter: Some(filter), delivery: 2, ..Default::default() };
    let again = pb::WatchEventsRequest { resume_token: "#0".to_owned(), skip_snapshot: true, ..Default::default() };
    let mode = pb::OverrideMode::ForcedOpen as i32;
    let forced = pb::SetOverrideRequest {
        breaker: breaker(),
        mode,
        actor: actor(),
        reason: reason(),
        expire_after: seconds(2),
        id: String::new(),
    };
    let shadow = pb::SetOverrideRequest { mode: pb::OverrideMode::Shadow as i32, expire_after: None, ..forced.clone() };
    let pattern = || "a*".to_owned();
    let set = |expected_version| {
        let policy = Some(policy);
        call(
            SetPolicy,
            &pb::SetPolicyRequest { pattern: pattern(), policy, expected_version, actor: actor(), reason: reason() },
        )
    };
    let tally = |successes, failures| pb::Tally {
        breaker: breaker(),
        caller: "web/2".to_owned(),
        generation: 1,
        successes,
        failures,
        trailing_failures: failures,
        age: seconds(1),
        ..Default::default()
    };
    let batch = pb::ReportBatchRequest {
        client_id: "c".to_owned(),
        batch_sequence: 1,
        tallies: vec![tally(3, 1), tally(0, 2)],
    };
    let frame = pb::SessionRequest {
        caller: "web/3".to_owned(),
        introductions: vec![pb::Introduction { handle: 1, breaker: breaker() }],
        acquires: vec![
            pb::SessionAcquire { number: 1, handle: 1, ..Default::default() },
            pb::SessionAcquire { number: 2, breaker: "c".to_owned(), ..Default::default() },
        ],
        reports: vec![pb::SessionReport {
            number: 3,
            handle: 1,
            permit: Bytes::from_static(b"#0"),
            outcome: 2,
            ..Default::default()
        }],
        batches: vec![pb::SessionBatch { number: 4, batch: Some(batch.clone()) }],
    };
    let state = call(GetState, &pb::GetStateRequest { breaker: breaker() });
    let many =
        (0..8).map(|index| call(Acquire, &pb::AcquireRequest { breaker: format!("k{index}"), ..Default::default() }));
    let trip = [declare, acquire("web/1", ""), report("#0", pb::Outcome::Failure), acquire("web/1", "")].concat();
    let recover = [advance(4), acquire("web/1", "x"), acquire("web/2", "y"), acquire("web/3", "z")].concat();
    vec![
        [
            trip.clone(),
            recover.clone(),
            report("#1", pb::Outcome::Success),
            report("#2", pb::Outcome::Success),
            state.clone(),
        ]
        .concat(),
        [
            trip.clone(),
            recover.clone(),
            report("#2", pb::Outcome::Failure),
            advance(30),
            recover.clone(),
            advance(6),
            state.clone(),
        ]
        .concat(),
        [trip.clone(), call(Session, &frame), call(Session, &frame), call(ReportBatch, &batch), state].concat(),
        [call(WatchEvents, &watch), trip.clone(), call(WatchEvents, &again), advance(4), call(WatchEvents, &again)]
            .concat(),
        [
            call(SetOverride, &forced),
            acquire("", ""),
            advance(3),
            call(SetOverride, &shadow),
            trip.clone(),
            call(
                ClearOverride,
                &pb::ClearOverrideRequest { breaker: breaker(), actor: actor(), reason: reason(), id: String::new() },
            ),
        ]
        .concat(),
        [
            acquire("", ""),
            set(None),
            set(Some(0)),
            call(GetPolicy, &pb::GetPolicyRequest { pattern: pattern() }),
            call(ListPolicies, &pb::ListPoliciesRequest { page_size: 1, ..Default::default() }),
            call(DeletePolicy, &pb::DeletePolicyRequest { pattern: pattern(), ..Default::default() }),
        ]
        .concat(),
        [
            many.flatten().collect(),
            call(ListBreakers, &pb::ListBreakersRequest { page_size: 2, ..Default::default() }),
            call(
                ListBreakers,
                &pb::ListBreakersRequest { page_size: 2, page_token: "#8".to_owned(), ..Default::default() },
            ),
        ]
        .concat(),
        [
            trip,
            call(Reset, &pb::ResetRequest { breaker: breaker(), ..Default::default() }),
            call(ListEvents, &pb::ListEventsRequest { page_size: 1, newest_first: true, ..Default::default() }),
            call(DeleteBreaker, &pb::DeleteBreakerRequest { breaker: breaker(), ..Default::default() }),
            call(DeleteDeclaration, &pb::DeleteDeclarationRequest { breaker: breaker(), ..Default::default() }),
            call(GetServerInfo, &pb::GetServerInfoRequest {}),
            advance(60),
            recover,
        ]
        .concat(),
    ]
}

fn call(method: Method, request: &impl Message) -> Vec<u8> {
    let bytes = request.encode_to_vec();
    let [low, high] = u16::try_from(bytes.len()).expect("a seed is short").to_le_bytes();
    [vec![method as u8, low, high], bytes].concat()
}
