//! Watchers of every habit, each checked while it reads and once more at the end.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fuseboard::pb::{
    Delivery, Event, ListEventsRequest, ResyncReason, WatchEventsRequest, WatchFilter, watch_events_response::Message,
};
use rand::Rng;
use tokio::{task::JoinSet, time};

use crate::{
    Result,
    world::{World, bump, key},
};

/// How often a watcher that hears nothing looks up.
const LOOK_UP: Duration = Duration::from_millis(200);
/// How long a slow reader takes over a message: several times what events need to come.
const SLOW_READ: Duration = Duration::from_millis(100);
/// How long a stalled reader reads nothing.
const STALL: Duration = Duration::from_secs(20);
/// Longest life of a stream that is dropped now and then, and longest pause before the next.
const STREAM_MAX: Duration = Duration::from_secs(8);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Between two looks at the history.
const HISTORY_EVERY: Duration = Duration::from_secs(2);

/// What a watcher does and is promised.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Habit {
    /// Reads all, on one stream.
    Steady,
    /// Reads all, on streams that it drops now and then, and resumes.
    Reconnecting,
    /// Reads one group of breakers, and reconnects.
    Filtered(String),
    /// Reads too slowly: may be told that it lost events, and then goes on from a snapshot.
    Slow,
    /// Does not read for long stretches.
    Stalled,
    /// Wants the latest of each breaker only.
    Latest,
}

/// Starts all watchers; each has its stream before this returns, so that none misses the first event.
pub(crate) async fn start(world: &Arc<World>, tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    use Habit::{Filtered, Latest, Reconnecting, Slow, Stalled, Steady};
    let groups = (0..3).map(|group| Filtered(format!("campaign/{group}/")));
    let habits = [Steady, Steady, Reconnecting, Reconnecting, Reconnecting, Slow, Slow, Stalled, Latest];
    for habit in habits.into_iter().chain(groups) {
        let mut watcher = Watcher::new(Arc::clone(world), habit);
        watcher.connect().await?;
        tasks.spawn(watcher.run());
    }
    tasks.spawn(read_history(Arc::clone(world)));
    Ok(())
}

struct Watcher {
    world: Arc<World>,
    habit: Habit,
    stream: Option<tonic::Streaming<fuseboard::pb::WatchEventsResponse>>,
    resume_token: String,
    /// The last sequence read.
    last: u64,
    /// True from a resync to the end of its snapshot: what comes next may leave a gap.
    resynced: bool,
    /// Of a filtered watcher.
    sequences: Vec<u64>,
    /// Last sequence by breaker, of a watcher of the latest.
    latest: HashMap<String, u64>,
}

