package dev.fuseboard;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/** The local breaker alone, in virtual time, for the conformance driver. */
public final class LocalScript {
  private final LocalBreaker local;
  private final Map<String, LocalBreaker.Answer> permits = new HashMap<>();

  /** One that starts closed, with a policy's rules. */
  public LocalScript(Policy policy) {
    local = new LocalBreaker(LocalBreaker.Rules.of(policy.message()));
  }

  /** Null where it permits, and remembers the permit by this name; else why not. */
  public BreakerRejectedException acquire(String permit, Duration at) {
    LocalBreaker.Answer answer = local.acquire(at.toNanos());
    if (answer.isPermitted()) {
      permits.put(permit, answer);
      return null;
    }
    Duration wait = Duration.ofNanos(answer.retryAfter());
    return new BreakerRejectedException("local", answer.refused(), wait, answer.state(), Source.LOCAL);
  }

  /** How the call of a permit went. */
  public void report(String permit, Report report, Duration at) {
    LocalBreaker.Answer answer = permits.remove(permit);
    if (answer != null) {
      local.report(answer, report.localOutcome(), at.toNanos());
    }
  }
}
