//! Scenarios: timelines as data, run on anything that can play a breaker. The format is in `tests/scenarios/README.md`.

#![allow(unreachable_pub, reason = "a module of several test crates")]

pub mod core;
pub mod policy;

use std::{collections::HashMap, fs, path::Path, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use self::policy::{PolicyText, Span};

/// Something that can play a breaker: the pure one, or a server's over gRPC.
///
/// Answers are objects with the fields of the README, every one of them there: durations and instants in milliseconds,
/// instants and generations counted from the scenario's start.
pub trait Driver {
    /// What an acquire hands out.
    type Permit: Clone + PartialEq;

    /// Whether it does what the engine adds to the pure breaker.
    const IS_SERVER: bool;

    /// Begins a scenario at the start of a day, with a breaker of its own, declared where there is a policy.
    fn begin(&mut self, key: &str, policy: Option<&PolicyText>);
    /// Moves time to so long after the start. What falls due on the way happens on the way.
    fn move_to(&mut self, at: Duration);
    fn acquire(&mut self, acquire: &Acquire) -> (Value, Option<Self::Permit>);
    fn report(&mut self, permit: &Self::Permit, report: &Report) -> Value;
    fn tally(&mut self, tally: &Tally) -> Value;
    /// Lets a caller be there without a call.
    fn watch(&mut self, caller: &str) -> Value;
    fn reset(&mut self) -> Value;
    fn probe_now(&mut self, caller: &str) -> Value;
    fn set_override(&mut self, mode: OverrideMode, expire_after: Option<Duration>) -> Value;
    fn clear_override(&mut self) -> Value;
    fn set_policy(&mut self, policy: &PolicyText) -> Value;
    fn state(&mut self) -> Value;
    /// Events since this was last asked, oldest first.
    fn events(&mut self) -> Value;
}

/// One claim and the timeline that shows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// True where the pure breaker leaves it to the engine.
    #[serde(default)]
    server_only: bool,
    policy: Option<PolicyText>,
    steps: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    Acquire {
        #[serde(rename = "as")]
        label: Option<String>,
        #[serde(default)]
        caller: String,
        #[serde(default)]
        request_id: String,
        lease: Option<Span>,
    },
    Report {
        permit: String,
        outcome: Outcome,
        duration: Option<Span>,
        retry_after: Option<Span>,
        #[serde(default)]
        error_class: String,
        #[serde(default)]
        origin: Origin,
    },
    Call {
        times: Option<u32>,
        #[serde(default)]
        caller: String,
        outcome: Outcome,
        duration: Option<Span>,
        retry_after: Option<Span>,
        #[serde(default)]
        error_class: String,
        #[serde(default)]
        origin: Origin,
    },
    Tally(Tally),
    Watch {
        caller: String,
        /// So many callers: the name with 1, 2 and so on behind it.
        times: Option<u32>,
    },
    Reset,
    ProbeNow {
        #[serde(default)]
        caller: String,
    },
    SetOverride {
        mode: OverrideMode,
        expire_after: Option<Span>,
    },
    ClearOverride,
    SetPolicy {
        policy: PolicyText,
    },
    State,
    Events,
}

/// A request for leave to make a call.
#[derive(Debug, Default)]
pub struct Acquire {
    pub caller: String,
    pub request_id: String,
    pub lease: Option<Duration>,
}

/// How a call went.
#[derive(Debug)]
pub struct Report {
    pub outcome: Outcome,
    pub duration: Option<Duration>,
    pub retry_after: Option<Duration>,
    pub error_class: String,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Success,
    Failure,
    Timeout,
    Ignored,
    Cancelled,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    #[default]
    Dependency,
    Local,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideMode {
    ForcedOpen,
    ForcedClosed,
    Shadow,
}

/// Calls that a client decided on by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tally {
    pub caller: String,
    /// Counted from the scenario's start: its first is 1. Absent: the one the breaker is in.
    pub generation: Option<u64>,
    /// Absent: the one the caller's scope is in.
    pub caller_generation: Option<u64>,
    pub age: Option<Span>,
    pub successes: u32,
    pub failures: u32,
    pub timeouts: u32,
    pub slow: u32,
    pub ignored: u32,
    pub rejections: u32,
    pub local_failures: u32,
    leading_failures: Option<u32>,
    longest_run: Option<u32>,
    trailing_failures: Option<u32>,
    /// The calls in their order instead of counts and runs: `x` for a failure, `.` for a success.
    pub order: Option<String>,
    pub retry_after: Option<Span>,
    /// Number of the batch that carries it. Absent: the next one.
    pub batch_sequence: Option<u64>,
}

