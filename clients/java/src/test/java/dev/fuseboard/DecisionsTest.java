package dev.fuseboard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Descriptors.FieldDescriptor;
import dev.fuseboard.v1.BreakerStatus;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
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

  private static com.google.protobuf.Timestamp at(long seconds) {
    return com.google.protobuf.Timestamp.newBuilder().setSeconds(seconds).build();
  }

  @Test
  void aBurstOfMovesIsOneEventWithItsCountAndTheTimeOfTheFirst() {
    dev.fuseboard.v1.Event.Builder message =
        dev.fuseboard.v1.Event.newBuilder().setKindValue(EventKind.OPENED.wire()).setEventTime(at(9));
    Event one = Event.of(message.build());
    assertEquals(1, one.count());
    assertEquals(one.time(), one.first());
    Event burst = Event.of(message.setCount(7).setFirstEventTime(at(8)).build());
    assertEquals(7, burst.count());
    assertEquals(Instant.ofEpochSecond(8), burst.first());
    assertEquals(Instant.ofEpochSecond(9), burst.time());
  }

  @Test
  void aStatusHasTheLastSuccessTheLastFailureAndAllOverrides() {
    dev.fuseboard.v1.Override.Builder forced =
        dev.fuseboard.v1.Override.newBuilder()
            .setId("drill")
            .setModeValue(OverrideMode.FORCED_OPEN.wire())
            .setActor("ana")
            .setReason("a drill")
            .setSetTime(at(3))
            .setExpireTime(at(9));
    dev.fuseboard.v1.GetStateResponse.Builder message =
        dev.fuseboard.v1.GetStateResponse.newBuilder().addOverrides(forced);
    message.addOverrides(forced.clone().setId("other").clearExpireTime());
    message.setTotals(dev.fuseboard.v1.Totals.newBuilder().setLastSuccessTime(at(5)).setLastFailureTime(at(7)));
    Status status = Status.of(message.build());
    assertEquals(Instant.ofEpochSecond(5), status.lastSuccess());
    assertEquals(Instant.ofEpochSecond(7), status.lastFailure());
    Instant set = Instant.ofEpochSecond(3);
    assertEquals(
        List.of(
            new Status.Override("drill", OverrideMode.FORCED_OPEN, "ana", "a drill", set, Instant.ofEpochSecond(9)),
            new Status.Override("other", OverrideMode.FORCED_OPEN, "ana", "a drill", set, null)),
        status.overrides());
    Status none = Status.of(dev.fuseboard.v1.GetStateResponse.getDefaultInstance());
    assertNull(none.lastSuccess());
    assertNull(none.lastFailure());
    assertEquals(List.of(), none.overrides());
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
    Tally.Queue tallies = new Tally.Queue("db", new Tally.Room());
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
    Tally.Queue tallies = new Tally.Queue("db", new Tally.Room());
    tallies.at(1, 0, SECOND).add(Report.of(Outcome.SUCCESS), false);
    tallies.at(2, 0, 9 * SECOND).add(Report.of(Outcome.SUCCESS), false);
    tallies.expire(12 * SECOND, 10 * SECOND);
    assertEquals(1, tallies.dropped);
    assertEquals(List.of(2L), tallies.take(9).stream().map(tally -> tally.generation).toList());
  }

  @Test
  void outcomesOfTwoGenerationsMayAlternateAndNoneIsDropped() {
    Tally.Queue tallies = new Tally.Queue("db", new Tally.Room());
    for (int i = 0; i < 60; i++) {
      tallies.at(1 + i % 2, 0, SECOND).add(Report.of(Outcome.SUCCESS), false);
    }
    assertEquals(0, tallies.dropped);
    assertEquals(List.of(30, 30), tallies.take(10).stream().map(Tally::calls).toList());
    assertTrue(tallies.isEmpty());
  }

  @Test
  void pendingTalliesAreBoundedInBytesAndWhatIsDroppedIsCounted() {
    Tally.Room shared = new Tally.Room();
    Tally.Queue tallies = new Tally.Queue("db", shared);
    Tally.Queue other = new Tally.Queue("other", shared);
    int room = (int) (Tally.Room.BYTES_MAX / (Tally.Queue.TALLY_BYTES + 2)) + 1;
    for (int i = 0; i < room + 3; i++) {
      Tally tally = tallies.at(i + 1, 0, SECOND);
      tally.add(Report.of(Outcome.SUCCESS), false);
      tally.rejections = 2;
    }
    assertEquals(List.of(3L, 6L, (long) room), List.of(tallies.dropped, tallies.droppedRejections, (long) tallies.size()));
    other.at(1, 0, SECOND);
    assertEquals(1, other.size(), "another breaker's first tally has its place");
    assertEquals(10, tallies.take(10).size());
    tallies.expire(12 * SECOND, 10 * SECOND);
    assertTrue(tallies.isEmpty());
    assertEquals(List.of(room - 7L, 2L * (room - 7)), List.of(tallies.dropped, tallies.droppedRejections));
    assertEquals(0, shared.used());
  }

  private static dev.fuseboard.v1.Tally tallyOf(List<Outcome> outcomes) {
    Tally tally = new Tally(1, 0, 0);
    outcomes.forEach(outcome -> tally.add(Report.of(outcome), false));
    return tally.message("db", "web/1", 0);
  }

  @Test
  void runsOfFailuresAreExactAndComposeWhereverATallyIsSplit() {
    Random random = new Random(11);
    List<Outcome> kinds = List.of(Outcome.SUCCESS, Outcome.FAILURE, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.IGNORED);
    for (int round = 0; round < 2_000; round++) {
      List<Outcome> outcomes = new ArrayList<>();
      List<Integer> runs = new ArrayList<>();
      int run = 0;
      for (int i = random.nextInt(24); i > 0; i--) {
        Outcome outcome = kinds.get(random.nextInt(kinds.size()));
        outcomes.add(outcome);
        if (outcome == Outcome.SUCCESS) {
          runs.add(run);
          run = 0;
        } else if (outcome != Outcome.IGNORED) {
          run++;
        }
      }
      runs.add(run);
      List<Integer> want = List.of(runs.get(0), Collections.max(runs), run);
      dev.fuseboard.v1.Tally whole = tallyOf(outcomes);
      assertEquals(want, List.of(whole.getLeadingFailures(), whole.getLongestRun(), whole.getTrailingFailures()));
      for (int at = 0; at <= outcomes.size(); at++) {
        dev.fuseboard.v1.Tally a = tallyOf(outcomes.subList(0, at));
        dev.fuseboard.v1.Tally b = tallyOf(outcomes.subList(at, outcomes.size()));
        int joined = a.getTrailingFailures() + b.getLeadingFailures();
        List<Integer> composed =
            List.of(
                a.getLeadingFailures() + (a.getSuccesses() == 0 ? b.getLeadingFailures() : 0),
                Math.max(Math.max(a.getLongestRun(), b.getLongestRun()), joined),
                b.getTrailingFailures() + (b.getSuccesses() == 0 ? a.getTrailingFailures() : 0));
        assertEquals(want, composed, () -> "of " + outcomes);
      }
    }
  }

  @Test
  void aSequenceHasOneVerdictWheneverTheLocalBreakerBeganToStandIn() {
    Random random = new Random(11);
    LocalBreaker.Rules rules = new LocalBreaker.Rules(3, 5 * SECOND, 20 * SECOND);
    List<Outcome> kinds = List.of(Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.IGNORED);
    for (int round = 0; round < 2_000; round++) {
      int length = random.nextInt(12);
      Outcome[] outcomes = new Outcome[length];
      long[] at = new long[length];
      LocalBreaker whole = new LocalBreaker(rules);
      long now = SECOND;
      int tripped = 0;
      for (int i = 0; i < length && whole.isClosed(); i++) {
        now += random.nextInt(3) * SECOND;
        at[i] = now;
        outcomes[i] = kinds.get(random.nextInt(kinds.size()));
        whole.observe(outcomes[i], now);
        tripped = i + 1;
      }
      for (int split = 0; split <= tripped; split++) {
        Run run = new Run();
        for (int i = 0; i < split; i++) {
          if (outcomes[i] == Outcome.SUCCESS) {
            run.clear();
          } else if (outcomes[i] != Outcome.IGNORED) {
            run.add(at[i], rules);
          }
        }
        LocalBreaker late = new LocalBreaker(rules);
        late.recall(run);
        for (int i = split; i < tripped; i++) {
          late.observe(outcomes[i], at[i]);
        }
        assertEquals(whole.isClosed(), late.isClosed());
        assertEquals(whole.until(), late.until());
      }
    }
  }

  @Test
  void aPolicyHasEveryFieldOfTheProtos() {
    Policy policy =
        Policy.builder()
            .voters(Policy.Voters.SERVICE)
            .tripOn(Policy.TripOn.FAILURE)
            .openDurationMin(Duration.ofMillis(1))
            .build();
    assertEquals(dev.fuseboard.v1.Voters.VOTERS_SERVICE, policy.message().getVoters());
    assertEquals(dev.fuseboard.v1.TripOn.TRIP_ON_FAILURE, policy.message().getTripOn());
    assertEquals(Times.message(1_000_000L), policy.message().getOpenDurationMin());
    List<String> setters = Stream.of(Policy.Builder.class.getMethods()).map(method -> method.getName()).toList();
    for (FieldDescriptor field : dev.fuseboard.v1.Policy.getDescriptor().getFields()) {
      String name = field.getJsonName().equals("window") ? "timeWindow" : field.getJsonName();
      assertTrue(setters.contains(name), () -> "Policy.Builder has no " + name);
    }
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
