package dev.fuseboard;

import dev.fuseboard.v1.Decision;
import dev.fuseboard.v1.PolicyInForce;
import dev.fuseboard.v1.SessionAcquired;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;

/**
 * One breaker as a client keeps it: what is known, what was decided here and not told yet, the local breaker, and how they
 * decide. No I/O and no clock: {@code now} is an argument. Its monitor is a leaf: nothing is called under it.
 */
final class Core {
  /** What a rejection tells to wait while the server cannot be asked: by then it was asked at least once more. */
  private static final Duration UNAVAILABLE_RETRY_AFTER = Duration.ofSeconds(1);

  final String key;

  /** Its number in sessions. */
  final int handle;

  final BreakerOptions options;
  final Mode mode;
  final WhenUnavailable whenUnavailable;

  /** A watch that names this breaker has spoken. */
  volatile boolean isCovered;

  /** The server has taken the declaration, or refused it for good, in this session. */
  volatile boolean isDeclared;

  /** Its policy is to be asked for. */
  volatile boolean isPolicyDue;

  /** The server has said where the breaker stands. */
  private boolean isTold;

  private final Known known = new Known();
  private final Tally.Queue tallies;
  private final Run run = new Run();

  /** The answer to the last decisive outcome, which the next acquire waits for. Null: none is. */
  final AtomicReference<CompletableFuture<Void>> awaited = new AtomicReference<>();

  /** Any failure may trip the breaker, as far as is known here. */
  private boolean suspects = true;

  private LocalBreaker local;
  private LocalBreaker.Rules rules = LocalBreaker.Rules.DEFAULT;

  /** Calls that take at least so many nanoseconds are slow. 0: none is. */
  private long slowAfter;

  /** Version of the policy that is known, raised to 1; 0: none is. */
  private long policyAt;

  private final long[] permits = new long[Source.values().length];
  private final long[] rejections = new long[Source.values().length];
  private long reported;
  private long dropped;
  private long droppedRejections;
  private long unreported;
  private long stale;

  Core(String key, int handle, BreakerOptions options, FuseboardClient.Builder client, Tally.Room room) {
    this.key = key;
    this.handle = handle;
    tallies = new Tally.Queue(key, room);
    this.options = options;
    this.mode = options.mode() == null ? client.mode : options.mode();
    this.whenUnavailable = options.whenUnavailable() == null ? client.whenUnavailable : options.whenUnavailable();
    if (options.policy() != null) {
      follow(options.policy().message());
    }
  }

  // Deciding.

  /** What memory said: leave, a rejection, or neither where the server has to be asked. */
  record Verdict(Ticket ticket, BreakerRejectedException rejection, boolean beginsTally) {}

  synchronized Verdict decide(boolean isFresh, boolean isUsable, long now) {
    Known.Verdict verdict = mode == Mode.CACHED ? known.decide(isFresh, now) : Known.Verdict.ASK;
    if (verdict.permits()) {
      LocalBreaker.Answer answer = null;
      if (!isUsable && whenUnavailable == WhenUnavailable.LOCAL) {
        answer = standIn(now).acquire(now);
        if (!answer.isPermitted()) {
          return new Verdict(null, refusedLocally(answer), false);
        }
      }
      permits[Source.CACHED.ordinal()]++;
      return new Verdict(Ticket.cached(now, known, answer == null ? null : local, answer), null, false);
    }
    if (verdict.refused() == null) {
      return null;
    }
    rejections[Source.CACHED.ordinal()]++;
    boolean beginsTally = tallies.isEmpty();
    tallies.at(known.generation, known.callerGeneration, now).rejections++;
    Duration wait = Duration.ofNanos(verdict.retryAfter());
    return new Verdict(null, rejection(verdict.refused(), wait, known.state, Source.CACHED), beginsTally);
  }

  /** Decides while the server cannot be asked. */
  synchronized Ticket decideWithoutServer(long now) {
    switch (whenUnavailable) {
      case LOCAL -> {
        LocalBreaker.Answer answer = standIn(now).acquire(now);
        if (!answer.isPermitted()) {
          throw refusedLocally(answer);
        }
        permits[Source.LOCAL.ordinal()]++;
        return Ticket.ofLocal(now, known, local, answer);
      }
      case PERMIT -> {
        permits[Source.UNAVAILABLE.ordinal()]++;
        return Ticket.unavailable(now, known);
      }
      default -> {
        rejections[Source.UNAVAILABLE.ordinal()]++;
        throw rejection(Reason.UNAVAILABLE, UNAVAILABLE_RETRY_AFTER, known.state, Source.UNAVAILABLE);
      }
    }
  }

