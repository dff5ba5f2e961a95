//! The audit trail: what operators have changed. An entry is stored in one piece with its change, so neither is there without the
//! other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Actor, Engine,
    events::{Event, EventKind, EventReason},
};
use crate::{
    breaker::{Kind, PolicySpec, Timestamp, transition::Reason},
    store::Refused,
};

/// What was done. It is stored by its number, so a new one goes to the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A breaker was reset.
    Reset,
    /// An override was set.
    OverrideSet,
    /// An override was cleared by somebody, not by its expiry.
    OverrideCleared,
    /// A breaker was deleted.
    BreakerDeleted,
    /// An operator's policy was set.
    PolicySet,
    /// An operator's policy was deleted.
    PolicyDeleted,
    /// A token was made.
    TokenCreated,
    /// A token was revoked.
    TokenRevoked,
    /// An open breaker or an isolated caller was moved to half-open.
    ProbeNow,
    /// What was declared for a breaker was deleted.
    DeclarationDeleted,
}

impl Action {
    /// As the API names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::ProbeNow => "probe_now",
            Self::OverrideSet => "override_set",
            Self::OverrideCleared => "override_cleared",
            Self::BreakerDeleted => "breaker_deleted",
            Self::PolicySet => "policy_set",
            Self::PolicyDeleted => "policy_deleted",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::DeclarationDeleted => "declaration_deleted",
        }
    }
}

/// One change by an operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its place in the trail, from 1 on; the store gives it.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Box<str>,
    /// What was done.
    pub action: Action,
    /// To which breaker, policy or token.
    pub target: Arc<str>,
    /// In which words.
    pub reason: Box<str>,
    /// What it is now, in short.
    pub detail: Box<str>,
}

impl AuditEntry {
    /// What somebody does now.
    pub(super) fn new(at: Timestamp, actor: Actor<'_>, action: Action, target: &Arc<str>, detail: String) -> Self {
        Self {
            sequence: 0,
            at,
            actor: actor.name.into(),
            action,
            target: Arc::clone(target),
            reason: actor.comment.into(),
            detail: detail.into(),
        }
    }

    /// Writes it to the log output.
    pub(super) fn log(&self) {
        tracing::info!(
            target: "audit",
            sequence = self.sequence,
            // As strings, which are quoted: none can look like another field.
            actor = &*self.actor,
            subject = &*self.target,
            reason = &*self.reason,
            detail = &*self.detail,
            "{}",
            self.action.name(),
        );
    }

    /// The audit entry of an event that an operator requested; `None` for any other event.
    pub(super) fn of(event: &Event) -> Option<Self> {
        if event.reason != EventReason::Breaker(Reason::Requested) {
            return None;
        }
        let action = match event.kind {
            EventKind::Moved(Kind::Reset) => Action::Reset,
            EventKind::Moved(Kind::HalfOpened | Kind::CallerHalfOpened) => Action::ProbeNow,
            EventKind::Deleted => Action::BreakerDeleted,
            // A policy has an entry of its own, whatever breakers follow it. So has an override: its event does not name its id.
            EventKind::Moved(_) => return None,
        };
        let detail = match action {
            Action::ProbeNow => event.scope.and_then(|scope| event.name(scope.caller)).unwrap_or_default(),
            _ => "",
        };
        let actor = Actor { name: &event.actor, comment: &event.comment };
        Some(Self::new(event.at, actor, action, &event.key, detail.to_owned()))
    }
}

impl Engine {
    /// At most `max` entries of the audit trail before a sequence, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn audit(&self, before: u64, max: usize) -> Result<Vec<AuditEntry>, super::Error> {
        let unreadable = |refused: Refused| super::Error::Store { why: refused.to_string() };
        self.shared.store.audit(before, max).await.map_err(unreadable)
    }
}

/// The fields that a policy sets, in short.
pub(super) fn brief(spec: &PolicySpec) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(spec) else { return String::new() };
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    fields.map(|(name, value)| format!("{name} {}", short(&value))).collect::<Vec<_>>().join(", ")
}

/// A value as people write it.
fn short(value: &Value) -> String {
    let part = |name: &str| value.get(name).and_then(Value::as_u64);
    if let (Some(seconds), Some(Ok(nanos))) = (part("secs"), part("nanos").map(u32::try_from)) {
        return humantime::format_duration(std::time::Duration::new(seconds, nanos)).to_string();
    }
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name} {}", short(value))).collect::<Vec<_>>().join(" ")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
