"""Runs of failures, in tallies and in the local breaker, without a server and in virtual time."""

import random
from dataclasses import fields

import pytest

from fuseboard._guard import Guard, Link, Yes
from fuseboard._local import LocalBreaker, LocalRule, Run
from fuseboard._tally import COUNT_MAX, EXTRA_BYTES_MAX, TALLY_BYTES, Tally
from fuseboard._view import View
from fuseboard._watch import told
from fuseboard.options import Policy
from fuseboard.v1 import event_pb2, policy_pb2

KINDS = [
    ("success", False),
    ("failure", False),
    ("failure", False),
    ("timeout", False),
    ("ignored", False),
    ("cancelled", False),
    ("failure", True),
]


def tally_of(outcomes: list[tuple[str, bool]]) -> Tally:
    tally = Tally(1, 0, 0.0)
    for outcome, local in outcomes:
        tally.add(outcome, slow=False, local=local, retry_after=0.0)
    return tally


def runs_of_parts(a: Tally, b: Tally) -> tuple[int, int, int]:
    """The runs of two tallies, one after the other, composed as a server does."""
    leading = a.leading_failures + (0 if a.successes else b.leading_failures)
    trailing = b.trailing_failures + (0 if b.successes else a.trailing_failures)
    return leading, max(a.longest_run, b.longest_run, a.trailing_failures + b.leading_failures), trailing


def test_runs_of_failures_are_exact_and_compose_wherever_a_tally_is_split() -> None:
    drawn = random.Random(11)
    for _ in range(2000):
        outcomes = drawn.choices(KINDS, k=drawn.randrange(24))
        runs = [0]
        for outcome, local in outcomes:
            if outcome == "success":
                runs.append(0)
            elif outcome in ("failure", "timeout") and not local:
                runs[-1] += 1
        want = runs[0], max(runs), runs[-1]
        sent = tally_of(outcomes).to_pb("db", "app/1", 0.0)
        assert (sent.leading_failures, sent.longest_run, sent.trailing_failures) == want
        for at in range(len(outcomes) + 1):
            assert runs_of_parts(tally_of(outcomes[:at]), tally_of(outcomes[at:])) == want


def guard(key: str, link: Link, view: View | None = None) -> Guard:
    made = Guard(key, link, mode="cached", when_unavailable="local", max_staleness=60.0)
    made.view, made.covered = view or View("closed", 1), True
    return made


def usable() -> Link:
    link = Link()
    link.usable, link.heard_at = True, 0.0
    return link


def permit(breaker: Guard, now: float = 0.0) -> Yes:
    yes = breaker.decide(now)
    assert isinstance(yes, Yes)
    return yes


def test_outcomes_of_two_generations_may_alternate_and_none_is_dropped() -> None:
    breaker = guard("db", usable())
    old = [permit(breaker) for _ in range(30)]
    breaker.learn(View("closed", 2))
    for yes in old:
        breaker.settle(yes, "success", 0.0)
        breaker.settle(permit(breaker), "success", 0.0)
    assert [(tally.generation, tally.calls) for tally in breaker.take(0.0, 10)] == [(1, 30), (2, 30)]
    assert breaker.dropped == 0


def test_a_full_tally_is_followed_by_another() -> None:
    breaker = guard("db", usable())
    breaker.settle(permit(breaker), "success", 0.0)
    assert breaker._tally is not None
    breaker._tally.calls = COUNT_MAX
    breaker.settle(permit(breaker), "success", 0.0)
    assert [tally.calls for tally in breaker.take(0.0, 10)] == [COUNT_MAX, 1]


def test_pending_tallies_are_bounded_in_bytes_and_what_finds_no_room_is_counted() -> None:
    link = usable()
    breaker, other = guard("db", link), guard("other", link)
    room = EXTRA_BYTES_MAX // (TALLY_BYTES + len("db")) + 1
    for generation in range(1, room + 4):
        breaker.learn(View("closed", generation))
        breaker.settle(permit(breaker), "success", 0.0)
        assert breaker._tally is not None
        breaker._tally.rejections = 2
    assert (breaker.dropped, breaker.dropped_rejections) == (3, 6)
    other.settle(permit(other), "success", 0.0)
    assert (other.dropped, len(other.take(0.0, 10))) == (0, 1)
    first = breaker.take(0.0, 10)
    assert [tally.generation for tally in first] == list(range(4, 14))
    assert len(breaker.take(0.0, room)) == room - 10
    assert (link.budget.used, breaker.has_pending) == (0, False)


