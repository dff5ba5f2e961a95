package dev.fuseboard;

/** What decides calls while the server cannot be asked. */
public enum WhenUnavailable {
  /** A breaker in this process stands in. */
  LOCAL,
  /** Every call is permitted. */
  PERMIT,
  /** Every call is rejected, for {@link Reason#UNAVAILABLE}. */
  REJECT
}
