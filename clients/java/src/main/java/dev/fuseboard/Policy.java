package dev.fuseboard;

import dev.fuseboard.v1.CountWindow;
import dev.fuseboard.v1.TimeWindow;
import dev.fuseboard.v1.Window;
import java.time.Duration;

/**
 * The rules of a breaker, as a service declares them. A field that is not set is left out: a trip rule is then off, and any
 * other field the server's default. The server refuses what is out of range.
 */
public final class Policy {
  private final dev.fuseboard.v1.Policy message;

  private Policy(dev.fuseboard.v1.Policy message) {
    this.message = message;
  }

  /** A policy of the protocol's. */
  public static Policy of(dev.fuseboard.v1.Policy message) {
    return new Policy(message);
  }

  /** As the protocol has it. */
  public dev.fuseboard.v1.Policy message() {
    return message;
  }

  /** A policy in which nothing is set. */
  public static Builder builder() {
    return new Builder();
  }

  /** What a permit counts as when its lease ends and nobody has reported it. */
  public enum ExpiredPermit {
    /** A failure. */
    FAILURE,
    /** A timeout. */
    TIMEOUT,
    /** Nothing. */
    IGNORED;

    private dev.fuseboard.v1.ExpiredPermit wire() {
      return dev.fuseboard.v1.ExpiredPermit.valueOf("EXPIRED_PERMIT_" + name());
    }
  }

  /** Whose evidence the quorum counts. */
  public enum Voters {
    /** Each caller by its full name is one voter. */
    INSTANCE,
    /** All callers of a service, the part of the name before the first {@code /}, are one voter. */
    SERVICE;

    private dev.fuseboard.v1.Voters wire() {
      return dev.fuseboard.v1.Voters.valueOf("VOTERS_" + name());
    }
  }

  /** Which reports may trip a breaker. */
  public enum TripOn {
    /** Any counted report, including a success that completes a minimum. */
    ANY,
    /** Failures only; for the slow-call rule, slow calls only. */
    FAILURE;

    private dev.fuseboard.v1.TripOn wire() {
      return dev.fuseboard.v1.TripOn.valueOf("TRIP_ON_" + name());
    }
  }

  /** Sets what a policy says. */
  public static final class Builder {
    private final dev.fuseboard.v1.Policy.Builder message = dev.fuseboard.v1.Policy.newBuilder();

    private Builder() {}

    /** Failures in a row that trip. 0: off. 0 to 10,000. */
    public Builder failureThreshold(int failures) {
      message.setFailureThreshold(failures);
      return this;
    }

    /** Only failures in a row younger than this count. 0: no age limit. 1 ms to 24 h. */
    public Builder monitoringPeriod(Duration period) {
      message.setMonitoringPeriod(Times.message(period));
      return this;
    }

    /** Failures inside the window that trip. 0: off. 0 to 1,000,000. */
    public Builder failureCountThreshold(int failures) {
      message.setFailureCountThreshold(failures);
      return this;
    }

    /** Share of the window's calls that failed that trips, once it holds the minimum of calls. 0: off. 0 to 1. */
    public Builder failureRateThreshold(double share) {
      message.setFailureRateThreshold(share);
      return this;
    }

    /** A call that took at least this long is slow. 0: off. 1 ms to 1 h. */
    public Builder slowCallDuration(Duration duration) {
      message.setSlowCallDuration(Times.message(duration));
      return this;
    }

    /** Share of the window's calls that were slow that trips. 0: off. 0 to 1. */
    public Builder slowCallRateThreshold(double share) {
      message.setSlowCallRateThreshold(share);
      return this;
    }

    /** Calls the window must hold before that rate is believed. 0: as {@code minimumCalls}. 0 to 1,000,000. */
    public Builder slowCallMinimumCalls(int calls) {
      message.setSlowCallMinimumCalls(calls);
      return this;
    }

    /** Counts and rates are taken over the last {@code duration} (10 ms to 24 h), in {@code slices} (1 to 120; 0: 10). */
    public Builder timeWindow(Duration duration, int slices) {
      TimeWindow time = TimeWindow.newBuilder().setDuration(Times.message(duration)).setSlices(slices).build();
      message.setWindow(Window.newBuilder().setTime(time));
      return this;
    }

