package dev.fuseboard;

import dev.fuseboard.v1.BreakerStatus;
import dev.fuseboard.v1.ReportBatchRequest;
import dev.fuseboard.v1.ReportBatchResponse;
import dev.fuseboard.v1.SessionBatch;
import dev.fuseboard.v1.SessionError;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Tallies on their way: at most one batch is in flight, and what comes meanwhile waits for its answer. So no older success
 * overtakes a failure, and nothing is counted twice. Guarded by the link's monitor.
 */
final class Batches {
  /** Keeps a batch of the longest keys far below a frame's 1 MiB. */
  private static final int TALLIES_MAX = 1_000;

  /** How old a tally gets, beyond the report interval, that could not be sent. */
  private static final long TALLY_AGE_MAX = 10_000_000_000L;

  /** Unanswered batches of a session that are remembered: hellos repeat them. */
  private static final int UNANSWERED_MAX = 64;

  /** How often old tallies are looked for while they cannot be sent. */
  private static final long HOUSEKEEPING = 500_000_000L;

  private record Told(Core core, Tally tally) {}

  /** Tallies under a number, which they keep until they are answered. */
  static final class Batch {
    private final ReportBatchRequest request;
    private final List<Told> told;
    private final long madeAt;
    private final CompletableFuture<Void> answered;

    /** The server asked to send it again later. */
    private boolean isPaused;

    private Batch(ReportBatchRequest request, List<Told> told, long madeAt, CompletableFuture<Void> answered) {
      this.request = request;
      this.told = told;
      this.madeAt = madeAt;
      this.answered = answered;
    }
  }

  private final Link link;
  Batch inFlight;
  private long sequence;

  /** Completed when the next batch, which is not made yet, is answered. */
  private CompletableFuture<Void> next = new CompletableFuture<>();

  /** A failure waits, or the report interval has passed. */
  private boolean isDue;

  /** Tallies wait for their interval. */
  private final AtomicBoolean isGathering = new AtomicBoolean();

  Batches(Link link) {
    this.link = link;
  }

  /** Sees to it that tallies are sent when the interval has passed. */
  void gather() {
    gatherFor(link.client.reportInterval);
  }

  private void gatherFor(long wait) {
    if (!isGathering.get() && isGathering.compareAndSet(false, true)) {
      link.client.schedule(this::intervalPassed, wait);
    }
  }

  private void intervalPassed() {
    isGathering.set(false);
    synchronized (link) {
      sendDue();
      if (keepHouse()) {
        gatherFor(HOUSEKEEPING);
      }
    }
  }

  void sendDue() {
    isDue = true;
    send();
  }

  /** Drops tallies that have grown too old while they could not be sent. True: others wait. */
  private boolean keepHouse() {
    if (link.session != null || link.client.isClosed()) {
      return false;
    }
    long now = link.client.now();
    boolean isWaiting = false;
    if (inFlight != null) {
      if (now - inFlight.madeAt > ageMax()) {
        refuse();
      } else {
        isWaiting = !inFlight.told.isEmpty();
      }
    }
    for (Core core : link.client.cores()) {
      isWaiting |= core.expireTallies(now, ageMax());
    }
    return isWaiting;
  }

  private long ageMax() {
    return link.client.reportInterval + TALLY_AGE_MAX;
  }

  /** Counts a failure and sends it at once, behind what is pending. Null: nobody has to wait for the answer. */
  CompletableFuture<Void> tellFailure(Core core, Ticket ticket, Report report, long now) {
    synchronized (link) {
      CompletableFuture<Void> answered = next;
      if (core.countFailure(ticket, report, link.isUsable, now)) {
        core.awaited.set(answered);
      }
      sendDue();
      if (link.session == null) {
        gather();
      }
      return link.isUsable ? answered : null;
    }
  }

