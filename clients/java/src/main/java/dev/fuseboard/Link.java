package dev.fuseboard;

import dev.fuseboard.v1.BreakerServiceGrpc;
import dev.fuseboard.v1.Introduction;
import dev.fuseboard.v1.SessionAcquire;
import dev.fuseboard.v1.SessionAcquired;
import dev.fuseboard.v1.SessionBatch;
import dev.fuseboard.v1.SessionBatchReported;
import dev.fuseboard.v1.SessionError;
import dev.fuseboard.v1.SessionReported;
import dev.fuseboard.v1.SessionRequest;
import dev.fuseboard.v1.SessionResponse;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/**
 * The session, opened again and again; whether it is usable; and what has no answer yet and is kept for the next one.
 *
 * <p>Its monitor guards everything here and in {@link Batches} and {@link Reports}; breakers' monitors are taken under it,
 * never the other way round. Nothing of the user's is called under it.
 */
final class Link {
  /** Acquires that may be without an answer in a session. Beyond, the server counts as unavailable. */
  private static final int ASKING_MAX = 10_000;

  /** Items in a frame, which keep it below the protocol's 1 MiB. */
  private static final int FRAME_ITEMS = 1_000;

  private static final long FIRST_HELLO = 100_000_000L;
  private static final long LAST_HELLO = 1_000_000_000L;

  final FuseboardClient client;
  final Batches batches = new Batches(this);
  final Reports reports = new Reports(this);
  private final Retry retry = new Retry();

  /** The server can be asked. Written under the monitor. */
  volatile boolean isUsable;

  /** Completed once it is known whether the first session works. Until then callers wait. */
  final CompletableFuture<Void> settled = new CompletableFuture<>();

  Session session;
  private long number;

  Link(FuseboardClient client) {
    this.client = client;
  }

  /** An acquire under way. Who waits no longer completes the answer with null; a permit that comes then is given back. */
  private record Asking(Core core, CompletableFuture<SessionAcquired> answer) {}

  /** One stream of acquires, reports and batches. */
  final class Session implements ClientResponseObserver<SessionRequest, SessionResponse> {
    private ClientCallStreamObserver<SessionRequest> requests;
    private boolean hasWorked;
    private boolean isFlushing;
    private boolean isGreeted;
    private final Set<Integer> introduced = new HashSet<>();
    private List<Introduction> introductions = new ArrayList<>();
    private final ArrayDeque<SessionAcquire> acquires = new ArrayDeque<>();
    final ArrayDeque<Reports.Reporting> reportsDue = new ArrayDeque<>();
    SessionBatch batch;
    private final Map<Long, Asking> asking = new HashMap<>();
    final Map<Long, Reports.Reporting> reporting = new HashMap<>();
    final Map<Long, Batches.Batch> batching = new HashMap<>();
    private long hello;
    private boolean isHelloWaiting;
    private long helloDelay = FIRST_HELLO;

    @Override
    public void beforeStart(ClientCallStreamObserver<SessionRequest> requests) {
      this.requests = requests;
    }

    @Override
    public void onNext(SessionResponse frame) {
      List<String> notes = new ArrayList<>();
      boolean hasBecomeUsable;
      synchronized (Link.this) {
        hasBecomeUsable = session == this && take(frame, notes);
      }
      notes.forEach(client::warn);
      if (hasBecomeUsable) {
        changed(true);
      }
      if (frame.hasGoodbye()) {
        end(Math.max(Times.nanos(frame.getGoodbye().getRetryAfter()), 1));
      }
    }

    @Override
    public void onError(Throwable error) {
      client.debug("the session ended", error);
      end(0);
    }

    @Override
    public void onCompleted() {
      end(0);
    }

