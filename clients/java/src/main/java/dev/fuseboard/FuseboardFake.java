package dev.fuseboard;

import java.time.Duration;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;

/**
 * Decides in the place of a server, in memory: for users' own unit tests. A breaker that it was told nothing of is closed.
 * Safe for use by many threads.
 */
public final class FuseboardFake {
  /** Why calls are refused. */
  record Refusal(Reason reason, Duration retryAfter, State state) {}

  private final Map<String, Refusal> refusals = new HashMap<>();
  private final Map<String, EnumMap<Outcome, Integer>> outcomes = new HashMap<>();
  private final Map<String, Integer> resets = new HashMap<>();

  /** A client that this fake decides for. It opens no connection. */
  public FuseboardClient client() {
    return FuseboardClient.builder().fake(this).build();
  }

  /** Calls are rejected, with this wait. */
  public synchronized void open(String breaker, Duration retryAfter) {
    refusals.put(breaker, new Refusal(Reason.OPEN, retryAfter, State.OPEN));
  }

  /** Calls of the client's caller are rejected, with this wait. */
  public synchronized void isolate(String breaker, Duration retryAfter) {
    refusals.put(breaker, new Refusal(Reason.CALLER_ISOLATED, retryAfter, State.CLOSED));
  }

  /** Calls are permitted. */
  public synchronized void close(String breaker) {
    refusals.remove(breaker);
  }

  /** How many calls to a breaker were reported with an outcome. */
  public synchronized int count(String breaker, Outcome outcome) {
    return outcomes.getOrDefault(breaker, new EnumMap<>(Outcome.class)).getOrDefault(outcome, 0);
  }

  /** How often a breaker was reset. A reset closes it. */
  public synchronized int resets(String breaker) {
    return resets.getOrDefault(breaker, 0);
  }

  synchronized Refusal refusal(String breaker) {
    return refusals.get(breaker);
  }

  synchronized void reported(String breaker, Outcome outcome) {
    outcomes.computeIfAbsent(breaker, key -> new EnumMap<>(Outcome.class)).merge(outcome, 1, Integer::sum);
  }

  synchronized void reset(String breaker) {
    refusals.remove(breaker);
    resets.merge(breaker, 1, Integer::sum);
  }
}
