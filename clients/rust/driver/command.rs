//! The commands, as they are read.

use std::time::Duration;

use fuseboard_client::{
    BreakerOptions, ExpiredPermit, Mode, OpenBackoff, Options, Origin, Outcome, Policy, Report, TripOn, Voters,
    WhenUnavailable, Window,
};
use serde::Deserialize;
use serde_json::Value;

/// One line of input: the fields of all commands together.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Command {
    pub(crate) id: Value,
    #[serde(rename = "do")]
    pub(crate) what: String,
    pub(crate) client: String,
    pub(crate) breaker: String,
    pub(crate) permit: String,
    pub(crate) manual_time: bool,
    pub(crate) options: Choices,
    pub(crate) policy: Option<Value>,
    pub(crate) steps: Vec<Step>,
    pub(crate) timeout_ms: f64,
    pub(crate) ms: f64,
    outcome: String,
    duration_ms: f64,
    error_class: String,
    pub(crate) retry_after_ms: f64,
    origin: String,
    pub(crate) wait: bool,
    pub(crate) reason: String,
    pub(crate) call: Call,
    pub(crate) times: u32,
    pub(crate) fallback: Option<Value>,
    pub(crate) ignore: Option<String>,
}

/// What `execute` is to call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Call {
    pub(crate) returns: Value,
    pub(crate) throws: Option<String>,
    pub(crate) hangs_ms: f64,
}

/// One of the local breaker's steps.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Step {
    pub(crate) at_ms: f64,
    #[serde(rename = "do")]
    pub(crate) what: String,
    pub(crate) permit: String,
    pub(crate) outcome: String,
    pub(crate) origin: String,
}

/// The options of a client and of a breaker together.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Choices {
    address: String,
    caller: String,
    token: Option<String>,
    mode: Option<String>,
    when_unavailable: Option<String>,
    acquire_timeout_ms: Option<f64>,
    report_timeout_ms: Option<f64>,
    report_interval_ms: Option<f64>,
    progress_interval_ms: Option<f64>,
    max_staleness_ms: Option<f64>,
    close_timeout_ms: Option<f64>,
    policy: Option<Value>,
    revision: u64,
    call_timeout_ms: Option<f64>,
}

/// Milliseconds, to the microsecond.
pub(crate) fn ms(ms: f64) -> Duration {
    Duration::from_micros((ms * 1e3).round() as u64)
}

impl Choices {
    pub(crate) fn client(&self) -> Result<Options, String> {
        let mut options = Options { token: self.token.clone(), ..Options::new(&self.address) };
        if !self.caller.is_empty() {
            options.caller.clone_from(&self.caller);
        }
        options.mode = self.mode()?.unwrap_or_default();
        options.when_unavailable = self.when_unavailable()?.unwrap_or_default();
        options.max_staleness = self.max_staleness_ms.map(ms);
        for (option, given) in [
            (&mut options.acquire_timeout, self.acquire_timeout_ms),
            (&mut options.report_timeout, self.report_timeout_ms),
            (&mut options.report_interval, self.report_interval_ms),
            (&mut options.progress_interval, self.progress_interval_ms),
            (&mut options.close_timeout, self.close_timeout_ms),
        ] {
            *option = given.map_or(*option, ms);
        }
        Ok(options)
    }

    pub(crate) fn breaker(&self) -> Result<BreakerOptions, String> {
        Ok(BreakerOptions {
            policy: self.policy.as_ref().map(policy).transpose()?,
            revision: self.revision,
            mode: self.mode()?,
            when_unavailable: self.when_unavailable()?,
            call_timeout: self.call_timeout_ms.map(ms),
        })
    }

    fn mode(&self) -> Result<Option<Mode>, String> {
        match self.mode.as_deref() {
            None => Ok(None),
            Some("cached") => Ok(Some(Mode::Cached)),
            Some("strict") => Ok(Some(Mode::Strict)),
            Some(other) => Err(format!("there is no mode {other:?}")),
        }
    }

    fn when_unavailable(&self) -> Result<Option<WhenUnavailable>, String> {
        match self.when_unavailable.as_deref() {
            None => Ok(None),
            Some("local") => Ok(Some(WhenUnavailable::Local)),
            Some("permit") => Ok(Some(WhenUnavailable::Permit)),
            Some("reject") => Ok(Some(WhenUnavailable::Reject)),
            Some(other) => Err(format!("there is no when_unavailable {other:?}")),
        }
    }
}

