package dev.fuseboard;

import java.time.Duration;

/**
 * What a client has done since it was made.
 *
 * @param permits calls that were permitted, by who decided
 * @param rejections calls that were rejected, by who decided
 * @param reported outcomes that the server has acknowledged
 * @param droppedReports outcomes that could not be told
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
    private long unreported;
    private long stale;

    void add(long[] permits, long[] rejections, long reported, long dropped, long unreported, long stale) {
      for (int i = 0; i < permits.length; i++) {
        this.permits[i] += permits[i];
        this.rejections[i] += rejections[i];
      }
      this.reported += reported;
      this.dropped += dropped;
      this.unreported += unreported;
      this.stale += stale;
    }

    Stats with(long reconnects, long resyncs, long staleness, boolean isUsable) {
      return new Stats(
          Counts.of(permits),
          Counts.of(rejections),
          reported,
          dropped,
          unreported,
          stale,
          reconnects,
          resyncs,
          Duration.ofNanos(staleness),
          isUsable);
    }
  }
}
