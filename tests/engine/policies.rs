//! Which policy a breaker follows, and what happens when that changes.

use std::{thread, time::Duration};

use fuseboard::{
    breaker::{Decision, Outcome, Policy, PolicySpec, StateName, policy::BackoffSpec},
    engine::{Error, FilePolicies, Limits, PolicyOrigin, matches},
};

use super::{OPERATOR, START, World, failures, minutes, seconds};
use crate::soon::Soon as _;

impl World {
    fn policy(&self, key: &str) -> Policy {
        (*self.view(key).policy.policy).clone()
    }

    fn threshold(&self, key: &str) -> Option<u32> {
        self.policy(key).failure_threshold.map(u32::from)
    }

    /// Sets the operators' policy through the API. Returns its version.
    fn set(&self, pattern: &str, spec: PolicySpec) -> u64 {
        self.engine.set_policy(pattern, spec, None, OPERATOR).soon().unwrap().0.version
    }

    fn load(&self, file: &[(&str, PolicySpec)]) -> u64 {
        let file = file.iter().map(|(pattern, spec)| ((*pattern).to_owned(), spec.clone())).collect();
        self.engine.load_policies(FilePolicies { default: PolicySpec::default(), by_pattern: file }).soon().unwrap()
    }
}

fn open_for(open_seconds: u64) -> PolicySpec {
    PolicySpec { open_duration: Some(seconds(open_seconds)), ..PolicySpec::default() }
}

// ---- Which one holds -----------------------------------------------------------------------------------------------

#[test]
fn a_breaker_that_nobody_declared_follows_the_servers_default() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    assert_eq!(world.policy("a"), Policy::default());
    assert_eq!(world.engine.default_policy(), Policy::default());
    assert_eq!(world.view("a").policy.sources, ["default"]);

    let world = World::under(open_for(7));
    world.engine.handle("a").unwrap();
    assert_eq!(world.policy("a"), Policy { open_duration: seconds(7), ..Policy::default() });
}

#[test]
fn a_declaration_replaces_the_defaults_trip_rules_as_a_whole_and_inherits_its_other_fields() {
    let default = PolicySpec { failure_count_threshold: Some(9), probes: Some(4), ..open_for(7) };
    let world = World::under(default);
    world.declare("a", failures(3));
    let policy = world.policy("a");
    assert_eq!(policy.failure_threshold.map(u32::from), Some(3));
    assert_eq!((policy.failure_count_threshold, policy.failure_rate_threshold), (None, None));
    assert_eq!((policy.open_duration, policy.probes), (seconds(7), 4));
    assert_eq!(world.view("a").policy.sources, ["declared", "default"]);

    world.declare("no-rule", PolicySpec { probes: Some(2), ..PolicySpec::default() });
    let policy = world.policy("no-rule");
    assert_eq!(policy.failure_count_threshold.map(u32::from), Some(9), "one without a rule keeps the default's");
    assert_eq!((policy.open_duration, policy.probes), (seconds(7), 2));
}

#[test]
fn an_operators_policy_overrides_field_by_field_and_can_switch_a_rule_off() {
    let world = World::new();
    let declared = PolicySpec { failure_count_threshold: Some(10), ..open_for(20) };
    world.declare("a", PolicySpec { failure_threshold: Some(3), ..declared });
    world.set("a", PolicySpec { failure_threshold: Some(0), probes: Some(8), ..PolicySpec::default() });
    let view = world.view("a");
    assert_eq!(view.policy.policy.failure_threshold, None, "off was said");
    assert_eq!(view.policy.policy.failure_count_threshold.map(u32::from), Some(10));
    assert_eq!((view.policy.policy.open_duration, view.policy.policy.probes), (seconds(20), 8));
    assert_eq!(view.policy.sources, ["api:a", "declared", "default"]);
    assert!(view.policy.differs_from_declared);

    world.set("a", open_for(20));
    assert!(!world.view("a").policy.differs_from_declared, "it says what was declared");
    assert_eq!(world.threshold("a"), Some(3), "a set policy replaces what was set for its pattern");
}

