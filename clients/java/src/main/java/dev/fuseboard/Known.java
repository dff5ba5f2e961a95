package dev.fuseboard;

import dev.fuseboard.v1.BreakerStatus;
import dev.fuseboard.v1.CallerStatus;
import java.time.Duration;
import java.time.Instant;

/**
 * What a client knows of a breaker, and what that alone says to a call. Pure: {@code now} is an argument, in nanoseconds of
 * the client's time, which starts above 0. A deadline of 0: there is none, or it is not known.
 *
 * <p>Invariant: neither generation goes down, unless all that is known is forgotten by a resync.
 */
final class Known {
  /** The wait that a rejection names where nobody knows the end of an override. */
  private static final long STAYING_RETRY_AFTER = 30_000_000_000L;

  /** What it says to a call. {@code refused} is set where it rejects. */
  record Verdict(boolean permits, Reason refused, long retryAfter) {
    static final Verdict PERMIT = new Verdict(true, null, 0);
    static final Verdict ASK = new Verdict(false, null, 0);
  }

  /** The part of an answer to an acquire or a report that tells where a breaker stands. */
  record Answer(
      State state,
      long generation,
      OverrideMode override,
      State callerState,
      long callerGeneration,
      Reason refused,
      long retryAfter) {}

  State state;
  long generation;
  long until;
  State callerState = State.CLOSED;
  long callerGeneration;
  long callerUntil;
  OverrideMode override;
  long overrideUntil;

  /** That of the last event that the watch told. Answers do not raise it. */
  long sequence;

  /** That of the policy in force; 0 where it is not known. */
  long policyVersion;

  /** A refusal is believed until its own deadline, however old; leave is given by a fresh view only. */
  Verdict decide(boolean isFresh, long now) {
    boolean isClosed = isFresh && state == State.CLOSED;
    if (override == OverrideMode.FORCED_OPEN) {
      return refuse(Reason.FORCED_OPEN, overrideUntil == 0 ? now + STAYING_RETRY_AFTER : overrideUntil, now);
    }
    if (override != null) {
      return isClosed ? Verdict.PERMIT : Verdict.ASK;
    }
    if (state == State.OPEN && now < until) {
      return refuse(Reason.OPEN, until, now);
    }
    if (callerState == State.OPEN && now < callerUntil) {
      return refuse(Reason.CALLER_ISOLATED, callerUntil, now);
    }
    return isClosed && callerState == State.CLOSED ? Verdict.PERMIT : Verdict.ASK;
  }

  private static Verdict refuse(Reason reason, long until, long now) {
    return new Verdict(false, reason, Math.max(until - now, LocalBreaker.RETRY_AFTER_MIN));
  }

  /**
   * Takes what a status says. What it says of another caller than {@code own} is passed over. {@code toldAt} is the server's
   * time when it said so, null where that is not known.
   */
  void applyStatus(BreakerStatus status, String own, Instant toldAt, long now) {
    if (status.getGeneration() >= generation) {
      if (status.getGeneration() > generation) {
        overrideUntil = 0;
      }
      state = State.ofWire(status.getStateValue());
      generation = status.getGeneration();
      until = status.hasStateRemaining() ? now + Times.nanos(status.getStateRemaining()) : 0;
      override = OverrideMode.ofWire(status.getOverrideModeValue());
      if (status.hasOverrideExpireTime() && toldAt != null) {
        Instant expires = Times.instant(status.getOverrideExpireTime());
        overrideUntil = now + Duration.between(toldAt, expires).toNanos();
      }
      policyVersion = Math.max(policyVersion, status.getPolicyVersion());
    }
    if (status.hasCaller() && status.getCaller().getCaller().equals(own)) {
      CallerStatus caller = status.getCaller();
      if (caller.getGeneration() >= callerGeneration) {
        long callerEnds = caller.hasStateRemaining() ? now + Times.nanos(caller.getStateRemaining()) : 0;
        setCaller(State.ofWire(caller.getStateValue()), caller.getGeneration(), callerEnds);
      }
    }
    callerIsClosedIfItNeverMoved();
  }

  /** Takes what an answer says. Answers tell no deadline: one that is known is kept, a rejection's wait is believed. */
  void applyAnswer(Answer answer, long now) {
    if (answer.generation() >= generation) {
      if (answer.generation() > generation || state != answer.state()) {
        state = answer.state();
        generation = answer.generation();
        until = 0;
        overrideUntil = 0;
      }
      override = answer.override();
      if (answer.refused() == Reason.OPEN && until <= now) {
        until = now + answer.retryAfter();
      }
    }
    if (answer.callerGeneration() < callerGeneration) {
      return;
    }
    boolean hasMoved = answer.callerGeneration() > callerGeneration;
    if (answer.callerState() != null) {
      if (hasMoved || answer.callerState() != callerState) {
        setCaller(answer.callerState(), answer.callerGeneration(), 0);
      }
    } else if (answer.refused() == Reason.CALLER_ISOLATED) {
      if (hasMoved || callerState != State.HALF_OPEN && callerUntil <= now) {
        setCaller(State.OPEN, answer.callerGeneration(), now + answer.retryAfter());
      }
    } else if (hasMoved) {
      // Where to is told by an event or the next report.
      setCaller(null, answer.callerGeneration(), 0);
    }
    callerIsClosedIfItNeverMoved();
  }

  /** Takes an event. False: it was seen before, and changes nothing. */
  boolean applyEvent(dev.fuseboard.v1.Event event, String own, long now) {
    if (event.getSequence() <= sequence) {
      return false;
    }
    sequence = event.getSequence();
    if (event.getKind() == dev.fuseboard.v1.EventKind.EVENT_KIND_DELETED) {
      delete();
    } else {
      applyStatus(event.getStatus(), own, Times.instant(event.getEventTime()), now);
    }
    return true;
  }

  void applySnapshot(BreakerStatus status, String own, long now) {
    applyStatus(status, own, null, now);
    sequence = Math.max(sequence, status.getSequence());
  }

  /** The breaker is gone. The generation stays: one that comes anew under its key starts above it. */
  void delete() {
    long last = sequence;
    long reached = generation;
    forget();
    sequence = last;
    generation = reached;
  }

  /** Nothing is known any more. */
  void forget() {
    state = null;
    generation = 0;
    until = 0;
    setCaller(State.CLOSED, 0, 0);
    override = null;
    overrideUntil = 0;
    sequence = 0;
    policyVersion = 0;
  }

  /**
   * Forgets what only a watch can keep true. For a watch that went on from a token and begins to cover the breaker: what
   * happened between an answer and that token was told to nobody here.
   */
  void doubt() {
    if (state != State.OPEN && override != OverrideMode.FORCED_OPEN) {
      state = null;
    }
  }

  private void setCaller(State state, long generation, long until) {
    callerState = state;
    callerGeneration = generation;
    callerUntil = until;
  }

  private void callerIsClosedIfItNeverMoved() {
    if (callerGeneration == 0) {
      callerState = State.CLOSED;
    }
  }
}
