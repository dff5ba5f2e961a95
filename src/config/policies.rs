//! The policies of the configuration file: `[default_policy]`, and `[[policy]]` for a key or pattern.
//!
//! A field is read on its own and checked on its own, so that each error has the line of its field. `"off"` says the
//! same as zero where a rule can be off.

use std::{collections::HashSet, path::Path, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{Error, did_you_mean},
    file::{self, Key, Reader, describe},
    value::{format_duration, parse_duration},
};
use crate::breaker::{
    Policy, PolicySpec,
    policy::{BackoffSpec, ExpiredPermit, OPEN_DURATION_MIN, TripOn, Voters, WindowSpec},
};

/// The table that is laid over the built-in policy.
pub(super) const DEFAULT: &str = "default_policy";
/// The tables for a key or pattern.
pub(super) const BY_PATTERN: &str = "policy";

/// Longest key or pattern.
const PATTERN_BYTES_MAX: usize = 200;
/// Slices of a time window that gives none.
const SLICES: u32 = 10;
/// Growth of a backoff that gives none.
const MULTIPLIER: f64 = 2.0;
/// The backoff of an open period that does not grow.
const FIXED: BackoffSpec = BackoffSpec { multiplier: 1.0, max_duration: Duration::ZERO, jitter: 0.0 };

/// The policies of a configuration file, each valid.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct PolicyFile {
    /// `[default_policy]`: laid over the built-in policy, field by field.
    pub default: PolicySpec,
    /// Each `[[policy]]` in the order of the file: its key or pattern, which is there once, and its fields.
    pub by_pattern: Vec<(String, PolicySpec)>,
}

impl PolicyFile {
    /// Checks each `open_duration` against the `open_duration_min` of its table, else of the default policy.
    pub(super) fn check_open_durations(&self, path: &Path) -> Result<(), Error> {
        let default = [(DEFAULT.to_owned(), &self.default, OPEN_DURATION_MIN)];
        let min = open_duration_min(&self.default);
        let others = self.by_pattern.iter().map(|(name, spec)| (format!("{BY_PATTERN} {name:?}"), spec, min));
        default.into_iter().chain(others).try_for_each(|(name, spec, min)| {
            spec.check_open_duration(min)
                .map_err(|error| Error::new(format!("{}: ", path.display()), format!("{name}: {error}")))
        })
    }

    pub(super) fn check_count(&self, path: &Path, max: usize) -> Result<(), Error> {
        let count = self.by_pattern.len();
        let message = || format!("{count} policies are more than limits.max_policies, which is {max}: raise it");
        if count > max { Err(Error::new(format!("{}: ", path.display()), message())) } else { Ok(()) }
    }
}

/// The shortest open period of a policy that gives none of its own.
fn open_duration_min(default: &PolicySpec) -> Duration {
    default.open_duration_min.unwrap_or(OPEN_DURATION_MIN)
}

