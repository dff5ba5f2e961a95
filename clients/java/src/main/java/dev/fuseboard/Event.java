package dev.fuseboard;

import java.time.Instant;

/**
 * One thing that happened to a breaker.
 *
 * @param kind what happened
 * @param breaker the breaker's key; empty for {@link EventKind#RESYNC}
 * @param sequence its place in the server's event log
 * @param generation the breaker's generation after it
 * @param from the state before, or null; for a caller's events, of that caller's scope
 * @param to the state after it, or null
 * @param caller whose scope moved; empty: the breaker moved, or the caller gave no name
 * @param actor who asked for it; empty: the breaker moved by itself
 * @param comment why it was asked for
 * @param time the server's time, or null
 * @param count how many moves this event stands for: a burst of the same move is one event, the last of them; 1 for one
 *     move
 * @param first when the first move of the burst happened; {@code time} for one move
 * @param lost how many events were lost, for {@link EventKind#RESYNC}; 0 where it cannot be known
 */
public record Event(
    EventKind kind,
    String breaker,
    long sequence,
    long generation,
    State from,
    State to,
    String caller,
    String actor,
    String comment,
    Instant time,
    long count,
    Instant first,
    long lost) {

  /** Null for a kind that this client does not know. */
  static Event of(dev.fuseboard.v1.Event event) {
    EventKind kind = EventKind.ofWire(event.getKindValue());
    if (kind == null) {
      return null;
    }
    return new Event(
        kind,
        event.getBreaker(),
        event.getSequence(),
        event.getGeneration(),
        State.ofWire(event.getFromValue()),
        State.ofWire(event.getToValue()),
        event.getStatus().getCaller().getCaller(),
        event.getActor(),
        event.getComment(),
        Times.instant(event.getEventTime()),
        Math.max(event.getCount(), 1),
        Times.instant(event.hasFirstEventTime() ? event.getFirstEventTime() : event.getEventTime()),
        0);
  }

  static Event resync(long lost) {
    return new Event(EventKind.RESYNC, "", 0, 0, null, null, "", "", "", null, 1, null, lost);
  }
}
