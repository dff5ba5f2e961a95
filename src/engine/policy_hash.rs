//! Whether a policy is the one that a stored record was written under.

use std::{num::NonZeroU32, time::Duration};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    breaker::{
        Policy, PolicySpec,
        policy::{BackoffSpec, ExpiredPermit, Ratio, WindowSpec},
    },
    store::PolicyHash,
};

/// The hash that records are stored with: of each field that differs from the built-in policy, by name, so that neither a
/// new field nor the order of fields changes it.
pub(super) fn policy_hash(policy: &Policy) -> u64 {
    let built_in = PolicySpec::from(&Policy::default());
    let differences = PolicySpec::from(policy).unlike(&built_in);
    let mut fields = match serde_json::to_value(&differences) {
        Ok(serde_json::Value::Object(fields)) => fields.into_iter().collect(),
        _ => Vec::new(),
    };
    fields.retain(|(_, value)| !value.is_null());
    fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let lines = fields.iter().map(|(name, value)| format!("{name}={value}\n"));
    xxh3_64(lines.collect::<String>().as_bytes())
}

/// Whether a stored hash is that of this policy, whose own hash is `hash`.
pub(super) fn is_hash_of(stored: PolicyHash, policy: &Policy, hash: u64) -> bool {
    match stored {
        PolicyHash::OfDifferences(stored) => stored == hash,
        PolicyHash::OfFormat1(stored) => format_1::hash(policy) == Some(stored),
    }
}

/// The hash as format 1 made it.
mod format_1 {
    use super::{BackoffSpec, Duration, ExpiredPermit, NonZeroU32, Ratio, WindowSpec, xxh3_64};

    /// The policy of that time. Its `Debug` text, with the type's name and the fields in this order, was hashed.
    #[derive(Debug)]
    #[expect(dead_code, reason = "read by Debug")]
    struct Policy {
        failure_threshold: Option<NonZeroU32>,
        monitoring_period: Option<Duration>,
        failure_count_threshold: Option<NonZeroU32>,
        failure_rate_threshold: Option<Ratio>,
        slow_call_duration: Option<Duration>,
        slow_call_rate_threshold: Option<Ratio>,
        slow_call_minimum_calls: u32,
        window: WindowSpec,
        minimum_calls: u32,
        open_duration: Duration,
        open_backoff: Option<BackoffSpec>,
        probes: u32,
        successes_to_close: u32,
        failures_to_reopen: u32,
        half_open_max_duration: Option<Duration>,
        retry_after_max: Duration,
        lease: Duration,
        expired_probe: ExpiredPermit,
        expired_permit: ExpiredPermit,
        min_callers: u32,
        share: f64,
    }