    /** It is over; another is opened after a delay. {@code goodbye} is what the server said, or 0. */
    private void end(long goodbye) {
      boolean wasUsable;
      List<Asking> unanswered;
      synchronized (Link.this) {
        if (session != this) {
          return;
        }
        session = null;
        wasUsable = isUsable;
        isUsable = false;
        unanswered = new ArrayList<>(asking.values());
      }
      unanswered.forEach(asking -> asking.answer().complete(null));
      settled.complete(null);
      requests.cancel("ended", null);
      if (wasUsable) {
        changed(false);
      }
      batches.gather();
      if (hasWorked) {
        client.reconnects.incrementAndGet();
      }
      client.schedule(Link.this::open, goodbye > 0 ? goodbye : retry.nextDelay());
    }

    /** Gives a breaker its handle, once a session. */
    void introduce(Core core) {
      if (introduced.add(core.handle)) {
        introductions.add(Introduction.newBuilder().setHandle(core.handle).setBreaker(core.key).build());
      }
    }

    /** Sees to it that what waits is sent: soon, so that more of it goes with the same frame. */
    void flushSoon() {
      if (!isFlushing) {
        isFlushing = true;
        client.execute(this::flush);
      }
    }

    /** Sends what waits, as much as a frame holds at a time. It runs on the client's own thread alone. */
    private void flush() {
      while (true) {
        SessionRequest frame;
        synchronized (Link.this) {
          frame = session == this ? nextFrame() : null;
          if (frame == null) {
            isFlushing = false;
            return;
          }
        }
        requests.onNext(frame);
      }
    }

    /** Takes what waits; null where nothing does. */
    private SessionRequest nextFrame() {
      SessionRequest.Builder frame = SessionRequest.newBuilder().addAllIntroductions(introductions);
      introductions = new ArrayList<>();
      int room = FRAME_ITEMS;
      for (; room > 0 && !acquires.isEmpty(); room--) {
        frame.addAcquires(acquires.removeFirst());
      }
      for (; room > 0 && !reportsDue.isEmpty(); room--) {
        Reports.Reporting report = reportsDue.removeFirst();
        // One that was sent again or answered meanwhile has another number, or none.
        if (reporting.get(report.item.getNumber()) == report) {
          frame.addReports(report.item.build());
        }
      }
      if (batch != null) {
        frame.addBatches(batch);
        batch = null;
      }
      if (frame.getIntroductionsCount() + frame.getAcquiresCount() + frame.getReportsCount() + frame.getBatchesCount() == 0) {
        return null;
      }
      if (!isGreeted) {
        isGreeted = true;
        frame.setCaller(client.caller());
      }
      return frame.build();
    }

    /** True: the session has become usable by it. */
    private boolean take(SessionResponse frame, List<String> notes) {
      for (SessionAcquired acquired : frame.getAcquiredList()) {
        Asking asked = asking.remove(acquired.getNumber());
        if (asked != null) {
          acquired(asked, acquired);
        }
      }
      for (SessionReported reported : frame.getReportedList()) {
        Reports.Reporting report = reporting.remove(reported.getNumber());
        if (report != null) {
          reports.answered(report, reported);
        }
      }
      boolean isAnswered = false;
      for (SessionBatchReported answer : frame.getBatchesList()) {
        Batches.Batch told = batching.remove(answer.getNumber());
        if (told != null) {
          batches.answered(told, answer.getResponse());
        }
        isAnswered |= isHelloWaiting && answer.getNumber() == hello;
      }
      for (SessionError error : frame.getErrorsList()) {
        isAnswered |= takeError(error, notes);
      }
      return isAnswered && becomeUsable();
    }

    /** True: it was the hello's answer, as good as any. */
    private boolean takeError(SessionError error, List<String> notes) {
      Asking asked = asking.remove(error.getNumber());
      Reports.Reporting report = reporting.remove(error.getNumber());
      Batches.Batch told = batching.remove(error.getNumber());
      if (asked != null) {
        notes.add("an acquire of " + asked.core().key + " was refused: " + error.getMessage());
        asked.answer().complete(null);
      } else if (report != null) {
        reports.failed(report, error, notes);
      } else if (told != null) {
        batches.failed(told, error, notes);
      } else {
        notes.add("the session has a fault: " + error.getMessage());
      }
      return isHelloWaiting && error.getNumber() == hello;
    }

