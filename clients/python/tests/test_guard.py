"""How a call is decided and told, without a server and in virtual time."""

from fuseboard._guard import Guard, Link, No, Yes
from fuseboard._tally import Tally
from fuseboard._view import View


def guard(view: View | None = None, **options: str) -> Guard:
    link = Link()
    link.usable, link.heard_at = True, 0.0
    made = Guard("db", link, **({"mode": "cached", "when_unavailable": "local"} | options), max_staleness=4.0)
    made.view, made.covered = view, True
    return made


def test_what_is_not_known_is_asked() -> None:
    assert guard().decide(0.0) is None


def test_a_fresh_closed_breaker_permits_and_an_old_one_is_asked() -> None:
    breaker = guard(View("closed", 1))
    assert isinstance(breaker.decide(4.0), Yes)
    assert breaker.decide(4.1) is None


def test_an_open_breaker_rejects_until_its_deadline_however_old_the_word_is() -> None:
    breaker = guard(View("open", 2, open_until=100.0))
    said = breaker.decide(99.0)
    assert isinstance(said, No)
    assert (said.reason, said.retry_after, said.source) == ("open", 1.0, "cached")
    assert breaker.decide(100.0) is None


def test_an_isolated_caller_is_rejected_and_others_are_not() -> None:
    said = guard(View("closed", 1, caller_state="open", caller_generation=1, caller_until=9.0)).decide(0.0)
    assert isinstance(said, No)
    assert said.reason == "caller_isolated"


def test_strict_mode_asks_every_time() -> None:
    assert guard(View("open", 2, open_until=100.0), mode="strict").decide(0.0) is None


def test_an_older_generation_changes_nothing() -> None:
    breaker = guard(View("open", 5, open_until=9.0))
    breaker.learn(View("closed", 4))
    assert breaker.view is not None
    assert breaker.view.state == "open"


def test_a_failure_goes_behind_the_successes_before_it() -> None:
    breaker = guard(View("closed", 1))
    for outcome in ("success", "failure", "success", "timeout", "failure"):
        yes = breaker.decide(1.0)
        assert isinstance(yes, Yes)
        assert (breaker.settle(yes, outcome, 1.0) is not None) == (outcome != "success")
    (tally,) = breaker.take(2.0, 10)
    assert (tally.successes, tally.failures, tally.timeouts, tally.trailing_failures) == (2, 2, 1, 2)


def test_calls_of_two_generations_are_two_tallies() -> None:
    breaker = guard(View("closed", 1))
    yes = breaker.decide(0.0)
    assert isinstance(yes, Yes)
    breaker.settle(yes, "success", 0.0)
    breaker.learn(View("closed", 2))
    later = breaker.decide(0.0)
    assert isinstance(later, Yes)
    breaker.settle(later, "success", 0.0)
    breaker.settle(yes, "failure", 0.0)
    assert [(tally.generation, tally.calls) for tally in breaker.take(0.0, 10)] == [(1, 2), (2, 1)]


def test_a_tally_that_is_too_old_is_dropped_and_counted() -> None:
    breaker = guard(View("closed", 1))
    yes = breaker.decide(0.0)
    assert isinstance(yes, Yes)
    breaker.settle(yes, "success", 0.0)
    assert breaker.take(10.2, 10) == []
    assert breaker.dropped == 1


def test_without_a_session_the_local_breaker_has_to_permit_too() -> None:
    breaker = guard(View("closed", 1))
    breaker.link.usable = False
    for _ in range(5):
        yes = breaker.decide(1.0)
        assert isinstance(yes, Yes)
        breaker.settle(yes, "failure", 1.0)
    said = breaker.decide(1.0)
    assert isinstance(said, No)
    assert (said.reason, said.source) == ("open", "local")
    breaker.forget_local()
    breaker.link.usable = True
    assert isinstance(breaker.decide(1.0), Yes)


def test_a_local_failure_and_an_ignored_call_are_no_trailing_failures() -> None:
    tally = Tally(1, 0, 0.0)
    tally.add("failure", slow=False, local=True, retry_after=0.0)
    tally.add("cancelled", slow=False, local=False, retry_after=0.0)
    assert (tally.failures, tally.local_failures, tally.ignored, tally.trailing_failures) == (0, 1, 1, 0)
