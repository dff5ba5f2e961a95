//! What a breaker does when: the thresholds, windows and periods of one breaker.
//!
//! A [`PolicySpec`] is what somebody wrote, with any field left out. A [`Policy`] is what a breaker follows: every field
//! is there and in its range. Specs are laid over each other ([`PolicySpec::over`], [`PolicySpec::declared_over`]) and
//! resolved last, so a policy that exists is valid. In a spec zero is a value of its own: it switches a rule off, where
//! `None` says nothing about it.

use std::{num::NonZeroU32, time::Duration};

use super::{outcome::Outcome, time::readable};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Default of `open_duration_min`: shorter open periods are nearly always a mistake of the unit.
pub const OPEN_DURATION_MIN: Duration = Duration::from_millis(100);
/// Most slices that a time window may be counted in.
pub const SLICES_MAX: u32 = 120;
/// Most calls that a count window may hold.
pub const WINDOW_CALLS_MAX: u32 = 100_000;
/// Highest `failure_threshold`: with a `monitoring_period` the breaker remembers that many instants.
pub const FAILURE_THRESHOLD_MAX: u32 = 10_000;
/// Most probes out at a time: the breaker remembers each.
pub const PROBES_MAX: u32 = 1_000;
/// Highest value of the other counting thresholds.
pub const CALLS_MAX: u32 = 1_000_000;
/// Highest `min_callers`: a breaker knows that many.
pub const MIN_CALLERS_MAX: u32 = 256;

/// A share of calls, above 0 and at most 1.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Ratio(f64);

impl Ratio {
    /// The share, if it is one.
    #[must_use]
    pub fn new(share: f64) -> Option<Self> {
        (share > 0.0 && share <= 1.0).then_some(Self(share))
    }

    /// The share as a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether `part` of `whole` reaches this share. Multiplies where dividing would round: 3 of 10 reach 0.3.
    #[must_use]
    pub fn reached(self, part: u64, whole: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let (part, whole) = (part as f64, whole as f64);
        whole > 0.0 && (part / whole >= self.0 || part >= self.0 * whole)
    }
}

/// Which recent calls count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowSpec {
    /// The last `duration`, in slices aligned to the clock: the running one and the full ones before it.
    Time {
        /// 10 ms to 24 h.
        duration: Duration,
        /// 1 to [`SLICES_MAX`].
        slices: u32,
    },
    /// The last so many calls, 1 to [`WINDOW_CALLS_MAX`].
    Count(u32),
}

/// How the open period grows while recoveries fail.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct BackoffSpec {
    /// Growth for each failed recovery, 1 to 100.
    pub multiplier: f64,
    /// Ceiling of the open period, 1 ms to 24 h. Zero: ten times `open_duration`.
    pub max_duration: Duration,
    /// Share of the period that is random, 0 to 1.
    pub jitter: f64,
}

/// What a permit that nobody reported counts as when its lease ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredPermit {
    /// As a failure.
    Failure,
    /// As a timeout.
    Timeout,
    /// As nothing.
    Ignored,
}

impl ExpiredPermit {
    /// The outcome that it counts as.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Failure => Outcome::Failure,
            Self::Timeout => Outcome::Timeout,
            Self::Ignored => Outcome::Ignored,
        }
    }
}

/// Whose evidence the quorum counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Voters {
    /// Each caller by its full name is one voter.
    #[default]
    Instance,
    /// All callers of a service, the part of the name before the first `/`, are one voter.
    Service,
}

/// Which reports may trip a breaker.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripOn {
    /// Any counted report, including a success that completes a minimum of calls.
    #[default]
    Any,
    /// Only failures; for the slow-call rule, only slow calls.
    Failure,
}

/// The rules of one breaker, complete and valid. Field by field as in [`PolicySpec`]; `None` is off.
#[derive(Clone, PartialEq, Debug)]
#[expect(missing_docs, reason = "the fields are explained once, at PolicySpec")]
pub struct Policy {
    pub failure_threshold: Option<NonZeroU32>,
    pub monitoring_period: Option<Duration>,
    pub failure_count_threshold: Option<NonZeroU32>,
    pub failure_rate_threshold: Option<Ratio>,
    pub slow_call_duration: Option<Duration>,
    pub slow_call_rate_threshold: Option<Ratio>,
    pub slow_call_minimum_calls: u32,
    pub window: WindowSpec,
    pub minimum_calls: u32,
    pub open_duration: Duration,
    pub open_backoff: Option<BackoffSpec>,
    pub probes: u32,
    pub successes_to_close: u32,
    pub failures_to_reopen: u32,
    pub half_open_max_duration: Option<Duration>,
    pub retry_after_max: Duration,
    pub lease: Duration,
    pub expired_probe: ExpiredPermit,
    pub expired_permit: ExpiredPermit,
    pub min_callers: u32,
    pub share: f64,
    pub voters: Voters,
    pub trip_on: TripOn,
    pub open_duration_min: Duration,
}

