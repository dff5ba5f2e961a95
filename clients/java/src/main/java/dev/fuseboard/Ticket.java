package dev.fuseboard;

import com.google.protobuf.ByteString;

/**
 * Leave for one call, and where its outcome goes. The generations are those that it was decided under. Which other
 * fields are set follows from the source: the local breaker's permit where that stands in, a server's permit with its lease.
 */
record Ticket(
    Source source,
    long at,
    long generation,
    long callerGeneration,
    LocalBreaker local,
    LocalBreaker.Answer localPermit,
    ByteString permit,
    long leaseEnd,
    boolean isProbe) {

  static Ticket cached(long at, Known known, LocalBreaker local, LocalBreaker.Answer permit) {
    return new Ticket(Source.CACHED, at, known.generation, known.callerGeneration, local, permit, null, 0, false);
  }

  static Ticket ofServer(
      long at, long generation, long callerGeneration, ByteString permit, long leaseEnd, boolean isProbe) {
    return new Ticket(Source.SERVER, at, generation, callerGeneration, null, null, permit, leaseEnd, isProbe);
  }

  static Ticket ofLocal(long at, Known known, LocalBreaker local, LocalBreaker.Answer permit) {
    return new Ticket(Source.LOCAL, at, known.generation, known.callerGeneration, local, permit, null, 0, false);
  }

  static Ticket unavailable(long at, Known known) {
    return new Ticket(Source.UNAVAILABLE, at, known.generation, known.callerGeneration, null, null, null, 0, false);
  }
}
