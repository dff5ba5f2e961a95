//! Answers as people read them. All come as the JSON that programs get, so that both tell the same.

use std::io::Result;

use serde_json::Value;

use super::paint::{Cell, Screen};

/// A text in an answer, by its path; empty where there is none.
fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// A number in an answer. Those of 64 bits come as texts, and a zero not at all.
fn number(value: &Value, path: &str) -> u64 {
    match value.pointer(path) {
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        Some(Value::Number(number)) => number.as_u64().unwrap_or_default(),
        _ => 0,
    }
}

fn array<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn flag(value: &Value, path: &str) -> bool {
    value.pointer(path).and_then(Value::as_bool).unwrap_or_default()
}

/// `STATE_HALF_OPEN` as `half-open`, `OVERRIDE_MODE_FORCED_OPEN` as `forced open`.
fn word(name: &str) -> String {
    let prefixes =
        ["STATE_", "OVERRIDE_MODE_", "EVENT_KIND_", "EVENT_REASON_", "REPORT_RESULT_", "REJECTION_REASON_", "ROLE_"];
    let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    bare.to_lowercase().replace("half_open", "half-open").replace('_', " ")
}

/// A span of the API, `"12.345s"`, as people say it.
fn span(text: &str) -> String {
    let seconds: f64 = text.trim_end_matches('s').parse().unwrap_or_default();
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let rounded = std::time::Duration::from_secs(whole.as_secs() + u64::from(whole.subsec_nanos() > 0));
    match whole.as_secs() {
        0 => format!("{}ms", whole.as_millis()),
        _ => humantime::format_duration(rounded).to_string(),
    }
}

/// An instant to the second.
fn instant(text: &str) -> String {
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text.to_owned(),
    }
}

/// What a caller gets: the override, else the state.
fn state_cell(status: &Value) -> Cell {
    match text(status, "/overrideMode") {
        "" => Cell::state(&word(state_of(status))),
        held => Cell::state(&word(held)),
    }
}

fn state_of(status: &Value) -> &str {
    match text(status, "/state") {
        "" => "STATE_CLOSED",
        state => state,
    }
}

/// As [`state_cell`], with the callers that are isolated.
fn state_and_callers_cell(status: &Value) -> Cell {
    let state = state_cell(status);
    match number(status, "/callersIsolated") {
        0 => state,
        isolated => state.with(&format!(", {isolated} isolated")),
    }
}

/// What ends the effective state, and when.
fn next_effective(status: &Value) -> String {
    match (text(status, "/overrideMode"), text(status, "/overrideExpireTime")) {
        ("", _) => next(status),
        (_, "") => "override stays until cleared".to_owned(),
        (_, ends) => format!("override ends {}", instant(ends)),
    }
}

/// What ends the computed state, and when.
fn next(status: &Value) -> String {
    match (state_of(status), text(status, "/stateRemaining")) {
        ("STATE_OPEN", left) if !left.is_empty() => format!("half-open in {}", span(left)),
        ("STATE_HALF_OPEN", left) if !left.is_empty() => format!("reopens in {} without a verdict", span(left)),
        _ => String::new(),
    }
}

/// `1 override`, `2 overrides`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// An override with its id, mode, actor and reason: `drill (shadow), ana: a drill`.
fn override_line(held: &Value) -> String {
    let (mode, id) = (word(text(held, "/mode")), text(held, "/id"));
    format!("{id} ({mode}), {}: {}", text(held, "/actor"), text(held, "/reason"))
}

/// The overrides in an answer of GetState whose ids are wanted, the one in force first.
pub(super) fn overrides(answer: &Value, is_wanted: impl Fn(&str) -> bool) -> String {
    let wanted = array(answer, "/overrides").iter().filter(|held| is_wanted(text(held, "/id")));
    wanted.map(|held| super::paint::plain(&override_line(held))).collect::<Vec<_>>().join(", ")
}

/// An instant that may not have been.
fn or_never(text: &str) -> String {
    if text.is_empty() { "never".to_owned() } else { instant(text) }
}

pub(super) fn nothing(_: &mut Screen, _: &Value) -> Result<()> {
    Ok(())
}

