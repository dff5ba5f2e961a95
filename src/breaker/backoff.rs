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

    #[test]
    fn mixing_is_splitmix64() {
        // The first two numbers of the generator that starts at 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }
}
