package dev.fuseboard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fuseboard.v1.BreakerStatus;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What decides, in virtual time: the view, the tally and the local breaker. */
class DecisionsTest {
  private static final long SECOND = 1_000_000_000L;

  private static BreakerStatus status(State state, long generation, long remaining) {
    BreakerStatus.Builder status =
        BreakerStatus.newBuilder().setStateValue(state.wire()).setGeneration(generation);
    return remaining == 0 ? status.build() : status.setStateRemaining(Times.message(remaining)).build();
  }

  private static Known told(BreakerStatus status, long now) {
    Known known = new Known();
    known.applyStatus(status, "web/1", null, now);
    return known;
  }

  @Test
  void aClosedViewPermitsWhileItIsFresh() {
    Known known = told(status(State.CLOSED, 1, 0), SECOND);
    assertTrue(known.decide(true, SECOND).permits());
    assertEquals(Known.Verdict.ASK, known.decide(false, SECOND));
    assertEquals(Known.Verdict.ASK, new Known().decide(true, SECOND), "nothing is known");
  }

  @Test
  void anOpenViewIsBelievedUntilItsOwnDeadlineHoweverOld() {
    Known known = told(status(State.OPEN, 2, 10 * SECOND), SECOND);
    assertEquals(new Known.Verdict(false, Reason.OPEN, 4 * SECOND), known.decide(false, 7 * SECOND));
    assertEquals(Known.Verdict.ASK, known.decide(true, 11 * SECOND));
  }

  @Test
  void whatIsOlderThanWhatIsKnownChangesNothing() {
    Known known = told(status(State.OPEN, 4, 10 * SECOND), SECOND);
    known.applyStatus(status(State.CLOSED, 3, 0), "web/1", null, 2 * SECOND);
    assertEquals(State.OPEN, known.state);
  }

  @Test
  void anEventCountsOnceAndAnAnswerBeforeItDoesNotHideIt() {
    Known known = told(status(State.CLOSED, 1, 0), SECOND);
    known.applyAnswer(new Known.Answer(State.OPEN, 2, null, null, 0, Reason.OPEN, 30 * SECOND), SECOND);
    assertEquals(Reason.OPEN, known.decide(true, SECOND).refused());
    dev.fuseboard.v1.Event event =
        dev.fuseboard.v1.Event.newBuilder().setSequence(7).setStatus(status(State.OPEN, 2, 29 * SECOND)).build();
    assertTrue(known.applyEvent(event, "web/1", 2 * SECOND));
    assertFalse(known.applyEvent(event, "web/1", 3 * SECOND));
  }

  @Test
  void doubtForgetsLeaveAndKeepsRefusals() {
    Known closed = told(status(State.CLOSED, 1, 0), SECOND);
    closed.doubt();
    assertEquals(Known.Verdict.ASK, closed.decide(true, SECOND));
    Known open = told(status(State.OPEN, 2, SECOND), SECOND);
    open.doubt();
    assertEquals(Reason.OPEN, open.decide(false, SECOND).refused());
  }

  @Test
  void aTallyTellsTheFailuresInARowSinceTheLastSuccess() {
    Tally.Queue tallies = new Tally.Queue();
    for (Outcome outcome : List.of(Outcome.FAILURE, Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.FAILURE, Outcome.IGNORED)) {
      tallies.at(1, 0, SECOND).add(Report.of(outcome), false);
    }
    tallies.at(1, 0, SECOND).add(Report.of(Outcome.FAILURE).withOrigin(Origin.LOCAL), false);
    dev.fuseboard.v1.Tally message = tallies.take(9).get(0).message("db", "web/1", 3 * SECOND);
    assertEquals(1, message.getSuccesses());
    assertEquals(2, message.getFailures());
    assertEquals(1, message.getTimeouts());
    assertEquals(2, message.getTrailingFailures());
    assertEquals(1, message.getIgnored());
    assertEquals(1, message.getLocalFailures());
    assertEquals(Times.message(2 * SECOND), message.getAge());
  }

  @Test
  void talliesOfTwoGenerationsAreApartAndOldOnesAreDroppedAndCounted() {
    Tally.Queue tallies = new Tally.Queue();
    tallies.at(1, 0, SECOND).add(Report.of(Outcome.SUCCESS), false);
    tallies.at(2, 0, 9 * SECOND).add(Report.of(Outcome.SUCCESS), false);
    tallies.expire(12 * SECOND, 10 * SECOND);
    assertEquals(1, tallies.dropped);
    assertEquals(List.of(2L), tallies.take(9).stream().map(tally -> tally.generation).toList());
  }

  private static void fail(LocalBreaker local, long now) {
    local.report(local.acquire(now), Outcome.FAILURE, now);
  }

  @Test
  void fiveFailuresInARowOpenTheLocalBreakerForThirtySeconds() {
    LocalBreaker local = new LocalBreaker(LocalBreaker.Rules.DEFAULT);
    for (int at = 0; at < 5; at++) {
      fail(local, at * SECOND);
    }
    LocalBreaker.Answer answer = local.acquire(10 * SECOND);
    assertEquals(Reason.OPEN, answer.refused());
    assertEquals(24 * SECOND, answer.retryAfter());
  }

  @Test
  void oneProbeDecidesAndAForgottenOneCountsAsAFailure() {
    LocalBreaker local = new LocalBreaker(new LocalBreaker.Rules(1, 0, 10 * SECOND));
    fail(local, 0);
    LocalBreaker.Answer probe = local.acquire(10 * SECOND);
    assertEquals(Reason.HALF_OPEN_FULL, local.acquire(11 * SECOND).refused());
    assertEquals(10 * SECOND, local.acquire(70 * SECOND).retryAfter(), "opened again at 70 s");
    local.report(probe, Outcome.SUCCESS, 71 * SECOND);
    assertEquals(Reason.OPEN, local.acquire(71 * SECOND).refused(), "an outcome of an earlier stretch moves nothing");
    local.report(local.acquire(80 * SECOND), Outcome.SUCCESS, 80 * SECOND);
    assertTrue(local.acquire(80 * SECOND).isPermitted());
  }
}
