package dev.fuseboard;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/**
 * A service's tie to a Fuseboard server. One is enough for a process; it is safe for use by many threads. It connects in the
 * background: a server that is away is no error, and calls are decided all the same. Close it when it is no longer used.
 */
public final class FuseboardClient implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger("dev.fuseboard");
  private static final int BREAKERS_MAX = 1_000;

  final String id = UUID.randomUUID().toString();
  final String address;
  final String token;
  final Tls tls;
  final long acquireTimeout;
  final long reportTimeout;
  final long reportInterval;
  final long progressInterval;
  final long maxStaleness;
  final AtomicLong reconnects = new AtomicLong();
  final AtomicLong resyncs = new AtomicLong();
  final ScheduledThreadPoolExecutor executor;
  final Connection connection;
  final Link link;
  final Policies policies;

  /** Decides in the place of a server; null where there is one. */
  final FuseboardFake fake;

  private final Builder options;
  private final String caller;
  private final Watch watch;
  private final LongSupplier clock;
  private final AtomicBoolean isClosed = new AtomicBoolean();
  private final Map<String, Core> breakers = new ConcurrentHashMap<>();

  /** The same in the order of their handles. */
  private final List<Core> listed = new CopyOnWriteArrayList<>();

  private final List<Consumer<Event>> listeners = new CopyOnWriteArrayList<>();
  private volatile long heardAt;

  /** What the breakers' pending tallies share. */
  private final Tally.Room room = new Tally.Room();

  private FuseboardClient(Builder options) {
    this.options = options;
    caller = keyBytes(options.caller);
    token = options.token;
    boolean hasScheme = options.address.contains("://");
    boolean isHttps = options.address.startsWith("https://");
    if (hasScheme && !isHttps && !options.address.startsWith("http://")) {
      throw new IllegalArgumentException("address: the scheme is to be http or https");
    }
    if (hasScheme && !isHttps && options.tls != null) {
      throw new IllegalArgumentException("address: is http although TLS is set; write https");
    }
    address = hasScheme ? options.address.replaceFirst("^https?://", "").replaceFirst("/+$", "") : options.address;
    tls = isHttps && options.tls == null ? Tls.defaults() : options.tls;
    acquireTimeout = positive("acquireTimeout", options.acquireTimeout);
    reportTimeout = positive("reportTimeout", options.reportTimeout);
    reportInterval = positive("reportInterval", options.reportInterval);
    progressInterval = positive("progressInterval", options.progressInterval);
    if (progressInterval < 1_000_000_000L || progressInterval > 60_000_000_000L) {
      throw new IllegalArgumentException("progressInterval: is to be 1 s to 60 s");
    }
    Duration staleness = options.maxStaleness == null ? options.progressInterval.multipliedBy(2) : options.maxStaleness;
    maxStaleness = positive("maxStaleness", staleness);
    long born = System.nanoTime();
    // Time starts above 0, which stands for no deadline.
    clock = options.clock == null ? () -> System.nanoTime() - born + 1 : options.clock;
    executor = new ScheduledThreadPoolExecutor(1, FuseboardClient::thread);
    executor.setRemoveOnCancelPolicy(true);
    executor.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    fake = options.fake;
    connection = fake == null ? new Connection(this) : null;
    link = new Link(this);
    policies = new Policies(this);
    watch = new Watch(this);
    if (fake == null) {
      execute(link::open);
    }
  }

  private static Thread thread(Runnable work) {
    Thread thread = new Thread(work, "fuseboard");
    thread.setDaemon(true);
    return thread;
  }

  private static long positive(String option, Duration duration) {
    if (duration.isNegative() || duration.isZero()) {
      throw new IllegalArgumentException(option + ": is to be longer than 0");
    }
    return duration.toNanos();
  }

  /** Options, each with a default that is good for a server on this machine. */
  public static Builder builder() {
    return new Builder();
  }

  /** Who asks, as the server is told. */
  public String caller() {
    return caller;
  }

  /** The breaker of a key, with every option's default. */
  public Breaker breaker(String key) {
    return breaker(key, BreakerOptions.defaults());
  }

  /**
   * The breaker of a key: 1 to 200 bytes of A-Z a-z 0-9 . _ - : /. The same key gives the same breaker, with the options of
   * the first time. It makes no request; what it declares is sent in the background.
   *
   * @throws IllegalArgumentException for a key that is none
   * @throws IllegalStateException past 1,000 breakers
   */
  public Breaker breaker(String key, BreakerOptions breakerOptions) {
    if (!key.matches("[A-Za-z0-9._:/-]{1,200}")) {
      throw new IllegalArgumentException("breaker: the key \"" + key + "\" is not 1 to 200 of A-Z a-z 0-9 . _ - : /");
    }
    Core core = breakers.get(key);
    if (core == null) {
      synchronized (listed) {
        core = breakers.get(key);
        if (core == null) {
          core = add(key, breakerOptions);
        }
      }
    }
    return new Breaker(this, core);
  }

  private Core add(String key, BreakerOptions breakerOptions) {
    if (listed.size() == BREAKERS_MAX) {
      throw new IllegalStateException("a client has at most 1,000 breakers");
    }
    Core core = new Core(key, listed.size() + 1, breakerOptions, options, room);
    breakers.put(key, core);
    listed.add(core);
    if (fake == null) {
      watch.cover();
      if (breakerOptions.policy() != null) {
        policies.wake();
      }
    }
    return core;
  }

  /**
   * Waits until all breakers are covered by the watch, what they declare is declared and the session is usable. Calls need
   * not wait for it.
   *
   * @throws TimeoutException after {@code limit}
   */
  public void ready(Duration limit) throws InterruptedException, TimeoutException {
    long end = System.nanoTime() + limit.toNanos();
    while (!isReady()) {
      if (isClosed()) {
        throw new IllegalStateException("the client is closed");
      }
      if (System.nanoTime() - end >= 0) {
        throw new TimeoutException("not ready within " + limit);
      }
      // It is for starts and tests, where a few milliseconds are nothing.
      Thread.sleep(2);
    }
  }

  private boolean isReady() {
    return fake != null
        || link.isUsable && listed.stream().allMatch(core -> core.isCovered && (core.options.policy() == null || core.isDeclared));
  }

  /**
   * Calls a listener for each event of the client's breakers from now on: each once and in order, over reconnects. It is
   * called by the client's own thread, so it is to be quick; an exception is logged. Closing the subscription ends it.
   */
  public Subscription listen(Consumer<Event> listener) {
    listeners.add(listener);
    return () -> listeners.remove(listener);
  }

  /** What the client has done since it was made. */
  public Stats stats() {
    Stats.Sum sum = new Stats.Sum();
    listed.forEach(core -> core.addTo(sum));
    return sum.with(reconnects.get(), resyncs.get(), Math.max(now() - heardAt, 0), link.isUsable);
  }

  /**
   * Tells what waits, for at most {@code closeTimeout}, and ends everything that the client runs. Calls after it are decided
   * by {@code whenUnavailable}; permits reported after it are counted as dropped. Closing twice does nothing.
   */
  @Override
  public void close() {
    if (!isClosed.compareAndSet(false, true)) {
      return;
    }
    try {
      link.drain(options.closeTimeout);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
    link.giveUp();
    if (connection != null) {
      connection.close();
    }
    executor.shutdown();
  }

  // What the parts of a client share.

  boolean isClosed() {
    return isClosed.get();
  }

  long now() {
    return clock.getAsLong();
  }

  List<Core> cores() {
    return listed;
  }

  Core find(String key) {
    return breakers.get(key);
  }

  /** The watch has said something. */
  void heard() {
    heardAt = now();
  }

  boolean isFresh(Core core, long now) {
    return core.isCovered && now - heardAt <= maxStaleness;
  }

  /** Changes what is known of a breaker, and asks for its policy where that is another. */
  void apply(Core core, Consumer<Known> change) {
    if (core.apply(change)) {
      policies.refresh(core);
    }
  }

  /** Runs something on the client's own thread, unless that has ended. */
  void execute(Runnable work) {
    try {
      executor.execute(safely(work));
    } catch (RejectedExecutionException ended) {
      debug("closed", ended);
    }
  }

  /** The same after a wait in nanoseconds. Null: it has ended. */
  ScheduledFuture<?> schedule(Runnable work, long wait) {
    try {
      return executor.schedule(safely(work), wait, TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException ended) {
      debug("closed", ended);
      return null;
    }
  }

  private static Runnable safely(Runnable work) {
    return () -> {
      try {
        work.run();
      } catch (RuntimeException error) {
        LOG.log(System.Logger.Level.ERROR, "a step of the client failed", error);
      }
    };
  }

  void publish(Event event) {
    for (Consumer<Event> listener : listeners) {
      hook("listener", () -> listener.accept(event));
    }
    observe(observer -> observer.happened(event));
  }

  void observe(Consumer<Observer> call) {
    if (options.observer != null) {
      hook("observer", () -> call.accept(options.observer));
    }
  }

  /** Calls what is the user's, and survives what it does. */
  private static void hook(String name, Runnable call) {
    try {
      call.run();
    } catch (RuntimeException error) {
      LOG.log(System.Logger.Level.ERROR, "the " + name + " failed", error);
    }
  }

  void info(String text) {
    LOG.log(System.Logger.Level.INFO, text);
  }

  void warn(String text) {
    LOG.log(System.Logger.Level.WARNING, text);
  }

  void debug(String text, Throwable error) {
    LOG.log(System.Logger.Level.DEBUG, text, error);
  }

  @Override
  public String toString() {
    return "FuseboardClient(" + caller + " at " + address + ")";
  }

  private static String keyBytes(String text) {
    String kept = text.length() > 200 ? text.substring(0, 200) : text;
    return kept.replaceAll("[^A-Za-z0-9._:/-]", "-");
  }

  /** A client's options. */
  public static final class Builder {
    private String address = environment("FUSEBOARD_ADDRESS", "127.0.0.1:50051");
    private String caller = environment("FUSEBOARD_CALLER", null);
    private String token = environment("FUSEBOARD_TOKEN", null);
    private Tls tls;
    Mode mode = Mode.CACHED;
    WhenUnavailable whenUnavailable = WhenUnavailable.LOCAL;
    private Duration acquireTimeout = Duration.ofMillis(50);
    private Duration reportTimeout = Duration.ofMillis(50);
    private Duration reportInterval = Duration.ofMillis(100);
    private Duration progressInterval = Duration.ofSeconds(2);
    private Duration maxStaleness;
    private Duration closeTimeout = Duration.ofSeconds(1);
    private Observer observer;
    private LongSupplier clock;
    private FuseboardFake fake;

    private Builder() {}

    private static String environment(String name, String otherwise) {
      String value = System.getenv(name);
      return value == null || value.isEmpty() ? otherwise : value;
    }

    private static String defaultCaller() {
      String host;
      try {
        host = InetAddress.getLocalHost().getHostName();
      } catch (UnknownHostException error) {
        host = "unknown";
      }
      return environment("FUSEBOARD_SERVICE", "app") + "/" + host + "-" + ProcessHandle.current().pid();
    }

    /**
     * The server: {@code host:port}, {@code http://…}, or {@code https://…}, the latter with TLS. Default: FUSEBOARD_ADDRESS,
     * else 127.0.0.1:50051.
     */
    public Builder address(String address) {
      this.address = address;
      return this;
    }

    /**
     * Who asks, as {@code service/instance}. Other bytes than a key's become {@code -}; at most 200 are kept. Default:
     * FUSEBOARD_CALLER, else FUSEBOARD_SERVICE (else app), the host's name and the process's number.
     */
    public Builder caller(String caller) {
      this.caller = caller;
      return this;
    }

    /** Sent with each request as {@code authorization: Bearer …}. Default: FUSEBOARD_TOKEN, else none. */
    public Builder token(String token) {
      this.token = token;
      return this;
    }

    /** Default: off, but for an {@code https} address, where it is the machine's roots. */
    public Builder tls(Tls tls) {
      this.tls = tls;
      return this;
    }

    /** Of breakers that say none. Default: cached. */
    public Builder mode(Mode mode) {
      this.mode = mode;
      return this;
    }

    /** Of breakers that say none. Default: local. */
    public Builder whenUnavailable(WhenUnavailable whenUnavailable) {
      this.whenUnavailable = whenUnavailable;
      return this;
    }

    /** Longest wait for the answer to an acquire. Above 0. Default: 50 ms. */
    public Builder acquireTimeout(Duration timeout) {
      this.acquireTimeout = timeout;
      return this;
    }

    /** Longest wait of {@code execute} for the answer to a report. Above 0. Default: 50 ms. */
    public Builder reportTimeout(Duration timeout) {
      this.reportTimeout = timeout;
      return this;
    }

    /** How long successes are gathered before they are told. Above 0. Default: 100 ms. */
    public Builder reportInterval(Duration interval) {
      this.reportInterval = interval;
      return this;
    }

    /** How often the server says that it is there: 1 s to 60 s. Default: 2 s. */
    public Builder progressInterval(Duration interval) {
      this.progressInterval = interval;
      return this;
    }

    /** How old what the watch said may be for a call to be permitted from memory. Default: twice the progress interval. */
    public Builder maxStaleness(Duration staleness) {
      this.maxStaleness = staleness;
      return this;
    }

    /** Longest wait of {@code close}. Default: 1 s. */
    public Builder closeTimeout(Duration timeout) {
      this.closeTimeout = timeout;
      return this;
    }

    /** Hears every decision, outcome and event. Default: none. The link's ups and downs are logged by System.Logger. */
    public Builder observer(Observer observer) {
      this.observer = observer;
      return this;
    }

    /**
     * The time that decisions go by, in nanoseconds: above 0 and never going back. For tests. The link's own timers go by the
     * machine's clock all the same.
     */
    public Builder clock(LongSupplier clock) {
      this.clock = clock;
      return this;
    }

    Builder fake(FuseboardFake fake) {
      this.fake = fake;
      return this;
    }

    /**
     * The client.
     *
     * @throws IllegalArgumentException names the option that is out of range
     */
    public FuseboardClient build() {
      if (caller == null) {
        caller = defaultCaller();
      }
      return new FuseboardClient(this);
    }
  }
}
