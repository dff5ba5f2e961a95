//! The policy of breakers that flap: every step of a millisecond moves them.

use std::time::Duration;

use fuseboard::breaker::PolicySpec;

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// One failure opens it for a millisecond.
pub(crate) fn flapping() -> PolicySpec {
    PolicySpec {
        failure_threshold: Some(1),
        open_duration: Some(MILLISECOND),
        open_duration_min: Some(MILLISECOND),
        ..PolicySpec::default()
    }
}