#[test]
fn an_exact_key_is_stronger_than_a_pattern_and_a_longer_literal_prefix_than_a_shorter_one() {
    let world = World::new();
    let strengths = ["pay/card", "pay/card*", "pay/ca*d", "pay/*", "p*", "*card", "*"];
    for (threshold, pattern) in (1..).zip(strengths).collect::<Vec<_>>().into_iter().rev() {
        world.set(pattern, failures(threshold));
        world.engine.handle("pay/card").unwrap();
        assert_eq!(world.threshold("pay/card"), Some(threshold), "{pattern}");
    }
    // Each has a field that those before it leave open.
    world.set("pay/card", open_for(11));
    assert_eq!((world.threshold("pay/card"), world.policy("pay/card").open_duration), (Some(2), seconds(11)));
    let listed: Vec<_> =
        world.engine.policies(Some("pay/card")).iter().map(|entry| entry.pattern.to_string()).collect();
    assert_eq!(listed, strengths);
    assert_eq!(world.view("pay/card").policy.sources[..2], ["api:pay/card", "api:pay/card*"]);
}

#[test]
fn the_api_is_stronger_than_the_file_for_the_same_prefix_but_not_than_what_fits_more_closely() {
    let world = World::new();
    world.load(&[("a", failures(1)), ("b*", failures(2)), ("b/long*", failures(5))]);
    world.set("a*", failures(3));
    world.set("b*", failures(4));
    for key in ["a", "b1", "b/longer"] {
        world.engine.handle(key).unwrap();
    }
    assert_eq!(["a", "b1", "b/longer"].map(|key| world.threshold(key)), [Some(1), Some(4), Some(5)]);
    world.set("a", open_for(5));
    assert_eq!((world.threshold("a"), world.policy("a").open_duration), (Some(1), seconds(5)), "field by field");
    world.engine.delete_policy("b*", None, OPERATOR).soon().unwrap();
    assert_eq!(world.threshold("b1"), Some(2), "the file's comes up again");
}

#[test]
fn a_star_stands_for_any_run_of_characters() {
    let fits = [
        ("a", "a"),
        ("*", ""),
        ("*", "a/b"),
        ("a*", "a"),
        ("a*", "abc"),
        ("*c", "abc"),
        ("a*c", "ac"),
        ("a*c", "a/b/c"),
        ("*b*", "abc"),
        ("a*b*c", "a-b-b-c"),
        ("**", "x"),
        ("a*bc", "abbc"),
        ("pay/*", "pay/card/visa"),
        ("*ab", "aab"),
    ];
    let does_not =
        [("a", "ab"), ("a", ""), ("a*", "ba"), ("*c", "cb"), ("a*c", "ab"), ("a*b*c", "acb"), ("pay/*", "pay")];
    for (pattern, key) in fits {
        assert!(matches(pattern, key), "{pattern} {key}");
    }
    for (pattern, key) in does_not {
        assert!(!matches(pattern, key), "{pattern} {key}");
    }
    // The worst there is of 200 bytes each ends in no time.
    assert!(!matches(&format!("{}b", "a*".repeat(99)), &"a".repeat(200)));
}

#[test]
fn the_highest_revision_stands_the_first_among_equals_so_that_a_rolling_deploy_does_not_flap() {
    let world = World::new();
    let declare = |threshold, revision| {
        let view = world.declare_revision("a", failures(threshold), revision);
        (view.policy.policy.failure_threshold.map(u32::from), view.declared_revision)
    };
    assert_eq!(declare(2, 0), (Some(2), Some(0)));
    assert_eq!(declare(3, 0), (Some(3), Some(0)), "without revisions the last one stands");
    assert_eq!(declare(4, 5), (Some(4), Some(5)));
    assert_eq!(declare(9, 5), (Some(4), Some(5)), "the first among equals");
    assert_eq!(declare(9, 4), (Some(4), Some(5)));
    assert_eq!(declare(9, 0), (Some(4), Some(5)), "one without a revision is below all");
    assert_eq!(declare(6, 6), (Some(6), Some(6)));
}

