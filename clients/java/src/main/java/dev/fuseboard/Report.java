package dev.fuseboard;

import java.nio.charset.StandardCharsets;
import java.time.Duration;

/**
 * How a call went, with what is known about it.
 *
 * @param outcome how it went
 * @param duration how long the call took, at most 24 h; null: since the permit was given
 * @param errorClass a short class of the error, for people: {@code connection_refused}. At most 64 bytes of printable ASCII
 *     are kept; others become {@code ?}. Empty: none
 * @param retryAfter what the dependency asked for by a retry-after of its own, at most 24 h; null: nothing. Counts for
 *     failures only
 * @param origin on whose side a failure arose; null: the dependency's
 */
public record Report(Outcome outcome, Duration duration, String errorClass, Duration retryAfter, Origin origin) {
  private static final Duration LONGEST = Duration.ofHours(24);
  private static final int ERROR_CLASS_BYTES = 64;

  /** An outcome of which nothing else is known. */
  public static Report of(Outcome outcome) {
    return new Report(outcome, null, "", null, null);
  }

  /** What holds where there is no classifier: a result is a success; an exception a failure, or a timeout by its type. */
  public static Report of(Object result, Throwable error) {
    if (error == null) {
      return of(Outcome.SUCCESS);
    }
    boolean isTimeout =
        error instanceof java.util.concurrent.TimeoutException
            || error instanceof java.net.SocketTimeoutException
            || error instanceof java.net.http.HttpTimeoutException;
    return of(isTimeout ? Outcome.TIMEOUT : Outcome.FAILURE).withErrorClass(error.getClass().getSimpleName());
  }

  /** The same with another class of the error. */
  public Report withErrorClass(String errorClass) {
    return new Report(outcome, duration, errorClass, retryAfter, origin);
  }

  /** The same with a retry-after of the dependency's. */
  public Report withRetryAfter(Duration retryAfter) {
    return new Report(outcome, duration, errorClass, retryAfter, origin);
  }

  /** The same with the side that is at fault. */
  public Report withOrigin(Origin origin) {
    return new Report(outcome, duration, errorClass, retryAfter, origin);
  }

  /** It can move a breaker towards open. */
  boolean moves() {
    return isFailure() && origin != Origin.LOCAL;
  }

  boolean isFailure() {
    return outcome == Outcome.FAILURE || outcome == Outcome.TIMEOUT;
  }

  /** What it means to the local breaker. */
  Outcome localOutcome() {
    return isFailure() && origin == Origin.LOCAL ? Outcome.IGNORED : outcome;
  }

  /** Within the protocol's bounds. {@code took} is how long ago the permit was given, in nanoseconds. */
  Report bounded(long took) {
    return new Report(
        outcome == null ? Outcome.FAILURE : outcome,
        bounded(duration == null ? Duration.ofNanos(Math.max(took, 0)) : duration),
        printable(errorClass),
        retryAfter == null ? null : bounded(retryAfter),
        origin);
  }

  private static Duration bounded(Duration duration) {
    if (duration.isNegative()) {
      return Duration.ZERO;
    }
    return duration.compareTo(LONGEST) > 0 ? LONGEST : duration;
  }

  private static String printable(String text) {
    if (text == null || text.isEmpty()) {
      return "";
    }
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    StringBuilder kept = new StringBuilder();
    for (int i = 0; i < Math.min(bytes.length, ERROR_CLASS_BYTES); i++) {
      kept.append(bytes[i] >= ' ' && bytes[i] <= '~' ? (char) bytes[i] : '?');
    }
    return kept.toString();
  }
}