  private BreakerRejectedException refusedLocally(LocalBreaker.Answer answer) {
    rejections[Source.LOCAL.ordinal()]++;
    return rejection(answer.refused(), Duration.ofNanos(answer.retryAfter()), answer.state(), Source.LOCAL);
  }

  /** The server's answer to an acquire, as the decision. */
  synchronized Ticket decided(SessionAcquired answer, long now) {
    State state = State.ofWire(answer.getStateValue());
    if (answer.getDecision() == Decision.DECISION_PERMITTED) {
      permits[Source.SERVER.ordinal()]++;
      // A caller that is not known to be closed is being probed itself.
      boolean isProbe = state == State.HALF_OPEN || known.callerState != State.CLOSED;
      boolean isKnown = !answer.getProvisional();
      return Ticket.ofServer(
          now,
          isKnown ? answer.getGeneration() : known.generation,
          isKnown ? answer.getCallerGeneration() : known.callerGeneration,
          answer.getPermit(),
          now + Times.nanos(answer.getLease()),
          isProbe);
    }
    rejections[Source.SERVER.ordinal()]++;
    Reason reason = Reason.ofWire(answer.getReasonValue());
    // A reason that this client does not know is the server's no all the same.
    throw rejection(
        reason == null ? Reason.OPEN : reason, Times.duration(answer.getRetryAfter()), state, Source.SERVER);
  }

  /** A fake's decision; null: it permits. */
  synchronized Ticket decidedByFake(FuseboardFake.Refusal refusal, long now) {
    if (refusal != null) {
      rejections[Source.SERVER.ordinal()]++;
      throw rejection(refusal.reason(), refusal.retryAfter(), refusal.state(), Source.SERVER);
    }
    permits[Source.SERVER.ordinal()]++;
    return Ticket.ofServer(now, 0, 0, null, now, false);
  }

  private BreakerRejectedException rejection(Reason reason, Duration retryAfter, State state, Source source) {
    return new BreakerRejectedException(key, reason, retryAfter, state, source);
  }

  // Outcomes.

  /** Counts the outcome of a call that was decided from memory. True: a tally has begun with it. */
  synchronized boolean count(Ticket ticket, Report report, boolean isUsable, long now) {
    boolean beginsTally = tallies.isEmpty();
    add(ticket, report, isUsable, now);
    record(ticket, report, now);
    return beginsTally;
  }

  /** The same for a failure or timeout. True: it is decisive. */
  synchronized boolean countFailure(Ticket ticket, Report report, boolean isUsable, long now) {
    add(ticket, report, isUsable, now);
    return record(ticket, report, now);
  }

  private void add(Ticket ticket, Report report, boolean isUsable, long now) {
    boolean isSlow = slowAfter > 0 && report.duration().toNanos() >= slowAfter;
    tallies.at(ticket.generation(), ticket.callerGeneration(), now).add(report, isSlow);
    if (!isUsable && whenUnavailable == WhenUnavailable.LOCAL) {
      LocalBreaker standIn = standIn(now);
      if (ticket.local() != null) {
        tellLocal(ticket, report, now);
      } else if (!isOld(ticket)) {
        standIn.observe(report.localOutcome(), now);
      }
    }
  }

  /** Takes an outcome into the run. True: it is decisive, because the server's answer to it may be a trip. */
  synchronized boolean record(Ticket ticket, Report report, long now) {
    if (isOld(ticket)) {
      return false;
    }
    boolean isDecisive = false;
    if (report.outcome() == Outcome.SUCCESS) {
      run.clear();
    } else if (report.moves()) {
      run.add(now, rules);
      isDecisive = suspects || run.reaches(rules);
    }
    if (local != null && !local.isClosed()) {
      run.clear();
    }
    return isDecisive;
  }

  /** A permit was decided under generations below the view's. */
  private boolean isOld(Ticket ticket) {
    return ticket.generation() < known.generation || ticket.callerGeneration() < known.callerGeneration;
  }

  /** Counts the outcome of a call that the server did not know of. */
  synchronized void countUnreported(Ticket ticket, Report report, long now) {
    unreported++;
    tellLocal(ticket, report, now);
    record(ticket, report, now);
  }

