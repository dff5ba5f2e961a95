//! The verbs: what can be typed, the call that each is, and what it shows.

use std::{io::Write as _, thread, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use fuseboard_client::{
    Operator,
    pb::{self, watch_events_response::Message},
};
use prost_types::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::{Failure, Output, REJECTED, Reach, Screen, apply, json, tables};

/// What an operator can type.
#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Commands")]
pub(in crate::cli) enum Verb {
    /// List breakers: those that refuse calls are easy to see.
    ///
    /// Example: fuseboard list payments/ --state open
    List(List),
    /// Show all about a breaker: state, numbers, callers, the policy in force and where it comes from.
    State(OfBreaker),
    /// Ask for permission to make one call, and print the permit. Exits with 3 if the call is rejected.
    ///
    /// Example: permit=$(fuseboard acquire payments) || exit
    Acquire(Acquire),
    /// Say how a call went.
    ///
    /// Example: fuseboard report payments "$permit" failure
    Report(Report),
    /// Close a breaker, with empty statistics. An override stays.
    Reset(Act),
    /// Move an open breaker, or an isolated caller, to half-open at once. An override stays.
    ///
    /// Example: fuseboard probe payments --reason "the provider says it is back"
    Probe(ProbeNow),
    /// Follow events until ctrl-c. Reconnects while the server is away.
    Watch(Watch),
    /// Show what has happened, the newest first.
    History(History),
    /// Hold a breaker in a state, or let it go.
    #[command(subcommand)]
    Override(Override),
    /// Look at and change policies.
    #[command(subcommand)]
    Policy(Policy),
    /// Remove what services declared for a breaker, with its revision. It keeps its state.
    Undeclare(Act),
    /// Forget a breaker, with its declaration and override.
    Delete(Act),
    /// Make, list and revoke tokens.
    #[command(subcommand)]
    Token(Token),
    /// Look at webhooks, and test them.
    #[command(subcommand)]
    Webhook(Webhook),
    /// Show who has changed what, the newest first.
    Audit(Audit),
    /// Show who the server takes you for.
    Whoami(Reach),
    /// Show version, store, limits and how much of them is used.
    Info(Reach),
    /// Print completions for a shell.
    ///
    /// Example: fuseboard completions bash > /etc/bash_completion.d/fuseboard
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only keys that begin with this.
    #[arg(default_value = "")]
    prefix: String,
    /// Only in these effective states: closed, open, half-open. Forced open counts as open.
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true)]
    state: Vec<State>,
    /// Only those that are overridden.
    #[arg(long)]
    overridden: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct OfBreaker {
    /// Key of the breaker.
    breaker: String,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Acquire {
    /// Key of the breaker.
    breaker: String,
    /// Who calls.
    #[arg(long, default_value = "")]
    caller: String,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProbeNow {
    /// Key of the breaker.
    breaker: String,
    /// Isolated caller to probe instead of the breaker.
    #[arg(long, default_value = "")]
    caller: String,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Report {
    /// Key of the breaker.
    breaker: String,
    /// The permit, as acquire has printed it.
    permit: String,
    /// How it went: success, failure, timeout, ignored or cancelled.
    #[arg(value_enum, hide_possible_values = true)]
    outcome: Outcome,
    /// How long the call took.
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// What kind of error it was, in a word or two.
    #[arg(long, default_value = "")]
    error_class: String,
    #[command(flatten)]
    reach: Reach,
}

/// Who acts, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct Said {
    /// Why, for the history and the audit trail.
    #[arg(long, short, default_value = "")]
    reason: String,
    /// Who does it, where the server asks nobody for an identity.
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
    actor: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Act {
    /// Key of the breaker.
    breaker: String,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Watch {
    /// Only keys that begin with one of these.
    prefixes: Vec<String>,
    /// Go on after this resume token, as --output json shows it.
    #[arg(long, default_value = "")]
    resume: String,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct History {
    /// Only of this breaker.
    #[arg(default_value = "")]
    breaker: String,
    /// Only of these kinds, as opened or override_set.
    #[arg(long, value_delimiter = ',')]
    kind: Vec<String>,
    /// Only from so long ago on.
    #[arg(long, value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Most entries.
    #[arg(long, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Override {
    /// Hold it: forced-open (all calls refused), forced-closed (all permitted) or shadow (all permitted, and events say
    /// what would have happened).
    ///
    /// Example: fuseboard override set payments/charge forced-open --reason "provider is down" --expires-in 30m
    Set {
        /// Key of the breaker; one that is not there is made.
        breaker: String,
        /// forced-open, forced-closed or shadow.
        #[arg(value_enum, hide_possible_values = true)]
        mode: Mode,
        /// Name of the override, so that several operators can hold one breaker independently; the strongest is in force.
        #[arg(long, default_value = "", hide_default_value = true)]
        id: String,
        /// When it ends by itself; else when it is cleared.
        #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
        expires_in: Option<Duration>,
        /// Reason, for the history and the audit trail.
        #[arg(long, short)]
        reason: String,
        /// Actor, if authentication is disabled.
        #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
        actor: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Clear an override. After the last one is cleared, the computed state applies at once.
    ///
    /// A breaker with several overrides needs --id or --all.
    Clear {
        #[command(flatten)]
        act: Act,
        /// Id of the override to clear, as `fuseboard state` shows it. Not needed for a breaker with a single override.
        #[arg(long)]
        id: Option<String>,
        /// Clear all overrides of the breaker, those of other operators included.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Policy {
    /// List operators' policies, the strongest first.
    List(Reach),
    /// Show the policy of exactly this key or pattern.
    Get {
        /// Key, or pattern with * for any run of characters.
        pattern: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Set the policy of a key or pattern to these fields, and no others.
    ///
    /// Example: fuseboard policy set 'payments/*' failure_threshold=3 open_duration=10s
    Set {
        /// Key, or pattern with * for any run of characters.
        pattern: String,
        /// Fields as they are written in the configuration file.
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reach: Reach,
    },
    /// Remove the policy of a key or pattern that was set through the API.
    Delete {
        /// Key or pattern.
        pattern: String,
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show what apply would change. Exits with 1 where something differs.
    Diff(apply::File),
    /// Make the server's policies those of a file: shows what changes, and asks.
    Apply {
        #[command(flatten)]
        file: apply::File,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        said: Said,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Make a token. Its secret is printed once, and cannot be had again.
    ///
    /// Example: fuseboard token create shop --role report --prefix payments/ --caller shop
    Create {
        /// Its name, in events and the audit trail.
        name: String,
        /// report, read, operate or admin; several times for several.
        #[arg(long, required = true, value_enum, value_delimiter = ',', hide_possible_values = true)]
        role: Vec<Role>,
        /// Only keys that begin with this; several times for several.
        #[arg(long)]
        prefix: Vec<String>,
        /// Whom it may call itself: this, or this and /instance.
        #[arg(long, default_value = "")]
        caller: String,
        /// How long it is good.
        #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
        expires_in: Option<Duration>,
        /// Why, for the audit trail.
        #[arg(long, short, default_value = "")]
        reason: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// List tokens, without their secrets.
    List(Reach),
    /// End a token: it is refused from then on, and its streams end.
    Revoke {
        /// Its name.
        name: String,
        /// Why, for the audit trail.
        #[arg(long, short, default_value = "")]
        reason: String,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Webhook {
    /// List where events are sent, how each receiver does, and what was given up.
    List(Reach),
    /// Send a message that says it is a test. Exits with 1 where it is not taken.
    Test {
        /// Name of the webhook.
        name: String,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Audit {
    /// Only what was done to this breaker, policy or token.
    #[arg(default_value = "")]
    target: String,
    /// Most entries.
    #[arg(long, default_value = "20")]
    limit: usize,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum State {
    Closed = pb::State::Closed as isize,
    Open = pb::State::Open as isize,
    HalfOpen = pb::State::HalfOpen as isize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Outcome {
    Success = pb::Outcome::Success as isize,
    Failure = pb::Outcome::Failure as isize,
    Timeout = pb::Outcome::Timeout as isize,
    Ignored = pb::Outcome::Ignored as isize,
    Cancelled = pb::Outcome::Cancelled as isize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Mode {
    ForcedOpen = pb::OverrideMode::ForcedOpen as isize,
    ForcedClosed = pb::OverrideMode::ForcedClosed as isize,
    Shadow = pb::OverrideMode::Shadow as isize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Role {
    Report = pb::Role::Report as isize,
    Read = pb::Role::Read as isize,
    Operate = pb::Role::Operate as isize,
    Admin = pb::Role::Admin as isize,
}

impl Verb {
    /// Does it, and gives the exit code.
    pub(super) async fn run(self) -> Result<u8, Failure> {
        match self {
            Self::List(list) => list.run().await,
            Self::State(OfBreaker { breaker, reach }) => {
                let answer = reach.operator()?.get_state(pb::GetStateRequest { breaker }).await?;
                show(&reach, json("BreakerService/GetState", &answer)?, tables::state)
            }
            Self::Acquire(Acquire { breaker, caller, reach }) => {
                let request = pb::AcquireRequest { breaker, caller, ..pb::AcquireRequest::default() };
                let answer = reach.operator()?.acquire(request).await?;
                let is_permitted = answer.decision() == pb::Decision::Permitted;
                let answer = json("BreakerService/Acquire", &answer)?;
                if !is_permitted && reach.is_for_people() {
                    // To standard error: a shell's variable takes standard output for the permit.
                    super::note(&tables::rejected(&answer));
                } else {
                    show(&reach, answer, tables::acquired)?;
                }
                Ok(if is_permitted { 0 } else { REJECTED })
            }
            Self::Report(report) => report.run().await,
            Self::Reset(Act { breaker, said, reach }) => {
                let request = pb::ResetRequest { breaker, reason: said.reason, actor: said.actor };
                let answer = reach.operator()?.reset(request).await?;
                show(&reach, json("BreakerService/Reset", &answer)?, tables::status)
            }
            Self::Probe(ProbeNow { breaker, caller, said, reach }) => {
                let request = pb::ProbeNowRequest { breaker, caller, reason: said.reason, actor: said.actor };
                let answer = reach.operator()?.probe_now(request).await?;
                show(&reach, json("AdminService/ProbeNow", &answer)?, tables::status)
            }
            Self::Watch(watch) => tokio::select! {
                ended = watch.run() => ended,
                () = unread() => Ok(0),
            },
            Self::History(history) => history.run().await,
            Self::Override(verb) => verb.run().await,
            Self::Policy(verb) => verb.run().await,
            Self::Undeclare(Act { breaker, said, reach }) => {
                let request = pb::DeleteDeclarationRequest { breaker, reason: said.reason, actor: said.actor };
                let answer = reach.operator()?.delete_declaration(request).await?;
                show(&reach, json("AdminService/DeleteDeclaration", &answer)?, tables::status)
            }
            Self::Delete(Act { breaker, said, reach }) => {
                let request = pb::DeleteBreakerRequest { breaker, reason: said.reason, actor: said.actor };
                let answer = reach.operator()?.delete_breaker(request).await?;
                show(&reach, json("AdminService/DeleteBreaker", &answer)?, tables::nothing)
            }
            Self::Token(verb) => verb.run().await,
            Self::Webhook(verb) => verb.run().await,
            Self::Audit(audit) => audit.run().await,
            Self::Whoami(reach) => {
                let answer = reach.operator()?.get_identity(pb::GetIdentityRequest {}).await?;
                show(&reach, json("AdminService/GetIdentity", &answer)?, tables::identity)
            }
            Self::Info(reach) => {
                let answer = reach.operator()?.get_server_info(pb::GetServerInfoRequest {}).await?;
                show(&reach, json("AdminService/GetServerInfo", &answer)?, tables::info)
            }
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut crate::cli::command(), "fuseboard", &mut script);
                // Whoever reads may have seen enough.
                _ = std::io::stdout().write_all(&script);
                Ok(0)
            }
        }
    }
}

/// Shows an answer as it is wanted.
pub(super) fn show(
    reach: &Reach,
    answer: Value,
    table: impl FnOnce(&mut Screen, &Value) -> std::io::Result<()>,
) -> Result<u8, Failure> {
    let mut screen = reach.screen();
    let shown = match screen.output {
        Output::Json => screen.json(&answer),
        Output::Table => table(&mut screen, &answer),
    };
    crate::cli::read_to_the_end(shown).map(|()| 0).map_err(|error| Failure::Failed(error.to_string()))
}

/// All entries of a list, page by page, at most `limit`.
async fn pages<F: Future<Output = Result<(Vec<Value>, String), Failure>>>(
    limit: usize,
    mut page: impl FnMut(String) -> F,
) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (entries, next) = page(token).await?;
        all.extend(entries);
        if all.len() >= limit || next.is_empty() {
            all.truncate(limit);
            return Ok(all);
        }
        token = next;
    }
}

/// The entries in a field of an answer.
pub(super) fn entries(answer: &mut Value, field: &str) -> Vec<Value> {
    match answer.get_mut(field).map(Value::take) {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    }
}

fn span(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() }
}

const PAGE: u32 = 1_000;

impl List {
    async fn run(self) -> Result<u8, Failure> {
        let (operator, states) = (self.reach.operator()?, self.state.iter().map(|state| *state as i32).collect());
        let request = pb::ListBreakersRequest {
            prefix: self.prefix,
            states,
            overridden: self.overridden,
            page_size: PAGE,
            ..Default::default()
        };
        let breakers = pages(usize::MAX, async |page_token| {
            let answer = operator.list_breakers(pb::ListBreakersRequest { page_token, ..request.clone() }).await?;
            Ok((entries(&mut json("AdminService/ListBreakers", &answer)?, "breakers"), answer.next_page_token))
        });
        let breakers = breakers.await?;
        show(&self.reach, json!({ "breakers": breakers }), tables::breakers)
    }
}

impl Report {
    async fn run(self) -> Result<u8, Failure> {
        let request = pb::ReportRequest {
            breaker: self.breaker,
            permit: self.permit,
            outcome: self.outcome as i32,
            duration: self.duration.map(span),
            error_class: self.error_class,
            ..Default::default()
        };
        let answer = self.reach.operator()?.report(request).await?;
        show(&self.reach, json("BreakerService/Report", &answer)?, tables::reported)
    }
}

/// Waits until nothing reads standard output any more, as after `fuseboard watch | head -1`: a watch that has nothing to write
/// would not notice by itself. Never returns where standard output is a file.
async fn unread() {
    let (gone, is_gone) = oneshot::channel();
    // A pipe whose reader has left reports an error, whatever is asked for.
    thread::spawn(move || {
        let stdout = std::io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        while let Ok(0) | Err(Errno::INTR) = poll(&mut fds, None) {}
        gone.send(())
    });
    if is_gone.await.is_err() {
        std::future::pending().await
    }
}

/// Longest wait between two attempts to reach the server.
const RECONNECT_MAX: Duration = Duration::from_secs(5);

/// Where a watch stands.
struct Following {
    /// Where to resume; empty before the first message.
    token: String,
    /// Breakers in the first snapshot, as far as it has arrived.
    breakers: usize,
    /// The first snapshot is complete.
    is_begun: bool,
    /// Failed attempts since the last message.
    failures: u32,
}

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "whoever watches waits in real time")]
    async fn run(self) -> Result<u8, Failure> {
        let operator = self.reach.operator()?;
        let mut state =
            Following { is_begun: !self.resume.is_empty(), token: self.resume.clone(), breakers: 0, failures: 0 };
        if state.is_begun {
            super::note(&format!("watching from the resume token at {}; ctrl-c ends", self.reach.address()));
        }
        loop {
            let wait = match self.follow(&operator, &mut state).await {
                // The server ends streams politely, and says when to come back.
                Ok(come_back) => come_back.unwrap_or(Duration::from_secs(1)),
                Err(Failure::Refused(status)) if is_worth_a_retry(&status) => {
                    let wait = Duration::from_secs(1 << state.failures.min(3)).min(RECONNECT_MAX);
                    if state.failures == 0 {
                        let failure = Failure::Refused(status);
                        super::note(&format!("watch interrupted: {failure}; reconnecting until ctrl-c"));
                    }
                    state.failures += 1;
                    wait
                }
                Err(failure) => return Err(failure),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows one stream to its end. When to come back, if the server has said so.
    async fn follow(&self, operator: &Operator, state: &mut Following) -> Result<Option<Duration>, Failure> {
        let is_for_people = self.reach.is_for_people();
        let request = pb::WatchEventsRequest {
            filter: Some(pb::WatchFilter { prefixes: self.prefixes.clone(), ..Default::default() }),
            resume_token: state.token.clone(),
            // The first one is counted.
            skip_snapshot: is_for_people && state.is_begun,
            ..Default::default()
        };
        let mut events = operator.watch_events(request).await?;
        // A snapshot that was cut off is sent again as a whole.
        state.breakers = 0;
        let mut come_back = None;
        while let Some(message) = events.message().await? {
            if std::mem::take(&mut state.failures) > 0 && state.is_begun {
                super::note(&format!("watching again at {}", self.reach.address()));
            }
            state.token.clone_from(&message.resume_token);
            match &message.message {
                Some(Message::Progress(_)) | None => continue,
                Some(Message::Goodbye(goodbye)) => {
                    come_back = goodbye.retry_after.and_then(|after| Duration::try_from(after).ok());
                    continue;
                }
                Some(Message::Snapshot(snapshot)) => {
                    state.breakers += snapshot.breakers.len();
                    if snapshot.complete && !std::mem::replace(&mut state.is_begun, true) {
                        let breakers = tables::counted(state.breakers as u64, "breaker");
                        super::note(&format!("watching {breakers} at {}; ctrl-c ends", self.reach.address()));
                    }
                    if is_for_people {
                        continue;
                    }
                }
                _ => {}
            }
            show(&self.reach, json("BreakerService/WatchEvents", &message)?, tables::watched)?;
        }
        Ok(come_back)
    }
}

/// Whether the same request may be answered later: it was not understood wrong, nor refused for what it is.
fn is_worth_a_retry(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::FailedPrecondition
            | Code::OutOfRange
    )
}

impl History {
    async fn run(self) -> Result<u8, Failure> {
        let kind = |name: &String| {
            let name = format!("EVENT_KIND_{}", name.to_uppercase().replace('-', "_"));
            pb::EventKind::from_str_name(&name).map(|kind| kind as i32)
        };
        let mut kinds = Vec::new();
        for name in &self.kind {
            kinds.push(kind(name).ok_or_else(|| Failure::Misused(format!("--kind: there is no kind {name:?}")))?);
        }
        let operator = self.reach.operator()?;
        // The server's clock, and nobody else's.
        let start_time = match self.since {
            None => None,
            Some(since) => {
                let now = operator.get_server_info(pb::GetServerInfoRequest {}).await?.now.unwrap_or_default();
                Some(Timestamp { seconds: now.seconds.saturating_sub(span(since).seconds).max(0), nanos: now.nanos })
            }
        };
        let page_size = u32::try_from(self.limit).unwrap_or(PAGE).clamp(1, PAGE);
        let request = pb::ListEventsRequest {
            breaker: self.breaker,
            kinds,
            start_time,
            newest_first: true,
            page_size,
            ..Default::default()
        };
        let events = pages(self.limit, async |page_token| {
            let answer = operator.list_events(pb::ListEventsRequest { page_token, ..request.clone() }).await?;
            Ok((entries(&mut json("AdminService/ListEvents", &answer)?, "events"), answer.next_page_token))
        });
        let events = events.await?;
        show(&self.reach, json!({ "events": events }), tables::events)
    }
}

impl Override {
    async fn run(self) -> Result<u8, Failure> {
        match self {
            Self::Set { breaker, mode, id, expires_in, reason, actor, reach } => {
                let request = pb::SetOverrideRequest {
                    breaker,
                    mode: mode as i32,
                    actor,
                    reason,
                    expire_after: expires_in.map(span),
                    id,
                };
                let answer = reach.operator()?.set_override(request).await?;
                show(&reach, json("AdminService/SetOverride", &answer)?, tables::status)
            }
            Self::Clear { act, id, all } => clear(act, id, all).await,
        }
    }
}

/// Clears one override, or all if that is asked for: other operators may hold the breaker for reasons of their own.
async fn clear(Act { breaker, said, reach }: Act, id: Option<String>, all: bool) -> Result<u8, Failure> {
    let operator = reach.operator()?;
    let state = operator.get_state(pb::GetStateRequest { breaker: breaker.clone() }).await?;
    let held = json("BreakerService/GetState", &state)?;
    let is_meant = |held: &&pb::Override| id.as_ref().is_none_or(|id| held.id == *id);
    let meant: Vec<String> = state.overrides.iter().filter(is_meant).map(|held| held.id.clone()).collect();
    let id = match (id, meant.as_slice()) {
        (Some(id), _) => id,
        (None, meant) if all || meant.is_empty() => String::new(),
        // By its id: another may be set meanwhile.
        (None, [one]) => one.clone(),
        (None, several) => {
            let list = tables::overrides(&held, |_| true);
            return Err(Failure::Misused(format!(
                "{breaker} has {} overrides, and none was chosen: {list}; name one with --id ID, or clear all with --all",
                several.len()
            )));
        }
    };
    let request = pb::ClearOverrideRequest { breaker, actor: said.actor, reason: said.reason, id };
    let answer = operator.clear_override(request).await?;
    show(&reach, json("AdminService/ClearOverride", &answer)?, |screen, answer| {
        let list = tables::overrides(&held, |id| meant.iter().any(|meant| meant == id));
        screen.line(&format!("cleared {}: {list}", tables::counted(meant.len() as u64, "override")))?;
        tables::status(screen, answer)
    })
}

impl Policy {
    async fn run(self) -> Result<u8, Failure> {
        match self {
            Self::List(reach) => {
                let policies = policies(&reach.operator()?).await?;
                show(&reach, json!({ "policies": policies }), tables::policies)
            }
            Self::Get { pattern, reach } => {
                let answer = reach.operator()?.get_policy(pb::GetPolicyRequest { pattern }).await?;
                show(&reach, json("AdminService/GetPolicy", &answer)?, tables::policy)
            }
            Self::Set { pattern, fields, said, reach } => {
                let policy = Some(apply::policy(&pattern, &fields)?);
                let request = pb::SetPolicyRequest {
                    pattern,
                    policy,
                    expected_version: None,
                    actor: said.actor,
                    reason: said.reason,
                };
                let answer = reach.operator()?.set_policy(request).await?;
                show(&reach, json("AdminService/SetPolicy", &answer)?, tables::policy)
            }
            Self::Delete { pattern, said, reach } => {
                let request =
                    pb::DeletePolicyRequest { pattern, expected_version: None, actor: said.actor, reason: said.reason };
                let answer = reach.operator()?.delete_policy(request).await?;
                show(&reach, json("AdminService/DeletePolicy", &answer)?, tables::nothing)
            }
            Self::Diff(file) => file.diff().await,
            Self::Apply { file, yes, said } => file.apply(yes, &said.actor, &said.reason).await,
        }
    }
}

/// All operators' policies.
pub(super) async fn policies(operator: &Operator) -> Result<Vec<Value>, Failure> {
    pages(usize::MAX, async |page_token| {
        let request = pb::ListPoliciesRequest { page_size: PAGE, page_token, ..Default::default() };
        let answer = operator.list_policies(request).await?;
        Ok((entries(&mut json("AdminService/ListPolicies", &answer)?, "policies"), answer.next_page_token))
    })
    .await
}

impl Token {
    async fn run(self) -> Result<u8, Failure> {
        match self {
            Self::Create { name, role, prefix, caller, expires_in, reason, reach } => {
                let request = pb::CreateTokenRequest {
                    name,
                    roles: role.into_iter().map(|role| role as i32).collect(),
                    prefixes: prefix,
                    caller,
                    expire_after: expires_in.map(span),
                    reason,
                };
                let answer = reach.operator()?.create_token(request).await?;
                if reach.is_for_people() {
                    // To standard error, so that the secret alone can be put into a file.
                    _ = writeln!(std::io::stderr(), "This is shown once. Keep it where only its owner can read it:");
                }
                show(&reach, json("AdminService/CreateToken", &answer)?, tables::secret)
            }
            Self::List(reach) => {
                let operator = reach.operator()?;
                let tokens = pages(usize::MAX, async |page_token| {
                    let request = pb::ListTokensRequest { page_size: PAGE, page_token };
                    let answer = operator.list_tokens(request).await?;
                    Ok((entries(&mut json("AdminService/ListTokens", &answer)?, "tokens"), answer.next_page_token))
                });
                let tokens = tokens.await?;
                show(&reach, json!({ "tokens": tokens }), tables::tokens)
            }
            Self::Revoke { name, reason, reach } => {
                let answer = reach.operator()?.revoke_token(pb::RevokeTokenRequest { name, reason }).await?;
                show(&reach, json("AdminService/RevokeToken", &answer)?, tables::nothing)
            }
        }
    }
}

impl Webhook {
    async fn run(self) -> Result<u8, Failure> {
        match self {
            Self::List(reach) => {
                let answer = reach.operator()?.list_webhooks(pb::ListWebhooksRequest {}).await?;
                show(&reach, json("AdminService/ListWebhooks", &answer)?, tables::webhooks)
            }
            Self::Test { name, reach } => {
                let answer = reach.operator()?.test_webhook(pb::TestWebhookRequest { name: name.clone() }).await?;
                if !answer.taken {
                    return Err(Failure::Failed(format!("{name} has not taken it: {}", answer.problem)));
                }
                let taken = format!("{name} has taken it");
                show(&reach, json("AdminService/TestWebhook", &answer)?, |screen, _| screen.line(&taken))
            }
        }
    }
}

impl Audit {
    async fn run(self) -> Result<u8, Failure> {
        let operator = self.reach.operator()?;
        let page_size = u32::try_from(self.limit).unwrap_or(PAGE).clamp(1, PAGE);
        let entries = pages(self.limit, async |page_token| {
            let request = pb::ListAuditRequest { target: self.target.clone(), page_size, page_token };
            let answer = operator.list_audit(request).await?;
            Ok((entries(&mut json("AdminService/ListAudit", &answer)?, "entries"), answer.next_page_token))
        });
        let entries = entries.await?;
        show(&self.reach, json!({ "entries": entries }), tables::audit)
    }
}