#[test]
fn a_revision_counts_against_those_of_the_same_declarer() {
    let world = World::new();
    let declare = |by: &str, threshold, revision| {
        let declaration = fuseboard::engine::Declaration { spec: failures(threshold), revision };
        let view = world.engine.declare_by("a", &declaration, crate::NOBODY, &by.into()).soon().unwrap();
        let threshold = view.policy.policy.failure_threshold.map(u32::from).unwrap();
        (view.provenance.unwrap().by.to_string(), view.declared_revision.unwrap(), threshold)
    };
    let stands = |by: &str, revision, threshold| (by.to_owned(), revision, threshold);
    assert_eq!(declare("shop", 2, 7), stands("shop", 7, 2));
    assert_eq!(declare("mallory", 9, u64::MAX), stands("mallory", u64::MAX, 9));
    assert_eq!(declare("shop", 3, 8), stands("shop", 8, 3), "a jump of another's revision does not keep the owner out");
    assert_eq!(declare("mallory", 9, u64::MAX), stands("shop", 8, 3), "and has nowhere to go from there");
    assert_eq!(declare("shop", 2, 7), stands("shop", 8, 3), "its own revisions are in order");
    assert_eq!(declare("cart", 4, 1), stands("cart", 1, 4));
    for _ in 0..3 {
        // Both start again and again, and what stands does not flap.
        assert_eq!(declare("shop", 3, 8), stands("cart", 1, 4));
        assert_eq!(declare("cart", 4, 1), stands("cart", 1, 4));
    }
    assert_eq!(declare("mail", 5, 0), stands("cart", 1, 4), "one without a revision is below all");

    let first = World::new();
    let declare = |by: &str, revision: u64| {
        let declaration = fuseboard::engine::Declaration { spec: failures(revision as u32 % 100 + 1), revision };
        let view = first.engine.declare_by("a", &declaration, crate::NOBODY, &by.into()).soon().unwrap();
        view.provenance.unwrap()
    };
    assert_eq!(&*declare("mallory", u64::MAX).by, "mallory", "who comes first");
    assert_eq!(&*declare("shop", 1).by, "shop", "does not keep the owner out either");
    for number in 0..20 {
        declare(&format!("service-{number}"), 2 + number);
    }
    let provenance = declare("last", 50);
    assert_eq!(
        (provenance.replaced.len(), &*provenance.replaced[7].0),
        (8, "service-19"),
        "what is remembered is bounded"
    );
}

#[test]
fn a_deleted_declaration_leaves_the_breaker_and_what_operators_have_set() {
    let world = World::new();
    let delete = || world.engine.delete_declaration("a", OPERATOR).soon();
    assert!(matches!(delete(), Err(Error::NotFound { reason: "BREAKER_NOT_FOUND", .. })));
    world.declare_revision("a", failures(2), u64::MAX);
    let before = world.view("a");
    delete().unwrap();
    let after = world.view("a");
    assert_eq!((after.declared_revision, after.policy.sources.as_slice()), (None, ["default".to_owned()].as_slice()));
    assert_eq!(after.created, before.created);
    let event = after.last_event.unwrap();
    assert_eq!(event.kind, fuseboard::engine::EventKind::Moved(fuseboard::breaker::Kind::PolicyChanged));
    assert_eq!((&*event.actor, &*event.comment), (OPERATOR.name, OPERATOR.comment));
    let trail = world.engine.audit(u64::MAX, 10).soon().unwrap();
    assert_eq!((trail.len(), trail[0].action.name(), &*trail[0].target), (1, "declaration_deleted", "a"));
    assert_eq!(&*trail[0].actor, OPERATOR.name);
    assert!(matches!(delete(), Err(Error::NotFound { reason: "DECLARATION_NOT_FOUND", .. })));
    assert_eq!(world.declare_revision("a", failures(3), 1).declared_revision, Some(1), "it can be declared again");
    // Where the policy in force stays as it is, there is no event, and the trail says it all the same.
    let probing = PolicySpec { probes: Some(3), ..PolicySpec::default() };
    world.declare_revision("a", probing.clone(), 2);
    world.engine.set_policy("a", probing, None, OPERATOR).soon().unwrap();
    let events = world.view("a").entry.sequence;
    delete().unwrap();
    assert_eq!(world.view("a").entry.sequence, events);
    assert_eq!(world.engine.audit(u64::MAX, 10).soon().unwrap()[0].action.name(), "declaration_deleted");
}

// ---- Versions and the file -----------------------------------------------------------------------------------------

fn moved(result: Result<impl Sized, Error>) -> (u64, u64) {
    match result {
        Err(Error::VersionMoved { expected, current }) => (expected, current),
        _ => panic!("the version should have moved"),
    }
}

