//! A policy as scenarios write it: the proto's fields in snake_case, durations as "30s" or "500ms".

use std::{str::FromStr, time::Duration};

use fuseboard::breaker::{
    PolicySpec,
    policy::{BackoffSpec, ExpiredPermit, TripOn, Voters, WindowSpec},
};
use serde::Deserialize;

/// A duration: a number and `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let found =
            units.iter().find_map(|(unit, length)| Some((text.strip_suffix(unit)?.parse::<u64>().ok()?, length)));
        let (number, length) = found.ok_or_else(|| format!("{text:?} is not a duration like \"30s\" or \"500ms\""))?;
        Ok(Self(Duration::from_millis(number * length)))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What a scenario declares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyText {
    pub failure_threshold: Option<u32>,
    pub monitoring_period: Option<Span>,
    pub failure_count_threshold: Option<u32>,
    pub failure_rate_threshold: Option<f64>,
    pub slow_call_duration: Option<Span>,
    pub slow_call_rate_threshold: Option<f64>,
    pub slow_call_minimum_calls: Option<u32>,
    pub window: Option<WindowText>,
    pub minimum_calls: Option<u32>,
    pub open_duration: Option<Span>,
    pub open_backoff: Option<BackoffText>,
    pub probes: Option<u32>,
    pub successes_to_close: Option<u32>,
    pub failures_to_reopen: Option<u32>,
    pub half_open_max_duration: Option<Span>,
    pub retry_after_max: Option<Span>,
    pub lease: Option<Span>,
    pub expired_probe: Option<Expired>,
    pub expired_permit: Option<Expired>,
    pub min_callers: Option<u32>,
    pub share: Option<f64>,
    pub voters: Option<Voters>,
    pub trip_on: Option<TripOn>,
    pub open_duration_min: Option<Span>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowText {
    Time {
        duration: Span,
        #[serde(default = "ten")]
        slices: u32,
    },
    Count {
        calls: u32,
    },
}

const fn ten() -> u32 {
    10
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackoffText {
    pub multiplier: f64,
    pub max_duration: Option<Span>,
    #[serde(default)]
    pub jitter: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expired {
    Failure,
    Timeout,
    Ignored,
}

impl PolicyText {
    /// As the pure breaker takes it.
    pub fn spec(&self) -> PolicySpec {
        let span = |span: Option<Span>| span.map(|span| span.0);
        let expired = |expired| match expired {
            Expired::Failure => ExpiredPermit::Failure,
            Expired::Timeout => ExpiredPermit::Timeout,
            Expired::Ignored => ExpiredPermit::Ignored,
        };
        PolicySpec {
            failure_threshold: self.failure_threshold,
            monitoring_period: span(self.monitoring_period),
            failure_count_threshold: self.failure_count_threshold,
            failure_rate_threshold: self.failure_rate_threshold,
            slow_call_duration: span(self.slow_call_duration),
            slow_call_rate_threshold: self.slow_call_rate_threshold,
            slow_call_minimum_calls: self.slow_call_minimum_calls,
            window: self.window.map(|window| match window {
                WindowText::Time { duration, slices } => WindowSpec::Time { duration: duration.0, slices },
                WindowText::Count { calls } => WindowSpec::Count(calls),
            }),
            minimum_calls: self.minimum_calls,
            open_duration: span(self.open_duration),
            open_backoff: self.open_backoff.map(|backoff| BackoffSpec {
                multiplier: backoff.multiplier,
                max_duration: span(backoff.max_duration).unwrap_or_default(),
                jitter: backoff.jitter,
            }),
            probes: self.probes,
            successes_to_close: self.successes_to_close,
            failures_to_reopen: self.failures_to_reopen,
            half_open_max_duration: span(self.half_open_max_duration),
            retry_after_max: span(self.retry_after_max),
            lease: span(self.lease),
            expired_probe: self.expired_probe.map(expired),
            expired_permit: self.expired_permit.map(expired),
            min_callers: self.min_callers,
            share: self.share,
            voters: self.voters,
            trip_on: self.trip_on,
            open_duration_min: span(self.open_duration_min),
        }
    }
}
