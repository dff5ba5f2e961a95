package dev.fuseboard;

/**
 * The breaker that stands in while no server can be asked. One rule, the same in the clients of all languages: so many
 * failures in a row, all young enough, open it; after the open period one probe decides.
 *
 * <p>It does no I/O and reads no clock: {@code now} is an argument in nanoseconds that never goes back. Not safe for
 * concurrent use.
 */
final class LocalBreaker {
  /** A probe that nobody reported for so long counts as a failure. */
  private static final long PROBE_LEASE = 60_000_000_000L;

  /** What callers are told to wait while the probe is out. */
  private static final long FULL_RETRY_AFTER = 1_000_000_000L;

  /** The shortest wait that a rejection names. */
  static final long RETRY_AFTER_MIN = 10_000_000L;

  /** What the local breaker takes from a policy; {@code monitoringPeriod} 0: no limit. */
  record Rules(int failureThreshold, long monitoringPeriod, long openDuration) {
    static final Rules DEFAULT = new Rules(5, 0, 30_000_000_000L);

    /** Those of a policy; what is unset or off there has the default. */
    static Rules of(dev.fuseboard.v1.Policy policy) {
      long open = Times.nanos(policy.getOpenDuration());
      return new Rules(
          policy.getFailureThreshold() > 0 ? policy.getFailureThreshold() : DEFAULT.failureThreshold,
          Times.nanos(policy.getMonitoringPeriod()),
          open > 0 ? open : DEFAULT.openDuration);
    }
  }

  /**
   * Leave for one call, or why not. A permit is the stretch that it was given in: every move begins another, and an outcome
   * of an earlier stretch moves nothing.
   */
  record Answer(Reason refused, long retryAfter, State state, long stretch, long probe) {
    boolean isPermitted() {
      return refused == null;
    }
  }

  private final Rules rules;
  private State state = State.CLOSED;
  private long stretch;
  private long probes;
  private boolean isProbeOut;
  private long probeSince;
  private long until;

  private final Run failures = new Run();

  LocalBreaker(Rules rules) {
    this.rules = rules;
  }

  /** One that starts where the breaker was last known to stand. {@code until} is an open one's deadline, 0: not known. */
  static LocalBreaker standing(Rules rules, State state, long until, long now) {
    LocalBreaker local = new LocalBreaker(rules);
    if (state == State.OPEN && now < until) {
      local.state = State.OPEN;
      local.until = until;
    } else if (state == State.OPEN || state == State.HALF_OPEN) {
      local.state = State.HALF_OPEN;
    }
    return local;
  }

  /** Gives a closed one the failures that were recorded before it stood in. Those that trip it open it at the last of them. */
  void recall(Run run) {
    if (state != State.CLOSED) {
      return;
    }
    failures.addAll(run, rules);
    if (failures.trips(rules)) {
      open(failures.last());
    }
  }

  /** It permits every call. */
  boolean isClosed() {
    return state == State.CLOSED;
  }

  /** When an open one lets a probe through. */
  long until() {
    return until;
  }

  Answer acquire(long now) {
    passTime(now);
    if (state == State.OPEN) {
      return new Answer(Reason.OPEN, Math.max(until - now, RETRY_AFTER_MIN), state, 0, 0);
    }
    if (state == State.CLOSED) {
      return new Answer(null, 0, state, stretch, 0);
    }
    if (isProbeOut) {
      return new Answer(Reason.HALF_OPEN_FULL, FULL_RETRY_AFTER, state, 0, 0);
    }
    isProbeOut = true;
    probeSince = now;
    return new Answer(null, 0, state, stretch, ++probes);
  }

  /** How a call that it permitted went. A failure of the caller's own making is told as ignored. */
  void report(Answer permit, Outcome outcome, long now) {
    passTime(now);
    if (permit.stretch() != stretch) {
      return;
    }
    if (state == State.CLOSED) {
      count(outcome, now);
    } else if (state == State.HALF_OPEN && permit.probe() == probes) {
      switch (outcome) {
        case SUCCESS -> enter(State.CLOSED);
        case FAILURE, TIMEOUT -> open(now);
        default -> isProbeOut = false;
      }
    }
  }

  /** How a call went that was decided by somebody else. It counts while closed only. */
  void observe(Outcome outcome, long now) {
    passTime(now);
    if (state == State.CLOSED) {
      count(outcome, now);
    }
  }

  private void count(Outcome outcome, long now) {
    switch (outcome) {
      case SUCCESS -> failures.clear();
      case FAILURE, TIMEOUT -> {
        failures.add(now, rules);
        if (failures.trips(rules)) {
          open(now);
        }
      }
      default -> {}
    }
  }

  /** The moves that time alone makes, each at its own instant. */
  private void passTime(long now) {
    if (state == State.HALF_OPEN && isProbeOut && now - probeSince >= PROBE_LEASE) {
      open(probeSince + PROBE_LEASE);
    }
    if (state == State.OPEN && now >= until) {
      enter(State.HALF_OPEN);
    }
  }

  private void open(long at) {
    enter(State.OPEN);
    until = at + rules.openDuration();
  }

  private void enter(State next) {
    state = next;
    stretch++;
    failures.clear();
    isProbeOut = false;
  }
}
