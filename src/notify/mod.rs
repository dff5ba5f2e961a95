//! Notifications: events sent to webhooks, in order, until they are taken.
//!
//! Each webhook is a watcher of its own that follows the event log from where it stood when the server stopped. It sends one
//! event at a time, so a receiver gets those of a breaker in their order; one that is down holds up nobody but itself. An
//! event that is not taken in time is dead: it is kept for people to look at, and the next one is sent. All of it runs on a
//! thread of its own.

mod delivery;
mod post;
mod shape;

use std::{collections::BTreeMap, fmt, io, path::PathBuf, sync::Arc, thread, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

pub(crate) use self::post::check_secret;
pub use self::shape::Shape;
use self::{delivery::Delivery, post::Poster};
use crate::{
    breaker::Timestamp,
    engine::{Engine, Error, Position},
    limit,
    shutdown::Shutdown,
};

/// Dead letters that are kept of a webhook; the oldest go.
const DEAD_MAX: usize = 100;
/// Tests that wait at a time.
const TESTS_MAX: usize = 16;

/// Where events are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// Its name, which no other has.
    pub name: String,
    /// Where to: `http` or `https`.
    pub url: String,
    /// How an event is written.
    pub shape: Shape,
    /// Only of breakers that fit one of these; empty: of all.
    pub patterns: Vec<String>,
    /// Only of these kinds; empty: of all.
    pub kinds: Vec<String>,
    /// File with the key that messages are signed with.
    pub secret_file: Option<PathBuf>,
    /// How long an event is tried before it is dead.
    pub retry_for: Duration,
}

impl Webhook {
    /// Its receiver's scheme and host: the rest of a URL is often a secret.
    #[must_use]
    pub fn receiver(&self) -> String {
        let uri: Option<http::Uri> = self.url.parse().ok();
        let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
        parts.map_or_else(String::new, |(scheme, authority)| {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}")
        })
    }
}

/// An event that was given up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dead {
    /// The event.
    pub sequence: u64,
    /// Its breaker.
    pub breaker: Arc<str>,
    /// What happened.
    pub kind: String,
    /// When it was given up.
    pub at: Timestamp,
    /// What the receiver said last.
    pub why: String,
}

/// How a webhook does.
#[derive(Clone, Default, Debug)]
pub struct Condition {
    /// Events that were taken since the start.
    pub delivered: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// Events that were given up since the start.
    pub dead: u64,
    /// The last event that was dealt with.
    pub sequence: u64,
    /// What is wrong while it is tried again; empty: nothing.
    pub problem: String,
    /// What was given up, the oldest first.
    pub dead_letters: Vec<Dead>,
}

/// What a webhook's task and those who ask share.
#[derive(Debug)]
struct Hook {
    webhook: Webhook,
    condition: Mutex<Condition>,
}

type Test = (Arc<Hook>, oneshot::Sender<Result<(), String>>);

/// All webhooks. Clones share them.
#[derive(Clone, Default)]
pub struct Notifier {
    hooks: Arc<BTreeMap<String, Arc<Hook>>>,
    tests: Option<mpsc::Sender<Test>>,
}

impl Notifier {
    /// Starts the thread, if there is a webhook. It ends when the server drains.
    ///
    /// # Errors
    /// A secret that cannot be read; no thread, or no authorities to trust.
    pub fn start(webhooks: &[Webhook], engine: &Engine, shutdown: &Shutdown) -> io::Result<Self> {
        if webhooks.is_empty() {
            return Ok(Self::default());
        }
        let mut posters = Vec::new();
        let mut hooks = BTreeMap::new();
        for webhook in webhooks {
            let hook = Arc::new(Hook { webhook: webhook.clone(), condition: Mutex::default() });
            posters.push((Arc::clone(&hook), Poster::new(webhook)?));
            hooks.insert(webhook.name.clone(), hook);
        }
        let (tests, asked) = mpsc::channel(TESTS_MAX);
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        // A new webhook begins here, not when its thread first runs: calls may have been served by then.
        let sequence = engine.usage().newest_sequence;
        let new = Position { history: engine.history(), sequence, in_snapshot: false };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("notify".to_owned()).spawn(move || {
            runtime.block_on(run(posters, new, engine, shutdown, asked));
        })?;
        Ok(Self { hooks: Arc::new(hooks), tests: Some(tests) })
    }

    /// Each webhook and how it does, in the order of names.
    #[must_use]
    pub fn list(&self) -> Vec<(Webhook, Condition)> {
        self.hooks.values().map(|hook| (hook.webhook.clone(), hook.condition.lock().clone())).collect()
    }

    /// Sends a message that says it is a test, once, and what the receiver makes of it.
    ///
    /// # Errors
    /// There is no such webhook, or there are too many tests at once.
    pub async fn test(&self, name: &str) -> Result<Result<(), String>, Error> {
        let not_found = || Error::NotFound {
            reason: "WEBHOOK_NOT_FOUND",
            what: "webhook",
            name: name.to_owned(),
            advice: "a [[webhook]] of the server's file makes it; ListWebhooks shows those there are",
        };
        let hook = self.hooks.get(name).ok_or_else(not_found)?;
        let (answer, answered) = oneshot::channel();
        let asked = self.tests.as_ref().ok_or_else(not_found)?.try_send((Arc::clone(hook), answer));
        asked.map_err(|_| limit::WEBHOOK_TESTS.reached(TESTS_MAX as u64))?;
        answered.await.map_err(|_| Error::Draining)
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

async fn run(
    posters: Vec<(Arc<Hook>, Poster)>,
    new: Position,
    engine: Engine,
    shutdown: Shutdown,
    mut asked: mpsc::Receiver<Test>,
) {
    let mut deliveries = JoinSet::new();
    let posters: Vec<(Arc<Hook>, Arc<Poster>)> =
        posters.into_iter().map(|(hook, poster)| (hook, Arc::new(poster))).collect();
    for (hook, poster) in &posters {
        match Delivery::begin(Arc::clone(hook), Arc::clone(poster), new, engine.clone(), shutdown.clone()).await {
            Ok(delivery) => _ = deliveries.spawn(delivery.run()),
            Err(error) => tracing::error!(webhook = hook.webhook.name, %error, "a webhook does not begin"),
        }
    }
    let mut tests = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = deliveries.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a webhook has panicked");
                }
                if deliveries.is_empty() {
                    return;
                }
            }
            Some(_) = tests.join_next() => {}
            Some((hook, answer)) = asked.recv() => {
                let poster = posters.iter().find(|(other, _)| Arc::ptr_eq(other, &hook)).map(|(_, poster)| Arc::clone(poster));
                let Some(poster) = poster else { continue };
                let message = shape::test(hook.webhook.shape, engine.now());
                // Who asked may have gone.
                tests.spawn(async move { _ = answer.send(poster.post(&message).await) });
            }
            () = shutdown.drained(), if deliveries.is_empty() => return,
        }
    }
}