impl Policy {
    /// Whether the slow-call rule is on.
    #[must_use]
    pub const fn trips_by_slow_calls(&self) -> bool {
        self.slow_call_duration.is_some() && self.slow_call_rate_threshold.is_some()
    }
}

impl Default for Policy {
    /// The built-in policy: 5 failures in a row, or half of at least 20 calls in 30 s.
    fn default() -> Self {
        Self {
            failure_threshold: NonZeroU32::new(5),
            monitoring_period: None,
            failure_count_threshold: None,
            failure_rate_threshold: Ratio::new(0.5),
            slow_call_duration: None,
            slow_call_rate_threshold: None,
            slow_call_minimum_calls: 20,
            window: WindowSpec::Time { duration: Duration::from_secs(30), slices: 10 },
            minimum_calls: 20,
            open_duration: Duration::from_secs(30),
            open_backoff: None,
            probes: 1,
            successes_to_close: 1,
            failures_to_reopen: 1,
            half_open_max_duration: None,
            retry_after_max: Duration::from_secs(300),
            lease: Duration::from_secs(60),
            expired_probe: ExpiredPermit::Failure,
            expired_permit: ExpiredPermit::Ignored,
            min_callers: 2,
            share: 0.0,
            voters: Voters::Instance,
            trip_on: TripOn::Any,
            open_duration_min: OPEN_DURATION_MIN,
        }
    }
}

/// A field of a policy that is out of its range, and what the range is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} {message}")]
pub struct PolicyError {
    /// The field, by its name in the proto.
    pub field: &'static str,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// What somebody wrote about a policy: any field may be left out (`None`).
///
/// Defaults are the built-in policy's. "Zero: off" is a statement, unlike `None`.
#[derive(Clone, PartialEq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct PolicySpec {
    /// Failures in a row that trip; a success clears them. 0 to [`FAILURE_THRESHOLD_MAX`], default 5. Zero: off.
    pub failure_threshold: Option<u32>,
    /// Only failures in a row younger than this count. 1 ms to 24 h, default none. Zero: no age limit.
    pub monitoring_period: Option<Duration>,
    /// Failures inside the window that trip. 0 to [`CALLS_MAX`], default off. Zero: off.
    pub failure_count_threshold: Option<u32>,
    /// Share of the window's calls that failed that trips, from `minimum_calls` on. 0 to 1, default 0.5. Zero: off.
    pub failure_rate_threshold: Option<f64>,
    /// A call that took at least this long is slow. 1 ms to 1 h, default off. Zero: off.
    pub slow_call_duration: Option<Duration>,
    /// Share of the window's calls that were slow that trips, from `slow_call_minimum_calls` on; holds never without a
    /// `slow_call_duration`. 0 to 1, default off. Zero: off.
    pub slow_call_rate_threshold: Option<f64>,
    /// Calls before the slow-call rate is believed. 1 to [`CALLS_MAX`], default `minimum_calls`. Zero: `minimum_calls`. A count
    /// window limits it like `minimum_calls`.
    pub slow_call_minimum_calls: Option<u32>,
    /// Which recent calls count. Default: 30 s in 10 slices.
    pub window: Option<WindowSpec>,
    /// Calls before the failure rate is believed. 1 to [`CALLS_MAX`], default 20. Zero is invalid, as is more than the length
    /// of a count window of the same spec. A value from another spec is lowered to that length, or it would never be reached.
    pub minimum_calls: Option<u32>,
    /// How long it stays open. `open_duration_min` to 24 h, default 30 s. Zero is invalid.
    pub open_duration: Option<Duration>,
    /// How the open period grows. Default: fixed. A multiplier of 1 without jitter: fixed.
    pub open_backoff: Option<BackoffSpec>,
    /// Permits out at a time while half-open. 1 to [`PROBES_MAX`], default 1. Zero is invalid.
    pub probes: Option<u32>,
    /// Successful probes that close. 1 to [`CALLS_MAX`], default 1. Zero is invalid.
    pub successes_to_close: Option<u32>,
    /// Failed probes that reopen. 1 to [`CALLS_MAX`], default 1. Zero is invalid.
    pub failures_to_reopen: Option<u32>,
    /// Longest half-open round without a verdict, from its first probe on. 1 ms to 24 h, default none. Zero: no limit.
    pub half_open_max_duration: Option<Duration>,
    /// Cap of the open period that a dependency's retry-after may ask for. 0 to 24 h, default 5 min. Zero: not heard.
    pub retry_after_max: Option<Duration>,
    /// How long a permit is good for. 1 ms to 1 h, default 60 s. Zero is invalid.
    pub lease: Option<Duration>,
    /// What an unreported probe counts as. Default: a failure.
    pub expired_probe: Option<ExpiredPermit>,
    /// What any other unreported permit counts as. Default: nothing.
    pub expired_permit: Option<ExpiredPermit>,
    /// How many callers must have evidence before the breaker opens for all; as many as are known where these are
    /// fewer. 1 to [`MIN_CALLERS_MAX`], default 2. 1: the plain shared breaker. Zero is invalid.
    pub min_callers: Option<u32>,
    /// The same as a share of the known callers; the larger of both holds. 0 to 1, default 0. Zero: `min_callers` alone.
    pub share: Option<f64>,
    /// Whose evidence the quorum counts. Default: each instance's.
    pub voters: Option<Voters>,
    /// Which reports may trip. Default: any.
    pub trip_on: Option<TripOn>,
    /// Shortest `open_duration` that the policy accepts, and shortest open period that backoff and jitter draw. 1 ms to
    /// 24 h, default [`OPEN_DURATION_MIN`]. Zero is invalid.
    pub open_duration_min: Option<Duration>,
}

