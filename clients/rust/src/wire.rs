//! Between the protocol's messages and the client's own values.

use std::time::{Duration, SystemTime};

/// A message's duration; a negative one is none.
pub(crate) fn duration(message: prost_types::Duration) -> Duration {
    message.try_into().unwrap_or_default()
}

/// A duration as a message.
pub(crate) fn message(duration: Duration) -> prost_types::Duration {
    // Only durations of more than 292 billion years do not fit.
    duration.try_into().unwrap_or_default()
}

/// A message's instant; none where it is absent or before 1970.
pub(crate) fn time(message: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    message.and_then(|message| message.try_into().ok())
}
