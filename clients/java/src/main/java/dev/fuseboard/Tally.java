package dev.fuseboard;

import dev.fuseboard.v1.BreakerStatus;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

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

  /** Runs of failures and timeouts: before the first success, the longest without one in between, after the last success. */
  private int leadingFailures;

  private int longestRun;
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

  /** It has a failure or timeout, whose answer may be a trip. */
  boolean hasFailures() {
    return longestRun > 0;
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
      longestRun = Math.max(longestRun, trailingFailures);
      leadingFailures += successes == 0 ? 1 : 0;
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
            .setLeadingFailures(leadingFailures)
            .setLongestRun(longestRun)
            .setTrailingFailures(trailingFailures)
            .setLocalFailures(localFailures);
    if (retryAfter > 0) {
      message.setRetryAfter(Times.message(retryAfter));
    }
    return message.build();
  }

  /** What a client's pending tallies share, beyond the one of each breaker that always has its place. */
  static final class Room {
    /** The bound in bytes. */
    static final long BYTES_MAX = 512 << 10;

    private final AtomicLong used = new AtomicLong();

    private boolean take(long bytes) {
      if (used.addAndGet(bytes) <= BYTES_MAX) {
        return true;
      }
      used.addAndGet(-bytes);
      return false;
    }

    private void giveBack(long bytes) {
      used.addAndGet(-bytes);
    }

    /** Bytes in use. */
    long used() {
      return used.get();
    }
  }

  /** A breaker's pending tallies: one for each pair of generations, and full ones. */
  static final class Queue {
    /** What a tally counts as, besides its breaker's key. */
    static final long TALLY_BYTES = 256;

    /** Oldest first. */
    private List<Tally> pending = new ArrayList<>(2);

    /** The one that was counted in last; null: none is pending of which that is known. */
    private Tally last;

    private final long bytes;
    private final Room room;

    /** Calls of tallies that were dropped here. */
    long dropped;

    /** Rejections of tallies that were dropped here. */
    long droppedRejections;

    Queue(String key, Room room) {
      bytes = TALLY_BYTES + key.length();
      this.room = room;
    }

    boolean isEmpty() {
      return pending.isEmpty();
    }

    int size() {
      return pending.size();
    }

    boolean hasFailures() {
      return pending.stream().anyMatch(Tally::hasFailures);
    }

    /** The tally for decisions of a pair of generations. Where there is no room for another, the oldest is dropped. */
    Tally at(long generation, long callerGeneration, long now) {
      if (last != null && last.counts(generation, callerGeneration)) {
        return last;
      }
      for (int i = pending.size() - 1; i >= 0; i--) {
        if (pending.get(i).counts(generation, callerGeneration)) {
          last = pending.get(i);
          return last;
        }
      }
      if (!pending.isEmpty() && !room.take(bytes)) {
        drop(pending.remove(0));
      }
      last = new Tally(generation, callerGeneration, now);
      pending.add(last);
      return last;
    }

    private void drop(Tally tally) {
      dropped += tally.calls();
      droppedRejections += tally.rejections;
    }

    /** Drops tallies older than {@code ageMax}. */
    void expire(long now, long ageMax) {
      int before = pending.size();
      for (Iterator<Tally> all = pending.iterator(); all.hasNext(); ) {
        Tally tally = all.next();
        if (now - tally.since > ageMax) {
          drop(tally);
          all.remove();
        }
      }
      removed(before);
    }

    /** Removes at most {@code most} tallies, oldest first. */
    List<Tally> take(int most) {
      int before = pending.size();
      if (before == 0 || most == 0) {
        return List.of();
      }
      List<Tally> taken = pending;
      if (most < before) {
        taken = new ArrayList<>(pending.subList(0, most));
        pending = new ArrayList<>(pending.subList(most, before));
      } else {
        pending = new ArrayList<>(2);
      }
      removed(before);
      return taken;
    }

    /** Gives the room of those that were removed back. */
    private void removed(int before) {
      if (pending.size() < before) {
        last = null;
        room.giveBack(bytes * (before - 1 - Math.max(pending.size() - 1, 0)));
      }
    }
  }

  /** It takes decisions of a pair of generations. */
  private boolean counts(long generation, long callerGeneration) {
    return this.generation == generation && this.callerGeneration == callerGeneration && !isFull();
  }
}
