//! Between the protocol's types and ours.
//!
//! Coming in, everything is checked here and nowhere behind: a value that gets through is in its range, and one that
//! does not is answered with the path of its field and what is allowed. Going out, nothing can fail. Names that start
//! with `to_` go out; the others come in.

use std::time::Duration;

use super::pb;
use crate::{
    access::{Role, Roles, Seal},
    breaker::{
        CallerEvidence, CallerId, CallerStatus, CallerView, CallersEvidence, Counts, Evidence, Kind, Origin, Outcome,
        Override, OverrideMode, Policy, PolicySpec, Reason, Rejection, Report, Reported, RequestId, Round, StateName,
        Status, Tally, Timestamp, Totals, TripRule,
        policy::{BackoffSpec, ExpiredPermit, TripOn, Voters, WindowSpec},
        time::readable,
    },
    engine::Error,
    words::{is_hidden, is_visible},
};

/// Most bytes of a key, a caller, a pattern, a prefix or an actor.
pub const NAME_BYTES_MAX: usize = 200;
/// Most bytes of a reason.
pub const REASON_BYTES_MAX: usize = 1_000;
/// Most bytes of a request id or a client id.
pub const ID_BYTES_MAX: usize = 128;
/// Most bytes of an error class.
pub const ERROR_CLASS_BYTES_MAX: usize = 64;
/// Most tallies in a batch.
pub const TALLIES_MAX: usize = 10_000;
/// Most calls of one kind in a tally.
pub const TALLY_CALLS_MAX: u32 = 1_000_000;
/// Most declarations in a request.
pub const DECLARATIONS_MAX: usize = 1_000;
/// Most keys in a watch's filter.
pub const WATCH_BREAKERS_MAX: usize = 1_000;
/// Most prefixes in a watch's filter.
pub const WATCH_PREFIXES_MAX: usize = 100;
/// Most entries in a page.
pub const PAGE_SIZE_MAX: usize = 1_000;
/// Entries in a page where the request does not say.
pub const PAGE_SIZE_DEFAULT: usize = 100;
/// Who did it, where nobody says.
pub const UNKNOWN_ACTOR: &str = "unknown";

const TOKEN_NAME_BYTES_MAX: usize = 64;
const TOKEN_PREFIXES_MAX: usize = 100;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Longest span that `google.protobuf.Duration` allows.
const PROTO_DURATION_MAX: Duration = Duration::from_secs(315_576_000_000);
const PROGRESS_INTERVAL_DEFAULT: Duration = Duration::from_secs(15);
const NANOS_PER_SECOND: u32 = 1_000_000_000;

type Result<T> = std::result::Result<T, Error>;

/// A field at fault. Out of line, because it hardly ever happens.
#[cold]
fn fault<T>(field: &str, message: impl Into<String>) -> Result<T> {
    Err(Error::invalid(field, message))
}

/// The path of an entry of a list: `tallies[3]`.
#[must_use]
pub fn entry(list: &str, index: usize) -> String {
    format!("{list}[{index}]")
}

// ---- Names ---------------------------------------------------------------------------------------------------------

/// Whether a byte may stand in a key, by its number.
const KEY_ALPHABET: [bool; 256] = {
    let mut allowed = [false; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:/";
    let mut index = 0;
    while index < letters.len() {
        allowed[letters[index] as usize] = true;
        index += 1;
    }
    allowed
};

fn in_key_alphabet(byte: u8) -> bool {
    KEY_ALPHABET[usize::from(byte)]
}

/// A breaker's key: 1 to 200 bytes of `A-Z a-z 0-9 . _ - : /`.
///
/// # Errors
/// It is not one.
pub fn key<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() {
        return fault(field, "is required: a key of 1 to 200 bytes of `A-Z a-z 0-9 . _ - : /`");
    }
    prefix(field, value)
}

/// The start of keys: as a key, or empty for all.
///
/// # Errors
/// It is not one.
pub fn prefix<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    at_most(field, value, NAME_BYTES_MAX)?;
    if value.bytes().all(in_key_alphabet) {
        return Ok(value);
    }
    fault(field, format!("must be of `A-Z a-z 0-9 . _ - : /` only, without {}", first_other(value, in_key_alphabet)))
}

/// A key with `*` for any run of characters.
///
/// # Errors
/// It is not one.
pub fn pattern<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() {
        return fault(field, "is required: a key, or a key with `*` for any run of characters, of 1 to 200 bytes");
    }
    at_most(field, value, NAME_BYTES_MAX)?;
    let allowed = |byte| byte == b'*' || in_key_alphabet(byte);
    if value.bytes().all(allowed) {
        return Ok(value);
    }
    fault(field, format!("must be of `A-Z a-z 0-9 . _ - : /` and `*` only, without {}", first_other(value, allowed)))
}

/// Who calls: as a key, or empty for no name.
///
/// # Errors
/// It is not one.
pub fn caller<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    prefix(field, value)
}

/// The number of a request: 0 for an empty id and never 0 otherwise. The same id from another caller or for another
/// breaker is another request. A permit is found by the number alone, so it is a keyed hash.
///
/// # Errors
/// The id is too long.
pub fn request_id(seal: &Seal, field: &str, id: &str, key: &str, caller: CallerId) -> Result<RequestId> {
    const BUFFER_BYTES: usize = 8 + NAME_BYTES_MAX + 1 + ID_BYTES_MAX;
    if id.is_empty() {
        return Ok(RequestId::default());
    }
    at_most(field, id, ID_BYTES_MAX)?;
    let key = &key.as_bytes()[..key.len().min(NAME_BYTES_MAX)];
    let mut buffer = [0; BUFFER_BYTES];
    let mut length = 0;
    // A key has no zero byte, so the zero byte after it tells where the id begins.
    for part in [&caller.0.to_le_bytes(), key, &[0], id.as_bytes()] {
        buffer[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    Ok(RequestId(seal.request_hash(&buffer[..length]).max(1)))
}

/// Who sends batches: 1 to 128 bytes of printable ASCII.
///
/// # Errors
/// It is not that.
pub fn client_id<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() {
        return fault(field, "is required: 1 to 128 bytes of printable ASCII, best random and one for each process");
    }
    printable(field, value, ID_BYTES_MAX)
}

/// A short class of an error: at most 64 bytes of printable ASCII, or empty.
///
/// # Errors
/// It is not that.
pub fn error_class<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    printable(field, value, ERROR_CLASS_BYTES_MAX)
}

/// Who acts, for the history: at most 200 bytes without control characters. Empty: `unknown`.
///
/// # Errors
/// It is not that.
pub fn actor<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    let actor = words(field, value, NAME_BYTES_MAX)?;
    Ok(if actor.is_empty() { UNKNOWN_ACTOR } else { actor })
}

/// Who acts, where somebody must answer for it.
///
/// # Errors
/// It is empty, or not an actor.
pub fn required_actor<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    let actor = words(field, value, NAME_BYTES_MAX)?;
    if !actor.chars().any(is_visible) {
        return fault(field, "is required: who does this, in 1 to 200 bytes");
    }
    Ok(actor)
}

/// Why somebody acts, for the history: at most 1,000 bytes without control characters, or empty.
///
/// # Errors
/// It is not that.
pub fn reason<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    words(field, value, REASON_BYTES_MAX)
}

/// Why somebody acts, where it must be said.
///
/// # Errors
/// It is empty, or not a reason.
pub fn required_reason<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    if value.trim().is_empty() {
        return fault(field, "is required: why this is done, in 1 to 1,000 bytes");
    }
    reason(field, value)
}

/// Words of people: they end up in logs, on terminals and in browsers, so line feeds, escape sequences and marks that turn the
/// direction of writing have no place in them.
fn words<'a>(field: &str, value: &'a str, max: usize) -> Result<&'a str> {
    at_most(field, value, max)?;
    match value.chars().find(|character| is_hidden(*character)) {
        Some(found) => {
            fault(field, format!("must be one line without control characters or marks of direction; it has {found:?}"))
        }
        None => Ok(value),
    }
}

fn printable<'a>(field: &str, value: &'a str, max: usize) -> Result<&'a str> {
    at_most(field, value, max)?;
    let allowed = |byte| matches!(byte, b' '..=b'~');
    if value.bytes().all(allowed) {
        return Ok(value);
    }
    fault(field, format!("must be printable ASCII, without {}", first_other(value, allowed)))
}

/// The first character that is not allowed, as it would be written in a program.
fn first_other(value: &str, allowed: impl Fn(u8) -> bool) -> String {
    let other = |character: &char| !u8::try_from(*character).is_ok_and(|byte| byte.is_ascii() && allowed(byte));
    format!("{:?}", value.chars().find(other).unwrap_or_default())
}

