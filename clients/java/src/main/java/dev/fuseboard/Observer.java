package dev.fuseboard;

/**
 * Hears what a client does, as values: for metrics. Its methods are called where it happens, by many threads at a time, so
 * they should be quick. An exception in one is logged and does no harm.
 */
public interface Observer {
  /** A call was permitted ({@code rejected} is null) or rejected. */
  default void decided(String breaker, Source source, Reason rejected) {}

  /** A permitted call was reported. */
  default void finished(String breaker, Report report) {}

  /** The watch told an event, once for each that is told to listeners. */
  default void happened(Event event) {}

  /** The server can be asked from now on, or no longer. */
  default void linkChanged(boolean isUsable) {}
}
