//! How long an open period lasts.
//!
//! `open_duration` x `multiplier` ^ failed recoveries, at most the ceiling; jitter then draws evenly from the last
//! `jitter` share of it, so a period is never longer than the policy gives, nor shorter than `open_duration_min`. A retry-after of the dependency is a floor.

use std::time::Duration;

use super::policy::Policy;

/// Shortest retry-after of a rejection.
pub const RETRY_AFTER_MIN: Duration = Duration::from_millis(10);
/// Longest retry-after of a rejection for want of a free probe.
pub const RETRY_AFTER_PROBE_MAX: Duration = Duration::from_secs(1);
/// Longest retry-after of a rejection by an override.
pub const RETRY_AFTER_FORCED_MAX: Duration = Duration::from_secs(30);

/// The open period after so many failed recoveries in a row.
pub(super) fn open_period(policy: &Policy, failed_recoveries: u32, random: u64) -> Duration {
    let Some(backoff) = policy.open_backoff else { return policy.open_duration };
    let ceiling = backoff.max_duration.as_secs_f64();
    let growth = backoff.multiplier.powi(i32::try_from(failed_recoveries).unwrap_or(i32::MAX));
    // An infinite product is above every ceiling.
    let grown = (policy.open_duration.as_secs_f64() * growth).min(ceiling);
    let period = grown * backoff.jitter.mul_add(-unit(random), 1.0);
    Duration::from_secs_f64(period).max(policy.open_duration_min)
}

/// What a rejected caller is told: never below the minimum, and for a named caller a little more, so that callers do
/// not come back together. The addition is up to a tenth of the time and at most 1 s, and the same for a caller as long
/// as the generation lasts.
pub(super) fn retry_after(left: Duration, caller: u64, generation: u64) -> Duration {
    let left = left.max(RETRY_AFTER_MIN);
    if caller == 0 {
        return left;
    }
    let spread = (left / 10).min(Duration::from_secs(1));
    left + spread.mul_f64(unit(mix(caller ^ generation.rotate_left(32))))
}

/// A number in [0, 1) from the upper bits of a random one.
fn unit(random: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let bits = (random >> 11) as f64;
    bits / (1_u64 << 53) as f64
}

/// What splitmix64 makes of a state (Steele, Lea and Flood, 2014).
pub(crate) const fn mix(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::policy::BackoffSpec;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff(multiplier: f64, jitter: f64, max_seconds: u64) -> Policy {
        let max_duration = Duration::from_secs(max_seconds);
        let open_backoff = Some(BackoffSpec { multiplier, jitter, max_duration });
        Policy { open_duration: 10 * SECOND, open_backoff, open_duration_min: SECOND / 10, ..Policy::default() }
    }

    #[test]
    fn an_open_period_grows_with_failed_recoveries_up_to_its_ceiling() {
        let policy = backoff(2.0, 0.0, 100);
        let periods = [0, 1, 2, 3, 4, u32::MAX].map(|failed| open_period(&policy, failed, u64::MAX).as_secs());
        assert_eq!(periods, [10, 20, 40, 80, 100, 100]);
        let plain = Policy { open_backoff: None, ..policy };
        assert_eq!(open_period(&plain, 9, u64::MAX), 10 * SECOND);
    }

    #[test]
    fn jitter_draws_from_the_last_share_of_a_period_and_never_below_the_floor() {
        let policy = backoff(2.0, 0.5, 100);
        assert_eq!(open_period(&policy, 1, 0), 20 * SECOND, "never longer than the policy gives");
        assert_eq!(open_period(&policy, 1, 1 << 63), 15 * SECOND);
        let shortest = open_period(&policy, 1, u64::MAX);
        assert!(shortest >= 10 * SECOND && shortest < 10 * SECOND + SECOND / 1_000, "{shortest:?}");
        for open_duration_min in [SECOND / 1_000, SECOND, 9 * SECOND, 10 * SECOND] {
            let policy = Policy { open_duration_min, ..backoff(1.0, 1.0, 10) };
            assert_eq!(open_period(&policy, 0, u64::MAX), open_duration_min);
            for number in 0..1_000 {
                let period = open_period(&policy, 0, mix(number));
                assert!(period >= open_duration_min && period <= 10 * SECOND, "{period:?} of {open_duration_min:?}");
            }
        }
    }

    #[test]
    fn callers_are_told_to_come_back_at_different_times() {
        assert_eq!(retry_after(20 * SECOND, 0, 7), 20 * SECOND);
        assert_eq!(retry_after(Duration::ZERO, 0, 7), RETRY_AFTER_MIN);
        for caller in 1..1_000 {
            for (left, most) in [(SECOND, SECOND / 10), (20 * SECOND, SECOND)] {
                let told = retry_after(left, caller, 7);
                assert!(told >= left && told < left + most, "{told:?}");
                assert_eq!(told, retry_after(left, caller, 7), "the same as long as the generation lasts");
            }
        }
        let far = (1..1_000).filter(|caller| retry_after(20 * SECOND, *caller, 7) > 20 * SECOND + SECOND / 2).count();
        assert!((400..600).contains(&far), "{far} of 1,000 in the later half");
        assert_ne!(retry_after(20 * SECOND, 1, 7), retry_after(20 * SECOND, 1, 8));
        assert_ne!(retry_after(20 * SECOND, 1, 7), retry_after(20 * SECOND, 2, 7));
    }

    #[test]
    fn a_number_in_the_unit_interval_is_the_upper_bits_of_a_random_one() {
        assert_eq!([0, 1 << 62, 1 << 63].map(unit), [0.0, 0.25, 0.5]);
        assert!(unit(u64::MAX) < 1.0 && unit(u64::MAX) > 0.999_999);
    }

    #[test]
    fn mixing_is_splitmix64() {
        // The first two numbers of the generator that starts at 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }
}
