//! For tests: a fake in the place of a server, and the clock of a server that was started with `--manual-clock`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    Client, Error, Options, Outcome, Reason, State,
    clock_pb::{AdvanceRequest, clock_service_client::ClockServiceClient},
    wire,
};

/// Decides in the place of a server, in memory: for users' own unit tests. A breaker that it was told nothing of is closed.
#[derive(Default)]
pub struct Fake {
    script: Arc<Script>,
}

/// What a fake was told, and what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    breakers: Mutex<HashMap<String, Scripted>>,
}

#[derive(Default)]
struct Scripted {
    refusal: Option<(Reason, Duration, State)>,
    outcomes: HashMap<Outcome, u64>,
    resets: u64,
}

impl Fake {
    /// One in which every breaker is closed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that this fake decides for. It opens no connection.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside a tokio runtime.
    pub fn client(&self) -> Result<Client, Error> {
        Client::start(Options::default(), Some(Arc::clone(&self.script)))
    }

    /// Calls are rejected, with this wait.
    pub fn open(&self, breaker: &str, retry_after: Duration) {
        self.refuse(breaker, Some((Reason::Open, retry_after, State::Open)));
    }

    /// Calls of this client's caller are rejected, with this wait.
    pub fn isolate(&self, breaker: &str, retry_after: Duration) {
        self.refuse(breaker, Some((Reason::CallerIsolated, retry_after, State::Closed)));
    }

    /// Calls are permitted.
    pub fn close(&self, breaker: &str) {
        self.refuse(breaker, None);
    }

    fn refuse(&self, breaker: &str, refusal: Option<(Reason, Duration, State)>) {
        self.script.breakers.lock().entry(breaker.to_owned()).or_default().refusal = refusal;
    }

    /// How many calls to a breaker were reported with an outcome.
    #[must_use]
    pub fn count(&self, breaker: &str, outcome: Outcome) -> u64 {
        let breakers = self.script.breakers.lock();
        breakers.get(breaker).and_then(|breaker| breaker.outcomes.get(&outcome)).copied().unwrap_or(0)
    }

    /// How often a breaker was reset. A reset closes it.
    #[must_use]
    pub fn resets(&self, breaker: &str) -> u64 {
        self.script.breakers.lock().get(breaker).map_or(0, |breaker| breaker.resets)
    }
}

impl Script {
    pub(crate) fn refusal(&self, breaker: &str) -> Option<(Reason, Duration, State)> {
        self.breakers.lock().get(breaker)?.refusal
    }

    pub(crate) fn reported(&self, breaker: &str, outcome: Outcome) {
        *self.breakers.lock().entry(breaker.to_owned()).or_default().outcomes.entry(outcome).or_default() += 1;
    }

    pub(crate) fn reset(&self, breaker: &str) {
        let mut breakers = self.breakers.lock();
        let breaker = breakers.entry(breaker.to_owned()).or_default();
        breaker.refusal = None;
        breaker.resets += 1;
    }
}

/// The clock of a server that was started with `--manual-clock`: its time moves by [`advance`](Self::advance) only.
#[derive(Debug, Clone)]
pub struct ManualClock {
    service: ClockServiceClient<tonic::transport::Channel>,
}

impl ManualClock {
    /// Of the server at `host:port`. It connects when it is first used.
    ///
    /// # Errors
    ///
    /// An address that is none.
    pub fn new(address: &str) -> Result<Self, Error> {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Error::Option { option: "address", problem: error.to_string() })?;
        Ok(Self { service: ClockServiceClient::new(endpoint.connect_lazy()) })
    }

    /// Moves the server's time. What is due by then has happened when this returns.
    ///
    /// # Errors
    ///
    /// The server's: without `--manual-clock` it does not know the method.
    pub async fn advance(&mut self, by: Duration) -> Result<(), Error> {
        let request = AdvanceRequest { duration: Some(wire::message(by)) };
        self.service.advance(request).await.map(drop).map_err(|status| Error::Server(Box::new(status)))
    }
}
