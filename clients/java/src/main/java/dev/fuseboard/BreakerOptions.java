package dev.fuseboard;

import java.time.Duration;
import java.util.function.BiFunction;

/**
 * One breaker's options.
 *
 * @param policy the policy that is declared for it; null: none is, the server's own holds
 * @param revision of the declaration: the highest stands, the first among equals. 0: none; the last one stands
 * @param mode null: the client's
 * @param whenUnavailable null: the client's
 * @param callTimeout longest that {@code execute} waits for an asynchronous call; then its outcome is a timeout. Null: no
 *     limit
 * @param classify what a call's result (or null) or exception (or null) means; null: {@link Report#of(Object, Throwable)}. It
 *     is called by many threads at a time
 */
public record BreakerOptions(
    Policy policy,
    long revision,
    Mode mode,
    WhenUnavailable whenUnavailable,
    Duration callTimeout,
    BiFunction<Object, Throwable, Report> classify) {

  /** Nothing is set. */
  public static BreakerOptions defaults() {
    return new BreakerOptions(null, 0, null, null, null, null);
  }

  /** The same with a policy to declare. */
  public BreakerOptions withPolicy(Policy policy) {
    return new BreakerOptions(policy, revision, mode, whenUnavailable, callTimeout, classify);
  }

  /** The same with a revision of the declaration. */
  public BreakerOptions withRevision(long revision) {
    return new BreakerOptions(policy, revision, mode, whenUnavailable, callTimeout, classify);
  }

  /** The same with a mode. */
  public BreakerOptions withMode(Mode mode) {
    return new BreakerOptions(policy, revision, mode, whenUnavailable, callTimeout, classify);
  }

  /** The same with what decides while the server cannot be asked. */
  public BreakerOptions withWhenUnavailable(WhenUnavailable whenUnavailable) {
    return new BreakerOptions(policy, revision, mode, whenUnavailable, callTimeout, classify);
  }

  /** The same with a limit for calls. */
  public BreakerOptions withCallTimeout(Duration callTimeout) {
    return new BreakerOptions(policy, revision, mode, whenUnavailable, callTimeout, classify);
  }

  /** The same with a classifier. */
  public BreakerOptions withClassifier(BiFunction<Object, Throwable, Report> classify) {
    return new BreakerOptions(policy, revision, mode, whenUnavailable, callTimeout, classify);
  }
}