#[test]
fn a_write_can_demand_the_version_that_it_read() {
    let world = World::new();
    let set = |expected| world.engine.set_policy("a", failures(1), expected, OPERATOR).soon();
    let (first, _) = set(Some(0)).unwrap();
    assert_eq!(moved(set(Some(0))), (0, first.version), "0: there must be none yet");
    let (second, _) = set(Some(first.version)).unwrap();
    assert!(second.version > first.version);
    assert_eq!(moved(set(Some(first.version))), (first.version, second.version));
    assert_eq!(world.engine.policy("a").unwrap(), second);

    let delete = |expected| world.engine.delete_policy("a", expected, OPERATOR).soon();
    assert_eq!(moved(delete(Some(first.version))), (first.version, second.version));
    delete(Some(second.version)).unwrap();
    assert!(matches!(delete(None), Err(Error::NotFound { reason: "POLICY_NOT_FOUND", .. })));
    assert_eq!(moved(set(Some(second.version))), (second.version, 0));
}

#[test]
fn the_version_of_a_files_entry_can_be_demanded_too_and_the_file_is_changed_in_the_file() {
    let world = World::new();
    world.load(&[("a", failures(1))]);
    let read = world.engine.policy("a").unwrap();
    assert_eq!(read.origin, PolicyOrigin::File);
    assert_eq!(moved(world.engine.set_policy("a", failures(2), Some(0), OPERATOR).soon()), (0, read.version));
    let deleted = world.engine.delete_policy("a", Some(read.version), OPERATOR).soon();
    assert_eq!(deleted, Err(Error::PolicyOfFile { pattern: "a".to_owned() }));
    let (entry, _) = world.engine.set_policy("a", failures(2), Some(read.version), OPERATOR).soon().unwrap();
    assert_eq!(world.engine.policy("a").unwrap(), entry, "now it is the API's that is read");
}

#[test]
fn a_reload_touches_only_what_the_file_set() {
    let world = World::new();
    world.load(&[("kept", failures(1)), ("changed", failures(1)), ("removed", failures(1))]);
    let of_api = world.set("api", failures(7));
    let before = world.engine.policy("kept").unwrap();
    for key in ["kept", "changed", "removed", "api", "other"] {
        world.engine.handle(key).unwrap();
    }
    let versions = || ["kept", "api", "other"].map(|key| world.view(key).entry.policy_version);
    let unchanged = versions();

    let changed = world.load(&[("kept", failures(1)), ("changed", failures(2)), ("added", failures(3))]);
    assert_eq!(changed, 2);
    assert_eq!(["kept", "changed", "removed"].map(|key| world.threshold(key)), [Some(1), Some(2), Some(5)]);
    assert_eq!(world.engine.policy("kept").unwrap(), before);
    assert_eq!(world.engine.policy("api").unwrap().version, of_api);
    assert_eq!(versions(), unchanged);
    assert_eq!(world.log().iter().map(|event| &*event.key).collect::<Vec<_>>(), ["changed", "removed"]);
    assert_eq!(world.load(&[("kept", failures(1)), ("changed", failures(2)), ("added", failures(3))]), 0);
}

#[test]
fn a_bad_file_changes_nothing() {
    let world = World::with(Limits { policies: 2, ..Limits::default() });
    world.load(&[("a", failures(1))]);
    world.engine.handle("a").unwrap();
    let load = |default, file| world.engine.load_policies(FilePolicies { default, by_pattern: file }).soon();
    let bad = PolicySpec { probes: Some(0), ..PolicySpec::default() };
    let entry = |pattern: &str, spec: &PolicySpec| (pattern.to_owned(), spec.clone());
    let at_fault = load(PolicySpec::default(), vec![entry("b", &failures(2)), entry("c", &bad)]);
    assert!(matches!(at_fault, Err(Error::Invalid { ref field, .. }) if field == "c.probes"), "{at_fault:?}");
    assert!(load(bad, vec![]).is_err());
    let many = ["b", "c", "d"].map(|pattern| entry(pattern, &failures(2))).into();
    assert!(matches!(load(PolicySpec::default(), many), Err(Error::Limit { reason: "POLICY_LIMIT", .. })));

    assert_eq!(world.engine.policies(None).len(), 1);
    assert_eq!((world.threshold("a"), world.log().len()), (Some(1), 0));
}