fn at_most(field: &str, value: &str, max: usize) -> Result<()> {
    if value.len() <= max {
        return Ok(());
    }
    fault(field, format!("must be at most {max} bytes, not {}", value.len()))
}

fn entries_at_most(field: &str, count: usize, max: usize) -> Result<()> {
    if count <= max {
        return Ok(());
    }
    fault(field, format!("must be at most {max} entries, not {count}"))
}

// ---- Time ----------------------------------------------------------------------------------------------------------

/// A span of time of at most `max`, as it was said; `None` where it is absent.
///
/// # Errors
/// It is negative, malformed or too long.
pub fn duration(field: &str, value: Option<&prost_types::Duration>, max: Duration) -> Result<Option<Duration>> {
    in_range(field, value, Duration::ZERO, max)
}

/// As [`duration`], where zero is as good as absent.
fn positive(field: &str, value: Option<&prost_types::Duration>, max: Duration) -> Result<Option<Duration>> {
    Ok(duration(field, value, max)?.filter(|duration| !duration.is_zero()))
}

/// As [`positive`], of at least `min`.
fn between(
    field: &str,
    value: Option<&prost_types::Duration>,
    min: Duration,
    max: Duration,
) -> Result<Option<Duration>> {
    in_range(field, value.filter(|value| (value.seconds, value.nanos) != (0, 0)), min, max)
}

fn in_range(
    field: &str,
    value: Option<&prost_types::Duration>,
    min: Duration,
    max: Duration,
) -> Result<Option<Duration>> {
    let range = || format!("{} to {}", readable(min), readable(max));
    match span(field, value, range)? {
        Some(span) if span < min || span > max => fault(field, format!("must be {}, not {}", range(), readable(span))),
        span => Ok(span),
    }
}

/// A span of time, however long. `allowed` is for the message where it is negative.
fn span(
    field: &str,
    value: Option<&prost_types::Duration>,
    allowed: impl FnOnce() -> String,
) -> Result<Option<Duration>> {
    let Some(value) = value else { return Ok(None) };
    match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < NANOS_PER_SECOND => Ok(Some(Duration::new(seconds, nanos))),
        (Ok(_), Ok(_)) => fault(field, format!("must have nanos of 0 to 999999999, not {}", value.nanos)),
        _ => fault(field, format!("must be {}, not negative", allowed())),
    }
}

/// How long a permit should be good for; `None`: as long as the policy says. It shortens the policy's lease and never
/// lengthens it, so that any length may be asked for.
///
/// # Errors
/// It is no span of time.
pub fn lease(field: &str, value: Option<&prost_types::Duration>) -> Result<Option<Duration>> {
    Ok(span(field, value, || "0 or longer".to_owned())?.filter(|lease| !lease.is_zero()))
}

/// When an override ends by itself: 1 s to 30 days; `None`: it stays.
///
/// # Errors
/// It is out of range.
pub fn expire_after(field: &str, value: Option<&prost_types::Duration>) -> Result<Option<Duration>> {
    between(field, value, SECOND, DAY * 30)
}

/// How long a token is good: 1 s to 3650 days, or until it is revoked.
///
/// # Errors
/// It is out of range.
pub fn token_expire_after(field: &str, value: Option<&prost_types::Duration>) -> Result<Option<Duration>> {
    between(field, value, SECOND, DAY * 3650)
}

/// The name of a token: 1 to 64 bytes of the alphabet of keys.
///
/// # Errors
/// It is not one.
pub fn token_name<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    at_most(field, value, TOKEN_NAME_BYTES_MAX)?;
    if value.is_empty() {
        return fault(field, "is required: a name of 1 to 64 bytes of `A-Z a-z 0-9 . _ - : /`");
    }
    prefix(field, value)
}

/// What a new token may do: its roles and its prefixes.
///
/// # Errors
/// The first field at fault.
pub fn token_bounds(request: &pb::CreateTokenRequest) -> Result<(Roles, Vec<Box<str>>)> {
    if request.roles.is_empty() {
        return fault("roles", "is required: ROLE_REPORT, ROLE_READ, ROLE_OPERATE or ROLE_ADMIN");
    }
    let mut roles = Vec::new();
    for (index, role) in request.roles.iter().enumerate() {
        roles.push(match pb::Role::try_from(*role) {
            Ok(pb::Role::Report) => Role::Report,
            Ok(pb::Role::Read) => Role::Read,
            Ok(pb::Role::Operate) => Role::Operate,
            Ok(pb::Role::Admin) => Role::Admin,
            Ok(pb::Role::Unspecified) | Err(_) => {
                let message = format!("must be ROLE_REPORT, ROLE_READ, ROLE_OPERATE or ROLE_ADMIN, not {role}");
                return fault(&entry("roles", index), message);
            }
        });
    }
    entries_at_most("prefixes", request.prefixes.len(), TOKEN_PREFIXES_MAX)?;
    each("prefixes", &request.prefixes, |field, name| key(field, name).map(drop))?;
    if roles.contains(&Role::Admin) && !request.prefixes.is_empty() {
        return fault("prefixes", "must be empty with ROLE_ADMIN, who could make tokens for all other keys");
    }
    Ok((Roles::from_iter(roles), request.prefixes.iter().map(|prefix| prefix.as_str().into()).collect()))
}

/// Roles as the API has them.
#[must_use]
pub fn to_roles(roles: Roles) -> Vec<i32> {
    let role = |role| match role {
        Role::Report => pb::Role::Report,
        Role::Read => pb::Role::Read,
        Role::Operate => pb::Role::Operate,
        Role::Admin => pb::Role::Admin,
    };
    roles.iter().map(|found| role(found) as i32).collect()
}

/// How often a silent watch is told that nothing happened: 1 to 60 s, by default 15 s.
///
/// # Errors
/// It is out of range.
pub fn progress_interval(field: &str, value: Option<&prost_types::Duration>) -> Result<Duration> {
    Ok(between(field, value, SECOND, SECOND * 60)?.unwrap_or(PROGRESS_INTERVAL_DEFAULT))
}

/// How far to move a manual clock: 0 to 10 years.
///
/// # Errors
/// It is absent or out of range.
pub fn advance(field: &str, value: Option<&prost_types::Duration>) -> Result<Duration> {
    match duration(field, value, YEAR * 10)? {
        Some(duration) => Ok(duration),
        None => fault(field, "is required: 0 to 10 years"),
    }
}

/// An instant between 1970 and 2554.
///
/// # Errors
/// It is malformed or out of range.
pub fn timestamp(field: &str, value: &prost_types::Timestamp) -> Result<Timestamp> {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(value.seconds), u32::try_from(value.nanos)) else {
        return fault(field, "must be an instant from 1970 to 2554");
    };
    if nanos >= NANOS_PER_SECOND {
        return fault(field, format!("must have nanos of 0 to 999999999, not {nanos}"));
    }
    let instant = seconds.checked_mul(u64::from(NANOS_PER_SECOND)).and_then(|all| all.checked_add(u64::from(nanos)));
    match instant {
        Some(instant) => Ok(Timestamp::from_nanos(instant)),
        None => fault(field, "must be an instant from 1970 to 2554"),
    }
}

/// A span of time, going out.
#[must_use]
pub fn to_duration(duration: Duration) -> prost_types::Duration {
    let duration = duration.min(PROTO_DURATION_MAX);
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// An instant, going out.
#[must_use]
pub fn to_timestamp(instant: Timestamp) -> prost_types::Timestamp {
    let since_epoch = Duration::from_nanos(instant.as_nanos());
    prost_types::Timestamp {
        seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since_epoch.subsec_nanos()).unwrap_or_default(),
    }
}

/// An instant, going out; absent where it never comes.
#[must_use]
pub fn to_timestamp_ever(instant: Timestamp) -> Option<prost_types::Timestamp> {
    instant.ever().map(to_timestamp)
}

// ---- Choices -------------------------------------------------------------------------------------------------------

/// How a call went. Required.
///
/// # Errors
/// It is absent or unknown.
pub fn outcome(field: &str, value: i32) -> Result<Outcome> {
    match pb::Outcome::try_from(value) {
        Ok(pb::Outcome::Success) => Ok(Outcome::Success),
        Ok(pb::Outcome::Failure) => Ok(Outcome::Failure),
        Ok(pb::Outcome::Timeout) => Ok(Outcome::Timeout),
        Ok(pb::Outcome::Ignored) => Ok(Outcome::Ignored),
        Ok(pb::Outcome::Cancelled) => Ok(Outcome::Cancelled),
        Ok(pb::Outcome::Unspecified) => {
            fault(field, "is required: OUTCOME_SUCCESS, _FAILURE, _TIMEOUT, _IGNORED or _CANCELLED")
        }
        Err(_) => {
            unknown(field, value, "OUTCOME_SUCCESS (1), _FAILURE (2), _TIMEOUT (3), _IGNORED (4), _CANCELLED (5)")
        }
    }
}