    /** Counts and rates are taken over the last so many calls: 1 to 100,000. */
    public Builder countWindow(int calls) {
      message.setWindow(Window.newBuilder().setCount(CountWindow.newBuilder().setCalls(calls)));
      return this;
    }

    /** Calls the window must hold before the failure rate is believed. 1 to 1,000,000. Default 20. */
    public Builder minimumCalls(int calls) {
      message.setMinimumCalls(calls);
      return this;
    }

    /** How long the breaker stays open. {@code openDurationMin} to 24 h; 0 is refused. Default 30 s. */
    public Builder openDuration(Duration duration) {
      message.setOpenDuration(Times.message(duration));
      return this;
    }

    /**
     * Makes each open period longer than the one before while recoveries fail: {@code multiplier} 1 to 100 (0: 2), at most
     * {@code max} (zero: 10 times the open period), of which the share {@code jitter} (0 to 1) is random.
     */
    public Builder openBackoff(double multiplier, Duration max, double jitter) {
      dev.fuseboard.v1.OpenBackoff.Builder backoff =
          dev.fuseboard.v1.OpenBackoff.newBuilder().setMultiplier(multiplier).setJitter(jitter);
      if (!max.isZero()) {
        backoff.setMaxDuration(Times.message(max));
      }
      message.setOpenBackoff(backoff);
      return this;
    }

    /** Permits out at a time while half-open, in the whole fleet. 1 to 1,000. Default 1. */
    public Builder probes(int probes) {
      message.setProbes(probes);
      return this;
    }

    /** Successful probes that close it. 1 to 1,000,000. Default 1. */
    public Builder successesToClose(int successes) {
      message.setSuccessesToClose(successes);
      return this;
    }

    /** Failed probes that reopen it. 1 to 1,000,000. Default 1. */
    public Builder failuresToReopen(int failures) {
      message.setFailuresToReopen(failures);
      return this;
    }

    /** Longest half-open round without a verdict, from its first probe. 0: no limit. 1 ms to 24 h. Default 0. */
    public Builder halfOpenMaxDuration(Duration duration) {
      message.setHalfOpenMaxDuration(Times.message(duration));
      return this;
    }

    /** Longest open period that a dependency's retry-after may ask for. 0: it is not listened to. To 24 h. Default 5 min. */
    public Builder retryAfterMax(Duration duration) {
      message.setRetryAfterMax(Times.message(duration));
      return this;
    }

    /** How long a permit is good for. 1 ms to 1 h. Default 60 s. */
    public Builder lease(Duration duration) {
      message.setLease(Times.message(duration));
      return this;
    }

    /** What an unreported probe counts as when its lease ends. Default: a failure. */
    public Builder expiredProbe(ExpiredPermit as) {
      message.setExpiredProbe(as.wire());
      return this;
    }

    /** What any other unreported permit counts as. Default: ignored. */
    public Builder expiredPermit(ExpiredPermit as) {
      message.setExpiredPermit(as.wire());
      return this;
    }

    /** How many callers must have evidence before it opens for all. 1 to 256. Default 2. */
    public Builder minCallers(int callers) {
      message.setMinCallers(callers);
      return this;
    }

    /** The same as a share of the known callers. 0: {@code minCallers} alone. 0 to 1. Default 0. */
    public Builder share(double share) {
      message.setShare(share);
      return this;
    }

    /** Whose evidence the quorum counts. Default: each instance's. */
    public Builder voters(Voters voters) {
      message.setVoters(voters.wire());
      return this;
    }

    /** Which reports may trip the breaker. Default: any. */
    public Builder tripOn(TripOn reports) {
      message.setTripOn(reports.wire());
      return this;
    }

    /**
     * Shortest {@code openDuration} that the policy accepts; protects against a unit mistake. Set it below the default to
     * permit shorter open periods. 1 ms to 24 h; 0 is refused. Default 100 ms.
     */
    public Builder openDurationMin(Duration duration) {
      message.setOpenDurationMin(Times.message(duration));
      return this;
    }

    /** The policy. */
    public Policy build() {
      return new Policy(message.build());
    }
  }
}