    private boolean becomeUsable() {
      isHelloWaiting = false;
      hasWorked = true;
      helloDelay = FIRST_HELLO;
      retry.worked();
      client.cores().forEach(Core::dismissStandIn);
      batches.awaitPending();
      boolean isNew = !isUsable;
      isUsable = true;
      return isNew;
    }

    /** Sends a batch whose answer says that the session works: the one in flight again, or one without tallies. */
    private void sayHello() {
      synchronized (Link.this) {
        if (session != this || isUsable) {
          return;
        }
        hello = batches.sendHello();
        isHelloWaiting = true;
        long said = hello;
        client.schedule(
            () -> {
              synchronized (Link.this) {
                if (isHelloWaiting && hello == said) {
                  isHelloWaiting = false;
                  sayHelloLater();
                }
              }
            },
            client.acquireTimeout);
      }
    }

    private void sayHelloLater() {
      client.schedule(this::sayHello, helloDelay / 2 + Retry.evenly(helloDelay / 2));
      helloDelay = Math.min(2 * helloDelay, LAST_HELLO);
    }
  }

  long nextNumber() {
    return ++number;
  }

  /** Opens a session, after what breakers want was declared. */
  void open() {
    client.policies.declareAll(
        () -> {
          if (client.isClosed()) {
            return;
          }
          Session opened = new Session();
          BreakerServiceGrpc.newStub(client.connection.channel()).session(opened);
          synchronized (this) {
            session = opened;
            reports.sendAll();
          }
          opened.sayHello();
        });
  }

  /** Ends the session and opens another, because its connection was replaced. */
  void reopen() {
    Session standing;
    synchronized (this) {
      standing = session;
    }
    if (standing != null) {
      standing.end(0);
    }
  }

  /** The session does not answer. */
  void becomeUnusable() {
    synchronized (this) {
      if (session == null || !isUsable) {
        return;
      }
      isUsable = false;
      session.sayHelloLater();
    }
    changed(false);
  }

  private void changed(boolean usable) {
    if (usable) {
      settled.complete(null);
      client.policies.wake();
      client.info("the server can be asked");
    } else if (!client.isClosed()) {
      client.warn("the server cannot be asked");
    }
    client.observe(observer -> observer.linkChanged(usable));
  }

  /** Sends an acquire. It is answered with null where the server cannot be asked. */
  synchronized void ask(Core core, CompletableFuture<SessionAcquired> answer) {
    if (session == null || !isUsable || session.asking.size() >= ASKING_MAX) {
      answer.complete(null);
      return;
    }
    long item = nextNumber();
    session.asking.put(item, new Asking(core, answer));
    session.introduce(core);
    session.acquires.add(SessionAcquire.newBuilder().setNumber(item).setHandle(core.handle).build());
    session.flushSoon();
  }

  private void acquired(Asking asked, SessionAcquired acquired) {
    if (asked.core().applyAcquired(acquired, client.now())) {
      client.policies.refresh(asked.core());
    }
    if (!asked.answer().complete(acquired)) {
      // Its caller has gone on.
      reports.giveBack(asked.core(), acquired);
    }
  }

  /** Tells what waits and waits for the answers, for at most so long. */
  void drain(Duration limit) throws InterruptedException {
    long end = System.nanoTime() + limit.toNanos();
    while (System.nanoTime() - end < 0) {
      synchronized (this) {
        batches.sendDue();
        if (session == null || batches.inFlight == null && reports.isEmpty()) {
          return;
        }
      }
      Thread.sleep(1);
    }
  }

  /** Ends the session, and counts everything that is left as dropped. */
  void giveUp() {
    Session standing;
    synchronized (this) {
      isUsable = false;
      standing = session;
      session = null;
      batches.giveUp();
      client.cores().forEach(Core::giveUp);
      reports.dropAll();
    }
    if (standing != null) {
      standing.requests.cancel("closed", null);
      standing.asking.values().forEach(asking -> asking.answer().complete(null));
    }
    settled.complete(null);
  }
}