/// On whose side a failure arose. By default the dependency's.
///
/// # Errors
/// It is unknown.
pub fn origin(field: &str, value: i32) -> Result<Origin> {
    match pb::Origin::try_from(value) {
        Ok(pb::Origin::Unspecified | pb::Origin::Dependency) => Ok(Origin::Dependency),
        Ok(pb::Origin::Local) => Ok(Origin::Local),
        Err(_) => unknown(field, value, "ORIGIN_DEPENDENCY (1), ORIGIN_LOCAL (2)"),
    }
}

/// What to force. Required.
///
/// # Errors
/// It is absent or unknown.
pub fn override_mode(field: &str, value: i32) -> Result<OverrideMode> {
    match pb::OverrideMode::try_from(value) {
        Ok(pb::OverrideMode::ForcedOpen) => Ok(OverrideMode::ForcedOpen),
        Ok(pb::OverrideMode::ForcedClosed) => Ok(OverrideMode::ForcedClosed),
        Ok(pb::OverrideMode::Shadow) => Ok(OverrideMode::Shadow),
        Ok(pb::OverrideMode::Unspecified) => {
            fault(field, "is required: OVERRIDE_MODE_FORCED_OPEN, _FORCED_CLOSED or _SHADOW")
        }
        Err(_) => unknown(field, value, "OVERRIDE_MODE_FORCED_OPEN (1), _FORCED_CLOSED (2), _SHADOW (3)"),
    }
}

/// The id of an override; empty: the default one.
///
/// # Errors
/// It is longer than 64 bytes or has other characters than a key.
pub fn override_id<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() { Ok(Override::DEFAULT_ID) } else { token_name(field, value) }
}

/// The states that a filter lets through, each once. Empty: all.
///
/// # Errors
/// One is unknown.
pub fn states(field: &str, values: &[i32]) -> Result<Vec<StateName>> {
    let mut states = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let state = match pb::State::try_from(*value) {
            Ok(pb::State::Unspecified) => continue,
            Ok(pb::State::Closed) => StateName::Closed,
            Ok(pb::State::Open) => StateName::Open,
            Ok(pb::State::HalfOpen) => StateName::HalfOpen,
            Err(_) => {
                return unknown(&entry(field, index), *value, "STATE_CLOSED (1), STATE_OPEN (2), STATE_HALF_OPEN (3)");
            }
        };
        if !states.contains(&state) {
            states.push(state);
        }
    }
    let any = values.contains(&(pb::State::Unspecified as i32));
    Ok(if any { Vec::new() } else { states })
}

/// The kinds of events that a filter lets through, each once. Empty: all.
///
/// # Errors
/// One is unknown.
pub fn event_kinds(field: &str, values: &[i32]) -> Result<Vec<pb::EventKind>> {
    let mut kinds = Vec::new();
    for (index, value) in values.iter().enumerate() {
        match pb::EventKind::try_from(*value) {
            Ok(pb::EventKind::Unspecified) | Err(_) => {
                return unknown(
                    &entry(field, index),
                    *value,
                    "EVENT_KIND_OPENED (1) to EVENT_KIND_CALLER_RESTORED (12)",
                );
            }
            Ok(kind) if !kinds.contains(&kind) => kinds.push(kind),
            Ok(_) => {}
        }
    }
    Ok(kinds)
}

/// Which events a watch is sent. By default every one.
///
/// # Errors
/// It is unknown.
pub fn delivery(field: &str, value: i32) -> Result<pb::Delivery> {
    match pb::Delivery::try_from(value) {
        Ok(pb::Delivery::Unspecified | pb::Delivery::EveryEvent) => Ok(pb::Delivery::EveryEvent),
        Ok(pb::Delivery::Latest) => Ok(pb::Delivery::Latest),
        Err(_) => unknown(field, value, "DELIVERY_EVERY_EVENT (1), DELIVERY_LATEST (2)"),
    }
}

fn expired_permit(field: &str, value: i32) -> Result<Option<ExpiredPermit>> {
    match pb::ExpiredPermit::try_from(value) {
        Ok(pb::ExpiredPermit::Unspecified) => Ok(None),
        Ok(pb::ExpiredPermit::Failure) => Ok(Some(ExpiredPermit::Failure)),
        Ok(pb::ExpiredPermit::Timeout) => Ok(Some(ExpiredPermit::Timeout)),
        Ok(pb::ExpiredPermit::Ignored) => Ok(Some(ExpiredPermit::Ignored)),
        Err(_) => unknown(field, value, "EXPIRED_PERMIT_FAILURE (1), _TIMEOUT (2), _IGNORED (3)"),
    }
}

fn voters(value: i32) -> Result<Option<Voters>> {
    match pb::Voters::try_from(value) {
        Ok(pb::Voters::Unspecified) => Ok(None),
        Ok(pb::Voters::Instance) => Ok(Some(Voters::Instance)),
        Ok(pb::Voters::Service) => Ok(Some(Voters::Service)),
        Err(_) => unknown("voters", value, "VOTERS_INSTANCE (1), VOTERS_SERVICE (2)"),
    }
}

fn trip_on(value: i32) -> Result<Option<TripOn>> {
    match pb::TripOn::try_from(value) {
        Ok(pb::TripOn::Unspecified) => Ok(None),
        Ok(pb::TripOn::Any) => Ok(Some(TripOn::Any)),
        Ok(pb::TripOn::Failure) => Ok(Some(TripOn::Failure)),
        Err(_) => unknown("trip_on", value, "TRIP_ON_ANY (1), TRIP_ON_FAILURE (2)"),
    }
}

#[cold]
fn unknown<T>(field: &str, value: i32, allowed: &str) -> Result<T> {
    fault(field, format!("must be one of {allowed}, not {value}"))
}

/// The entries of a page: 100 where the request does not say, and at most 1,000.
#[must_use]
pub fn page_size(value: u32) -> usize {
    match value as usize {
        0 => PAGE_SIZE_DEFAULT,
        size => size.min(PAGE_SIZE_MAX),
    }
}

/// Checks the names in a watch's filter, and answers with its kinds of events.
///
/// # Errors
/// The first field at fault.
pub fn watch_filter(filter: &pb::WatchFilter) -> Result<Vec<pb::EventKind>> {
    entries_at_most("breakers", filter.breakers.len(), WATCH_BREAKERS_MAX)?;
    entries_at_most("prefixes", filter.prefixes.len(), WATCH_PREFIXES_MAX)?;
    each("breakers", &filter.breakers, |field, name| key(field, name).map(drop))?;
    each("prefixes", &filter.prefixes, |field, name| prefix(field, name).map(drop))?;
    caller("caller", &filter.caller)?;
    event_kinds("kinds", &filter.kinds)
}

fn each(list: &str, names: &[String], check: fn(&str, &str) -> Result<()>) -> Result<()> {
    // The path is put together only for the entry at fault.
    let bad = names.iter().position(|name| check(list, name).is_err());
    bad.map_or(Ok(()), |index| check(&entry(list, index), &names[index]))
}

// ---- Reports and tallies -------------------------------------------------------------------------------------------

/// What a report says. Its error class is checked and stays where it is.
///
/// # Errors
/// The first field at fault.
pub fn report(request: &pb::ReportRequest) -> Result<Report> {
    error_class("error_class", &request.error_class)?;
    report_of(request.outcome, request.duration.as_ref(), request.retry_after.as_ref(), request.origin)
}

/// What a report of a session says. Its error class is checked and stays where it is.
///
/// # Errors
/// The first field at fault.
pub fn session_report(item: &pb::SessionReport) -> Result<Report> {
    error_class("error_class", &item.error_class)?;
    report_of(item.outcome, item.duration.as_ref(), item.retry_after.as_ref(), item.origin)
}

fn report_of(
    how: i32,
    took: Option<&prost_types::Duration>,
    retry_after: Option<&prost_types::Duration>,
    whose: i32,
) -> Result<Report> {
    Ok(Report {
        outcome: outcome("outcome", how)?,
        duration: duration("duration", took, DAY)?,
        retry_after: positive("retry_after", retry_after, DAY)?,
        origin: origin("origin", whose)?,
    })
}

/// One tally of a batch: whose calls, to which breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchItem<'a> {
    /// Key of the breaker.
    pub key: &'a str,
    /// Who called.
    pub caller: &'a str,
    /// The calls.
    pub tally: Tally,
}