    /// `None` where the policy sets a field that was not there then.
    pub(super) fn hash(policy: &super::Policy) -> Option<u64> {
        let super::Policy {
            failure_threshold,
            monitoring_period,
            failure_count_threshold,
            failure_rate_threshold,
            slow_call_duration,
            slow_call_rate_threshold,
            slow_call_minimum_calls,
            window,
            minimum_calls,
            open_duration,
            open_backoff,
            probes,
            successes_to_close,
            failures_to_reopen,
            half_open_max_duration,
            retry_after_max,
            lease,
            expired_probe,
            expired_permit,
            min_callers,
            share,
            voters,
            trip_on,
            open_duration_min,
        } = *policy;
        let built_in = super::Policy::default();
        if (voters, trip_on, open_duration_min) != (built_in.voters, built_in.trip_on, built_in.open_duration_min) {
            return None;
        }
        let policy = Policy {
            failure_threshold,
            monitoring_period,
            failure_count_threshold,
            failure_rate_threshold,
            slow_call_duration,
            slow_call_rate_threshold,
            slow_call_minimum_calls,
            window,
            minimum_calls,
            open_duration,
            open_backoff,
            probes,
            successes_to_close,
            failures_to_reopen,
            half_open_max_duration,
            retry_after_max,
            lease,
            expired_probe,
            expired_permit,
            min_callers,
            share,
        };
        Some(xxh3_64(format!("{policy:?}").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::policy::{TripOn, Voters};

    fn resolved(spec: &PolicySpec) -> Policy {
        spec.resolve().unwrap()
    }

    fn full() -> PolicySpec {
        PolicySpec {
            failure_threshold: Some(0),
            failure_count_threshold: Some(9),
            failure_rate_threshold: Some(0.25),
            slow_call_duration: Some(Duration::from_millis(500)),
            window: Some(WindowSpec::Count(50)),
            open_backoff: Some(BackoffSpec { multiplier: 2.5, max_duration: Duration::from_secs(90), jitter: 0.125 }),
            expired_permit: Some(ExpiredPermit::Timeout),
            share: Some(0.5),
            ..PolicySpec::default()
        }
    }

    #[test]
    fn the_built_in_policy_contributes_nothing_to_its_hash() {
        assert_eq!(policy_hash(&Policy::default()), xxh3_64(b""));
    }

    #[test]
    fn a_hash_is_the_same_on_every_server_and_for_ever() {
        // Once released, these never change: each would be a `policy_changed` of every breaker that is stored.
        let (built_in, full) = (Policy::default(), resolved(&full()));
        let hashes = (policy_hash(&full), format_1::hash(&built_in), format_1::hash(&full));
        assert_eq!(
            hashes,
            (4_016_634_819_486_613_256, Some(249_707_972_623_614_360), Some(14_909_710_687_303_778_116))
        );
    }

    /// A policy that sets one field alone to another value than the built-in one, for each field there is.
    fn one_field_each() -> Vec<(String, PolicySpec)> {
        let full = serde_json::to_value(PolicySpec::from(&resolved(&full()))).unwrap();
        let others = PolicySpec {
            failure_threshold: Some(7),
            monitoring_period: Some(Duration::from_secs(1)),
            failure_count_threshold: Some(7),
            failure_rate_threshold: Some(0.7),
            slow_call_duration: Some(Duration::from_secs(1)),
            slow_call_rate_threshold: Some(0.7),
            slow_call_minimum_calls: Some(7),
            window: Some(WindowSpec::Count(70)),
            minimum_calls: Some(7),
            open_duration: Some(Duration::from_secs(7)),
            open_backoff: Some(BackoffSpec { multiplier: 7.0, max_duration: Duration::from_secs(90), jitter: 0.7 }),
            probes: Some(7),
            successes_to_close: Some(7),
            failures_to_reopen: Some(7),
            half_open_max_duration: Some(Duration::from_secs(7)),
            retry_after_max: Some(Duration::from_secs(7)),
            lease: Some(Duration::from_secs(7)),
            expired_probe: Some(ExpiredPermit::Timeout),
            expired_permit: Some(ExpiredPermit::Timeout),
            min_callers: Some(7),
            share: Some(0.7),
            voters: Some(Voters::Service),
            trip_on: Some(TripOn::Failure),
            open_duration_min: Some(Duration::from_millis(7)),
        };
        let serde_json::Value::Object(others) = serde_json::to_value(others).unwrap() else { unreachable!() };
        let names = full.as_object().unwrap().keys().cloned();
        let one = |name: String| {
            let mut fields = serde_json::to_value(PolicySpec::default()).unwrap();
            fields[&name] = others[&name].clone();
            (name, serde_json::from_value(fields).unwrap())
        };
        names.map(one).collect()
    }

    #[test]
    fn every_field_that_differs_from_the_default_changes_the_hash() {
        let mut hashes = vec![policy_hash(&Policy::default())];
        for (name, spec) in one_field_each() {
            let hash = policy_hash(&resolved(&spec));
            assert!(!hashes.contains(&hash), "{name}");
            hashes.push(hash);
        }
        assert!(hashes.len() > 20);
    }

    #[test]
    fn a_field_at_its_default_leaves_the_hash_of_any_policy() {
        let built_in = serde_json::to_value(PolicySpec::from(&Policy::default())).unwrap();
        for (name, spec) in one_field_each() {
            let hash = policy_hash(&resolved(&spec));
            for (other, value) in built_in.as_object().unwrap() {
                // The minimum of slow calls follows the minimum of calls while nobody sets it.
                if *other == name || (other == "slow_call_minimum_calls" && name == "minimum_calls") {
                    continue;
                }
                let mut fields = serde_json::to_value(&spec).unwrap();
                fields[other] = value.clone();
                let said: PolicySpec = serde_json::from_value(fields).unwrap();
                assert_eq!(policy_hash(&resolved(&said)), hash, "{name} and {other} at its default");
            }
        }
    }
}