#[test]
fn a_default_that_the_file_changes_reaches_breakers_where_nothing_stronger_speaks() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    world.declare("declared", open_for(3));
    let default = PolicySpec { failure_threshold: Some(8), ..open_for(9) };
    assert_eq!(world.engine.load_policies(FilePolicies { default, by_pattern: vec![] }).soon().unwrap(), 2);
    assert_eq!((world.threshold("a"), world.policy("a").open_duration), (Some(8), seconds(9)));
    assert_eq!((world.threshold("declared"), world.policy("declared").open_duration), (Some(8), seconds(3)));
    assert_eq!(world.last_event().reason.name(), "policy_file");
}

#[test]
fn policies_are_bounded_those_of_the_file_included() {
    let world = World::with(Limits { policies: 3, ..Limits::default() });
    world.load(&[("a", failures(1))]);
    world.set("b", failures(1));
    world.set("c", failures(1));
    let refused = world.engine.set_policy("d", failures(1), None, OPERATOR).soon();
    assert!(matches!(refused, Err(Error::Limit { reason: "POLICY_LIMIT", max: 3, .. })));
    world.set("c", failures(2));
    assert_eq!(world.engine.usage().policies, 3);
}

#[test]
fn a_field_out_of_its_range_is_refused_by_name() {
    let world = World::new();
    let bad = PolicySpec { lease: Some(minutes(61)), ..PolicySpec::default() };
    let field = |result: Result<_, Error>| match result {
        Err(Error::Invalid { field, .. }) => field,
        _ => panic!("it is out of range"),
    };
    assert_eq!(field(world.engine.set_policy("a", bad.clone(), None, OPERATOR).soon().map(|_| ())), "policy.lease");
    let declaration = fuseboard::engine::Declaration { spec: bad, revision: 0 };
    assert_eq!(field(world.engine.declare("a", &declaration, super::NOBODY).soon().map(|_| ())), "lease");
    assert!(!world.exists("a"));
}

// ---- A change ------------------------------------------------------------------------------------------------------

#[test]
fn a_change_keeps_the_state_and_the_running_open_period_and_closes_no_open_breaker() {
    let world = World::new();
    world.trip("a");
    let before = world.view("a").entry.status;
    world.set("a", PolicySpec { failure_threshold: Some(0), ..open_for(2) });
    let after = world.view("a").entry.status;
    assert_eq!((after.state, after.until, after.since), (StateName::Open, START.after(seconds(30)), before.since));
    assert_eq!(after.generation, before.generation);
    world.advance(seconds(29));
    assert_eq!(world.state("a"), StateName::Open);
    world.advance(seconds(1));
    world.call("a", Outcome::Failure);
    assert_eq!(world.view("a").entry.status.until, START.after(seconds(32)), "the next period is the new one");
}

#[test]
fn a_change_keeps_permits_and_statistics_and_new_rules_are_judged_with_the_next_report() {
    let world = World::new();
    world.fail("a", 4);
    let permit = world.permit("a");
    world.set("a", failures(3));
    assert_eq!((world.state("a"), world.view("a").entry.status.failures), (StateName::Closed, 4));
    world.report("a", &permit, Outcome::Failure);
    assert_eq!(world.state("a"), StateName::Open);
}

#[test]
fn a_change_is_an_event_with_its_reason_and_the_version_that_is_then_in_force() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let version = world.set("a*", failures(3));
    let event = world.last_event();
    assert_eq!((event.kind.name(), event.reason.name()), ("policy_changed", "requested"));
    assert_eq!((&*event.actor, &*event.comment), (OPERATOR.name, OPERATOR.comment));
    assert_eq!((event.from, event.to), (StateName::Closed, StateName::Closed));
    assert_eq!((event.policy_version, world.view("a").entry.policy_version), (version, version));

    let caller = world.engine.caller("checkout/3");
    let declaration = fuseboard::engine::Declaration { spec: open_for(3), revision: 1 };
    world.engine.declare("a", &declaration, caller).soon().unwrap();
    let event = world.last_event();
    assert_eq!((event.reason.name(), event.caller.as_deref(), &*event.actor), ("declared", Some("checkout/3"), ""));

    let default = PolicySpec { probes: Some(2), ..PolicySpec::default() };
    world.engine.load_policies(FilePolicies { default, by_pattern: vec![] }).soon().unwrap();
    assert_eq!((world.last_event().reason.name(), &*world.last_event().actor), ("policy_file", ""));

    world.engine.delete_policy("a*", None, OPERATOR).soon().unwrap();
    assert_eq!((world.last_event().reason.name(), &*world.last_event().actor), ("requested", OPERATOR.name));
}