/// The tallies of a batch. All of them are checked before the first is counted.
///
/// # Errors
/// The first field at fault.
pub fn batch(request: &pb::ReportBatchRequest) -> Result<Vec<BatchItem<'_>>> {
    client_id("client_id", &request.client_id)?;
    if request.batch_sequence == 0 {
        return fault("batch_sequence", "must be from 1, and one more for each batch");
    }
    entries_at_most("tallies", request.tallies.len(), TALLIES_MAX)?;
    let tallies = request.tallies.iter().enumerate();
    tallies.map(|(index, item)| tally(item).map_err(|error| error.within(&entry("tallies", index)))).collect()
}

fn tally(item: &pb::Tally) -> Result<BatchItem<'_>> {
    let tally = Tally {
        generation: item.generation,
        caller_generation: item.caller_generation,
        age: duration("age", item.age.as_ref(), HOUR)?.unwrap_or_default(),
        successes: tallied("successes", item.successes)?,
        failures: tallied("failures", item.failures)?,
        timeouts: tallied("timeouts", item.timeouts)?,
        slow: tallied("slow", item.slow)?,
        ignored: tallied("ignored", item.ignored)?,
        rejections: tallied("rejections", item.rejections)?,
        local_failures: tallied("local_failures", item.local_failures)?,
        // Runs are of failures and timeouts together.
        leading_failures: at_most_calls("leading_failures", item.leading_failures, 2 * TALLY_CALLS_MAX)?,
        longest_run: at_most_calls("longest_run", item.longest_run, 2 * TALLY_CALLS_MAX)?,
        trailing_failures: at_most_calls("trailing_failures", item.trailing_failures, 2 * TALLY_CALLS_MAX)?,
        retry_after: positive("retry_after", item.retry_after.as_ref(), DAY)?,
    };
    check_sums(&tally)?;
    Ok(BatchItem { key: key("breaker", &item.breaker)?, caller: caller("caller", &item.caller)?, tally })
}

fn tallied(field: &str, calls: u32) -> Result<u32> {
    at_most_calls(field, calls, TALLY_CALLS_MAX)
}

fn at_most_calls(field: &str, calls: u32, max: u32) -> Result<u32> {
    if calls <= max {
        return Ok(calls);
    }
    fault(field, format!("must be 0 to {max}, not {calls}"))
}

/// No sum overflows: each part is at most [`TALLY_CALLS_MAX`].
fn check_sums(tally: &Tally) -> Result<()> {
    let failed = tally.failures + tally.timeouts;
    let calls = tally.successes + failed;
    if tally.slow > calls {
        let message = format!("must be at most the successes, failures and timeouts, {calls}, not {}", tally.slow);
        return fault("slow", message);
    }
    let trailing = tally.trailing_failures;
    if trailing > failed {
        let message = format!("must be at most the failures and timeouts, {failed}, not {trailing}");
        return fault("trailing_failures", message);
    }
    if tally.successes == 0 && trailing != failed {
        let message = format!("must be all failures and timeouts, {failed}, where there is no success, not {trailing}");
        return fault("trailing_failures", message);
    }
    check_runs(tally, failed)
}

/// The runs of failures fit the counts. Clients that do not report runs leave `leading_failures` and `longest_run` 0.
fn check_runs(tally: &Tally, failed: u32) -> Result<()> {
    let &Tally { successes, leading_failures: leading, longest_run: longest, trailing_failures: trailing, .. } = tally;
    if successes == 0 {
        let all = |field, run| {
            let message = format!("must be all failures and timeouts, {failed}, if there is no success, not {run}");
            if run == 0 || run == failed { Ok(()) } else { fault(field, message) }
        };
        all("leading_failures", leading)?;
        return all("longest_run", longest);
    }
    let before = failed - trailing;
    if leading > before {
        let message =
            format!("must be at most the failures and timeouts before the last success, {before}, not {leading}");
        return fault("leading_failures", message);
    }
    if leading == 0 && longest == 0 {
        return Ok(());
    }
    let (between, outer) = (before - leading, leading.max(trailing));
    if successes == 1 && between > 0 {
        let message = format!("must be all failures and timeouts before the only success, {before}, not {leading}");
        return fault("leading_failures", message);
    }
    if longest == 0 {
        return Ok(());
    }
    // A success more than runs there are between the first and the last.
    let (least, most) = (outer.max(between.div_ceil(successes.max(2) - 1)), outer.max(between));
    if !(least..=most).contains(&longest) {
        let message = format!("must be {least} to {most} with these counts and the other runs, not {longest}");
        return fault("longest_run", message);
    }
    Ok(())
}

// ---- Policies ------------------------------------------------------------------------------------------------------

/// What somebody wrote about a policy, every field in its range. The field at fault is named inside the policy.
///
/// # Errors
/// The first field at fault.
pub fn policy(policy: &pb::Policy) -> Result<PolicySpec> {
    let spec = PolicySpec {
        failure_threshold: policy.failure_threshold,
        monitoring_period: period("monitoring_period", policy.monitoring_period.as_ref())?,
        failure_count_threshold: policy.failure_count_threshold,
        failure_rate_threshold: policy.failure_rate_threshold,
        slow_call_duration: period("slow_call_duration", policy.slow_call_duration.as_ref())?,
        slow_call_rate_threshold: policy.slow_call_rate_threshold,
        slow_call_minimum_calls: policy.slow_call_minimum_calls,
        window: policy.window.as_ref().map(window).transpose()?,
        minimum_calls: policy.minimum_calls,
        open_duration: period("open_duration", policy.open_duration.as_ref())?,
        open_backoff: policy.open_backoff.as_ref().map(backoff).transpose()?,
        probes: policy.probes,
        successes_to_close: policy.successes_to_close,
        failures_to_reopen: policy.failures_to_reopen,
        half_open_max_duration: period("half_open_max_duration", policy.half_open_max_duration.as_ref())?,
        retry_after_max: period("retry_after_max", policy.retry_after_max.as_ref())?,
        lease: period("lease", policy.lease.as_ref())?,
        expired_probe: expired_permit("expired_probe", policy.expired_probe)?,
        expired_permit: expired_permit("expired_permit", policy.expired_permit)?,
        min_callers: policy.min_callers,
        share: policy.share,
        voters: voters(policy.voters)?,
        trip_on: trip_on(policy.trip_on)?,
        open_duration_min: period("open_duration_min", policy.open_duration_min.as_ref())?,
    };
    spec.check()?;
    Ok(spec)
}

/// A span of time whose range the spec checks.
fn period(field: &str, value: Option<&prost_types::Duration>) -> Result<Option<Duration>> {
    span(field, value, || "a span of time".to_owned())
}

fn window(window: &pb::Window) -> Result<WindowSpec> {
    const SLICES_DEFAULT: u32 = 10;
    match &window.kind {
        Some(pb::window::Kind::Time(time)) => Ok(WindowSpec::Time {
            duration: period("window.time.duration", time.duration.as_ref())?.unwrap_or_default(),
            slices: if time.slices == 0 { SLICES_DEFAULT } else { time.slices },
        }),
        Some(pb::window::Kind::Count(count)) => Ok(WindowSpec::Count(count.calls)),
        None => fault("window", "must be either `time` or `count`"),
    }
}

fn backoff(backoff: &pb::OpenBackoff) -> Result<BackoffSpec> {
    const MULTIPLIER_DEFAULT: f64 = 2.0;
    Ok(BackoffSpec {
        multiplier: if backoff.multiplier == 0.0 { MULTIPLIER_DEFAULT } else { backoff.multiplier },
        max_duration: period("open_backoff.max_duration", backoff.max_duration.as_ref())?.unwrap_or_default(),
        jitter: backoff.jitter,
    })
}

/// One declaration of a service.
#[derive(Clone, PartialEq, Debug)]
pub struct Declaration<'a> {
    /// Key of the breaker.
    pub key: &'a str,
    /// What it states.
    pub spec: PolicySpec,
    /// Which declaration it is; 0: it carries no revision.
    pub revision: u64,
}

/// The declarations of a request: 1 to 1,000, each breaker once. All are checked before the first is taken.
///
/// # Errors
/// The first field at fault.
pub fn declarations(request: &pb::DeclareRequest) -> Result<Vec<Declaration<'_>>> {
    if request.declarations.is_empty() {
        return fault("declarations", "is required: 1 to 1000 entries");
    }
    entries_at_most("declarations", request.declarations.len(), DECLARATIONS_MAX)?;
    let mut seen = std::collections::HashSet::with_capacity(request.declarations.len());
    let mut declarations = Vec::with_capacity(request.declarations.len());
    for (index, wanted) in request.declarations.iter().enumerate() {
        let declaration = declaration(wanted).map_err(|error| error.within(&entry("declarations", index)))?;
        if !seen.insert(declaration.key) {
            let field = format!("{}.breaker", entry("declarations", index));
            return fault(&field, format!("must be declared once in a request; {:?} is there twice", declaration.key));
        }
        declarations.push(declaration);
    }
    Ok(declarations)
}

