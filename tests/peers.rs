//! What users of other breakers rely on: the timelines that three respected breakers' own tests assert, on the pure
//! breaker under a policy that says the same. `tests/peers/README.md` tells where they come from and how they are mapped;
//! `tests/peers/differences.json` lists each that does not agree, with the reason, and this test keeps the list exact.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use fuseboard::breaker::{
    Acquire, Breaker, CALLERS_MAX, CallerId, Counts, Decision, LEDGER_BYTES_MAX, Moment, Outcome, Override,
    OverrideMode, Permit, Policy, PolicySpec, Reason, Rejection, Report, RequestId, ServiceId, Snapshot, State,
    StateName, Step, Tally, Timestamp, Totals, Transition, TripRule,
    policy::{BackoffSpec, FAILURE_THRESHOLD_MAX, WindowSpec},
    transition::Kind,
};
use serde::Deserialize;
use serde_json::{Value, json};

const PEERS: [&str; 3] = ["gobreaker", "resilience4j", "linkerd2-proxy"];
const DAY: Duration = Duration::from_secs(24 * 3600);
/// More failures than any of their rules asks for.
const FAILURES_TO_TRIP_MAX: u32 = 1000;

/// Why a scenario does not agree.
#[derive(Debug)]
enum Stop {
    /// We answer something else.
    Differs(String),
    /// We have no such setting or operation.
    Declined(String),
}

fn declined<T>(why: impl Display) -> Result<T, Stop> {
    Err(Stop::Declined(why.to_string()))
}

#[derive(Deserialize)]
struct Peer {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    depends_on: Vec<String>,
    config: Value,
    steps: Vec<Value>,
}

/// An entry of the list of differences.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    kind: DifferenceKind,
    tag: String,
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DifferenceKind {
    Differs,
    Declined,
}

