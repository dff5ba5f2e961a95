//! Time as the breaker sees it: an argument, never read here.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant of the server's clock, in nanoseconds since the Unix epoch. It reaches to the year 2554.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant so many nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant `duration` later. Saturates at [`Timestamp::NEVER`], so that huge durations do not wrap around.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The instant `duration` earlier, at the earliest the epoch.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// How long after `earlier` this is; zero where it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant, or `None` where it never comes.
    #[must_use]
    pub fn ever(self) -> Option<Self> {
        (self != Self::NEVER).then_some(self)
    }
}

/// Nanoseconds, but for people a date or `never`.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_u64(self.0);
        }
        match self.ever() {
            Some(at) => serializer.collect_str(&humantime::format_rfc3339(UNIX_EPOCH + Duration::from_nanos(at.0))),
            None => serializer.serialize_str("never"),
        }
    }
}

/// What it was written as.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        if text == "never" {
            return Ok(Self::NEVER);
        }
        let since = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?.duration_since(UNIX_EPOCH);
        let nanos = since.ok().and_then(|since| u64::try_from(since.as_nanos()).ok());
        nanos.map(Self).ok_or_else(|| D::Error::custom("an instant from 1970 to 2554 is needed"))
    }
}

/// What every input of the breaker is given: the time, and a number nobody can guess.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The server's time. Never less than in an earlier input.
    pub now: Timestamp,
    /// A fresh random number. Used for jitter alone.
    pub random: u64,
}

pub(crate) const fn nanos(duration: Duration) -> u64 {
    // Not by `as_nanos`: its 128 bits cost more than all the rest of a call's arithmetic.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// A span of time, in the unit that people would say it in.
pub(crate) fn readable(duration: Duration) -> String {
    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    let seconds = duration.as_secs();
    match duration.subsec_nanos() {
        0 if seconds == 0 => "0".to_owned(),
        0 if seconds > DAY && seconds.is_multiple_of(DAY) => format!("{} days", seconds / DAY),
        0 if seconds >= HOUR && seconds.is_multiple_of(HOUR) => format!("{} h", seconds / HOUR),
        0 => format!("{seconds} s"),
        _ => format!("{duration:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_the_unit_of_people() {
        let said = [
            (0, "0"),
            (1, "1 s"),
            (3_599, "3599 s"),
            (3_600, "1 h"),
            (3_601, "3601 s"),
            (7_200, "2 h"),
            (86_400, "24 h"),
            (90_000, "25 h"),
            (90_001, "90001 s"),
            (172_800, "2 days"),
        ];
        for (seconds, text) in said {
            assert_eq!(readable(Duration::from_secs(seconds)), text);
        }
        assert_eq!(readable(Duration::from_millis(500)), "500ms");
        assert_eq!(readable(Duration::from_millis(3_600_500)), "3600.5s");
    }

    #[test]
    fn instants_saturate_at_both_ends() {
        let at = Timestamp::from_nanos(5_000_000_007);
        assert_eq!(at.after(Duration::new(1, 2)), Timestamp::from_nanos(6_000_000_009));
        assert_eq!(at.before(Duration::new(1, 2)), Timestamp::from_nanos(4_000_000_005));
        assert_eq!(at.since(Timestamp::from_nanos(7)), Duration::from_secs(5));
        assert_eq!(at.since(at.after(Duration::from_nanos(1))), Duration::ZERO);
        assert_eq!(at.before(Duration::from_secs(6)), Timestamp::default());
        assert_eq!(at.after(Duration::MAX), Timestamp::NEVER);
        assert_eq!((at.ever(), Timestamp::NEVER.ever()), (Some(at), None));
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }

    #[test]
    fn an_instant_is_read_as_it_was_written_for_people_and_for_files() {
        for nanos in [0, 1, 1_577_836_800_123_456_789, u64::MAX - 1, u64::MAX] {
            let at = Timestamp::from_nanos(nanos);
            assert_eq!(serde_json::from_str::<Timestamp>(&serde_json::to_string(&at).unwrap()).unwrap(), at);
            assert_eq!(postcard::from_bytes::<Timestamp>(&postcard::to_allocvec(&at).unwrap()).unwrap(), at);
        }
        for text in ["\"soon\"", "\"1969-12-31T23:59:59Z\"", "1"] {
            assert!(serde_json::from_str::<Timestamp>(text).is_err(), "{text}");
        }
    }
}
