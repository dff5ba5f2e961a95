//! `/metrics`: what an operator's monitoring reads, as OpenMetrics text.
//!
//! Calls pay nothing for it: breakers keep totals anyway, and a scrape reads them, a thousand breakers at a time, each
//! under its own lock for a moment. Totals outlive a restart, counters begin at zero with a process: so what breakers
//! brought along is taken off, and what those had counted that are gone is added.
//!
//! The number of series is bounded. A breaker has series of its own while its place is below `limits.metrics_breakers`;
//! it keeps its place as long as it lives, so its series do not come and go as others do. All others are told of by the
//! sums alone. Callers are never labels.

use std::{collections::HashMap, fmt, sync::Arc};

use axum::{
    extract::{Request, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::{App, SURVEY_PLACES, api, error::Error, process::Process};
use crate::{
    access::Need,
    breaker::{OverrideMode, StateName, Timestamp, Totals},
    engine::{COMMIT_BOUNDS, Engine, Measured, REJECTIONS, RESYNCS, Surveyed, Usage},
    grpc,
    limit::Level,
    notify::Condition,
    telemetry,
};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Outcomes of calls, as the first of [`Numbers`] count them.
const OUTCOMES: [&str; 4] = ["success", "failure", "timeout", "ignored"];
/// Holders told of for each limit.
const HOLDERS: usize = 3;
/// Where calls refused are among [`Numbers`].
const REJECTED: usize = OUTCOMES.len();

/// A breaker's totals as counters: calls by outcome, then what is told by itself.
type Numbers = [u64; 10];

fn numbers(totals: &Totals) -> Numbers {
    let failures = totals.failures.saturating_sub(totals.timeouts);
    [
        totals.successes,
        failures,
        totals.timeouts,
        totals.ignored,
        totals.rejected,
        totals.opens,
        totals.stale,
        totals.expired,
        totals.bypassed,
        totals.local_failures,
    ]
}

fn less(numbers: Numbers, by: &Numbers) -> Numbers {
    std::array::from_fn(|index| numbers[index].saturating_sub(by[index]))
}

fn add(sum: &mut Numbers, numbers: &Numbers) {
    for (sum, number) in sum.iter_mut().zip(numbers) {
        *sum += number;
    }
}

/// What breakers had counted before this process: their totals survive it, counters do not.
#[derive(Debug)]
pub(super) struct Baseline {
    sum: Numbers,
    /// Of those with series of their own, by name. A breaker made anew under an old name has another instant.
    by_name: HashMap<Arc<str>, (Timestamp, Numbers)>,
}

impl Baseline {
    /// As it is now, before anybody calls.
    pub(super) fn of(engine: &Engine, breakers: u32) -> Self {
        let mut baseline = Self { sum: Numbers::default(), by_name: HashMap::new() };
        engine.survey(0, u32::MAX, |breaker| {
            let numbers = numbers(&breaker.totals);
            add(&mut baseline.sum, &numbers);
            if breaker.place < breakers && numbers != Numbers::default() {
                baseline.by_name.insert(breaker.key, (breaker.created, numbers));
            }
        });
        baseline
    }

    fn since(&self, breaker: &Surveyed) -> Numbers {
        let numbers = numbers(&breaker.totals);
        match self.by_name.get(&breaker.key) {
            Some((created, before)) if *created == breaker.created => less(numbers, before),
            _ => numbers,
        }
    }
}

/// The sums as they were last told. A breaker that goes while breakers are walked is in none of both, for once: what was
/// told stands until then.
pub(super) type LastTold = Numbers;

pub(super) async fn scrape(State(app): State<Arc<App>>, request: Request) -> Result<Response, Error> {
    // The sums are of all breakers.
    let grant = api::checked(Need::Read, "read /metrics", &request)?;
    if grant.is_bounded() {
        grant.check("")?;
    }
    // One at a time: each is memory for all its series.
    let mut told = app.scrapes.lock().await;
    let mut scrape = Scrape::new(&app);
    let mut next = Some(0);
    while let Some(from) = next {
        next = app.context.engine.survey(from, SURVEY_PLACES, |breaker| scrape.take(&app, breaker));
        tokio::task::yield_now().await;
    }
    add(&mut scrape.sum, &numbers(&scrape.measured.gone));
    scrape.sum = less(scrape.sum, &app.baseline.sum);
    for (told, sum) in told.iter_mut().zip(&mut scrape.sum) {
        *told = (*told).max(*sum);
        *sum = *told;
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut answer = String::new();
    // Writing to a string does not fail.
    text::encode(&mut answer, &registry).map_err(|error| tonic::Status::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], answer).into_response())
}

/// All that one scrape tells.
#[derive(Debug)]
struct Scrape {
    sum: Numbers,
    states: [u64; STATES.len()],
    overrides: [u64; OVERRIDES.len()],
    refusing: u64,
    probes_out: u64,
    callers_isolated: u64,
    named: Vec<Named>,
    unnamed: u64,
    measured: Measured,
    usage: Usage,
    levels: Vec<Level>,
    transport: grpc::Usage,
    http: [(&'static str, u64); 3],
    store: &'static str,
    is_store_healthy: bool,
    is_store_damaged: bool,
    is_draining: bool,
    stalled: f64,
    webhooks: Vec<(String, Condition)>,
    process: Option<Process>,
}

/// A breaker with series of its own.
#[derive(Debug)]
struct Named {
    key: Arc<str>,
    state: StateName,
    forced: Option<OverrideMode>,
    failures: u64,
    numbers: Numbers,
}

const STATES: [StateName; 3] = [StateName::Closed, StateName::Open, StateName::HalfOpen];
const OVERRIDES: [OverrideMode; 3] = [OverrideMode::ForcedOpen, OverrideMode::ForcedClosed, OverrideMode::Shadow];

impl Scrape {
    fn new(app: &App) -> Self {
        let engine = &app.context.engine;
        let usage = engine.usage();
        Self {
            sum: Numbers::default(),
            states: [0; STATES.len()],
            overrides: [0; OVERRIDES.len()],
            refusing: 0,
            probes_out: 0,
            callers_isolated: 0,
            named: Vec::new(),
            unnamed: 0,
            measured: engine.measured(),
            usage,
            levels: app.admin.levels(HOLDERS),
            transport: app.dispatch.usage(),
            http: [
                ("connections", app.pools.connections.used()),
                ("requests", app.pools.requests.used() + app.pools.operator_requests.used()),
                ("streams", app.pools.streams.used()),
            ],
            store: engine.store_name(),
            is_store_healthy: engine.store_problem().is_none(),
            is_store_damaged: !app.context.store_damage.is_empty(),
            is_draining: app.context.shutdown.draining(),
            stalled: app.context.pulse.stalled().map_or(0.0, |stalled| stalled.silent_for.as_secs_f64()),
            webhooks: app
                .context
                .notifier
                .list()
                .into_iter()
                .map(|(webhook, condition)| (webhook.name, condition))
                .collect(),
            process: Process::read(),
        }
    }

    fn take(&mut self, app: &App, breaker: Surveyed) {
        add(&mut self.sum, &numbers(&breaker.totals));
        self.states[breaker.status.state as usize] += 1;
        for (count, mode) in self.overrides.iter_mut().zip(OVERRIDES) {
            *count += u64::from(breaker.status.forced == Some(mode));
        }
        self.refusing += u64::from(breaker.is_refusing());
        self.probes_out += breaker.probes_out as u64;
        self.callers_isolated += breaker.callers_isolated as u64;
        if breaker.place >= app.limits.metrics_breakers {
            self.unnamed += 1;
            return;
        }
        self.named.push(Named {
            numbers: app.baseline.since(&breaker),
            key: breaker.key,
            state: breaker.status.state,
            forced: breaker.status.forced,
            failures: breaker.status.failures,
        });
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut told = Told(encoder);
        self.breakers(&mut told)?;
        self.each_breaker(&mut told)?;
        self.store_and_events(&mut told)?;
        self.transports(&mut told)?;
        self.process(&mut told)
    }
}

impl Scrape {
    fn breakers(&self, told: &mut Told<'_>) -> fmt::Result {
        told.info("fuseboard_build", "The version that runs.", [("version", env!("CARGO_PKG_VERSION"))])?;
        let calls = OUTCOMES.into_iter().zip(self.sum);
        told.counters(
            "fuseboard_calls",
            "Calls that were reported, by outcome.",
            calls.map(|(name, count)| ([("outcome", name)], count)),
        )?;
        let rejections = REJECTIONS.into_iter().zip(self.measured.rejections);
        told.counters(
            "fuseboard_rejections",
            "Calls that this server refused, by reason. Clients that decide in their own memory refuse more: see \
             fuseboard_calls_rejected.",
            rejections.map(|(reason, count)| ([("reason", reason.name())], count)),
        )?;
        let [_, _, _, _, rejected, opens, stale, expired, bypassed, local] = self.sum;
        told.counter(
            "fuseboard_calls_rejected",
            "Calls refused by the server and, as they told, by clients themselves.",
            rejected,
        )?;
        told.counter(
            "fuseboard_breaker_trips",
            "Moves of a breaker to open. A rise says that something is down, or flaps.",
            opens,
        )?;
        told.counter(
            "fuseboard_reports_stale",
            "Reports and tallies that came too late for the generation of their permit; they move nothing. Many: leases are too short, or clients too slow.",
            stale,
        )?;
        told.counter(
            "fuseboard_permits_expired",
            "Permits whose lease ended without a report: callers crash, or forget to report.",
            expired,
        )?;
        told.counter("fuseboard_calls_bypassed", "Calls that only an override let through.", bypassed)?;
        told.counter(
            "fuseboard_calls_failed_locally",
            "Failures that callers marked as their own; they are evidence against nobody else.",
            local,
        )?;
        let states = STATES.into_iter().zip(self.states);
        told.gauges(
            "fuseboard_breakers",
            "Breakers by computed state.",
            states.map(|(state, count)| ([("state", state.name())], count)),
        )?;
        told.gauge(
            "fuseboard_breakers_refusing",
            "Breakers that refuse calls now: open or forced open, and not overridden otherwise.",
            self.refusing,
        )?;
        told.gauge(
            "fuseboard_breakers_unnamed",
            "Breakers without series of their own: raise limits.metrics_breakers to see them one by one.",
            self.unnamed,
        )?;
        let overrides = OVERRIDES.into_iter().zip(self.overrides);
        told.gauges(
            "fuseboard_overrides",
            "Breakers that an operator holds, by mode.",
            overrides.map(|(mode, count)| ([("mode", mode.name())], count)),
        )?;
        told.gauge("fuseboard_probes_in_flight", "Probes of half-open breakers that are out.", self.probes_out)?;
        told.gauge(
            "fuseboard_callers_isolated",
            "Callers refused alone because only their own calls fail, added up over breakers: look at the caller, not at the dependency.",
            self.callers_isolated,
        )
    }

    fn each_breaker(&self, told: &mut Told<'_>) -> fmt::Result {
        let each = || self.named.iter().map(|named| (&*named.key, named));
        let states = each().flat_map(|(key, named)| {
            STATES.map(|state| ([("breaker", key), ("state", state.name())], u64::from(named.state == state)))
        });
        told.gauges("fuseboard_breaker_state", "1 for the computed state that a breaker is in, else 0.", states)?;
        let overridden =
            each().filter_map(|(key, named)| Some(([("breaker", key), ("mode", named.forced?.name())], 1)));
        told.gauges("fuseboard_breaker_override", "1 for a breaker that an operator holds.", overridden)?;
        let failures = each().map(|(key, named)| ([("breaker", key)], named.failures));
        told.gauges("fuseboard_breaker_consecutive_failures", "Failures in a row.", failures)?;
        let calls = each().flat_map(|(key, named)| {
            OUTCOMES
                .into_iter()
                .zip(named.numbers)
                .map(move |(outcome, count)| ([("breaker", key), ("outcome", outcome)], count))
        });
        told.counters("fuseboard_breaker_calls", "Calls of a breaker that were reported, by outcome.", calls)?;
        let rejected = each().map(|(key, named)| ([("breaker", key)], named.numbers[REJECTED]));
        told.counters("fuseboard_breaker_calls_rejected", "Calls of a breaker that were refused.", rejected)
    }

    fn store_and_events(&self, told: &mut Told<'_>) -> fmt::Result {
        let measured = &self.measured;
        let events = measured.events.iter().map(|(kind, count)| ([("kind", *kind)], *count));
        told.counters(
            "fuseboard_events",
            "Events told: moves of breakers and of callers' scopes, and what operators did.",
            events,
        )?;
        told.gauge(
            "fuseboard_event_log_oldest_sequence",
            "Sequence of the oldest event held; 0: none. Who needs an older one is resynced.",
            self.usage.oldest_sequence,
        )?;
        told.gauge(
            "fuseboard_event_log_newest_sequence",
            "Sequence of the newest event; 0: none.",
            self.usage.newest_sequence,
        )?;
        told.gauges(
            "fuseboard_store_healthy",
            "1 while the store can write. At 0 closed breakers go on, everything else is refused as provisional.",
            [([("store", self.store)], u64::from(self.is_store_healthy))],
        )?;
        told.gauge(
            "fuseboard_store_damaged",
            "1 if stored state could not be read at the start and was set aside: GetServerInfo and the log say what.",
            u64::from(self.is_store_damaged),
        )?;
        told.commits(measured)?;
        told.counter(
            "fuseboard_store_commits_refused",
            "Commits that the store did not make.",
            measured.commits_refused,
        )?;
        told.counter(
            "fuseboard_timers_stuck",
            "Timers that made no progress when they were served, and were put off. Above 0: a bug of the server; the log names the breaker.",
            measured.timers_stuck,
        )?;
        told.gauge("fuseboard_watchers", "Watches open, over gRPC and HTTP.", self.usage.watchers)?;
        let resyncs = RESYNCS.into_iter().zip(measured.resyncs);
        told.counters(
            "fuseboard_watch_resyncs",
            "Watches that lost events and got a snapshot instead, by reason; slow_reader: the reader was slower than the event log is long.",
            resyncs.map(|(reason, count)| ([("reason", reason.name())], count)),
        )?;
        let used = self.levels.iter().filter_map(|level| Some(([("limit", level.name)], level.used?)));
        told.gauges("fuseboard_limit_used", "What is used of each limit.", used)?;
        let max =
            self.levels.iter().filter(|level| level.used.is_some()).map(|level| ([("limit", level.name)], level.max));
        told.gauges(
            "fuseboard_limit_max",
            "The limits; at one there is a clear error, and what is there goes on.",
            max,
        )?;
        let refused = self.levels.iter().filter_map(|level| Some(([("limit", level.name)], level.refused?)));
        told.counters(
            "fuseboard_limit_refused",
            "Requests refused because their holder had its share of a limit, or the limit was reached.",
            refused,
        )?;
        let biggest: Vec<(&str, String, u64)> = self
            .levels
            .iter()
            .flat_map(|level| level.biggest.iter().map(|(holder, used)| (level.name, holder.to_string(), *used)))
            .collect();
        told.gauges(
            "fuseboard_limit_biggest",
            "What the identities or addresses use that use the most of a limit, at most three of them.",
            biggest.iter().map(|(name, holder, used)| ([("limit", *name), ("holder", holder.as_str())], *used)),
        )
    }

    fn transports(&self, told: &mut Told<'_>) -> fmt::Result {
        let grpc = self.transport;
        told.gauge("fuseboard_grpc_connections", "Connections of the gRPC port.", grpc.connections as u64)?;
        told.gauge("fuseboard_grpc_calls_in_flight", "Calls that are not answered yet.", grpc.calls as u64)?;
        told.gauge("fuseboard_grpc_streams", "Streams open: sessions and watches.", grpc.streams as u64)?;
        told.counter(
            "fuseboard_grpc_connections_refused",
            "Connections closed at once because there were too many.",
            grpc.refused_connections,
        )?;
        told.counter(
            "fuseboard_grpc_calls_refused",
            "Calls and streams refused because there were too many.",
            grpc.refused_calls,
        )?;
        told.counter(
            "fuseboard_grpc_tls_handshakes_failed",
            "TLS handshakes that came to nothing: a wrong certificate, or none.",
            grpc.failed_handshakes,
        )?;
        told.counter(
            "fuseboard_grpc_calls_denied",
            "Calls and streams of nobody who is known, or of somebody who may not.",
            grpc.denied,
        )?;
        let http = self.http.into_iter().map(|(kind, count)| ([("kind", kind)], count));
        told.gauges(
            "fuseboard_http_in_use",
            "Connections, requests and streams of the HTTP port, this scrape's included.",
            http,
        )?;
        let webhooks = |value: fn(&Condition) -> u64| {
            self.webhooks.iter().map(move |(name, condition)| ([("webhook", name.as_str())], value(condition)))
        };
        told.counters(
            "fuseboard_webhook_delivered",
            "Events that a webhook's receiver has taken.",
            webhooks(|condition| condition.delivered),
        )?;
        told.counters(
            "fuseboard_webhook_failed",
            "Attempts to send an event that have failed; it is tried again.",
            webhooks(|condition| condition.failed),
        )?;
        told.counters(
            "fuseboard_webhook_dead",
            "Events that were given up; ListWebhooks shows them.",
            webhooks(|condition| condition.dead),
        )?;
        told.counter(
            "fuseboard_log_lines_dropped",
            "Log lines dropped because the reader of stderr did not keep up.",
            telemetry::dropped_lines(),
        )?;
        told.seconds(
            "fuseboard_serving_thread_stalled_seconds",
            "Time for which a serving thread has made no progress; 0 while all do. /livez fails meanwhile.",
            MetricType::Gauge,
            self.stalled,
        )?;
        told.gauge("fuseboard_draining", "1 while the server stops.", u64::from(self.is_draining))
    }

    /// Under the names that Prometheus' own client libraries use.
    fn process(&self, told: &mut Told<'_>) -> fmt::Result {
        let Some(process) = self.process else { return Ok(()) };
        told.gauge("process_resident_memory_bytes", "Resident memory.", process.resident_bytes)?;
        told.seconds(
            "process_cpu_seconds",
            "CPU time used, of user and system.",
            MetricType::Counter,
            process.cpu.as_secs_f64(),
        )?;
        told.gauge("process_open_fds", "Open file descriptors.", process.open_fds)?;
        told.gauge("process_threads", "Threads.", process.threads)?;
        told.seconds(
            "process_start_time_seconds",
            "Start of the process since the Unix epoch.",
            MetricType::Gauge,
            process.start_seconds,
        )
    }
}

/// Writes metric families.
struct Told<'a>(DescriptorEncoder<'a>);

impl Told<'_> {
    fn info<const N: usize>(&mut self, name: &str, help: &str, labels: [(&str, &str); N]) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn seconds(&mut self, name: &str, help: &str, kind: MetricType, value: f64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        match kind {
            MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            _ => metric.encode_gauge(&value),
        }
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
        })
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn commits(&mut self, measured: &Measured) -> fmt::Result {
        let name = "fuseboard_store_commit_duration_seconds";
        let help = "How long the store took for a commit of moves. Whoever is told of a move waits for it.";
        let bounds = COMMIT_BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(measured.commits).collect();
        let (sum, count) = (measured.commits_took.as_secs_f64(), measured.commits.iter().sum());
        self.0
            .encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