/// Gives the names of all fields of a [`PolicySpec`] to a macro.
macro_rules! fields {
    ($each:ident) => {
        $each!(
            failure_threshold,
            monitoring_period,
            failure_count_threshold,
            failure_rate_threshold,
            slow_call_duration,
            slow_call_rate_threshold,
            slow_call_minimum_calls,
            window,
            minimum_calls,
            open_duration,
            open_backoff,
            probes,
            successes_to_close,
            failures_to_reopen,
            half_open_max_duration,
            retry_after_max,
            lease,
            expired_probe,
            expired_permit,
            min_callers,
            share,
            voters,
            trip_on,
            open_duration_min,
        )
    };
}

impl PolicySpec {
    /// Checks each field that is there against its range, and those that contradict each other.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_ranges()?;
        let Some(WindowSpec::Count(length)) = self.window else { return Ok(()) };
        let fits = |field, minimum: Option<u32>| match minimum {
            Some(minimum) if minimum > length => {
                let reason = "the window never holds more calls; raise window.count.calls or lower";
                error(field, format!("must be at most window.count.calls, {length}, not {minimum}: {reason} {field}"))
            }
            _ => Ok(()),
        };
        fits("minimum_calls", self.minimum_calls)?;
        fits("slow_call_minimum_calls", self.slow_call_minimum_calls)
    }

    fn check_ranges(&self) -> Result<(), PolicyError> {
        let most = |field, value: Option<u32>, max| in_range(field, value, &0, max, "0 (off)");
        let some = |field, value: Option<u32>, max| in_range(field, value, &1, max, "1");
        most("failure_threshold", self.failure_threshold, FAILURE_THRESHOLD_MAX)?;
        most("failure_count_threshold", self.failure_count_threshold, CALLS_MAX)?;
        in_range("slow_call_minimum_calls", self.slow_call_minimum_calls, &0, CALLS_MAX, "0 (as minimum_calls)")?;
        some("minimum_calls", self.minimum_calls, CALLS_MAX)?;
        some("probes", self.probes, PROBES_MAX)?;
        some("successes_to_close", self.successes_to_close, CALLS_MAX)?;
        some("failures_to_reopen", self.failures_to_reopen, CALLS_MAX)?;
        some("min_callers", self.min_callers, MIN_CALLERS_MAX)?;
        share("failure_rate_threshold", self.failure_rate_threshold)?;
        share("slow_call_rate_threshold", self.slow_call_rate_threshold)?;
        share("share", self.share)?;
        period("monitoring_period", self.monitoring_period, true, DAY)?;
        period("slow_call_duration", self.slow_call_duration, true, HOUR)?;
        period("half_open_max_duration", self.half_open_max_duration, true, DAY)?;
        period("retry_after_max", self.retry_after_max, true, DAY)?;
        period("open_duration", self.open_duration, false, DAY)?;
        period("open_duration_min", self.open_duration_min, false, DAY)?;
        period("lease", self.lease, false, HOUR)?;
        match self.window {
            Some(WindowSpec::Time { duration, slices }) => {
                if !(Duration::from_millis(10)..=DAY).contains(&duration) {
                    let message = format!("must be 10 ms to 24 h, not {}", readable(duration));
                    return error("window.time.duration", message);
                }
                in_range("window.time.slices", Some(slices), &1, SLICES_MAX, "1")?;
            }
            Some(WindowSpec::Count(calls)) => {
                in_range("window.count.calls", Some(calls), &1, WINDOW_CALLS_MAX, "1")?;
            }
            None => {}
        }
        if let Some(backoff) = self.open_backoff {
            if !(1.0..=100.0).contains(&backoff.multiplier) {
                let message = format!("must be 1 to 100, not {}", backoff.multiplier);
                return error("open_backoff.multiplier", message);
            }
            share("open_backoff.jitter", Some(backoff.jitter))?;
            period("open_backoff.max_duration", Some(backoff.max_duration), true, DAY)?;
        }
        Ok(())
    }

    /// Checks that `open_duration` is not below `open_duration_min`: the spec's own, else `inherited`. Whoever writes a
    /// policy is told; a policy that was stored before, or whose floor is raised by a stronger one, opens for the floor.
    ///
    /// # Errors
    /// `open_duration` is below the floor.
    pub fn check_open_duration(&self, inherited: Duration) -> Result<(), PolicyError> {
        let min = self.open_duration_min.unwrap_or(inherited);
        match self.open_duration {
            Some(open_duration) if open_duration < min => {
                let (period, min) = (readable(open_duration), readable(min));
                error(
                    "open_duration",
                    format!(
                        "must be at least open_duration_min, which is {min}, not {period}; where so short an open \
                         period is meant, set open_duration_min to {period} in the same policy"
                    ),
                )
            }
            _ => Ok(()),
        }
    }

    /// This spec where it says something, `weaker` elsewhere.
    #[must_use]
    pub fn over(&self, weaker: &Self) -> Self {
        macro_rules! first {
            ($($field:ident),* $(,)?) => {
                Self { $($field: self.$field.or(weaker.$field)),* }
            };
        }
        fields!(first)
    }

    /// What this spec says that `other` does not say.
    #[must_use]
    pub fn unlike(&self, other: &Self) -> Self {
        macro_rules! unlike {
            ($($field:ident),* $(,)?) => {
                Self { $($field: self.$field.filter(|_| self.$field != other.$field)),* }
            };
        }
        fields!(unlike)
    }

    /// This declaration over the default: a declaration that states any trip rule replaces the default's rules as a
    /// whole, so that `failure_threshold` alone is exactly that breaker. Its other fields are inherited.
    #[must_use]
    pub fn declared_over(&self, default: &Self) -> Self {
        let rules = Self {
            failure_threshold: self.failure_threshold,
            monitoring_period: self.monitoring_period,
            failure_count_threshold: self.failure_count_threshold,
            failure_rate_threshold: self.failure_rate_threshold,
            slow_call_duration: self.slow_call_duration,
            slow_call_rate_threshold: self.slow_call_rate_threshold,
            slow_call_minimum_calls: self.slow_call_minimum_calls,
            ..Self::default()
        };
        if rules == Self::default() {
            return self.over(default);
        }
        let off = Self {
            failure_threshold: Some(0),
            monitoring_period: Some(Duration::ZERO),
            failure_count_threshold: Some(0),
            failure_rate_threshold: Some(0.0),
            slow_call_duration: Some(Duration::ZERO),
            slow_call_rate_threshold: Some(0.0),
            slow_call_minimum_calls: Some(0),
            ..Self::default()
        };
        self.over(&off).over(default)
    }

    /// The policy that this spec makes of the built-in one. Unlike [`PolicySpec::check`], it takes a minimum of calls above the
    /// length of a count window, and lowers it: the two may be of different authors, or stored by a version that took them.
    ///
    /// # Errors
    /// The first field out of its range.
    pub fn resolve(&self) -> Result<Policy, PolicyError> {
        self.check_ranges()?;
        let spec = self.over(&Self::from(&Policy::default()));
        let base = Policy::default();
        let window = spec.window.unwrap_or(base.window);
        let reachable = |calls: u32| match window {
            WindowSpec::Count(length) => calls.min(length),
            WindowSpec::Time { .. } => calls,
        };
        let minimum_calls = spec.minimum_calls.unwrap_or(base.minimum_calls);
        // Where nobody says it, it follows the minimum of calls, also one that the built-in policy does not have.
        let slow_minimum = self.slow_call_minimum_calls.filter(|calls| *calls > 0).unwrap_or(minimum_calls);
        let open_duration_min = spec.open_duration_min.unwrap_or(base.open_duration_min);
        let open_duration = spec.open_duration.unwrap_or(base.open_duration).max(open_duration_min);
        Ok(Policy {
            failure_threshold: spec.failure_threshold.and_then(NonZeroU32::new),
            monitoring_period: on(spec.monitoring_period),
            failure_count_threshold: spec.failure_count_threshold.and_then(NonZeroU32::new),
            failure_rate_threshold: spec.failure_rate_threshold.and_then(Ratio::new),
            slow_call_duration: on(spec.slow_call_duration),
            slow_call_rate_threshold: spec.slow_call_rate_threshold.and_then(Ratio::new),
            slow_call_minimum_calls: reachable(slow_minimum),
            window,
            minimum_calls: reachable(minimum_calls),
            open_duration,
            open_backoff: spec.open_backoff.map(|backoff| backoff.with_ceiling_for(open_duration)),
            probes: spec.probes.unwrap_or(base.probes),
            successes_to_close: spec.successes_to_close.unwrap_or(base.successes_to_close),
            failures_to_reopen: spec.failures_to_reopen.unwrap_or(base.failures_to_reopen),
            half_open_max_duration: on(spec.half_open_max_duration),
            retry_after_max: spec.retry_after_max.unwrap_or(base.retry_after_max),
            lease: spec.lease.unwrap_or(base.lease),
            expired_probe: spec.expired_probe.unwrap_or(base.expired_probe),
            expired_permit: spec.expired_permit.unwrap_or(base.expired_permit),
            min_callers: spec.min_callers.unwrap_or(base.min_callers),
            share: spec.share.unwrap_or(base.share),
            voters: spec.voters.unwrap_or(base.voters),
            trip_on: spec.trip_on.unwrap_or(base.trip_on),
            open_duration_min,
        })
    }
}