/// How a field is read and written.
struct Field {
    name: &'static str,
    read: fn(&DeValue<'_>, &mut PolicySpec) -> Result<(), String>,
    write: fn(&PolicySpec) -> Option<String>,
}

/// A [`Field`]: its name, and what reads and writes its type.
macro_rules! field {
    ($name:ident, $read:expr, $write:expr) => {
        Field {
            name: stringify!($name),
            read: |value, spec| {
                spec.$name = Some($read(value)?);
                Ok(())
            },
            write: |spec| spec.$name.map($write),
        }
    };
}

/// Every field of a policy, in the order of the contract.
const FIELDS: [Field; 24] = [
    field!(failure_threshold, count_or_off, write_count_or_off),
    field!(monitoring_period, period_or_off, write_period_or_off),
    field!(failure_count_threshold, count_or_off, write_count_or_off),
    field!(failure_rate_threshold, share_or_off, write_share_or_off),
    field!(slow_call_duration, period_or_off, write_period_or_off),
    field!(slow_call_rate_threshold, share_or_off, write_share_or_off),
    field!(slow_call_minimum_calls, count, write_count),
    field!(window, window, write_window),
    field!(minimum_calls, count, write_count),
    field!(open_duration, period, write_period),
    field!(open_backoff, backoff, write_backoff),
    field!(probes, count, write_count),
    field!(successes_to_close, count, write_count),
    field!(failures_to_reopen, count, write_count),
    field!(half_open_max_duration, period_or_off, write_period_or_off),
    field!(retry_after_max, period_or_off, write_period_or_off),
    field!(lease, period, write_period),
    field!(expired_probe, expired, write_expired),
    field!(expired_permit, expired, write_expired),
    field!(min_callers, count, write_count),
    field!(share, share_or_off, write_share_or_off),
    field!(voters, voters, write_voters),
    field!(trip_on, trip_on, write_trip_on),
    field!(open_duration_min, period, write_period),
];

/// Reads `[default_policy]`.
pub(super) fn default(reader: &mut Reader<'_>, key: &Key<'_>, value: &DeValue<'_>) -> PolicySpec {
    let Some(table) = value.as_table() else {
        reader.error_at(key, format!("{DEFAULT} must be a table, not {}", describe(value)));
        return PolicySpec::default();
    };
    spec(reader, DEFAULT, table, &[])
}

/// Reads every `[[policy]]`.
pub(super) fn by_pattern(reader: &mut Reader<'_>, key: &Key<'_>, value: &DeValue<'_>) -> Vec<(String, PolicySpec)> {
    let Some(entries) = value.as_array() else {
        reader.error_at(key, format!("{BY_PATTERN} must be written as [[{BY_PATTERN}]], once for each pattern"));
        return Vec::new();
    };
    let mut policies = Vec::new();
    let mut seen = HashSet::new();
    for entry in entries {
        let Some(table) = entry.get_ref().as_table() else {
            reader.error_at(entry, format!("{BY_PATTERN} must be a table, not {}", describe(entry.get_ref())));
            continue;
        };
        let pattern = pattern_of(reader, entry, table);
        let name = pattern.as_ref().map_or_else(|| BY_PATTERN.to_owned(), |name| format!("{BY_PATTERN} {name:?}"));
        let spec = spec(reader, &name, table, &["pattern"]);
        let Some(pattern) = pattern else { continue };
        if !seen.insert(pattern.clone()) {
            reader.error_at(entry, format!("{name} is there already: write its fields in one place"));
        }
        policies.push((pattern, spec));
    }
    policies
}

/// A spec as lines of TOML, `name = value`; what it says nothing about is left out.
pub(super) fn lines(spec: &PolicySpec) -> impl Iterator<Item = (&'static str, String)> {
    FIELDS.iter().filter_map(|field| Some((field.name, (field.write)(spec)?)))
}

/// Every field as it is where nobody else says anything.
pub(super) fn complete(default: &PolicySpec) -> PolicySpec {
    let built_in = PolicySpec::from(&Policy::default());
    // The built-in policy leaves out what follows from other fields, or is not there.
    default.over(&PolicySpec { open_backoff: Some(FIXED), slow_call_minimum_calls: Some(0), ..built_in })
}

fn pattern_of(reader: &mut Reader<'_>, entry: &Spanned<DeValue<'_>>, table: &DeTable<'_>) -> Option<String> {
    let Some(value) = table.get("pattern") else {
        reader.error_at(
            entry,
            format!("{BY_PATTERN} has no pattern: say which keys it is for, as pattern = \"payments/*\""),
        );
        return None;
    };
    let Some(pattern) = value.get_ref().as_str() else {
        reader.error_at(value, format!("{BY_PATTERN}: pattern must be a string, not {}", describe(value.get_ref())));
        return None;
    };
    if let Err(message) = check_pattern(pattern) {
        reader.error_at(value, format!("{BY_PATTERN} {pattern:?}: pattern {message}"));
    }
    Some(pattern.to_owned())
}

pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    if !(1..=PATTERN_BYTES_MAX).contains(&pattern.len()) {
        return Err(format!("must be 1 to {PATTERN_BYTES_MAX} bytes long, not {}", pattern.len()));
    }
    match pattern.chars().find(|char| !(char.is_ascii_alphanumeric() || "._-:/*".contains(*char))) {
        Some(other) => Err(format!("must be made of A-Z a-z 0-9 . _ - : / and * for any run of them, not {other:?}")),
        None => Ok(()),
    }
}