pub(super) fn breakers(screen: &mut Screen, answer: &Value) -> Result<()> {
    let rows: Vec<Vec<Cell>> = array(answer, "/breakers").iter().map(breaker).collect();
    if rows.is_empty() {
        return screen.line("no breakers");
    }
    screen.table(&BREAKER, &rows)
}

const BREAKER: [&str; 5] = ["BREAKER", "STATE", "SINCE", "FAILURES", "NEXT"];

fn breaker(status: &Value) -> Vec<Cell> {
    vec![
        Cell::new(text(status, "/breaker")),
        state_and_callers_cell(status),
        Cell::new(instant(text(status, "/stateSince"))),
        Cell::new(number(status, "/failures").to_string()),
        Cell::new(next_effective(status)),
    ]
}

/// The status in an answer.
pub(super) fn status(screen: &mut Screen, answer: &Value) -> Result<()> {
    screen.table(&BREAKER, &[breaker(&answer["status"])])
}

pub(super) fn state(screen: &mut Screen, answer: &Value) -> Result<()> {
    let status = &answer["status"];
    let window = &answer["window"];
    let calls = |of: &Value| number(of, "/successes") + number(of, "/failures");
    let mut pairs = vec![
        ("breaker", Cell::new(text(status, "/breaker"))),
        ("state", Cell::state(&word(state_of(status)))),
        ("since", Cell::new(instant(text(status, "/stateSince")))),
    ];
    let follows = next(status);
    if !follows.is_empty() {
        pairs.push(("next", Cell::new(follows)));
    }
    if let Some(held) = answer.get("override") {
        pairs.push(("override", Cell::state(&word(text(held, "/mode")))));
        pairs.push(("id", Cell::new(text(held, "/id"))));
        let by = format!("{}: {}", text(held, "/actor"), text(held, "/reason"));
        pairs.push(("set by", Cell::new(by)));
        let ends = text(status, "/overrideExpireTime");
        pairs.push(("ends", Cell::new(if ends.is_empty() { "when it is cleared".to_owned() } else { instant(ends) })));
    }
    // The first is in force and has been shown.
    for other in array(answer, "/overrides").iter().skip(1) {
        pairs.push(("also", Cell::new(override_line(other))));
    }
    let window = format!(
        "{} calls, {} failed ({} timeouts), {} slow",
        calls(window),
        number(window, "/failures"),
        number(window, "/timeouts"),
        number(window, "/slow"),
    );
    let totals = &answer["totals"];
    let times = |path| counted(number(totals, path), "time");
    let life = format!("opened {}, closed {}", times("/opens"), times("/closes"));
    pairs.extend([
        ("failures in a row", Cell::new(number(status, "/failures").to_string())),
        ("window", Cell::new(window)),
        ("last success", Cell::new(or_never(text(totals, "/lastSuccessTime")))),
        ("last failure", Cell::new(or_never(text(totals, "/lastFailureTime")))),
        ("life", Cell::new(life)),
        ("generation", Cell::new(number(status, "/generation").to_string())),
    ]);
    if let Some(last) = answer.get("lastEvent") {
        pairs.push(("last event", Cell::new(happened(last))));
    }
    let sources: Vec<&str> = array(answer, "/policy/sources").iter().filter_map(Value::as_str).collect();
    pairs.push(("policy", Cell::new(format!("version {}: {}", number(answer, "/policy/version"), sources.join(", ")))));
    // What is off is nothing to look at here.
    let mut policy = answer["policy"]["policy"].clone();
    if let Value::Object(fields) = &mut policy {
        fields.retain(|_, value| brief(value) != "off");
    }
    pairs.push(("", Cell::soft(&fields(&policy))));
    if let Some(by) = answer["policy"]["declaredBy"].as_str().filter(|by| !by.is_empty()) {
        let revision = number(answer, "/policy/declaredRevision");
        pairs.push(("", Cell::new(format!("declared by {by}, revision {revision}"))));
    }
    if flag(answer, "/policy/differsFromDeclared") {
        pairs.push(("", Cell::new("differs from what the service has declared")));
    }
    screen.list(&pairs)?;
    let callers = array(answer, "/callers");
    if callers.is_empty() {
        return Ok(());
    }
    screen.line("")?;
    let row = |caller: &Value| {
        let name = text(caller, "/status/caller");
        let window = &caller["window"];
        vec![
            Cell::new(if name.is_empty() { "(no name)" } else { name }),
            Cell::state(&word(state_of(&caller["status"]))),
            Cell::new(calls(window).to_string()),
            Cell::new(number(window, "/failures").to_string()),
            Cell::new(instant(text(caller, "/seenTime"))),
        ]
    };
    screen.table(&["CALLER", "STATE", "CALLS", "FAILED", "SEEN"], &callers.iter().map(row).collect::<Vec<_>>())?;
    screen.line(&format!("{} of {} callers must have evidence", number(answer, "/quorum"), callers.len()))
}