fn declaration(wanted: &pb::Declaration) -> Result<Declaration<'_>> {
    let key = key("breaker", &wanted.breaker)?;
    let spec = wanted.policy.as_ref().map(policy).transpose().map_err(|error| error.within("policy"))?;
    Ok(Declaration { key, spec: spec.unwrap_or_default(), revision: wanted.revision })
}

/// A policy with every field resolved; what is off is 0. An open period that does not grow has no `open_backoff`.
#[must_use]
pub fn to_policy(policy: &Policy) -> pb::Policy {
    to_policy_spec(&PolicySpec::from(policy))
}

/// What somebody wrote about a policy, and no more.
#[must_use]
pub fn to_policy_spec(spec: &PolicySpec) -> pb::Policy {
    pb::Policy {
        failure_threshold: spec.failure_threshold,
        monitoring_period: spec.monitoring_period.map(to_duration),
        failure_count_threshold: spec.failure_count_threshold,
        failure_rate_threshold: spec.failure_rate_threshold,
        slow_call_duration: spec.slow_call_duration.map(to_duration),
        slow_call_rate_threshold: spec.slow_call_rate_threshold,
        slow_call_minimum_calls: spec.slow_call_minimum_calls,
        window: spec.window.map(to_window),
        minimum_calls: spec.minimum_calls,
        open_duration: spec.open_duration.map(to_duration),
        open_backoff: spec.open_backoff.map(to_backoff),
        probes: spec.probes,
        successes_to_close: spec.successes_to_close,
        failures_to_reopen: spec.failures_to_reopen,
        half_open_max_duration: spec.half_open_max_duration.map(to_duration),
        retry_after_max: spec.retry_after_max.map(to_duration),
        lease: spec.lease.map(to_duration),
        expired_probe: to_expired_permit(spec.expired_probe) as i32,
        expired_permit: to_expired_permit(spec.expired_permit) as i32,
        min_callers: spec.min_callers,
        share: spec.share,
        voters: match spec.voters {
            None => pb::Voters::Unspecified,
            Some(Voters::Instance) => pb::Voters::Instance,
            Some(Voters::Service) => pb::Voters::Service,
        } as i32,
        trip_on: match spec.trip_on {
            None => pb::TripOn::Unspecified,
            Some(TripOn::Any) => pb::TripOn::Any,
            Some(TripOn::Failure) => pb::TripOn::Failure,
        } as i32,
        open_duration_min: spec.open_duration_min.map(to_duration),
    }
}

fn to_window(window: WindowSpec) -> pb::Window {
    let kind = match window {
        WindowSpec::Time { duration, slices } => {
            pb::window::Kind::Time(pb::TimeWindow { duration: Some(to_duration(duration)), slices })
        }
        WindowSpec::Count(calls) => pb::window::Kind::Count(pb::CountWindow { calls }),
    };
    pb::Window { kind: Some(kind) }
}

fn to_backoff(backoff: BackoffSpec) -> pb::OpenBackoff {
    pb::OpenBackoff {
        multiplier: backoff.multiplier,
        max_duration: Some(to_duration(backoff.max_duration)),
        jitter: backoff.jitter,
    }
}

const fn to_expired_permit(expired: Option<ExpiredPermit>) -> pb::ExpiredPermit {
    match expired {
        None => pb::ExpiredPermit::Unspecified,
        Some(ExpiredPermit::Failure) => pb::ExpiredPermit::Failure,
        Some(ExpiredPermit::Timeout) => pb::ExpiredPermit::Timeout,
        Some(ExpiredPermit::Ignored) => pb::ExpiredPermit::Ignored,
    }
}

// ---- Answers and events --------------------------------------------------------------------------------------------

/// A state.
#[must_use]
pub const fn to_state(state: StateName) -> pb::State {
    match state {
        StateName::Closed => pb::State::Closed,
        StateName::Open => pb::State::Open,
        StateName::HalfOpen => pb::State::HalfOpen,
    }
}

/// What is forced over a state.
#[must_use]
pub const fn to_override_mode(mode: Option<OverrideMode>) -> pb::OverrideMode {
    match mode {
        None => pb::OverrideMode::Unspecified,
        Some(OverrideMode::ForcedOpen) => pb::OverrideMode::ForcedOpen,
        Some(OverrideMode::ForcedClosed) => pb::OverrideMode::ForcedClosed,
        Some(OverrideMode::Shadow) => pb::OverrideMode::Shadow,
    }
}

/// Why a call is rejected.
#[must_use]
pub const fn to_rejection_reason(rejection: Rejection) -> pb::RejectionReason {
    match rejection {
        Rejection::Open => pb::RejectionReason::Open,
        Rejection::HalfOpenFull => pb::RejectionReason::HalfOpenFull,
        Rejection::CallerIsolated => pb::RejectionReason::CallerIsolated,
        Rejection::ForcedOpen => pb::RejectionReason::ForcedOpen,
    }
}

/// What became of a report.
#[must_use]
pub const fn to_report_result(reported: Reported) -> pb::ReportResult {
    match reported {
        Reported::Counted => pb::ReportResult::Counted,
        Reported::Stale => pb::ReportResult::Stale,
        Reported::Duplicate => pb::ReportResult::Duplicate,
    }
}

/// The calls of a window.
#[must_use]
pub const fn to_window_counts(counts: &Counts) -> pb::WindowCounts {
    pb::WindowCounts {
        successes: counts.successes,
        failures: counts.failures,
        timeouts: counts.timeouts,
        slow: counts.slow,
    }
}

/// The counts over a breaker's life.
#[must_use]
pub fn to_totals(totals: &Totals) -> pb::Totals {
    pb::Totals {
        opens: totals.opens,
        closes: totals.closes,
        successes: totals.successes,
        failures: totals.failures,
        timeouts: totals.timeouts,
        ignored: totals.ignored,
        rejected: totals.rejected,
        stale: totals.stale,
        expired: totals.expired,
        bypassed: totals.bypassed,
        local_failures: totals.local_failures,
        last_open_time: totals.last_open.map(to_timestamp),
        last_close_time: totals.last_close.map(to_timestamp),
        last_success_time: totals.last_success.map(to_timestamp),
        last_failure_time: totals.last_failure.map(to_timestamp),
    }
}

/// An override.
#[must_use]
pub fn to_override(forced: &Override) -> pb::Override {
    pb::Override {
        mode: to_override_mode(Some(forced.mode)) as i32,
        actor: forced.actor.clone(),
        reason: forced.reason.clone(),
        set_time: Some(to_timestamp(forced.set)),
        expire_time: to_timestamp_ever(forced.expire),
        id: forced.id.clone(),
    }
}

/// A half-open round.
#[must_use]
pub fn to_round(round: &Round, probes_out: usize) -> pb::Round {
    pb::Round {
        probes_out: u32::try_from(probes_out).unwrap_or(u32::MAX),
        successes: round.successes,
        failures: round.failures,
    }
}

/// Where a breaker stands, as seen at `now`.
#[must_use]
pub fn to_status(key: &str, status: &Status, sequence: u64, policy_version: u64, now: Timestamp) -> pb::BreakerStatus {
    pb::BreakerStatus {
        breaker: key.to_owned(),
        state: to_state(status.state) as i32,
        override_mode: to_override_mode(status.forced) as i32,
        generation: status.generation,
        sequence,
        state_since: Some(to_timestamp(status.since)),
        state_until: to_timestamp_ever(status.until),
        override_expire_time: to_timestamp_ever(status.override_expire),
        state_remaining: status.until.ever().map(|until| to_duration(until.since(now))),
        failures: status.failures,
        policy_version,
        caller: None,
        callers_isolated: 0,
    }
}

/// Where a caller of this name stands, as seen at `now`.
#[must_use]
pub fn to_caller_status(name: &str, status: &CallerStatus, now: Timestamp) -> pb::CallerStatus {
    pb::CallerStatus {
        caller: name.to_owned(),
        state: to_state(status.state) as i32,
        generation: status.generation,
        state_since: Some(to_timestamp(status.since)),
        state_until: to_timestamp_ever(status.until),
        state_remaining: status.until.ever().map(|until| to_duration(until.since(now))),
        failures: status.failures,
    }
}

/// A caller of this name with its calls, as seen at `now`.
#[must_use]
pub fn to_caller_numbers(name: &str, view: &CallerView, now: Timestamp) -> pb::CallerNumbers {
    pb::CallerNumbers {
        status: Some(to_caller_status(name, &view.status, now)),
        window: Some(to_window_counts(&view.window)),
        successes: view.totals.successes,
        failures: view.totals.failures,
        local_failures: view.totals.local_failures,
        rejected: view.totals.rejected,
        seen_time: Some(to_timestamp(view.seen)),
    }
}

