package dev.fuseboard;

import dev.fuseboard.v1.BreakerServiceGrpc;
import dev.fuseboard.v1.BreakerStatus;
import dev.fuseboard.v1.GetStateRequest;
import dev.fuseboard.v1.GetStateResponse;
import dev.fuseboard.v1.ResetRequest;
import dev.fuseboard.v1.SessionAcquired;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Guards one dependency. Made by {@link FuseboardClient#breaker}; safe for use by many threads. */
public final class Breaker {
  private final FuseboardClient client;
  private final Core core;

  Breaker(FuseboardClient client, Core core) {
    this.client = client;
    this.core = core;
  }

  /** The breaker's key. */
  public String key() {
    return core.key;
  }

  // Calls.

  /**
   * Makes a call in this thread if the breaker permits it, and reports how it went. After a failure it waits for the server's
   * answer, at most {@code reportTimeout}. Past {@code callTimeout} this thread is interrupted.
   *
   * @throws BreakerRejectedException where it was not permitted
   * @throws TimeoutException where {@code callTimeout} has passed and the call heeded the interrupt
   * @throws Exception the call's own, untouched
   */
  public <T> T execute(Callable<T> call) throws Exception {
    return execute(call, core.options.classify());
  }

  /** The same with a classifier of this call's, in the place of the breaker's. */
  public <T> T execute(Callable<T> call, BiFunction<? super T, Throwable, Report> classify) throws Exception {
    Permit permit = acquire();
    Deadline deadline = Deadline.of(client, core.options.callTimeout());
    T result;
    try {
      result = call.call();
    } catch (Exception | Error thrown) {
      if (!deadline.end()) {
        permit.reportAndWait(classify(classify, null, thrown));
        throw thrown;
      }
      permit.reportAndWait(timedOut());
      TimeoutException timeout = new CallTimeout(core.options.callTimeout());
      timeout.initCause(thrown);
      throw timeout;
    }
    deadline.end();
    permit.reportAndWait(classify(classify, result, null));
    return result;
  }

  /** The same with a fallback, which answers in the place of a call that was rejected or failed. */
  public <T> T executeOr(Callable<T> call, Fallback<T> fallback) throws Exception {
    try {
      return execute(call);
    } catch (Exception error) {
      return fallback.answer(error);
    }
  }

  /** A call that goes through this breaker each time. */
  public <T> Callable<T> callable(Callable<T> call) {
    return () -> execute(call);
  }

  /**
   * A supplier that goes through this breaker each time. What is checked, an interrupt or a {@link TimeoutException} of
   * {@code callTimeout}, comes as the cause of a {@link CompletionException}.
   */
  public <T> Supplier<T> supplier(Supplier<T> call) {
    return () -> {
      try {
        return execute(call::get);
      } catch (RuntimeException error) {
        throw error;
      } catch (Exception checked) {
        throw new CompletionException(checked);
      }
    };
  }

  /** A task that goes through this breaker each time, as {@link #supplier}. */
  public Runnable runnable(Runnable call) {
    Supplier<Void> guarded =
        supplier(
            () -> {
              call.run();
              return null;
            });
    return guarded::get;
  }

  /** Answers in the place of a call. */
  @FunctionalInterface
  public interface Fallback<T> {
    /** The answer, for what went wrong: a {@link BreakerRejectedException} where the call was not made. */
    T answer(Exception error) throws Exception;
  }

  /**
   * Makes an asynchronous call if the breaker permits it, and reports how it went. What it gives is completed with the call's
   * own result or exception, or with a {@link BreakerRejectedException}, or past {@code callTimeout} with a {@link
   * TimeoutException}. Cancelling it reports the call as cancelled; the call itself goes on.
   */
  public <T> CompletableFuture<T> executeAsync(Supplier<? extends CompletionStage<T>> call) {
    return executeAsync(call, core.options.classify());
  }

  /** The same with a classifier of this call's, in the place of the breaker's. */
  public <T> CompletableFuture<T> executeAsync(
      Supplier<? extends CompletionStage<T>> call, BiFunction<? super T, Throwable, Report> classify) {
    CompletableFuture<T> told = new CompletableFuture<>();
    acquireAsync()
        .whenComplete(
            (permit, rejection) -> {
              if (rejection != null) {
                told.completeExceptionally(unwrapped(rejection));
              } else {
                run(permit, call, classify, told);
              }
            });
    return told;
  }

  private <T> void run(
      Permit permit,
      Supplier<? extends CompletionStage<T>> call,
      BiFunction<? super T, Throwable, Report> classify,
      CompletableFuture<T> told) {
    CompletableFuture<T> running = new CompletableFuture<>();
    try {
      call.get().whenComplete((result, error) -> complete(running, result, error == null ? null : unwrapped(error)));
    } catch (RuntimeException error) {
      running.completeExceptionally(error);
    }
    Duration limit = core.options.callTimeout();
    ScheduledFuture<?> timer =
        limit == null
            ? null
            : client.schedule(
                () -> running.completeExceptionally(new CallTimeout(limit)),
                limit.toNanos());
    told.whenComplete(
        (result, error) -> {
          if (told.isCancelled()) {
            permit.cancelled();
          }
        });
    running.whenComplete(
        (result, error) -> {
          if (timer != null) {
            timer.cancel(false);
          }
          Report report = error instanceof CallTimeout ? timedOut() : classify(classify, result, error);
          CompletableFuture<Void> answered = permit.reportAsync(report);
          awaitAsync(answered).whenComplete((nothing, never) -> complete(told, result, error));
        });
  }

  private static <T> void complete(CompletableFuture<T> future, T result, Throwable error) {
    if (error == null) {
      future.complete(result);
    } else {
      future.completeExceptionally(error);
    }
  }

  private static Throwable unwrapped(Throwable error) {
    return error instanceof CompletionException && error.getCause() != null ? error.getCause() : error;
  }

  /** Past {@code callTimeout}: a timeout of ours, and not one of the call's own. */
  private static final class CallTimeout extends TimeoutException {
    private static final long serialVersionUID = 1;

    CallTimeout(Duration limit) {
      super("the call took longer than " + limit);
    }
  }

  private static Report timedOut() {
    return Report.of(Outcome.TIMEOUT).withErrorClass("call_timeout");
  }

  /** What a call's end means; a classifier that throws is done without. */
  private <T> Report classify(BiFunction<? super T, Throwable, Report> classify, T result, Throwable error) {
    if (error instanceof InterruptedException || error instanceof CancellationException) {
      return Report.of(Outcome.CANCELLED);
    }
    if (classify != null) {
      try {
        Report report = classify.apply(result, error);
        if (report != null) {
          return report;
        }
        client.warn("the classifier of " + core.key + " gave no report");
      } catch (RuntimeException failed) {
        client.warn("the classifier of " + core.key + " failed: " + failed);
      }
    }
    return Report.of(result, error);
  }

  // Decisions.

  /**
   * Asks for leave to make one call. It waits at most {@code acquireTimeout}, and not at all where memory decides, except for
   * the answer to an outcome that was reported without waiting and may have tripped the breaker: at most {@code reportTimeout}.
   *
   * @throws BreakerRejectedException why not, and for how long
   * @throws InterruptedException where this thread was interrupted while the server was asked
   */
  public Permit acquire() throws InterruptedException {
    awaitDecisive();
    try {
      Ticket ticket = decideHere();
      return permitted(ticket != null ? ticket : decideByAsking());
    } catch (BreakerRejectedException rejection) {
      observeRejection(rejection);
      throw rejection;
    }
  }

  /** The same without waiting: completed with the permit, or with the rejection. Cancelled, it gives the permit back. */
  public CompletableFuture<Permit> acquireAsync() {
    CompletableFuture<Permit> told = new CompletableFuture<>();
    CompletableFuture<Void> decisive = core.awaited.get();
    if (decisive == null) {
      decide(told);
    } else if (decisive.isDone() || !client.link.isUsable || client.isClosed()) {
      forgetIfDone(decisive);
      decide(told);
    } else {
      awaitAsync(decisive)
          .whenComplete(
              (nothing, never) -> {
                core.awaited.compareAndSet(decisive, null);
                decide(told);
              });
    }
    return told;
  }

  /** Decides, and completes what was promised. */
  private void decide(CompletableFuture<Permit> told) {
    try {
      Ticket ticket = decideHere();
      if (ticket != null) {
        Permit permit = permitted(ticket);
        if (!told.complete(permit)) {
          permit.close();
        }
        return;
      }
    } catch (BreakerRejectedException rejection) {
      observeRejection(rejection);
      told.completeExceptionally(rejection);
      return;
    }
    CompletableFuture<SessionAcquired> answer = ask();
    client.schedule(() -> giveUp(answer), client.acquireTimeout);
    answer.whenCompleteAsync(
        (acquired, never) -> {
          try {
            Permit permit = permitted(decided(acquired));
            if (!told.complete(permit)) {
              permit.close();
            }
          } catch (BreakerRejectedException rejection) {
            observeRejection(rejection);
            told.completeExceptionally(rejection);
          }
        },
        client::execute);
    if (client.isClosed()) {
      answer.complete(null);
    }
  }

  /**
   * Waits, as {@code execute} does, for the answer to the last decisive outcome, so that the view has what it made of the
   * breaker. An answer that did not come is waited for once.
   */
  private void awaitDecisive() throws InterruptedException {
    CompletableFuture<Void> decisive = core.awaited.get();
    if (decisive == null) {
      return;
    }
    if (decisive.isDone() || !client.link.isUsable || client.isClosed()) {
      forgetIfDone(decisive);
      return;
    }
    awaitAnswer(decisive);
    core.awaited.compareAndSet(decisive, null);
  }

  /** One that has no answer yet is waited for once the server can be asked again. */
  private void forgetIfDone(CompletableFuture<Void> decisive) {
    if (decisive.isDone()) {
      core.awaited.compareAndSet(decisive, null);
    }
  }

  /** Asks the server, once it is known whether it can be asked. The answer is null where it cannot. */
  private CompletableFuture<SessionAcquired> ask() {
    CompletableFuture<SessionAcquired> answer = new CompletableFuture<>();
    client.link.settled.whenComplete((nothing, never) -> client.link.ask(core, answer));
    return answer;
  }

  /** The wait is over, unless the answer came at the last moment: whoever comes later does not wait again. */
  private void giveUp(CompletableFuture<SessionAcquired> answer) {
    if (answer.complete(null)) {
      client.link.settled.complete(null);
      client.link.becomeUnusable();
    }
  }

  private Permit permitted(Ticket ticket) {
    client.observe(observer -> observer.decided(core.key, ticket.source(), null));
    return new Permit(this, ticket);
  }

  private void observeRejection(BreakerRejectedException rejection) {
    client.observe(observer -> observer.decided(core.key, rejection.source(), rejection.reason()));
  }

  /** Decides from memory; null where the server has to be asked. */
  private Ticket decideHere() {
    long now = client.now();
    if (client.fake != null) {
      return core.decidedByFake(client.fake.refusal(core.key), now);
    }
    if (client.isClosed()) {
      return core.decideWithoutServer(now);
    }
    Core.Verdict verdict = core.decide(client.isFresh(core, now), client.link.isUsable, now);
    if (verdict == null) {
      return null;
    }
    if (verdict.beginsTally()) {
      client.link.batches.gather();
    }
    if (verdict.rejection() != null) {
      throw verdict.rejection();
    }
    return verdict.ticket();
  }

  private Ticket decideByAsking() throws InterruptedException {
    CompletableFuture<SessionAcquired> answer = ask();
    try {
      answer.get(client.acquireTimeout, TimeUnit.NANOSECONDS);
    } catch (TimeoutException late) {
      giveUp(answer);
    } catch (InterruptedException interrupted) {
      if (!answer.complete(null) && answer.join() != null) {
        client.link.reports.giveBack(core, answer.join());
      }
      throw interrupted;
    } catch (ExecutionException never) {
      throw new IllegalStateException(never);
    }
    return decided(answer.join());
  }

  private Ticket decided(SessionAcquired answer) {
    return answer == null ? core.decideWithoutServer(client.now()) : core.decided(answer, client.now());
  }

  // Outcomes.

  /** Takes the outcome of a permitted call. The future is for those who wait for the answer; null where nobody has to. */
  CompletableFuture<Void> finish(Ticket ticket, Report said) {
    long now = client.now();
    Report report = said.bounded(now - ticket.at());
    client.observe(observer -> observer.finished(core.key, report));
    if (client.fake != null) {
      client.fake.reported(core.key, report.outcome());
      return null;
    }
    switch (ticket.source()) {
      case CACHED -> {
        if (client.isClosed()) {
          core.drop(1, 0);
        } else if (report.moves()) {
          return client.link.batches.tellFailure(core, ticket, report, now);
        } else if (core.count(ticket, report, client.link.isUsable, now)) {
          client.link.batches.gather();
        }
      }
      case SERVER -> {
        return client.link.reports.report(core, ticket, report);
      }
      default -> core.countUnreported(ticket, report, now);
    }
    return null;
  }

  /** Waits for the answer to a report. */
  void await(CompletableFuture<Void> answered) {
    if (answered == null) {
      return;
    }
    try {
      awaitAnswer(answered);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void awaitAnswer(CompletableFuture<Void> answered) throws InterruptedException {
    try {
      answered.get(client.reportTimeout, TimeUnit.NANOSECONDS);
    } catch (TimeoutException late) {
      client.link.becomeUnusable();
    } catch (ExecutionException never) {
      throw new IllegalStateException(never);
    }
  }

  /** The same without waiting. What depends on it runs on the client's own thread. */
  private CompletableFuture<Void> awaitAsync(CompletableFuture<Void> answered) {
    if (answered == null) {
      return CompletableFuture.completedFuture(null);
    }
    CompletableFuture<Void> over = new CompletableFuture<>();
    answered.whenCompleteAsync((nothing, never) -> over.complete(null), client::execute);
    ScheduledFuture<?> timer =
        client.schedule(
            () -> {
              if (over.complete(null)) {
                client.link.becomeUnusable();
              }
            },
            client.reportTimeout);
    if (timer == null) {
      over.complete(null);
    }
    return over;
  }

  // The breaker itself.

  /** What this process knows, without asking. */
  public View view() {
    return core.view(client.isFresh(core, client.now()));
  }

  /** Calls a listener for each event of this breaker: {@link FuseboardClient#listen}. A resync is told too. */
  public Subscription listen(Consumer<Event> listener) {
    return client.listen(
        event -> {
          if (event.kind() == EventKind.RESYNC || event.breaker().equals(core.key)) {
            listener.accept(event);
          }
        });
  }

  /**
   * Asks the server for all about the breaker, at most {@code limit}.
   *
   * @throws BreakerNotFoundException where the server has never seen it
   * @throws StatusRuntimeException the server's, or that there was no answer
   */
  public Status state(Duration limit) {
    GetStateResponse answer =
        asked(() -> stub(limit).getState(GetStateRequest.newBuilder().setBreaker(core.key).build()));
    core.applyPolicy(answer.getPolicy());
    applyStatus(answer.getStatus(), Times.instant(answer.getNow()));
    return Status.of(answer);
  }

  /**
   * Closes the breaker for everybody, with empty statistics and backoff, and clears the local breaker. An override stays.
   * {@code reason} is for the history: at most 1,000 bytes. The local breaker is cleared even where it fails.
   *
   * @throws BreakerNotFoundException where the server has never seen it
   * @throws StatusRuntimeException the server's, or that there was no answer within {@code limit}
   */
  public void reset(String reason, Duration limit) {
    core.clear();
    if (client.fake != null) {
      client.fake.reset(core.key);
      return;
    }
    ResetRequest request =
        ResetRequest.newBuilder().setBreaker(core.key).setReason(reason).setActor(client.caller()).build();
    applyStatus(asked(() -> stub(limit).reset(request)).getStatus(), null);
  }

  private void applyStatus(BreakerStatus status, java.time.Instant toldAt) {
    client.apply(core, known -> known.applyStatus(status, client.caller(), toldAt, client.now()));
  }

  private BreakerServiceGrpc.BreakerServiceBlockingStub stub(Duration limit) {
    return BreakerServiceGrpc.newBlockingStub(client.connection.channel())
        .withDeadlineAfter(limit.toNanos(), TimeUnit.NANOSECONDS);
  }

  private <T> T asked(Supplier<T> request) {
    if (client.isClosed()) {
      throw new IllegalStateException("the client is closed");
    }
    try {
      return request.get();
    } catch (StatusRuntimeException error) {
      if (error.getStatus().getCode() == io.grpc.Status.Code.NOT_FOUND) {
        throw new BreakerNotFoundException(core.key, error);
      }
      throw error;
    }
  }

  /** Interrupts a call's thread when its time is over. */
  private static final class Deadline {
    /** For a call that may take as long as it likes. */
    private static final Deadline NONE = new Deadline(null);

    private final Thread caller;
    private ScheduledFuture<?> timer;
    private boolean isOver;
    private boolean hasPassed;

    private Deadline(Thread caller) {
      this.caller = caller;
    }

    static Deadline of(FuseboardClient client, Duration limit) {
      if (limit == null) {
        return NONE;
      }
      Deadline deadline = new Deadline(Thread.currentThread());
      deadline.timer = client.schedule(deadline::pass, limit.toNanos());
      return deadline;
    }

    private synchronized void pass() {
      if (!isOver) {
        hasPassed = true;
        caller.interrupt();
      }
    }

    /** The call is over: an interrupt of ours is taken back. True: its time had passed. */
    boolean end() {
      if (this == NONE) {
        return false;
      }
      if (timer != null) {
        timer.cancel(false);
      }
      synchronized (this) {
        isOver = true;
        if (hasPassed) {
          Thread.interrupted();
        }
        return hasPassed;
      }
    }
  }
}
