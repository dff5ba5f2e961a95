package dev.fuseboard;

import dev.fuseboard.v1.BreakerServiceGrpc;
import dev.fuseboard.v1.Delivery;
import dev.fuseboard.v1.Snapshot;
import dev.fuseboard.v1.WatchEventsRequest;
import dev.fuseboard.v1.WatchEventsResponse;
import dev.fuseboard.v1.WatchFilter;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.List;
import java.util.concurrent.ScheduledFuture;

/** Follows what happens to the client's breakers. It runs on the client's own thread alone. */
final class Watch {
  /** How long it waits for more breakers before it is opened for new ones. */
  private static final long GATHER_KEYS = 10_000_000L;

  private final FuseboardClient client;
  private final Retry retry = new Retry();

  /** The stream that is believed. */
  private Following current;

  /** One that has not spoken yet, and takes its place when it does. */
  private Following next;

  private String token = "";
  private boolean hasWorked;
  private ScheduledFuture<?> opening;
  private ScheduledFuture<?> silence;

  Watch(FuseboardClient client) {
    this.client = client;
  }

  /** A stream that is followed. */
  private final class Following implements ClientResponseObserver<WatchEventsRequest, WatchEventsResponse> {
    private final List<Core> breakers = List.copyOf(client.cores());

    /** It goes on from a token, without a snapshot. */
    private final boolean isResumed = !token.isEmpty();

    private ClientCallStreamObserver<WatchEventsRequest> requests;

    @Override
    public void beforeStart(ClientCallStreamObserver<WatchEventsRequest> requests) {
      this.requests = requests;
    }

    @Override
    public void onNext(WatchEventsResponse message) {
      hear(this, message);
    }

    @Override
    public void onError(Throwable error) {
      client.debug("the watch ended", error);
      ended(this, 0);
    }

    @Override
    public void onCompleted() {
      ended(this, 0);
    }

    private void cancel() {
      requests.cancel("ended", null);
    }
  }

  /** There is a breaker that no watch covers. */
  void cover() {
    client.execute(
        () -> {
          if (next == null && (opening == null || opening.isDone())) {
            openAfter(GATHER_KEYS);
          }
        });
  }

  private void openAfter(long wait) {
    cancel(opening);
    opening = client.schedule(this::open, wait);
  }

  private static void cancel(ScheduledFuture<?> timer) {
    if (timer != null) {
      timer.cancel(false);
    }
  }

  /** Begins a stream for all breakers, from the last token. */
  private void open() {
    if (next != null || client.isClosed()) {
      return;
    }
    if (current == null) {
      expectWord();
    }
    next = new Following();
    WatchFilter.Builder filter = WatchFilter.newBuilder();
    next.breakers.forEach(core -> filter.addBreakers(core.key));
    WatchEventsRequest request =
        WatchEventsRequest.newBuilder()
            .setFilter(filter)
            .setResumeToken(token)
            .setDelivery(Delivery.DELIVERY_EVERY_EVENT)
            .setProgressInterval(Times.message(client.progressInterval))
            .setCaller(client.caller())
            .build();
    BreakerServiceGrpc.newStub(client.connection.channel()).watchEvents(request, next);
  }

  /** Where nothing is heard for too long the connection may be dead without anybody having noticed. */
  private void expectWord() {
    cancel(silence);
    silence =
        client.schedule(
            () -> {
              client.debug("the watch is silent: dialling anew", null);
              for (Following following : new Following[] {current, next}) {
                if (following != null) {
                  following.cancel();
                }
              }
              current = null;
              next = null;
              client.connection.replace();
              client.link.reopen();
              openAfter(retry.nextDelay());
            },
            Math.max(client.maxStaleness, 2 * client.progressInterval));
  }

  private void hear(Following from, WatchEventsResponse message) {
    if (from != current && from != next) {
      return;
    }
    if (message.hasGoodbye()) {
      from.cancel();
      ended(from, Math.max(Times.nanos(message.getGoodbye().getRetryAfter()), 1));
      return;
    }
    if (from == next) {
      promote();
    }
    client.heard();
    expectWord();
    token = message.getResumeToken();
    switch (message.getMessageCase()) {
      case SNAPSHOT -> takeSnapshot(message.getSnapshot());
      case EVENT -> takeEvent(message.getEvent());
      case RESYNC -> takeResync(message.getResync().getLostEvents());
      default -> {}
    }
  }

  /** Sees to it that another stream is opened in the place of one that has ended. */
  private void ended(Following from, long goodbye) {
    if (from == current) {
      current = null;
    } else if (from == next) {
      next = null;
    } else {
      return;
    }
    if (next != null) {
      return;
    }
    if (current == null) {
      cancel(silence);
    }
    openAfter(goodbye > 0 ? goodbye : retry.nextDelay());
  }

  /** Makes the stream that has now spoken the one that is believed. */
  private void promote() {
    if (current == null && hasWorked) {
      client.reconnects.incrementAndGet();
    }
    hasWorked = true;
    retry.worked();
    Following before = current;
    current = next;
    next = null;
    if (before != null) {
      before.cancel();
    }
    for (Core core : current.breakers) {
      if (!core.isCovered && current.isResumed) {
        client.apply(core, Known::doubt);
      }
      core.isCovered = true;
    }
    if (current.breakers.size() < client.cores().size()) {
      openAfter(GATHER_KEYS);
    }
  }

  private void takeSnapshot(Snapshot snapshot) {
    snapshot
        .getBreakersList()
        .forEach(
            status -> {
              Core core = client.find(status.getBreaker());
              if (core != null) {
                client.apply(core, known -> known.applySnapshot(status, client.caller(), client.now()));
              }
            });
    for (String key : snapshot.getDeletedList()) {
      Core core = client.find(key);
      if (core != null) {
        client.apply(core, Known::delete);
      }
    }
  }

  private void takeEvent(dev.fuseboard.v1.Event event) {
    Core core = client.find(event.getBreaker());
    if (core == null) {
      return;
    }
    boolean[] isNew = {false};
    client.apply(core, known -> isNew[0] = known.applyEvent(event, client.caller(), client.now()));
    Event told = Event.of(event);
    if (isNew[0] && told != null) {
      client.publish(told);
    }
  }

  /** Forgets all that is known: a snapshot follows. */
  private void takeResync(long lost) {
    client.info("events were lost: " + lost);
    client.resyncs.incrementAndGet();
    for (Core core : client.cores()) {
      if (core.forget()) {
        client.policies.refresh(core);
      }
    }
    client.publish(Event.resync(lost));
  }
}
