//! `WatchEvents`: a watcher's messages, as a stream that the transport pulls when the reader has room.
//!
//! A stream's age and silence are measured in real time, also where the server's clock is a manual one: they are about the
//! connection, not about breakers.

#![expect(clippy::disallowed_methods, reason = "a stream's age and silence pass in real time")]

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, stream};
use rand::Rng as _;
use tokio::time::Instant;
use tonic::Status;

use super::{
    convert, pb,
    service::{Context, to_event, to_status},
    token::ResumeToken,
};
use crate::{
    access::Grant,
    engine::{Message, ResyncReason, Watch},
};

/// The stream of a watch.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<pb::WatchEventsResponse, Status>> + Send>>;

/// Resolves when a stream should end.
pub(super) type Goodbye = Pin<Box<dyn Future<Output = pb::Goodbye> + Send>>;

/// Waits until a stream should end, and says why and when to come back: not all at once.
///
/// Whoever is nobody any more is told the same as one whose stream is old, and learns the rest when it comes back.
pub(super) fn goodbye(context: &Context, grant: &Grant) -> Goodbye {
    let shutdown = context.shutdown.clone();
    let mut age = context.stream_max_age.mul_f64(rand::rng().random_range(0.9..=1.0));
    let identity = match grant {
        Grant::Everything => None,
        Grant::Of(identity) => Some(Arc::clone(identity)),
    };
    if let Some(identity) = &identity {
        age = age.min(identity.expires.since(context.engine.now()));
    }
    Box::pin(async move {
        let ended = async {
            match identity {
                Some(identity) => identity.ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            () = shutdown.drained() => pb::GoodbyeReason::Draining,
            () = tokio::time::sleep(age) => pb::GoodbyeReason::MaxAge,
            () = ended => pb::GoodbyeReason::MaxAge,
        };
        let longest = if reason == pb::GoodbyeReason::Draining { 2_000 } else { 200 };
        let retry_after = Duration::from_millis(rand::rng().random_range(10..=longest));
        pb::Goodbye { reason: reason as i32, retry_after: Some(convert::to_duration(retry_after)) }
    })
}

struct State {
    watch: Watch,
    goodbye: Goodbye,
    progress_interval: Duration,
    /// When the last message was sent.
    sent: Instant,
    over: bool,
}

pub(super) fn event_stream(watch: Watch, context: &Context, grant: &Grant, progress_interval: Duration) -> EventStream {
    let state = State { watch, goodbye: goodbye(context, grant), progress_interval, sent: Instant::now(), over: false };
    Box::pin(stream::unfold(state, |mut state| async move {
        let response = state.next().await?;
        Some((Ok(response), state))
    }))
}

impl State {
    async fn next(&mut self) -> Option<pb::WatchEventsResponse> {
        if self.over {
            return None;
        }
        let message = loop {
            // Before looking for a message: a reader that always finds one would never be told.
            if let Some(goodbye) = (&mut self.goodbye).now_or_never() {
                break self.end(goodbye);
            }
            if let Some(message) = self.watch.next().await {
                break self.to_message(message);
            }
            tokio::select! {
                () = self.watch.changed() => {}
                () = tokio::time::sleep_until(self.sent + self.progress_interval) => break self.to_message(Message::Progress),
                goodbye = &mut self.goodbye => break self.end(goodbye),
            }
        };
        self.sent = Instant::now();
        let resume_token = ResumeToken::from(self.watch.position()).encode();
        Some(pb::WatchEventsResponse { resume_token, message: Some(message) })
    }

    const fn end(&mut self, goodbye: pb::Goodbye) -> pb::watch_events_response::Message {
        self.over = true;
        pb::watch_events_response::Message::Goodbye(goodbye)
    }

    fn to_message(&self, message: Message) -> pb::watch_events_response::Message {
        use pb::watch_events_response::Message as Sent;
        let now = self.watch.now();
        match message {
            Message::Event(event) => Sent::Event(to_event(&event)),
            Message::Snapshot { entries, deleted, complete } => Sent::Snapshot(pb::Snapshot {
                breakers: entries.iter().map(|entry| to_status(self.watch.engine(), entry)).collect(),
                deleted: deleted.iter().map(|key| key.as_ref().to_owned()).collect(),
                complete,
            }),
            Message::Progress => Sent::Progress(pb::Progress { now: Some(convert::to_timestamp(now)) }),
            Message::Resync { reason, lost } => {
                Sent::Resync(pb::Resync { reason: to_resync_reason(reason) as i32, lost_events: lost })
            }
        }
    }
}

const fn to_resync_reason(reason: ResyncReason) -> pb::ResyncReason {
    match reason {
        ResyncReason::TooOld => pb::ResyncReason::TokenTooOld,
        ResyncReason::OtherHistory => pb::ResyncReason::OtherHistory,
        ResyncReason::FromFuture => pb::ResyncReason::TokenFromFuture,
        ResyncReason::SlowReader => pb::ResyncReason::SlowReader,
    }
}