pub(super) fn acquired(screen: &mut Screen, answer: &Value) -> Result<()> {
    if text(answer, "/decision") == "DECISION_PERMITTED" {
        // Nothing but the permit, for a shell's variable.
        return screen.line(text(answer, "/permit"));
    }
    screen.line(&rejected(answer))
}

/// Why a call was rejected, and when to try again.
pub(super) fn rejected(answer: &Value) -> String {
    let (reason, after) = (word(text(answer, "/reason")), span(text(answer, "/retryAfter")));
    format!("rejected: {reason}; come back after {after}")
}

pub(super) fn reported(screen: &mut Screen, answer: &Value) -> Result<()> {
    screen.line(&format!("{}; the breaker is {}", word(text(answer, "/result")), word(state_of(answer))))
}

/// What an event says, in a line.
fn happened(event: &Value) -> String {
    let mut line = word(text(event, "/kind"));
    let moves = number(event, "/count");
    if moves > 1 {
        line.push_str(&format!(" ×{moves} since {}", instant(text(event, "/firstEventTime"))));
    }
    let rule = text(event, "/evidence/rule").trim_start_matches("TRIP_RULE_").to_lowercase();
    let reason = word(text(event, "/reason"));
    match (rule.as_str(), reason.as_str()) {
        // Somebody asked for it, and is named.
        ("" | "unspecified", "requested") => {}
        ("" | "unspecified", reason) => line.push_str(&format!(", {reason}")),
        (rule, _) => line.push_str(&format!(", {rule}")),
    }
    let actor = text(event, "/actor");
    if !actor.is_empty() {
        line.push_str(&format!(", by {actor}"));
    }
    let caller = text(event, "/status/caller/caller");
    if !caller.is_empty() {
        line.push_str(&format!(", caller {caller}"));
    }
    let comment = text(event, "/comment");
    if !comment.is_empty() {
        line.push_str(&format!(": {comment}"));
    }
    line
}

fn event(event: &Value) -> Vec<Cell> {
    vec![
        Cell::soft(&instant(text(event, "/eventTime"))),
        Cell::new(text(event, "/breaker")),
        // The breaker's state, for events of a caller's scope too.
        state_cell(&event["status"]),
        Cell::new(happened(event)),
    ]
}

const EVENT: [&str; 4] = ["TIME", "BREAKER", "STATE", "WHAT"];

pub(super) fn events(screen: &mut Screen, answer: &Value) -> Result<()> {
    let rows: Vec<Vec<Cell>> = array(answer, "/events").iter().map(event).collect();
    if rows.is_empty() { screen.line("no events") } else { screen.table(&EVENT, &rows) }
}

/// A message of a watch. Each is a line, so columns are not aligned.
pub(super) fn watched(screen: &mut Screen, message: &Value) -> Result<()> {
    if let Some(found) = message.get("event") {
        let line = format!("{}  {}  {}", instant(text(found, "/eventTime")), text(found, "/breaker"), happened(found));
        return screen.line(&super::paint::plain(&line));
    }
    match message.get("resync") {
        Some(resync) => screen.line(&format!("{} events were missed", number(resync, "/lostEvents"))),
        None => Ok(()),
    }
}