/// Reads the fields of a policy named `name`; keys in `besides` are read elsewhere.
fn spec(reader: &mut Reader<'_>, name: &str, table: &DeTable<'_>, besides: &[&str]) -> PolicySpec {
    let mut spec = PolicySpec::default();
    for (key, value) in table {
        let key_name = key.get_ref().as_ref();
        if besides.contains(&key_name) {
            continue;
        }
        let Some(field) = FIELDS.iter().find(|field| field.name == key_name) else {
            let known = FIELDS.iter().map(|field| field.name).chain(besides.iter().copied());
            let suggestion = did_you_mean(key_name, known);
            reader.error_at(key, format!("{name}: {key_name} is not a field of a policy{suggestion}"));
            continue;
        };
        match one_field(field, value.get_ref()) {
            Ok(one) => spec = one.over(&spec),
            Err(message) => reader.error_at(value, format!("{name}: {message}")),
        }
    }
    // Each field is in its range; some may contradict each other.
    if let Err(error) = spec.check() {
        let at = table.iter().find(|(key, _)| key.get_ref() == error.field).map(|(_, value)| value);
        let message = format!("{name}: {} {}", error.field, in_file(&error.message));
        if let Some(value) = at {
            reader.error_at(value, message);
        }
    }
    spec
}

/// The file has no level for the kind of window.
fn in_file(text: &str) -> String {
    text.replace("window.time.", "window.").replace("window.count.", "window.")
}

/// A spec of this one field, which is in its range; else a message that names the field.
fn one_field(field: &Field, value: &DeValue<'_>) -> Result<PolicySpec, String> {
    let mut spec = PolicySpec::default();
    (field.read)(value, &mut spec).map_err(|message| format!("{}{message}", field.name))?;
    spec.check().map_err(|error| format!("{} {}", in_file(error.field), error.message))?;
    Ok(spec)
}

// What follows reads a value, or says what is wrong as the continuation of the field's name: " must be …".

fn is_off(value: &DeValue<'_>) -> bool {
    value.as_str() == Some("off")
}

fn count(value: &DeValue<'_>) -> Result<u32, String> {
    whole(value, "")
}

fn count_or_off(value: &DeValue<'_>) -> Result<u32, String> {
    if is_off(value) { Ok(0) } else { whole(value, " or \"off\"") }
}

fn whole(value: &DeValue<'_>, alternative: &str) -> Result<u32, String> {
    let number = value.as_integer().and_then(|number| file::integer(number).ok());
    match number.map(|number| (u32::try_from(number), number > 0)) {
        Some((Ok(number), _)) => Ok(number),
        Some((Err(_), true)) => Err(format!(" is too large: {}", shown(value))),
        _ => Err(format!(" must be a whole number{alternative}, not {}", shown(value))),
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
        DeValue::Integer(_) => whole(value, "").ok().map(f64::from),
        _ => None,
    }
}

fn share(value: &DeValue<'_>) -> Result<f64, String> {
    number(value).ok_or_else(|| format!(" must be a ratio from 0 to 1, not {}", shown(value)))
}

fn share_or_off(value: &DeValue<'_>) -> Result<f64, String> {
    if is_off(value) {
        return Ok(0.0);
    }
    number(value).ok_or_else(|| format!(" must be a ratio from 0 to 1 or \"off\", not {}", shown(value)))
}

fn period(value: &DeValue<'_>) -> Result<Duration, String> {
    let text = match value {
        DeValue::String(text) => text.as_ref(),
        // Zero is the same in every unit.
        DeValue::Integer(number) if number.as_str() == "0" => "0",
        other => return Err(format!(" must be a length of time in quotes, as \"30s\", not {}", shown(other))),
    };
    parse_duration(text).map_err(|message| format!(" {message}"))
}

fn period_or_off(value: &DeValue<'_>) -> Result<Duration, String> {
    if is_off(value) {
        return Ok(Duration::ZERO);
    }
    period(value).map_err(|message| format!("{message}; or \"off\""))
}

fn window(value: &DeValue<'_>) -> Result<WindowSpec, String> {
    const FORMS: &str = "{ duration = \"30s\", slices = 10 } or { calls = 100 }";
    let Some(table) = value.as_table() else { return Err(format!(" must be {FORMS}, not {}", shown(value))) };
    only(table, &["duration", "slices", "calls"])?;
    match (part(table, "duration", period)?, part(table, "slices", count)?, part(table, "calls", count)?) {
        (Some(duration), slices, None) => Ok(WindowSpec::Time { duration, slices: slices.unwrap_or(SLICES) }),
        (None, None, Some(calls)) => Ok(WindowSpec::Count(calls)),
        _ => Err(format!(" must be one of {FORMS}")),
    }
}

