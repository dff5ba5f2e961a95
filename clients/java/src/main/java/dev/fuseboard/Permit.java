package dev.fuseboard;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Leave for one call. It is reported once, by any of its methods; later reports do nothing. Use it with try-with-resources,
 * so that it cannot be forgotten: closed without a report, the call counts as cancelled.
 */
public final class Permit implements AutoCloseable {
  private final Breaker breaker;
  private final Ticket ticket;
  private final AtomicBoolean isReported = new AtomicBoolean();

  Permit(Breaker breaker, Ticket ticket) {
    this.breaker = breaker;
    this.ticket = ticket;
  }

  /** Who permitted the call. */
  public Source source() {
    return ticket.source();
  }

  /** The dependency answered as it should. */
  public void success() {
    report(Report.of(Outcome.SUCCESS));
  }

  /** The dependency failed. */
  public void failure() {
    report(Report.of(Outcome.FAILURE));
  }

  /** The dependency did not answer in time. */
  public void timeout() {
    report(Report.of(Outcome.TIMEOUT));
  }

  /** The call says nothing about the dependency. */
  public void ignored() {
    report(Report.of(Outcome.IGNORED));
  }

  /** The call never finished. */
  public void cancelled() {
    report(Report.of(Outcome.CANCELLED));
  }

  /**
   * Reports how the call went. It never waits. If the answer may be a trip, the breaker's next acquire waits for it, at most
   * {@code reportTimeout}.
   */
  public void report(Report report) {
    if (isReported.compareAndSet(false, true)) {
      breaker.finish(ticket, report);
    }
  }

  /**
   * Reports as {@code execute} does: waits for the server's answer to a failure, a timeout and any outcome of a half-open
   * breaker's permit, at most {@code reportTimeout}, and not at all while the server cannot be asked. So the next acquire
   * sees what this report made of the breaker.
   */
  public void reportAndWait(Report report) {
    if (isReported.compareAndSet(false, true)) {
      breaker.await(breaker.finish(ticket, report));
    }
  }

  /** The same without waiting: what to wait for, or null. */
  CompletableFuture<Void> reportAsync(Report report) {
    return isReported.compareAndSet(false, true) ? breaker.finish(ticket, report) : null;
  }

  /** The call never finished, where nothing was reported before. */
  @Override
  public void close() {
    cancelled();
  }
}
