package dev.fuseboard;

/** Where a decision came from. */
public enum Source {
  /** This process's memory. */
  CACHED,
  /** The server was asked. */
  SERVER,
  /** The local breaker stood in. */
  LOCAL,
  /** The server could not be asked, and {@code whenUnavailable} is permit or reject. */
  UNAVAILABLE;

  /** The name that logs, metrics and the clients of all languages use. */
  @Override
  public String toString() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }
}