impl Tally {
    /// With counts and runs instead of the order of the calls, as a client counts them.
    pub fn counted(&self) -> Counted {
        let Some(order) = &self.order else {
            return Counted {
                successes: self.successes,
                failures: self.failures,
                leading_failures: self.leading_failures.unwrap_or_default(),
                longest_run: self.longest_run.unwrap_or_default(),
                trailing_failures: self.trailing_failures(),
            };
        };
        let runs: Vec<u32> =
            order.split('.').map(|run| run.chars().filter(|call| *call == 'x').count() as u32).collect();
        Counted {
            successes: runs.len() as u32 - 1,
            failures: runs.iter().sum(),
            leading_failures: runs[0],
            longest_run: runs.iter().copied().max().unwrap_or_default(),
            trailing_failures: runs[runs.len() - 1],
        }
    }

    /// All failures where there is no success, and none where it says nothing else.
    fn trailing_failures(&self) -> u32 {
        let all = if self.successes == 0 { self.failures + self.timeouts } else { 0 };
        self.trailing_failures.unwrap_or(all)
    }
}

/// The counts of a tally that depend on the order of its calls.
pub struct Counted {
    pub successes: u32,
    pub failures: u32,
    pub leading_failures: u32,
    pub longest_run: u32,
    pub trailing_failures: u32,
}

/// A file of scenarios about one topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The file's name.
    #[serde(skip)]
    pub file: String,
    #[serde(rename = "topic")]
    _claim: String,
    pub scenarios: Vec<Scenario>,
}

/// Every file of `tests/scenarios`, in the order of their names.
pub fn topics() -> Vec<Topic> {
    // A package below the repository's root plays them too.
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("tests/scenarios"));
    let folder = folders.find(|folder| folder.is_dir()).expect("a folder of scenarios");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let topic: Topic = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Topic { file: file.file_stem().unwrap().to_string_lossy().into_owned(), ..topic }
    };
    files.iter().map(|file| read(file)).collect()
}

/// Runs all scenarios that the driver can play, and panics with a list of those that fail.
pub fn run_all<D: Driver>(driver: &mut D) {
    let mut failures = Vec::new();
    let mut run = 0;
    for topic in topics() {
        for (index, scenario) in topic.scenarios.iter().enumerate() {
            if scenario.server_only && !D::IS_SERVER {
                continue;
            }
            run += 1;
            driver.begin(&format!("scenarios/{}/{index}", topic.file), scenario.policy.as_ref());
            if let Err(error) = play(driver, scenario) {
                failures.push(format!("{}: {}\n    {error}", topic.file, scenario.name));
            }
        }
    }
    println!("{run} scenarios");
    assert!(failures.is_empty(), "{} of {run} scenarios fail:\n{}", failures.len(), failures.join("\n"));
}

fn play<D: Driver>(driver: &mut D, scenario: &Scenario) -> Result<(), String> {
    let mut permits = HashMap::new();
    for (number, step) in scenario.steps.iter().enumerate() {
        let mut fields = step.clone();
        let parts = fields.as_object_mut().ok_or("a step is an object")?;
        let at = parts.remove("at").and_then(|at| at.as_u64()).ok_or("a step has `at`, in milliseconds")?;
        let expected = parts.remove("expect").unwrap_or_else(|| json!({}));
        let action = serde_json::from_value(fields).map_err(|error| format!("step {}: {error}: {step}", number + 1))?;
        driver.move_to(Duration::from_millis(at));
        let answer = perform(driver, action, &mut permits).map_err(|error| format!("step {}: {error}", number + 1))?;
        check(&expected, &answer, "")
            .map_err(|error| format!("step {}: {error}\n    of {step}\n    answered {answer}", number + 1))?;
    }
    Ok(())
}