#[test]
fn what_leaves_the_policy_as_it_is_is_no_event_and_keeps_the_version_that_was_told() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let version = world.view("a").entry.policy_version;
    assert_eq!(
        world.engine.set_policy("*", failures(5), None, OPERATOR).soon().unwrap().1,
        0,
        "the default says the same"
    );
    let view = world.view("a");
    assert_eq!((view.entry.policy_version, view.policy.version, world.log().len()), (version, version, 0));
    assert_eq!(view.policy.sources, ["api:*", "default"], "but it is shown where it comes from");
}

#[test]
fn the_version_of_a_keys_policy_never_goes_back_also_when_a_policy_or_the_breaker_is_deleted() {
    let world = World::new();
    world.engine.handle("a").unwrap();
    let mut last = 0;
    let mut rises = || {
        let version = world.view("a").entry.policy_version;
        assert!(version >= last, "{last} then {version}");
        last = version;
    };
    rises();
    world.set("a", failures(1));
    rises();
    world.engine.delete_policy("a", None, OPERATOR).soon().unwrap();
    rises();
    world.engine.delete("a", OPERATOR).soon().unwrap();
    world.engine.handle("a").unwrap();
    rises();
}

#[test]
fn only_breakers_that_a_pattern_fits_are_changed() {
    let world = World::new();
    for key in ["pay/card", "pay/bank", "ship"] {
        world.engine.handle(key).unwrap();
    }
    assert_eq!(world.engine.set_policy("pay/*", failures(2), None, OPERATOR).soon().unwrap().1, 2);
    assert_eq!(world.threshold("ship"), Some(5));
    assert_eq!(world.engine.delete_policy("pay/*", None, OPERATOR).soon().unwrap(), 2);
}

#[test]
fn a_breaker_made_while_a_policy_is_set_follows_it() {
    const EACH: u32 = 1_500;
    let world = World::new();
    let last = thread::scope(|scope| {
        let making = [0, 1].map(|thread| {
            let world = &world;
            scope.spawn(move || {
                for number in 0..EACH {
                    world.engine.handle(&format!("t{thread}-{number}")).unwrap();
                }
            })
        });
        (1..)
            .find(|threshold| {
                let finished = making.iter().all(|thread| thread.is_finished());
                world.set("*", failures(*threshold));
                // All that were made until then follow it.
                for entry in world.engine.list("", 5, |entry| entry.key.ends_with('7')) {
                    assert_eq!(world.threshold(&entry.key), Some(*threshold));
                }
                finished
            })
            .unwrap()
    });
    for key in [0, 1].into_iter().flat_map(|thread| (0..EACH).map(move |number| format!("t{thread}-{number}"))) {
        assert_eq!(world.threshold(&key), Some(last));
    }
    assert!(world.log().iter().all(|event| &*event.actor == OPERATOR.name), "nothing else changed them");
}

#[test]
fn a_running_half_open_round_goes_on_under_another_policy() {
    let world = World::new();
    world.declare("a", PolicySpec { successes_to_close: Some(3), ..failures(1) });
    world.fail("a", 1);
    world.advance(seconds(30));
    world.call("a", Outcome::Success);
    world.set("a", PolicySpec { successes_to_close: Some(2), probes: Some(2), ..PolicySpec::default() });
    assert!(matches!(world.decide("a"), Decision::Permitted(_)));
    world.call("a", Outcome::Success);
    assert_eq!(world.state("a"), StateName::Closed);
}

// ---- The floor of open periods ---------------------------------------------------------------------------------------

fn short(open_ms: u64, floor_ms: Option<u64>) -> PolicySpec {
    PolicySpec {
        open_duration: Some(Duration::from_millis(open_ms)),
        open_duration_min: floor_ms.map(Duration::from_millis),
        ..failures(1)
    }
}

