package dev.fuseboard;

import java.time.Duration;
import java.util.Optional;

/** A call was not permitted: why, and when to ask again. It has no stack trace: rejections are frequent and no faults. */
public final class BreakerRejectedException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final String breaker;
  private final Reason reason;
  private final Duration retryAfter;
  private final State state;
  private final Source source;

  BreakerRejectedException(String breaker, Reason reason, Duration retryAfter, State state, Source source) {
    super(null, null, false, false);
    this.breaker = breaker;
    this.reason = reason;
    this.retryAfter = retryAfter;
    this.state = state;
    this.source = source;
  }

  @Override
  public String getMessage() {
    String start = "breaker \"" + breaker + "\" rejected the call: ";
    if (reason == Reason.UNAVAILABLE) {
      return start + "the server could not be asked";
    }
    return start + reason + "; retry after " + retryAfter.toMillis() + " ms";
  }

  /** The breaker's key. */
  public String breaker() {
    return breaker;
  }

  /** Why. */
  public Reason reason() {
    return reason;
  }

  /** How long to wait before asking again: at least 10 ms. */
  public Duration retryAfter() {
    return retryAfter;
  }

  /** The breaker's state, as far as it is known. */
  public Optional<State> state() {
    return Optional.ofNullable(state);
  }

  /** Who rejected it. */
  public Source source() {
    return source;
  }
}
