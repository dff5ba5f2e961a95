//! What each field takes and how it refuses the rest: the specification of input, one line a field.

use prost::Message as _;
use tonic::Code;

use super::wire::Wire;

/// A value for a field, and what comes of it.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    /// None: the field is absent.
    pub values: Vec<Wire>,
    pub wants: Wants,
}

/// What comes of a value. A text is part of the message: what is allowed, or what to do.
#[derive(Clone, Debug)]
pub enum Wants {
    /// It is taken; where it names a thing that is not there, the answer is NOT_FOUND.
    Fine,
    /// `INVALID_FIELD` with the field's path.
    Fault(&'static str),
    /// The same for the first entry of a list.
    FaultOfEntry(&'static str),
    /// The same for another field of the same message.
    FaultBeside(&'static str, &'static str),
    /// The same for a field of this message.
    FaultInside(&'static str, &'static str),
    /// Another error.
    Error(Code, &'static str),
}

use Wants::{Error, Fault, FaultBeside, FaultInside, FaultOfEntry, Fine};

type Rule = fn() -> Vec<Case>;

/// Every field of every request. What is the same for all of a kind (another wire type, text that is not UTF-8, numbers
/// and messages that cannot be read) is not repeated here.
pub const FIELDS: &[(&str, Rule)] = &[
    ("AcquireRequest.breaker", key),
    ("AcquireRequest.caller", name),
    ("AcquireRequest.request_id", request_id),
    ("AcquireRequest.lease", any_span),
    ("ReportRequest.breaker", key_of_permit),
    ("ReportRequest.permit", permit),
    ("ReportRequest.outcome", || required_choice(5, "OUTCOME_SUCCESS")),
    ("ReportRequest.duration", || span(ZERO, DAY, "0 to 24 h")),
    ("ReportRequest.error_class", error_class),
    ("ReportRequest.retry_after", || span(ZERO, DAY, "0 to 24 h")),
    ("ReportRequest.origin", || choice(2, "ORIGIN_LOCAL (2)")),
    ("ReportBatchRequest.client_id", client_id),
    ("ReportBatchRequest.batch_sequence", || numbers([(1, Fine), (0, Fault("from 1")), (u64::MAX, Fine)])),
    ("ReportBatchRequest.tallies", || list(10_000, Fault("at most 10000 entries, not 10001"))),
    ("Tally.breaker", key),
    ("Tally.caller", name),
    ("Tally.generation", any_number),
    ("Tally.caller_generation", any_number),
    ("Tally.age", || span(ZERO, HOUR, "0 to 1 h")),
    ("Tally.successes", || {
        let all = "must be all failures and timeouts, 3, where there is no success";
        counted([absent(FaultBeside("trailing_failures", all))])
    }),
    ("Tally.failures", || counted([absent(Fine)])),
    ("Tally.timeouts", || counted([absent(Fine)])),
    ("Tally.slow", || {
        let too_many = Fault("at most the successes, failures and timeouts, 8, not 9");
        numbers([(8, Fine), (9, too_many), (1_000_001, Fault("0 to 1000000"))])
    }),
    ("Tally.ignored", || counted([absent(Fine)])),
    ("Tally.rejections", || counted([absent(Fine)])),
    ("Tally.trailing_failures", || {
        let too_many = Fault("at most the failures and timeouts, 3, not 4");
        numbers([(3, Fine), (4, too_many), (u64::from(u32::MAX), Fault("0 to 2000000"))])
    }),
    ("Tally.leading_failures", || {
        let too_many = Fault("at most the failures and timeouts before the last success, 3, not 4");
        numbers([(3, Fine), (4, too_many), (u64::from(u32::MAX), Fault("0 to 2000000"))])
    }),
    ("Tally.longest_run", || {
        let too_long = Fault("must be 1 to 3 with these counts and the other runs, not 4");
        numbers([(1, Fine), (3, Fine), (4, too_long), (u64::from(u32::MAX), Fault("0 to 2000000"))])
    }),
    ("Tally.local_failures", || counted([absent(Fine)])),
    ("Tally.retry_after", || span(ZERO, DAY, "0 to 24 h")),
    ("SessionRequest.caller", name),
    ("SessionRequest.introductions", || list(10_000, Error(Code::ResourceExhausted, "FRAME_LIMIT"))),
    ("SessionRequest.acquires", || list(10_000, Error(Code::ResourceExhausted, "FRAME_LIMIT"))),
    ("SessionRequest.reports", || list(10_000, Error(Code::ResourceExhausted, "FRAME_LIMIT"))),
    ("SessionRequest.batches", || list(10_000, Error(Code::ResourceExhausted, "FRAME_LIMIT"))),
    ("Introduction.handle", || {
        let range = Fault("must be 1 to 10000");
        numbers([(1, Fine), (10_000, Fine), (0, range.clone()), (10_001, range.clone()), (u64::from(u32::MAX), range)])
    }),
    ("Introduction.breaker", key),
    ("SessionAcquire.number", any_number),
    ("SessionAcquire.handle", handle),
    ("SessionAcquire.breaker", key),
    ("SessionAcquire.caller", name),
    ("SessionAcquire.request_id", request_id),
    ("SessionAcquire.lease", any_span),
    ("SessionReport.number", any_number),
    ("SessionReport.handle", handle),
    ("SessionReport.breaker", key_of_permit),
    ("SessionReport.permit", permit),
    ("SessionReport.outcome", || required_choice(5, "OUTCOME_SUCCESS")),
    ("SessionReport.duration", || span(ZERO, DAY, "0 to 24 h")),
    ("SessionReport.error_class", error_class),
    ("SessionReport.retry_after", || span(ZERO, DAY, "0 to 24 h")),
    ("SessionReport.origin", || choice(2, "ORIGIN_LOCAL (2)")),
    ("SessionBatch.number", any_number),
    ("SessionBatch.batch", || vec![absent(Fault("is required")), empty(FaultInside("client_id", "is required"))]),
    ("DeclareRequest.declarations", || {
        let mut cases = list(1_000, Fault("at most 1000 entries, not 1001"));
        cases[0] = absent(Fault("is required: 1 to 1000 entries"));
        cases
    }),
    ("DeclareRequest.caller", name),
    ("Declaration.breaker", key),
    ("Declaration.policy", || vec![absent(Fine), empty(Fine)]),
    ("Declaration.revision", any_number),
    ("Policy.failure_threshold", || count(0, 10_000, "must be 0 (off) to 10000")),
    ("Policy.monitoring_period", || period(DAY, "must be 0 (off), or 1 ms to 24 h")),
    ("Policy.failure_count_threshold", || count(0, 1_000_000, "must be 0 (off) to 1000000")),
    ("Policy.failure_rate_threshold", share),
    ("Policy.slow_call_duration", || period(HOUR, "must be 0 (off), or 1 ms to 1 h")),
    ("Policy.slow_call_rate_threshold", share),
    ("Policy.slow_call_minimum_calls", || count(0, 1_000_000, "must be 0 (as minimum_calls) to 1000000")),
    ("Policy.window", || vec![absent(Fine), empty(Fault("either `time` or `count`"))]),
    ("Policy.minimum_calls", || count(1, 1_000_000, "must be 1 to 1000000")),
    ("Policy.open_duration", || {
        let mut cases = nonzero_period(DAY, "must be 1 ms to 24 h");
        cases.retain(|case| case.name != "the least");
        let floor = Fault("must be at least open_duration_min, which is 100ms, not 99ms");
        cases.extend([span_of("below the floor", 0, 99_000_000, floor), span_of("the floor", 0, 100_000_000, Fine)]);
        cases
    }),
    ("Policy.open_backoff", || vec![absent(Fine), empty(Fine)]),
    ("Policy.probes", || count(1, 1_000, "must be 1 to 1000")),
    ("Policy.successes_to_close", || count(1, 1_000_000, "must be 1 to 1000000")),
    ("Policy.failures_to_reopen", || count(1, 1_000_000, "must be 1 to 1000000")),
    ("Policy.half_open_max_duration", || period(DAY, "must be 0 (off), or 1 ms to 24 h")),
    ("Policy.retry_after_max", || period(DAY, "must be 0 (off), or 1 ms to 24 h")),
    ("Policy.lease", || nonzero_period(HOUR, "must be 1 ms to 1 h")),
    ("Policy.expired_probe", || choice(3, "EXPIRED_PERMIT_FAILURE (1)")),
    ("Policy.expired_permit", || choice(3, "EXPIRED_PERMIT_FAILURE (1)")),
    ("Policy.min_callers", || count(1, 256, "must be 1 to 256")),
    ("Policy.share", share),
    ("Policy.voters", || choice(2, "VOTERS_INSTANCE (1)")),
    ("Policy.trip_on", || choice(2, "TRIP_ON_ANY (1)")),
    ("Policy.open_duration_min", || nonzero_period(DAY, "must be 1 ms to 24 h")),
    ("Window.time", || vec![absent(FaultBeside("", "either")), empty(FaultInside("duration", "10 ms to 24 h, not 0"))]),
    ("Window.count", || vec![absent(Fine), empty(FaultInside("calls", "must be 1 to 100000, not 0"))]),
    ("TimeWindow.duration", || {
        let mut cases = nonzero_period(DAY, "must be 10 ms to 24 h");
        cases[0] = absent(Fault("must be 10 ms to 24 h, not 0"));
        cases.retain(|case| case.name != "the least");
        cases.extend([span_of("9 ms", 0, 9_000_000, Fault("10 ms to 24 h")), span_of("10 ms", 0, 10_000_000, Fine)]);
        cases
    }),
    ("TimeWindow.slices", || count(0, 120, "must be 1 to 120")),
    ("CountWindow.calls", || {
        let mut cases = count(1, 100_000, "must be 1 to 100000");
        cases[0] = absent(Fault("must be 1 to 100000, not 0"));
        cases
    }),
    ("OpenBackoff.multiplier", || {
        let range = "must be 1 to 100";
        doubles([0.0, -0.0, 1.0, 100.0], [0.5, -1.0, 100.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY], range)
    }),
    ("OpenBackoff.max_duration", || period(DAY, "must be 0 (off), or 1 ms to 24 h")),
    ("OpenBackoff.jitter", share),
    ("ResetRequest.breaker", key),
    ("ResetRequest.reason", || words(1_000, Fine)),
    ("ResetRequest.actor", || words(200, Fine)),
    ("GetStateRequest.breaker", key),
    ("WatchEventsRequest.filter", || vec![absent(Fine), empty(Fine)]),
    ("WatchEventsRequest.resume_token", || token("exactly as a watch told it")),
    ("WatchEventsRequest.delivery", || choice(2, "DELIVERY_LATEST (2)")),
    ("WatchEventsRequest.progress_interval", || span(SECOND, SECOND * 60, "1 s to 60 s")),
    ("WatchEventsRequest.skip_snapshot", flag),
    ("WatchEventsRequest.caller", name),
    ("WatchFilter.breakers", || {
        let mut cases = list(1_000, Fault("at most 1000 entries, not 1001"));
        cases.extend([text("empty", "", FaultOfEntry("is required")), text("spaced", "a b", FaultOfEntry(ALPHABET))]);
        cases
    }),
    ("WatchFilter.prefixes", || {
        let mut cases = list(100, Fault("at most 100 entries, not 101"));
        cases.extend([text("empty", "", Fine), text("a pattern", "a/*", FaultOfEntry(ALPHABET))]);
        cases
    }),
    ("WatchFilter.kinds", kinds),
    ("WatchFilter.caller", name),
    ("ListBreakersRequest.prefix", name),
    ("ListBreakersRequest.states", || {
        let states = "STATE_HALF_OPEN (3)";
        let mut cases = choices(3, states);
        cases.push(case("any", vec![Wire::Varint(0)], Fine));
        cases.push(case("any and none", vec![Wire::Varint(99), Wire::Varint(0)], FaultOfEntry(states)));
        cases
    }),
    ("ListBreakersRequest.overridden", flag),
    ("ListBreakersRequest.page_size", any_number),
    ("ListBreakersRequest.page_token", || token("exactly as it came")),
    ("ListPoliciesRequest.breaker", name),
    ("ListPoliciesRequest.page_size", any_number),
    ("ListPoliciesRequest.page_token", || token("exactly as it came")),
    ("GetPolicyRequest.pattern", pattern),
    ("SetPolicyRequest.pattern", pattern),
    ("SetPolicyRequest.policy", || vec![absent(Fault("is required: the fields to override")), empty(Fine)]),
    ("SetPolicyRequest.expected_version", version),
    ("SetPolicyRequest.actor", || words(200, Fine)),
    ("SetPolicyRequest.reason", || words(1_000, Fine)),
    ("DeletePolicyRequest.pattern", pattern),
    ("DeletePolicyRequest.expected_version", version),
    ("DeletePolicyRequest.actor", || words(200, Fine)),
    ("DeletePolicyRequest.reason", || words(1_000, Fine)),
    ("SetOverrideRequest.breaker", key),
    ("SetOverrideRequest.mode", || required_choice(3, "OVERRIDE_MODE_FORCED_OPEN")),
    ("SetOverrideRequest.actor", || words(200, Fault("is required: who does this"))),
    ("SetOverrideRequest.reason", || words(1_000, Fault("is required: why this is done"))),
    ("SetOverrideRequest.expire_after", || span(SECOND, DAY * 30, "1 s to 30 days")),
    ("SetOverrideRequest.id", override_id),
    ("ClearOverrideRequest.breaker", key),
    ("ClearOverrideRequest.actor", || words(200, Fine)),
    ("ClearOverrideRequest.reason", || words(1_000, Fine)),
    ("ClearOverrideRequest.id", override_id),
    ("ProbeNowRequest.breaker", key),
    ("ProbeNowRequest.caller", name),
    ("ProbeNowRequest.actor", || words(200, Fine)),
    ("ProbeNowRequest.reason", || words(1_000, Fine)),
    ("DeleteDeclarationRequest.breaker", key),
    ("DeleteDeclarationRequest.actor", || words(200, Fine)),
    ("DeleteDeclarationRequest.reason", || words(1_000, Fine)),
    ("DeleteBreakerRequest.breaker", key),
    ("DeleteBreakerRequest.actor", || words(200, Fine)),
    ("DeleteBreakerRequest.reason", || words(1_000, Fine)),
    ("ListEventsRequest.breaker", name),
    ("ListEventsRequest.kinds", kinds),
    ("ListEventsRequest.start_time", instant),
    ("ListEventsRequest.end_time", instant),
    ("ListEventsRequest.newest_first", flag),
    ("ListEventsRequest.page_size", any_number),
    ("ListEventsRequest.page_token", || token("exactly as it came")),
    ("CreateTokenRequest.name", token_name),
    ("CreateTokenRequest.roles", || {
        let roles = "must be ROLE_REPORT, ROLE_READ, ROLE_OPERATE or ROLE_ADMIN, not ";
        let beside = FaultBeside("prefixes", "must be empty with ROLE_ADMIN");
        let mut cases = choices(4, roles);
        cases[0] = absent(Fault("is required: ROLE_REPORT, ROLE_READ, ROLE_OPERATE or ROLE_ADMIN"));
        // The good request has a prefix.
        cases[1].wants = beside.clone();
        cases[2].wants = beside;
        cases.push(case("one of some keys", vec![Wire::Varint(3)], Fine));
        cases.push(case("none", vec![Wire::Varint(0)], FaultOfEntry(roles)));
        cases
    }),
    ("CreateTokenRequest.prefixes", || {
        let mut cases = list(100, Fault("at most 100 entries, not 101"));
        cases
            .extend([text("empty", "", FaultOfEntry("is required")), text("a pattern", "a/*", FaultOfEntry(ALPHABET))]);
        cases
    }),
    ("CreateTokenRequest.caller", name),
    ("CreateTokenRequest.expire_after", || span(SECOND, DAY * 3_650, "1 s to 3650 days")),
    ("CreateTokenRequest.reason", || words(1_000, Fine)),
    ("ListTokensRequest.page_size", any_number),
    ("ListTokensRequest.page_token", || token("exactly as it came")),
    ("RevokeTokenRequest.name", token_name),
    ("RevokeTokenRequest.reason", || words(1_000, Fine)),
    ("TestWebhookRequest.name", token_name),
    ("ListAuditRequest.target", || {
        let mut cases = pattern();
        cases[..2].clone_from_slice(&[absent(Fine), text("empty", "", Fine)]);
        cases
    }),
    ("ListAuditRequest.page_size", any_number),
    ("ListAuditRequest.page_token", || token("exactly as it came")),
    ("AdvanceRequest.duration", || {
        let mut cases = span(ZERO, DAY * 3_650, "0 to 3650 days");
        cases[0] = absent(Fault("is required: 0 to 10 years"));
        cases
    }),
];

// ---- Names and words -----------------------------------------------------------------------------------------------

const ALPHABET: &str = "must be of `A-Z a-z 0-9 . _ - : /`";
const LONG: &str = "must be at most 200 bytes, not 201";

fn key() -> Vec<Case> {
    let mut cases = name();
    cases[..2].clone_from_slice(&[
        absent(Fault("is required: a key of 1 to 200 bytes")),
        text("empty", "", Fault("is required")),
    ]);
    cases
}

/// The permit is of the key that the others name.
fn key_of_permit() -> Vec<Case> {
    let mut cases = key();
    for case in cases.iter_mut().filter(|case| matches!(case.wants, Fine)) {
        case.wants = FaultBeside("permit", "must be of the breaker that is named; it is of another");
    }
    cases
}

/// A caller, a prefix, or a key that may be left out.
fn name() -> Vec<Case> {
    vec![
        absent(Fine),
        text("empty", "", Fine),
        text("of the alphabet", "AZ.az_09-:/", Fine),
        long("the longest", 200, Fine),
        long("too long", 201, Fault(LONG)),
        long("far too long", 50_000, Fault("must be at most 200 bytes, not 50000")),
        text("spaced", "a b", Fault(ALPHABET)),
        text("of two lines", "a\n", Fault("only, without '\\n'")),
        text("with a zero byte", "a\0", Fault(ALPHABET)),
        text("of another alphabet", "ключ", Fault("only, without 'к'")),
        text("a pattern", "a*", Fault("only, without '*'")),
    ]
}

fn pattern() -> Vec<Case> {
    vec![
        absent(Fault("is required: a key, or a key with `*`")),
        text("empty", "", Fault("is required")),
        text("for all", "*", Fine),
        text("of many stars", "*a*b**c*", Fine),
        long("the longest", 200, Fine),
        long("too long", 201, Fault(LONG)),
        text("a question mark", "a?", Fault("and `*` only, without '?'")),
        text("of another alphabet", "ключ", Fault(ALPHABET)),
    ]
}

fn token_name() -> Vec<Case> {
    vec![
        absent(Fault("is required: a name of 1 to 64 bytes")),
        text("of the alphabet", "AZ.az_09-:/", Fine),
        long("the longest", 64, Fine),
        long("too long", 65, Fault("must be at most 64 bytes, not 65")),
        text("spaced", "a b", Fault(ALPHABET)),
        text("of two lines", "a\n", Fault("only, without '\\n'")),
    ]
}

fn override_id() -> Vec<Case> {
    vec![absent(Fine)].into_iter().chain(token_name().into_iter().skip(1)).collect()
}

fn request_id() -> Vec<Case> {
    vec![
        absent(Fine),
        long("the longest", 128, Fine),
        text("of any characters", "№ 1\n\0", Fine),
        long("too long", 129, Fault("must be at most 128 bytes, not 129")),
        long("far too long", 50_000, Fault("must be at most 128 bytes")),
    ]
}

fn client_id() -> Vec<Case> {
    vec![
        absent(Fault("is required: 1 to 128 bytes of printable ASCII")),
        long("the longest", 128, Fine),
        long("too long", 129, Fault("must be at most 128 bytes, not 129")),
        text("not ASCII", "№ 1", Fault("must be printable ASCII, without '№'")),
        text("not printable", "a\x7f", Fault("must be printable ASCII")),
    ]
}

fn error_class() -> Vec<Case> {
    vec![
        absent(Fine),
        text("words", "connection refused", Fine),
        long("the longest", 64, Fine),
        long("too long", 65, Fault("must be at most 64 bytes, not 65")),
        text("not ASCII", "é", Fault("must be printable ASCII, without 'é'")),
        text("an escape sequence", "\x1b[31m", Fault("must be printable ASCII")),
    ]
}

/// Somebody's words. `missing` is for those that are none.
fn words(max: usize, missing: Wants) -> Vec<Case> {
    let too_long = if max == 200 { LONG } else { "must be at most 1000 bytes, not 1001" };
    vec![
        absent(missing.clone()),
        text("spaces", "  ", missing),
        text("of any alphabet", "Zoë Лу", Fine),
        long("the longest", max, Fine),
        long("too long", max + 1, Fault(too_long)),
        text(
            "of two lines",
            "a\nb",
            Fault("must be one line without control characters or marks of direction; it has '\\n'"),
        ),
        text("an escape sequence", "\x1b[31m", Fault("without control characters")),
        text("turned around", "a\u{202e}b", Fault("marks of direction; it has '\\u{202e}'")),
        text("turned around in an isolate", "\u{2067}a", Fault("marks of direction")),
    ]
}

fn permit() -> Vec<Case> {
    let damaged = Fault("exactly as an acquire was answered with; this one is damaged");
    vec![
        absent(Fault("is required: the permit that the acquire was answered with")),
        text("short", "AA", damaged.clone()),
        text("words", "may I?", damaged.clone()),
        text("of another alphabet", "ключ", damaged.clone()),
        long("long", 200, damaged.clone()),
        long("far too long", 50_000, damaged),
    ]
}

fn token(advice: &'static str) -> Vec<Case> {
    vec![
        absent(Fine),
        text("short", "AA", Fault(advice)),
        text("words", "from the start", Fault(advice)),
        text("of another alphabet", "ключ", Fault(advice)),
        long("long", 201, Fault(advice)),
        long("far too long", 50_000, Fault(advice)),
    ]
}

// ---- Numbers and choices -------------------------------------------------------------------------------------------

fn any_number() -> Vec<Case> {
    numbers([(0, Fine), (1, Fine), (u64::from(u32::MAX), Fine), (u64::MAX, Fine)])
}

fn numbers<const N: usize>(cases: [(u64, Wants); N]) -> Vec<Case> {
    let missing = cases.iter().find(|(number, _)| *number == 0).map_or(Fine, |(_, wants)| wants.clone());
    let numbers = cases.into_iter().map(|(number, wants)| case("a number", vec![Wire::Varint(number)], wants));
    [absent(missing)].into_iter().chain(numbers).collect()
}

/// A number of a policy, which may be left out.
fn count(least: u64, most: u64, range: &'static str) -> Vec<Case> {
    let number = |name, number, wants| case(name, vec![Wire::Varint(number)], wants);
    let mut cases = vec![
        absent(Fine),
        number("the least", least, Fine),
        number("the most", most, Fine),
        number("too many", most + 1, Fault(range)),
        number("far too many", u64::from(u32::MAX), Fault(range)),
        number("negative", u64::MAX, Fault(range)),
    ];
    if least > 0 {
        cases.push(number("zero", 0, Fault(range)));
    }
    cases
}

/// A count of a tally.
fn counted<const N: usize>(others: [Case; N]) -> Vec<Case> {
    let number = |name, number, wants| case(name, vec![Wire::Varint(number)], wants);
    let range = Fault("must be 0 to 1000000");
    let counts = [
        number("the most", 1_000_000, Fine),
        number("too many", 1_000_001, range.clone()),
        number("negative", u64::MAX, range),
    ];
    counts.into_iter().chain(others).collect()
}

fn share() -> Vec<Case> {
    let bad = [-0.1, 1.000_001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
    doubles([0.0, 1.0, f64::MIN_POSITIVE, 5e-324], bad, "must be a ratio from 0 to 1")
}

fn doubles<const N: usize, const M: usize>(good: [f64; N], bad: [f64; M], range: &'static str) -> Vec<Case> {
    let double = |number: f64, wants| case("a number", vec![Wire::Fixed64(number.to_bits())], wants);
    let good = good.into_iter().map(|number| double(number, Fine));
    [absent(Fine)].into_iter().chain(good).chain(bad.into_iter().map(|number| double(number, Fault(range)))).collect()
}

fn version() -> Vec<Case> {
    let moved = Error(Code::Aborted, "VERSION_MOVED");
    let number = |name, number, wants| case(name, vec![Wire::Varint(number)], wants);
    vec![absent(Fine), number("there must be none", 0, Fine), number("another", u64::MAX, moved)]
}

fn handle() -> Vec<Case> {
    let unknown = Fault("was not introduced in this session: send an introduction first");
    numbers([(0, Fine), (1, Fine), (2, unknown.clone()), (10_001, unknown.clone()), (u64::from(u32::MAX), unknown)])
}

fn flag() -> Vec<Case> {
    numbers([(0, Fine), (1, Fine), (u64::MAX, Fine)])
}

/// One of the numbers from 1, or nothing.
fn choice(last: u64, allowed: &'static str) -> Vec<Case> {
    // The largest number goes over the wire as -1 does.
    numbers([(0, Fine), (last, Fine), (last + 1, Fault(allowed)), (99, Fault(allowed)), (u64::MAX, Fault(allowed))])
}

fn required_choice(last: u64, allowed: &'static str) -> Vec<Case> {
    let mut cases = choice(last, allowed);
    for case in &mut cases[..2] {
        case.wants = Fault("is required");
    }
    cases
}

/// Any of the numbers from 1.
fn choices(last: u64, allowed: &'static str) -> Vec<Case> {
    let bad = [last + 1, u64::MAX].map(|number| case("unknown", vec![Wire::Varint(number)], FaultOfEntry(allowed)));
    let packed = |last: u64| vec![Wire::Bytes(vec![u8::try_from(last).unwrap(); 3])];
    let good = [absent(Fine), case("packed", packed(last), Fine), case("one", vec![Wire::Varint(last)], Fine)];
    good.into_iter().chain(bad).chain([case("unknown, packed", packed(last + 1), FaultOfEntry(allowed))]).collect()
}

fn kinds() -> Vec<Case> {
    let allowed = "EVENT_KIND_OPENED (1) to EVENT_KIND_CALLER_RESTORED (12)";
    let mut cases = choices(12, allowed);
    cases.push(case("none", vec![Wire::Varint(0)], FaultOfEntry(allowed)));
    cases
}

// ---- Time ----------------------------------------------------------------------------------------------------------

const ZERO: i64 = 0;
const SECOND: i64 = 1;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A span from `least` to `most` seconds; zero is as good as absent.
fn span(least: i64, most: i64, range: &'static str) -> Vec<Case> {
    let mut cases = vec![
        absent(Fine),
        span_of("zero", 0, 0, Fine),
        span_of("the least", least, 0, Fine),
        span_of("the most", most, 0, Fine),
        span_of("too long", most, 1, Fault(range)),
        span_of("far too long", i64::MAX, 999_999_999, Fault(range)),
    ];
    if least > 0 {
        cases.push(span_of("too short", 0, 1, Fault(range)));
    }
    cases.extend(no_spans(range));
    cases
}

/// A span of any length.
fn any_span() -> Vec<Case> {
    let mut cases = vec![absent(Fine), span_of("zero", 0, 0, Fine), span_of("the longest", i64::MAX, 0, Fine)];
    cases.extend(no_spans("must be 0 or longer"));
    cases
}

/// A span of a policy, with zero for off.
fn period(most: i64, range: &'static str) -> Vec<Case> {
    let mut cases = nonzero_period(most, range);
    cases.retain(|case| case.name != "zero");
    cases.push(span_of("zero", 0, 0, Fine));
    if range.contains("0 to") {
        cases.retain(|case| case.name != "too short");
    }
    cases
}

fn nonzero_period(most: i64, range: &'static str) -> Vec<Case> {
    let mut cases = vec![
        absent(Fine),
        span_of("zero", 0, 0, Fault(range)),
        span_of("too short", 0, 1, Fault(range)),
        span_of("the least", 0, 1_000_000, Fine),
        span_of("the most", most, 0, Fine),
        span_of("too long", most, 1, Fault(range)),
        span_of("far too long", i64::MAX, 999_999_999, Fault(range)),
    ];
    cases.extend(no_spans("must be a span of time"));
    cases
}

/// What is no span of time at all.
fn no_spans(range: &'static str) -> [Case; 5] {
    let nanos = Fault("must have nanos of 0 to 999999999, not 1000000000");
    [
        span_of("negative", -1, 0, Fault(range)),
        span_of("negative nanos", 0, -1, Fault("not negative")),
        span_of("of two signs", 1, -1, Fault("not negative")),
        span_of("as negative as can be", i64::MIN, i32::MIN, Fault(range)),
        span_of("of too many nanos", 1, 1_000_000_000, nanos),
    ]
}

fn instant() -> Vec<Case> {
    let range = Fault("must be an instant from 1970 to 2554");
    vec![
        absent(Fine),
        span_of("1970", 0, 0, Fine),
        span_of("now", 1_800_000_000, 0, Fine),
        span_of("2554", 18_446_744_073, 0, Fine),
        span_of("later", 18_446_744_074, 0, range.clone()),
        span_of("much later", i64::MAX, 0, range.clone()),
        span_of("earlier", -1, 0, range.clone()),
        span_of("negative nanos", 0, -1, range),
        span_of("of too many nanos", 1, 1_000_000_000, Fault("must have nanos of 0 to 999999999")),
    ]
}

// ---- Cases ---------------------------------------------------------------------------------------------------------

/// A list: absent, and one entry more than `most`, each of no bytes.
fn list(most: usize, too_many: Wants) -> Vec<Case> {
    vec![absent(Fine), case("too many", vec![Wire::Bytes(Vec::new()); most + 1], too_many)]
}

const fn absent(wants: Wants) -> Case {
    Case { name: "absent", values: Vec::new(), wants }
}

const fn case(name: &'static str, values: Vec<Wire>, wants: Wants) -> Case {
    Case { name, values, wants }
}

/// A message without fields.
fn empty(wants: Wants) -> Case {
    case("empty", vec![Wire::Bytes(Vec::new())], wants)
}

fn text(name: &'static str, text: &str, wants: Wants) -> Case {
    case(name, vec![Wire::Bytes(text.into())], wants)
}

fn long(name: &'static str, bytes: usize, wants: Wants) -> Case {
    text(name, &"k".repeat(bytes), wants)
}

/// A span of time, or an instant: they are alike on the wire.
fn span_of(name: &'static str, seconds: i64, nanos: i32, wants: Wants) -> Case {
    case(name, vec![Wire::Bytes(prost_types::Duration { seconds, nanos }.encode_to_vec())], wants)
}
