package dev.fuseboard;

import com.google.protobuf.ByteString;

/**
 * Leave for one call, and where its outcome goes. Which fields are set follows from the source: a cached one has generations
 * (and the local breaker's permit where that stands in), a server's has a permit with its lease.
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

  static Ticket ofServer(long at, ByteString permit, long leaseEnd, boolean isProbe) {
    return new Ticket(Source.SERVER, at, 0, 0, null, null, permit, leaseEnd, isProbe);
  }

  static Ticket ofLocal(long at, LocalBreaker local, LocalBreaker.Answer permit) {
    return new Ticket(Source.LOCAL, at, 0, 0, local, permit, null, 0, false);
  }

  static Ticket unavailable(long at) {
    return new Ticket(Source.UNAVAILABLE, at, 0, 0, null, null, null, 0, false);
  }
}