  /** The outcome of a call that the local breaker permitted, unless another has taken its place. */
  private void tellLocal(Ticket ticket, Report report, long now) {
    if (local != null && ticket.local() == local) {
      local.report(ticket.localPermit(), report.localOutcome(), now);
    }
  }

  /** Outcomes and rejections that cannot be told. */
  synchronized void drop(long calls, long refused) {
    dropped += calls;
    droppedRejections += refused;
  }

  /** Outcomes that the server has acknowledged; {@code isStale}: it counted them apart. */
  synchronized void acknowledge(long calls, boolean isStale) {
    reported += calls;
    stale += isStale ? calls : 0;
  }

  /** At most {@code most} tallies to send, oldest first. Too old ones are dropped. */
  synchronized List<Tally> takeTallies(int most, long now, long ageMax) {
    tallies.expire(now, ageMax);
    return tallies.take(most);
  }

  /** Drops tallies that have grown too old. True: there are others. */
  synchronized boolean expireTallies(long now, long ageMax) {
    tallies.expire(now, ageMax);
    return !tallies.isEmpty();
  }

  /** Failures or timeouts wait to be told. */
  synchronized boolean hasFailures() {
    return tallies.hasFailures();
  }

  synchronized boolean hasTallies() {
    return !tallies.isEmpty();
  }

  /** Nothing more can be told. */
  synchronized void giveUp() {
    tallies.expire(Long.MAX_VALUE, 0);
  }

  synchronized void addTo(Stats.Sum sum) {
    sum.add(permits, rejections, reported, unreported, stale);
    sum.drop(dropped + tallies.dropped, droppedRejections + tallies.droppedRejections);
  }

  // What the server says.

  synchronized View view(boolean isFresh) {
    return new View(known.state, known.generation, known.callerState, known.override, isFresh);
  }

  /** Changes what is known. True: the policy in force is another than the one that is known. */
  synchronized boolean apply(Consumer<Known> change) {
    long generation = known.generation;
    long callerGeneration = known.callerGeneration;
    change.accept(known);
    if (known.generation != generation || known.callerGeneration != callerGeneration) {
      run.clear();
    }
    return policyAt != 0 && known.policyVersion > policyAt;
  }


  /** Takes an answer to an acquire. True: its policy is to be asked for. */
  synchronized boolean applyAcquired(SessionAcquired answer, long now) {
    boolean isFirst = !isTold && options.policy() == null;
    isTold = true;
    boolean isOther = false;
    if (!answer.getProvisional()) {
      Known.Answer told =
          new Known.Answer(
              State.ofWire(answer.getStateValue()),
              answer.getGeneration(),
              OverrideMode.ofWire(answer.getOverrideModeValue()),
              null,
              answer.getCallerGeneration(),
              Reason.ofWire(answer.getReasonValue()),
              Times.nanos(answer.getRetryAfter()));
      isOther = apply(known -> known.applyAnswer(told, now));
    }
    return isFirst || isOther;
  }

  /** Takes the policy in force. */
  synchronized void applyPolicy(PolicyInForce policy) {
    if (policy.getVersion() < policyAt) {
      return;
    }
    // A breaker that nobody wrote a policy for has version 0; that it is known has to be told apart from that.
    policyAt = Math.max(policy.getVersion(), 1);
    follow(policy.getPolicy());
  }

  private void follow(dev.fuseboard.v1.Policy policy) {
    rules = LocalBreaker.Rules.of(policy);
    slowAfter = Times.nanos(policy.getSlowCallDuration());
    suspects =
        policy.getFailureCountThreshold() > 0
            || policy.getFailureRateThreshold() > 0
            || policy.getSlowCallRateThreshold() > 0;
  }

  /** Events were lost: nothing is known any more. True: a policy was known. */
  synchronized boolean forget() {
    known.forget();
    run.clear();
    boolean wasKnown = policyAt != 0;
    policyAt = 0;
    return wasKnown;
  }

  /** The breaker was reset. */
  synchronized void clear() {
    local = null;
    run.clear();
  }

  /** The server can be asked again. */
  synchronized void dismissStandIn() {
    local = null;
  }

  /** The local breaker, which starts where the view stands. */
  private LocalBreaker standIn(long now) {
    if (local == null) {
      local = LocalBreaker.standing(rules, known.state, known.until, now);
      local.recall(run);
    }
    return local;
  }
}
