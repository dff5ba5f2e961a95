//! Leave for one call, which cannot be forgotten.

use std::borrow::Borrow;

use crate::{Breaker, Outcome, Report, Source, core::Ticket};

/// Leave for one call. Reporting takes it; dropped without a report, the call counts as cancelled, or as a failure where a
/// panic drops it.
#[must_use = "a permit that is dropped counts as a cancelled call"]
pub struct Permit(Unreported<Breaker>);

impl Permit {
    pub(crate) const fn new(breaker: Breaker, ticket: Ticket) -> Self {
        Self(Unreported::new(breaker, ticket))
    }

    /// Who permitted the call.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.0.source
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

    /// Reports how the call went. It never waits. If the answer may be a trip, the breaker's next acquire waits for it, at
    /// most `report_timeout`.
    pub fn report(mut self, report: Report) {
        self.0.finish(report);
    }

    /// Reports as `execute` does: waits for the server's answer to a failure, a timeout and any outcome of a half-open
    /// breaker's permit, at most `report_timeout`, and not at all while the server cannot be asked. So the next acquire
    /// sees what this report made of the breaker.
    pub async fn report_and_wait(self, report: Report) {
        self.0.report_and_wait(report).await;
    }
}

/// A ticket that is reported once, at the latest when it is dropped. [`Permit`] owns its breaker;
/// [`Breaker::execute`] borrows it.
pub(crate) struct Unreported<B: Borrow<Breaker>> {
    breaker: B,
    ticket: Option<Ticket>,
    source: Source,
}

impl<B: Borrow<Breaker>> Unreported<B> {
    pub(crate) const fn new(breaker: B, ticket: Ticket) -> Self {
        let source = ticket.source();
        Self { breaker, ticket: Some(ticket), source }
    }

    fn finish(&mut self, report: Report) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.borrow().finish(ticket, report);
        }
    }

    pub(crate) async fn report_and_wait(mut self, report: Report) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.borrow().finish_and_wait(ticket, report).await;
        }
    }
}

impl<B: Borrow<Breaker>> Drop for Unreported<B> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        self.finish(if std::thread::panicking() {
            Report::new(Outcome::Failure).with_error_class("panic")
        } else {
            Report::new(Outcome::Cancelled)
        });
    }
}