impl Watcher {
    fn new(world: Arc<World>, habit: Habit) -> Self {
        Self {
            world,
            habit,
            stream: None,
            resume_token: String::new(),
            last: 0,
            resynced: false,
            sequences: Vec::new(),
            latest: HashMap::new(),
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let prefixes = match &self.habit {
            Habit::Filtered(prefix) => vec![prefix.clone()],
            _ => Vec::new(),
        };
        let delivery = if self.habit == Habit::Latest { Delivery::Latest } else { Delivery::EveryEvent };
        let request = WatchEventsRequest {
            filter: Some(WatchFilter { prefixes, ..WatchFilter::default() }),
            resume_token: self.resume_token.clone(),
            delivery: delivery.into(),
            skip_snapshot: true,
            ..WatchEventsRequest::default()
        };
        bump(&self.world.counters().watches);
        self.stream = Some(self.world.service().await?.watch_events(request).await?.into_inner());
        Ok(())
    }

    async fn run(mut self) -> Result<()> {
        while !self.is_done() {
            if self.stream.is_none() {
                self.connect().await?;
            }
            self.read_for(self.patience()).await?;
            match self.habit {
                Habit::Reconnecting | Habit::Filtered(_) if !self.world.is_stopped() => {
                    self.stream = None;
                    time::sleep(up_to(PAUSE_MAX)).await;
                }
                Habit::Stalled if !self.world.is_stopped() => time::sleep(STALL).await,
                _ => {}
            }
        }
        self.check_at_end()
    }

    /// How long to read before the habit does what it does.
    fn patience(&self) -> Duration {
        match self.habit {
            Habit::Steady | Habit::Slow | Habit::Latest => Duration::from_secs(3_600),
            Habit::Reconnecting | Habit::Filtered(_) => up_to(STREAM_MAX),
            Habit::Stalled => Duration::from_secs(2),
        }
    }

    fn is_done(&self) -> bool {
        self.world.target().is_some_and(|target| match &self.habit {
            // Events of other groups do not reach it; its own newest does.
            Habit::Filtered(prefix) => {
                let all = self.world.history.matching(target, |breaker| breaker.starts_with(prefix.as_str()));
                all.last().is_none_or(|newest| self.last >= *newest) && self.world.history.len() >= target
            }
            _ => self.last >= target,
        })
    }

    async fn read_for(&mut self, patience: Duration) -> Result<()> {
        let until = time::Instant::now() + patience;
        while time::Instant::now() < until && !self.is_done() {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let Ok(message) = time::timeout(LOOK_UP, stream.message()).await else { continue };
            let Some(response) = message? else {
                self.stream = None;
                return Ok(());
            };
            if response.resume_token.is_empty() {
                self.wrong("got a message without a resume token");
            }
            self.resume_token = response.resume_token;
            match response.message {
                Some(Message::Event(event)) => self.heard(&event),
                Some(Message::Resync(resync)) => {
                    bump(&self.world.counters().resyncs);
                    self.resynced = true;
                    let may_lose = matches!(self.habit, Habit::Slow | Habit::Stalled);
                    // Too old is its token where the stream came to its age while the reader was far behind.
                    let told_why = matches!(resync.reason(), ResyncReason::SlowReader | ResyncReason::TokenTooOld);
                    if !may_lose || !told_why || resync.lost_events == 0 {
                        self.wrong(&format!("got {resync:?}"));
                    }
                }
                Some(Message::Snapshot(_)) if !self.resynced => self.wrong("got a snapshot that it did not ask for"),
                Some(Message::Snapshot(_) | Message::Progress(_)) => {}
                Some(Message::Goodbye(_)) => {
                    self.stream = None;
                    return Ok(());
                }
                None => self.wrong("got an empty message"),
            }
            if self.habit == Habit::Slow && !self.world.is_stopped() {
                time::sleep(SLOW_READ).await;
            }
        }
        Ok(())
    }

    fn heard(&mut self, event: &Event) {
        let sequence = event.sequence;
        if !self.world.history.observe(event) {
            self.wrong(&format!("heard another event {sequence} than somebody else"));
        }
        match &self.habit {
            Habit::Latest => {
                self.latest.insert(event.breaker.clone(), sequence);
            }
            Habit::Filtered(prefix) if !event.breaker.starts_with(prefix.as_str()) => {
                self.wrong(&format!("heard of {}", event.breaker));
            }
            Habit::Filtered(_) => self.sequences.push(sequence),
            _ if !self.resynced && sequence != self.last + 1 => {
                self.wrong(&format!("heard {sequence} after {}", self.last));
            }
            _ => {}
        }
        if sequence <= self.last {
            self.wrong(&format!("heard {sequence} after {}", self.last));
        }
        self.last = sequence;
        self.resynced = false;
    }

    fn check_at_end(&self) -> Result<()> {
        let history = &self.world.history;
        let target = self.world.target().unwrap_or_default();
        if let Habit::Filtered(prefix) = &self.habit {
            let heard: Vec<u64> = self.sequences.iter().copied().filter(|sequence| *sequence <= target).collect();
            if heard != history.matching(target, |breaker| breaker.starts_with(prefix.as_str())) {
                self.wrong("did not hear every event of its breakers");
            }
        }
        if self.habit == Habit::Latest {
            for breaker in (0..crate::world::BREAKERS).map(key) {
                let newest = history.newest_of(&breaker);
                if newest <= target && self.latest.get(&breaker).copied().unwrap_or_default() != newest {
                    self.wrong(&format!("did not hear the latest of {breaker}"));
                }
            }
        }
        Ok(())
    }

    fn wrong(&self, what: &str) {
        self.world.violation(format!("the {:?} watcher {what}", self.habit));
    }
}

/// A random time.
fn up_to(max: Duration) -> Duration {
    max.mul_f64(rand::rng().random())
}

/// Reads the history as an operator does, page by page, and compares.
async fn read_history(world: Arc<World>) -> Result<()> {
    let mut operator = world.operator().await?;
    let (mut last, mut start_time) = (0, None);
    while world.target().is_none_or(|target| last < target) {
        time::sleep(HISTORY_EVERY).await;
        let mut request = ListEventsRequest { start_time, page_size: 1_000, ..ListEventsRequest::default() };
        loop {
            let page = operator.list_events(request.clone()).await?.into_inner();
            for event in page.events {
                if event.sequence <= last {
                    continue; // Of the same instant as the last one of the page before.
                }
                if event.sequence != last + 1 {
                    world.violation(format!("the history has {} after {last}", event.sequence));
                }
                if !world.history.observe(&event) {
                    world.violation(format!("the history tells another event {}", event.sequence));
                }
                last = event.sequence;
                start_time = event.event_time;
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
    }
    Ok(())
}
