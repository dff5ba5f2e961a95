//! How an event is written for its receiver.

use serde_json::{Value, json};

use crate::{
    breaker::Timestamp,
    engine::{Engine, Event},
    grpc::event_json,
};

/// What a receiver understands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// CloudEvents 1.0, structured JSON; `data` is the event as the API has it.
    #[default]
    CloudEvents,
    /// Slack's incoming webhooks, and those that take the same: `{"text": …}`.
    Slack,
}

impl Shape {
    /// Its name, as the configuration has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CloudEvents => "cloudevents",
            Self::Slack => "slack",
        }
    }

    /// The type of its messages.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::CloudEvents => "application/cloudevents+json",
            Self::Slack => "application/json",
        }
    }
}

/// One message to a receiver.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The same for every attempt, so that a receiver can tell a repetition.
    pub(super) id: String,
    pub(super) body: String,
}

/// An event.
pub(super) fn event(shape: Shape, engine: &Engine, event: &Event) -> Message {
    let id = format!("{:016x}-{}", engine.history(), event.sequence);
    let body = match shape {
        Shape::CloudEvents => {
            let data = event_json(event);
            cloud_event(&id, event.kind.name(), Some(&event.key), event.at, &data)
        }
        Shape::Slack => json!({ "text": slack(event) }),
    };
    Message { id, body: body.to_string() }
}

/// So many events were lost before they could be sent.
pub(super) fn lost(shape: Shape, engine: &Engine, sequence: u64, lost: u64) -> Message {
    let id = format!("{:016x}-{sequence}-lost", engine.history());
    let body = match shape {
        Shape::CloudEvents => cloud_event(&id, "events_lost", None, engine.now(), &json!({ "lost": lost })),
        Shape::Slack => json!({ "text": format!("Fuseboard: {lost} events were lost before they could be told here") }),
    };
    Message { id, body: body.to_string() }
}

/// A message that says it is a test.
pub(super) fn test(shape: Shape, now: Timestamp) -> Message {
    let id = format!("test-{:016x}", rand::random::<u64>());
    let body = match shape {
        Shape::CloudEvents => cloud_event(&id, "test", None, now, &json!({})),
        Shape::Slack => json!({ "text": "Fuseboard: this is a test" }),
    };
    Message { id, body: body.to_string() }
}

fn cloud_event(id: &str, kind: &str, subject: Option<&str>, at: Timestamp, data: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": id,
        "source": "/fuseboard",
        "type": format!("fuseboard.{kind}"),
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Some(subject) = subject {
        event["subject"] = subject.into();
    }
    event
}

/// A line for people. What strangers wrote must not be a link or call anybody: Slack reads `&`, `<` and `>`.
fn slack(event: &Event) -> String {
    let quiet = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let sign = match event.kind.name() {
        "opened" | "caller_isolated" => ":red_circle:",
        "half_opened" | "caller_half_opened" => ":large_yellow_circle:",
        "closed" | "caller_restored" | "reset" => ":large_green_circle:",
        _ => ":information_source:",
    };
    let mut line = format!("{sign} *{}* {}", quiet(&event.key), event.kind.name().replace('_', " "));
    if event.moves > 1 {
        line.push_str(&format!(" ×{}", event.moves));
    }
    let reason = event.reason.name();
    if !matches!(reason, "requested" | "unspecified") {
        line.push_str(&format!(" ({})", reason.replace('_', " ")));
    }
    if let Some(caller) = event.scope.as_ref().and(event.caller.as_deref()) {
        line.push_str(&format!(", caller {}", quiet(caller)));
    }
    if !event.actor.is_empty() {
        line.push_str(&format!(", by {}", quiet(&event.actor)));
    }
    if !event.comment.is_empty() {
        line.push_str(&format!(": {}", quiet(&event.comment)));
    }
    line
}