fn perform<D: Driver>(
    driver: &mut D,
    action: Action,
    permits: &mut HashMap<String, D::Permit>,
) -> Result<Value, String> {
    Ok(match action {
        Action::Acquire { label, caller, request_id, lease } => {
            let acquire = Acquire { caller, request_id, lease: lease.map(|lease| lease.0) };
            let (mut answer, permit) = driver.acquire(&acquire);
            // Which of the earlier permits it is; null for a new one.
            let same = permits.iter().find(|(_, known)| Some(*known) == permit.as_ref()).map(|(label, _)| label);
            answer["same_as"] = json!(same);
            if let (Some(label), Some(permit)) = (label, permit) {
                permits.insert(label, permit);
            }
            answer
        }
        Action::Report { permit, outcome, duration, retry_after, error_class, origin } => {
            let permit = permits.get(&permit).ok_or_else(|| format!("no permit was given as {permit:?}"))?;
            driver.report(permit, &report(outcome, duration, retry_after, error_class, origin))
        }
        Action::Call { times, caller, outcome, duration, retry_after, error_class, origin } => {
            let acquire = Acquire { caller, ..Acquire::default() };
            let report = report(outcome, duration, retry_after, error_class, origin);
            let mut answer = Value::Null;
            for call in 1..=times.unwrap_or(1) {
                let (refusal, permit) = driver.acquire(&acquire);
                let permit = permit.ok_or_else(|| format!("call {call} was not permitted: {refusal}"))?;
                answer = driver.report(&permit, &report);
            }
            answer
        }
        Action::Tally(tally) => driver.tally(&tally),
        Action::Watch { caller, times: None } => driver.watch(&caller),
        Action::Watch { caller, times: Some(times) } => {
            (1..=times).map(|number| driver.watch(&format!("{caller}{number}"))).last().unwrap_or(Value::Null)
        }
        Action::Reset => driver.reset(),
        Action::ProbeNow { caller } => driver.probe_now(&caller),
        Action::SetOverride { mode, expire_after } => driver.set_override(mode, expire_after.map(|after| after.0)),
        Action::ClearOverride => driver.clear_override(),
        Action::SetPolicy { policy } => driver.set_policy(&policy),
        Action::State => driver.state(),
        Action::Events => driver.events(),
    })
}

/// Callers have no order of their own; scenarios list them by name.
pub fn sorted(mut callers: Vec<Value>) -> Value {
    callers.sort_by_key(|caller| caller["caller"].as_str().map(ToOwned::to_owned));
    callers.into()
}

fn report(
    outcome: Outcome,
    duration: Option<Span>,
    retry_after: Option<Span>,
    error_class: String,
    origin: Origin,
) -> Report {
    let span = |span: Option<Span>| span.map(|span| span.0);
    Report { outcome, duration: span(duration), retry_after: span(retry_after), error_class, origin }
}

/// Whether an answer is as expected: objects in the fields named, lists in every item, numbers exactly or within a
/// range, and durations written out ("30s") as their milliseconds.
fn check(expected: &Value, actual: &Value, path: &str) -> Result<(), String> {
    let wrong = || Err(format!("`{path}` is {actual}, not {expected}"));
    match (expected, actual) {
        (Value::Object(range), Value::Number(_)) if range.keys().all(|key| key == "min" || key == "max") => {
            let number = milliseconds(actual).unwrap_or(f64::NAN);
            let bound = |key, open| range.get(key).map_or(Some(open), milliseconds);
            let (Some(min), Some(max)) = (bound("min", f64::MIN), bound("max", f64::MAX)) else { return wrong() };
            if number >= min && number <= max { Ok(()) } else { wrong() }
        }
        (Value::Object(expected), Value::Object(actual)) => expected.iter().try_for_each(|(key, expected)| {
            let path = format!("{path}.{key}");
            let actual = actual.get(key).ok_or_else(|| format!("`{path}` is not in the answer"))?;
            check(expected, actual, &path)
        }),
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            let mut pairs = expected.iter().zip(actual).enumerate();
            pairs.try_for_each(|(index, (expected, actual))| check(expected, actual, &format!("{path}[{index}]")))
        }
        (Value::Number(_) | Value::String(_), Value::Number(_)) => {
            let equal = match (milliseconds(expected), milliseconds(actual)) {
                (Some(expected), Some(actual)) => (expected - actual).abs() < 1e-6,
                _ => false,
            };
            if equal { Ok(()) } else { wrong() }
        }
        _ if expected == actual => Ok(()),
        _ => wrong(),
    }
}

fn milliseconds(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => Some(text.parse::<Span>().ok()?.0.as_secs_f64() * 1e3),
        value => value.as_f64(),
    }
}
