//! Watchers that outlive the server: each goes on with the token that it has.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fuseboard::pb::{GetServerInfoRequest, WatchEventsRequest, WatchFilter, watch_events_response::Message};
use tokio::{task::JoinSet, time};

use crate::{Result, ledger::Ledger, world::Life};

/// How often a watcher looks whether its life is over.
const LOOK_UP: Duration = Duration::from_millis(20);
/// How long watchers may take to read to the end of the last life.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);

/// A watcher of breakers whose keys begin in one way.
#[derive(Debug)]
struct Watcher {
    prefix: &'static str,
    token: String,
    heard: Vec<u64>,
}

/// All watchers, between two lives.
#[derive(Debug)]
pub(crate) struct Watchers(Vec<Arc<Mutex<Watcher>>>);

impl Watchers {
    pub(crate) fn new() -> Self {
        let watcher = |prefix| Arc::new(Mutex::new(Watcher { prefix, token: String::new(), heard: Vec::new() }));
        Self(["", "", "kill/moving/", "kill/held/"].map(watcher).into())
    }

    /// Follows a server until its life is over.
    pub(crate) fn follow(&self, life: &Life) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for watcher in &self.0 {
            let (life, watcher) = (life.clone(), Arc::clone(watcher));
            tasks.spawn(async move {
                // A stream that breaks is the end of the life.
                _ = follow(&life, &watcher).await;
            });
        }
        tasks
    }

    /// Waits until all have heard what there is.
    pub(crate) async fn catch_up(&self, life: &Life) {
        let waiting = async {
            while !life.is_over() && !self.0.iter().all(|watcher| has_heard_all(watcher, &life.ledger())) {
                time::sleep(LOOK_UP).await;
            }
        };
        // Whether they have is checked apart.
        _ = time::timeout(CATCH_UP_MAX, waiting).await;
    }

    /// Each has heard every event of its breakers once.
    pub(crate) fn check(&self, ledger: &mut Ledger) {
        for watcher in &self.0 {
            if !has_heard_all(watcher, ledger) {
                let watcher = watcher.lock().expect("nobody panics inside");
                let all = ledger.sequences(watcher.prefix);
                let at = all.iter().zip(&watcher.heard).take_while(|(there, heard)| there == heard).count();
                let told = format!(
                    "the watcher of {:?} heard {} of {} events; they part at {:?}, heard as {:?}",
                    watcher.prefix,
                    watcher.heard.len(),
                    all.len(),
                    all.get(at),
                    watcher.heard.get(at)
                );
                ledger.violation(told);
            }
        }
    }
}

fn has_heard_all(watcher: &Mutex<Watcher>, ledger: &Ledger) -> bool {
    let watcher = watcher.lock().expect("nobody panics inside");
    watcher.heard == ledger.sequences(watcher.prefix)
}

async fn follow(life: &Life, watcher: &Mutex<Watcher>) -> Result<()> {
    let (prefix, mut token) = {
        let watcher = watcher.lock().expect("nobody panics inside");
        (watcher.prefix, watcher.token.clone())
    };
    if token.is_empty() {
        let info = life.operator.clone().get_server_info(GetServerInfoRequest {}).await?.into_inner();
        token = info.oldest_resume_token;
    }
    let prefixes = if prefix.is_empty() { Vec::new() } else { vec![prefix.to_owned()] };
    let request = WatchEventsRequest {
        filter: Some(WatchFilter { prefixes, ..WatchFilter::default() }),
        resume_token: token,
        skip_snapshot: true,
        ..WatchEventsRequest::default()
    };
    let mut stream = life.service.clone().watch_events(request).await?.into_inner();
    life.ledger().figures.resumed += 1;
    while !life.is_over() {
        let Ok(message) = time::timeout(LOOK_UP, stream.message()).await else { continue };
        let Some(response) = message? else { return Ok(()) };
        let (mut ledger, mut watcher) = (life.ledger(), watcher.lock().expect("nobody panics inside"));
        match response.message {
            Some(Message::Event(event)) => {
                ledger.observe(&event);
                let last = watcher.heard.last().copied().unwrap_or_default();
                let is_next = if prefix.is_empty() { event.sequence == last + 1 } else { event.sequence > last };
                if !is_next || !event.breaker.starts_with(prefix) {
                    let (sequence, breaker) = (event.sequence, &event.breaker);
                    ledger.violation(format!("the watcher of {prefix:?} heard {sequence} of {breaker} after {last}"));
                }
                watcher.heard.push(event.sequence);
            }
            Some(Message::Progress(progress)) => ledger.tell_now(progress.now),
            Some(Message::Goodbye(_)) => {}
            other => ledger.violation(format!("the watcher of {prefix:?} got {other:?}")),
        }
        watcher.token = response.resume_token;
    }
    Ok(())
}
