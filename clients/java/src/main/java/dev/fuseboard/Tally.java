package dev.fuseboard;

import dev.fuseboard.v1.BreakerStatus;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/** The calls to one breaker that were decided here and not told yet, under one pair of generations. Pure. */
final class Tally {
  /** The highest count that a tally may carry. */
  private static final int COUNT_MAX = 1_000_000;

  final long generation;
  final long callerGeneration;

  /** When the oldest of its calls was counted. */
  final long since;

  int rejections;
  private int successes;
  private int failures;
  private int timeouts;
  private int slow;
  private int ignored;
  private int localFailures;
  private int trailingFailures;
  private long retryAfter;

  Tally(long generation, long callerGeneration, long since) {
    this.generation = generation;
    this.callerGeneration = callerGeneration;
    this.since = since;
  }

  /** Outcomes in it; rejections are none. */
  int calls() {
    return successes + failures + timeouts + ignored + localFailures;
  }

  boolean isFull() {
    return calls() >= COUNT_MAX || rejections >= COUNT_MAX;
  }

  /** One more call. */
  void add(Report report, boolean isSlow) {
    if (report.isFailure() && !report.moves()) {
      localFailures++;
      return;
    }
    switch (report.outcome()) {
      case SUCCESS -> {
        successes++;
        trailingFailures = 0;
      }
      case FAILURE -> failures++;
      case TIMEOUT -> timeouts++;
      default -> {
        ignored++;
        return;
      }
    }
    slow += isSlow ? 1 : 0;
    if (report.isFailure()) {
      trailingFailures++;
      retryAfter = Math.max(retryAfter, report.retryAfter() == null ? 0 : report.retryAfter().toNanos());
    }
  }

  /** It was decided under generations before those of a status. */
  boolean isOlderThan(BreakerStatus status, String own) {
    boolean isOwn = status.hasCaller() && status.getCaller().getCaller().equals(own);
    return generation < status.getGeneration()
        || isOwn && callerGeneration < status.getCaller().getGeneration();
  }

  /** As it is sent at {@code now}. */
  dev.fuseboard.v1.Tally message(String breaker, String caller, long now) {
    dev.fuseboard.v1.Tally.Builder message =
        dev.fuseboard.v1.Tally.newBuilder()
            .setBreaker(breaker)
            .setCaller(caller)
            .setGeneration(generation)
            .setCallerGeneration(callerGeneration)
            .setAge(Times.message(Math.max(now - since, 0)))
            .setSuccesses(successes)
            .setFailures(failures)
            .setTimeouts(timeouts)
            .setSlow(slow)
            .setIgnored(ignored)
            .setRejections(rejections)
            .setTrailingFailures(trailingFailures)
            .setLocalFailures(localFailures);
    if (retryAfter > 0) {
      message.setRetryAfter(Times.message(retryAfter));
    }
    return message.build();
  }

  /** A breaker's tallies: the one that counts, and those of earlier generations. */
  static final class Queue {
    /** Tallies that wait for a batch. Beyond, the oldest is dropped. */
    private static final int WAITING_MAX = 16;

    /** Oldest first; the last counts. */
    private final ArrayDeque<Tally> waiting = new ArrayDeque<>();

    /** Calls of tallies that were dropped here. */
    long dropped;

    boolean isEmpty() {
      return waiting.isEmpty();
    }

    /** The tally for decisions of a pair of generations. */
    Tally at(long generation, long callerGeneration, long now) {
      Tally last = waiting.peekLast();
      if (last != null
          && last.generation == generation
          && last.callerGeneration == callerGeneration
          && !last.isFull()) {
        return last;
      }
      if (waiting.size() > WAITING_MAX) {
        dropped += waiting.removeFirst().calls();
      }
      Tally tally = new Tally(generation, callerGeneration, now);
      waiting.addLast(tally);
      return tally;
    }

    /** Drops tallies older than {@code ageMax}. */
    void expire(long now, long ageMax) {
      while (!waiting.isEmpty() && now - waiting.getFirst().since > ageMax) {
        dropped += waiting.removeFirst().calls();
      }
    }

    /** Removes at most {@code most} tallies, oldest first. */
    List<Tally> take(int most) {
      List<Tally> taken = new ArrayList<>();
      while (taken.size() < most && !waiting.isEmpty()) {
        taken.add(waiting.removeFirst());
      }
      return taken;
    }
  }
}
