//! Leave for one call, which cannot be forgotten.

use crate::{Breaker, Outcome, Report, Source, core::Ticket};

/// Leave for one call. Reporting takes it; dropped without a report, the call counts as cancelled, or as a failure where a
/// panic drops it.
#[must_use = "a permit that is dropped counts as a cancelled call"]
pub struct Permit {
    breaker: Breaker,
    ticket: Option<Ticket>,
    source: Source,
}

impl Permit {
    pub(crate) const fn new(breaker: Breaker, ticket: Ticket) -> Self {
        let source = ticket.source();
        Self { breaker, ticket: Some(ticket), source }
    }

    /// Who permitted the call.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// The dependency answered as it should.
    pub fn success(self) {
        self.report(Report::new(Outcome::Success));
    }

    /// The dependency failed.
    pub fn failure(self) {
        self.report(Report::new(Outcome::Failure));
    }

    /// The dependency did not answer in time.
    pub fn timeout(self) {
        self.report(Report::new(Outcome::Timeout));
    }

    /// The call says nothing about the dependency.
    pub fn ignored(self) {
        self.report(Report::new(Outcome::Ignored));
    }

    /// The call never finished.
    pub fn cancelled(self) {
        self.report(Report::new(Outcome::Cancelled));
    }

    /// Reports how the call went. It never waits.
    pub fn report(mut self, report: Report) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.finish(ticket, report);
        }
    }

    /// Reports as `execute` does: waits for the server's answer to a failure, a timeout and any outcome of a half-open
    /// breaker's permit, at most `report_timeout`, and not at all while the server cannot be asked. So the next acquire
    /// sees what this report made of the breaker.
    pub async fn report_and_wait(mut self, report: Report) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.finish_and_wait(ticket, report).await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.finish(ticket, unfinished());
        }
    }
}

/// What is reported of a call that nobody reported.
fn unfinished() -> Report {
    if std::thread::panicking() {
        Report::new(Outcome::Failure).with_error_class("panic")
    } else {
        Report::new(Outcome::Cancelled)
    }
}

/// A permit of [`Breaker::execute`], which borrows.
pub(crate) struct Running<'a> {
    breaker: &'a Breaker,
    ticket: Option<Ticket>,
}

impl<'a> Running<'a> {
    pub(crate) const fn new(breaker: &'a Breaker, ticket: Ticket) -> Self {
        Self { breaker, ticket: Some(ticket) }
    }

    pub(crate) async fn report_and_wait(mut self, report: Report) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.finish_and_wait(ticket, report).await;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.finish(ticket, unfinished());
        }
    }
}