/// What happened.
#[must_use]
pub const fn to_event_kind(kind: Kind) -> pb::EventKind {
    match kind {
        Kind::Opened => pb::EventKind::Opened,
        Kind::HalfOpened => pb::EventKind::HalfOpened,
        Kind::Closed => pb::EventKind::Closed,
        Kind::Reset => pb::EventKind::Reset,
        Kind::PolicyChanged => pb::EventKind::PolicyChanged,
        Kind::OverrideSet => pb::EventKind::OverrideSet,
        Kind::OverrideCleared => pb::EventKind::OverrideCleared,
        Kind::WouldHaveOpened => pb::EventKind::WouldHaveOpened,
        Kind::CallerIsolated => pb::EventKind::CallerIsolated,
        Kind::CallerHalfOpened => pb::EventKind::CallerHalfOpened,
        Kind::CallerRestored => pb::EventKind::CallerRestored,
    }
}

/// Why it happened, as far as the breaker knows.
#[must_use]
pub const fn to_event_reason(reason: Reason) -> pb::EventReason {
    match reason {
        Reason::TripRule(_) => pb::EventReason::TripRule,
        Reason::OpenPeriodPassed => pb::EventReason::OpenPeriodPassed,
        Reason::ProbesSucceeded => pb::EventReason::ProbesSucceeded,
        Reason::ProbesFailed => pb::EventReason::ProbesFailed,
        Reason::HalfOpenTimedOut => pb::EventReason::HalfOpenTimedOut,
        Reason::Requested => pb::EventReason::Requested,
        Reason::OverrideExpired => pb::EventReason::OverrideExpired,
        Reason::CallerForgotten => pb::EventReason::CallerForgotten,
    }
}

/// The rule behind a reason.
#[must_use]
pub const fn to_trip_rule(reason: Reason) -> pb::TripRule {
    match reason {
        Reason::TripRule(TripRule::FailureThreshold) => pb::TripRule::FailureThreshold,
        Reason::TripRule(TripRule::FailureCountThreshold) => pb::TripRule::FailureCountThreshold,
        Reason::TripRule(TripRule::FailureRateThreshold) => pb::TripRule::FailureRateThreshold,
        Reason::TripRule(TripRule::SlowCallRateThreshold) => pb::TripRule::SlowCallRateThreshold,
        Reason::TripRule(TripRule::CallersIsolated) => pb::TripRule::CallersIsolated,
        _ => pb::TripRule::Unspecified,
    }
}