#[test]
fn peers_agree_except_where_the_list_says_why() {
    let mut differences: BTreeMap<String, Difference> = read("differences");
    let mut skipped = BTreeMap::new();
    let mut faults = Vec::new();
    println!("{:16}{:>8}{:>8}{:>9}", "peer", "agreed", "differs", "declined");
    for peer in PEERS {
        let (mut agreed, mut differ, mut decline) = (0, 0, 0);
        for scenario in read::<Peer>(peer).scenarios {
            let listed = differences.remove(&scenario.name);
            let (kind, why) = match play(peer, &scenario, &mut skipped) {
                Ok(()) => (None, String::new()),
                Err(Stop::Differs(why)) => (Some(DifferenceKind::Differs), why),
                Err(Stop::Declined(why)) => (Some(DifferenceKind::Declined), why),
            };
            *match kind {
                None => &mut agreed,
                Some(DifferenceKind::Differs) => &mut differ,
                Some(DifferenceKind::Declined) => &mut decline,
            } += 1;
            let name = &scenario.name;
            match (kind, listed) {
                (Some(_), _) if scenario.depends_on.is_empty() => faults.push(format!("{name} must agree: {why}")),
                (Some(kind), None) => faults.push(format!("{name} is not on the list, but {kind:?}: {why}")),
                (None, Some(_)) => faults.push(format!("{name} is on the list, but agrees")),
                (Some(kind), Some(listed)) if kind != listed.kind => {
                    faults.push(format!("{name} is listed as {:?}, but {kind:?}: {why}", listed.kind));
                }
                (Some(_), Some(listed)) if listed.tag.is_empty() || listed.reason.is_empty() => {
                    faults.push(format!("{name} is listed without a tag or reason"));
                }
                _ => {}
            }
        }
        println!("{peer:16}{agreed:8}{differ:8}{decline:9}");
    }
    println!("skipped, because we show no such number: {skipped:?}");
    faults.extend(differences.keys().map(|name| format!("{name} is on the list, but there is no such scenario")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name).with_extension("json");
    serde_json::from_str(&fs::read_to_string(&file).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn play(peer: &str, scenario: &Scenario, skipped: &mut BTreeMap<String, u32>) -> Result<(), Stop> {
    let mut player = Player::new(peer, &scenario.config)?;
    let mut checked = 0;
    for (number, step) in scenario.steps.iter().enumerate() {
        let at = Duration::from_millis(step["at_ms"].as_u64().expect("a time"));
        player.move_to(at);
        let answer = player.perform(step)?;
        let nothing = serde_json::Map::new();
        for (key, expected) in step.get("expect").and_then(Value::as_object).unwrap_or(&nothing) {
            let shown = key.strip_suffix("_at_most").or_else(|| key.strip_suffix("_at_least")).unwrap_or(key);
            let actual = answer.get(key).cloned().map_or_else(|| player.look(shown), |told| Ok(Some(told)))?;
            match actual {
                None => *skipped.entry(key.clone()).or_default() += 1,
                Some(actual) if same(key, expected, &actual) => checked += 1,
                Some(actual) => {
                    let why = format!("step {} at {at:?}: {key} is {actual}, not {expected}", number + 1);
                    return Err(Stop::Differs(why));
                }
            }
        }
    }
    assert!(checked > 0, "{}: nothing of it was compared", scenario.name);
    Ok(())
}

/// Rates within 0.01, bounds on their side, everything else exactly.
fn same(key: &str, expected: &Value, actual: &Value) -> bool {
    match (expected.as_f64(), actual.as_f64()) {
        (Some(most), Some(actual)) if key.ends_with("_at_most") => actual <= most,
        (Some(least), Some(actual)) if key.ends_with("_at_least") => actual >= least,
        (Some(expected), Some(actual)) => (expected - actual).abs() <= 0.01,
        _ => expected == actual,
    }
}

// ---- Their configuration as a policy of ours -----------------------------------------------------------------------

fn policy(peer: &str, config: &Value) -> Result<Policy, Stop> {
    let mut spec = PolicySpec {
        failure_threshold: Some(0),
        failure_rate_threshold: Some(0.0),
        window: Some(window(&config["window"])),
        // None of the three has leases: the longest one stands for none.
        lease: Some(Duration::from_secs(3600)),
        retry_after_max: Some(DAY),
        ..PolicySpec::default()
    };
    add_rules(&mut spec, config)?;
    if peer == "gobreaker" && config["window"]["kind"] != "none" {
        // Its row belongs to its window. Where it has no rule for the row, ours is out of reach.
        spec.monitoring_period = millis(&config["window"]["duration_ms"]);
        spec.failure_threshold =
            spec.failure_threshold.filter(|threshold| *threshold > 0).or(Some(FAILURE_THRESHOLD_MAX));
    }
    if let Some(slow) = millis(&config["slow_call_duration_ms"]) {
        // Theirs are slow when strictly longer.
        spec.slow_call_duration = Some(slow + Duration::from_nanos(1));
        if config["policy"] != "none" {
            spec.slow_call_rate_threshold = config["slow_call_rate_threshold"].as_f64().map(|percent| percent / 100.0);
        }
    }
    if let Some(minimum) = config["minimum_calls"].as_u64() {
        spec.minimum_calls = Some(number(minimum.max(1))?);
    }
    spec.open_duration = millis(&config["open_duration_ms"]);
    spec.open_duration_min = Some(Duration::from_millis(1));
    if let Some(backoff) = config["open_backoff"].as_object() {
        spec.open_backoff = Some(BackoffSpec {
            multiplier: backoff["factor"].as_f64().expect("a factor"),
            max_duration: backoff.get("max_ms").and_then(millis).unwrap_or(DAY),
            jitter: 0.0,
        });
    }
    let probes = config["half_open_max_calls"].as_u64();
    spec.probes = probes.map(number).transpose()?;
    if let Some(successes) = config["success_threshold"].as_u64() {
        spec.successes_to_close = Some(number(successes)?);
    } else if let (Some(minimum), Some(probes)) = (config["minimum_calls"].as_u64(), probes) {
        // "So many calls, such a rate", judged when all are in; ours as soon as it is certain.
        let calls = minimum.min(probes);
        let percent = config["failure_rate_threshold"].as_u64().or(Some(50)).expect("a rate");
        let failures = (calls * percent).div_ceil(100);
        spec.failures_to_reopen = Some(number(failures)?);
        spec.successes_to_close = Some(number(calls - failures + 1)?);
    }
    if let Some(wait) = millis(&config["half_open_max_wait_ms"]).filter(|wait| !wait.is_zero()) {
        spec.half_open_max_duration = Some(wait);
        if config["half_open_timeout_state"] != "open" {
            return declined("a half-open round that times out can only reopen");
        }
    }
    spec.resolve().or_else(declined)
}

/// The trip rules, one or any of several.
fn add_rules(spec: &mut PolicySpec, rules: &Value) -> Result<(), Stop> {
    match rules["policy"].as_str().expect("a policy") {
        "none" => {}
        "consecutive_failures" => {
            spec.failure_threshold = Some(number(rules["failure_threshold"].as_u64().expect("a threshold"))?);
        }
        "failure_rate" => {
            let percent = rules["failure_rate_threshold"].as_f64().expect("a rate");
            // Above a rate is the same as reaching the next rate that so few calls can have.
            let above = if rules["threshold_compare"] == "gt" { 1e-9 } else { 0.0 };
            spec.failure_rate_threshold = Some(percent / 100.0 + above);
            spec.minimum_calls = Some(number(rules["minimum_calls"].as_u64().expect("a minimum").max(1))?);
        }
        "any_of" => {
            for rule in rules["policies"].as_array().expect("policies") {
                add_rules(spec, rule)?;
            }
        }
        other => return declined(format!("no rule is like {other}")),
    }
    Ok(())
}

fn window(window: &Value) -> WindowSpec {
    let duration = millis(&window["duration_ms"]).unwrap_or(DAY);
    match window["kind"].as_str().expect("a kind of window") {
        "count" => WindowSpec::Count(u32::try_from(window["size"].as_u64().expect("a size")).expect("a size of ours")),
        "time" => {
            let slices = window["buckets"].as_u64().and_then(|slices| u32::try_from(slices).ok()).expect("buckets");
            WindowSpec::Time { duration, slices }
        }
        // Counts that are cleared every so often: one slice.
        "fixed_interval" => WindowSpec::Time { duration, slices: 1 },
        // Counts that are never cleared: the longest window.
        "none" => WindowSpec::Time { duration, slices: 1 },
        other => panic!("no window is like {other}"),
    }
}

fn millis(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_millis)
}

fn number(number: u64) -> Result<u32, Stop> {
    u32::try_from(number).or_else(|_| declined(format!("{number} is above every maximum of ours")))
}

// ---- Their operations on our breaker -------------------------------------------------------------------------------

struct Player {
    breaker: Breaker,
    /// The rules, where the scenario asks only whether they hold; `breaker` has none then and goes on counting.
    judge: Option<Arc<Policy>>,
    config: Value,
    now: Timestamp,
    /// How far our clock is ahead, because we let time pass where they have an operation.
    ahead: Duration,
    permits: HashMap<u64, Permit>,
    moves: Vec<Transition>,
    /// Their counters start anew at each move; ours count over the life.
    totals_at_move: Totals,
}

impl Player {
    fn new(peer: &str, config: &Value) -> Result<Self, Stop> {
        let now = Timestamp::default();
        let policy = Arc::new(policy(peer, config)?);
        let mut breaker = Breaker::new(policy.clone(), 1, now);
        let mut judge = None;
        if config["verdict_only"] == true {
            let silent = Policy { failure_threshold: None, failure_rate_threshold: None, ..Policy::clone(&policy) };
            breaker = Breaker::new(Arc::new(silent), 1, now);
            judge = Some(policy.clone());
        }
        if config["initial_state"] == "open" {
            let state = State::Open { until: now.after(policy.open_duration), failed_recoveries: 0 };
            breaker = Breaker::restore(policy, Snapshot { state, ..breaker.snapshot() }, now);
        }
        let mut player = Self {
            breaker,
            judge,
            config: config.clone(),
            now,
            ahead: Duration::ZERO,
            permits: HashMap::new(),
            moves: Vec::new(),
            totals_at_move: Totals::default(),
        };
        if config["initial_state"] == "metrics_only" {
            player.force(OverrideMode::Shadow);
        }
        Ok(player)
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, random: 0 }
    }

    fn heard<T>(&mut self, step: Step<T>) -> T {
        self.hear(step.transitions);
        step.answer
    }

    fn hear(&mut self, moves: Vec<Transition>) {
        if !moves.is_empty() {
            self.totals_at_move = self.breaker.totals();
        }
        self.moves.extend(moves);
    }

    fn move_to(&mut self, at: Duration) {
        let end = Timestamp::default().after(at + self.ahead);
        while self.breaker.deadline() <= end {
            self.now = self.breaker.deadline();
            let moves = self.breaker.handle_timeout(self.moment());
            self.hear(moves);
        }
        self.now = end;
    }

    /// Does what a step says; what its answer tells beside the state.
    fn perform(&mut self, step: &Value) -> Result<BTreeMap<String, Value>, Stop> {
        let mut answer = BTreeMap::new();
        let mut tell = |key: &str, value: Value| answer.insert(key.to_owned(), value);
        let op = step["op"].as_str().expect("an operation");
        match op {
            "acquire" => match self.acquire() {
                Decision::Permitted(permit) => {
                    tell("granted", json!(true));
                    if let Some(number) = step["permit"].as_u64() {
                        self.permits.insert(number, permit);
                    }
                }
                Decision::Rejected { reason, .. } => {
                    tell("granted", json!(false));
                    tell("reason", json!(reason_name(reason)));
                }
            },
            "report_success" | "report_failure" | "report_ignored" => {
                let outcome = match op {
                    "report_success" => Outcome::Success,
                    "report_failure" => Outcome::Failure,
                    _ => Outcome::Ignored,
                };
                let report = Report {
                    duration: millis(&step["duration_ms"]),
                    retry_after: millis(&step["open_for_ms"]),
                    ..Report::of(outcome)
                };
                if let Some(policy) = &self.judge {
                    let mut judge = self.breaker.clone();
                    judge.set_policy(self.moment(), policy.clone());
                    call(&mut judge, self.moment(), &report);
                    tell("would_trip", json!(judge.state().name() == StateName::Open));
                }
                let permit = step["permit"].as_u64().map(|number| self.permits.remove(&number).expect("a permit"));
                // An outcome whose admission the peer does not track: admitted here, unless it would be refused.
                if let Some(permit) = permit.or_else(|| self.permit()) {
                    self.report(&permit, &report);
                }
            }
            "state" => {}
            "reset" => {
                let step = self.breaker.reset(self.moment());
                self.heard(step);
            }
            "trip" => self.trip(millis(&step["open_for_ms"]))?,
            "half_open" => match self.breaker.state() {
                State::Open { until, .. } => {
                    self.ahead += until.since(self.now);
                    self.move_to(Duration::from_millis(step["at_ms"].as_u64().expect("a time")));
                }
                State::HalfOpen(_) => {}
                State::Closed => return declined("no operation makes a closed breaker half-open"),
            },
            "close" => {
                let step = self.breaker.clear_override(self.moment(), None);
                self.heard(step);
                let step = self.breaker.reset(self.moment());
                self.heard(step);
            }
            "force_open" => self.force(OverrideMode::ForcedOpen),
            "disable" => self.force(OverrideMode::ForcedClosed),
            "metrics_only" => self.force(OverrideMode::Shadow),
            "parallel" => {
                let all_granted = self.parallel(step);
                tell("all_granted", json!(all_granted));
            }
            "evaluate" => {
                let count = |key: &str| u32::try_from(step["counts"][key].as_u64().expect("a count")).expect("a few");
                let (successes, failures) = (count("successes"), count("failures"));
                let tally = Tally { generation: 1, successes, failures, ..Tally::default() };
                let mut judge = self.breaker.clone();
                judge.set_policy(self.moment(), self.judge.clone().expect("a rule to evaluate"));
                judge.tally(self.moment(), CallerId(0), ServiceId(0), &tally, CALLERS_MAX);
                tell("would_trip", json!(judge.state().name() == StateName::Open));
            }
            "create" => {
                let requested = self.config["requested"].as_object().expect("what is requested");
                let valid = requested.values().all(Value::is_u64);
                tell("ok", json!(valid));
                tell("error", json!((!valid).then_some("invalid_config")));
            }
            other => return declined(format!("no operation is like {other}")),
        }
        Ok(answer)
    }

    fn acquire(&mut self) -> Decision {
        let step = self.breaker.acquire(self.moment(), &anonymous());
        self.heard(step)
    }

    /// A permit, unless it would be refused; a refusal is then not counted.
    fn permit(&mut self) -> Option<Permit> {
        match self.breaker.clone().acquire(self.moment(), &anonymous()).answer {
            Decision::Permitted(_) => match self.acquire() {
                Decision::Permitted(permit) => Some(permit),
                Decision::Rejected { .. } => None,
            },
            Decision::Rejected { .. } => None,
        }
    }

    fn report(&mut self, permit: &Permit, report: &Report) {
        let step = self.breaker.report(self.moment(), permit, report);
        self.heard(step);
    }

    /// Opens as if the rule had fired: by failures, until it does. Where all probes are out, they are the ones to fail.
    fn trip(&mut self, open_for: Option<Duration>) -> Result<(), Stop> {
        let report = Report { retry_after: open_for, ..Report::of(Outcome::Failure) };
        for _ in 0..FAILURES_TO_TRIP_MAX {
            if self.breaker.state().name() == StateName::Open {
                return Ok(());
            }
            let out = self.permits.keys().next().copied();
            let permit = self.permit().or_else(|| self.permits.remove(&out?));
            let Some(permit) = permit else { return declined("no call is permitted that could fail") };
            self.report(&permit, &report);
        }
        declined("failures alone do not trip it")
    }

    fn force(&mut self, mode: OverrideMode) {
        let (actor, reason) = ("operator".into(), "a scenario".into());
        let forced =
            Override { id: "default".to_owned(), mode, actor, reason, set: self.now, expire: Timestamp::NEVER };
        let step = self.breaker.set_override(self.moment(), forced);
        self.heard(step);
    }

    /// All workers' calls, one after the other: worker by worker within each iteration.
    fn parallel(&mut self, step: &Value) -> bool {
        let count = |key: &str| usize::try_from(step[key].as_u64().expect("a count")).expect("not so many");
        let (workers, iterations) = (count("workers"), count("iterations"));
        let (body, cycles) = match &step["body"] {
            Value::Array(body) => (body, false),
            _ => (step["body_cycle"].as_array().expect("a body"), true),
        };
        let mut all_granted = true;
        for iteration in 0..iterations {
            let each = if cycles { &body[iteration % body.len()..][..1] } else { &body[..] };
            for (_, call) in (0..workers).flat_map(|worker| each.iter().map(move |call| (worker, call))) {
                let outcome = match call.as_str().expect("a call") {
                    "call_success" => Outcome::Success,
                    "call_failure" => Outcome::Failure,
                    _ => Outcome::Ignored,
                };
                match self.acquire() {
                    Decision::Permitted(permit) => self.report(&permit, &Report::of(outcome)),
                    Decision::Rejected { .. } => all_granted = false,
                }
            }
        }
        all_granted
    }

    // What they look at, from what we show.

    /// The value of an expectation; `None` where we show no such number.
    fn look(&mut self, key: &str) -> Result<Option<Value>, Stop> {
        let counts = self.counts();
        let totals = self.breaker.totals();
        let exceeded = |rule: Option<TripRule>| {
            let held = |step: &&Transition| match step.reason {
                Reason::TripRule(held) => step.kind == Kind::WouldHaveOpened && rule.is_none_or(|rule| rule == held),
                _ => false,
            };
            self.moves.iter().filter(held).count()
        };
        Ok(Some(match key {
            "state" => json!(self.shown()),
            "events" => self.events(),
            "trip_reason" => {
                let rule = self.moves.iter().rev().find_map(|step| match step.reason {
                    Reason::TripRule(rule) => Some(rule),
                    _ => None,
                });
                json!(rule.map(|rule| match rule {
                    TripRule::FailureThreshold => "consecutive_failures",
                    TripRule::FailureRateThreshold => "failure_rate",
                    _ => "another",
                }))
            }
            "error" => Value::Null,
            "successes" => json!(counts.successes),
            "failures" => json!(counts.failures),
            "slow" => json!(counts.slow),
            "total" => json!(counts.calls()),
            "failure_rate" => self.rate(counts.failures, &counts),
            "slow_rate" => self.rate(counts.slow, &counts),
            "consecutive_failures" => json!(self.breaker.status(self.now).failures),
            "rejected" => json!(totals.rejected - self.totals_at_move.rejected),
            // Theirs leave with the window; ours are counted over the life.
            "ignored" if self.config["window"]["kind"] == "none" => json!(totals.ignored - self.totals_at_move.ignored),
            "threshold_exceeded_events" => json!(exceeded(None)),
            "failure_rate_exceeded_events" => json!(exceeded(Some(TripRule::FailureRateThreshold))),
            "slow_rate_exceeded_events" => json!(exceeded(Some(TripRule::SlowCallRateThreshold))),
            "ignored"
            | "requests"
            | "consecutive_successes"
            | "slow_successes"
            | "slow_failures"
            | "total_duration_ms"
            | "average_duration_ms" => return Ok(None),
            other => return declined(format!("nothing is like {other}")),
        }))
    }

    /// The state that callers get.
    fn shown(&mut self) -> &'static str {
        let status = self.breaker.status(self.now);
        shown(status.state, status.forced)
    }

    /// The calls that decide: of the window, or of the round while half-open.
    fn counts(&mut self) -> Counts {
        match self.breaker.state() {
            State::HalfOpen(round) => {
                let (successes, failures) = (round.successes.into(), round.failures.into());
                Counts { successes, failures, ..Counts::default() }
            }
            _ => self.breaker.counts(self.now),
        }
    }

    /// Percent, or null while there are fewer calls than the minimum.
    #[expect(clippy::cast_precision_loss, reason = "few calls")]
    fn rate(&self, part: u64, counts: &Counts) -> Value {
        let policy = self.breaker.policy();
        let minimum = match self.breaker.state() {
            State::HalfOpen(_) => policy.successes_to_close + policy.failures_to_reopen - 1,
            _ => policy.minimum_calls,
        };
        let believed = counts.calls() >= u64::from(minimum);
        json!(believed.then(|| 100.0 * part as f64 / counts.calls() as f64))
    }

    /// Every event that we publish, as a move between the states that callers get.
    fn events(&self) -> Value {
        let mut before = shown(StateName::Closed, None);
        let moves = self.moves.iter().filter(|step| step.kind != Kind::PolicyChanged);
        let pair = |step: &Transition| {
            let after = shown(step.to, step.status.forced);
            json!([std::mem::replace(&mut before, after), after])
        };
        moves.map(pair).collect()
    }
}

