package dev.fuseboard;

/** Where a decision came from. */
public enum Source {
  /** This process's memory. */
  CACHED(100),
  /** The server was asked. */
  SERVER(101),
  /** The local breaker stood in. */
  LOCAL(102),
  /** The server could not be asked, and {@code whenUnavailable} is permit or reject. */
  UNAVAILABLE(103);

  private final int wire;

  Source(int wire) {
    this.wire = wire;
  }

  /** The name that logs, metrics and the clients of all languages use. */
  @Override
  public String toString() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }

  /** Its number in the protocol; at least 100 where it is never on the wire. */
  public int wire() {
    return wire;
  }

  /** The value of a number in the protocol; null for one that this client does not know. */
  public static Source ofWire(int wire) {
    for (Source value : values()) {
      if (value.wire == wire) {
        return value;
      }
    }
    return null;
  }
}
