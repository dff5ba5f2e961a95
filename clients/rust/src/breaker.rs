//! Guards one dependency.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tonic::Code;
use tracing::error;

use crate::{
    CallError, Error, Outcome, OverrideMode, Permit, Rejection, Report, State, Subscription,
    client::Owner,
    core::{Core, Ticket},
    pb,
    permit::Unreported,
    wire,
};

/// Guards one dependency. Made by [`Client::breaker`](crate::Client::breaker); cheap to clone, and shared by its clones.
#[derive(Clone)]
pub struct Breaker {
    core: Arc<Core>,
    owner: Arc<Owner>,
}

/// What this process knows of a breaker, without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// None where nothing is known.
    pub state: Option<State>,
    /// +1 at each transition.
    pub generation: u64,
    /// Where this client's own caller stands: anything but closed means that it is isolated.
    pub caller_state: Option<State>,
    /// What an operator holds it in.
    pub override_mode: Option<OverrideMode>,
    /// A closed state would be believed.
    pub is_fresh: bool,
}

/// What the server says of a breaker.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The computed one.
    pub state: Option<State>,
    /// What an operator holds it in.
    pub override_mode: Option<OverrideMode>,
    /// +1 at each transition.
    pub generation: u64,
    /// When the state was entered, by the server's clock.
    pub since: Option<SystemTime>,
    /// How long it lasts yet. None: it has no end.
    pub remaining: Option<Duration>,
    /// Failures in a row.
    pub failures: u64,
    /// When the last counted call succeeded. None: never.
    pub last_success: Option<SystemTime>,
    /// When the last counted call failed. None: never.
    pub last_failure: Option<SystemTime>,
    /// All overrides that are set, the strongest first: that one is in force.
    pub overrides: Vec<Override>,
    /// The server's whole answer: totals, window, callers, policy in force.
    pub message: Box<pb::GetStateResponse>,
}

/// A state that an operator holds a breaker in, over the computed one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Override {
    /// Its name, unique within its breaker.
    pub id: String,
    /// What is forced. None: a mode that this client does not know.
    pub mode: Option<OverrideMode>,
    /// Who set it.
    pub actor: String,
    /// Why it was set.
    pub reason: String,
    /// When it was set.
    pub set: Option<SystemTime>,
    /// When it ends by itself. None: it stays until it is cleared.
    pub expire: Option<SystemTime>,
}

impl Override {
    fn of(message: &pb::Override) -> Self {
        Self {
            id: message.id.clone(),
            mode: OverrideMode::from_wire(message.mode),
            actor: message.actor.clone(),
            reason: message.reason.clone(),
            set: wire::time(message.set_time),
            expire: wire::time(message.expire_time),
        }
    }
}

impl Status {
    fn of(message: Box<pb::GetStateResponse>) -> Self {
        let status = message.status.clone().unwrap_or_default();
        let totals = message.totals.unwrap_or_default();
        Self {
            state: State::from_wire(status.state),
            override_mode: OverrideMode::from_wire(status.override_mode),
            generation: status.generation,
            since: wire::time(status.state_since),
            remaining: status.state_remaining.map(wire::duration),
            failures: status.failures,
            last_success: wire::time(totals.last_success_time),
            last_failure: wire::time(totals.last_failure_time),
            overrides: message.overrides.iter().map(Override::of).collect(),
            message,
        }
    }
}

impl Breaker {
    pub(crate) const fn new(core: Arc<Core>, owner: Arc<Owner>) -> Self {
        Self { core, owner }
    }