impl Command {
    pub(crate) fn report(&self) -> Result<Report, String> {
        Ok(Report {
            duration: (self.duration_ms > 0.0).then(|| ms(self.duration_ms)),
            error_class: self.error_class.clone(),
            retry_after: (self.retry_after_ms > 0.0).then(|| ms(self.retry_after_ms)),
            origin: match self.origin.as_str() {
                "local" => Some(Origin::Local),
                "dependency" => Some(Origin::Dependency),
                _ => None,
            },
            ..Report::new(outcome(&self.outcome)?)
        })
    }
}

pub(crate) fn outcome(name: &str) -> Result<Outcome, String> {
    let all = [Outcome::Success, Outcome::Failure, Outcome::Timeout, Outcome::Ignored, Outcome::Cancelled];
    all.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| format!("there is no outcome {name:?}"))
}

/// A policy as the proto's JSON with the proto's field names.
pub(crate) fn policy(json: &Value) -> Result<Policy, String> {
    let mut policy = Policy::default();
    for (field, value) in json.as_object().ok_or("a policy is an object")? {
        match field.as_str() {
            "failure_threshold" => policy.failure_threshold = count(value),
            "monitoring_period" => policy.monitoring_period = duration(value),
            "failure_count_threshold" => policy.failure_count_threshold = count(value),
            "failure_rate_threshold" => policy.failure_rate_threshold = value.as_f64(),
            "slow_call_duration" => policy.slow_call_duration = duration(value),
            "slow_call_rate_threshold" => policy.slow_call_rate_threshold = value.as_f64(),
            "slow_call_minimum_calls" => policy.slow_call_minimum_calls = count(value),
            "window" => policy.window = Some(window(value)?),
            "minimum_calls" => policy.minimum_calls = count(value),
            "open_duration" => policy.open_duration = duration(value),
            "open_backoff" => {
                policy.open_backoff = Some(OpenBackoff {
                    multiplier: value["multiplier"].as_f64().unwrap_or_default(),
                    max_duration: duration(&value["max_duration"]).unwrap_or_default(),
                    jitter: value["jitter"].as_f64().unwrap_or_default(),
                });
            }
            "probes" => policy.probes = count(value),
            "successes_to_close" => policy.successes_to_close = count(value),
            "failures_to_reopen" => policy.failures_to_reopen = count(value),
            "half_open_max_duration" => policy.half_open_max_duration = duration(value),
            "retry_after_max" => policy.retry_after_max = duration(value),
            "lease" => policy.lease = duration(value),
            "expired_probe" => policy.expired_probe = expired(value),
            "expired_permit" => policy.expired_permit = expired(value),
            "min_callers" => policy.min_callers = count(value),
            "share" => policy.share = value.as_f64(),
            "voters" => policy.voters = voters(value),
            "trip_on" => policy.trip_on = trip_on(value),
            "open_duration_min" => policy.open_duration_min = duration(value),
            other => return Err(format!("a policy has no {other:?}")),
        }
    }
    Ok(policy)
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| count.try_into().ok())
}

fn duration(value: &Value) -> Option<Duration> {
    let seconds = value.as_str()?.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn window(value: &Value) -> Result<Window, String> {
    if let Some(calls) = count(&value["count"]["calls"]) {
        return Ok(Window::Count(calls));
    }
    let time = &value["time"];
    let duration = duration(&time["duration"]).ok_or("a window has calls or a duration")?;
    Ok(Window::Time { duration, slices: count(&time["slices"]).unwrap_or_default() })
}

fn voters(value: &Value) -> Option<Voters> {
    match value.as_str()? {
        "VOTERS_INSTANCE" => Some(Voters::Instance),
        "VOTERS_SERVICE" => Some(Voters::Service),
        _ => None,
    }
}

fn trip_on(value: &Value) -> Option<TripOn> {
    match value.as_str()? {
        "TRIP_ON_ANY" => Some(TripOn::Any),
        "TRIP_ON_FAILURE" => Some(TripOn::Failure),
        _ => None,
    }
}

fn expired(value: &Value) -> Option<ExpiredPermit> {
    match value.as_str()? {
        "EXPIRED_PERMIT_FAILURE" => Some(ExpiredPermit::Failure),
        "EXPIRED_PERMIT_TIMEOUT" => Some(ExpiredPermit::Timeout),
        _ => Some(ExpiredPermit::Ignored),
    }
}
