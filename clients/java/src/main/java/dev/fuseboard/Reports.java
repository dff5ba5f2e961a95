package dev.fuseboard;

import dev.fuseboard.v1.ReportResult;
import dev.fuseboard.v1.SessionAcquired;
import dev.fuseboard.v1.SessionError;
import dev.fuseboard.v1.SessionReport;
import dev.fuseboard.v1.SessionReported;
import io.grpc.Status;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Outcomes of permits that the server gave. Guarded by the link's monitor. */
final class Reports {
  /** Reports that wait for an answer. Beyond, the oldest is dropped. */
  private static final int WAITING_MAX = 10_000;

  /** An outcome that has no answer yet. Completed when the server has answered, or the report was dropped. */
  static final class Reporting {
    private final Core core;
    final SessionReport.Builder item;

    /** When the permit ends, and with it the sense of telling. */
    private final long leaseEnd;

    /** Nobody made the call: it is not among the outcomes that are counted. */
    private final boolean isGivenBack;

    /** The server asked to send it again later. */
    private boolean isPaused;

    private final CompletableFuture<Void> answered = new CompletableFuture<>();

    private Reporting(Core core, SessionReport.Builder item, long leaseEnd, boolean isGivenBack) {
      this.core = core;
      this.item = item;
      this.leaseEnd = leaseEnd;
      this.isGivenBack = isGivenBack;
    }
  }

  private final Link link;
  private final LinkedHashSet<Reporting> waiting = new LinkedHashSet<>();

  Reports(Link link) {
    this.link = link;
  }

  /** The server cannot record at present: an item is to be sent again. */
  static boolean isLater(SessionError error) {
    return error.getCode() == Status.Code.UNAVAILABLE.value();
  }

  boolean isEmpty() {
    return waiting.isEmpty();
  }

  /** Tells an outcome. The future is for those who have to wait for the answer; null where nobody has to. */
  CompletableFuture<Void> report(Core core, Ticket ticket, Report report) {
    SessionReport.Builder item =
        SessionReport.newBuilder()
            .setHandle(core.handle)
            .setPermit(ticket.permit())
            .setOutcomeValue(report.outcome().wire())
            .setDuration(Times.message(report.duration()))
            .setErrorClass(report.errorClass());
    if (report.retryAfter() != null) {
      item.setRetryAfter(Times.message(report.retryAfter()));
    }
    if (report.origin() != null) {
      item.setOriginValue(report.origin().wire());
    }
    synchronized (link) {
      if (link.client.isClosed()) {
        core.drop(1, 0);
        return null;
      }
      Reporting reporting = new Reporting(core, item, ticket.leaseEnd(), false);
      if (core.record(ticket, report, link.client.now()) || ticket.isProbe()) {
        core.awaited.set(reporting.answered);
      }
      keep(reporting);
      return link.isUsable && (report.moves() || ticket.isProbe()) ? reporting.answered : null;
    }
  }

  /** Reports a permit that nobody uses as cancelled, so that no probe's place is lost. */
  void giveBack(Core core, SessionAcquired acquired) {
    synchronized (link) {
      if (acquired.getPermit().isEmpty() || link.client.isClosed()) {
        return;
      }
      SessionReport.Builder item =
          SessionReport.newBuilder()
              .setHandle(core.handle)
              .setPermit(acquired.getPermit())
              .setOutcomeValue(Outcome.CANCELLED.wire());
      keep(new Reporting(core, item, link.client.now() + Times.nanos(acquired.getLease()), true));
    }
  }

  private void keep(Reporting report) {
    if (waiting.size() == WAITING_MAX) {
      drop(waiting.iterator().next());
    }
    waiting.add(report);
    send(report);
  }

  /** Puts a report into the session's next frame, where one stands. */
  private void send(Reporting report) {
    report.isPaused = false;
    Link.Session session = link.session;
    if (session == null) {
      return;
    }
    report.item.setNumber(link.nextNumber());
    session.introduce(report.core);
    session.reporting.put(report.item.getNumber(), report);
    session.reportsDue.add(report);
    session.flushSoon();
  }

  /** Sends everything that has no answer, over a new session. */
  void sendAll() {
    List.copyOf(waiting).forEach(this::sendUnlessEnded);
  }

  /** Sends what the server could not record. */
  void sendAgain() {
    waiting.stream().filter(report -> report.isPaused).toList().forEach(this::sendUnlessEnded);
  }

  private void sendUnlessEnded(Reporting report) {
    if (link.client.now() >= report.leaseEnd) {
      drop(report);
    } else {
      send(report);
    }
  }

  void dropAll() {
    List.copyOf(waiting).forEach(this::drop);
  }

  private void drop(Reporting report) {
    if (!report.isGivenBack) {
      report.core.drop(1, 0);
    }
    forget(report);
  }

  private void forget(Reporting report) {
    waiting.remove(report);
    if (link.session != null) {
      link.session.reporting.remove(report.item.getNumber());
    }
    report.answered.complete(null);
  }

  void answered(Reporting report, SessionReported answer) {
    boolean isStale = answer.getResult() == ReportResult.REPORT_RESULT_STALE;
    report.core.acknowledge(report.isGivenBack ? 0 : 1, isStale);
    Known.Answer told =
        new Known.Answer(
            State.ofWire(answer.getStateValue()),
            answer.getGeneration(),
            OverrideMode.ofWire(answer.getOverrideModeValue()),
            State.ofWire(answer.getCallerStateValue()),
            answer.getCallerGeneration(),
            null,
            0);
    link.client.apply(report.core, known -> known.applyAnswer(told, link.client.now()));
    forget(report);
  }

  /** Takes an error in the place of an answer. */
  void failed(Reporting report, SessionError error, List<String> notes) {
    if (isLater(error)) {
      report.isPaused = true;
      link.batches.retryAfter(Times.nanos(error.getRetryAfter()));
    } else {
      notes.add("a report of " + report.core.key + " was refused: " + error.getMessage());
      drop(report);
    }
  }
}
