//! Follows what happens to the client's breakers. One task decides; each stream has one that reads.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::{debug, info};

use crate::{Event, channel::Retry, core::Core, pb, pb::watch_events_response::Message, shared::Shared, wire};

/// How long the watch waits for more breakers before it is opened for new ones.
const GATHER_KEYS: Duration = Duration::from_millis(10);

/// A stream that is followed.
struct Following {
    number: u64,
    breakers: Arc<Vec<Arc<Core>>>,
    /// It goes on from a token, without a snapshot.
    is_resumed: bool,
    _reader: AbortOnDropHandle<()>,
}

/// A message of a stream, or its end.
type Heard = (u64, Result<Option<pb::WatchEventsResponse>, Status>);

struct Watch {
    shared: Arc<Shared>,
    inbox: mpsc::Sender<Heard>,
    opened: u64,
    /// The stream that is believed.
    current: Option<Following>,
    /// One that has not spoken yet, and takes its place when it does.
    next: Option<Following>,
    token: String,
    retry: Retry,
    has_worked: bool,
    /// When `next` is to be opened.
    open_at: Option<Instant>,
    /// When the watch has been silent for too long.
    silent_at: Option<Instant>,
}

/// Follows until the task is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (inbox, mut heard) = mpsc::channel(1);
    let mut watch = Watch {
        shared: Arc::clone(&shared),
        inbox,
        opened: 0,
        current: None,
        next: None,
        token: String::new(),
        retry: Retry::default(),
        has_worked: false,
        open_at: None,
        silent_at: None,
    };
    loop {
        tokio::select! {
            () = shared.uncovered.notified() => watch.open_soon(),
            () = at(watch.open_at) => watch.open(),
            () = at(watch.silent_at) => watch.dial_anew(),
            Some((number, message)) = heard.recv() => watch.hear(number, message),
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

impl Watch {
    fn open_soon(&mut self) {
        if self.next.is_none() && self.open_at.is_none() {
            self.open_at = Some(Instant::now() + GATHER_KEYS);
        }
    }

    /// How long it may be silent.
    fn silence_max(&self) -> Duration {
        let options = &self.shared.options;
        options.staleness_max().max(options.progress_interval * 2)
    }

    /// Begins a stream for all breakers, from the last token.
    fn open(&mut self) {
        self.open_at = None;
        if self.next.is_some() {
            return;
        }
        if self.current.is_none() {
            self.silent_at = Some(Instant::now() + self.silence_max());
        }
        self.opened += 1;
        let number = self.opened;
        let breakers = self.shared.cores();
        let options = &self.shared.options;
        let request = pb::WatchEventsRequest {
            filter: Some(pb::WatchFilter {
                breakers: breakers.iter().map(|core| core.key.clone()).collect(),
                ..pb::WatchFilter::default()
            }),
            resume_token: self.token.clone(),
            delivery: pb::Delivery::EveryEvent as i32,
            progress_interval: Some(wire::message(options.progress_interval)),
            caller: options.caller.clone(),
            ..pb::WatchEventsRequest::default()
        };
        let (mut api, _) = self.shared.connection.api();
        let inbox = self.inbox.clone();
        let reader = tokio::spawn(async move {
            let mut stream = match api.watch_events(request).await {
                Ok(response) => response.into_inner(),
                Err(status) => return drop(inbox.send((number, Err(status))).await),
            };
            loop {
                let message = stream.message().await;
                let is_end = !matches!(message, Ok(Some(_)));
                if inbox.send((number, message)).await.is_err() || is_end {
                    return;
                }
            }
        });
        let is_resumed = !self.token.is_empty();
        self.next = Some(Following { number, breakers, is_resumed, _reader: AbortOnDropHandle::new(reader) });
    }

    /// Nothing was heard for too long: the connection may be dead without anybody having noticed.
    fn dial_anew(&mut self) {
        debug!("the watch is silent: dialling anew");
        (self.current, self.next, self.silent_at) = (None, None, None);
        self.shared.connection.replace();
        self.open_at = Some(Instant::now() + self.retry.next_delay());
    }

    fn hear(&mut self, number: u64, message: Result<Option<pb::WatchEventsResponse>, Status>) {
        let is = |following: &Option<Following>| following.as_ref().is_some_and(|one| one.number == number);
        if !is(&self.current) && !is(&self.next) {
            return;
        }
        let (token, message) = match message {
            Ok(Some(pb::WatchEventsResponse { resume_token, message: Some(message) })) => (resume_token, message),
            // A kind of message that this client does not know.
            Ok(Some(pb::WatchEventsResponse { message: None, .. })) => return,
            Ok(None) => return self.stream_ended(number, None),
            Err(status) => {
                debug!(%status, "the watch ended");
                return self.stream_ended(number, None);
            }
        };
        if let Message::Goodbye(goodbye) = message {
            return self.stream_ended(number, goodbye.retry_after.map(wire::duration));
        }
        if is(&self.next) {
            self.promote();
        }
        self.shared.heard();
        self.silent_at = Some(Instant::now() + self.silence_max());
        self.token = token;
        match message {
            Message::Snapshot(snapshot) => self.take_snapshot(&snapshot),
            Message::Event(event) => self.take_event(&event),
            Message::Resync(resync) => self.take_resync(resync.lost_events),
            Message::Progress(_) | Message::Goodbye(_) => {}
        }
    }

    /// Sees to it that another stream is opened in the place of one that has ended.
    fn stream_ended(&mut self, number: u64, goodbye: Option<Duration>) {
        if self.current.take_if(|current| current.number == number).is_none() {
            self.next = None;
        }
        if self.next.is_some() {
            return;
        }
        if self.current.is_none() {
            self.silent_at = None;
        }
        self.open_at = Some(Instant::now() + goodbye.unwrap_or_else(|| self.retry.next_delay()));
    }

    /// Makes the stream that has now spoken the one that is believed.
    fn promote(&mut self) {
        if self.current.is_none() && self.has_worked {
            self.shared.reconnects.fetch_add(1, Relaxed);
        }
        self.has_worked = true;
        self.retry.worked();
        self.current = self.next.take();
        let Some(current) = &self.current else { return };
        for core in current.breakers.iter().filter(|core| !core.is_covered()) {
            if current.is_resumed {
                self.shared.apply(core, |view, _| view.doubt());
            }
            core.covered.store(true, Relaxed);
        }
        if current.breakers.len() < self.shared.cores().len() {
            self.open_soon();
        }
    }

    fn take_snapshot(&self, snapshot: &pb::Snapshot) {
        let shared = &self.shared;
        for status in &snapshot.breakers {
            if let Some(core) = shared.find(&status.breaker) {
                shared.apply(&core, |view, now| view.apply_snapshot(status, &shared.options.caller, now));
            }
        }
        for core in snapshot.deleted.iter().filter_map(|key| shared.find(key)) {
            shared.apply(&core, |view, _| view.delete());
        }
    }

    fn take_event(&self, event: &pb::Event) {
        let shared = &self.shared;
        let Some(core) = shared.find(&event.breaker) else { return };
        let mut is_new = false;
        shared.apply(&core, |view, now| is_new = view.apply_event(event, &shared.options.caller, now));
        if let Some(event) = Event::of(event).filter(|_| is_new) {
            shared.publish(event);
        }
    }

    /// Forgets all that is known: a snapshot follows.
    fn take_resync(&self, lost: u64) {
        info!(lost, "events were lost");
        self.shared.resyncs.fetch_add(1, Relaxed);
        for core in &*self.shared.cores() {
            if core.forget() {
                self.shared.refresh_policy(core);
            }
        }
        self.shared.publish(Event::lost(lost));
    }
}