/// The fields that a policy sets, in short.
pub(super) fn fields(policy: &Value) -> String {
    let Value::Object(fields) = policy else { return String::new() };
    fields.iter().map(|(name, value)| format!("{} {}", snake(name), brief(value))).collect::<Vec<_>>().join(", ")
}

pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::String(text) if text == "0s" => "off".to_owned(),
        Value::String(text) => {
            let chosen = ["EXPIRED_PERMIT_", "VOTERS_", "TRIP_ON_"].iter().find_map(|kind| text.strip_prefix(kind));
            chosen.map_or_else(|| text.clone(), str::to_lowercase)
        }
        Value::Number(number) if number.as_f64() == Some(0.0) => "off".to_owned(),
        Value::Object(window) if window.contains_key("time") => {
            format!("{} in {} slices", text(value, "/time/duration"), number(value, "/time/slices"))
        }
        Value::Object(window) if window.contains_key("count") => format!("{} calls", number(value, "/count/calls")),
        Value::Object(fields) => {
            let parts = fields.iter().map(|(name, value)| format!("{} {}", snake(name), brief(value)));
            format!("({})", parts.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A field's name as the configuration file has it.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
}

fn policy_row(entry: &Value) -> Vec<Cell> {
    let origin = text(entry, "/origin").trim_start_matches("POLICY_ORIGIN_").to_lowercase();
    vec![
        Cell::new(text(entry, "/pattern")),
        Cell::new(number(entry, "/version").to_string()),
        Cell::new(origin),
        Cell::new(text(entry, "/actor")),
        Cell::new(fields(&entry["policy"])),
    ]
}

const POLICY: [&str; 5] = ["PATTERN", "VERSION", "ORIGIN", "BY", "POLICY"];

pub(super) fn policies(screen: &mut Screen, answer: &Value) -> Result<()> {
    let rows: Vec<Vec<Cell>> = array(answer, "/policies").iter().map(policy_row).collect();
    if rows.is_empty() {
        screen.line("no policies: the default holds, and what services declare")
    } else {
        screen.table(&POLICY, &rows)
    }
}

pub(super) fn policy(screen: &mut Screen, answer: &Value) -> Result<()> {
    screen.table(&POLICY, &[policy_row(&answer["entry"])])
}

fn texts(value: &Value, path: &str, each: impl Fn(&str) -> String) -> String {
    array(value, path).iter().filter_map(Value::as_str).map(each).collect::<Vec<_>>().join(" ")
}

fn bounds(of: &Value) -> [Cell; 3] {
    let all = |text: String| if text.is_empty() { "all".to_owned() } else { text };
    let caller = text(of, "/caller");
    [
        Cell::new(texts(of, "/roles", word)),
        Cell::new(all(texts(of, "/prefixes", str::to_owned))),
        Cell::new(if caller.is_empty() { "any" } else { caller }),
    ]
}

pub(super) fn tokens(screen: &mut Screen, answer: &Value) -> Result<()> {
    let row = |token: &Value| {
        let expires = text(token, "/expireTime");
        let [roles, prefixes, caller] = bounds(token);
        let ends = if expires.is_empty() { "never".to_owned() } else { instant(expires) };
        let by = format!("{} {}", text(token, "/actor"), instant(text(token, "/createTime")));
        vec![Cell::new(text(token, "/name")), roles, prefixes, caller, Cell::new(ends), Cell::new(by)]
    };
    let rows: Vec<Vec<Cell>> = array(answer, "/tokens").iter().map(row).collect();
    if rows.is_empty() {
        return screen.line("no tokens");
    }
    screen.table(&["TOKEN", "ROLES", "PREFIXES", "CALLER", "EXPIRES", "MADE BY"], &rows)
}

pub(super) fn secret(screen: &mut Screen, answer: &Value) -> Result<()> {
    screen.line(text(answer, "/secret"))
}

pub(super) fn identity(screen: &mut Screen, answer: &Value) -> Result<()> {
    if !flag(answer, "/authenticated") {
        return screen.line("nobody in particular: this server asks nobody, and everybody may do everything");
    }
    let [roles, prefixes, caller] = bounds(answer);
    screen.list(&[
        ("name", Cell::new(text(answer, "/name"))),
        ("roles", roles),
        ("prefixes", prefixes),
        ("caller", caller),
    ])
}

pub(super) fn audit(screen: &mut Screen, answer: &Value) -> Result<()> {
    let row = |entry: &Value| {
        let (reason, detail) = (text(entry, "/reason"), text(entry, "/detail"));
        let what = match (detail, reason) {
            ("", reason) => reason.to_owned(),
            (detail, "") => detail.to_owned(),
            (detail, reason) => format!("{detail}: {reason}"),
        };
        vec![
            Cell::soft(&instant(text(entry, "/time"))),
            Cell::new(text(entry, "/actor")),
            Cell::new(word(text(entry, "/action"))),
            Cell::new(text(entry, "/target")),
            Cell::new(what),
        ]
    };
    let rows: Vec<Vec<Cell>> = array(answer, "/entries").iter().map(row).collect();
    if rows.is_empty() {
        screen.line("nothing was changed")
    } else {
        screen.table(&["TIME", "WHO", "DID", "TO", "WHAT, AND WHY"], &rows)
    }
}

pub(super) fn webhooks(screen: &mut Screen, answer: &Value) -> Result<()> {
    let webhooks = array(answer, "/webhooks");
    if webhooks.is_empty() {
        return screen.line("no webhooks: a [[webhook]] in the server's file makes one");
    }
    let row = |webhook: &Value| {
        let counted = |path| Cell::new(number(webhook, path).to_string());
        vec![
            Cell::new(text(webhook, "/name")),
            Cell::new(text(webhook, "/receiver")),
            Cell::new(text(webhook, "/format")),
            counted("/delivered"),
            counted("/failed"),
            counted("/dead"),
            Cell::new(text(webhook, "/problem")),
        ]
    };
    let headings = ["WEBHOOK", "RECEIVER", "FORMAT", "DELIVERED", "FAILED", "DEAD", "PROBLEM"];
    screen.table(&headings, &webhooks.iter().map(row).collect::<Vec<_>>())?;
    let dead =
        webhooks.iter().flat_map(|webhook| array(webhook, "/deadLetters").iter().map(move |dead| (webhook, dead)));
    let row = |(webhook, dead): (&Value, &Value)| {
        vec![
            Cell::soft(&instant(text(dead, "/time"))),
            Cell::new(text(webhook, "/name")),
            Cell::new(text(dead, "/breaker")),
            Cell::new(word(text(dead, "/kind"))),
            Cell::new(text(dead, "/problem")),
        ]
    };
    let rows: Vec<Vec<Cell>> = dead.map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    screen.line("")?;
    screen.table(&["GIVEN UP", "WEBHOOK", "BREAKER", "WHAT", "PROBLEM"], &rows)
}

pub(super) fn info(screen: &mut Screen, answer: &Value) -> Result<()> {
    let problem = text(answer, "/storeProblem");
    screen.list(&[
        ("version", Cell::new(text(answer, "/version"))),
        ("up for", Cell::new(span(text(answer, "/uptime")))),
        (
            "store",
            Cell::new(if problem.is_empty() {
                text(answer, "/store").to_owned()
            } else {
                format!("failing: {problem}")
            }),
        ),
        ("history", Cell::new(text(answer, "/history"))),
    ])?;
    screen.line("")?;
    let row = |limit: &Value| {
        let used = limit.get("used").map_or(String::new(), |_| number(limit, "/used").to_string());
        let biggest = array(limit, "/biggest");
        let biggest = biggest.iter().map(|share| format!("{} {}", text(share, "/holder"), number(share, "/used")));
        vec![
            Cell::new(text(limit, "/name")),
            Cell::new(used),
            Cell::new(number(limit, "/max").to_string()),
            Cell::new(biggest.collect::<Vec<_>>().join(", ")),
        ]
    };
    screen
        .table(&["LIMIT", "USED", "MAX", "USED MOST BY"], &array(answer, "/limits").iter().map(row).collect::<Vec<_>>())
}
