//! Events, each once and in order, over reconnects.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::{
    StreamExt as _,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};

use crate::{EventKind, State, pb, wire};

/// Events that are kept for slow subscriptions. Past that, a subscription loses the oldest and is told how many.
pub(crate) const EVENTS_KEPT: usize = 1024;

/// One thing that happened to a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The breaker's key. Empty for [`EventKind::Lost`].
    pub breaker: String,
    /// Its place in the server's event log.
    pub sequence: u64,
    /// The breaker's generation after it.
    pub generation: u64,
    /// The state before; for a caller's events, of that caller's scope.
    pub from: Option<State>,
    /// The state after it.
    pub to: Option<State>,
    /// Whose scope moved. Empty: the breaker moved, or the caller gave no name.
    pub caller: String,
    /// Who asked for it. Empty: the breaker moved by itself.
    pub actor: String,
    /// Why it was asked for.
    pub comment: String,
    /// The server's time.
    pub time: Option<SystemTime>,
    /// How many moves this event stands for: a burst of the same move is told as one event, the last of them. 1 for one move.
    pub count: u64,
    /// When the first move of the burst happened; `time` where it was one move.
    pub first_time: Option<SystemTime>,
    /// How many events were lost, for [`EventKind::Lost`]; 0 where it cannot be known.
    pub lost: u64,
}

impl Event {
    /// None for a kind that this client does not know.
    pub(crate) fn of(event: &pb::Event) -> Option<Self> {
        let status = event.status.as_ref();
        Some(Self {
            kind: EventKind::from_wire(event.kind)?,
            breaker: event.breaker.clone(),
            sequence: event.sequence,
            generation: event.generation,
            from: State::from_wire(event.from),
            to: State::from_wire(event.to),
            caller: status.and_then(|status| status.caller.as_ref()).map_or_else(String::new, |c| c.caller.clone()),
            actor: event.actor.clone(),
            comment: event.comment.clone(),
            time: wire::time(event.event_time),
            count: event.count.max(1),
            first_time: wire::time(event.first_event_time.or(event.event_time)),
            lost: 0,
        })
    }

    pub(crate) const fn lost(lost: u64) -> Self {
        Self {
            kind: EventKind::Lost,
            breaker: String::new(),
            sequence: 0,
            generation: 0,
            from: None,
            to: None,
            caller: String::new(),
            actor: String::new(),
            comment: String::new(),
            time: None,
            count: 1,
            first_time: None,
            lost,
        }
    }
}

/// Events of one breaker, or of all of a client's, from when it was made: a stream that ends when the client closes.
/// Nothing waits for its reader: 1,024 events are kept for it, and past that an [`EventKind::Lost`] says how many it missed.
#[derive(Debug)]
pub struct Subscription {
    /// None: of all breakers.
    key: Option<String>,
    events: Option<BroadcastStream<Event>>,
}

impl Subscription {
    pub(crate) fn new(key: Option<String>, events: Option<&broadcast::Sender<Event>>) -> Self {
        Self { key, events: events.map(|events| BroadcastStream::new(events.subscribe())) }
    }

    /// The next event; none once the client has closed.
    pub async fn recv(&mut self) -> Option<Event> {
        self.next().await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let Self { key, events } = &mut *self;
        let Some(events) = events else { return Poll::Ready(None) };
        loop {
            let event = match std::task::ready!(Pin::new(&mut *events).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Ok(event)) => event,
                Some(Err(BroadcastStreamRecvError::Lagged(lost))) => Event::lost(lost),
            };
            if event.kind == EventKind::Lost || key.as_ref().is_none_or(|key| *key == event.breaker) {
                return Poll::Ready(Some(event));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_moves_is_one_event_with_its_count_and_the_time_of_the_first() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let one = pb::Event { kind: 1, event_time: at(9), ..pb::Event::default() };
        let event = Event::of(&one).expect("a known kind");
        assert_eq!((event.count, event.first_time), (1, event.time));
        let burst = pb::Event { count: 7, first_event_time: at(8), ..one };
        let event = Event::of(&burst).expect("a known kind");
        assert_eq!((event.count, event.first_time), (7, wire::time(at(8))));
        assert!(event.first_time < event.time);
    }
}