/// The numbers behind a move, with the caller and the error class of the report that made it. `name` knows the callers
/// that they are about.
#[must_use]
pub fn to_evidence<'a>(
    evidence: &Evidence,
    reason: Reason,
    caller: &str,
    error_class: &str,
    name: impl Fn(CallerId) -> &'a str,
) -> pb::Evidence {
    // The worst first. Equals come by id, which differs from server to server, so they are put in the order of their names.
    let parts = |parts: &[CallerEvidence]| {
        let part = |part: &CallerEvidence| pb::CallerEvidence {
            caller: name(part.caller).to_owned(),
            calls: part.calls,
            failures: part.failures,
        };
        let mut parts: Vec<_> = parts.iter().map(part).collect();
        for equals in parts.chunk_by_mut(|a, b| (a.calls, a.failures) == (b.calls, b.failures)) {
            equals.sort_by(|a, b| a.caller.cmp(&b.caller));
        }
        parts
    };
    let nobody = CallersEvidence::default();
    let callers = evidence.callers.as_deref().unwrap_or(&nobody);
    pb::Evidence {
        rule: to_trip_rule(reason) as i32,
        consecutive_failures: evidence.consecutive_failures,
        window: Some(to_window_counts(&evidence.window)),
        threshold: evidence.threshold,
        probe_successes: u64::from(evidence.probe_successes),
        probe_failures: u64::from(evidence.probe_failures),
        open_duration: evidence.open_duration.map(to_duration),
        retry_after_applied: evidence.retry_after_applied,
        failed_recoveries: u64::from(evidence.failed_recoveries),
        caller: caller.to_owned(),
        error_class: error_class.to_owned(),
        quorum: callers.quorum,
        known_callers: callers.known,
        callers: parts(&callers.with),
        stood_without: parts(&callers.without),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault_of<T: std::fmt::Debug>(result: Result<T>) -> (String, String) {
        match result {
            Err(Error::Invalid { field, message }) => (field, message),
            other => panic!("expected a field at fault, got {other:?}"),
        }
    }

    fn field_of<T: std::fmt::Debug>(result: Result<T>) -> String {
        fault_of(result).0
    }

    const fn said(seconds: i64, nanos: i32) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos }
    }

    #[test]
    fn a_key_is_1_to_200_bytes_of_its_alphabet() {
        for good in ["a", "payments/charge", "A-Z.a_z:0/9", &"k".repeat(200)] {
            assert_eq!(key("breaker", good), Ok(good));
        }
        for bad in ["", " ", "a b", "a*", "naïve", "a\0b", "a\n", &"k".repeat(201)] {
            assert_eq!(field_of(key("breaker", bad)), "breaker", "{bad:?}");
        }
        assert_eq!(prefix("prefix", ""), Ok(""));
        assert_eq!(pattern("pattern", "payments/*"), Ok("payments/*"));
        for bad in ["", "a?", "a b", &"*".repeat(201)] {
            assert_eq!(field_of(pattern("pattern", bad)), "pattern", "{bad:?}");
        }
    }

    #[test]
    fn a_caller_needs_no_name() {
        assert_eq!(caller("caller", ""), Ok(""));
        assert_eq!(caller("caller", "web/1"), Ok("web/1"));
        assert_eq!(field_of(caller("caller", "web 1")), "caller");
    }

    #[test]
    fn a_request_is_named_by_its_id_its_caller_and_its_breaker() {
        let seal = Seal::of(b"of the unit test");
        let id = |id, key, caller| request_id(&seal, "request_id", id, key, CallerId(caller)).unwrap();
        assert_eq!(id("", "a", 1), RequestId(0));
        assert_eq!(id("x", "a", 1), id("x", "a", 1));
        let others = [id("x", "a", 1), id("y", "a", 1), id("x", "b", 1), id("x", "a", 2), id("", "ax", 1)];
        for (index, one) in others.iter().enumerate() {
            assert!(others[index + 1..].iter().all(|other| other != one), "{index}");
        }
        let longest = "i".repeat(128);
        assert_ne!(id(&longest, &"k".repeat(200), u64::MAX), RequestId(0));
        let too_long = request_id(&seal, "request_id", &"i".repeat(129), "a", CallerId(1));
        assert_eq!(field_of(too_long), "request_id");
    }

    #[test]
    fn words_hold_no_control_characters() {
        assert_eq!(actor("actor", ""), Ok("unknown"));
        assert_eq!(actor("actor", "Zoë"), Ok("Zoë"));
        assert_eq!(reason("reason", ""), Ok(""));
        assert_eq!(field_of(actor("actor", "a\u{1b}[31m")), "actor");
        assert_eq!(field_of(actor("actor", &"a".repeat(201))), "actor");
        assert_eq!(field_of(reason("reason", "two\nlines")), "reason");
        for turned in ["admin\u{202e}", "a\u{2066}b", "\u{200f}", "\u{2028}"] {
            assert_eq!(field_of(actor("actor", turned)), "actor");
            assert_eq!(field_of(required_actor("actor", turned)), "actor");
            assert_eq!(field_of(reason("reason", turned)), "reason");
            assert_eq!(field_of(required_reason("reason", turned)), "reason");
        }
        let told = fault_of(actor("actor", "a\u{202e}b")).1;
        assert!(told.ends_with(r"it has '\u{202e}'"), "{told}");
        assert_eq!(field_of(reason("reason", &"a".repeat(1_001))), "reason");
        for empty in ["", "  "] {
            assert_eq!(field_of(required_actor("actor", empty)), "actor");
            assert_eq!(field_of(required_reason("reason", empty)), "reason");
        }
        assert_eq!(field_of(client_id("client_id", "")), "client_id");
        assert_eq!(field_of(client_id("client_id", "é")), "client_id");
        assert_eq!(error_class("error_class", "connection refused"), Ok("connection refused"));
        assert_eq!(field_of(error_class("error_class", &"a".repeat(65))), "error_class");
    }

    #[test]
    fn a_span_of_time_out_of_range_says_what_is_allowed() {
        let of = |value| duration("duration", Some(&value), DAY);
        assert_eq!(duration("duration", None, DAY), Ok(None));
        assert_eq!(of(said(0, 0)), Ok(Some(Duration::ZERO)));
        assert_eq!(of(said(86_400, 0)), Ok(Some(DAY)));
        assert_eq!(fault_of(of(said(86_400, 1))).1, "must be 0 to 24 h, not 86400.000000001s");
        assert_eq!(fault_of(of(said(-1, 0))).1, "must be 0 to 24 h, not negative");
        assert_eq!(fault_of(of(said(0, -1))).1, "must be 0 to 24 h, not negative");
        assert_eq!(fault_of(of(said(1, 1_000_000_000))).1, "must have nanos of 0 to 999999999, not 1000000000");
        assert_eq!(field_of(of(said(i64::MAX, i32::MAX))), "duration");
        assert_eq!(field_of(of(said(i64::MIN, i32::MIN))), "duration");
    }

    #[test]
    fn each_span_of_time_has_its_own_range_and_default() {
        assert_eq!(lease("lease", Some(&said(0, 0))), Ok(None));
        assert_eq!(lease("lease", Some(&said(86_400 * 365, 0))), Ok(Some(YEAR)), "the policy shortens it");
        assert_eq!(fault_of(lease("lease", Some(&said(-1, 0)))).1, "must be 0 or longer, not negative");
        assert_eq!(expire_after("e", None), Ok(None));
        assert_eq!(fault_of(expire_after("e", Some(&said(0, 1)))).1, "must be 1 s to 30 days, not 1ns");
        assert_eq!(field_of(expire_after("e", Some(&said(86_400 * 30, 1)))), "e");
        assert_eq!(progress_interval("p", None), Ok(SECOND * 15));
        assert_eq!(progress_interval("p", Some(&said(60, 0))), Ok(SECOND * 60));
        assert_eq!(field_of(progress_interval("p", Some(&said(61, 0)))), "p");
        assert_eq!(field_of(advance("duration", None)), "duration");
        assert_eq!(advance("duration", Some(&said(0, 0))), Ok(Duration::ZERO));
        assert_eq!(field_of(advance("duration", Some(&said(86_400 * 3_651, 0)))), "duration");
    }

    #[test]
    fn an_instant_is_between_1970_and_2554() {
        let of = |seconds, nanos| timestamp("start_time", &prost_types::Timestamp { seconds, nanos });
        assert_eq!(of(1, 5), Ok(Timestamp::from_nanos(1_000_000_005)));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (18_446_744_074, 0)] {
            assert_eq!(field_of(of(seconds, nanos)), "start_time");
        }
        assert_eq!(to_timestamp_ever(Timestamp::NEVER), None);
    }

    #[test]
    fn a_choice_nobody_knows_is_answered_with_those_there_are() {
        assert_eq!(outcome("outcome", 3), Ok(Outcome::Timeout));
        assert!(fault_of(outcome("outcome", 0)).1.contains("required"));
        assert!(fault_of(outcome("outcome", 6)).1.contains("OUTCOME_SUCCESS (1)"));
        assert_eq!(origin("origin", 0), Ok(Origin::Dependency));
        assert_eq!(field_of(origin("origin", -1)), "origin");
        assert_eq!(override_mode("mode", 2), Ok(OverrideMode::ForcedClosed));
        assert_eq!(field_of(override_mode("mode", 0)), "mode");
        assert_eq!(field_of(override_mode("mode", 4)), "mode");
        assert_eq!(delivery("delivery", 0), Ok(pb::Delivery::EveryEvent));
        assert_eq!(field_of(delivery("delivery", 9)), "delivery");
        assert_eq!(states("states", &[2, 3, 2]), Ok(vec![StateName::Open, StateName::HalfOpen]));
        assert_eq!(states("states", &[2, 0]), Ok(vec![]));
        assert_eq!(field_of(states("states", &[1, 7])), "states[1]");
        assert_eq!(event_kinds("kinds", &[9, 9]), Ok(vec![pb::EventKind::Deleted]));
        assert_eq!(field_of(event_kinds("kinds", &[1, 0])), "kinds[1]");
        assert_eq!(field_of(event_kinds("kinds", &[13])), "kinds[0]");
    }

    #[test]
    fn every_event_kind_is_taken_by_a_filter() {
        let last = (1..1_000).take_while(|number| pb::EventKind::try_from(*number).is_ok()).last();
        assert_eq!(last, Some(pb::EventKind::CallerRestored as i32), "the message of event_kinds names the last one");
    }

    #[test]
    fn a_page_is_of_100_and_at_most_1000() {
        assert_eq!([0, 1, 1_000, 1_001, u32::MAX].map(page_size), [100, 1, 1_000, 1_000, 1_000]);
    }

    #[test]
    fn a_watch_filter_names_the_entry_at_fault() {
        let filter = |breakers: &[&str], prefixes: &[&str]| pb::WatchFilter {
            breakers: breakers.iter().map(|&name| name.to_owned()).collect(),
            prefixes: prefixes.iter().map(|&name| name.to_owned()).collect(),
            ..Default::default()
        };
        assert_eq!(watch_filter(&filter(&["a"], &["b/", ""])), Ok(vec![]));
        assert_eq!(field_of(watch_filter(&filter(&["a", ""], &[]))), "breakers[1]");
        assert_eq!(field_of(watch_filter(&filter(&[], &["*"]))), "prefixes[0]");
        assert_eq!(field_of(watch_filter(&filter(&["a"; 1_001], &[]))), "breakers");
        assert_eq!(field_of(watch_filter(&filter(&[], &["a"; 101]))), "prefixes");
    }

    #[test]
    fn a_report_is_read_whole() {
        let request = pb::ReportRequest {
            outcome: pb::Outcome::Failure as i32,
            duration: Some(said(1, 0)),
            retry_after: Some(said(0, 0)),
            error_class: "timeout".into(),
            origin: pb::Origin::Local as i32,
            ..Default::default()
        };
        let read = report(&request).unwrap();
        assert_eq!(
            read,
            Report { outcome: Outcome::Failure, duration: Some(SECOND), retry_after: None, origin: Origin::Local }
        );
        let long = pb::ReportRequest { duration: Some(said(86_401, 0)), ..request.clone() };
        assert_eq!(field_of(report(&long)), "duration");
        let odd = pb::ReportRequest { error_class: "\u{7f}".into(), ..request };
        assert_eq!(field_of(report(&odd)), "error_class");
        assert_eq!(field_of(session_report(&pb::SessionReport::default())), "outcome");
    }

    #[test]
    fn a_batch_with_one_bad_tally_is_refused_whole() {
        let good = pb::Tally { breaker: "a".into(), failures: 2, trailing_failures: 2, ..Default::default() };
        let of = |bad: pb::Tally| {
            let tallies = vec![good.clone(), bad];
            let request = pb::ReportBatchRequest { client_id: "c".into(), batch_sequence: 1, tallies };
            batch(&request).map(|items| items.len())
        };
        assert_eq!(of(good.clone()), Ok(2));
        let mixed = pb::Tally { successes: 3, failures: 6, trailing_failures: 1, ..good.clone() };
        for (leading_failures, longest_run) in [(0, 0), (0, 3), (0, 4), (0, 5), (3, 3), (4, 4), (5, 5), (5, 0)] {
            let tally = pb::Tally { leading_failures, longest_run, ..mixed.clone() };
            assert_eq!(of(tally), Ok(2), "{leading_failures} leading, {longest_run} in a row at most");
        }
        let all = pb::Tally { leading_failures: 2, longest_run: 2, ..good.clone() };
        assert_eq!(of(all), Ok(2));
        let bad = [
            ("breaker", pb::Tally { breaker: String::new(), ..good.clone() }),
            ("caller", pb::Tally { caller: "?".into(), ..good.clone() }),
            ("age", pb::Tally { age: Some(said(3_601, 0)), ..good.clone() }),
            ("retry_after", pb::Tally { retry_after: Some(said(-1, 0)), ..good.clone() }),
            ("ignored", pb::Tally { ignored: 1_000_001, ..good.clone() }),
            ("rejections", pb::Tally { rejections: u32::MAX, ..good.clone() }),
            ("slow", pb::Tally { slow: 3, ..good.clone() }),
            ("trailing_failures", pb::Tally { trailing_failures: 3, successes: 1, ..good.clone() }),
            ("trailing_failures", pb::Tally { trailing_failures: 1, ..good.clone() }),
            // Without a success all failures are one run.
            ("leading_failures", pb::Tally { leading_failures: 1, ..good.clone() }),
            ("leading_failures", pb::Tally { leading_failures: 1_000_001, ..good.clone() }),
            ("longest_run", pb::Tally { longest_run: 3, ..good.clone() }),
            ("longest_run", pb::Tally { longest_run: u32::MAX, ..good.clone() }),
            // With some: 6 failures, the last of them after the last success.
            ("leading_failures", pb::Tally { leading_failures: 6, ..mixed.clone() }),
            ("longest_run", pb::Tally { leading_failures: 3, longest_run: 2, ..mixed.clone() }),
            ("longest_run", pb::Tally { leading_failures: 3, longest_run: 4, ..mixed.clone() }),
            ("longest_run", pb::Tally { longest_run: 7, ..mixed.clone() }),
            ("longest_run", pb::Tally { longest_run: 6, ..mixed.clone() }),
            // Five failures between three successes are two runs, one of them of three or more.
            ("longest_run", pb::Tally { longest_run: 2, ..mixed.clone() }),
            ("leading_failures", pb::Tally { leading_failures: 4, longest_run: 4, successes: 1, ..mixed }),
        ];
        for (field, tally) in bad {
            assert_eq!(field_of(of(tally)), format!("tallies[1].{field}"));
        }
        let nameless = pb::ReportBatchRequest { batch_sequence: 1, ..Default::default() };
        assert_eq!(field_of(batch(&nameless)), "client_id");
        let unnumbered = pb::ReportBatchRequest { client_id: "c".into(), ..Default::default() };
        assert_eq!(field_of(batch(&unnumbered)), "batch_sequence");
    }

    #[test]
    fn a_breaker_is_declared_once_in_a_request() {
        let wanted = |breaker: &str| pb::Declaration { breaker: breaker.into(), ..Default::default() };
        let of =
            |declarations| field_of(super::declarations(&pb::DeclareRequest { declarations, caller: String::new() }));
        assert_eq!(of(vec![]), "declarations");
        assert_eq!(of(vec![wanted("a"), wanted("b"), wanted("a")]), "declarations[2].breaker");
        assert_eq!(of(vec![wanted("a"); 1_001]), "declarations");
        let policy = Some(pb::Policy { probes: Some(0), ..Default::default() });
        assert_eq!(of(vec![pb::Declaration { policy, ..wanted("a") }]), "declarations[0].policy.probes");
    }

    #[test]
    fn a_policy_tells_zero_from_unset() {
        let said = pb::Policy {
            failure_threshold: Some(0),
            monitoring_period: Some(said(0, 0)),
            window: Some(to_window(WindowSpec::Count(7))),
            ..Default::default()
        };
        let spec = policy(&said).unwrap();
        assert_eq!(spec.failure_threshold, Some(0));
        assert_eq!(spec.monitoring_period, Some(Duration::ZERO));
        assert_eq!((spec.minimum_calls, spec.expired_probe), (None, None));
        assert_eq!(to_policy_spec(&spec), said);
        assert_eq!(policy(&pb::Policy::default()), Ok(PolicySpec::default()));
    }

    #[test]
    fn parts_of_a_policy_have_their_defaults() {
        let time = pb::TimeWindow { duration: Some(said(5, 0)), slices: 0 };
        let said = pb::Policy {
            window: Some(pb::Window { kind: Some(pb::window::Kind::Time(time)) }),
            open_backoff: Some(pb::OpenBackoff::default()),
            ..Default::default()
        };
        let spec = policy(&said).unwrap();
        assert_eq!(spec.window, Some(WindowSpec::Time { duration: SECOND * 5, slices: 10 }));
        assert_eq!(spec.open_backoff.unwrap().multiplier.to_bits(), 2.0_f64.to_bits());
    }

    #[test]
    fn a_bad_policy_names_the_field() {
        let base = pb::Policy::default();
        let backoff = |multiplier, jitter| Some(pb::OpenBackoff { multiplier, max_duration: None, jitter });
        let bad = [
            ("failure_threshold", pb::Policy { failure_threshold: Some(10_001), ..base }),
            ("failure_rate_threshold", pb::Policy { failure_rate_threshold: Some(f64::NAN), ..base }),
            ("slow_call_rate_threshold", pb::Policy { slow_call_rate_threshold: Some(-0.1), ..base }),
            ("window", pb::Policy { window: Some(pb::Window { kind: None }), ..base }),
            ("open_duration", pb::Policy { open_duration: Some(said(0, 0)), ..base }),
            ("open_duration", pb::Policy { open_duration: Some(said(-1, 0)), ..base }),
            ("lease", pb::Policy { lease: Some(said(0, 2_000_000_000)), ..base }),
            ("open_backoff.multiplier", pb::Policy { open_backoff: backoff(f64::NAN, 0.0), ..base }),
            ("open_backoff.multiplier", pb::Policy { open_backoff: backoff(f64::INFINITY, 0.0), ..base }),
            ("open_backoff.jitter", pb::Policy { open_backoff: backoff(0.0, 1.1), ..base }),
            ("expired_probe", pb::Policy { expired_probe: 4, ..base }),
            ("expired_permit", pb::Policy { expired_permit: -1, ..base }),
            ("window.count.calls", pb::Policy { window: Some(to_window(WindowSpec::Count(0))), ..base }),
        ];
        for (field, said) in bad {
            assert_eq!(field_of(policy(&said)), field);
        }
    }

    #[test]
    fn a_resolved_policy_comes_back_the_same() {
        let default = Policy::default();
        assert_eq!(policy(&to_policy(&default)).unwrap().resolve(), Ok(default));
    }

    #[test]
    fn a_state_without_a_deadline_has_none() {
        let status = Status {
            state: StateName::Closed,
            forced: None,
            generation: 1,
            since: Timestamp::from_nanos(5),
            until: Timestamp::NEVER,
            override_expire: Timestamp::NEVER,
            failures: 0,
        };
        let now = Timestamp::from_nanos(3_000_000_000);
        let closed = to_status("a", &status, 0, 1, now);
        assert_eq!((closed.state_until, closed.state_remaining, closed.override_expire_time), (None, None, None));
        let passed = Status { state: StateName::Open, until: Timestamp::from_nanos(1), ..status };
        assert_eq!(to_status("a", &passed, 0, 1, now).state_remaining, Some(said(0, 0)), "none left, but a deadline");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[a-z/*]{0,300}") {
            let _ = (key("f", &text), pattern("f", &text), prefix("f", &text), caller("f", &text));
            let _ = (actor("f", &text), required_reason("f", &text), client_id("f", &text), error_class("f", &text));
            let _ = request_id(&Seal::of(b"of the unit test"), "f", &text, "k", CallerId(1));
        }

        #[test]
        fn no_number_panics(seconds: i64, nanos: i32, choice: i32) {
            let value = said(seconds, nanos);
            let _ = (lease("f", Some(&value)), expire_after("f", Some(&value)), advance("f", Some(&value)));
            let _ = timestamp("f", &prost_types::Timestamp { seconds, nanos });
            let _ = (outcome("f", choice), origin("f", choice), states("f", &[choice]), event_kinds("f", &[choice]));
            let said = pb::Policy { open_duration: Some(value), lease: Some(value), expired_probe: choice, ..Default::default() };
            let _ = policy(&said);
        }

        #[test]
        fn spans_and_instants_come_back_as_they_went(nanos: u64) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(duration("f", Some(&to_duration(span)), PROTO_DURATION_MAX), Ok(Some(span)));
            let instant = Timestamp::from_nanos(nanos);
            prop_assert_eq!(timestamp("f", &to_timestamp(instant)), Ok(instant));
        }

        #[test]
        fn tallies_that_pass_add_up(counts in prop::array::uniform5(0_u32..5), runs in prop::array::uniform2(0_u32..9)) {
            let [successes, failures, timeouts, slow, trailing_failures] = counts;
            let [leading_failures, longest_run] = runs;
            let item = pb::Tally {
                breaker: "a".into(), successes, failures, timeouts, slow, trailing_failures, leading_failures, longest_run,
                ..Default::default()
            };
            if let Ok(item) = tally(&item) {
                let failed = item.tally.failures + item.tally.timeouts;
                prop_assert!(item.tally.slow <= item.tally.successes + failed);
                prop_assert!(item.tally.trailing_failures <= failed);
                prop_assert!(item.tally.successes > 0 || item.tally.trailing_failures == failed);
                prop_assert!(item.tally.leading_failures <= failed && item.tally.longest_run <= failed);
            }
        }

        /// What a client counts is never refused.
        #[test]
        fn a_tally_of_any_calls_passes(calls in prop::collection::vec(any::<bool>(), 0..20)) {
            let runs: Vec<u32> = calls.split(|failed| !failed).map(|run| run.len() as u32).collect();
            let failures = runs.iter().sum();
            let item = pb::Tally {
                breaker: "a".into(),
                successes: runs.len() as u32 - 1,
                failures,
                leading_failures: runs[0],
                longest_run: runs.iter().copied().max().unwrap_or_default(),
                trailing_failures: runs[runs.len() - 1],
                ..Default::default()
            };
            for item in [item.clone(), pb::Tally { leading_failures: 0, longest_run: 0, ..item }] {
                prop_assert!(tally(&item).is_ok(), "{item:?}");
            }
        }
    }
}