def test_a_decisive_outcome_is_waited_for_and_others_are_not() -> None:
    breaker = guard("db", usable())
    breaker.rule, breaker.suspects = LocalRule(3), False
    for outcome in ("failure", "failure", "success", "failure", "failure", "ignored"):
        breaker.settle(permit(breaker), outcome, 0.0)
    assert breaker.awaited is None
    told = breaker.settle(permit(breaker), "timeout", 0.0)
    assert breaker.awaited is told is not None
    breaker.settle(permit(breaker), "success", 0.0)
    assert breaker.awaited is told, "a success that follows before it was sent does not make it less decisive"


def test_any_failure_is_decisive_where_a_window_rule_or_no_policy_is_known() -> None:
    breaker = guard("db", usable())
    breaker.settle(permit(breaker), "failure", 0.0)
    assert breaker.awaited is not None


def test_an_outcome_of_an_older_generation_is_not_in_the_run() -> None:
    breaker = guard("db", usable())
    breaker.rule, breaker.suspects = LocalRule(2), False
    old = permit(breaker)
    breaker.settle(permit(breaker), "failure", 0.0)
    breaker.learn(View("closed", 2))
    breaker.settle(old, "failure", 0.0)
    breaker.settle(permit(breaker), "failure", 0.0)
    assert breaker.awaited is None


def test_a_sequence_has_one_verdict_whenever_the_local_breaker_began_to_stand_in() -> None:
    drawn, rule = random.Random(12), LocalRule(3, 5.0, 20.0)
    for _ in range(2000):
        now, steps = 0.0, []
        for _ in range(drawn.randrange(12)):
            now += drawn.randrange(3)
            steps.append((drawn.choice(["success", "failure", "timeout", "ignored"]), now))
        # What comes after the trip is of calls that were permitted before it, and moves nothing.
        whole, tripped = LocalBreaker(rule), len(steps)
        for i, (outcome, at) in enumerate(steps):
            whole.observe(outcome, at)
            if not whole.is_closed:
                tripped = i + 1
                break
        for split in range(tripped + 1):
            run = Run()
            for outcome, at in steps[:split]:
                if outcome == "success":
                    run.clear()
                elif outcome != "ignored":
                    run.add(at, rule)
            late = LocalBreaker.standing(rule, "closed", 0.0, now, run)
            for outcome, at in steps[split:tripped]:
                late.observe(outcome, at)
            assert (late._state, late._open_until) == (whole._state, whole._open_until), (steps, split)


def test_the_local_breaker_knows_the_failures_from_before_the_server_was_lost() -> None:
    link = usable()
    breaker = guard("db", link)
    breaker.rule = LocalRule(3)
    for _ in range(2):
        breaker.settle(permit(breaker), "failure", 1.0)
    link.usable = False
    breaker.settle(permit(breaker, 1.0), "failure", 1.0)
    assert not isinstance(breaker.decide(1.0), Yes)


def test_a_policy_has_every_field_of_the_protos() -> None:
    assert {field.name for field in fields(Policy)} == set(policy_pb2.Policy.DESCRIPTOR.fields_by_name)


def test_a_policys_choices_are_declared() -> None:
    policy = Policy(
        expired_probe="timeout", expired_permit="failure", voters="service", trip_on="failure", open_duration_min=0.001
    ).to_pb()
    assert (policy.expired_probe, policy.expired_permit) == (
        policy_pb2.EXPIRED_PERMIT_TIMEOUT,
        policy_pb2.EXPIRED_PERMIT_FAILURE,
    )
    assert (policy.voters, policy.trip_on) == (policy_pb2.VOTERS_SERVICE, policy_pb2.TRIP_ON_FAILURE)
    assert policy.open_duration_min.ToMilliseconds() == 1
    with pytest.raises(ValueError, match="voters"):
        Policy(voters="caller").to_pb()  # type: ignore[arg-type]


def test_a_burst_of_moves_is_one_event_with_its_count() -> None:
    message = event_pb2.Event()
    message.event_time.FromSeconds(100)
    one = told(message)
    assert (one.count, one.first_time) == (1, 100.0)
    message.count = 7
    message.first_event_time.FromSeconds(99)
    burst = told(message)
    assert (burst.count, burst.first_time, burst.time) == (7, 99.0, 100.0)