const fn shown(state: StateName, forced: Option<OverrideMode>) -> &'static str {
    match (forced, state) {
        (Some(OverrideMode::ForcedOpen), _) => "forced_open",
        (Some(OverrideMode::ForcedClosed), _) => "disabled",
        (Some(OverrideMode::Shadow), _) => "metrics_only",
        (None, StateName::Closed) => "closed",
        (None, StateName::Open) => "open",
        (None, StateName::HalfOpen) => "half_open",
    }
}

const fn reason_name(reason: Rejection) -> &'static str {
    match reason {
        Rejection::Open => "open",
        Rejection::HalfOpenFull => "half_open_full",
        Rejection::ForcedOpen => "forced_open",
        Rejection::CallerIsolated => "caller_isolated",
    }
}

const fn anonymous() -> Acquire {
    Acquire {
        caller: CallerId(0),
        service: ServiceId(0),
        request: RequestId(0),
        lease: None,
        ledger_bytes_max: LEDGER_BYTES_MAX,
        callers_max: CALLERS_MAX,
    }
}

/// One call, from permit to report.
fn call(breaker: &mut Breaker, moment: Moment, report: &Report) {
    if let Decision::Permitted(permit) = breaker.acquire(moment, &anonymous()).answer {
        breaker.report(moment, &permit, report);
    }
}
