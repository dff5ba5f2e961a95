//! Answers of an engine whose store is memory: they may be told at once, but for what other threads have under way.

use fuseboard::engine::Told;
use futures_util::FutureExt as _;
use tokio::{
    runtime::{self, Handle, Runtime},
    task::unconstrained,
};

thread_local! {
    static RUNTIME: Runtime =
        runtime::Builder::new_current_thread().enable_time().build().expect("a runtime needs nothing");
}

/// What is there without waiting for anything but other threads.
pub(crate) trait Soon: Future + Sized {
    fn soon(self) -> Self::Output {
        match Handle::try_current() {
            Ok(_) => unconstrained(self).now_or_never().expect("memory answers at once"),
            Err(_) => RUNTIME.with(|runtime| runtime.block_on(self)),
        }
    }
}

impl<F: Future> Soon for F {}

/// An answer, when it may be told; `None` where its breaker has just been deleted.
pub(crate) fn told<T>(told: Told<T>) -> Option<T> {
    match told {
        Told::Now(answer) => Some(answer),
        Told::Later(answer, ticket) => {
            ticket.come().soon();
            Some(answer)
        }
        Told::Again(ticket) => {
            ticket.come().soon();
            None
        }
    }
}

#[allow(dead_code, reason = "not every test asks")]
/// As [`told`], of a breaker that nobody deletes.
pub(crate) fn now<T>(answer: Told<T>) -> T {
    told(answer).expect("nobody deletes it")
}
