//! One webhook: follows the log, sends what it wants, remembers where it stands.

#![expect(clippy::disallowed_methods, reason = "a receiver takes real time, whatever clock the breakers have")]

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{DEAD_MAX, Dead, Hook, post::Poster, shape};
use crate::{
    engine::{Engine, Error, Event, Filter, Message, Position, Watch, WatchOptions, matches},
    shutdown::Shutdown,
    store::Document,
};

/// What the key of a webhook's document begins with.
const KIND: &str = "webhook/";
/// The first wait after a failure; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Where it stands is stored at most so often. What was sent since is sent again after a crash, under the same id.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// What is stored of a webhook.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    history: u64,
    sequence: u64,
    dead: Vec<Dead>,
}

/// A webhook at work.
pub(super) struct Delivery {
    hook: Arc<Hook>,
    poster: Arc<Poster>,
    engine: Engine,
    shutdown: Shutdown,
    watch: Watch,
    key: Arc<str>,
    /// Version of its document; 0: there is none yet.
    version: u64,
    /// What the document says, if there is one.
    saved: Option<(Position, usize)>,
    saved_at: Instant,
}

/// What became of a message.
enum Sent {
    Taken,
    Dead(String),
    /// The server stops: it is sent after the next start.
    Later,
}

impl Delivery {
    /// Goes on where the webhook stood; a new one begins with what happens after `new`.
    pub(super) async fn begin(
        hook: Arc<Hook>,
        poster: Arc<Poster>,
        new: Position,
        engine: Engine,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        let key: Arc<str> = format!("{KIND}{}", hook.webhook.name).into();
        let document = engine.document(&key).await?;
        let version = document.as_ref().map_or(0, |document| document.version);
        let stored = document.and_then(|document| serde_json::from_str::<Stored>(&document.body).ok());
        let position = stored.as_ref().map(|stored| Position {
            history: stored.history,
            sequence: stored.sequence,
            in_snapshot: false,
        });
        let options = WatchOptions {
            filter: Filter::default(),
            position: Some(position.unwrap_or(new)),
            skip_snapshot: true,
            ..WatchOptions::default()
        };
        let watch = engine.watch(options)?;
        let dead = stored.map_or_else(Vec::new, |stored| stored.dead);
        let (begins, saved) = (watch.position(), position.map(|position| (position, dead.len())));
        hook.condition.lock().dead_letters = dead;
        let mut delivery =
            Self { hook, poster, engine, shutdown, watch, key, version, saved, saved_at: Instant::now() };
        // A new one, too: what happens from now on is sent, whatever becomes of this server.
        delivery.save(begins).await;
        Ok(delivery)
    }

    /// Until the server drains.
    pub(super) async fn run(mut self) {
        while !self.shutdown.draining() {
            let before = self.watch.position();
            let sent = match self.watch.next().await {
                Some(Message::Event(event)) if self.wants(&event) => {
                    let message = shape::event(self.hook.webhook.shape, &self.engine, &event);
                    let sent = self.send(&message).await;
                    if let Sent::Dead(why) = &sent {
                        self.bury(&event, why);
                    }
                    sent
                }
                Some(Message::Resync { lost, .. }) if lost > 0 => {
                    let message = shape::lost(self.hook.webhook.shape, &self.engine, before.sequence, lost);
                    self.send(&message).await
                }
                Some(_) => Sent::Taken,
                None => {
                    self.wait().await;
                    continue;
                }
            };
            if matches!(sent, Sent::Later) {
                // As if it had not been read.
                return self.save(before).await;
            }
            self.hook.condition.lock().sequence = self.watch.position().sequence;
            if self.saved_at.elapsed() >= SAVE_INTERVAL {
                self.save(self.watch.position()).await;
            }
        }
        self.save(self.watch.position()).await;
    }

    fn wants(&self, event: &Event) -> bool {
        let webhook = &self.hook.webhook;
        (webhook.patterns.is_empty() || webhook.patterns.iter().any(|pattern| matches(pattern, &event.key)))
            && (webhook.kinds.is_empty() || webhook.kinds.iter().any(|kind| kind == event.kind.name()))
    }

    /// Waits until something may have happened; where it stands is stored meanwhile.
    async fn wait(&mut self) {
        let save_at = self.saved_at + SAVE_INTERVAL;
        let position = self.watch.position();
        let is_new = Some((position, self.hook.condition.lock().dead_letters.len())) != self.saved;
        tokio::select! {
            () = self.watch.changed() => {}
            () = self.shutdown.drained() => {}
            () = tokio::time::sleep_until(save_at), if is_new => self.save(position).await,
        }
    }

    /// Sends a message until it is taken, or is dead.
    async fn send(&self, message: &shape::Message) -> Sent {
        let began = Instant::now();
        let mut wait = RETRY_FIRST;
        loop {
            let answer = self.poster.post(message).await;
            self.note(&answer);
            let Err(why) = answer else { return Sent::Taken };
            tracing::debug!(webhook = self.hook.webhook.name, id = message.id, why, "a message is not taken");
            if began.elapsed() >= self.hook.webhook.retry_for {
                tracing::warn!(webhook = self.hook.webhook.name, id = message.id, why, "a message is given up");
                self.hook.condition.lock().dead += 1;
                return Sent::Dead(why);
            }
            let jittered = wait.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::select! {
                () = tokio::time::sleep(jittered) => wait = (wait * 2).min(RETRY_MAX),
                () = self.shutdown.drained() => return Sent::Later,
            }
        }
    }

    fn note(&self, answer: &Result<(), String>) {
        let mut condition = self.hook.condition.lock();
        match answer {
            Ok(()) => {
                condition.delivered += 1;
                condition.problem.clear();
            }
            Err(why) => {
                condition.failed += 1;
                condition.problem.clone_from(why);
            }
        }
    }

    fn bury(&self, event: &Event, why: &str) {
        let mut condition = self.hook.condition.lock();
        condition.dead_letters.push(Dead {
            sequence: event.sequence,
            breaker: Arc::clone(&event.key),
            kind: event.kind.name().to_owned(),
            at: self.engine.now(),
            why: why.to_owned(),
        });
        if condition.dead_letters.len() > DEAD_MAX {
            condition.dead_letters.remove(0);
        }
    }

    /// Stores where it stands. While the store fails it does without.
    async fn save(&mut self, position: Position) {
        let dead = self.hook.condition.lock().dead_letters.clone();
        self.saved_at = Instant::now();
        if Some((position, dead.len())) == self.saved {
            return;
        }
        let count = dead.len();
        let stored = Stored { history: position.history, sequence: position.sequence, dead };
        let Ok(body) = serde_json::to_string(&stored) else { return };
        let document = Document { key: Arc::clone(&self.key), version: self.version + 1, body: body.into() };
        match self.engine.put_document(document, self.version).await {
            Ok(()) => (self.version, self.saved) = (self.version + 1, Some((position, count))),
            Err(error) => {
                tracing::debug!(webhook = self.hook.webhook.name, %error, "where a webhook stands is not stored")
            }
        }
    }
}