impl BackoffSpec {
    /// The ceiling in force: ten times `open_duration` where none is given, and never below `open_duration`.
    fn with_ceiling_for(self, open_duration: Duration) -> Self {
        let ceiling = on(Some(self.max_duration)).unwrap_or_else(|| open_duration.saturating_mul(10).min(DAY));
        Self { max_duration: ceiling.max(open_duration), ..self }
    }
}

impl From<&Policy> for PolicySpec {
    /// Every field said; what is off as zero. A policy without backoff says nothing about it.
    fn from(policy: &Policy) -> Self {
        Self {
            failure_threshold: Some(policy.failure_threshold.map_or(0, NonZeroU32::get)),
            monitoring_period: Some(policy.monitoring_period.unwrap_or_default()),
            failure_count_threshold: Some(policy.failure_count_threshold.map_or(0, NonZeroU32::get)),
            failure_rate_threshold: Some(policy.failure_rate_threshold.map_or(0.0, Ratio::get)),
            slow_call_duration: Some(policy.slow_call_duration.unwrap_or_default()),
            slow_call_rate_threshold: Some(policy.slow_call_rate_threshold.map_or(0.0, Ratio::get)),
            slow_call_minimum_calls: Some(policy.slow_call_minimum_calls),
            window: Some(policy.window),
            minimum_calls: Some(policy.minimum_calls),
            open_duration: Some(policy.open_duration),
            open_backoff: policy.open_backoff,
            probes: Some(policy.probes),
            successes_to_close: Some(policy.successes_to_close),
            failures_to_reopen: Some(policy.failures_to_reopen),
            half_open_max_duration: Some(policy.half_open_max_duration.unwrap_or_default()),
            retry_after_max: Some(policy.retry_after_max),
            lease: Some(policy.lease),
            expired_probe: Some(policy.expired_probe),
            expired_permit: Some(policy.expired_permit),
            min_callers: Some(policy.min_callers),
            share: Some(policy.share),
            voters: Some(policy.voters),
            trip_on: Some(policy.trip_on),
            open_duration_min: Some(policy.open_duration_min),
        }
    }
}