  /** Sends what has gathered, if it is time and no batch is in flight. */
  private void send() {
    if (link.session == null || inFlight != null || !isDue) {
      return;
    }
    isDue = false;
    long now = link.client.now();
    List<Told> told = new ArrayList<>();
    for (Core core : link.client.cores()) {
      core.takeTallies(TALLIES_MAX - told.size(), now, ageMax()).forEach(tally -> told.add(new Told(core, tally)));
      isDue |= told.size() >= TALLIES_MAX && core.hasTallies();
    }
    if (!told.isEmpty()) {
      make(told, now);
      sendInFlight();
    } else {
      // What was waited for has expired.
      endWait();
    }
  }

  private void endWait() {
    next.complete(null);
    next = new CompletableFuture<>();
  }

  /** Makes the next acquires wait for the failures that have gathered while the server could not be asked. */
  void awaitPending() {
    if (inFlight != null) {
      inFlight.told.stream()
          .filter(one -> one.tally().hasFailures())
          .forEach(one -> one.core().awaited.set(inFlight.answered));
    }
    link.client.cores().stream().filter(Core::hasFailures).forEach(core -> core.awaited.set(next));
  }

  /** Nothing more is sent: all waits for an answer end. */
  void giveUp() {
    refuse();
    endWait();
  }

  private void make(List<Told> told, long now) {
    ReportBatchRequest.Builder request =
        ReportBatchRequest.newBuilder().setClientId(link.client.id).setBatchSequence(++sequence);
    told.forEach(one -> request.addTallies(one.tally().message(one.core().key, link.client.caller(), now)));
    inFlight = new Batch(request.build(), told, now, next);
    next = new CompletableFuture<>();
  }

  /** Sends the batch in flight, the same under the same sequence, as a new item. */
  private long sendInFlight() {
    inFlight.isPaused = false;
    long number = link.nextNumber();
    Link.Session session = link.session;
    if (session.batching.size() >= UNANSWERED_MAX) {
      session.batching.clear();
    }
    session.batching.put(number, inFlight);
    session.batch = SessionBatch.newBuilder().setNumber(number).setBatch(inFlight.request).build();
    session.flushSoon();
    return number;
  }

  /** Sends the batch in flight again, or one without tallies. The answer tells that the session works. */
  long sendHello() {
    if (inFlight == null) {
      make(List.of(), link.client.now());
    }
    return sendInFlight();
  }

  void answered(Batch batch, ReportBatchResponse response) {
    if (batch != inFlight) {
      return;
    }
    FuseboardClient client = link.client;
    Map<String, BreakerStatus> changed = new HashMap<>();
    for (BreakerStatus status : response.getChangedList()) {
      Core core = client.find(status.getBreaker());
      if (core != null) {
        client.apply(core, known -> known.applyStatus(status, client.caller(), null, client.now()));
        changed.put(status.getBreaker(), status);
      }
    }
    for (Told one : batch.told) {
      BreakerStatus status = changed.get(one.core().key);
      boolean isStale =
          response.getStale() > 0 && status != null && one.tally().isOlderThan(status, client.caller());
      one.core().acknowledge(one.tally().calls(), isStale);
    }
    done();
    send();
  }

  /** Takes an error in the place of an answer. */
  void failed(Batch batch, SessionError error, List<String> notes) {
    if (batch != inFlight) {
      return;
    }
    if (Reports.isLater(error) && link.client.now() - batch.madeAt <= ageMax()) {
      batch.isPaused = true;
      retryAfter(Times.nanos(error.getRetryAfter()));
      return;
    }
    notes.add("a batch was refused: " + error.getMessage());
    refuse();
    send();
  }

  /** Sends again later what the server could not record. */
  void retryAfter(long wait) {
    link.client.schedule(
        () -> {
          synchronized (link) {
            link.reports.sendAgain();
            if (link.session != null && inFlight != null && inFlight.isPaused) {
              sendInFlight();
            }
          }
        },
        wait);
  }

  /** Drops the batch in flight. */
  void refuse() {
    if (inFlight != null) {
      inFlight.told.forEach(one -> one.core().drop(one.tally().calls(), one.tally().rejections));
      done();
    }
  }

  private void done() {
    inFlight.answered.complete(null);
    inFlight = null;
  }
}