    /// The breaker's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.core.key
    }

    /// Makes a call if the breaker permits it, and reports how it went: `Ok` as a success, an error as a failure.
    ///
    /// A future does nothing until it is polled, so nothing of the call happens where it is rejected. Dropped while it
    /// runs, it counts as cancelled; a panic counts as a failure and goes on. After a failure it waits for the server's
    /// answer, at most `report_timeout`.
    ///
    /// # Errors
    ///
    /// The rejection, that `call_timeout` has passed, or the call's own error.
    pub async fn execute<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, CallError<E>> {
        self.run(call, Report::of).await
    }

    /// The same with a classifier: what the call's result means, in the place of [`Report::of`]. Where it panics, that is
    /// logged and [`Report::of`] holds.
    ///
    /// # Errors
    ///
    /// As of [`execute`](Self::execute).
    pub async fn execute_with<T, E>(
        &self,
        classify: impl FnOnce(&Result<T, E>) -> Report,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        self.run(call, classify).await
    }

    /// The same with a fallback, which answers in the place of a call that was rejected, timed out or failed.
    ///
    /// # Errors
    ///
    /// The fallback's own.
    pub async fn execute_or<T, E, X, F: Future<Output = Result<T, X>>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        fallback: impl FnOnce(CallError<E>) -> F,
    ) -> Result<T, X> {
        match self.execute(call).await {
            Ok(value) => Ok(value),
            Err(error) => fallback(error).await,
        }
    }

    async fn run<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        classify: impl FnOnce(&Result<T, E>) -> Report,
    ) -> Result<T, CallError<E>> {
        let running = Unreported::new(self, self.decide().await?);
        let result = match self.core.call_timeout {
            None => call.await,
            Some(limit) => match tokio::time::timeout(limit, call).await {
                Ok(result) => result,
                Err(_) => {
                    let report = Report::new(Outcome::Timeout).with_error_class("call_timeout");
                    running.report_and_wait(report).await;
                    return Err(CallError::TimedOut(limit));
                }
            },
        };
        let report = catch_unwind(AssertUnwindSafe(|| classify(&result))).unwrap_or_else(|_| {
            error!(breaker = self.core.key, "the classifier panicked");
            Report::of(&result)
        });
        running.report_and_wait(report).await;
        result.map_err(CallError::Failed)
    }

    /// Asks for leave to make one call. It waits at most `acquire_timeout`, and not at all where memory decides, except for
    /// the answer to an outcome that was reported without waiting and may have tripped the breaker: at most `report_timeout`.
    /// Dropped while it waits, a permit that comes later is given back.
    ///
    /// # Errors
    ///
    /// Why the call is rejected, and for how long.
    pub async fn acquire(&self) -> Result<Permit, Rejection> {
        self.decide().await.map(|ticket| Permit::new(self.clone(), ticket))
    }

    async fn decide(&self) -> Result<Ticket, Rejection> {
        let shared = &self.owner.shared;
        shared.wait_for_decisive(&self.core).await;
        let decision = match shared.decide_here(&self.core) {
            Some(decision) => decision,
            None => shared.decide_by_asking(&self.core).await,
        };
        if shared.options.observer.is_some() {
            let (source, rejected) = match &decision {
                Ok(ticket) => (ticket.source(), None),
                Err(rejection) => (rejection.source, Some(rejection.reason)),
            };
            shared.observe(|observer| observer.decided(&self.core.key, source, rejected));
        }
        decision
    }

    pub(crate) fn finish(&self, ticket: Ticket, report: Report) {
        // Nobody waits for the answer.
        let _ = self.owner.shared.finish(&self.core, ticket, report);
    }

    pub(crate) async fn finish_and_wait(&self, ticket: Ticket, report: Report) {
        if let Some(answered) = self.owner.shared.finish(&self.core, ticket, report) {
            self.owner.shared.wait_for(&answered).await;
        }
    }

    /// What this process knows, without asking.
    #[must_use]
    pub fn view(&self) -> View {
        let shared = &self.owner.shared;
        let view = self.core.view();
        View {
            state: view.breaker.state,
            generation: view.breaker.generation,
            caller_state: view.caller.state,
            override_mode: view.override_mode,
            is_fresh: shared.is_fresh(&self.core, shared.now()),
        }
    }

    /// Events of this breaker from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.owner.subscribe(Some(self.core.key.clone()))
    }

    /// Asks the server for all about the breaker. Bound it with a timeout of your own.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Closed`], or the server's.
    pub async fn state(&self) -> Result<Status, Error> {
        let shared = &self.owner.shared;
        self.owner.check_open()?;
        let request = pb::GetStateRequest { breaker: self.core.key.clone() };
        let message = shared.connection.api().0.get_state(request).await.map_err(|status| self.failed(status))?;
        let message = Box::new(message.into_inner());
        self.core.apply_policy(message.policy.as_ref());
        let status = message.status.clone().unwrap_or_default();
        let told_at = wire::time(message.now);
        shared.apply(&self.core, |view, now| view.apply_status(&status, &shared.options.caller, told_at, now));
        Ok(Status::of(message))
    }

    /// Closes the breaker for everybody, with empty statistics and backoff, and clears the local breaker. An override
    /// stays. `reason` is for the history: at most 1,000 bytes. Bound it with a timeout of your own.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Closed`], or the server's. The local breaker is cleared all the same.
    pub async fn reset(&self, reason: &str) -> Result<(), Error> {
        let shared = &self.owner.shared;
        self.core.reset();
        if let Some(script) = &shared.script {
            script.reset(&self.core.key);
            return Ok(());
        }
        self.owner.check_open()?;
        let request = pb::ResetRequest {
            breaker: self.core.key.clone(),
            reason: reason.to_owned(),
            actor: shared.options.caller.clone(),
        };
        let response = shared.connection.api().0.reset(request).await.map_err(|status| self.failed(status))?;
        if let Some(status) = response.into_inner().status {
            shared.apply(&self.core, |view, now| view.apply_status(&status, &shared.options.caller, None, now));
        }
        Ok(())
    }

    fn failed(&self, status: tonic::Status) -> Error {
        match status.code() {
            Code::NotFound => Error::NotFound(self.core.key.clone()),
            _ => Error::Server(Box::new(status)),
        }
    }
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Breaker").field("key", &self.core.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn a_status_has_the_last_success_the_last_failure_and_all_overrides() {
        let totals =
            pb::Totals { last_success_time: Some(at(5)), last_failure_time: Some(at(7)), ..pb::Totals::default() };
        let forced = pb::Override {
            mode: pb::OverrideMode::ForcedOpen as i32,
            actor: "ana".to_owned(),
            reason: "a drill".to_owned(),
            set_time: Some(at(3)),
            expire_time: Some(at(9)),
            id: "drill".to_owned(),
        };
        let stays = pb::Override { expire_time: None, mode: 99, id: "other".to_owned(), ..forced.clone() };
        let message = pb::GetStateResponse {
            totals: Some(totals),
            overrides: vec![forced, stays],
            ..pb::GetStateResponse::default()
        };
        let status = Status::of(Box::new(message));
        let instant = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((status.last_success, status.last_failure), (instant(5), instant(7)));
        let drill = Override {
            id: "drill".to_owned(),
            mode: Some(OverrideMode::ForcedOpen),
            actor: "ana".to_owned(),
            reason: "a drill".to_owned(),
            set: instant(3),
            expire: instant(9),
        };
        let other = Override { id: "other".to_owned(), mode: None, expire: None, ..drill.clone() };
        assert_eq!(status.overrides, [drill, other]);
        let none = Status::of(Box::default());
        assert_eq!((none.last_success, none.last_failure, none.overrides), (None, None, Vec::new()));
    }
}