fn on(duration: Option<Duration>) -> Option<Duration> {
    duration.filter(|duration| !duration.is_zero())
}

fn error<T>(field: &'static str, message: impl Into<String>) -> Result<T, PolicyError> {
    Err(PolicyError { field, message: message.into() })
}

fn in_range(field: &'static str, value: Option<u32>, min: &u32, max: u32, least: &str) -> Result<(), PolicyError> {
    match value {
        Some(value) if value < *min || value > max => error(field, format!("must be {least} to {max}, not {value}")),
        _ => Ok(()),
    }
}

fn share(field: &'static str, value: Option<f64>) -> Result<(), PolicyError> {
    match value {
        // Written so that NaN is out of range too.
        Some(value) if !(0.0..=1.0).contains(&value) => {
            error(field, format!("must be a ratio from 0 to 1, not {value}"))
        }
        _ => Ok(()),
    }
}

fn period(field: &'static str, value: Option<Duration>, may_be_off: bool, max: Duration) -> Result<(), PolicyError> {
    let Some(value) = value else { return Ok(()) };
    if (may_be_off && value.is_zero()) || (MILLISECOND..=max).contains(&value) {
        return Ok(());
    }
    let least = if may_be_off { "0 (off), or 1 ms" } else { "1 ms" };
    error(field, format!("must be {least} to {}, not {}", readable(max), readable(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets a field of a spec to a number: of calls, of nanoseconds, or of thousandths.
    type Field = (&'static str, fn(&mut PolicySpec, u64));

    fn in_nanos(nanos: u64) -> Option<Duration> {
        Some(Duration::from_nanos(nanos))
    }

    fn calls(number: u64) -> Option<u32> {
        Some(u32::try_from(number).unwrap())
    }

    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn thousandths(number: u64) -> f64 {
        number as f64 / 1_000.0
    }

    /// The spec takes the first and the last value of each range, and nothing before or after them.
    fn holds_ranges(ranges: &[(Field, &[u64], u64, u64)]) {
        for ((field, set), also, least, most) in ranges {
            let check = |value: u64| {
                let mut spec = PolicySpec::default();
                set(&mut spec, value);
                spec.check().map_err(|error| error.field)
            };
            for good in also.iter().chain([least, most]) {
                assert_eq!(check(*good), Ok(()), "{field} {good}");
            }
            let below = least.checked_sub(1).filter(|below| !also.contains(below));
            for bad in below.into_iter().chain([most + 1]) {
                assert_eq!(check(bad), Err(*field), "{field} {bad}");
            }
        }
    }

    #[test]
    fn numbers_of_calls_and_ratios_are_held_against_their_ranges() {
        let million = u64::from(CALLS_MAX);
        holds_ranges(&[
            (("failure_threshold", |spec, n| spec.failure_threshold = calls(n)), &[], 0, FAILURE_THRESHOLD_MAX.into()),
            (("failure_count_threshold", |spec, n| spec.failure_count_threshold = calls(n)), &[], 0, million),
            (("slow_call_minimum_calls", |spec, n| spec.slow_call_minimum_calls = calls(n)), &[], 0, million),
            (("minimum_calls", |spec, n| spec.minimum_calls = calls(n)), &[], 1, million),
            (("probes", |spec, n| spec.probes = calls(n)), &[], 1, PROBES_MAX.into()),
            (("successes_to_close", |spec, n| spec.successes_to_close = calls(n)), &[], 1, million),
            (("failures_to_reopen", |spec, n| spec.failures_to_reopen = calls(n)), &[], 1, million),
            (("min_callers", |spec, n| spec.min_callers = calls(n)), &[], 1, MIN_CALLERS_MAX.into()),
            (
                ("window.count.calls", |spec, n| spec.window = calls(n).map(WindowSpec::Count)),
                &[],
                1,
                WINDOW_CALLS_MAX.into(),
            ),
            (
                ("window.time.slices", |spec, n| {
                    spec.window = calls(n).map(|slices| WindowSpec::Time { duration: DAY, slices });
                }),
                &[],
                1,
                SLICES_MAX.into(),
            ),
            (("failure_rate_threshold", |spec, n| spec.failure_rate_threshold = Some(thousandths(n))), &[], 0, 1_000),
            (
                ("slow_call_rate_threshold", |spec, n| spec.slow_call_rate_threshold = Some(thousandths(n))),
                &[],
                0,
                1_000,
            ),
            (("share", |spec, n| spec.share = Some(thousandths(n))), &[], 0, 1_000),
        ]);
        let spec = PolicySpec { share: Some(f64::NAN), ..PolicySpec::default() };
        assert_eq!(spec.check().unwrap_err().field, "share");
    }

    #[test]
    fn spans_are_held_against_their_ranges() {
        let [millisecond, hour, day] = [MILLISECOND, HOUR, DAY].map(|span| u64::try_from(span.as_nanos()).unwrap());
        assert_eq!([millisecond, hour, day], [1_000_000, 3_600_000_000_000, 86_400_000_000_000]);
        holds_ranges(&[
            (("monitoring_period", |spec, n| spec.monitoring_period = in_nanos(n)), &[0], millisecond, day),
            (("slow_call_duration", |spec, n| spec.slow_call_duration = in_nanos(n)), &[0], millisecond, hour),
            (("half_open_max_duration", |spec, n| spec.half_open_max_duration = in_nanos(n)), &[0], millisecond, day),
            (("retry_after_max", |spec, n| spec.retry_after_max = in_nanos(n)), &[0], millisecond, day),
            (("open_duration", |spec, n| spec.open_duration = in_nanos(n)), &[], millisecond, day),
            (("open_duration_min", |spec, n| spec.open_duration_min = in_nanos(n)), &[], millisecond, day),
            (("lease", |spec, n| spec.lease = in_nanos(n)), &[], millisecond, hour),
            (
                ("window.time.duration", |spec, n| {
                    spec.window = Some(WindowSpec::Time { duration: Duration::from_nanos(n), slices: 1 });
                }),
                &[],
                10 * millisecond,
                day,
            ),
            (
                ("open_backoff.max_duration", |spec, n| {
                    let max_duration = Duration::from_nanos(n);
                    spec.open_backoff = Some(BackoffSpec { multiplier: 2.0, jitter: 0.0, max_duration });
                }),
                &[0],
                millisecond,
                day,
            ),
            (
                ("open_backoff.multiplier", |spec, n| {
                    let multiplier = thousandths(n);
                    spec.open_backoff = Some(BackoffSpec { multiplier, jitter: 0.0, max_duration: Duration::ZERO });
                }),
                &[],
                1_000,
                100_000,
            ),
            (
                ("open_backoff.jitter", |spec, n| {
                    let jitter = thousandths(n);
                    spec.open_backoff = Some(BackoffSpec { multiplier: 2.0, jitter, max_duration: Duration::ZERO });
                }),
                &[],
                0,
                1_000,
            ),
        ]);
        for off in [
            PolicySpec { lease: in_nanos(0), ..PolicySpec::default() },
            PolicySpec { open_duration: in_nanos(0), ..PolicySpec::default() },
        ] {
            assert!(off.check().is_err(), "{off:?}");
        }
    }

    #[test]
    fn an_open_duration_is_held_against_the_floor_of_its_own_spec_or_else_the_inherited_one() {
        let ms = Duration::from_millis;
        let spec =
            |open_duration, open_duration_min| PolicySpec { open_duration, open_duration_min, ..PolicySpec::default() };
        let check = |period, floor, inherited| spec(Some(ms(period)), floor).check_open_duration(ms(inherited)).is_ok();
        assert_eq!([check(100, None, 100), check(99, None, 100), check(99, Some(ms(99)), 100)], [true, false, true]);
        assert_eq!([check(98, Some(ms(99)), 1), check(100, Some(ms(101)), 1)], [false, false]);
        assert_eq!(spec(None, None).check_open_duration(DAY), Ok(()));
        let resolved = |spec: PolicySpec| {
            let policy = spec.resolve().unwrap();
            (policy.open_duration, policy.open_duration_min)
        };
        assert_eq!(resolved(spec(Some(ms(20)), None)), (ms(100), ms(100)), "one that is stored opens for the floor");
        assert_eq!(resolved(spec(Some(ms(20)), Some(ms(20)))), (ms(20), ms(20)));
        assert_eq!(resolved(spec(None, Some(ms(60_000)))), (ms(60_000), ms(60_000)));
    }

    #[test]
    fn a_backoff_has_a_ceiling_of_ten_open_periods_where_none_is_given() {
        let ceiling = |open_seconds: u64, max_seconds: u64| {
            let max_duration = Duration::from_secs(max_seconds);
            let spec = PolicySpec {
                open_duration: Some(Duration::from_secs(open_seconds)),
                open_backoff: Some(BackoffSpec { multiplier: 2.0, jitter: 0.0, max_duration }),
                ..PolicySpec::default()
            };
            spec.resolve().unwrap().open_backoff.unwrap().max_duration.as_secs()
        };
        assert_eq!([ceiling(10, 0), ceiling(10, 40), ceiling(10, 5)], [100, 40, 10]);
        assert_eq!(ceiling(80_000, 0), 86_400, "at most a day");
    }

    #[test]
    fn a_policy_as_a_spec_says_every_field_and_resolves_to_itself() {
        let second = Duration::from_secs(1);
        let spec = PolicySpec {
            failure_threshold: Some(0),
            monitoring_period: Some(second),
            failure_count_threshold: Some(4),
            failure_rate_threshold: Some(0.25),
            slow_call_duration: Some(2 * second),
            slow_call_rate_threshold: Some(0.75),
            slow_call_minimum_calls: Some(6),
            window: Some(WindowSpec::Count(50)),
            minimum_calls: Some(7),
            half_open_max_duration: Some(3 * second),
            ..PolicySpec::default()
        };
        let policy = spec.resolve().unwrap();
        let said = PolicySpec::from(&policy);
        assert_eq!(said.resolve().unwrap(), policy);
        assert_eq!((said.failure_threshold, said.failure_rate_threshold), (Some(0), Some(0.25)));
        assert_eq!(spec.unlike(&said), PolicySpec::default(), "it says all of the spec");
        let other = PolicySpec { minimum_calls: Some(8), ..said };
        assert_eq!(other.unlike(&said), PolicySpec { minimum_calls: Some(8), ..PolicySpec::default() });
    }

    #[test]
    fn a_minimum_above_the_count_window_of_the_same_spec_is_refused_and_one_of_another_spec_lowered() {
        let spec = PolicySpec { window: Some(WindowSpec::Count(10)), minimum_calls: Some(10), ..PolicySpec::default() };
        assert_eq!(spec.check(), Ok(()));
        for (field, bad) in [
            ("minimum_calls", PolicySpec { minimum_calls: Some(11), ..spec.clone() }),
            ("slow_call_minimum_calls", PolicySpec { slow_call_minimum_calls: Some(11), ..spec }),
        ] {
            let error = bad.check().unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.message.contains("window.count.calls, 10, not 11"), "{error}");
            let policy = bad.resolve().expect("one that is stored still resolves");
            assert_eq!((policy.minimum_calls, policy.slow_call_minimum_calls), (10, 10));
        }
        let window = Some(WindowSpec::Count(10));
        let operators = PolicySpec { window, ..PolicySpec::default() };
        let declared = PolicySpec { minimum_calls: Some(50), ..PolicySpec::default() };
        assert_eq!((operators.check(), declared.check()), (Ok(()), Ok(())));
        assert_eq!(operators.over(&declared).resolve().unwrap().minimum_calls, 10);
    }

    #[test]
    fn any_trip_rule_that_is_declared_replaces_those_of_the_default() {
        let second = Duration::from_secs(1);
        let none = PolicySpec::default;
        for declared in [
            PolicySpec { failure_threshold: Some(3), ..none() },
            PolicySpec { monitoring_period: Some(second), ..none() },
            PolicySpec { failure_count_threshold: Some(3), ..none() },
            PolicySpec { failure_rate_threshold: Some(0.1), ..none() },
            PolicySpec { slow_call_duration: Some(second), ..none() },
            PolicySpec { slow_call_rate_threshold: Some(0.1), ..none() },
            PolicySpec { slow_call_minimum_calls: Some(3), ..none() },
        ] {
            let default = PolicySpec {
                failure_threshold: Some(7),
                failure_count_threshold: Some(8),
                minimum_calls: Some(9),
                ..none()
            };
            let spec = declared.declared_over(&default);
            assert_ne!(spec.failure_threshold, Some(7), "{declared:?}");
            assert_ne!(spec.failure_count_threshold, Some(8), "{declared:?}");
            assert_eq!(spec.minimum_calls, Some(9), "what is no rule is inherited");
        }
        let default = PolicySpec { failure_threshold: Some(7), ..none() };
        let other = PolicySpec { probes: Some(2), ..none() }.declared_over(&default);
        assert_eq!(other.failure_threshold, Some(7));
    }

    #[test]
    fn the_slow_call_minimum_follows_the_minimum_of_calls_where_it_is_not_said() {
        let minimum = |spec: &PolicySpec| spec.resolve().unwrap().slow_call_minimum_calls;
        let spec = PolicySpec { minimum_calls: Some(5), ..PolicySpec::default() };
        assert_eq!(minimum(&spec), 5);
        assert_eq!(minimum(&PolicySpec { slow_call_minimum_calls: Some(0), ..spec }), 5);
        assert_eq!(minimum(&PolicySpec { slow_call_minimum_calls: Some(7), ..spec }), 7);
        assert_eq!(minimum(&PolicySpec::default()), 20);
    }
}
