package dev.fuseboard;

import java.util.concurrent.ThreadLocalRandom;

/** When a stream that has ended is opened again. */
final class Retry {
  private static final long FIRST = 1_000_000_000L;
  private static final long BASE = 200_000_000L;
  private static final long MAX = 5_000_000_000L;

  /** In a row, since the stream last worked. */
  private int failures;

  /** The stream has answered. */
  synchronized void worked() {
    failures = 0;
  }

  /** The wait before the next attempt, in nanoseconds. */
  synchronized long nextDelay() {
    long longest = failures == 0 ? FIRST : Math.min(BASE << Math.min(failures, 10), MAX);
    failures++;
    return evenly(longest);
  }

  /** Draws a wait from 0 to {@code longest}. */
  static long evenly(long longest) {
    return ThreadLocalRandom.current().nextLong(longest + 1);
  }
}