fn backoff(value: &DeValue<'_>) -> Result<BackoffSpec, String> {
    if is_off(value) {
        return Ok(FIXED);
    }
    let Some(table) = value.as_table() else {
        let form = "{ multiplier = 2.0, max_duration = \"5m\", jitter = 0.1 }";
        return Err(format!(" must be {form} or \"off\", not {}", shown(value)));
    };
    only(table, &["multiplier", "max_duration", "jitter"])?;
    let factor = |value: &DeValue<'_>| number(value).ok_or_else(|| format!(" must be a number, not {}", shown(value)));
    Ok(BackoffSpec {
        multiplier: part(table, "multiplier", factor)?.unwrap_or(MULTIPLIER),
        max_duration: part(table, "max_duration", period)?.unwrap_or_default(),
        jitter: part(table, "jitter", share)?.unwrap_or_default(),
    })
}

fn expired(value: &DeValue<'_>) -> Result<ExpiredPermit, String> {
    match value.as_str() {
        Some("failure") => Ok(ExpiredPermit::Failure),
        Some("timeout") => Ok(ExpiredPermit::Timeout),
        Some("ignored") => Ok(ExpiredPermit::Ignored),
        _ => Err(format!(" must be \"failure\", \"timeout\" or \"ignored\", not {}", shown(value))),
    }
}

fn voters(value: &DeValue<'_>) -> Result<Voters, String> {
    match value.as_str() {
        Some("instance") => Ok(Voters::Instance),
        Some("service") => Ok(Voters::Service),
        _ => Err(format!(" must be \"instance\" or \"service\", not {}", shown(value))),
    }
}

fn trip_on(value: &DeValue<'_>) -> Result<TripOn, String> {
    match value.as_str() {
        Some("any") => Ok(TripOn::Any),
        Some("failure") => Ok(TripOn::Failure),
        _ => Err(format!(" must be \"any\" or \"failure\", not {}", shown(value))),
    }
}

/// One key of a field that is a table.
fn part<T>(
    table: &DeTable<'_>,
    key: &str,
    read: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let value = table.get(key).map(|value| read(value.get_ref()));
    value.transpose().map_err(|message| format!(".{key}{message}"))
}

fn only(table: &DeTable<'_>, known: &[&str]) -> Result<(), String> {
    match table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
        Some(key) => {
            let suggestion = did_you_mean(key.get_ref(), known.iter().copied());
            Err(format!(" has {}, which is not one of {}{suggestion}", key.get_ref(), known.join(", ")))
        }
        None => Ok(()),
    }
}

/// A value as it was written where that is short, else its type.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        other => describe(other).to_owned(),
    }
}

// What follows writes what the functions above read.

const OFF: &str = "\"off\"";

fn write_count(count: u32) -> String {
    count.to_string()
}

fn write_count_or_off(count: u32) -> String {
    if count == 0 { OFF.to_owned() } else { write_count(count) }
}

fn write_share_or_off(share: f64) -> String {
    if share == 0.0 { OFF.to_owned() } else { format!("{share:?}") }
}

fn write_period(period: Duration) -> String {
    format!("{:?}", format_duration(period))
}

fn write_period_or_off(period: Duration) -> String {
    if period.is_zero() { OFF.to_owned() } else { write_period(period) }
}

fn write_voters(voters: Voters) -> String {
    match voters {
        Voters::Instance => "\"instance\"",
        Voters::Service => "\"service\"",
    }
    .to_owned()
}

fn write_trip_on(trip_on: TripOn) -> String {
    match trip_on {
        TripOn::Any => "\"any\"",
        TripOn::Failure => "\"failure\"",
    }
    .to_owned()
}

fn write_window(window: WindowSpec) -> String {
    match window {
        WindowSpec::Time { duration, slices } => {
            format!("{{ duration = {}, slices = {slices} }}", write_period(duration))
        }
        WindowSpec::Count(calls) => format!("{{ calls = {calls} }}"),
    }
}

fn write_backoff(backoff: BackoffSpec) -> String {
    if backoff.multiplier == 1.0 && backoff.jitter == 0.0 {
        return OFF.to_owned();
    }
    let BackoffSpec { multiplier, max_duration, jitter } = backoff;
    let ceiling =
        if max_duration.is_zero() { String::new() } else { format!("max_duration = {}, ", write_period(max_duration)) };
    format!("{{ multiplier = {multiplier:?}, {ceiling}jitter = {jitter:?} }}")
}

fn write_expired(expired: ExpiredPermit) -> String {
    let name = match expired {
        ExpiredPermit::Failure => "failure",
        ExpiredPermit::Timeout => "timeout",
        ExpiredPermit::Ignored => "ignored",
    };
    format!("{name:?}")
}