impl World {
    /// The open period in force and its floor, in milliseconds, and how long it stays open after a failure.
    fn open_periods(&self, key: &str) -> (u128, u128, u128) {
        self.engine.handle(key).unwrap();
        let policy = self.policy(key);
        self.fail(key, 1);
        let status = self.view(key).entry.status;
        let period = status.until.since(status.since);
        (policy.open_duration.as_millis(), policy.open_duration_min.as_millis(), period.as_millis())
    }
}

#[test]
fn the_floor_of_open_periods_is_inherited_from_the_default_a_pattern_and_a_declaration() {
    let world = World::new();
    assert!(world.engine.set_policy("a", short(99, None), None, OPERATOR).soon().is_err(), "below the built-in floor");
    world.set("short/*", short(20, Some(20)));
    assert_eq!(world.open_periods("short/a"), (20, 20, 20), "a pattern lowers it for its keys");
    world.declare("short/b", short(30, None));
    assert_eq!(world.open_periods("short/b"), (20, 20, 20), "the pattern's period overrides the declared one");
    world.set("floor/*", PolicySpec { open_duration_min: Some(Duration::from_millis(30)), ..failures(1) });
    world.declare("floor/a", short(30, None));
    assert_eq!(world.open_periods("floor/a"), (30, 30, 30), "a declaration is held against the floor of its key");
    world.declare("own", short(10, Some(10)));
    assert_eq!(world.open_periods("own"), (10, 10, 10), "a declaration with a floor of its own");

    let world = World::under(short(5, Some(5)));
    assert_eq!(world.open_periods("a"), (5, 5, 5), "the default lowers it for all");
    world.set("b", short(5, None));
    assert_eq!(world.open_periods("b"), (5, 5, 5));
    let refused = world.engine.set_policy("b", short(4, None), None, OPERATOR).soon();
    assert!(refused.is_err(), "below the default's");
}

#[test]
fn a_raised_floor_holds_for_what_was_declared_before_and_a_lowered_one_gives_its_period_back() {
    let world = World::new();
    world.declare("a", short(200, None));
    world.set("a", PolicySpec { open_duration_min: Some(seconds(1)), ..PolicySpec::default() });
    assert_eq!(world.open_periods("a"), (1_000, 1_000, 1_000), "an operator raises the floor over a declared period");
    world.declare_revision("a", short(300, None), 1);
    assert_eq!(world.policy("a").open_duration, seconds(1), "a service that declares again still starts");
    world.engine.delete_policy("a", None, OPERATOR).soon().unwrap();
    assert_eq!(world.policy("a").open_duration, Duration::from_millis(300));

    world.declare("b", short(20, Some(20)));
    world.set("b", short(500, None));
    assert_eq!(world.open_periods("b"), (500, 20, 500), "the declared floor stays under an operator's period");
    world.set("b", PolicySpec { open_duration_min: Some(Duration::from_millis(100)), ..PolicySpec::default() });
    assert_eq!(
        world.policy("b").open_duration,
        Duration::from_millis(100),
        "a floor of an operator over a declared one"
    );
}

#[test]
fn jitter_draws_no_open_period_below_the_floor() {
    let backoff = BackoffSpec { multiplier: 1.0, jitter: 1.0, max_duration: Duration::ZERO };
    let world = World::new();
    for open_duration_min in [None, Some(Duration::from_millis(30)), Some(Duration::from_millis(900))] {
        let spec = PolicySpec { open_backoff: Some(backoff), open_duration_min, ..open_for(1) };
        world.set("a", PolicySpec { failure_threshold: Some(1), ..spec });
        world.engine.handle("a").unwrap();
        let floor = world.policy("a").open_duration_min;
        let mut shortest = seconds(1);
        for _ in 0..200 {
            world.fail("a", 1);
            let status = world.view("a").entry.status;
            let period = status.until.since(status.since);
            assert!(period >= floor && period <= seconds(1), "{period:?} under a floor of {floor:?}");
            shortest = shortest.min(period);
            world.advance(seconds(1));
            world.call("a", Outcome::Success);
        }
        assert!(
            shortest < floor.max(Duration::from_millis(10)) + Duration::from_millis(100),
            "it is drawn: {shortest:?}"
        );
    }
}
