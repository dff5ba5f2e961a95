package dev.fuseboard;

import java.time.Duration;

/**
 * What a client has done since it was made.
 *
 * @param permits calls that were permitted, by who decided
 * @param rejections calls that were rejected, by who decided
 * @param reported outcomes that the server has acknowledged
 * @param droppedReports outcomes that could not be told
 * @param droppedRejections rejections of this process that the server was not told of
 * @param unreported outcomes of calls that the server did not know of
 * @param staleReports those of the reported that the server counted apart, because the breaker had moved on
 * @param reconnects of the session and of the watch
 * @param resyncs of the watch
 * @param staleness how long ago the watch said something; since the client was made where it never did
 * @param isUsable the server can be asked
 */
public record Stats(
    Counts permits,
    Counts rejections,
    long reported,
    long droppedReports,
    long droppedRejections,
    long unreported,
    long staleReports,
    long reconnects,
    long resyncs,
    Duration staleness,
    boolean isUsable) {

  /** Numbers of decisions by their {@link Source}. */
  public record Counts(long cached, long server, long local, long unavailable) {
    private static Counts of(long[] counts) {
      return new Counts(
          counts[Source.CACHED.ordinal()],
          counts[Source.SERVER.ordinal()],
          counts[Source.LOCAL.ordinal()],
          counts[Source.UNAVAILABLE.ordinal()]);
    }
  }

  /** Adds up what became of the calls to each breaker. */
  static final class Sum {
    private final long[] permits = new long[Source.values().length];
    private final long[] rejections = new long[Source.values().length];
    private long reported;
    private long dropped;
    private long droppedRejections;
    private long unreported;
    private long stale;

    void add(long[] permits, long[] rejections, long reported, long unreported, long stale) {
      for (int i = 0; i < permits.length; i++) {
        this.permits[i] += permits[i];
        this.rejections[i] += rejections[i];
      }
      this.reported += reported;
      this.unreported += unreported;
      this.stale += stale;
    }

    void drop(long calls, long refused) {
      dropped += calls;
      droppedRejections += refused;
    }

    Stats with(long reconnects, long resyncs, long staleness, boolean isUsable) {
      return new Stats(
          Counts.of(permits),
          Counts.of(rejections),
          reported,
          dropped,
          droppedRejections,
          unreported,
          stale,
          reconnects,
          resyncs,
          Duration.ofNanos(staleness),
          isUsable);
    }
  }
}
